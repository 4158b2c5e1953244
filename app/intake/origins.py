"""Which sites may embed a channel's widget (pure)."""

from __future__ import annotations

from collections.abc import Iterable

from app.channels.origins import is_listed
from app.errors import Forbidden


class OriginNotAllowed(Forbidden):
    """This site is not among the channel's allowed origins."""

    code = "origin-not-allowed"


def require(allowed: Iterable[str], origin: str | None, *, own: str) -> None:
    """A browser on a site that is not on the channel's list is refused. Only browsers send an origin; the check keeps
    other sites from embedding the widget, it is not authentication. Our `own` demo page may. Raises OriginNotAllowed."""
    if not is_listed(allowed, origin, own=own):
        raise OriginNotAllowed
