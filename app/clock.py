"""The only source of the current time outside the database."""

from datetime import UTC, datetime


def now() -> datetime:
    """Aware, UTC."""
    return datetime.now(UTC)


def rfc3339(moment: datetime) -> str:
    """`2026-11-22T07:00:00.123456Z`: the form of every time on a public surface."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
