"""From a parsed message to the row-shaped values of ingest.sql: classified, routed, with its targets (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any
from uuid import UUID

import orjson

from app import log
from app.catalog import Catalog, ChannelAccount
from app.channels.base import InboundMessage
from app.conversations import grading
from app.conversations.grading import Grade
from app.events import shapes
from app.ids import new_id
from app.intake.language import by_script
from app.models import SlaPolicy
from app.models.words import AuthorType, Direction, MessageKind
from app.routing.classify import RANK, Classified, Classifier
from app.routing.queues import choose_queue
from app.sla import stages
from app.sla.policy import METRICS, OPENING, seconds, targets

_FACTS = ("channel_type", "category", "matter", "severity", "warranty", "queue")
_logger = log.get("intake")


@dataclass(frozen=True, slots=True)
class Prepared:
    """One message, ready for a batch. `item` is the JSON that ingest.sql describes; `target` the conversation that a
    reply names. `answers`: it says which receipt it answers (presses.py)."""

    channel_id: UUID
    external_id: str
    kind: str
    value: str
    target: UUID | None
    item: str
    classified: Classified
    answers: bool = False


@dataclass(frozen=True, slots=True)
class _Place:
    """Where conversations of a category wait, and what they cost there."""

    queue_id: UUID
    queue_name: str
    weight: int


class Preparer:
    """Holds the compiled rules of one catalog version, and what it has worked out with them so far."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self._place = cache(self._find_place)
        self._aims = cache(self._find_aims)
        self._grade = cache(partial(grading.grade, catalog.graded))
        self._tiers = sorted({word for policy in catalog.policies for word in policy.match.get("tier", ())})
        self._classifier = Classifier(catalog.rules)
        for code, why in self._classifier.skipped:
            _logger.error("classification rule left out", code=code, why=why)

    def _find_place(self, account_queue_id: UUID | None, category: str) -> _Place:
        queue = choose_queue(self.catalog, account_queue_id, category)
        setting = self.catalog.categories[category]
        return _Place(queue.id, queue.name, setting.weight)

    def _find_aims(self, facts: tuple[str | None, ...]) -> dict[str, Any]:
        """Time limits, and those for each tier of contacts that a policy asks for. There are as many facts as words
        for them: each combination is worked out once per catalog."""
        usual = self._aims_of(facts, None)
        of = {tier: self._aims_of(facts, tier) for tier in self._tiers}
        tiers = {tier: aims for tier, aims in of.items() if aims != usual}
        return {"aims": _written_once(usual), "tiers": _written_once(tiers)}

    def _aims_of(self, facts: tuple[str | None, ...], tier: str | None) -> dict[str, Any]:
        found = targets(self.catalog.policies, {**dict(zip(_FACTS, facts, strict=True)), "tier": tier})
        if found is None:
            return {"policy_id": None, "limits": [None] * len(METRICS), "clocks": []}
        clocks = [_clock(metric, found.by[metric]) for metric in OPENING if metric in found.by]
        return {"policy_id": found.policy.id, "limits": found.limits(), "clocks": clocks}

    def prepare(
        self,
        account: ChannelAccount,
        message: InboundMessage,
        *,
        target: UUID | None,
        files: Sequence[dict[str, Any]],
        correlation_id: str,
        answer: Mapping[str, Any] | None = None,
    ) -> Prepared:
        """Everything that can be known of a message before the database is asked. An `answer` to a receipt is kept with it."""
        found = self._classifier.classify(message.text, subject=message.subject, hint=message.category)
        place = self._place(account.queue_id, found.category)
        grade = self._grade(found.category, found.matter, found.severity, found.complaint_type)
        facts = (account.type, found.category, found.matter, found.severity, found.warranty, place.queue_name)
        sender = message.sender
        item = {
            **_written(message, files, correlation_id, answer),
            **_opening(account, message, found, place, grade, self._aims(facts)),
        }
        row = orjson.dumps(item, default=str).decode()
        # However often a button is pressed, it is one message.
        external_id = f"press:{message.pressed}" if message.pressed is not None and answer else message.external_id
        return Prepared(account.id, external_id, sender.kind, sender.value, target, row, found, answer is not None)


def language(message: InboundMessage) -> str | None:
    """The sender's, as the provider says or as they write."""
    return message.sender.language or by_script(message.text if message.text.strip() else message.subject or "")


def _written_once(value: dict[str, Any]) -> orjson.Fragment:
    """As JSON already: it goes with every message."""
    return orjson.Fragment(orjson.dumps(value, default=str))


def _clock(metric: str, policy: SlaPolicy) -> dict[str, Any]:
    """A clock as ingest.sql makes it; without `after_us` its stages depend on a calendar."""
    target_s = seconds(policy, metric)
    assert target_s is not None, "this policy sets the limit"
    plan = stages.plan(policy, target_s)
    return {
        "policy_id": policy.id,
        "metric": metric,
        "target_s": target_s,
        "calendar_id": policy.calendar_id,
        "breach_stage": plan.breach,
        "after_us": [] if policy.calendar_id else list(stages.offsets(plan)),
    }


def _written(
    message: InboundMessage, files: Sequence[dict[str, Any]], correlation_id: str, answer: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The message itself; `shown` is its public shape, to which ingest.sql adds place, author and time."""
    sender, message_id = message.sender, new_id()
    ours = message.call is not None and message.call["direction"] == "outbound"
    shown = shapes.message(
        id=message_id,
        conversation_id=None,
        seq=None,
        direction=Direction.OUTBOUND if ours else Direction.INBOUND,
        kind=MessageKind.MESSAGE if message.call is None else MessageKind.CALL,
        author_type=AuthorType.SYSTEM if ours else AuthorType.CONTACT,
        author_id=None,
        author_name=None,
        text=message.text,
        subject=message.subject,
        attachments=files,
        status=None,
        error=None,
        client_message_id=message.client_message_id,
        created_at=None,
        sent_at=message.sent_at,
    )
    if message.content.get("entered"):
        shown["entered"] = message.content["entered"]
    if message.call is not None:
        shown["call"] = shapes.call(message.call)
    return {
        "message_id": message_id,
        "name": sender.name,
        "email": sender.email,
        "phone": sender.phone,
        "language": language(message),
        "address": dict(sender.address),
        "text": message.text,
        "subject": message.subject,
        "content": {**({"automatic": True} if message.automatic else {}), **_content(message, answer)},
        "automatic": message.automatic,
        "quiet": message.automatic or answer is not None,
        **({"kind": MessageKind.CALL, "ours": ours} if message.call is not None else {}),
        "attachments": files,
        "thread_key": message.thread_key,
        "client_message_id": message.client_message_id,
        "external_ref": message.external_ref,
        "correlation_id": correlation_id,
        "sent_at": message.sent_at,
        "shown": shown,
    }


def _content(message: InboundMessage, answer: Mapping[str, Any] | None) -> dict[str, Any]:
    """What an answer means is our word alone."""
    given = {name: value for name, value in message.content.items() if name != "answer"}
    return {**given, "answer": dict(answer)} if answer is not None else given


def _opening(
    account: ChannelAccount,
    message: InboundMessage,
    found: Classified,
    place: _Place,
    grade: Grade,
    aims: dict[str, Any],
) -> dict[str, Any]:
    """What is made when this is somebody's first message: contact, conversation, its entry in a queue, its clocks."""
    conversation_id = new_id()
    opened = shapes.new_conversation(
        id=conversation_id,
        channel_id=account.id,
        channel_type=account.type,
        queue_id=place.queue_id,
        category=found.category,
        matter=found.matter,
        severity=found.severity,
        complaint_type=found.complaint_type,
        priority=RANK[found.category],
        subject=message.subject,
        external_ref=message.external_ref,
    )
    return {
        "identity_id": new_id(),
        "contact_id": message.sender.contact_id or new_id(),
        "conversation_id": conversation_id,
        "classification_id": new_id(),
        "channel_type": account.type,
        "category": found.category,
        "matter": found.matter,
        "severity": found.severity,
        "complaint_type": found.complaint_type,
        "rank": RANK[found.category],
        "fired": found.fired,
        "queue_id": place.queue_id,
        "weight": place.weight,
        "escalated": grade.escalate,
        "specialists": grade.specialists,
        "warranty": found.warranty,
        **aims,
        "clock_ids": [new_id() for _ in OPENING],
        "opened": opened,
    }
