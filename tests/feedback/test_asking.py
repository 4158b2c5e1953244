"""A receipt that its channel does not carry goes by the next one, once on each; where none is left, the desk sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlmodel import col, select

from app.channels.base import InboundMessage, Parsed, Sender, SendFailure, StatusUpdate
from app.channels.receipts import Outcome, payload_of
from app.conversations import closing, queries
from app.conversations.confirming import Confirmer
from app.db import Database
from app.delivery import receipts as statuses
from app.intake.presses import FOREIGN
from app.models import Channel, ClosingPolicy, ContactIdentity, InboundJournal, Message, ResolutionCycle
from app.models.words import CycleState, DeliveryStatus, MessageKind
from app.vault import Vault
from tests.desk.conftest import admin, house
from tests.desk.house import Caller, House
from tests.web.matter import Matter, make

__all__ = ["admin", "house"]


@pytest.fixture
async def matter(database: Database, vault: Vault) -> Matter:
    """Of somebody who wrote on WhatsApp two days ago."""
    made = await make(database, vault)
    async with database.begin() as session:
        await session.execute(text("UPDATE channel SET type = 'whatsapp'"))
        await session.execute(text("UPDATE conversation SET channel_type = 'whatsapp'"))
        await session.execute(text("UPDATE message SET created_at = now() - interval '2 days'"))
    return made


@pytest.fixture
def confirmer(database: Database) -> Confirmer:
    return Confirmer(database, link=lambda cycle_id: f"http://test/f/{cycle_id}")


async def known_on(matter: Matter, kind: str, value: str) -> UUID:
    """A channel of that type on which the customer has written before."""
    channel = Channel(type=kind, name=kind.title(), secrets=matter.vault.seal("{}"))
    async with matter.database.begin() as session:
        session.add(channel)
        await session.flush()
        session.add(ContactIdentity(contact_id=matter.contact_id, channel_id=channel.id, kind=kind, value=value))
    return channel.id


async def receipts(matter: Matter) -> list[Message]:
    async with matter.database.begin() as session:
        of = select(Message).where(col(Message.kind) == MessageKind.RECEIPT).order_by(col(Message.seq))
        return list((await session.exec(of)).all())


async def waiting(matter: Matter) -> list[tuple[Any, ...]]:
    async with matter.database.begin() as session:
        found = await session.execute(
            text(
                "SELECT o.channel_id, i.value FROM outbox o LEFT JOIN contact_identity i ON i.id = o.identity_id ORDER BY o.id"
            )
        )
        return [tuple(row) for row in found]


async def test_when_the_window_is_closed_it_goes_by_the_first_that_may_be_used(matter: Matter) -> None:
    sms = await known_on(matter, "sms", "+15550001")
    email = await known_on(matter, "email", "mei@customer.test")
    cycle = await matter.resolve()
    [message] = await receipts(matter)
    assert (message.channel_id, message.status) == (email, DeliveryStatus.QUEUED)
    assert message.content["instead"] == {"channel_type": "whatsapp", "by": "email", "why": "window-closed"}
    assert await waiting(matter) == [(email, "mei@customer.test")]
    assert cycle.message_id == message.id
    [told] = await matter.events("message.created")
    assert told["message"]["instead"]["why"] == "window-closed"
    assert sms != email


async def test_the_order_is_the_policys(matter: Matter) -> None:
    sms = await known_on(matter, "sms", "+15550001")
    await known_on(matter, "email", "mei@customer.test")
    async with matter.database.begin() as session:
        session.add(ClosingPolicy(code="mine", name="Mine", position=1, receipt_channels=["sms"]))
    await matter.resolve()
    [message] = await receipts(matter)
    assert message.channel_id == sms
    assert len(message.text) < 200, "a text message is short"
    assert "Reply YES" in message.text


async def test_without_any_other_it_is_stored_as_failed_with_the_reason(matter: Matter) -> None:
    await matter.resolve()
    [message] = await receipts(matter)
    assert (message.status, message.error_code) == (DeliveryStatus.FAILED, "window-closed")
    [told] = await matter.events("message.created")
    assert (told["message"]["status"], told["message"]["error_code"]) == ("failed", "window-closed")
    assert await waiting(matter) == []


async def test_an_account_that_is_broken_is_left_out_and_is_used_where_it_is_the_only_one(matter: Matter) -> None:
    await open_window(matter)
    async with matter.database.begin() as session:
        await session.execute(
            text(
                "INSERT INTO channel_state(channel_id, state, failures, half_open) SELECT id, 'reauth', 1, false FROM channel"
            )
        )
    await matter.resolve()
    [alone] = await receipts(matter)
    assert (alone.status, "instead" in alone.content) == (DeliveryStatus.QUEUED, False)
    await matter.reopen()
    email = await known_on(matter, "email", "mei@customer.test")
    await matter.resolve()
    [_, message] = await receipts(matter)
    assert (message.channel_id, message.content["instead"]["why"]) == (email, "account-broken")


async def open_window(matter: Matter) -> None:
    async with matter.database.begin() as session:
        await session.execute(text("UPDATE message SET created_at = now() WHERE direction = 'inbound'"))


async def fail(matter: Matter, message: Message, failure: SendFailure) -> None:
    update = StatusUpdate("", "failed", detail="no", our_id=str(message.id), failure=failure)
    assert await statuses.take(matter.database, message.channel_id, update)


@pytest.mark.parametrize("failure", [SendFailure.WINDOW, SendFailure.RECIPIENT])
async def test_one_that_did_not_arrive_goes_by_the_next_and_never_twice_by_the_same(
    matter: Matter, confirmer: Confirmer, failure: SendFailure
) -> None:
    await open_window(matter)
    email, sms = await known_on(matter, "email", "mei@customer.test"), await known_on(matter, "sms", "+15550001")
    await matter.resolve()
    tried = []
    for _ in range(3):
        newest = (await receipts(matter))[-1]
        tried.append(newest.channel_id)
        await fail(matter, newest, failure)
        await fail(matter, newest, failure)
        await confirmer.step()
        await confirmer.step()
    assert tried[1:] == [email, sms]
    assert len(await receipts(matter)) == 3, "each channel once"
    assert {message.status for message in await receipts(matter)} == {DeliveryStatus.FAILED}
    assert (await matter.cycle()).unreached is None
    assert len(await matter.events("feedback.requested")) == 1


async def test_what_failed_for_another_reason_or_is_answered_is_not_sent_again(
    matter: Matter, confirmer: Confirmer
) -> None:
    await open_window(matter)
    await known_on(matter, "email", "mei@customer.test")
    await matter.resolve()
    await fail(matter, (await receipts(matter))[0], SendFailure.PERMANENT)
    await confirmer.step()
    assert len(await receipts(matter)) == 1
    await matter.reopen()
    await matter.resolve()
    second = (await receipts(matter))[1]
    await fail(matter, second, SendFailure.WINDOW)
    await matter.reopen()
    await confirmer.step()
    assert len(await receipts(matter)) == 2
    cycle = await matter.cycle()
    assert (cycle.state, cycle.unreached) == (CycleState.SUPERSEDED, None)


@pytest.fixture
async def sms(matter: Matter, house: House, admin: Caller) -> AsyncIterator[Texting]:
    """An SMS channel on which the customer is known; the receipt of the WhatsApp matter has gone there."""
    config = {"account_sid": "AC" + "0" * 32, "auth_token": "t0ken", "number": "+4930123456"}
    channel = UUID((await admin.post("/channels", {"type": "sms", "name": "SMS", "config": config}))["id"])
    async with matter.database.begin() as session:
        session.add(ContactIdentity(contact_id=matter.contact_id, channel_id=channel, kind="sms", value="+15550001"))
    await matter.resolve()
    [message] = await receipts(matter)
    assert message.channel_id == channel
    house.context.intake.start()
    yield Texting(house, channel)
    await house.context.intake.stop()


@dataclass
class Texting:
    house: House
    channel_id: UUID

    async def say(self, text: str, *, number: str = "+15550001", pressed: str | None = None) -> list[UUID]:
        """The conversations that it went to."""
        account = await self.house.context.catalog.channel(self.channel_id)
        assert account is not None
        sender = Sender("sms", number, address={"to": number})
        message = InboundMessage(f"SM{uuid4().hex}", sender, text, pressed=pressed)
        stored = await self.house.context.intake.store(
            account, transport="webhook", headers={}, body=b"", parsed=Parsed(messages=(message,))
        )
        return [item.conversation_id for item in stored]


async def test_yes_from_where_the_receipt_went_settles_the_matter(matter: Matter, sms: Texting) -> None:
    assert await sms.say("YES") == [matter.conversation_id]
    cycle = await matter.cycle()
    assert (cycle.state, cycle.decided_via) == (CycleState.CONFIRMED, "message")
    assert await sms.say("4") == [matter.conversation_id]
    survey = await matter.survey()
    assert survey is not None
    assert survey.csat == 4
    assert await sms.say("My lamp is broken, please help") != [matter.conversation_id]
    other = await sms.say("yes")
    assert other != [matter.conversation_id], "now they have another matter open there"


@pytest.mark.parametrize("words", ["What did you do?", "thanks but no"])
async def test_other_words_from_there_are_a_matter_of_their_own(matter: Matter, sms: Texting, words: str) -> None:
    assert await sms.say(words) != [matter.conversation_id]
    assert (await matter.cycle()).state == CycleState.PENDING


async def test_no_from_there_goes_on_with_the_same_owner(matter: Matter, sms: Texting) -> None:
    assert await sms.say("NO") == [matter.conversation_id]
    conversation = await matter.conversation()
    assert (conversation.status, conversation.cycle, conversation.assignee_id) == ("open", 2, matter.agent.id)


def button(matter: Matter, outcome: Outcome) -> str:
    assert matter.cycle_id is not None
    return payload_of(matter.cycle_id, outcome)


async def lapse(matter: Matter, *, window: str = "1 day") -> None:
    """Nothing was heard, and it was closed for that."""
    async with matter.database.begin() as session:
        held = await queries.lock(session, matter.conversation_id)
        await closing.lapse(session, held, await session.get_one(ResolutionCycle, matter.cycle_id))
        await session.flush()
        await session.execute(text(f"UPDATE conversation SET reopen_until = now() + interval '{window}'"))


async def take_over(matter: Matter, sms: Texting) -> None:
    """The matter's own channel is SMS from now on."""
    async with matter.database.begin() as session:
        of = select(ContactIdentity.id).where(col(ContactIdentity.channel_id) == sms.channel_id)
        identity_id = (await session.exec(of)).one()
    await matter.change(channel_id=sms.channel_id, channel_type="sms", identity_id=identity_id)


@pytest.mark.parametrize("own", [False, True])
async def test_after_silence_words_and_buttons_are_answers(matter: Matter, sms: Texting, own: bool) -> None:
    """From where the receipt went, and on the matter's own channel."""
    if own:
        await take_over(matter, sms)
    said: list[tuple[str, Outcome | None, str]] = [
        ("still not working", None, "rejected"),
        ("it's fixed now, thanks!", None, "confirmed"),
        ("Not solved", "rejected", "rejected"),
        ("Yes, solved", "confirmed", "confirmed"),
    ]
    for words, pressed, expected in said:
        await lapse(matter)
        payload = button(matter, pressed) if pressed else None
        assert await sms.say(words, pressed=payload) == [matter.conversation_id], words
        cycle, conversation = await matter.cycle(), await matter.conversation()
        assert (cycle.state, cycle.decided_via) == (expected, "button" if pressed else "message"), words
        assert conversation.status == ("closed" if expected == "confirmed" else "open")
        if expected == "confirmed":
            await matter.reopen()
        await matter.resolve()
    await lapse(matter, window="-1 day")
    await sms.say("Not solved", pressed=button(matter, "rejected"))
    assert await sms.say("still not working") != [matter.conversation_id], "too late"
    assert (await matter.conversation()).status == "closed"


async def test_a_press_counts_once_and_against_an_answer_nothing(matter: Matter, sms: Texting) -> None:
    yes, no = button(matter, "confirmed"), button(matter, "rejected")
    assert [await sms.say("Yes, solved", pressed=yes) for _ in range(3)] == [[matter.conversation_id]] * 3
    assert await sms.say("Not solved", pressed=no) == [matter.conversation_id]
    cycle, conversation = await matter.cycle(), await matter.conversation()
    assert (cycle.state, cycle.decided_via, conversation.status) == (CycleState.CONFIRMED, "button", "closed")
    async with matter.database.begin() as session:
        said = (await session.exec(select(Message.text).where(col(Message.external_id).is_not(None)))).all()
    assert sorted(said) == ["Not solved", "Yes, solved"]


async def test_an_old_button_never_settles_a_newer_resolution(matter: Matter, sms: Texting) -> None:
    old = button(matter, "confirmed")
    await matter.reopen()
    await sms.say("Yes, solved", pressed=old)
    assert (await matter.conversation()).status == "open"
    newer = await matter.resolve()
    await sms.say("Yes, solved", pressed=old)
    await sms.say("Not solved", pressed=old.replace(":y:", ":n:"))
    cycle, conversation = await matter.cycle(), await matter.conversation()
    assert (cycle.id, cycle.state, conversation.status) == (newer.id, CycleState.PENDING, "resolved")


async def test_a_button_of_somebody_elses_receipt_does_nothing(matter: Matter, sms: Texting) -> None:
    before = await matter.snapshot()
    stranger = {"number": "+15559999", "pressed": button(matter, "confirmed")}
    assert await sms.say("Yes, solved", **stranger) == []
    assert await sms.say("Yes, solved", pressed=payload_of(uuid4(), "confirmed")) == []
    assert await matter.snapshot() == before
    async with matter.database.begin() as session:
        kept = (await session.exec(select(InboundJournal))).all()
    assert [(row.status, FOREIGN in str(row.error)) for row in kept] == [("ignored", True)] * 2
