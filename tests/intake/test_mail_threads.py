"""By which rule a mail finds its conversation, who may come in, and that nothing automatic moves anything."""

from __future__ import annotations

import base64
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlmodel import col, select

from app.catalog import CatalogCache, ChannelAccount, seal_secrets
from app.channels import mail_parse
from app.channels.mail_config import MailConfig
from app.db import Database
from app.intake import mail_threads
from app.intake.ingest import Intake, Stored
from app.intake.store import FileStore
from app.models import Channel, ContactRefusal, Conversation, Message, SlaClock
from app.models.words import AuthorType, DeliveryStatus, Direction, MessageKind
from app.settings import Settings
from app.vault import Vault
from app.wakeups import Wakeups

ANA, BO, EVE = "ana@home.example", "bo@home.example", "eve@elsewhere.example"


@dataclass
class House:
    """A mail channel and its way in."""

    database: Database
    intake: Intake
    account: ChannelAccount
    vault: Vault

    async def post(self, raw: bytes, *recipients: str, sender: str | None = None) -> list[Stored]:
        assert isinstance(self.account.config, MailConfig)
        parsed = mail_parse.parse(raw, self.account.config, recipients=recipients, envelope_from=sender)
        return await self.intake.store(self.account, transport="smtp", headers={}, body=raw, parsed=parsed)

    async def row(self, stored: Stored) -> Message:
        async with self.database.begin() as session:
            return await session.get_one(Message, stored.message_id)

    async def how(self, stored: Stored) -> dict[str, Any]:
        found: dict[str, Any] = (await self.row(stored)).content["threading"]
        return found

    async def conversation(self, conversation_id: UUID) -> Conversation:
        async with self.database.begin() as session:
            return await session.get_one(Conversation, conversation_id)

    async def set_status(self, conversation_id: UUID, status: str) -> None:
        async with self.database.begin() as session:
            await session.execute(
                text("UPDATE conversation SET status = :status WHERE id = :id"),
                {"status": status, "id": conversation_id},
            )

    async def answered(self, conversation_id: UUID, key: str) -> UUID:
        """A mail of ours that went out under a Message-ID."""
        async with self.database.begin() as session:
            conversation = await session.get_one(Conversation, conversation_id, with_for_update=True)
            conversation.last_seq += 1
            session.add(conversation)
            sent = Message(
                conversation_id=conversation_id,
                seq=conversation.last_seq,
                channel_id=self.account.id,
                direction=Direction.OUTBOUND,
                kind=MessageKind.REPLY,
                author_type=AuthorType.AGENT,
                text="Our answer",
                thread_key=key,
                provider_message_id=key,
                status=DeliveryStatus.SENT,
            )
            session.add(sent)
        return sent.id

    async def count(self, model: type[Any]) -> int:
        async with self.database.begin() as session:
            return len((await session.exec(select(model))).all())


async def open_house(database: Database, vault: Vault, settings: Settings, **config: Any) -> House:
    async with database.begin() as session:
        session.add(
            Channel(
                type="email",
                name="mail",
                config={"address": "help@shop.example", **config},
                secrets=seal_secrets(vault, {}),
            )
        )
    catalog = CatalogCache(database, vault, Wakeups(database))
    intake = Intake(database, catalog, vault, settings, FileStore(settings.attachments_dir, limit=1_000_000))
    intake.start()
    mails = next(account for account in (await catalog.current()).channels.values() if account.type == "email")
    return House(database, intake, mails, vault)


@pytest.fixture
async def house(database: Database, vault: Vault, settings: Settings) -> AsyncIterator[House]:
    house = await open_house(database, vault, settings, bounce_address="bounces@shop.example")
    yield house
    await house.intake.stop()


@pytest.fixture
async def by_subject(database: Database, vault: Vault, settings: Settings) -> AsyncIterator[House]:
    house = await open_house(database, vault, settings, subject_days=7)
    yield house
    await house.intake.stop()


def mail(sender: str = ANA, body: str = "hello", subject: str = "Sofa", **fields: str) -> bytes:
    lines = "".join(f"{name.replace('_', '-')}: {value}\n" for name, value in fields.items())
    return (
        f"From: {sender}\nTo: help@shop.example\nSubject: {subject}\nMessage-ID: <{secrets.token_hex(8)}@x.example>\n"
        f"{lines}\n{body}"
    ).encode()


async def test_a_first_mail_and_the_next_of_the_same_person(house: House) -> None:
    [first] = await house.post(mail())
    [second] = await house.post(mail(subject="Something else"))
    assert (await house.how(first), await house.how(second)) == ({"rule": "new"}, {"rule": "sender"})
    assert second.conversation_id == first.conversation_id


async def test_the_reply_address_comes_before_everything_else(house: House) -> None:
    [first] = await house.post(mail())
    [other] = await house.post(mail(BO))
    await house.answered(other.conversation_id, "<ours.2@shop.example>")
    token = house.vault.reply_token(first.conversation_id)
    raw = mail(In_Reply_To="<ours.2@shop.example>", Delivered_To=f"Help+{token.upper()}@shop.example")
    [answer] = await house.post(raw)
    assert answer.conversation_id == first.conversation_id
    assert await house.how(answer) == {"rule": "token", "participant": "known"}


async def test_who_knows_the_reply_address_comes_in_and_is_named_as_new(house: House) -> None:
    [first] = await house.post(mail())
    token = house.vault.reply_token(first.conversation_id)
    [colleague] = await house.post(mail(BO), f"help+{token}@shop.example")
    assert colleague.conversation_id == first.conversation_id
    assert await house.how(colleague) == {"rule": "token", "participant": "new"}
    [again] = await house.post(mail(BO), f"help+{token}@shop.example")
    assert await house.how(again) == {"rule": "token", "participant": "known"}
    conversation = await house.conversation(first.conversation_id)
    row = await house.row(first)
    assert conversation.contact_id == row.author_id, "our answers go to the customer, whoever else writes"


async def test_a_forged_reply_address_opens_nothing(house: House) -> None:
    [first] = await house.post(mail())
    token = house.vault.reply_token(first.conversation_id)
    for place in range(len(token)):
        wrong = token[:place] + ("a" if token[place] != "a" else "b") + token[place + 1 :]
        assert house.vault.read_reply_token(wrong) in (None, first.conversation_id), "the last letter has spare bits"
    [stranger] = await house.post(mail(EVE), f"help+{'a' * 42}@shop.example")
    assert stranger.conversation_id != first.conversation_id


async def test_ids_of_our_mails_and_of_theirs(house: House) -> None:
    [first] = await house.post(mail())
    [other] = await house.post(mail(BO))
    await house.answered(first.conversation_id, "<ours.1@shop.example>")
    theirs = (await house.row(other)).thread_key
    token = house.vault.reply_token(other.conversation_id)
    await house.post(mail(ANA), f"help+{token}@shop.example")  # now Ana takes part in both
    [by_answer] = await house.post(mail(ANA, In_Reply_To="<gone@x> <ours.1@shop.example>", References=str(theirs)))
    assert (by_answer.conversation_id, (await house.how(by_answer))["rule"]) == (first.conversation_id, "in_reply_to")
    [by_chain] = await house.post(mail(ANA, References=f"<ours.1@shop.example>\n {theirs} <gone@x>"))
    assert (by_chain.conversation_id, (await house.how(by_chain))["rule"]) == (other.conversation_id, "references")


async def test_an_id_alone_lets_no_stranger_in(house: House) -> None:
    [first] = await house.post(mail())
    await house.answered(first.conversation_id, "<ours.1@shop.example>")
    [stranger] = await house.post(mail(EVE, In_Reply_To="<ours.1@shop.example>"))
    assert stranger.conversation_id != first.conversation_id
    assert await house.how(stranger) == {
        "rule": "new",
        "participant": "new",
        "follows": str(first.conversation_id),
        "by": "in_reply_to",
        "why": "stranger",
    }
    assert (await house.conversation(stranger.conversation_id)).contact_id != (
        await house.conversation(first.conversation_id)
    ).contact_id


async def test_who_was_in_copy_takes_part(house: House) -> None:
    [first] = await house.post(mail(Cc=f"Bo <{BO}>"))
    await house.answered(first.conversation_id, "<ours.1@shop.example>")
    [copied] = await house.post(mail(BO, In_Reply_To="<ours.1@shop.example>"))
    assert copied.conversation_id == first.conversation_id
    assert await house.how(copied) == {"rule": "in_reply_to", "participant": "known"}


async def _same_person(house: House, first: Stored, other: Stored) -> None:
    """Ana writes from two addresses; her second conversation is over."""
    async with house.database.begin() as session:
        mine = await session.get_one(Conversation, first.conversation_id)
        await session.execute(
            text(
                "UPDATE contact_identity SET contact_id = :contact WHERE id = "
                "(SELECT identity_id FROM conversation WHERE id = :conversation)"
            ),
            {"contact": mine.contact_id, "conversation": other.conversation_id},
        )
        await session.execute(
            text("UPDATE conversation SET contact_id = :contact, status = 'closed' WHERE id = :conversation"),
            {"contact": mine.contact_id, "conversation": other.conversation_id},
        )


async def test_outlooks_index_finds_the_thread_of_the_same_person_only(house: House) -> None:
    index = base64.b64encode(b"\7" * 22).decode()
    [first] = await house.post(mail(Thread_Index=index, Thread_Topic="Sofa"))
    [other] = await house.post(mail(BO))
    await _same_person(house, first, other)
    later = base64.b64encode(b"\7" * 22 + b"later").decode()
    [answer] = await house.post(mail(BO, Thread_Index=later, Thread_Topic="Sofa"))
    assert answer.conversation_id == first.conversation_id
    assert (await house.how(answer))["rule"] == "thread_index"
    [stranger] = await house.post(mail(EVE, Thread_Index=later, Thread_Topic="Sofa"))
    assert stranger.conversation_id != first.conversation_id


async def test_subjects_find_a_thread_only_where_that_is_switched_on(house: House) -> None:
    [first] = await house.post(mail(subject="My red sofa"))
    [other] = await house.post(mail(BO))
    await _same_person(house, first, other)
    [answer] = await house.post(mail(BO, subject="Re: My red sofa"))
    assert (await house.how(answer))["rule"] == "new"


async def test_subjects(by_subject: House) -> None:
    house = by_subject
    [first] = await house.post(mail(subject="My red sofa"))
    [other] = await house.post(mail(BO))
    await _same_person(house, first, other)
    [stranger] = await house.post(mail(EVE, subject="Re: My red sofa"))
    assert stranger.conversation_id != first.conversation_id
    [generic] = await house.post(mail(BO, subject="Re: help"))
    assert (await house.how(generic))["rule"] == "new"
    await house.set_status(generic.conversation_id, "closed")
    [answer] = await house.post(mail(BO, subject="AW: Re: my RED sofa [#12]"))
    assert answer.conversation_id == first.conversation_id
    assert await house.how(answer) == {"rule": "subject", "participant": "known"}
    async with house.database.begin() as session:
        await session.execute(text("UPDATE conversation SET last_inbound_at = now() - interval '8 days'"))
    [late] = await house.post(mail(BO, subject="My red sofa"))
    assert late.conversation_id != first.conversation_id


async def test_a_person_who_answers_what_is_closed_begins_anew(house: House) -> None:
    [first] = await house.post(mail())
    await house.set_status(first.conversation_id, "closed")
    token = house.vault.reply_token(first.conversation_id)
    [again] = await house.post(mail(), f"help+{token}@shop.example")
    assert again.conversation_id != first.conversation_id
    how = await house.how(again)
    assert (how["rule"], how["follows"], how["why"]) == ("new", str(first.conversation_id), "closed")


@pytest.mark.parametrize("status", ["open", "resolved", "closed"])
@pytest.mark.parametrize("named", [True, False])
async def test_a_vacation_notice_is_kept_with_its_thread_and_moves_nothing(
    house: House, status: str, named: bool
) -> None:
    [first] = await house.post(mail())
    await house.answered(first.conversation_id, "<ours.1@shop.example>")
    await house.set_status(first.conversation_id, status)
    before = await house.conversation(first.conversation_id)
    clocks = await house.count(SlaClock)
    fields = {"Auto_Submitted": "auto-replied", **({"In_Reply_To": "<ours.1@shop.example>"} if named else {})}
    [notice] = await house.post(mail(body="I am away", **fields), sender="")
    after = await house.conversation(first.conversation_id)
    assert notice.conversation_id == first.conversation_id
    assert (await house.row(notice)).content["automatic_kind"] == "reply"
    assert (await house.how(notice))["rule"] == ("in_reply_to" if named else "last")
    for name in ("status", "cycle", "assignee_id", "last_inbound_at", "resolved_at", "category", "first_replied_at"):
        assert getattr(after, name) == getattr(before, name), name
    assert await house.count(SlaClock) == clocks
    assert await house.count(Conversation) == 1


async def test_our_own_mailboxes_do_not_write_to_each_other(house: House) -> None:
    [first] = await house.post(mail("help@shop.example"))
    [other] = await house.post(mail(ANA))
    kinds = [(await house.row(stored)).content.get("automatic_kind") for stored in (first, other)]
    assert kinds == ["loop", None]
    sales = Channel(
        type="email", name="sales", config={"address": "sales@shop.example"}, secrets=seal_secrets(house.vault, {})
    )
    async with house.database.begin() as session:
        session.add(sales)
    catalog = CatalogCache(house.database, house.vault, Wakeups(house.database))
    raw = mail("Sales <SALES@shop.example>")
    assert isinstance(house.account.config, MailConfig)
    (message,) = mail_parse.parse(raw, house.account.config).messages
    assert not message.automatic, "one mailbox does not know of the other"
    placed, _ = await mail_threads.place(house.database, house.vault, await catalog.current(), house.account, message)
    assert (placed.automatic, placed.content["automatic_kind"]) == (True, "loop")


def bounce(to: str, key: str, status: str = "5.1.1", said: str = "550 5.1.1 no such user") -> bytes:
    return (
        "From: MAILER-DAEMON@mx.example\nTo: help@shop.example\nSubject: Undelivered Mail Returned to Sender\n"
        f"Message-ID: <{secrets.token_hex(8)}@mx.example>\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\n\n"
        "--b\nContent-Type: text/plain\n\nSorry.\n--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example\n\n"
        f"Final-Recipient: rfc822; {to}\nAction: failed\nStatus: {status}\nDiagnostic-Code: smtp; {said}\n\n"
        f"--b\nContent-Type: text/rfc822-headers\n\nMessage-ID: {key}\n\n--b--\n"
    ).encode()


async def refused(house: House) -> list[tuple[str, str, bool]]:
    async with house.database.begin() as session:
        rows = (await session.exec(select(ContactRefusal))).all()
    return [(row.value, row.reason, row.refused) for row in rows]


async def test_a_bounce_fails_our_mail_and_refuses_the_address_but_opens_nothing(house: House) -> None:
    [first] = await house.post(mail())
    sent = await house.answered(first.conversation_id, "<ours.1@shop.example>")
    assert await house.post(bounce(ANA, "<ours.1@shop.example>"), sender="") == []
    async with house.database.begin() as session:
        message = await session.get_one(Message, sent)
    assert message.status == DeliveryStatus.FAILED
    assert "no such user" in (message.error or "")
    assert await refused(house) == [(ANA, "unreachable", True)]
    assert await house.count(Conversation) == 1
    assert await house.count(Message) == 2


async def test_a_full_mailbox_refuses_nobody(house: House) -> None:
    [first] = await house.post(mail())
    await house.answered(first.conversation_id, "<ours.1@shop.example>")
    await house.post(bounce(ANA, "<ours.1@shop.example>", "5.2.2", "552 5.2.2 mailbox full"), sender="")
    assert await refused(house) == []


async def test_a_bounce_that_knows_no_mail_of_ours_does_nothing_but_stay_in_the_journal(house: House) -> None:
    await house.post(mail())
    assert await house.post(bounce(ANA, "<never@shop.example>"), sender="") == []
    assert await refused(house) == []
    async with house.database.begin() as session:
        row = (await session.execute(text("SELECT status, error FROM inbound_journal ORDER BY id DESC LIMIT 1"))).one()
    assert tuple(row) == ("ignored", "bounce that names no mail of ours")


async def test_nobody_can_have_somebody_else_refused(house: House) -> None:
    """Eve knows the ids of the mails that she got, and names Ana in a bounce of her own making."""
    [eve] = await house.post(mail(EVE))
    await house.post(mail(ANA))
    await house.answered(eve.conversation_id, "<ours.9@shop.example>")
    await house.post(bounce(ANA, "<ours.9@shop.example>"), sender="")
    assert await refused(house) == []


async def test_the_bounce_of_a_copy_fails_nothing(house: House) -> None:
    [first] = await house.post(mail())
    sent = await house.answered(first.conversation_id, "<ours.1@shop.example>")
    async with house.database.begin() as session:
        await session.execute(
            text("UPDATE contact_identity SET address = address || CAST(:cc AS jsonb)"), {"cc": f'{{"cc": ["{BO}"]}}'}
        )
    await house.post(bounce(BO, "<ours.1@shop.example>"), sender="")
    async with house.database.begin() as session:
        assert (await session.get_one(Message, sent)).status == DeliveryStatus.SENT
    assert await refused(house) == []


async def test_a_bounce_is_matched_by_the_address_it_came_to(house: House) -> None:
    [first] = await house.post(mail())
    sent = await house.answered(first.conversation_id, "<ours.1@shop.example>")
    await house.post(bounce(ANA, "<rewritten@relay.example>"), f"bounces+b-{sent.hex}@shop.example", sender="")
    async with house.database.begin() as session:
        message = (await session.exec(select(Message).where(col(Message.id) == sent))).one()
    assert message.status == DeliveryStatus.FAILED


async def test_a_complaint_refuses(house: House) -> None:
    [first] = await house.post(mail())
    await house.answered(first.conversation_id, "<ours.1@shop.example>")
    raw = (
        "From: fbl@provider.example\nTo: help@shop.example\nSubject: abuse\nContent-Type: multipart/report; report-type=feedback-report; boundary=b\n\n"
        f"--b\nContent-Type: message/feedback-report\n\nFeedback-Type: abuse\nOriginal-Rcpt-To: {ANA}\n\n"
        "--b\nContent-Type: message/rfc822\n\nMessage-ID: <ours.1@shop.example>\n\nx\n--b--\n"
    ).encode()
    assert await house.post(raw, sender="") == []
    assert await refused(house) == [(ANA, "complained", True)]
