"""What an operator gives for a channel, per type; a field annotated SecretStr is a secret, every other one is public."""

import re
from functools import cached_property
from typing import Annotated, Any, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, StringConstraints, ValidationInfo

from app.channels import signatures

STORED = {"stored": True}
"""The validation context of configurations that were taken in before: what is new in the rules does not end them."""


class ChannelConfig(BaseModel):
    """Unknown fields are errors; the values stay out of error messages, because some are secrets."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def secret_fields(model: type[BaseModel]) -> set[str]:
    """The names of the fields that are sealed at rest and never returned."""
    return {name for name, field in model.model_fields.items() if _holds_secret(field.annotation)}


def _holds_secret(annotation: Any) -> bool:
    return annotation is SecretStr or any(_holds_secret(part) for part in get_args(annotation))


def split(config: BaseModel) -> tuple[dict[str, Any], dict[str, Any]]:
    """`(public, secrets)` as plain JSON values; unset optional fields are left out. `model_validate` of both together
    gives the same configuration again."""
    hidden = secret_fields(type(config))
    plain = {name: _plain(getattr(config, name)) for name in type(config).model_fields}
    given = {name: value for name, value in plain.items() if value is not None}
    return (
        {name: value for name, value in given.items() if name not in hidden},
        {name: value for name, value in given.items() if name in hidden},
    )


def _plain(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return value


def _http_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an http:// or https:// URL")
    return value


def _origin(value: str) -> str:
    if value == "*":
        return value
    parts = urlsplit(value)
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or parts.path not in ("", "/")
        or parts.query
        or parts.fragment
    ):
        raise ValueError("must be an origin such as https://shop.example, without a path")
    return value.rstrip("/").lower()


def _address(value: str) -> str:
    if not re.fullmatch(r"[^@\s<>,;:\"()\[\]\\]{1,64}@[^@\s<>,;:\"()\[\]\\]{1,255}", value):
        raise ValueError("must be a mail address such as help@shop.example")
    return value.lower()


def _webhook_secret(value: SecretStr) -> SecretStr:
    try:
        signatures.webhook_key(value.get_secret_value())
    except ValueError as error:
        raise ValueError(str(error)) from None
    return value


def _strong_webhook_secret(value: SecretStr, info: ValidationInfo) -> SecretStr:
    """What was stored before there was a rule for its length goes on."""
    if (info.context or {}).get("stored"):
        return _webhook_secret(value)
    try:
        signatures.strong_webhook_key(value.get_secret_value())
    except ValueError as error:
        raise ValueError(str(error)) from None
    return value


def _not_empty(value: SecretStr) -> SecretStr:
    if not value.get_secret_value():
        raise ValueError("must not be empty")
    return value


def _header_token(value: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,256}", value.get_secret_value()):
        raise ValueError("must be 1 to 256 characters of A-Z a-z 0-9 _ -")
    return value


def _bot_token(value: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[A-Za-z0-9:_-]{1,256}", value.get_secret_value()):
        raise ValueError("must be a token such as 123456:ABC-DEF")
    return value


HttpUrl = Annotated[str, StringConstraints(strip_whitespace=True, max_length=2000), AfterValidator(_http_url)]
Origin = Annotated[str, StringConstraints(strip_whitespace=True, max_length=300), AfterValidator(_origin)]
Address = Annotated[str, StringConstraints(strip_whitespace=True, max_length=320), AfterValidator(_address)]
Secret = Annotated[SecretStr, AfterValidator(_not_empty)]
WebhookSecret = Annotated[SecretStr, AfterValidator(_strong_webhook_secret)]
FormerWebhookSecret = Annotated[SecretStr, AfterValidator(_webhook_secret)]


class WebchatConfig(ChannelConfig):
    """An empty `allowed_origins`, or `*`, lets any site embed the widget. `identity_secret` is the HS256 key of the site's backend."""

    allowed_origins: list[Origin] = Field(default_factory=list, max_length=200)
    identity_secret: Secret | None = None


class PartnerConfig(ChannelConfig):
    """`secret` signs both directions: `whsec_` and base64 of 24 to 64 bytes, as Standard Webhooks has them;
    `previous_secrets` are still accepted while a partner rotates.

    Answers go to `callback_url`. `api_base` is accepted because every sender has one; the callback is already a whole URL.
    """

    secret: WebhookSecret
    previous_secrets: list[FormerWebhookSecret] = Field(default_factory=list, max_length=10)
    callback_url: HttpUrl | None = None
    api_base: HttpUrl | None = None

    @cached_property
    def keys(self) -> tuple[bytes, ...]:
        """The raw keys a call may be signed with, the newest first."""
        return tuple(
            signatures.webhook_key(secret.get_secret_value()) for secret in (self.secret, *self.previous_secrets)
        )


class TelegramConfig(ChannelConfig):
    bot_token: Annotated[SecretStr, AfterValidator(_bot_token)]
    secret_token: Annotated[SecretStr, AfterValidator(_header_token)]
    api_base: HttpUrl = "https://api.telegram.org"
