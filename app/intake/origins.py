"""Which sites may embed a channel's widget (pure)."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from app.errors import Forbidden

_PORTS = {"http": 80, "https": 443}


class OriginNotAllowed(Forbidden):
    """This site is not among the channel's allowed origins."""

    code = "origin-not-allowed"


def require(allowed: Iterable[str], origin: str | None, *, own: str) -> None:
    """A browser on a site that is not on the channel's list is refused. Only browsers send an origin; the check keeps
    other sites from embedding the widget, it is not authentication. Our `own` demo page may. Raises OriginNotAllowed.

    Scheme, host and port count; a page without an address (`null`) is on no list.
    """
    listed = list(allowed)
    if origin is None or not listed or "*" in listed:
        return
    site = _site(origin)
    if site is None or site not in {_site(entry) for entry in (*listed, own)}:
        raise OriginNotAllowed


def _site(url: str) -> tuple[str, str, int | None] | None:
    if url == "null":
        return None
    try:
        parts = urlsplit(url if "://" in url else f"https://{url}")
        scheme, port = parts.scheme.lower(), parts.port
    except ValueError:
        return None
    return (scheme, parts.hostname.lower(), port or _PORTS.get(scheme)) if parts.hostname else None
