"""Checks of `send`: failures told apart, nothing sent twice, nothing lost, long texts in readable pieces."""

from collections.abc import Callable, Sequence
from typing import Any

import httpx

from app.channels.base import Checking, Outgoing, SendError, SendFailure, Sent
from app.channels.kit.description import Answer, Description
from app.channels.kit.provider import Handler, Provider, always
from app.channels.kit.values import Skipped, a_file, configured, outgoing, outward

_NEEDED = (SendFailure.PERMANENT, SendFailure.RETRY, SendFailure.REAUTH)
_PAGE = Answer(200, b"<html>Welcome to the hotel's network</html>", {"content-type": "text/html"})
# What people see as one: each must arrive whole.
CLUSTERS = (
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466",
    "\U0001f1e8\U0001f1f3",
    "e\u0301",
    "\U0001f44d\U0001f3fd",
    "❤\ufe0f",
)


def sends(description: Description, on_send: Handler) -> Provider:
    """A provider in good health, but for the calls that show something to the customer."""
    given = outward(description)

    def handle(request: httpx.Request) -> Answer | httpx.Response | Exception:
        return on_send(request) if given.is_send(request) else given.accept(request)

    return Provider(handle)


def answering(description: Description, answer: Answer | Exception) -> Provider:
    return sends(description, always(answer))


async def attempt(description: Description, provider: Provider, message: Outgoing) -> Sent | SendError:
    config = configured(description, provider.base)
    async with provider.client() as http:
        try:
            return await description.adapter.send(config, message, http)
        except SendError as error:
            return error


async def failure_of(description: Description, provider: Provider, message: Outgoing | None = None) -> SendError:
    found = await attempt(description, provider, message or outgoing(description))
    assert isinstance(found, SendError), f"the provider refused and the adapter says {found}"
    return found


def _shown(description: Description, provider: Provider) -> list[str]:
    """The texts that reached the customer."""
    given = outward(description)
    return [text for request in provider.requests if given.is_send(request) for text in given.texts(request)]


def _unclear(description: Description) -> SendFailure:
    return SendFailure.RETRY if description.adapter.capabilities.idempotent_send else SendFailure.UNKNOWN


async def a_message_goes_out(description: Description) -> None:
    provider = sends(description, outward(description).accept)
    found = await attempt(description, provider, outgoing(description, "We have found it: 找到了。"))
    assert isinstance(found, Sent), f"a message in good order is refused: {found!r}"
    assert _shown(description, provider) == ["We have found it: 找到了。"]
    foreign = [request.url.host for request in provider.requests if not str(request.url).startswith(provider.base)]
    assert not foreign, f"calls go elsewhere than to api_base: {foreign}"


async def refusals_are_told_apart(description: Description) -> None:
    given = outward(description)
    for failure in SendFailure:
        answer = given.refusal(failure, "no")
        if answer is None:
            assert failure not in _NEEDED, f"describe how the provider says {failure.value!r}"
            continue
        error = await failure_of(description, answering(description, answer))
        assert error.failure is failure, f"{failure.value!r} is read as {error.failure.value!r} ({error.detail})"
        assert error.detail, "people read the detail"


async def server_errors_are_tried_again(description: Description) -> None:
    allowed = {SendFailure.RETRY, _unclear(description)}
    for status in (500, 502, 503, 504):
        error = await failure_of(description, answering(description, Answer(status, _PAGE.body, _PAGE.headers)))
        assert error.failure in allowed, f"{status} is read as {error.failure.value!r}"


async def a_wish_to_wait_is_heard(description: Description) -> None:
    error = await failure_of(description, answering(description, outward(description).retry_after))
    assert error.failure in (SendFailure.RETRY, SendFailure.QUOTA), f"too often is read as {error.failure.value!r}"
    assert error.retry_after_s == 7, f"the provider wants 7 s, the adapter heard {error.retry_after_s}"


async def a_lost_answer_is_not_a_failure(description: Description) -> None:
    """Taken, and then the line was cut: sent again only where that is harmless."""
    for lost in (httpx.ReadTimeout("slow"), httpx.ReadError("cut"), httpx.RemoteProtocolError("hung up")):
        error = await failure_of(description, answering(description, lost))
        wanted = _unclear(description)
        assert error.failure is wanted, f"{type(lost).__name__} is {error.failure.value!r}, must be {wanted.value!r}"
    for refused in (httpx.ConnectError("refused"), httpx.ConnectTimeout("slow"), httpx.PoolTimeout("full")):
        error = await failure_of(description, answering(description, refused))
        assert error.failure is SendFailure.RETRY, f"{type(refused).__name__}: nothing went out, it can be tried again"


async def odd_answers_are_not_believed(description: Description) -> None:
    if not outward(description).body_counts:
        raise Skipped("the provider's status alone is its word")
    bodies = (b"", b"null", b"[]", b'"sent"', b"{", b"\xff\xfe", b"[" * 5000, _PAGE.body)
    for body in bodies:
        error = await failure_of(description, answering(description, Answer(200, body)))
        allowed = {_unclear(description), SendFailure.UNKNOWN}
        assert error.failure in allowed, f"200 with {body[:30]!r} is read as {error.failure.value!r}"


async def redirects_are_not_followed(description: Description) -> None:
    for status in (301, 302, 307, 308):
        provider = answering(description, Answer(status, b"", {"location": "https://elsewhere.test/"}))
        error = await failure_of(description, provider)
        assert error.failure is not SendFailure.UNKNOWN, f"{status} sent nothing, and is not to be asked about"
        assert all(request.url.host != "elsewhere.test" for request in provider.requests), "a redirect was followed"


async def what_cannot_go_out_is_refused_before(description: Description) -> None:
    can = description.adapter.capabilities
    cases: dict[str, tuple[Outgoing, SendFailure]] = {
        "no address": (outgoing(description, address={}), SendFailure.RECIPIENT),
        "no text": (outgoing(description, " \n "), SendFailure.PERMANENT),
        "too long": (outgoing(description, "word " * (can.text_limit * can.max_parts // 4)), SendFailure.PERMANENT),
    }
    if not can.files:
        cases["a file"] = (outgoing(description, files=(a_file(),)), SendFailure.PERMANENT)
    for name, (message, wanted) in cases.items():
        if name in outward(description).takes:
            continue
        provider = sends(description, outward(description).accept)
        found = await attempt(description, provider, message)
        assert isinstance(found, SendError), f"{name}: went out as {_shown(description, provider)!r:.200}"
        assert found.failure is wanted, f"{name}: is {found.failure.value!r}, must be {wanted.value!r}"
        assert not _shown(description, provider), f"{name}: a part went out before the refusal"


async def long_texts_are_split_where_people_read(description: Description) -> None:
    can, width = description.adapter.capabilities, _width(description)
    pieces = min(3, can.max_parts)
    if pieces < 2:
        raise Skipped("a message is one piece")
    for cluster in (*CLUSTERS, "词", "word "):
        text = cluster * (int((pieces - 0.5) * can.text_limit) // width(cluster))
        provider = sends(description, outward(description).accept)
        found = await attempt(description, provider, outgoing(description, text))
        assert isinstance(found, Sent), f"{len(text)} characters are refused: {found!r}"
        shown = _shown(description, provider)
        assert len(shown) > 1, "the text is longer than the limit and went out as one"
        for part in shown:
            assert width(part) <= can.text_limit, f"a part has {width(part)} of {can.text_limit} {can.text_unit}"
            left = part.replace(cluster.strip(), "").strip()
            assert not left, f"a cut went through {cluster!r}: {left[:20]!r} was left"
        assert "".join("".join(shown).split()) == "".join(text.split()), "something of the text is missing"


def _width(description: Description) -> Callable[[str], int]:
    if (width := outward(description).width) is not None:
        return width
    if description.adapter.capabilities.text_unit == "bytes":
        return lambda text: len(text.encode())
    return len


async def half_a_message_is_not_sent_again(description: Description) -> None:
    """The first part is out when the second fails: only where a repetition is harmless may it all be tried again."""
    can = description.adapter.capabilities
    if can.max_parts < 2:
        raise Skipped("a message is one piece")
    given, seen = outward(description), 0

    def second_fails(request: httpx.Request) -> Answer:
        nonlocal seen
        seen += 1
        return given.accept(request) if seen == 1 else Answer(503, b"")

    text = "word " * (can.text_limit * min(given.pieces_per_call * 2, can.max_parts) // 5)
    provider = sends(description, second_fails)
    found = await attempt(description, provider, outgoing(description, text))
    if seen < 2:
        raise Skipped("all parts go in one call")
    assert isinstance(found, SendError)
    assert found.failure is _unclear(description), f"half a message is out, and that is {found.failure.value!r}"


async def a_second_send_carries_the_same_key(description: Description) -> None:
    if not description.adapter.capabilities.idempotent_send:
        raise Skipped("the provider knows no idempotency")
    find = outward(description).idempotency_key
    assert find is not None, "capabilities promise a harmless second send: describe what makes it so"
    seen: list[Any] = []
    for number in (1, 2):
        provider = sends(description, outward(description).accept)
        await attempt(description, provider, outgoing(description, attempt=number))
        keys = [find(request) for request in provider.requests if outward(description).is_send(request)]
        assert keys != [], "nothing was sent"
        assert all(keys), "a send without a key"
        seen.append(keys)
    assert seen[0] == seen[1], "the second attempt has another key: the customer would get it twice"


async def credentials_can_be_tried(description: Description) -> None:
    """`roundtrip doctor`: a good account passes, a refused one is told from a broken one, and nothing is sent."""
    adapter = description.adapter
    if not isinstance(adapter, Checking):
        reason = description.not_checked.get("check")
        assert reason, "the adapter has no `check`: give it one, or say in not_checked['check'] why it cannot"
        raise Skipped(reason)
    refused = outward(description).check_refused
    assert refused is not None, "describe how the provider refuses the credentials of `check`"
    await _check(description, Provider(outward(description).accept), None)
    await _check(description, Provider(always(refused)), (SendFailure.REAUTH,))
    for broken in (
        Answer(503, b""),
        _PAGE,
        Answer(200, b"[]"),
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
    ):
        await _check(description, Provider(always(broken)), tuple(SendFailure))


async def _check(description: Description, provider: Provider, wanted: Sequence[SendFailure] | None) -> None:
    adapter = description.adapter
    assert isinstance(adapter, Checking)
    said: SendError | None = None
    async with provider.client() as http:
        try:
            await adapter.check(configured(description, provider.base), http)
        except SendError as error:
            said = error
    if wanted is None:
        assert said is None, f"a good account is refused: {said.detail if said else ''}"
    else:
        assert said is not None, "the provider refused, and the check has no objection"
        assert said.failure in wanted, f"refused credentials are {said.failure.value!r}, must be 'reauth'"
    sent = [request for request in provider.requests if outward(description).is_send(request)]
    assert not sent, "a check sends nothing to anybody"
