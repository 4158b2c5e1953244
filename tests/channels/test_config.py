"""Channel configurations: what is refused and how it is said, what is secret, and that they survive being stored."""

import base64
from typing import Any

import orjson
import pytest
from pydantic import BaseModel, ValidationError

from app.channels.config import STORED, PartnerConfig, TelegramConfig, WebchatConfig, secret_fields, split
from app.channels.mail_config import MailConfig
from app.channels.registry import ADAPTERS
from app.channels.voice_config import VoiceConfig

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def sealed(length: int) -> str:
    return "whsec_" + base64.b64encode(b"k" * length).decode()


GOOD: list[tuple[type[BaseModel], dict[str, Any]]] = [
    (WebchatConfig, {}),
    (
        WebchatConfig,
        {"allowed_origins": ["https://Shop.example/", "http://localhost:3000"], "identity_secret": "x" * 40},
    ),
    (PartnerConfig, {"secret": SECRET}),
    *((PartnerConfig, {"secret": sealed(length)}) for length in (16, 24, 32, 64)),
    (PartnerConfig, {"secret": SECRET.removeprefix("whsec_")}),
    (PartnerConfig, {"secret": SECRET, "previous_secrets": ["nope"]}),
    (VoiceConfig, {"provider": "generic", "secret": SECRET}),
    (PartnerConfig, {"secret": SECRET, "previous_secrets": [SECRET], "callback_url": "http://127.0.0.1:9/cb?x=1"}),
    (TelegramConfig, {"bot_token": "123:ABC", "secret_token": "abc_-1"}),
    (TelegramConfig, {"bot_token": "123:ABC", "secret_token": "abc", "api_base": "http://127.0.0.1:8081"}),
    (MailConfig, {"address": "Help@Shop.example"}),
    (
        MailConfig,
        {
            "address": "h@s.example",
            "smtp_url": "smtp://u:p%40@mx:2525?starttls=never",
            "imap_url": "imaps://mx",
            "from_name": "Shop",
        },
    ),
]

BAD: list[tuple[type[BaseModel], dict[str, Any], str]] = [
    (WebchatConfig, {"allowed_origins": ["shop.example"]}, "allowed_origins"),
    (WebchatConfig, {"allowed_origins": ["https://shop.example/path"]}, "allowed_origins"),
    (WebchatConfig, {"identity_secret": ""}, "identity_secret"),
    (PartnerConfig, {}, "secret"),
    (PartnerConfig, {"secret": ""}, "secret"),
    (PartnerConfig, {"secret": "whsec_"}, "secret"),
    (PartnerConfig, {"secret": "whsec_%%%"}, "secret"),
    (PartnerConfig, {"secret": "nope"}, "secret"),
    (PartnerConfig, {"secret": sealed(15)}, "secret"),
    (PartnerConfig, {"secret": sealed(65)}, "secret"),
    (VoiceConfig, {"provider": "generic", "secret": "nope"}, "secret"),
    (PartnerConfig, {"secret": SECRET, "previous_secrets": [""]}, "previous_secrets"),
    (PartnerConfig, {"secret": SECRET, "callback_url": "ftp://x"}, "callback_url"),
    (PartnerConfig, {"secret": SECRET, "callback_url": "http://"}, "callback_url"),
    (PartnerConfig, {"secret": SECRET, "color": "red"}, "color"),
    (TelegramConfig, {"bot_token": "1:a"}, "secret_token"),
    (TelegramConfig, {"bot_token": "1:a/../x", "secret_token": "a"}, "bot_token"),
    (TelegramConfig, {"bot_token": "1:a", "secret_token": "with space"}, "secret_token"),
    (TelegramConfig, {"bot_token": "1:a", "secret_token": "a", "api_base": "api.telegram.org"}, "api_base"),
    (MailConfig, {"address": "nobody"}, "address"),
    (MailConfig, {"address": "a@b\r\nBcc: c@d"}, "address"),
    (MailConfig, {"address": "a@b", "smtp_url": "http://x"}, "smtp_url"),
    (MailConfig, {"address": "a@b", "smtp_url": "smtp://x:notaport"}, "smtp_url"),
]


@pytest.mark.parametrize(("model", "given"), GOOD)
def test_a_good_one_survives_being_stored(model: type[BaseModel], given: dict[str, Any]) -> None:
    config = model.model_validate(given)
    public, secrets = orjson.loads(orjson.dumps(split(config)))
    assert set(secrets) <= secret_fields(model)
    assert model.model_validate({**public, **secrets}) == config


@pytest.mark.parametrize(("model", "given", "field"), BAD)
def test_a_bad_one_is_refused_by_the_name_of_its_field(
    model: type[BaseModel], given: dict[str, Any], field: str
) -> None:
    with pytest.raises(ValidationError) as error:
        model.model_validate(given)
    assert field in {str(item["loc"][0]) for item in error.value.errors()}


def test_errors_do_not_show_what_was_given() -> None:
    with pytest.raises(ValidationError) as error:
        TelegramConfig.model_validate({"bot_token": "1:sup er", "secret_token": "sup er", "api_base": "sup er"})
    assert "sup er" not in str(error.value)


def test_what_is_secret() -> None:
    assert {name: secret_fields(adapter.config_model) for name, adapter in ADAPTERS.items()} == {
        "webchat": {"identity_secret"},
        "partner": {"secret", "previous_secrets"},
        "telegram": {"bot_token", "secret_token"},
        "email": {"smtp_url", "imap_url", "inbound_secret", "mailgun_signing_key"},
        **{name: {"app_secret", "verify_token", "access_token"} for name in ("whatsapp", "messenger", "instagram")},
        "wechat": {"app_secret", "token", "encoding_aes_key"},
        "wecom": {"secret", "token", "encoding_aes_key"},
        "sms": {"auth_token"},
        "line": {"channel_secret", "access_token"},
        "slack": {"signing_secret", "bot_token"},
        "viber": {"auth_token"},
        "voice": {"auth_token", "secret", "previous_secrets", "recording_login"},
        "form": set(),
        "walk_in": set(),
    }


def test_secrets_are_not_shown_by_accident() -> None:
    config = PartnerConfig.model_validate({"secret": SECRET, "previous_secrets": [SECRET]})
    assert SECRET not in repr(config)
    assert SECRET not in str(config.model_dump())


def test_every_sender_can_be_pointed_elsewhere() -> None:
    nowhere = {"webchat", "form", "walk_in"}  # they send nothing to a provider
    for name, adapter in ADAPTERS.items():
        assert name in nowhere or "api_base" in adapter.config_model.model_fields


def test_adapters_are_named_as_in_the_protocol() -> None:
    assert set(ADAPTERS) == {
        "webchat",
        "partner",
        "telegram",
        "email",
        "whatsapp",
        "messenger",
        "instagram",
        "wechat",
        "wecom",
        "sms",
        "line",
        "slack",
        "viber",
        "voice",
        "form",
        "walk_in",
    }
    assert all(name == adapter.type for name, adapter in ADAPTERS.items())


def test_a_secret_that_was_taken_in_before_the_rule_goes_on() -> None:
    partner = PartnerConfig.model_validate({"secret": "nope"}, context=STORED)
    line = VoiceConfig.model_validate({"provider": "generic", "secret": "nope"}, context=STORED)
    assert partner.keys == line.keys == (base64.b64decode("nope"),)
    with pytest.raises(ValidationError):
        PartnerConfig.model_validate({"secret": ""}, context=STORED)
