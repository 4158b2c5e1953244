"""What providers tell of mails of ours, as the house knows it: statuses and who is not to be written to. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from app.channels.base import Parsed, Refusal, RefusalReason, Sender, SendFailure, StatusUpdate
from app.channels.mail_reasons import Reason, enhanced, reason_of
from app.channels.text import clean

DETAIL_LIMIT = 500


@dataclass(frozen=True, slots=True)
class About:
    """Which mail and whom an item of news is about. `key` is the provider's own id of the item."""

    key: str
    recipient: str | None
    message_id: str | None
    our_id: str | None = None
    at: datetime | None = None
    detail: str = ""
    code: str = ""


@dataclass(slots=True)
class News:
    """Collects a call's items."""

    statuses: list[StatusUpdate] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def parsed(self) -> Parsed:
        return Parsed(statuses=self.statuses, refusals=self.refusals, ignored=self.ignored, errors=self.errors)

    def delivered(self, about: About) -> None:
        self._status(about, "delivered", None)

    def failed(self, about: About) -> None:
        """For good. Nobody is at an address that does not exist: it is not written to any more."""
        said = " ".join(part for part in (about.code, about.detail) if part)
        reason = reason_of(said, status=enhanced(said))
        self._status(
            about, "failed", SendFailure.RECIPIENT if reason in (Reason.ADDRESS, Reason.FULL) else SendFailure.PERMANENT
        )
        if reason is Reason.ADDRESS:
            self.refused(about, RefusalReason.UNREACHABLE)

    def refused(self, about: About, reason: RefusalReason, *, on: bool = True) -> None:
        if about.recipient is None:
            self.ignored.append(f"{reason.value} of nobody")
            return
        key = f"{about.key}:{reason.value}"[:400]
        self.refusals.append(Refusal(key, _sender(about.recipient), reason, on, about.at, about.detail or None))

    def _status(self, about: About, word: str, failure: SendFailure | None) -> None:
        if about.message_id is None and about.our_id is None:
            self.ignored.append(f"{word} of a mail without an id")
            return
        self.statuses.append(
            StatusUpdate(
                provider_message_id=about.message_id or "",
                status=word,
                at=about.at,
                detail=about.detail or None,
                recipient=_sender(about.recipient) if about.recipient else None,
                our_id=about.our_id,
                failure=failure,
            )
        )


def address(value: Any) -> str | None:
    """Lower case; None for what is none."""
    text = clean(value, 320).strip().strip("<>").lower() if isinstance(value, str) else ""
    return text if "@" in text and text.isprintable() else None


def message_id(value: Any) -> str | None:
    """With its angle brackets, as we keep ours."""
    text = clean(value, 400).strip().strip("<>") if isinstance(value, str) else ""
    return f"<{text}>" if text and " " not in text else None


def moment(value: Any) -> datetime | None:
    """Seconds since 1970, as a number or in words; or RFC 3339."""
    try:
        if isinstance(value, int | float) or (isinstance(value, str) and value.replace(".", "", 1).isdigit()):
            return datetime.fromtimestamp(float(value), UTC)
        found = datetime.fromisoformat(str(value))
    except (ValueError, OverflowError, OSError):
        return None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def said(*parts: Any) -> str:
    words = [clean(str(part), DETAIL_LIMIT) for part in parts if part is not None and str(part).strip()]
    return " ".join(" ".join(words).split())[:DETAIL_LIMIT]


def mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _sender(recipient: str) -> Sender:
    return Sender(kind="email", value=recipient, email=recipient)
