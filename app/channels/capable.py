"""What a channel can carry, as data: the figures of its type, what its configuration changes, what the operator says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.channels.base import Adapter, Capabilities, Configured
from app.channels.split import split_text, utf8, utf16

FileKind = Literal["image", "audio", "video", "file"]
Bytes = Annotated[int, Field(ge=0, le=2_000_000_000)]
Hours = Annotated[float, Field(gt=0, le=87_600)]
_MAIN_KINDS = ("image", "audio", "video")
# What is said of a channel whose type this version does not know: nothing is refused for it.
UNKNOWN = Capabilities(text_limit=100_000, idempotent_send=False, files=True)


class Limits(BaseModel):
    """An operator's own figures; what is left out stays as shipped. Null takes a window or a count away."""

    model_config = ConfigDict(extra="forbid")

    text_limit: Annotated[int, Field(ge=4, le=1_000_000)] = 1
    max_parts: Annotated[int, Field(ge=1, le=100)] = 1
    files: bool = False
    file_limits: dict[FileKind, Bytes] = Field(default_factory=dict)
    file_types: dict[FileKind, list[str]] = Field(default_factory=dict)
    max_files: Annotated[int, Field(ge=0, le=20)] = 1
    edits: bool = False
    deletes: bool = False
    reactions: bool = False
    delivered: bool = False
    read: bool = False
    templates: bool = False
    window_h: Hours | None = None
    window_count: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    tag_window_h: Hours | None = None


def capabilities(adapter: Adapter | None, config: Mapping[str, Any], limits: Mapping[str, Any] | None) -> Capabilities:
    """Of one configured channel; `config` is its public part, `limits` what the operator gave of `Limits`."""
    if adapter is None:
        return UNKNOWN
    can = adapter.capabilities_of(config) if isinstance(adapter, Configured) else adapter.capabilities
    return replace(can, **limits) if limits else can


def parts(can: Capabilities, text: str) -> int:
    """How many messages a text takes."""
    return len(split_text(text, can.text_limit, utf8 if can.text_unit == "bytes" else utf16))


def kind_of(media_type: str) -> str:
    main = media_type.partition("/")[0].strip().lower()
    return main if main in _MAIN_KINDS else "file"


def unfit(can: Capabilities, media_type: str, size: int) -> str | None:
    """Why a file cannot go out on the channel, for people; None when it can."""
    if not can.files:
        return "this channel carries no files"
    if not can.file_limits:
        return None
    plain, own = media_type.partition(";")[0].strip().lower(), kind_of(media_type)
    taken = [kind for kind in dict.fromkeys((own, "file")) if kind in can.file_limits and _takes(can, kind, plain)]
    if not taken:
        return f"this channel carries no files of type {plain}"
    limit = max(can.file_limits[kind] for kind in taken)
    return (
        None if size <= limit else f"files of type {plain} may have {limit} bytes on this channel, this one has {size}"
    )


def _takes(can: Capabilities, kind: str, media_type: str) -> bool:
    types = can.file_types.get(kind)
    return types is None or media_type in types


def shape(can: Capabilities) -> dict[str, Any]:
    """As the desk and operators see it, without the window of a conversation."""
    kinds = {kind: {"bytes": limit, "types": _types(can, kind)} for kind, limit in can.file_limits.items()}
    return {
        "text": {"limit": can.text_limit, "unit": can.text_unit, "max_parts": can.max_parts},
        "files": {"kinds": kinds or None, "max": can.max_files} if can.files else None,
        "edits": can.edits,
        "deletes": can.deletes,
        "reactions": can.reactions,
        "receipts": {"delivered": can.delivered, "read": can.read},
        "templates": can.templates,
        "answers": can.answers,
        "live": can.live,
    }


def rules(can: Capabilities) -> dict[str, Any]:
    """The rule of the window, for channels as such."""
    return {"hours": can.window_h, "count": can.window_count, "tag_hours": can.tag_window_h}


def _types(can: Capabilities, kind: str) -> list[str] | None:
    types = can.file_types.get(kind)
    return sorted(types) if types is not None else None
