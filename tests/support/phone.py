"""Twilio's side of a telephone line: a small REST API that places calls as told, and callers who follow our TwiML."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit
from xml.etree import ElementTree

import httpx
import orjson

from tests.support.providers import Answer, HttpServer
from tests.support.twilio import refusal, sign


class PhoneServer(HttpServer):
    """`script` holds answers to the next calls that we place: an answer, None to accept, or "drop" to take it and hang up.
    `files` are recordings by path; the first `missing` requests for each find nothing yet."""

    def __init__(self, account_sid: str, token: str) -> None:
        super().__init__()
        self.answer = self.api
        self.root = f"/2010-04-01/Accounts/{account_sid}"
        self.login = "Basic " + base64.b64encode(f"{account_sid}:{token}".encode()).decode()
        self.script: list[Answer | str | None] = []
        self.placed: list[dict[str, list[str]]] = []
        self.texts: list[dict[str, str]] = []
        self.files: dict[str, bytes] = {}
        self.missing = 0

    async def api(self, path: str, headers: dict[str, str], body: bytes) -> Answer:
        if headers.get("authorization") != self.login:
            return refusal(20003, 401, "Authenticate")
        if path in self.files:
            if self.missing > 0:
                self.missing -= 1
                return refusal(20404, 404, "not found")
            return 200, {"content-type": "audio/mpeg"}, self.files[path]
        if path == f"{self.root}.json":
            return 200, {}, orjson.dumps({"sid": "AC1", "status": "active"})
        pairs = parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True)
        assert headers["content-type"] == "application/x-www-form-urlencoded"
        if path == f"{self.root}/Messages.json":
            self.texts.append(dict(pairs))
            return 201, {}, orjson.dumps({"sid": f"SM{len(self.texts)}", "status": "queued", "error_code": None})
        assert path == f"{self.root}/Calls.json", path
        told = self.script.pop(0) if self.script else None
        if isinstance(told, tuple):
            return told
        form: dict[str, list[str]] = {}
        for name, value in pairs:
            form.setdefault(name, []).append(value)
        self.placed.append(form)
        if told == "drop":
            raise ConnectionError("hung up")
        return 201, {}, orjson.dumps({"sid": f"CAout{len(self.placed)}", "status": "queued"})

    async def expect(self, where: Any, *, within: float = 20) -> Any:
        """The first of `texts` or `placed` for which it holds."""
        import asyncio

        async with asyncio.timeout(within):
            while True:
                for form in [*self.placed, *self.texts]:
                    if where(form):
                        return form
                self.arrived.clear()
                await self.arrived.wait()


class Caller:
    """Somebody on the line, by way of Twilio: each request is signed over the address that we gave for it."""

    def __init__(self, webhook: str, token: str, sid: str, **form: str) -> None:
        self.webhook, self.token = webhook, token
        number, line = form.pop("From", "+447700900123"), form.pop("To", "+442079460018")
        self.form = {
            "CallSid": sid,
            "AccountSid": "AC1",
            "ApiVersion": "2010-04-01",
            "Direction": "inbound",
            "From": number,
            "To": line,
            "Caller": number,
            "Called": line,
            **form,
        }

    async def say(self, client: httpx.AsyncClient, url: str | None = None, **fields: str) -> ElementTree.Element:
        """Twilio tells us something; our TwiML."""
        answer = await self.post(client, url, **fields)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith("text/xml")
        return ElementTree.fromstring(answer.content)

    async def post(self, client: httpx.AsyncClient, url: str | None = None, **fields: str) -> httpx.Response:
        pairs = list({**self.form, **fields}.items())
        where = url or self.webhook
        headers = {
            "content-type": "application/x-www-form-urlencoded; charset=UTF-8",
            "x-twilio-signature": sign(self.token, where, pairs),
        }
        return await client.post(where, content=urlencode(pairs), headers=headers)


def verbs(twiml: ElementTree.Element) -> list[str]:
    assert twiml.tag == "Response"
    return [verb.tag for verb in twiml]


def spoken(twiml: ElementTree.Element) -> str:
    return " ".join(verb.text or "" for verb in twiml.iter("Say"))


def one(twiml: ElementTree.Element, name: str) -> ElementTree.Element:
    found = next(twiml.iter(name), None)
    assert found is not None, ElementTree.tostring(twiml)
    return found


def query_of(url: str) -> Mapping[str, str]:
    return dict(parse_qsl(urlsplit(url).query))
