"""What gives a robot away (pure). A person who is taken for one is found among the trapped, and restored."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from app.channels import form_token
from app.channels.form_config import FormConfig
from app.channels.form_read import Submission
from app.vault import BadToken, Vault


def reason(config: FormConfig, submission: Submission, *, vault: Vault, channel_id: UUID, at: datetime) -> str | None:
    """Why it is not believed; None when it is."""
    if submission.trap.strip():
        return "the hidden field was filled in"
    if not submission.token:
        return "it did not come from our page" if config.require_token else None
    try:
        opened = form_token.opened_at(vault, channel_id, submission.token)
    except BadToken:
        return "the page's token is forged"
    if opened is not None and (at - opened).total_seconds() < config.min_fill_s:
        return f"it was filled in within {config.min_fill_s:g} s"
    return None
