"""From a parsed message to the row-shaped values of ingest.sql: classified, routed, with its targets (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from app import log
from app.catalog import Catalog, ChannelAccount
from app.channels.base import InboundMessage
from app.events import shapes
from app.ids import new_id
from app.models import Queue
from app.models.words import AuthorType, ClockMetric, Direction, MessageKind
from app.routing.classify import RANK, Classified, Classifier
from app.routing.queues import choose_queue
from app.sla.policy import Targets, targets

_logger = log.get("intake")


@dataclass(frozen=True, slots=True)
class Prepared:
    """One message, ready for a batch. `item` is the JSON that ingest.sql describes; `target` the conversation that a
    reply names."""

    channel_id: UUID
    external_id: str
    kind: str
    value: str
    target: UUID | None
    item: str
    classified: Classified


class Preparer:
    """Holds the compiled rules of one catalog version."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self._classifier = Classifier(catalog.rules)
        for code, why in self._classifier.skipped:
            _logger.error("classification rule left out", code=code, why=why)

    def prepare(
        self,
        account: ChannelAccount,
        message: InboundMessage,
        *,
        target: UUID | None,
        files: Sequence[dict[str, Any]],
        correlation_id: str,
        received_at: datetime,
    ) -> Prepared:
        found = self._classifier.classify(message.text, subject=message.subject, hint=message.category)
        queue = choose_queue(self.catalog, account.queue_id, found.category)
        setting = self.catalog.categories[found.category]
        aims = targets(self.catalog.policies, _facts(account, found, queue))
        sender, message_id, conversation_id = message.sender, new_id(), new_id()
        shape = shapes.message(
            id=message_id,
            conversation_id=None,
            seq=None,
            direction=Direction.INBOUND,
            kind=MessageKind.MESSAGE,
            author_type=AuthorType.CONTACT,
            author_id=None,
            author_name=sender.name,
            text=message.text,
            subject=message.subject,
            attachments=files,
            status=None,
            error=None,
            client_message_id=message.client_message_id,
            created_at=received_at,
            sent_at=message.sent_at,
        )
        item = {
            "identity_id": new_id(),
            "contact_id": new_id(),
            "conversation_id": conversation_id,
            "message_id": message_id,
            "classification_id": new_id(),
            "channel_type": account.type,
            "name": sender.name,
            "email": sender.email,
            "phone": sender.phone,
            "language": sender.language,
            "address": dict(sender.address),
            "text": message.text,
            "subject": message.subject,
            "content": dict(message.content),
            "automatic": message.automatic,
            "attachments": files,
            "thread_key": message.thread_key,
            "client_message_id": message.client_message_id,
            "external_ref": message.external_ref,
            "correlation_id": correlation_id,
            "sent_at": message.sent_at,
            "category": found.category,
            "matter": found.matter,
            "severity": found.severity,
            "complaint_type": found.complaint_type,
            "rank": RANK[found.category],
            "fired": found.fired,
            "queue_id": queue.id,
            "weight": setting.weight,
            "boost_s": setting.boost_s,
            "policy_id": aims.policy.id if aims else None,
            "clocks": _clocks(aims),
            "frame": {"message": shape},
            "opened": {"conversation": _opened(conversation_id, account, found, queue.id, message, received_at)},
        }
        return Prepared(
            account.id,
            message.external_id,
            sender.kind,
            sender.value,
            target,
            orjson.dumps(item, default=str).decode(),
            found,
        )


def _facts(account: ChannelAccount, found: Classified, queue: Queue) -> dict[str, str | None]:
    return {
        "channel_type": account.type,
        "category": found.category,
        "matter": found.matter,
        "severity": found.severity,
        "tier": "standard",
        "warranty": found.warranty,
        "queue": queue.name,
    }


def _clocks(aims: Targets | None) -> list[dict[str, Any]]:
    """Each under the policy that sets its limit."""
    if aims is None:
        return []
    wanted = (
        (ClockMetric.FIRST_RESPONSE, aims.first_response_by, aims.first_response_s),
        (ClockMetric.RESOLUTION, aims.resolution_by, aims.resolution_s),
    )
    return [
        {"id": new_id(), "policy_id": by.id, "metric": metric, "target_s": target_s, "warn_percent": by.warn_percent}
        for metric, by, target_s in wanted
        if by is not None and target_s is not None
    ]


def _opened(
    conversation_id: UUID,
    account: ChannelAccount,
    found: Classified,
    queue_id: UUID,
    message: InboundMessage,
    received_at: datetime,
) -> dict[str, Any]:
    """The conversation as it is when its first message is stored; ingest.sql adds the contact."""
    moment = shapes.moment(received_at)
    return {
        "id": conversation_id,
        "channel_id": account.id,
        "channel_type": account.type,
        "contact_id": None,
        "queue_id": queue_id,
        "status": "open",
        "category": found.category,
        "matter": found.matter,
        "severity": found.severity,
        "complaint_type": found.complaint_type,
        "priority": RANK[found.category],
        "owner_id": None,
        "assignee_id": None,
        "subject": message.subject,
        "external_ref": message.external_ref,
        "cycle": 1,
        "last_seq": 1,
        "snoozed_until": None,
        "resolved_at": None,
        "closed_at": None,
        "created_at": moment,
        "updated_at": moment,
    }
