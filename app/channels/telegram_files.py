"""What Telegram takes as a photo, a video, a piece of music or a voice note; everything else goes as a document."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.channels.base import OutboundFile, SendError, SendFailure
from app.channels.split import split_text, utf16

TEXT_LIMIT = 4096
CAPTION_LIMIT = 1024
_MB = 1_000_000
LIMITS = {"image": 10 * _MB, "audio": 50 * _MB, "video": 50 * _MB, "file": 50 * _MB}
_METHODS = {
    "image/jpeg": ("sendPhoto", "photo", 10 * _MB),
    "image/png": ("sendPhoto", "photo", 10 * _MB),
    "video/mp4": ("sendVideo", "video", 50 * _MB),
    "audio/mpeg": ("sendAudio", "audio", 50 * _MB),
    "audio/mp4": ("sendAudio", "audio", 50 * _MB),
    "audio/ogg": ("sendVoice", "voice", 50 * _MB),
}
_DOCUMENT = ("sendDocument", "document", 50 * _MB)


@dataclass(frozen=True, slots=True)
class Part:
    """One call: a text, or a file in the field `field` with the text as its caption."""

    method: str
    text: str
    field: str = "text"
    file: OutboundFile | None = None


def parts(text: str, files: Sequence[OutboundFile], *, at_most: int) -> list[Part]:
    """A short text is the caption of the first file. Raises SendError for what Telegram would not take."""
    caption = text.strip()
    captioned = bool(files) and sum(map(utf16, caption)) <= CAPTION_LIMIT
    found = [] if captioned else [Part("sendMessage", piece) for piece in split_text(text, TEXT_LIMIT, utf16)]
    if len(found) > at_most:
        raise SendError(SendFailure.PERMANENT, f"the text needs more than {at_most} messages")
    for number, file in enumerate(files):
        method, field = _way(file)
        found.append(Part(method, caption if captioned and number == 0 else "", field, file))
    if not found:
        raise SendError(SendFailure.PERMANENT, "there is no text to send")
    return found


def _way(file: OutboundFile) -> tuple[str, str]:
    method, field, limit = _METHODS.get(file.media_type.partition(";")[0].strip().lower(), _DOCUMENT)
    if len(file.data) > limit:
        method, field, limit = _DOCUMENT
    if not 0 < len(file.data) <= limit:
        raise SendError(SendFailure.PERMANENT, f"{file.name!r} is empty or larger than {limit // _MB} MB")
    return method, field
