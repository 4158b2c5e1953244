"""The web-chat channel has no provider: its own socket carries everything."""

import httpx
import pytest

from app.channels.base import Sent, Unparseable
from app.channels.config import WebchatConfig
from app.channels.webchat import WebchatAdapter
from app.errors import NotGenuine
from tests.channels.makers import call, outgoing


async def test_the_event_stream_is_the_delivery() -> None:
    async with httpx.AsyncClient() as http:
        assert await WebchatAdapter().send(WebchatConfig(), outgoing(), http) == Sent()


def test_no_webhook_is_a_chat() -> None:
    with pytest.raises(NotGenuine):
        WebchatAdapter().verify(WebchatConfig(), call(b"{}"))
    with pytest.raises(Unparseable):
        WebchatAdapter().parse(WebchatConfig(), call(b"{}"))
