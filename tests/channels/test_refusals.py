"""Who does not want to hear from us, as each provider says it: in a message, in a status, in the answer to a send."""

from __future__ import annotations

import pytest

from app.channels.base import RefusalReason
from app.channels.sms import SmsAdapter
from app.channels.sms_config import SmsConfig
from app.channels.whatsapp import WhatsAppAdapter
from app.channels.whatsapp_config import WhatsAppConfig
from tests.channels.makers import call
from tests.support.twilio import form_call

SMS = SmsConfig(account_sid="AC1", auth_token="t", number="+14155550100")
SAID = (("MessageSid", "SM1"), ("From", "+14155550199"), ("To", "+14155550100"))


@pytest.mark.parametrize(
    ("text", "type", "wanted"),
    [
        ("STOP", "STOP", ("stop:SM1", True)),
        ("Stop ", "", ("stop:SM1", True)),
        ("START", "START", ("start:SM1", False)),
        ("unstop", "", ("start:SM1", False)),
        ("HELP", "HELP", None),
        ("please stop the delivery", "", None),
        *(
            (text, "", ("stop:SM1", True))
            for text in ("Stop.", "STOP!", '"stop"', "停止", "退订。", "退訂", "TD", "ＴＤ")
        ),
        ("Start!", "", ("start:SM1", False)),
        *((text, "", None) for text in ("停止发货吧", "退订了吗，我要换货", "TDX", "stop it", "...")),
    ],
)
def test_stop_and_start_by_text_message(text: str, type: str, wanted: tuple[str, bool] | None) -> None:
    form = (*SAID, ("Body", text), *([("OptOutType", type)] if type else []))
    parsed = SmsAdapter().parse(SMS, form_call("t", form))
    assert len(parsed.messages) == 1, "it is a message all the same"
    found = [(item.key, item.on) for item in parsed.refusals]
    assert found == ([wanted] if wanted else [])
    for item in parsed.refusals:
        assert (item.reason, item.sender.kind, item.sender.value) == (RefusalReason.OPT_OUT, "sms", "+14155550199")


@pytest.mark.parametrize(
    ("code", "reason"), [("21610", RefusalReason.OPT_OUT), ("30006", RefusalReason.UNREACHABLE), ("30008", None)]
)
def test_a_status_of_twilio(code: str, reason: RefusalReason | None) -> None:
    form = (("MessageSid", "SM1"), ("MessageStatus", "undelivered"), ("ErrorCode", code), ("To", "+14155550199"))
    [status] = SmsAdapter().parse(SMS, form_call("t", form)).statuses
    assert status.refusal is reason


@pytest.mark.parametrize(("code", "reason"), [(131050, "opt_out"), (131026, "unreachable"), (131047, None)])
def test_a_status_of_whatsapp(code: int, reason: str | None) -> None:
    config = WhatsAppConfig(app_secret="s", verify_token="v", access_token="EAAtoken", phone_number_id="111")
    body = (
        b'{"object":"whatsapp_business_account","entry":[{"id":"w","changes":[{"field":"messages","value":{'
        b'"messaging_product":"whatsapp","metadata":{"phone_number_id":"111"},"statuses":[{"id":"wamid.1",'
        b'"status":"failed","timestamp":"1698266945","recipient_id":"1","errors":[{"code":%d,"title":"no"}]}]}}]}]}'
        % code
    )
    [status] = WhatsAppAdapter().parse(config, call(body)).statuses
    assert status.refusal == reason
