"""What an operator gives for a telephone line: a number at Twilio, or a secret with another system. Everything has a default."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, StringConstraints, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from app.channels import signatures, voice_texts
from app.channels.config import FormerWebhookSecret, HttpUrl, Secret, WebhookSecret
from app.channels.form_config import RepliesElsewhere
from app.channels.sms_config import AccountSid
from app.channels.voice_numbers import country_of, e164

Spoken = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1_000)]
Language = Annotated[str, StringConstraints(strip_whitespace=True, to_lower=True, pattern=r"^[a-zA-Z]{2,3}$")]
Country = Annotated[str, StringConstraints(strip_whitespace=True, to_upper=True, pattern=r"^[a-zA-Z]{2}$")]
Voice = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^[A-Za-z0-9.-]{1,60}$")]
Host = Annotated[str, StringConstraints(strip_whitespace=True, to_lower=True, pattern=r"^[A-Za-z0-9.-]{1,253}$")]
_NEEDED = {"twilio": ("account_sid", "auth_token", "number"), "generic": ("secret",)}
_OTHERS = {
    "twilio": ("secret", "previous_secrets", "callback_url", "recording_hosts", "recording_login"),
    "generic": ("account_sid", "auth_token", "number", "hold_music_url"),
}


def _number(value: str) -> str:
    number = e164(value)
    if number is None or not value.strip().startswith("+"):
        raise ValueError("must be a number with its country, such as +442079460018")
    return number


def _login(value: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[^:\s]{1,200}:\S{1,200}", value.get_secret_value()):
        raise ValueError("must be user:password")
    return value


def _about(wrong: Mapping[str, str]) -> ValidationError:
    """What is wrong with fields that are only wrong together, each under its own name."""
    details = [
        InitErrorDetails(type=PydanticCustomError("value_error", "{why}", {"why": why}), loc=(name,), input=None)
        for name, why in wrong.items()
    ]
    return ValidationError.from_exception_data("VoiceConfig", details)


class VoiceConfig(RepliesElsewhere):
    """`provider` says which of the two halves is needed.

    What callers hear: `texts` (by language, then by name: channels/voice_texts.py has the names and the shipped ones),
    `language` where the contact has none of these, `voices` for Twilio's `<Say>`, `hold_music_url` (a clip of a few
    seconds: it is played between two looks at the queue), `poll_s` of quiet instead, `announce_every_s`.

    What becomes of a call: `max_wait_s` (with the queue's own max_wait_s the shorter one counts), `when_closed` and
    `when_nobody`, `voicemail_max_s`, `transcribe`; `ring_timeout_s` and `ring_attempts` for the agents' telephones; whether
    talks are recorded (`record`) and machines are told from people (`machine_detection`).

    `country` reads numbers that do not say theirs; it is that of `number` by default. Receipts and what agents write go by
    the SMS or mail channel `reply_channel_id`; without it, by one that reaches the caller (`reply_by_identities`).

    Of a generic line: `callback_url` is asked to place calls, `recording_hosts` are the only ones that recordings are
    fetched from (none: any), with `recording_login` for them.
    """

    provider: Literal["twilio", "generic"]
    account_sid: AccountSid | None = None
    auth_token: Secret | None = None
    number: Annotated[str, AfterValidator(_number)] | None = None
    api_base: HttpUrl = "https://api.twilio.com"
    secret: WebhookSecret | None = None
    previous_secrets: list[FormerWebhookSecret] = Field(default_factory=list, max_length=10)
    callback_url: HttpUrl | None = None
    recording_hosts: list[Host] = Field(default_factory=list, max_length=50)
    recording_login: Annotated[SecretStr, AfterValidator(_login)] | None = None

    country: Country | None = None
    language: Language = "en"
    texts: dict[Language, dict[str, Spoken]] = Field(default_factory=dict)
    voices: dict[Language, Voice] = Field(default_factory=dict)
    hold_music_url: HttpUrl | None = None
    poll_s: int = Field(default=3, ge=1, le=30)
    announce_every_s: int = Field(default=30, ge=5, le=600)
    max_wait_s: int = Field(default=300, ge=10, le=7_200)
    when_closed: Literal["voicemail", "goodbye", "queue"] = "voicemail"
    when_nobody: Literal["voicemail", "goodbye"] = "voicemail"
    voicemail_max_s: int = Field(default=120, ge=5, le=3_600)
    transcribe: bool = True
    record: bool = False
    ring_timeout_s: int = Field(default=20, ge=5, le=120)
    ring_attempts: int = Field(default=3, ge=1, le=20)
    machine_detection: bool = False
    reply_by_identities: bool = True

    @model_validator(mode="after")
    def _whole(self) -> Self:
        wrong = {
            **{name: "is needed" for name in _NEEDED[self.provider] if getattr(self, name) is None},
            **{name: "is of no use" for name in _OTHERS[self.provider] if getattr(self, name)},
        }
        if wrong:
            raise _about({name: f"{name} {why} for the provider {self.provider}" for name, why in wrong.items()})
        if self.recording_login is not None and not self.recording_hosts:
            raise _about({"recording_login": "recording_login needs recording_hosts: whose it is"})
        for language, texts in self.texts.items():
            voice_texts.check(language, texts)
        return self

    @cached_property
    def keys(self) -> tuple[bytes, ...]:
        """The raw keys that a generic call may be signed with, the newest first."""
        secrets = [secret for secret in (self.secret, *self.previous_secrets) if secret is not None]
        return tuple(signatures.webhook_key(secret.get_secret_value()) for secret in secrets)

    @cached_property
    def home(self) -> str | None:
        return self.country or country_of(self.number)
