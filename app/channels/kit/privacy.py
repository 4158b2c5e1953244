"""Checks that secrets stay inside: not in logs, errors, addresses, at rest in the clear, nor in what refuses them."""

import base64
import logging
import traceback
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import httpx
import orjson
from pydantic import ValidationError

from app.channels.base import Checking, Fetching, SendError, SendFailure, Sent
from app.channels.config import secret_fields, split
from app.channels.kit.description import Answer, Description
from app.channels.kit.provider import Handler, Provider
from app.channels.kit.sending import sends
from app.channels.kit.values import configured, outgoing, outward, secret_values
from app.channels.provider import FetchError

_SECRET_WORDS = ("secret", "token", "password", "aes_key", "api_key", "private_key")


def secrets_are_marked(description: Description) -> None:
    """What is named like a secret is one: sealed at rest, never returned by the API, starred in a repr."""
    model, config = description.adapter.config_model, configured(description)
    hidden = secret_fields(model)
    named = [name for name in model.model_fields if any(word in name for word in _SECRET_WORDS)]
    open_ = [name for name in named if name not in hidden and isinstance(getattr(config, name), str)]
    assert not open_, f"these fields look like secrets and are none (SecretStr): {open_}"
    public, _ = split(config)
    for secret in secret_values(config):
        assert secret not in repr(public), "a secret is among the public fields"
        assert secret not in repr(config), "a secret is in the configuration's repr"


def the_configuration_survives_storing(description: Description) -> None:
    """The house stores public fields and sealed secrets apart, as JSON, and puts them together again."""
    config = configured(description)
    public, secrets = (orjson.loads(orjson.dumps(part)) for part in split(config))
    again = description.adapter.config_model.model_validate({**public, **secrets})
    assert split(again) == split(config), "the configuration is another one after it was stored"


def bad_configurations_name_the_field_only(description: Description) -> None:
    model, given = description.adapter.config_model, dict(description.config("https://provider.test"))
    _refused(model, {**given, "nobody-knows-this": 1}, "nobody-knows-this", [])
    for name, field in model.model_fields.items():
        if field.is_required():
            _refused(model, {other: given[other] for other in given if other != name}, name, [])
        value = given.get(name)
        if isinstance(value, str):
            wrong = ["hidden-value-1", "hidden-value-2"]
            _refused(model, {**given, name: {"wrong": wrong}}, name, wrong)
    for name in secret_fields(model):
        wrong_text = "hidden value \0 with \n every : thing / that @ is wrong"
        try:
            model.model_validate({**given, name: wrong_text})
        except ValidationError as error:
            _names(error, name, [wrong_text, "every : thing"])


def _refused(model: Any, given: dict[str, Any], name: str, values: list[str]) -> None:
    try:
        model.model_validate(given)
    except ValidationError as error:
        _names(error, name, values)
    else:
        raise AssertionError(f"a configuration with a wrong or without {name!r} is accepted")


def _names(error: ValidationError, name: str, values: list[str]) -> None:
    listed = error.errors(include_input=False, include_context=False)
    named = [name in map(str, item["loc"]) or name in item["msg"] for item in listed]
    assert any(named), f"the refusal of {name!r} does not name it: {listed}"
    said = str(error) + repr([item["msg"] for item in listed])
    assert not any(value in said for value in values), (
        f"the refusal of {name!r} repeats the value (hide_input_in_errors)"
    )


async def secrets_are_never_told(description: Description) -> None:
    """Logs of everybody at DEBUG, errors and their stories, while the provider quotes back to us what we sent it."""
    secrets = [*secret_values(configured(description)), *outward(description).issued]
    for provider in _provoking(description):
        with _listening() as heard:
            async with provider.client() as http:
                heard += [text async for text in _all_calls(description, provider.base, http)]
        for secret in secrets:
            found = [text for text in heard if secret in text or quote(secret, safe="") in text]
            assert not found, f"a secret was told: {found[0].replace(secret, '<the secret>')[-600:]}"


def _provoking(description: Description) -> Iterator[Provider]:
    given = outward(description)

    def refusing(failure: SendFailure) -> Handler:
        return lambda request: given.refusal(failure, _quoted(request)) or given.accept(request)

    yield sends(description, given.accept)
    for failure in (SendFailure.PERMANENT, SendFailure.REAUTH, SendFailure.RETRY, SendFailure.CONFIG):
        yield sends(description, refusing(failure))
        yield Provider(refusing(failure))
    yield from map(Provider, map(_answering, (200, 401, 404, 500)))
    yield Provider(
        lambda request: Answer(302, b"", {"location": f"https://elsewhere.test/?{request.url.query.decode()}"})
    )
    yield Provider(lambda request: httpx.ConnectError(_quoted(request)))
    yield Provider(lambda request: httpx.ReadTimeout(_quoted(request)))


def _answering(status: int) -> Handler:
    return lambda request: Answer(status, _quoted(request).encode())


def _quoted(request: httpx.Request) -> str:
    """Everything that we sent, as an angry server might print it."""
    login = request.headers.get("authorization", "").removeprefix("Basic ").encode()
    try:
        decoded = base64.b64decode(login, validate=True).decode()
    except ValueError:
        decoded = ""
    headers = " ".join(f"{name}={value}" for name, value in request.headers.items())
    return f"cannot {request.url} {headers} {decoded} {request.content[:2000].decode(errors='replace')}"


async def _all_calls(description: Description, base: str, http: httpx.AsyncClient) -> AsyncIterator[str]:
    """What each failure says, as a log with its whole story would have it."""
    adapter, config = description.adapter, configured(description, base)
    calls: list[Awaitable[object]] = [adapter.send(config, outgoing(description), http)]
    if isinstance(adapter, Checking):
        calls.append(adapter.check(config, http))
    if isinstance(adapter, Fetching) and description.files is not None:
        calls.append(adapter.fetch(config, description.files.file(base), http, limit=1000))
    for call in calls:
        try:
            sent = await call
            yield repr(sent) if isinstance(sent, Sent) else ""  # the bytes of a file are the provider's own
        except (SendError, FetchError) as error:
            yield "".join([*traceback.format_exception(error), repr(error), error.detail])


@contextmanager
def _listening() -> Iterator[list[str]]:
    heard: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(self.format(record))

    root, ear = logging.getLogger(), Ear(logging.DEBUG)
    loggers = [root, *(logging.getLogger(name) for name in ("httpx", "httpcore", "asyncio"))]
    levels = [logger.level for logger in loggers]
    root.addHandler(ear)
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    try:
        yield heard
    finally:
        root.removeHandler(ear)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
