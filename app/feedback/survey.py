"""What a customer answers to a receipt: one model for the page, for JSON and for the widget. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from app.channels.text import blank

COMMENT_LIMIT = 4_000

RATINGS = ("csat", "nps", "content", "efficiency", "attitude")

_NAMES: Mapping[str, tuple[str, ...]] = {
    "outcome": ("outcome", "solved", "confirmed", "result", "resolved"),
    "csat": ("csat", "rating", "satisfaction"),
    "nps": ("nps", "recommend"),
    "content": ("content",),
    "efficiency": ("efficiency",),
    "attitude": ("attitude",),
    "comment": ("comment", "reason"),
    "anonymous": ("anonymous",),
    "about": ("about",),
}
_QUESTIONS = ("result", "remedy")
_CONFIRMED = {"confirmed", "confirm", "solved", "resolved", "yes", "y", "true", "1", "on", "ok", "已解决", "是"}
_REJECTED = {
    "rejected", "reject", "not_solved", "notsolved", "unsolved", "not_resolved", "unresolved", "no", "n", "false", "0",
    "未解决", "否",
}  # fmt: skip
_NOTHING = object()
_DIGITS = re.compile(r"[0-9]{1,4}")


def _number(value: Any) -> Any:
    """`true` is not one star, and a form says a figure in plain digits: Python would take `1_0` and `+5` as well."""
    if isinstance(value, bool) or (isinstance(value, str) and not _DIGITS.fullmatch(value.strip())):
        raise ValueError("must be a whole number")
    return int(value) if isinstance(value, str) else value


Stars = Annotated[int, BeforeValidator(_number), Field(ge=1, le=5)]
Likelihood = Annotated[int, BeforeValidator(_number), Field(ge=0, le=10)]


class Answer(BaseModel):
    """None means "not given". Without an outcome the ratings are kept and the matter stays as it is; one `about` the remedy
    needs an outcome.

    Raises ValidationError naming the field; `outcome` when nothing at all was given.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    outcome: Literal["confirmed", "rejected"] | None = None
    csat: Stars | None = Field(default=None, description="overall satisfaction, 1-5; also `rating`, `satisfaction`")
    nps: Likelihood | None = Field(default=None, description="would recommend us, 0-10; also `recommend`")
    content: Stars | None = Field(default=None, description="what was done, 1-5")
    efficiency: Stars | None = Field(default=None, description="how fast, 1-5")
    attitude: Stars | None = Field(default=None, description="how we treated them, 1-5")
    comment: str | None = Field(default=None, max_length=COMMENT_LIMIT, description="also `reason`")
    anonymous: bool | None = None
    about: Literal["result", "remedy"] | None = Field(
        default=None,
        description="which question was shown: whether it is solved, or whether what was done to make good helped; "
        "so that an old answer that comes again is not taken for one to a newer question",
    )

    @model_validator(mode="before")
    @classmethod
    def _by_any_name(cls, value: Any) -> Any:
        """The first name of each field that was given wins; an empty text was not given."""
        if not isinstance(value, Mapping):
            return value
        given = {
            field: next((value[name] for name in names if _is_given(value.get(name))), None)
            for field, names in _NAMES.items()
        }
        known = {field: item for field, item in given.items() if item is not None}
        if known.get("about") not in _QUESTIONS:
            known.pop("about", None)
        needed = {"outcome"} if known.get("about") == "remedy" else _NAMES.keys() - {"anonymous", "about"}
        return known if known.keys() & needed else {**known, "outcome": _NOTHING}

    @field_validator("outcome", mode="before")
    @classmethod
    def _in_our_words(cls, value: Any) -> Any:
        if value is _NOTHING:
            raise ValueError("say whether it is solved, or give a rating or a comment")
        if isinstance(value, bool | int):
            value = str(value).lower()
        if not isinstance(value, str):
            raise ValueError("must be 'confirmed' or 'rejected'")
        word = value.strip().lower().replace("-", "_").replace(" ", "_")
        if word in _CONFIRMED:
            return "confirmed"
        if word in _REJECTED:
            return "rejected"
        raise ValueError("must be 'confirmed' or 'rejected'")

    @field_validator("comment", mode="before")
    @classmethod
    def _one_kind_of_line_end(cls, value: Any) -> Any:
        """A browser sends two characters for each line end, and the database takes no NUL."""
        if not isinstance(value, str):
            return value
        return None if blank(value) else value.replace("\r\n", "\n").replace("\x00", "").strip()

    @property
    def ratings(self) -> dict[str, int]:
        """Only those that were given."""
        return {name: value for name in RATINGS if (value := getattr(self, name)) is not None}


def _is_given(value: Any) -> bool:
    return value is not None and not (isinstance(value, str) and blank(value))
