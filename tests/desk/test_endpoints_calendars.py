"""Calendars over HTTP: written by administrators, read by everyone, compiled before they are stored."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from sqlmodel import select

from app.clock import now
from app.models import Event
from app.sla.calendar import is_open
from tests.desk.house import Caller, House

NINE_TO_SIX = [["09:00", "18:00"]]
WEEKLY = dict.fromkeys(("mon", "tue", "wed", "thu", "fri"), NINE_TO_SIX)
SHANGHAI = {"name": "Shanghai", "time_zone": "Asia/Shanghai", "weekly": WEEKLY, "holidays": {"country": "CN"}}


def ics(*events: str) -> str:
    bodies = "".join(f"BEGIN:VEVENT|UID:{number}|{lines}|END:VEVENT|" for number, lines in enumerate(events))
    return f"BEGIN:VCALENDAR|VERSION:2.0|PRODID:tests|{bodies}END:VCALENDAR|".replace("|", "\r\n")


async def test_calendar_is_made_read_and_changed(house: House, admin: Caller) -> None:
    made = await admin.post("/calendars", SHANGHAI)
    path = f"/calendars/{made['id']}"
    assert made["weekly"] == WEEKLY
    assert made["holidays"] == {"country": "CN"}
    agent = await house.agent()
    assert await agent.get(path) == made
    assert await agent.all("/calendars") == [made]
    changed = await admin.patch(path, 1, {"exceptions": {"2026-12-31": [["09:00", "12:00"]]}, "holidays": None})
    assert changed["exceptions"] == {"2026-12-31": [["09:00", "12:00"]]}
    assert (changed["holidays"], changed["version"]) == (None, 2)
    problem = await admin.patch(path, 1, {"name": "Late"}, expect=412)
    assert problem["code"] == "precondition-failed"
    await admin.call("PATCH", path, json={"name": "No version"}, expect=428)
    async with house.database.begin() as session:
        types = (await session.exec(select(Event.type).order_by(Event.type))).all()
    assert types == ["calendar.created", "calendar.updated"]


async def test_only_administrators_write(house: House, admin: Caller, supervisor: Caller) -> None:
    made = await admin.post("/calendars", SHANGHAI)
    path = f"/calendars/{made['id']}"
    await supervisor.post("/calendars", SHANGHAI, expect=403)
    await supervisor.patch(path, 1, {"name": "Mine"}, expect=403)
    await supervisor.call("DELETE", path, expect=403)
    await supervisor.call("POST", f"{path}/import", content=ics("DTSTART;VALUE=DATE:20261225"), expect=403)
    assert (await supervisor.get(path))["version"] == 1


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"time_zone": "Mars/Olympus"}, "time_zone"),
    ({"weekly": {"monday": NINE_TO_SIX}}, "weekly.monday"),
    ({"weekly": {"mon": [["09:00", "25:00"]]}}, "weekly.mon.0"),
    ({"weekly": {"mon": [["09:00"]]}}, "weekly.mon.0"),
    ({"weekly": {"mon": [["09:00", 18]]}}, "weekly.mon.0.1"),
    ({"weekly": {"mon": "09:00-18:00"}}, "weekly.mon"),
    ({"exceptions": {"2026-02-30": []}}, "exceptions.2026-02-30"),
    ({"exceptions": {"x" * 5_000: []}}, "exceptions." + "x" * 20),
    ({"exceptions": {"2026-12-25": [["a", "b"]]}}, "exceptions.2026-12-25.0"),
    ({"holidays": {"country": "XX"}}, "holidays.country"),
    ({"holidays": {"country": "US", "region": "ENG"}}, "holidays.region"),
    ({"holidays": {"country": "US", "moon": 1}}, "holidays.moon"),
    ({"name": " "}, "name"),
]


async def test_refusal_names_the_field(admin: Caller) -> None:
    made = await admin.post("/calendars", SHANGHAI)
    for given, field in REFUSED:
        assert (await admin.post("/calendars", {**SHANGHAI, **given}, expect=422))["field"] == field
        assert (await admin.patch(f"/calendars/{made['id']}", 1, given, expect=422))["field"] == field
    assert (await admin.patch(f"/calendars/{made['id']}", 1, {"weekly": None}, expect=422))["field"] == "weekly"
    assert await admin.all("/calendars") == [made]


async def test_change_reaches_the_catalog(house: House, admin: Caller) -> None:
    made = await admin.post("/calendars", {**SHANGHAI, "holidays": None})
    monday = datetime.fromisoformat("2026-11-23T02:00:00Z")
    assert is_open((await house.context.catalog.current()).calendars[UUID(made["id"])], monday)
    await admin.patch(f"/calendars/{made['id']}", 1, {"exceptions": {"2026-11-23": []}})
    assert not is_open((await house.context.catalog.current()).calendars[UUID(made["id"])], monday)


async def test_calendar_in_use_stays(house: House, admin: Caller) -> None:
    made = await admin.post("/calendars", SHANGHAI)
    path = f"/calendars/{made['id']}"
    queue_id = await house.queue("Repairs", calendar_id=UUID(made["id"]))
    problem = (await admin.call("DELETE", path, expect=409)).json()
    assert "Repairs" in problem["detail"]
    assert (await admin.patch(path, 1, {"active": False}, expect=409))["code"] == "conflict"
    queue = await admin.get(f"/queues/{queue_id}")
    await admin.patch(f"/queues/{queue_id}", queue["version"], {"calendar_id": None})
    await admin.call("DELETE", path, expect=204)
    await admin.call("DELETE", path, expect=204)
    assert (await admin.get(path))["active"] is False
    assert await admin.all("/calendars", active=True) == []
    await admin.call("DELETE", "/calendars/01930000-0000-7000-8000-000000000000", expect=404)


OPEN = [
    ("2026-02-13T02:00:00Z", True, "2026-02-13T10:00:00.000000Z", "weekly", None),
    ("2026-02-14T09:59:59.999999Z", True, "2026-02-14T10:00:00.000000Z", "shifted_day", None),
    ("2026-02-14T10:00:00Z", False, "2026-02-24T01:00:00.000000Z", "shifted_day", None),
    ("2026-02-17T02:00:00Z", False, "2026-02-24T01:00:00.000000Z", "holiday", "Chinese New Year (Spring Festival)"),
    ("2026-12-31T12:00:00+08:00", False, "2027-01-04T01:00:00.000000Z", "exception", None),
]


@pytest.mark.parametrize(("at", "is_open", "until", "because", "holiday"), OPEN)
async def test_is_it_open(admin: Caller, at: str, is_open: bool, until: str, because: str, holiday: str | None) -> None:
    made = await admin.post("/calendars", {**SHANGHAI, "exceptions": {"2026-12-31": []}})
    answer = await admin.get(f"/calendars/{made['id']}/open", params={"at": at})
    assert (answer["open"], answer["until"], answer["because"], answer["holiday"]) == (is_open, until, because, holiday)


async def test_open_now_for_good_and_at_no_moment(admin: Caller) -> None:
    made = await admin.post("/calendars", {"name": "Never", "weekly": {}})
    answer = await admin.get(f"/calendars/{made['id']}/open")
    assert (answer["open"], answer["until"]) == (False, None)
    assert abs((datetime.fromisoformat(answer["at"]) - now()).total_seconds()) < 60
    for at in ("yesterday", "2026-11-22T10:00:00", "9999-12-31T23:59:59-12:00"):
        problem = await admin.call("GET", f"/calendars/{made['id']}/open", params={"at": at}, expect=422)
        assert problem.json()["field"] == "at"


async def test_import_adds_exceptions(house: House, admin: Caller) -> None:
    made = await admin.post("/calendars", {**SHANGHAI, "exceptions": {"2020-01-01": []}})
    path = f"/calendars/{made['id']}/import"
    year = now().year
    raw = ics(f"DTSTART;VALUE=DATE:{year}1225|RRULE:FREQ=YEARLY").encode()
    headers = {"Content-Type": "text/calendar; charset=utf-8"}
    answer = (await admin.call("POST", path, content=raw, headers=headers, params={"years": 2}, expect=200)).json()
    days: dict[str, Any] = {f"{year}-12-25": [], f"{year + 1}-12-25": []}
    assert answer["imported"] == days
    assert answer["calendar"]["exceptions"] == {"2020-01-01": [], **days}
    assert answer["calendar"]["version"] == 2
    special = {"ics": ics(f"DTSTART:{year}1225T100000|DTEND:{year}1225T120000")}
    again = await admin.post(path, special, expect=200, params={"meaning": "open"})
    assert again["imported"] == {f"{year}-12-25": [["10:00", "12:00"]]}
    assert again["calendar"] == await admin.get(f"/calendars/{made['id']}")
    await admin.call("POST", path, content=raw, headers={**headers, "If-Match": '"1"'}, expect=412)


async def test_import_that_is_refused_changes_nothing(admin: Caller) -> None:
    made = await admin.post("/calendars", SHANGHAI)
    path = f"/calendars/{made['id']}/import"
    refused: list[dict[str, Any]] = [
        {"content": b"hello"},
        {"content": b"\xff\xfe"},
        {"content": ics("DTSTART;VALUE=DATE:20260101|RRULE:FREQ=YEARLY;BYSETPOS=1").encode()},
        {"json": {"ics": 5}},
        {"json": {}},
    ]
    for options in refused:
        problem = (await admin.call("POST", path, expect=422, **options)).json()
        assert problem["field"] == "ics", options
    broken: dict[str, Any] = {"content": b"{", "headers": {"Content-Type": "application/json"}}
    assert (await admin.call("POST", path, expect=400, **broken)).json()["code"] == "bad-request"
    forever = ics("DTSTART;VALUE=DATE:20260101|RRULE:FREQ=DAILY")
    await admin.call("POST", path, content=forever.encode(), params={"years": 11}, expect=422)
    assert await admin.get(f"/calendars/{made['id']}") == made
