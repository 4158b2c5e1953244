"""How a telephone call stands, worked out of all that was told of it: the same in whatever order it was told (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from app.channels.base import CallUpdate, Sender
from app.channels.text import TEXT_LIMIT, clean
from app.channels.voice_numbers import is_withheld
from app.clock import rfc3339

Entry = Mapping[str, Any]
_NEVER = datetime(9999, 12, 31, tzinfo=UTC)


def entry(update: CallUpdate) -> dict[str, Any]:
    """An update as the row keeps it; what it leaves out is left out."""
    recording = update.recording
    kept: dict[str, Any] = {
        "key": update.key,
        "call_id": update.call_id,
        "state": update.state,
        "at": rfc3339(update.at) if update.at else None,
        "order": update.order,
        "direction": update.direction,
        "caller": update.caller,
        "callee": update.callee,
        "number": _number(update.sender),
        "cause": update.cause,
        "duration_s": update.duration_s,
        "talk_s": update.talk_s,
        "unanswered": update.unanswered,
        "transcript": update.transcript,
        "digits": update.digits,
        "recording": str(recording.ref["id"]) if recording else None,
        "recording_s": recording.ref.get("duration_s") if recording else None,
        "content": dict(update.content) or None,
    }
    return {name: value for name, value in kept.items() if value is not None}


def _number(sender: Sender | None) -> str | None:
    """Where a telephone would reach them; who has none goes by their name there."""
    if sender is None or sender.kind == "anonymous":
        return None
    return sender.phone or sender.value


def fold(told: Iterable[Entry]) -> dict[str, Any]:
    """`{call_id, state, direction, from, to, started_at, answered_at, ended_at, duration_s, talk_s, cause, recording, recording_s,
    transcript, digits, answered_by, attempts, details}`. Times are RFC 3339; what is not known is None.

    Who is first to answer, or to hang up, counts; of words the latest. `missed` is a call that came in and was over
    before anybody answered it; `voicemail` one that left a message.
    """
    entries = sorted(told, key=_place)
    answered, ended = _first(entries, "answered"), _first(entries, "ended", "missed")
    begun = _first(entries, "ringing") or min((_at(item) for item in entries), default=None)
    talked = max(_all(entries, "talk_s"), default=None)
    if answered is None and talked:
        answered = min(_at(item) - timedelta(seconds=item["talk_s"]) for item in entries if item.get("talk_s"))
    if answered is not None and begun is not None:
        answered = max(answered, begun)
    outbound = any(item.get("direction") == "outbound" for item in entries)
    spoken = any(item.get("state") == "voicemail" for item in entries)
    if talked is None and answered is not None and ended is not None:
        talked = max((ended - answered).total_seconds(), 0.0)
    lasted = max(_all(entries, "duration_s"), default=None)
    if lasted is None and begun is not None and ended is not None:
        lasted = max((ended - begun).total_seconds(), 0.0)
    details: dict[str, Any] = {}
    for item in entries:
        details |= item.get("content") or {}
    return {
        "call_id": _last(entries, "call_id"),
        "state": _state(answered, ended, outbound=outbound, spoken=spoken, entries=entries),
        "direction": "outbound" if outbound else "inbound",
        "from": _last(entries, "number" if not outbound else "caller") or _last(entries, "caller"),
        "to": _last(entries, "number" if outbound else "callee") or _last(entries, "callee"),
        "started_at": _written(begun),
        "answered_at": _written(answered),
        "ended_at": _written(ended),
        "duration_s": lasted,
        "talk_s": talked,
        "cause": _last(entries, "cause"),
        "recording": _last(entries, "recording"),
        "recording_s": _last(entries, "recording_s"),
        "transcript": _transcript(entries),
        "digits": "".join(_all(entries, "digits")) or None,
        "answered_by": details.pop("answered_by", None),
        "attempts": sum(1 for item in entries if item.get("unanswered")),
        "details": details,
    }


def _place(item: Entry) -> tuple[datetime, int, str]:
    return _at(item), item.get("order") or 0, item["key"]


def _at(item: Entry) -> datetime:
    return datetime.fromisoformat(item["at"]) if item.get("at") else _NEVER


def _first(entries: Sequence[Entry], *states: str) -> datetime | None:
    return min((_at(item) for item in entries if item.get("state") in states), default=None)


def _all(entries: Sequence[Entry], name: str) -> list[Any]:
    return [item[name] for item in entries if item.get(name) is not None]


def _last(entries: Sequence[Entry], name: str) -> Any:
    found = _all(entries, name)
    return found[-1] if found else None


def _transcript(entries: Sequence[Entry]) -> str | None:
    """A later one of the whole call replaces what came before; two people may well say the same twice."""
    found = _last(entries, "transcript")
    return clean(found, TEXT_LIMIT // 2) if found else None


def _state(
    answered: datetime | None, ended: datetime | None, *, outbound: bool, spoken: bool, entries: Sequence[Entry]
) -> str:
    if spoken:
        return "voicemail"
    if ended is not None:
        return "ended" if answered is not None or outbound else "missed"
    if answered is not None:
        return "answered"
    states = {item.get("state") for item in entries}
    return "queued" if "queued" in states and "ringing" not in states else "ringing"


def _written(moment: datetime | None) -> str | None:
    return rfc3339(moment) if moment is not None else None


def is_over(call: Mapping[str, Any]) -> bool:
    """Nobody is on the line any more, or only to leave a message."""
    return bool(call) and (call["ended_at"] is not None or call["state"] == "voicemail")


def waited_s(call: Mapping[str, Any]) -> float | None:
    """From its beginning to the answer, by the clock of who told both."""
    if call.get("started_at") is None or call.get("answered_at") is None:
        return None
    begun, answered = (datetime.fromisoformat(call[name]) for name in ("started_at", "answered_at"))
    return max((answered - begun).total_seconds(), 0.0)


_HEADS = {"missed": "Missed call from", "voicemail": "Voicemail from"}


def text_of(call: Mapping[str, Any]) -> str:
    """One line for lists, and what was said."""
    if call["direction"] == "outbound":
        head = f"Telephone call to {call['to'] or 'a number that was not told'}"
    else:
        head = f"{_HEADS.get(call['state'], 'Telephone call from')} {_who(call['from'])}"
    return f"{head}\n\n{call['transcript']}" if call["transcript"] else head


def _who(given: str | None) -> str:
    return "a withheld number" if given is None or is_withheld(given) else given
