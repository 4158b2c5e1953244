"""The example in docs/sla.md is what GET /conversations/{id}/sla gives, field by field."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from app.ids import new_id
from app.models import Calendar, SlaClock, SlaPause, SlaPolicy
from app.sla import arming
from tests.desk.house import Caller, House

DOCS = Path(__file__).resolve().parent.parent.parent / "docs" / "sla.md"
FRIDAY = datetime(2026, 11, 20, 15, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


async def asked(house: House, caller: Caller) -> dict[str, Any]:
    """A clock from Friday afternoon, with a pause of half an hour."""
    weekly = {day: [["09:00", "17:00"]] for day in ("mon", "tue", "wed", "thu", "fri")}
    office = Calendar(name="London office", time_zone="Europe/London", weekly=weekly)
    policy = SlaPolicy(
        code="orders",
        name="Orders",
        position=5,
        match={"matter": ["enquiry"], "channel_type": ["partner"]},
        resolution_s=4 * 3_600,
        calendar_id=office.id,
        warnings=[{"percent": 80, "do": [{"notify": "owner"}]}],
        escalations=[
            {"after_s": 0, "level": 1, "do": [{"priority": 5}, {"requeue": True}]},
            {"after_s": 3_600, "level": 2, "do": [{"webhook": "https://ops.example.com/late"}]},
        ],
    )
    await house.add(office, policy)
    conversation_id = await house.conversation(await house.default_queue(), sla_policy_id=policy.id)
    clock = SlaClock(
        conversation_id=conversation_id,
        policy_id=policy.id,
        metric="resolution",
        target_s=4 * 3_600,
        calendar_id=office.id,
        calendar_version=1,
        elapsed_us=1_800_000_000,
        running_since=FRIDAY + 60 * MINUTE,
        next_at=FRIDAY,
        created_at=FRIDAY,
    )
    still = SlaPause(
        id=new_id(),
        clock_id=clock.id,
        reason="waiting_on_customer",
        started_at=FRIDAY + 30 * MINUTE,
        ended_at=FRIDAY + 60 * MINUTE,
    )
    await house.add(clock, still)
    async with house.database.begin() as session:
        await arming.arm(session, [conversation_id])
    [shown] = (await caller.get(f"/conversations/{conversation_id}/sla"))["items"]
    return dict(shown)


async def test_the_example_is_what_is_shown(house: House, supervisor: Caller) -> None:
    shown = await asked(house, supervisor)
    block = re.search(r"```json\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert block, "docs/sla.md has an example"
    example = json.loads(block[1])
    assert _keys(example) == _keys(shown)
    for name in (
        "policy",
        "metric",
        "target_s",
        "started_at",
        "due_at",
        "calendar",
        "because",
        "pauses",
        "stages",
        "why",
    ):
        assert _bare(example[name]) == _bare(shown[name]), name
    assert example["intervals"][:2] == shown["intervals"][:2]


def _keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _keys(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return _keys(value[0]) if value else None
    return None


def _bare(value: Any) -> Any:
    """Without ids, which are new each time."""
    return {k: v for k, v in value.items() if k != "id"} if isinstance(value, dict) else value
