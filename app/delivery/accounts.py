"""How each channel's account stands at its provider, for all processes: limited, refused, or not answering.

An account that is not well pauses alone: what waits for it waits in order, and no attempt is spent on it. `limited` ends by
itself. `broken` is tried with one message at a time. `reauth` ends when the configuration is changed, or when the
provider takes the credentials again (health.py asks; where it cannot, one message finds out).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.channels.base import SendError, SendFailure, Sent
from app.db import settings_of
from app.models.words import AccountState
from app.wakeups import tell, wake

TOPIC = "accounts"
OUTBOX = "outbox"
_LONGEST_PAUSE_S = 86_400.0
_PAUSING = frozenset({SendFailure.RETRY, SendFailure.QUOTA})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one answer says of its account. `pause_s` is the provider's own wish. `state` None: it works."""

    channel_id: UUID
    channel_type: str
    state: AccountState | None
    detail: str | None = None
    pause_s: float = 0.0


def verdict(channel_id: UUID, channel_type: str, result: Sent | SendError) -> Verdict:
    """A refusal of one message shows an account that works."""
    known = (channel_id, channel_type)
    if isinstance(result, Sent):
        return Verdict(*known, None)
    if result.failure is SendFailure.REAUTH:
        return Verdict(*known, AccountState.REAUTH, result.detail)
    if result.failure in _PAUSING and result.retry_after_s is not None:
        return Verdict(*known, None if result.only_this else AccountState.LIMITED, result.detail, pause_s(result))
    if result.failure in (SendFailure.RETRY, SendFailure.UNKNOWN) and not result.only_this:
        return Verdict(*known, AccountState.OK, result.detail)  # a failure to be counted
    return Verdict(*known, None)


def pause_s(error: SendError) -> float:
    """What the provider asks for, within reason."""
    return min(max(error.retry_after_s or 0.0, 0.0), _LONGEST_PAUSE_S)


_LIMITED = text("""
    INSERT INTO channel_state AS s (channel_id, state, detail, failures, half_open, until)
    VALUES (:channel, 'limited', :detail, 0, false, now() + make_interval(secs => :pause_s))
    ON CONFLICT (channel_id) DO UPDATE
    SET until = greatest(s.until, excluded.until), detail = excluded.detail, state = 'limited', failures = 0,
        half_open = false, since = CASE WHEN s.state = 'limited' AND s.until > now() THEN s.since ELSE now() END
    WHERE s.state <> 'reauth' OR s.half_open
    RETURNING since = now() AS news
""")
_REAUTH = text("""
    INSERT INTO channel_state AS s (channel_id, state, detail, failures, half_open, until)
    VALUES (:channel, 'reauth', :detail, 1, false, now() + make_interval(secs => :pause_s))
    ON CONFLICT (channel_id) DO UPDATE
    SET state = 'reauth', detail = excluded.detail, half_open = false,
        failures = CASE WHEN s.state = 'reauth' THEN s.failures + 1 ELSE 1 END,
        since = CASE WHEN s.state = 'reauth' THEN s.since ELSE now() END,
        until = now() + least(:longest_s, :pause_s * power(2, CASE WHEN s.state = 'reauth' THEN least(s.failures, 10) ELSE 0 END))
                * interval '1 second'
    RETURNING since = now() AS news
""")
# The breaker: so many failures in a row open it, each later one for longer; in between one message is let through.
_FAILED = text("""
    INSERT INTO channel_state AS s (channel_id, state, detail, failures, half_open, until)
    VALUES (:channel, CASE WHEN :allowed <= 1 THEN 'broken' ELSE 'ok' END, :detail, 1, :allowed <= 1,
            CASE WHEN :allowed <= 1 THEN now() + make_interval(secs => :pause_s) END)
    ON CONFLICT (channel_id) DO UPDATE
    SET failures = s.failures + 1, detail = excluded.detail,
        state = CASE WHEN s.failures + 1 >= :allowed THEN 'broken' ELSE s.state END,
        half_open = s.failures + 1 >= :allowed,
        since = CASE WHEN s.failures + 1 >= :allowed AND s.state <> 'broken' THEN now() ELSE s.since END,
        until = CASE WHEN s.failures + 1 >= :allowed THEN
            now() + least(:longest_s, :pause_s * power(2, least(s.failures + 1 - :allowed, 10))) * interval '1 second'
            ELSE s.until END
    WHERE s.state IN ('ok', 'broken') OR s.until <= now()
    RETURNING since = now() AND state = 'broken' AS news
""")
_WELL = text(
    "DELETE FROM channel_state WHERE channel_id = :channel AND (state <> 'limited' OR until <= now()) "
    "AND (state <> 'reauth' OR half_open) RETURNING state <> 'ok' AS news"
)
_CLEAR = text("DELETE FROM channel_state WHERE channel_id = :channel RETURNING true AS news")
_SHOWN = text(
    "SELECT ch.id, ch.type, ch.name, s.state, s.detail, s.since, s.until FROM channel ch "
    "LEFT JOIN channel_state s ON s.channel_id = ch.id AND NOT (s.state = 'limited' AND s.until <= now()) "
    "AND s.state <> 'ok' WHERE ch.id = ANY(CAST(:ids AS uuid[]))"
)


async def note(session: AsyncSession, verdicts: Sequence[Verdict]) -> None:
    """Write down what answers said of their accounts, and tell supervisors what is news. After the conversations' locks."""
    for said in sorted(verdicts, key=lambda said: said.channel_id):
        found = await session.execute(_statement(said), _values(session, said))
        row = found.first()
        if row is not None and row.news:
            await _tell(session, said.channel_id)
        if row is not None and said.state is None:
            await wake(session, OUTBOX)
        if said.state is AccountState.REAUTH:
            await wake(session, TOPIC)


def _statement(said: Verdict) -> Any:
    known = {AccountState.LIMITED: _LIMITED, AccountState.REAUTH: _REAUTH, AccountState.OK: _FAILED}
    return _WELL if said.state is None else known[said.state]


def _values(session: AsyncSession, said: Verdict) -> dict[str, Any]:
    settings = settings_of(session)
    given: dict[str, Any] = {"channel": said.channel_id}
    if said.state is None:
        return given
    given["detail"] = (said.detail or "")[:1_000]
    if said.state is AccountState.LIMITED:
        return given | {"pause_s": said.pause_s}
    given["longest_s"] = settings.breaker_longest_s
    given["pause_s"] = settings.reauth_probe_s if said.state is AccountState.REAUTH else settings.breaker_pause_s
    if said.state is AccountState.OK:
        given["allowed"] = settings.breaker_failures
    return given


async def cleared(session: AsyncSession, channel_id: UUID) -> None:
    """Its configuration was changed, or its credentials are good again: everything that waits goes on."""
    if (await session.execute(_CLEAR, {"channel": channel_id})).first() is not None:
        await _tell(session, channel_id)
        await wake(session, OUTBOX)


async def shown(session: AsyncSession, ids: Sequence[UUID]) -> dict[UUID, dict[str, Any]]:
    """The state of these channels, as operators and the desk see it."""
    rows = await session.execute(_SHOWN, {"ids": list(ids)})
    return {
        row.id: {"state": row.state or "ok", "detail": row.detail, "since": row.since, "until": row.until}
        for row in rows
    }


async def _tell(session: AsyncSession, channel_id: UUID) -> None:
    row = (await session.execute(_SHOWN, {"ids": [channel_id]})).first()
    if row is None:
        return
    known = {"state": row.state or "ok", "detail": row.detail, "since": row.since, "until": row.until}
    channel = {"id": str(row.id), "type": row.type, "name": row.name, "account": known}
    await tell(session, {"frame": {"type": "channel.updated", "channel": channel}})
