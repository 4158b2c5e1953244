"""Checks of `fetch`: at most so many bytes, from the provider only, with the credentials nowhere else."""

import httpx

from app.channels.base import Fetching, RemoteFile
from app.channels.kit.description import Answer, Description, Files
from app.channels.kit.provider import Endless, Handler, Provider, always
from app.channels.kit.values import Skipped, configured, secret_values
from app.channels.provider import FetchError

_LIMIT = 100_000
_SPARE = 200_000
# Inside the operator's own network, on this machine, and somebody else's.
_ELSEWHERE = (
    "http://169.254.169.254/latest/meta-data/",
    "http://127.0.0.1:1/",
    "http://[::1]:1/",
    "http://10.0.0.1/",
    "https://elsewhere.test/file",
    "//elsewhere.test/file",
    "file:///etc/passwd",
)
_ODD: tuple[object, ...] = (None, "", 1, [], {}, "../../x", "a/b?c#d", "\0", "http://[", "x" * 10_000)


def _files(description: Description) -> Files:
    if not isinstance(description.adapter, Fetching) or "files" in description.not_checked:
        raise Skipped(description.not_checked.get("files", "messages name no files of the provider"))
    assert description.files is not None, "the adapter fetches files: describe one (Description.files)"
    return description.files


def _provider(description: Description, content: Handler) -> Provider:
    files = _files(description)
    return Provider(lambda request: content(request) if files.is_content(request) else files.before(request))


async def _fetch(description: Description, provider: Provider, *, limit: int = _LIMIT) -> bytes | FetchError:
    return await _fetch_file(description, provider, _files(description).file(provider.base), limit=limit)


async def _fetch_file(
    description: Description, provider: Provider, file: RemoteFile, *, limit: int
) -> bytes | FetchError:
    adapter = description.adapter
    assert isinstance(adapter, Fetching)
    async with provider.client() as http:
        try:
            return await adapter.fetch(configured(description, provider.base), file, http, limit=limit)
        except FetchError as error:
            return error


async def files_come_within_their_limit(description: Description) -> None:
    for size in (1, _LIMIT):
        data = b"x" * size
        answer = Answer(200, data, {"content-type": "image/png"})
        found = await _fetch(description, _provider(description, always(answer)))
        assert found == data, f"{size} bytes of {_LIMIT} allowed came as {found!r:.100}"
    large = Answer(200, b"x" * (_LIMIT + 1), {"content-type": "image/png"})
    found = await _fetch(description, _provider(description, always(large)))
    assert isinstance(found, FetchError), "a file of one byte more than the limit was taken"
    assert not found.retry, "a file that is too large is so later too"


async def endless_files_are_cut_off(description: Description) -> None:
    """Refused while it comes, whatever the length that was promised."""
    for headers in ({}, {"content-length": "10"}):
        body = Endless()
        response = httpx.Response(200, stream=body, headers={"content-type": "image/png", **headers})
        found = await _fetch(description, _provider(description, always(response)))
        assert isinstance(found, FetchError), "a file without an end was taken"
        assert body.given <= _LIMIT + _SPARE, f"{body.given} bytes were read before anybody said no"


async def files_lie_at_the_provider_only(description: Description) -> None:
    secrets = secret_values(configured(description))
    for place in _ELSEWHERE:
        answer = Answer(302, b"", {"location": place})
        provider = _provider(description, always(answer))
        found = await _fetch(description, provider)
        assert isinstance(found, FetchError), f"a redirect to {place} was followed"
        away = [request for request in provider.requests if not str(request.url).startswith(provider.base)]
        assert not away, f"a redirect to {place} was followed"
        assert not any(secret in found.detail for secret in secrets)


async def failures_of_files_are_told_apart(description: Description) -> None:
    for answer, retry in (
        (_files(description).gone, False),
        (Answer(500, b""), True),
        (Answer(503, b""), True),
        (httpx.ReadTimeout("slow"), True),
        (httpx.ConnectError("refused"), True),
    ):
        found = await _fetch(description, _provider(description, always(answer)))
        assert isinstance(found, FetchError), f"{answer} gave {found!r:.100}"
        assert found.retry is retry, f"{answer}: later it may {'' if retry else 'not '}work"


async def odd_references_are_refused(description: Description) -> None:
    """What a message says about its file is the customer's word."""
    good = _files(description).file("https://provider.test")
    for odd in _ODD:
        for ref in (dict.fromkeys(good.ref, odd), {}):
            provider = _provider(description, always(Answer(200, b"x")))
            file = RemoteFile(good.name, good.media_type, good.size, ref)
            found = await _fetch_file(description, provider, file, limit=_LIMIT)
            away = [request for request in provider.requests if not str(request.url).startswith(provider.base)]
            assert not away, f"the reference {odd!r:.60} led to {away[0].url}"
            assert isinstance(found, FetchError | bytes)
