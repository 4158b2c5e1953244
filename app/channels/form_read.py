"""A submission of a form: what was asked for and given, what is wrong with it, and the message that it is (pure)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from app.channels.base import Call, InboundFile, InboundMessage, Sender
from app.channels.form_body import Upload, items
from app.channels.form_config import LANGUAGE, SUBMISSION, TOKEN, FormConfig, FormField
from app.channels.text import clean, file_name, key, media_type, word

KEY_HEADER = "x-form-key"
MORE_LIMIT, MORE_LENGTH = 50, 1_000
_NO = frozenset({"", "0", "false", "off", "no", "none", "null"})
_EMAIL = re.compile(r"[^\s@<>,;:\"()\[\]\\\x00-\x1f]{1,64}@[^\s@<>,;:\"()\[\]\\\x00-\x1f.]{1,63}(\.[^\s@<>,;:\"()\[\]\\\x00-\x1f.]{1,63}){1,8}")  # fmt: skip
_PHONE = re.compile(r"\+?[0-9][0-9 ()./-]{4,30}")
_CATEGORIES = ("routine", "urgent", "complex")


@dataclass(frozen=True, slots=True)
class Submission:
    """`values` by the names of the form's fields, as typed; a tick is `true`. `more` are fields that the form does not have.
    `trap` is what stood in the hidden field."""

    values: Mapping[str, str]
    files: Sequence[tuple[str, Upload]] = ()
    token: str = ""
    submission_id: str = ""
    language: str | None = None
    trap: str = ""
    more: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wrong:
    """What is wrong with a field, as a key of the texts; `limit` fills it in."""

    field: str
    what: str
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Agreed:
    """A consent that was given: to what, in which version of which words."""

    purpose: str
    version: str
    text: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Given:
    """The values by what they mean; `rest` are labels and values that stand below the text: attributes, and what came along."""

    by: Mapping[str, str]
    rest: Sequence[tuple[str, str]]
    consents: Sequence[Agreed] = field(default_factory=tuple)


def read(config: FormConfig, call: Call) -> Submission:
    """Of a field that comes twice the last counts, of one that the form does not have all. Raises Unparseable."""
    values: dict[str, str] = {}
    files: list[tuple[str, Upload]] = []
    extra: dict[str, str] = {}
    more: list[tuple[str, str]] = []
    for name, value in items(call.headers.get("content-type", ""), call.body):
        asked = config.by_name(name)
        if isinstance(value, Upload):
            if (asked is not None and asked.kind == "file") or _comes_along(config, name):
                files.append((name, value))
        elif asked is None:
            if _comes_along(config, name):
                more.append((name, value))
            extra[name] = value
        elif asked.kind == "checkbox":
            values[name] = "" if value.strip().lower() in _NO else "true"
        elif asked.kind != "file":
            values[name] = value.replace("\r\n", "\n")
    language = word(extra.get(LANGUAGE), 35)
    return Submission(
        values,
        files,
        token=extra.get(TOKEN, "")[:200],
        submission_id=key(extra.get(SUBMISSION)) or "",
        language=language if language and re.fullmatch(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*", language) else None,
        trap=extra.get(config.trap_field, ""),
        more=_more(more),
    )


def _comes_along(config: FormConfig, name: str) -> bool:
    return config.undeclared == "keep" and not config.is_ours(name)


def _more(given: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Names and values on one line each: nobody writes a line that another field would have."""
    kept: dict[str, str] = {}
    for name, value in given:
        label, plain = (word(name, 64) or "").strip(" :"), word(value, MORE_LENGTH)
        if label and plain and (label in kept or len(kept) < MORE_LIMIT):
            kept[label] = f"{kept[label]}, {plain}"[:MORE_LENGTH] if label in kept else plain
    return kept


def check(config: FormConfig, submission: Submission) -> list[Wrong]:
    """What has to be put right before it is taken, in the order of the fields."""
    found = [wrong for asked in config.shown if (wrong := _wrong(config, asked, submission)) is not None]
    named = {asked.name for asked in config.shown if asked.kind == "file"}
    found += [
        Wrong(name, "file_too_large", config.file_limit)
        for name, upload in submission.files
        if name not in named and len(upload.data) > config.file_limit
    ]
    if len(submission.files) > config.max_files:
        found.append(Wrong(submission.files[0][0], "too_many_files", config.max_files))
    if not found and not message(config, submission, key="").text and not submission.files:
        found.append(Wrong(main(config), "missing"))
    return found


def main(config: FormConfig) -> str:
    """The name of the field that says what it is about."""
    return next((asked.name for asked in config.shown if asked.maps_to == "text"), config.shown[0].name)


def _wrong(config: FormConfig, asked: FormField, submission: Submission) -> Wrong | None:
    if asked.kind == "file":
        theirs = [upload for name, upload in submission.files if name == asked.name]
        if asked.required and not theirs:
            return Wrong(asked.name, "missing")
        too_large = any(len(upload.data) > config.file_limit for upload in theirs)
        return Wrong(asked.name, "file_too_large", config.file_limit) if too_large else None
    value = submission.values.get(asked.name, "").strip()
    if not value:
        what = "consent" if asked.maps_to == "consent" else "missing"
        return Wrong(asked.name, what) if asked.required else None
    if len(value) > asked.limit and asked.kind != "checkbox":
        return Wrong(asked.name, "too_long", asked.limit)
    if "email" in (asked.kind, asked.maps_to) and not _EMAIL.fullmatch(value):
        return Wrong(asked.name, "email")
    if "phone" in (asked.kind, asked.maps_to) and not _PHONE.fullmatch(value):
        return Wrong(asked.name, "phone")
    if asked.kind == "select" and value not in {option.value for option in asked.options}:
        return Wrong(asked.name, "option")
    return None


def meant(config: FormConfig, submission: Submission) -> Given:
    """The values sorted by what they are for."""
    by: dict[str, str] = {}
    rest: list[tuple[str, str]] = []
    consents: list[Agreed] = []
    language = (submission.language or "en")[:2].lower()
    for asked in config.shown:
        value = submission.values.get(asked.name, "").strip()
        if not value or asked.kind == "file":
            continue
        if asked.maps_to == "consent":
            consents.append(Agreed(asked.purpose, asked.version, asked.text(language)))
        elif asked.maps_to == "attribute":
            rest.append((asked.text("en"), "✓" if asked.kind == "checkbox" else _shown(asked, value)))
        elif asked.maps_to == "text" and "text" in by:
            by["text"] += f"\n\n{value}"
        else:
            by.setdefault(asked.maps_to, value)
    return Given(by, [*rest, *submission.more.items()], consents)


def _shown(asked: FormField, value: str) -> str:
    return next((option.label.get("en", value) for option in asked.options if option.value == value), value)


def message(config: FormConfig, submission: Submission, *, key: str, at: datetime | None = None) -> InboundMessage:
    """The message under its stable key. Who gives neither an email address nor a number is somebody new each time."""
    given = meant(config, submission)
    lines = "\n".join(f"{label}: {value}" for label, value in given.rest)
    category = given.by.get("category", "").lower()
    content: dict[str, Any] = {"form": dict(given.rest)} if given.rest else {}
    if given.consents:
        content["consents"] = [
            {"purpose": each.purpose, "version": each.version, "text": each.text, "digest": each.digest}
            for each in given.consents
        ]
    return InboundMessage(
        external_id=key,
        sender=_sender(given.by, key, submission.language),
        text=clean("\n\n".join(part for part in (given.by.get("text", ""), lines) if part)),
        subject=word(given.by.get("subject"), 1000),
        sent_at=at,
        files=[_file(upload, number) for number, (_, upload) in enumerate(submission.files, 1)],
        content=content,
        category=category if category in _CATEGORIES else None,
        external_ref=word(given.by.get("external_ref"), 400),
    )


def _file(upload: Upload, number: int) -> InboundFile:
    return InboundFile(file_name(upload.name, f"file-{number}"), media_type(upload.media_type), upload.data)


def _sender(by: Mapping[str, str], key: str, language: str | None) -> Sender:
    email = by["email"].lower() if _EMAIL.fullmatch(by.get("email", "")) else None
    phone = telephone(by["phone"]) if _PHONE.fullmatch(by.get("phone", "")) else None
    named = ("email", email) if email else ("phone", phone) if phone else ("form", key)
    address = {name: value for name, value in (("email", email), ("phone", phone)) if value}
    name = word(by.get("name"))
    return Sender(named[0], str(named[1]), name, email, phone, language, address)


def telephone(number: str) -> str:
    """Without what people put between the digits."""
    digits = re.sub(r"[^0-9]", "", number)
    return f"+{digits}" if number.strip().startswith("+") else f"+{digits[2:]}" if digits.startswith("00") else digits


def fingerprint(config: FormConfig, submission: Submission, *, named: bool) -> str:
    """What makes two submissions the same: who wrote what. `named` counts the submission's own id in."""
    sent = message(config, submission, key="")
    parts = [sent.sender.kind, sent.sender.value, sent.sender.name or "", sent.subject or "", sent.text]
    parts += [hashlib.sha256(upload.data).hexdigest() for _, upload in submission.files]
    parts += [submission.submission_id] if named else []
    return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()


def key_of(config: FormConfig, call: Call, submission: Submission) -> str:
    """The key that the intake gave it, which a replay finds in the journal; else its fingerprint."""
    return key(call.headers.get(KEY_HEADER)) or fingerprint(config, submission, named=True)
