"""The channel types that this installation has: ours, and those of other packages beside it."""

from app.channels import plugins
from app.channels.base import Adapter
from app.channels.form import FormAdapter
from app.channels.instagram import InstagramAdapter
from app.channels.line import LineAdapter
from app.channels.mail import MailAdapter
from app.channels.messenger import MessengerAdapter
from app.channels.partner import PartnerAdapter
from app.channels.slack import SlackAdapter
from app.channels.sms import SmsAdapter
from app.channels.telegram import TelegramAdapter
from app.channels.viber import ViberAdapter
from app.channels.voice import VoiceAdapter
from app.channels.walk_in import WalkInAdapter
from app.channels.webchat import WebchatAdapter
from app.channels.wechat import WechatAdapter
from app.channels.wecom import WecomAdapter
from app.channels.whatsapp import WhatsAppAdapter

_ALL: tuple[Adapter, ...] = (
    WebchatAdapter(),
    PartnerAdapter(),
    TelegramAdapter(),
    MailAdapter(),
    WhatsAppAdapter(),
    MessengerAdapter(),
    InstagramAdapter(),
    WechatAdapter(),
    WecomAdapter(),
    SmsAdapter(),
    LineAdapter(),
    SlackAdapter(),
    VoiceAdapter(),
    ViberAdapter(),
    FormAdapter(),
    WalkInAdapter(),
)
ADDED, FAULTS = plugins.load({adapter.type for adapter in _ALL})
ADAPTERS: dict[str, Adapter] = {adapter.type: adapter for adapter in (*_ALL, *(one.adapter for one in ADDED))}
