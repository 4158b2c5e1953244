"""Invitations and the answers to them (RFC 5546) as plain values; the file itself stays a file. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import icalendar

from app.channels import mail_charset
from app.channels.base import InboundFile
from app.channels.text import clean, word

TYPES = ("text/calendar", "application/ics")
SIZE_LIMIT = 200_000
_LINES_LIMIT = 5_000
_ATTENDEES_LIMIT = 100
_METHODS = frozenset({"PUBLISH", "REQUEST", "REPLY", "ADD", "CANCEL", "REFRESH", "COUNTER", "DECLINECOUNTER"})
_ANSWERS = frozenset({"ACCEPTED", "DECLINED", "TENTATIVE", "DELEGATED", "NEEDS-ACTION"})


def is_calendar(file: InboundFile) -> bool:
    return file.media_type in TYPES or (
        file.media_type in ("application/octet-stream", "text/plain") and file.name.lower().endswith(".ics")
    )


def read(files: Sequence[InboundFile]) -> dict[str, Any] | None:
    """The first event of the first calendar file that can be read; None when there is none.

    `{"method", "uid", "sequence", "summary", "start", "end", "all_day", "timezone", "location", "description", "organizer",
    "attendees", "status", "recurrence", "reply"}`: what is not known is left out. Times are RFC 3339, in UTC where their zone
    is known; a time without a zone is as it was written. `reply` is `{"email", "status"}` of an answer.
    """
    for file in files:
        if is_calendar(file) and (found := _event(file.data)) is not None:
            return found
    return None


def _event(data: bytes) -> dict[str, Any] | None:
    if len(data) > SIZE_LIMIT or data.count(b"\n") > _LINES_LIMIT:
        return None
    try:
        calendar = icalendar.Calendar.from_ical(_first(mail_charset.decode(data, "utf-8")))
        event = next((part for part in calendar.walk() if part.name in ("VEVENT", "VTODO")), None)
        return None if event is None else _facts(calendar, event)
    except Exception:  # whatever the library makes of hostile input, the file is kept
        return None


def _first(text: str) -> str:
    """Files with several calendars in a row happen; one is enough."""
    end = text.upper().find("END:VCALENDAR")
    return text if end < 0 else text[: end + len("END:VCALENDAR")] + "\r\n"


def _facts(calendar: Any, event: Any) -> dict[str, Any]:
    method = str(calendar.get("METHOD") or "").strip().upper()
    start, end = _moment(event, "DTSTART"), _end(event)
    attendees = [found for each in _list(event.get("ATTENDEE"))[:_ATTENDEES_LIMIT] if (found := _person(each))]
    facts = {
        "method": method if method in _METHODS else None,
        "uid": word(str(event.get("UID") or ""), 400),
        "sequence": _number(event.get("SEQUENCE")),
        "summary": word(str(event.get("SUMMARY") or ""), 1_000),
        "start": _written(start),
        "end": _written(end),
        "all_day": (isinstance(start, date) and not isinstance(start, datetime)) or None,
        "timezone": word(str(getattr(event.get("DTSTART"), "params", {}).get("TZID") or ""), 100),
        "location": word(str(event.get("LOCATION") or ""), 1_000),
        "description": clean(str(event.get("DESCRIPTION") or ""), 5_000).strip() or None,
        "organizer": _person(event.get("ORGANIZER")),
        "attendees": attendees or None,
        "status": word(str(event.get("STATUS") or ""), 30),
        "recurrence": _recurrence(event),
    }
    if method == "REPLY" and attendees:
        facts["reply"] = {"email": attendees[0]["email"], "status": attendees[0].get("status", "needs-action")}
    return {name: value for name, value in facts.items() if value is not None}


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [] if value is None else [value]


def _person(value: Any) -> dict[str, str] | None:
    value = _list(value)[0] if _list(value) else None
    if value is None:
        return None
    address = clean(str(value), 400).strip()
    address = address[7:] if address.lower().startswith("mailto:") else address
    if "@" not in address:
        return None
    params = getattr(value, "params", {})
    answer = str(params.get("PARTSTAT") or "").upper()
    given = {
        "email": address.lower(),
        "name": word(str(params.get("CN") or ""), 200),
        "status": answer.lower() if answer in _ANSWERS else None,
    }
    return {name: item for name, item in given.items() if item}


def _moment(event: Any, name: str) -> date | None:
    value = getattr(_list(event.get(name))[0] if _list(event.get(name)) else None, "dt", None)
    return value if isinstance(value, date) else None


def _end(event: Any) -> date | None:
    end = _moment(event, "DTEND") or _moment(event, "DUE")
    length = getattr(event.get("DURATION"), "dt", None)
    start = _moment(event, "DTSTART")
    if end is None and start is not None and isinstance(length, timedelta):
        return start + length
    return end


def _written(value: date | None) -> str | None:
    if isinstance(value, datetime) and value.tzinfo is not None:
        value = value.astimezone(UTC)
    return value.isoformat() if value is not None else None


def _number(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def _recurrence(event: Any) -> str | None:
    rule = event.get("RRULE")
    rule = _list(rule)[0] if _list(rule) else None
    return (
        word(rule.to_ical().decode("utf-8", "replace"), 500) if rule is not None and hasattr(rule, "to_ical") else None
    )
