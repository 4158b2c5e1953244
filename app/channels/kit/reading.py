"""Checks of `parse`: whole batches, stable keys, unknown kinds, and any bytes at all within bounds."""

import sys
import tracemalloc
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from types import FrameType
from typing import Any

from app.channels.base import ChangeKind, Parsed, Unparseable
from app.channels.kit.description import Description
from app.channels.kit.mutate import GARBAGE, mutations
from app.channels.kit.values import NOW, Skipped, configured, incoming, payloads, read, require_storable
from app.errors import NotGenuine

_MOST = 300
_BYTES_PER_BYTE = 100
_SPARE_BYTES = 4_000_000


def _message(description: Description) -> Callable[[str, str], bytes]:
    made = incoming(description).message
    if made is None:
        raise Skipped(description.not_checked.get("message", "calls hold no messages"))
    return made


def _ids(parsed: Parsed) -> list[str]:
    return [
        *(message.external_id for message in parsed.messages),
        *(change.key for change in parsed.changes),
        *(echo.external_id for echo in parsed.echoes),
        *(call.key for call in parsed.calls),
        *(refusal.key for refusal in parsed.refusals),
    ]


def a_message_is_read(description: Description) -> None:
    parsed = read(description, _message(description)("k1", "hello there"))
    assert not parsed.errors, f"a plain message has errors: {parsed.errors}"
    assert [message.text for message in parsed.messages] == ["hello there"]
    [message] = parsed.messages
    assert message.sender.address, "the sender has no address: nobody could answer"


def keys_are_stable(description: Description) -> None:
    """A provider repeats a call, maybe an hour later and signed anew: the ids must be the same."""
    for payload in payloads(description):
        first, again = (read(description, payload, at=NOW + later) for later in (timedelta(), timedelta(hours=1)))
        assert _ids(first) == _ids(again), f"the same call twice has other ids: {payload[:200]!r}"
    message = _message(description)
    ids = {_ids(read(description, message(key, "same words")))[0] for key in ("k1", "k2", "k3")}
    assert len(ids) == 3, "different messages with the same words have the same id"


def one_bad_item_spoils_nothing(description: Description) -> None:
    given, message = incoming(description), _message(description)
    if given.batch is None:
        raise Skipped("the provider sends one item per call")
    items = [message("k1", "one"), message("k2", "two"), message("k3", "three")]
    parsed = read(description, given.batch(items))
    assert [item.text for item in parsed.messages] == ["one", "two", "three"], "a batch was not read whole"
    if given.bad is None:
        return
    parsed = read(description, given.batch([items[0], given.bad, items[1], given.unknown, given.bad, items[2]]))
    assert [item.text for item in parsed.messages] == ["one", "two", "three"], "a bad item took good ones with it"
    assert parsed.errors, "a bad item is named in errors"


def unknown_kinds_are_named(description: Description) -> None:
    parsed = read(description, incoming(description).unknown)
    assert _ids(parsed) == [], "an unknown kind was taken for something"
    assert not parsed.statuses, "an unknown kind was taken for a status"
    assert any(parsed.ignored), "an unknown kind is named in `ignored`"


def edits_and_deletions_are_changes(description: Description) -> None:
    given, can = incoming(description), description.adapter.capabilities
    if not (can.edits or can.deletes):
        raise Skipped("customers cannot change what they wrote")
    message = _message(description)
    [original] = read(description, message("k1", "hello")).messages
    if can.edits:
        assert given.edit is not None, "capabilities promise edits: describe how one looks"
        [change] = read(description, given.edit("k1", "changed")).changes
        assert (change.kind, change.external_id, change.text) == (ChangeKind.EDIT, original.external_id, "changed")
    if can.deletes:
        assert given.delete is not None, "capabilities promise deletions: describe how one looks"
        [change] = read(description, given.delete("k1")).changes
        assert (change.kind, change.external_id) == (ChangeKind.DELETE, original.external_id)


def statuses_are_told_apart(description: Description) -> None:
    given, can = incoming(description), description.adapter.capabilities
    if given.status is None:
        promised = can.delivered or can.read
        assert not promised, "capabilities promise statuses: describe how one looks"
        raise Skipped("the provider tells no statuses")
    for word in given.statuses:
        statuses = read(description, given.status("p1", word)).statuses
        assert [status.status for status in statuses] == [word], f"the status {word!r} was read as {statuses}"


def any_bytes_are_read_or_unparseable(description: Description) -> None:
    """Genuine, because an attacker may be a customer and a provider may have a bad day. Nothing but Unparseable."""
    for payload in GARBAGE:
        _survive(description, payload)


def mutated_payloads_are_survived(description: Description) -> None:
    """Every leaf becomes something else, every field goes missing: what comes out can always be stored."""
    for number, payload in enumerate(payloads(description)):
        for changed in mutations(payload, most=_MOST, seed=number):
            _survive(description, changed)


def _survive(description: Description, payload: bytes) -> Parsed | None:
    try:
        parsed = read(description, payload)
    except (Unparseable, NotGenuine):
        return None
    except Skipped:
        raise
    except Exception as error:
        raise AssertionError(f"{error!r} for {payload[:300]!r}") from error
    try:
        require_storable(parsed, configured(description))
    except (AssertionError, TypeError, ValueError) as error:
        raise AssertionError(f"not storable ({error}): {payload[:300]!r}") from error
    return parsed


def work_grows_with_the_size_only(description: Description) -> None:
    """Calls of functions, counted: twice the batch is twice the work, on whatever machine."""
    given, message = incoming(description), _message(description)
    sizes = (200, 400, 800)
    if given.batch is not None:
        bodies = [given.batch([message(f"k{number}", "hello") for number in range(size)]) for size in sizes]
    else:
        bodies = [message("k1", "word " * size * 10) for size in sizes]
    small, _, large = (_steps(partial(_survive, description, body)) for body in bodies)
    assert large <= small * 6 + 10_000, f"four times the size costs {large} steps instead of {small}"


def _steps(work: Callable[[], Any]) -> int:
    steps, before = 0, sys.getprofile()

    def count(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal steps
        steps += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
    return steps


def memory_grows_with_the_size_only(description: Description) -> None:
    for payload in (*GARBAGE, *payloads(description)):
        tracemalloc.start()
        try:
            read(description, payload)
        except (Unparseable, NotGenuine):
            pass
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        most = _SPARE_BYTES + _BYTES_PER_BYTE * len(payload)
        assert peak <= most, f"{len(payload)} bytes took {peak} bytes of memory: {payload[:100]!r}"
