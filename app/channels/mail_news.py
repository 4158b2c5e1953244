"""What a delivery report or complaint means to the house: statuses of our mails, and who is not to be written to. Pure."""

from __future__ import annotations

import hashlib

from app.channels.base import Parsed, Refusal, RefusalReason, Sender, SendFailure, StatusUpdate
from app.channels.mail_bounces import Failed, Report
from app.channels.mail_reasons import Reason

BOUNCE, COMPLAINT, DELAY, RECEIPT = "bounce", "complaint", "delivery delayed", "read receipt"
_FAILURES = {Reason.ADDRESS: SendFailure.RECIPIENT, Reason.FULL: SendFailure.RECIPIENT}


def parsed(report: Report, raw: bytes) -> Parsed:
    """No message: a report by itself opens no conversation. `ignored` names it for the journal."""
    digest = hashlib.sha256(raw).hexdigest()[:32]
    kinds = (
        (COMPLAINT, report.complaint),
        (DELAY, _all(report, "delayed")),
        (RECEIPT, _all(report, "displayed", "relayed")),
    )
    named = [name for name, there in kinds if there] or [BOUNCE]
    statuses = [status for item in report.recipients for status in _statuses(report, item)]
    return Parsed(
        statuses=tuple(statuses),
        refusals=tuple(found for item in report.recipients if (found := _refusal(item, digest))),
        ignored=tuple(named),
    )


def _all(report: Report, *actions: str) -> bool:
    return bool(report.recipients) and all(item.action in actions for item in report.recipients)


def _statuses(report: Report, item: Failed) -> list[StatusUpdate]:
    """One for each id that the report may mean: only one of them is known to us."""
    if item.action in ("delayed", "relayed", "expanded") or (not report.message_ids and report.message_id is None):
        return []
    failed = item.action == "failed"
    our_id = str(report.message_id) if report.message_id else None
    return [
        StatusUpdate(
            provider_message_id=message_id,
            status="failed" if failed else "read" if item.action == "displayed" else "delivered",
            detail=detail_of(item) if failed else None,
            recipient=_sender(item),
            our_id=our_id,
            failure=_FAILURES.get(item.reason, SendFailure.PERMANENT) if failed else None,
        )
        for message_id in (report.message_ids[:3] or [""])
    ]


def detail_of(item: Failed) -> str:
    """For the agent: which address, why, and the other server's own words."""
    what = {
        Reason.ADDRESS: "the address does not exist",
        Reason.FULL: "the mailbox is full",
        Reason.SIZE: "the mail is too large for the other side",
        Reason.REFUSED: "the other side refuses the mail",
        Reason.EXPIRED: "given up after trying for long",
    }.get(item.reason, "not delivered")
    said = " ".join(part for part in (item.status, item.detail) if part)
    return f"{item.address or 'the recipient'}: {what}" + (f" ({said})" if said else "")


def _sender(item: Failed) -> Sender | None:
    return Sender("email", item.address, email=item.address, address={"email": item.address}) if item.address else None


def _refusal(item: Failed, digest: str) -> Refusal | None:
    sender = _sender(item)
    if sender is None:
        return None
    if item.reason is Reason.COMPLAINT:
        return Refusal(f"complaint:{digest}:{sender.value}", sender, RefusalReason.COMPLAINED, detail=item.detail)
    if not item.permanent:
        return None
    return Refusal(f"bounce:{digest}:{sender.value}", sender, RefusalReason.UNREACHABLE, detail=detail_of(item))
