"""Which real calls belong to which description, and how a file becomes what a call holds."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from app.channels.kit import Description
from tests.channels.contract import DESCRIPTIONS

Shape = Callable[[bytes], bytes]


def as_it_is(raw: bytes) -> bytes:
    return raw


def to_our_page(raw: bytes) -> bytes:
    """The page or account that the call is for becomes ours."""
    body = json.loads(raw)
    for entry in body.get("entry") or [] if isinstance(body, dict) else []:
        entry["id"] = "222"
        for event in (one for name in ("messaging", "standby") for one in entry.get(name) or []):
            echo = isinstance(event.get("message"), dict) and event["message"].get("is_echo")
            if (own := "sender" if echo else "recipient") in event:
                event[own] = {"id": "222"}
    return json.dumps(body).encode()


def to_our_number(raw: bytes) -> bytes:
    return re.sub(rb'("phone_number_id":\s*)"[^"]*"', rb'\1"111"', raw)


def as_events(raw: bytes) -> bytes:
    """LINE's documentation shows single events."""
    body = json.loads(raw)
    return raw if isinstance(body, list) or "events" in body else json.dumps({"events": [body]}).encode()


def as_form(raw: bytes) -> bytes:
    return urlencode(json.loads(raw)).encode() if raw.lstrip()[:1] == b"{" else raw


def as_page(raw: bytes) -> bytes:
    """One item of a page, or the answer that holds one."""
    body = json.loads(raw)
    items = body.get("msg_list", [body]) if isinstance(body, dict) else body
    return json.dumps(items).encode()


# folder -> description and shape.
OURS: Mapping[str, tuple[str, Shape]] = {
    "instagram/feed": ("instagram", to_our_page),
    "instagram/inbound": ("instagram", to_our_page),
    "line/batch": ("line", as_events),
    "line/events_single": ("line", as_events),
    "line/inbound": ("line", as_events),
    "messenger/feed": ("messenger", to_our_page),
    "messenger/inbound": ("messenger", to_our_page),
    "partner_webhooks/cloudevents": ("partner", as_it_is),
    "slack/inbound": ("slack", as_it_is),
    "telegram/inbound": ("telegram", as_it_is),
    "telegram/objects": ("telegram", as_it_is),
    "twilio_sms/inbound": ("sms", as_form),
    "twilio_sms/status": ("sms", as_form),
    "twilio_voice/incoming": ("voice", as_form),
    "twilio_voice/recording": ("voice", as_form),
    "twilio_voice/status": ("voice", as_form),
    "twilio_voice/transcription": ("voice", as_form),
    "viber/inbound": ("viber", as_it_is),
    "wechat_oa/inbound": ("wechat", as_it_is),
    "wechat_oa/passive_reply": ("wechat", as_it_is),
    "wechat_oa/status": ("wechat", as_it_is),
    "wecom/events": ("wecom.bell", as_it_is),
    "wecom/inbound": ("wecom.bell", as_it_is),
    "wecom/kf_sync": ("wecom", as_page),
    "whatsapp/account": ("whatsapp", to_our_number),
    "whatsapp/calls": ("whatsapp", to_our_number),
    "whatsapp/echo": ("whatsapp", to_our_number),
    "whatsapp/inbound": ("whatsapp", to_our_number),
    "whatsapp/inbound_360dialog": ("whatsapp", to_our_number),
    "whatsapp/status": ("whatsapp", to_our_number),
}
_MAIL = "mails are read by tests/channels/test_mail_*.py"
_SERVICES = (
    "mail services are read by tests/channels/test_mail_*.py; those without an adapter can hand mails on by SMTP"
)
# Beginnings of the folders that no adapter is called with, and why.
NOT_OURS: Mapping[str, str] = {
    "asterisk_ari/": "events of a telephone system: docs map them to generic phone events",
    "freeswitch_esl/": "events of a telephone system: docs map them to generic phone events",
    "email/": _MAIL,
    "email_webhooks/": _SERVICES,
    "instagram/graph_api": "answers of the API, not calls",
    "partner_webhooks/spec": "the text of the standard",
    "sms_other/": "other SMS providers: there is an adapter for Twilio only; others come by a partner channel or a package",
    "twilio_sms/tables": "error codes: tests/channels/test_sms.py",
    "webchat/": "requests to other products' widgets; ours has a protocol of its own",
    "wechat_oa/api": "answers of the API, not calls: tests/channels/test_wechat.py",
    "wecom/api": "answers of the API, not calls: tests/channels/test_wecom.py",
    "wecom/kf_api": "requests and answers of the API, not calls: tests/channels/test_wecom.py",
    "x_dm/": "there is no adapter for X: its API for direct messages is sold by the month",
}
VECTORS = "/vectors"  # each scheme's own tests verify them


@dataclass(frozen=True, slots=True)
class Real:
    """One real call, and what another project expects of it."""

    path: Path
    name: str
    payload: bytes
    expected: list[dict[str, object]]

    @property
    def description(self) -> Description:
        return DESCRIPTIONS[self.name.partition(".")[0]]


def folders(fixtures: Path) -> Iterator[tuple[str, list[Path]]]:
    """Every folder with files, expectations left out."""
    for folder in sorted(path for path in fixtures.rglob("*") if path.is_dir()):
        files = [path for path in sorted(folder.iterdir()) if path.is_file() and ".expected" not in path.name]
        if files:
            yield folder.relative_to(fixtures).as_posix(), files


def calls(fixtures: Path, name: str | None = None) -> Iterator[Real]:
    for folder, files in folders(fixtures):
        whose, shape = OURS.get(folder, ("", as_it_is))
        if whose.partition(".")[0] not in DESCRIPTIONS or name not in (None, whose):
            continue
        for path in files:
            told = path.with_name(path.stem + ".expected.json")
            raw = path.read_bytes()
            try:
                payload = shape(raw)
            except ValueError:
                payload = raw  # broken on purpose
            yield Real(path, whose, payload, json.loads(told.read_bytes()) if told.exists() else [])
