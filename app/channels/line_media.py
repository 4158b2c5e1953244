"""Pictures and voice for LINE, which fetches them from a link: it wants to know how long a sound is, and a small picture."""

from typing import Any

from app.channels.base import OutboundFile, SendError, SendFailure

_MB = 1_000_000
# The same picture serves as its own preview, which may have 1 MB.
LIMITS = {"image": 1 * _MB, "audio": 200 * _MB}
TYPES = {
    "image": frozenset({"image/jpeg", "image/png"}),
    "audio": frozenset({"audio/mp4", "audio/m4a", "audio/x-m4a"}),
}
_PICTURE_LIMIT = 10 * _MB


def message_of(file: OutboundFile) -> dict[str, Any]:
    """Raises SendError for what LINE would not show."""
    plain = file.media_type.partition(";")[0].strip().lower()
    if file.url is None:
        raise SendError(SendFailure.PERMANENT, f"there is no public address for {file.name!r}")
    if plain in TYPES["image"] and 0 < len(file.data) <= _PICTURE_LIMIT:
        return {"type": "image", "originalContentUrl": file.url, "previewImageUrl": file.url}
    if plain in TYPES["audio"] and (length_ms := duration_ms(file.data)):
        return {"type": "audio", "originalContentUrl": file.url, "duration": length_ms}
    raise SendError(SendFailure.PERMANENT, f"{file.name!r} cannot be sent on LINE: pictures of 10 MB, M4A sounds")


def duration_ms(data: bytes) -> int | None:
    """How long an MP4 or M4A is, by its movie header (ISO 14496-12, `mvhd`); None for what is none."""
    at = data.find(b"mvhd")
    if at < 0:
        return None
    wide = data[at + 4 : at + 5] == b"\x01"
    scale_at = at + (24 if wide else 16)
    scale = int.from_bytes(data[scale_at : scale_at + 4], "big")
    length = int.from_bytes(data[scale_at + 4 : scale_at + (12 if wide else 8)], "big")
    if not scale or not length or len(data) < scale_at + 8:
        return None
    return min(round(length * 1000 / scale), 86_400_000) or None
