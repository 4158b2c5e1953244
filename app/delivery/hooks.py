"""The caller of webhooks: what a stage of a clock asks others to be told, outside any transaction, until they have it.

At least once: a call whose answer was lost is made again, with the same `webhook-id`.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from uuid import UUID

import httpx
import orjson
from prometheus_client import Counter as Metric
from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app import clock, log
from app.channels import provider, signatures
from app.db import Database
from app.delivery.backoff import Schedule, wait_s
from app.delivery.guard import GuardedTransport, PrivateAddress
from app.in_flight import InFlight
from app.models import Conversation, SlaAction, SlaClock, SlaPolicy
from app.settings import Settings
from app.sla import measures
from app.vault import Vault

CALLS = Metric("roundtrip_sla_webhooks_total", "Calls of the webhooks of SLA policies, by outcome", ["outcome"])
_BUSY_S = 0.02
_LEASE_MARGIN_S = 30
_GONE = 410
_ERROR = 500
_logger = log.get("webhooks")

_OURS = "a.state = 'pending' AND a.action->>'webhook' IS NOT NULL"
_FREE = "a.due_at <= now() AND (a.lease_until IS NULL OR a.lease_until <= now())"
# A receiver that has all its calls in flight is passed over, so that one that hangs does not hold up the others.
_CLAIM = text(f"""
    WITH front AS MATERIALIZED (
        SELECT a.id, a.due_at, a.action->>'webhook' AS url FROM sla_action a
        WHERE {_OURS} AND {_FREE} AND a.action->>'webhook' <> ALL(CAST(:full AS text[]))
        ORDER BY a.due_at, a.id LIMIT 200
    ), ranked AS (
        SELECT f.id, f.due_at, row_number() OVER (PARTITION BY f.url ORDER BY f.due_at, f.id) + coalesce(b.calls, 0) AS n
        FROM front f
        LEFT JOIN unnest(CAST(:urls AS text[]), CAST(:calls AS int[])) AS b(url, calls) ON b.url = f.url
    ), due AS MATERIALIZED (
        SELECT a.id FROM sla_action a JOIN ranked r ON r.id = a.id
        WHERE r.n <= :per_url AND {_OURS} AND {_FREE}
        ORDER BY r.due_at, a.id LIMIT :room FOR UPDATE OF a SKIP LOCKED
    )
    UPDATE sla_action a SET attempts = a.attempts + 1, lease_until = now() + make_interval(secs => :lease_s)
    FROM due WHERE a.id = due.id
    RETURNING a.id, CAST(extract(epoch FROM now() - a.created_at) AS float8) AS age_s
""")
_NEXT = text(f"""
    SELECT CAST(extract(epoch FROM min(greatest(a.due_at, a.lease_until)) - now()) AS float8) FROM sla_action a
    WHERE {_OURS} AND a.action->>'webhook' <> ALL(CAST(:full AS text[]))
""")
_DONE = text(
    "UPDATE sla_action SET state = 'done', done_at = now(), lease_until = NULL, error = NULL "
    "WHERE id = :id AND state = 'pending'"
)
# One that was overtaken, because its lease ran out, has no say any more.
_AGAIN = text(
    "UPDATE sla_action SET due_at = now() + make_interval(secs => :seconds), lease_until = NULL, error = :error "
    "WHERE id = :id AND attempts = :attempt AND state = 'pending'"
)
_DEAD = text(
    "UPDATE sla_action SET state = 'dead', done_at = now(), lease_until = NULL, error = :error "
    "WHERE id = :id AND attempts = :attempt AND state = 'pending'"
)


@dataclass(frozen=True, slots=True)
class Call:
    """One that we alone make until the lease ends. `age_s` counts from the stage that asked for it."""

    action_id: UUID
    conversation_id: UUID
    url: str
    body: bytes
    attempt: int
    age_s: float
    correlation_id: str | None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a call was not taken. `final`: there is no use in trying again."""

    error: str
    final: bool = False
    retry_after_s: float | None = None


class Hooks:
    """One per process, stepped by a background loop on the topic `sla-actions`; `poke` wakes that loop."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        settings: Settings,
        *,
        poke: Callable[[], None],
        transport: httpx.AsyncBaseTransport | None = None,
        schedule: Schedule = Schedule(),
        total: int = 16,
        per_url: int = 4,
    ) -> None:
        self._database, self._schedule = database, schedule
        self._key, self._timeout_s = vault.webhook_key, settings.send_timeout_s
        self._total, self._per_url = total, per_url
        guarded = transport or GuardedTransport(private=settings.webhook_private)
        self._http = httpx.AsyncClient(
            transport=guarded, follow_redirects=False, trust_env=False, timeout=settings.send_timeout_s
        )
        self._flight: InFlight[str] = InFlight(poke)
        self._rng = Random()

    async def step(self) -> float | None:
        """Put due calls in flight and return without waiting for them; seconds until the next one is due.

        None: nothing waits, or there is no room. The end of each call pokes, because it makes room.
        """
        async with self._flight.taking:
            room = self._total - len(self._flight)
            if self._flight.draining or room <= 0:
                return None
            async with self._database.begin() as session:
                calls = await self._claim(session, room)
                busy = self._flight.by_key + Counter(call.url for call in calls)
                delay: float | None = None
                if len(calls) < room:
                    delay = (await session.execute(_NEXT, {"full": self._full(busy)})).scalar()
            for call in calls:
                self._launch(call)
            return delay if delay is None else max(delay, _BUSY_S)

    async def idle(self) -> None:
        """Wait until every call that is in flight now is written down."""
        await self._flight.idle()

    async def drain(self, within_s: float) -> None:
        """Take nothing new and wait for what is in flight. What is cut off is called again after its lease."""
        await self._flight.drain(within_s)
        await self._http.aclose()

    def _full(self, busy: Counter[str]) -> list[str]:
        return [url for url, calls in busy.items() if calls >= self._per_url]

    async def _claim(self, session: AsyncSession, room: int) -> list[Call]:
        busy = self._flight.by_key
        given = {"full": self._full(busy), "urls": list(busy), "calls": list(busy.values()), "per_url": self._per_url}
        lease_s = self._timeout_s + _LEASE_MARGIN_S
        claimed = (await session.execute(_CLAIM, {**given, "room": room, "lease_s": lease_s})).all()
        if not claimed:
            return []
        ages = {row.id: row.age_s for row in claimed}
        found = await session.execute(
            select(SlaAction, SlaClock, SlaPolicy, Conversation)
            .join(SlaClock, col(SlaClock.id) == col(SlaAction.clock_id))
            .join(SlaPolicy, col(SlaPolicy.id) == col(SlaAction.policy_id))
            .join(Conversation, col(Conversation.id) == col(SlaAction.conversation_id))
            .where(col(SlaAction.id).in_(list(ages)))
        )
        return [
            Call(
                action_id=action.id,
                conversation_id=conversation.id,
                url=action.action["webhook"],
                body=_body(action, of, policy, conversation),
                attempt=action.attempts,
                age_s=ages[action.id],
                correlation_id=conversation.correlation_id,
            )
            for action, of, policy, conversation in found.all()
        ]

    def _launch(self, call: Call) -> None:
        self._flight.launch(self._bring(call), name=f"webhook {call.action_id}", key=call.url)

    async def _bring(self, call: Call) -> None:
        log.correlation.set(call.correlation_id)
        started = time.perf_counter()
        failure = await self._call(call)
        seconds = time.perf_counter() - started
        try:
            async with self._database.begin() as session:
                outcome = await self._settle(session, call, failure, call.age_s + seconds)
        except Exception as error:
            _logger.error("outcome lost", action_id=call.action_id, error=repr(error))
            return
        CALLS.labels(outcome).inc()
        speak = _logger.info if failure is None else _logger.warning
        speak(
            "sla webhook",
            action_id=call.action_id,
            conversation_id=call.conversation_id,
            host=httpx.URL(call.url).host,
            attempt=call.attempt,
            outcome=outcome,
            detail=failure.error if failure else None,
            ms=round(seconds * 1000, 1),
        )

    async def _call(self, call: Call) -> Failure | None:
        at = clock.now()
        headers = signatures.sign_webhook(self._key, str(call.action_id), call.body, at=at)
        headers["content-type"] = "application/json"
        try:
            async with asyncio.timeout(self._timeout_s):
                request = self._http.build_request("POST", call.url, content=call.body, headers=headers)
                response = await self._http.send(request, stream=True)
                try:
                    return None if response.is_success else await _refused(response)
                finally:
                    await response.aclose()
        except PrivateAddress as error:
            return Failure(str(error), final=True)
        except TimeoutError:
            return Failure(f"no answer within {self._timeout_s:g} s")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return Failure(f"no answer ({type(error).__name__})")
        except Exception as error:
            _logger.error("webhook failed", action_id=call.action_id, error=repr(error), exc_info=True)
            return Failure(f"our own code failed ({type(error).__name__})")

    async def _settle(self, session: AsyncSession, call: Call, failure: Failure | None, elapsed_s: float) -> str:
        """Write down what a call came to; the word for it."""
        if failure is None:
            await session.execute(_DONE, {"id": call.action_id})
            return "done"
        seconds = None if failure.final else self._wait_s(call, failure, elapsed_s)
        of = {"id": call.action_id, "attempt": call.attempt, "error": failure.error[:_ERROR]}
        if seconds is None:
            await session.execute(_DEAD, of)
            return "dead"
        await session.execute(_AGAIN, {**of, "seconds": seconds})
        return "retry"

    def _wait_s(self, call: Call, failure: Failure, elapsed_s: float) -> float | None:
        asked = failure.retry_after_s
        return wait_s(self._schedule, call.attempt, elapsed_s=elapsed_s, retry_after_s=asked, rng=self._rng)


async def _refused(response: httpx.Response) -> Failure:
    status = response.status_code
    if response.is_redirect:
        return Failure(f"answered {status}: redirects are not followed")
    said = await provider.excerpt(response)
    asked = provider.retry_after(response.headers.get("retry-after"), at=clock.now())
    return Failure(f"answered {status}" + (f": {said}" if said else ""), status == _GONE, asked)


def _body(action: SlaAction, of: SlaClock, policy: SlaPolicy, conversation: Conversation) -> bytes:
    """`{type, timestamp, data}`: the event as consoles see it, at the time at which it was noticed."""
    data = measures.frame(conversation, of, policy)
    data["clock"]["level"] = action.level
    moment = clock.rfc3339(action.created_at)
    return orjson.dumps({"type": f"sla.{action.kind}", "timestamp": moment, "data": data})
