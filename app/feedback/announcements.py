"""What a customer is told without asking, and when: which policy applies, and what is told of what happened. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app.models.progress import CHANGES, Announced, AnnouncementPolicy
from app.models.words import ConversationStatus
from app.sla.policy import Facts, fits

DAY = timedelta(hours=24)
LIVE = ("webchat", "voice")
"""Channels on which customer and agent talk at the same moment."""
SHIPPED = (
    AnnouncementPolicy(
        code="live",
        name="Chats, calls and other systems show by themselves what happens",
        position=500,
        match={"channel_type": [*LIVE, "partner"]},
        acknowledge=False,
        changes=[],
    ),
    AnnouncementPolicy(
        code="ordinary",
        name="Acknowledged at once; told of changes, but not more than three times a day",
        position=1_000,
        changes=list(CHANGES),
    ),
)


def choose(policies: Sequence[AnnouncementPolicy], facts: Facts) -> AnnouncementPolicy | None:
    """The first active one by (position, code) that matches; without one nothing is told."""
    return next((policy for policy in _ordered(policies) if fits(policy.match, facts)), None)


def may_tell(policies: Sequence[AnnouncementPolicy], channel_type: str) -> bool:
    """Whether anything could be told on such a channel, whatever else is true of a conversation."""
    for policy in _ordered(policies):
        if not fits(
            {name: words for name, words in policy.match.items() if name == "channel_type"},
            {"channel_type": channel_type},
        ):
            continue
        if policy.acknowledge or policy.changes:
            return True
        if set(policy.match) <= {"channel_type"}:
            return False
    return False


def _ordered(policies: Sequence[AnnouncementPolicy]) -> list[AnnouncementPolicy]:
    return sorted((policy for policy in policies if policy.active), key=lambda policy: (policy.position, policy.code))


@dataclass(frozen=True, slots=True)
class Situation:
    """How a matter stands. `told_at`: the notices of late; `wrote_at`: an agent's last message; `live`: they talk to us on
    another channel at this moment."""

    at: datetime
    status: str
    in_hand: bool
    told_at: Sequence[datetime] = ()
    wrote_at: datetime | None = None
    live: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """Tell `what` now; or look again at `again_at`; or neither: there is nothing to tell any more, and `why`."""

    what: Announced | None = None
    again_at: datetime | None = None
    why: str = ""


def decide(policy: AnnouncementPolicy | None, changes: Collection[str], now: Situation) -> Decision:
    """What to do about `changes` that happened and were not told yet: together they are one notice of the present state."""
    if policy is None or not policy.active:
        return Decision(why="no policy")
    wanted = {change for change in changes if change in policy.changes}
    what = _present(wanted, now)
    if what is None or policy.per_day == 0:
        return Decision(why="nothing to tell")
    gap = timedelta(seconds=policy.min_gap_s)
    if now.wrote_at is not None and now.wrote_at + gap > now.at:
        return Decision(why="an agent has written")
    if now.live:
        return Decision(again_at=now.at + max(gap, timedelta(minutes=1)), why="they talk to us")
    if (free_at := _free_at(policy, now.told_at)) is not None and free_at > now.at:
        return Decision(again_at=free_at, why="told lately")
    return Decision(what=what)


def _present(wanted: Collection[str], now: Situation) -> Announced | None:
    """What describes the matter as it is: of several changes the one that still holds, and tells most."""
    if now.status == ConversationStatus.ON_HOLD:
        return Announced.ON_HOLD if Announced.ON_HOLD in wanted else None
    if now.status != ConversationStatus.OPEN:
        return None
    if Announced.REOPENED in wanted:
        return Announced.REOPENED
    if now.in_hand and Announced.ASSIGNED in wanted:
        return Announced.ASSIGNED
    return Announced.TRANSFERRED if Announced.TRANSFERRED in wanted else None


def _free_at(policy: AnnouncementPolicy, told_at: Sequence[datetime]) -> datetime | None:
    """When the next notice may go out; None: nothing was told yet."""
    if not told_at:
        return None
    newest = sorted(told_at)
    free_at = newest[-1] + timedelta(seconds=policy.min_gap_s)
    if len(newest) >= policy.per_day:
        free_at = max(free_at, newest[-policy.per_day] + DAY)
    return free_at


def lately(told_at: Sequence[datetime], at: datetime) -> list[datetime]:
    """Those that still count."""
    return sorted(moment for moment in told_at if moment > at - DAY)


def acknowledges(
    policy: AnnouncementPolicy | None, *, first: Mapping[str, Any] | None, status: str, replied: bool, age_s: float
) -> bool:
    """Whether a conversation `age_s` old is acknowledged; `first` is what there is of its first message: `direction`, `kind`,
    `automatic`. Nothing automatic is answered by something automatic."""
    if policy is None or not policy.acknowledge or first is None:
        return False
    by_hand = (first["direction"], first["kind"], bool(first["automatic"])) == ("inbound", "message", False)
    over = status in (ConversationStatus.RESOLVED, ConversationStatus.CLOSED)
    return by_hand and not over and not replied and age_s <= policy.acknowledge_within_s
