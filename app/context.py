"""What one server process shares among its edges and loops; put together in main.py."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

import httpx
from starlette.requests import HTTPConnection

from app.background import Background
from app.catalog import CatalogCache
from app.db import Database
from app.events.hub import Hub
from app.settings import Settings
from app.vault import Vault
from app.wakeups import Wakeups

if TYPE_CHECKING:
    from app.intake.forms import Forms
    from app.intake.ingest import Intake
    from app.intake.limits import WidgetLimits
    from app.intake.page_messages import PageMessages
    from app.intake.store import FileStore
    from app.intake.walk_ins import WalkIns


@dataclass
class Context:
    """`inner` is the pool of the intake and the catalog, for whom others wait with a connection of `database` in hand.
    `process` names this server process in leases and logs. `draining` is set once SIGTERM has come. `forms`,
    `walk_ins` and `page_messages` are set by main.py: they need all of this."""

    settings: Settings
    database: Database
    inner: Database
    vault: Vault
    wakeups: Wakeups
    catalog: CatalogCache
    hub: Hub
    intake: Intake
    files: FileStore
    http: httpx.AsyncClient
    background: Background
    limits: WidgetLimits
    forms: Forms = field(init=False, repr=False)
    walk_ins: WalkIns = field(init=False, repr=False)
    page_messages: PageMessages = field(init=False, repr=False)
    process: str = field(default_factory=lambda: secrets.token_hex(8))
    draining: bool = False

    def feedback_link(self, cycle_id: UUID) -> str:
        """The page behind a receipt."""
        return self._link("f", "feedback", cycle_id)

    def progress_link(self, conversation_id: UUID) -> str:
        """The page where the customer sees how their matter stands."""
        return self._link("c", "progress", conversation_id)

    def file_link(self, attachment_id: UUID) -> str:
        """One file of a conversation, for its customer."""
        return self._link("files", "file", attachment_id)

    def media_link(self, attachment_id: UUID) -> str:
        """One file of ours, for the provider that sends it on."""
        return self._link("m", "media", attachment_id, valid_s=self.settings.media_link_s)

    def _link(self, page: str, purpose: str, subject: UUID, *, valid_s: int | None = None) -> str:
        long_s = self.settings.receipt_valid_days * 86_400
        token = self.vault.sign(purpose, subject, valid_s=long_s if valid_s is None else valid_s)
        return f"{self.settings.base_url}/{page}/{token}"


def context_of(connection: HTTPConnection) -> Context:
    """The context of the process that serves this request or socket."""
    context: Context = connection.app.state.context
    return context
