"""Tell Roundtrip of a FreeSWITCH's calls: its event socket becomes the signed telephone events of a `voice` channel.

    ESL_HOST=pbx ESL_PORT=8021 ESL_PASSWORD=... RECORDINGS=https://pbx.example/recordings \\
    ROUNDTRIP_WEBHOOK=https://desk.example/channels/<id>/webhook ROUNDTRIP_SECRET=whsec_... python freeswitch_bridge.py

`frames` and `mapped` are the whole of the translation; the rest is a connection that comes back when it is lost. Needs
httpx. docs/phone.md tells more.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import time
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, unquote

import httpx

EVENTS = "CHANNEL_CREATE CHANNEL_ANSWER DTMF RECORD_STOP CHANNEL_HANGUP_COMPLETE"
_LIMIT = 1_000_000
_AGAIN_S = (1, 2, 5, 15, 30)


def headers_of(block: str) -> dict[str, str]:
    """`Name: value` lines; values are percent-encoded."""
    pairs = (line.partition(": ") for line in block.splitlines())
    return {name: unquote(value) for name, colon, value in pairs if colon}


def frames(data: bytes) -> Iterator[tuple[dict[str, str], str]]:
    """(headers, body) of each whole frame in `data`. The body of an event is a block of headers again, which may have a
    body of its own."""
    while True:
        data = data.lstrip(b"\r\n")
        head, blank, rest = data.partition(b"\n\n")
        if not blank:
            return
        headers = headers_of(head.decode("utf-8", "replace"))
        length = _length(headers)
        if len(rest) < length:
            return
        yield headers, rest[:length].decode("utf-8", "replace")
        data = rest[length:]


def _length(headers: Mapping[str, str]) -> int:
    given = headers.get("Content-Length", "0")
    return min(int(given), _LIMIT) if given.isascii() and given.isdigit() and len(given) < 10 else 0


def event_of(text: str) -> dict[str, str]:
    """A `text/event-plain` body, or one that was saved with the frame around it."""
    head, _, rest = text.replace("\r\n", "\n").partition("\n\n")
    found = headers_of(head)
    return found if "Event-Name" in found or not rest else event_of(rest)


def mapped(event: Mapping[str, str], *, recordings: str = "") -> dict[str, Any] | None:
    """An event as one of ours; None for one that says nothing of a customer's call. Legs that ring agents are not theirs:
    they go out, and have another leg.

    `recordings` is the address at which the folder of recordings is served.
    """
    call_id, name = event.get("Unique-ID"), event.get("Event-Name")
    if not call_id or not name:
        return None
    outbound = event.get("Call-Direction") == "outbound"
    if outbound and (event.get("Other-Leg-Unique-ID") or event.get("variable_originator")):
        return None
    said = {
        "call_id": call_id,
        "direction": "outbound" if outbound else "inbound",
        "from": event.get("Caller-Caller-ID-Number") or "",
        "to": event.get("Caller-Destination-Number"),
        "at": moment(event.get("Event-Date-Timestamp")),
    }
    if name == "CHANNEL_CREATE":
        return {"event": "call.started", **said}
    if name == "CHANNEL_ANSWER":
        return {"event": "call.answered", **said}
    if name == "DTMF":
        return {"event": "call.dtmf", **said, "digits": event.get("DTMF-Digit")}
    if name == "CHANNEL_HANGUP_COMPLETE":
        return {"event": "call.ended", **said, "cause": event.get("Hangup-Cause")}
    if name == "RECORD_STOP" and (path := event.get("Record-File-Path") or event.get("variable_record_file_path")):
        seconds = event.get("variable_record_seconds", "")
        file = {"url": f"{recordings}/{quote(path.rpartition('/')[2])}", "mime": "audio/wav"}
        return {"event": "call.recording", **said, "recording": {**file, "duration_s": int(seconds) if seconds.isdigit() else None}}  # fmt: skip
    return None


def moment(given: str | None) -> str | None:
    """Microseconds since 1970."""
    try:
        return datetime.fromtimestamp(int(given or "") / 1_000_000, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return None


def signed(secret: str, body: bytes) -> dict[str, str]:
    """The headers of Standard Webhooks."""
    key = base64.b64decode(secret.removeprefix("whsec_") + "==")
    call, at = f"esl_{uuid.uuid4().hex}", str(int(time.time()))
    mac = hmac.digest(key, f"{call}.{at}.".encode() + body, hashlib.sha256)
    return {
        "content-type": "application/json",
        "webhook-id": call,
        "webhook-timestamp": at,
        "webhook-signature": "v1," + base64.b64encode(mac).decode(),
    }


async def tell(http: httpx.AsyncClient, webhook: str, secret: str, said: Mapping[str, Any]) -> dict[str, Any]:
    """Until it is stored; our answer says what to do with the caller now (docs/phone.md)."""
    body = json.dumps(said).encode()
    for wait_s in (*_AGAIN_S, None):
        try:
            answer = await http.post(webhook, content=body, headers=signed(secret, body))
            if answer.is_success:
                return dict(answer.json())
            if answer.status_code < 500:
                answer.raise_for_status()
        except httpx.TransportError:
            pass
        if wait_s is None:
            raise ConnectionError("Roundtrip does not answer")
        await asyncio.sleep(wait_s)
    return {}


async def _frame(reader: asyncio.StreamReader) -> tuple[dict[str, str], str]:
    headers = headers_of((await reader.readuntil(b"\n\n")).decode("utf-8", "replace").strip())
    return headers, (await reader.readexactly(_length(headers))).decode("utf-8", "replace")


async def listen(env: Mapping[str, str], http: httpx.AsyncClient) -> None:
    """One connection, until it is lost."""
    reader, writer = await asyncio.open_connection(env["ESL_HOST"], int(env.get("ESL_PORT", "8021")), limit=_LIMIT)
    try:
        await _frame(reader)  # auth/request
        for command in (f"auth {env['ESL_PASSWORD']}", f"event plain {EVENTS}"):
            writer.write(f"{command}\n\n".encode())
            headers, _ = await _frame(reader)
            if not headers.get("Reply-Text", "").startswith("+OK"):
                raise PermissionError(f"FreeSWITCH said {headers.get('Reply-Text')}")
        while True:
            headers, body = await _frame(reader)
            if headers.get("Content-Type") != "text/event-plain":
                continue
            said = mapped(event_of(body), recordings=env.get("RECORDINGS", ""))
            if said is not None:
                print(said["event"], said["call_id"], await tell(http, env["ROUNDTRIP_WEBHOOK"], env["ROUNDTRIP_SECRET"], said))  # fmt: skip
    finally:
        writer.close()


async def run(env: Mapping[str, str]) -> None:
    async with httpx.AsyncClient(timeout=20) as http:
        while True:
            try:
                await listen(env, http)
            except (OSError, asyncio.IncompleteReadError) as error:
                if isinstance(error, PermissionError):
                    raise
                await asyncio.sleep(2)


if __name__ == "__main__":
    asyncio.run(run(os.environ))
