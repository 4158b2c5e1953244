"""What is told of a telephone call reaches its one message: ringing, answered, ended, recording, transcript, in any order.

The first update that says who calls makes the message, like any other one (ingest.sql). What comes before that is kept
in the call's row and waits. Whoever applies an update holds the conversation, so that its clocks, its offers and the
desk hear of each step once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import orjson
from sqlalchemy import text
from sqlmodel import col, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app import log
from app.catalog import Catalog, ChannelAccount
from app.channels.base import CallUpdate, InboundMessage, Parsed
from app.conversations import calls_fold, queries
from app.db import Database
from app.events import log as events
from app.events import shapes
from app.events.log import SYSTEM, Actor
from app.intake import calls_follow
from app.intake.media import TOPIC as MEDIA
from app.models import Attachment, Call, Conversation, MediaFetch, Message
from app.models.words import MessageKind
from app.wakeups import wake

UPDATES_LIMIT = 2_000
_ATTEMPTS = 20
_logger = log.get("intake")
# The row decides who is first: an update without a message waits there, or is told that there is one by now.
_PARK = text(
    "INSERT INTO call AS c (channel_id, call_id, updates, over) VALUES (:channel, :call, CAST(:updates AS jsonb), false) "
    "ON CONFLICT (channel_id, call_id) DO UPDATE SET updates = CASE "
    "WHEN c.message_id IS NULL AND jsonb_array_length(c.updates) < :limit AND NOT c.updates @> CAST(:same AS jsonb) "
    "THEN c.updates || excluded.updates ELSE c.updates END RETURNING c.message_id"
)
_NAME = text(
    "INSERT INTO call AS c (channel_id, call_id, message_id, conversation_id, updates, over) "
    "VALUES (:channel, :call, :message, :conversation, '[]', false) "
    "ON CONFLICT (channel_id, call_id) DO UPDATE SET message_id = coalesce(c.message_id, excluded.message_id), "
    "conversation_id = coalesce(c.conversation_id, excluded.conversation_id)"
)


def external_id(call_id: str) -> str:
    """The message's key in its channel: no other message of a telephone line has one like it."""
    return f"call:{call_id}"


def dated(parsed: Parsed, received_at: datetime) -> Parsed:
    """The same with a time for each update: one that has none happened when we heard of it."""
    if all(update.at is not None for update in parsed.calls):
        return parsed
    return replace(parsed, calls=[update if update.at else replace(update, at=received_at) for update in parsed.calls])


async def openings(database: Database, channel_id: UUID, told: Sequence[CallUpdate]) -> list[InboundMessage]:
    """The messages that calls begin with which are not known yet, one per call, where somebody says who calls."""
    found: list[InboundMessage] = []
    async with database.begin() as session:
        for call_id in dict.fromkeys(update.call_id for update in told):
            mine = [update for update in told if update.call_id == call_id]
            named = next((update for update in mine if update.sender is not None), None)
            if named is None or await known(session, channel_id, named) is not None:
                continue
            call = calls_fold.fold(calls_fold.entry(update) for update in mine)
            assert named.sender is not None, "chosen because it has one"
            found.append(
                InboundMessage(
                    external_id=external_id(call_id),
                    sender=named.sender,
                    text=calls_fold.text_of(call),
                    sent_at=_begun(call) or named.at,
                    content={"call": call},
                    call=call,
                    automatic=call["direction"] == "outbound",
                )
            )
    return found


async def known(session: AsyncSession, channel_id: UUID, update: CallUpdate) -> tuple[UUID, UUID] | None:
    """`(message, conversation)` of a call: by our own name for it, else by the provider's."""
    named = [
        col(Message.external_id) == external_id(update.call_id),
        col(Message.provider_message_id) == update.call_id,
    ]
    try:
        ours = UUID(update.our_id) if update.our_id else None
    except ValueError:
        ours = None
    wanted = select(Message.id, Message.conversation_id).where(
        col(Message.channel_id) == channel_id, col(Message.kind) == MessageKind.CALL
    )
    if ours is not None:
        mine = (await session.exec(wanted.where(col(Message.id) == ours))).one_or_none()
        if mine is not None:
            return mine
    return (await session.exec(wanted.where(or_(*named)).order_by(col(Message.id)).limit(1))).one_or_none()


async def apply(database: Database, account: ChannelAccount, update: CallUpdate, catalog: Catalog) -> bool:
    """Take in an update, exactly once by its key, in a transaction of its own; False when it tells nothing new, or has to
    wait until somebody says whose call it is."""
    for _ in range(_ATTEMPTS):
        async with database.begin() as session:
            found = await known(session, account.id, update)
            if found is not None:
                return await _apply(session, account, update, found, catalog)
            if await _park(session, account.id, update):
                return False
    raise RuntimeError("the call's message cannot be found")


async def _park(session: AsyncSession, channel_id: UUID, update: CallUpdate) -> bool:
    """False when its message was stored meanwhile."""
    entry = calls_fold.entry(update)
    if update.recording is not None:
        entry["file"] = _file(update)
    values = {
        "channel": channel_id,
        "call": update.call_id,
        "updates": orjson.dumps([entry]).decode(),
        "same": orjson.dumps([{"key": update.key}]).decode(),
        "limit": UPDATES_LIMIT,
    }
    return (await session.execute(_PARK, values)).scalar_one() is None


async def _apply(
    session: AsyncSession,
    account: ChannelAccount,
    update: CallUpdate,
    found: tuple[UUID, UUID],
    catalog: Catalog,
) -> bool:
    message_id, conversation_id = found
    conversation = await queries.lock(session, conversation_id)
    message = await session.get_one(Message, message_id, populate_existing=True)
    row = await _row(session, account.id, update, message)
    entry = calls_fold.entry(update)
    if update.recording is not None:
        entry["file"] = _file(update)
    waiting = not message.content.get("heard")  # what was parked before its message was there
    if any(old["key"] == entry["key"] for old in row.updates):
        if not waiting:
            return False
    elif len(row.updates) >= UPDATES_LIMIT:
        _logger.warning("call told too much", channel_id=account.id, call_id=update.call_id)
        return False
    else:
        row.updates = [*row.updates, entry]
    before = message.content["call"] if message.content.get("heard") else {}
    after = calls_fold.fold(row.updates)
    files = await _keep_files(session, message, row.updates)
    row.over = calls_fold.is_over(after)
    session.add(row)
    await _show(session, conversation, message, after, changed=files or message.content.get("call") != after)
    await calls_follow.follow(session, conversation, message, before, after, catalog=catalog)
    return True


async def _row(session: AsyncSession, channel_id: UUID, update: CallUpdate, message: Message) -> Call:
    """The call's row, which from now on is that message's; guarded by the conversation, which the caller holds."""
    by_message = select(Call).where(col(Call.message_id) == message.id).execution_options(populate_existing=True)
    row = (await session.exec(by_message)).one_or_none()
    if row is not None:
        return row
    values = {
        "channel": channel_id,
        "call": update.call_id,
        "message": message.id,
        "conversation": message.conversation_id,
    }
    await session.execute(_NAME, values)
    return (await session.exec(by_message)).one()


async def _show(
    session: AsyncSession, conversation: Conversation, message: Message, call: Mapping[str, Any], *, changed: bool
) -> None:
    first = not message.content.get("heard")
    if not changed and not first:
        return
    message.content = {**message.content, "call": dict(call), "heard": True}
    message.text = calls_fold.text_of(call)
    if message.external_id is not None:
        message.sent_at = _begun(call) or message.sent_at
    session.add(message)
    if not changed:
        return
    payload = {
        "message_id": str(message.id),
        "seq": message.seq,
        "change": {
            "kind": "call",
            "text": message.text,
            "at": None,
            "call": shapes.call(call, message.attachments),
        },
    }
    actor = Actor("contact", conversation.contact_id) if call["direction"] == "inbound" else SYSTEM
    await events.append(session, conversation, "message.updated", payload, actor=actor)


def _begun(call: Mapping[str, Any]) -> datetime | None:
    return datetime.fromisoformat(call["started_at"]) if call["started_at"] else None


def _file(update: CallUpdate) -> dict[str, Any]:
    assert update.recording is not None
    file = update.recording
    return {"name": file.name, "media_type": file.media_type, "size": file.size, "ref": dict(file.ref)}


async def _keep_files(session: AsyncSession, message: Message, told: Sequence[Mapping[str, Any]]) -> bool:
    """Recordings that the message does not have yet: to be fetched, or uploaded to us before. True when there were some."""
    here = {item["id"] for item in message.attachments}
    fresh: list[dict[str, Any]] = []
    for item in told:
        file = item.get("file")
        if file is None:
            continue
        item_id = str(uuid5(NAMESPACE_URL, f"{message.id}:{file['ref']['id']}"))
        if item_id in here:
            continue
        here.add(item_id)
        fresh.append(await _keep(session, message, UUID(item_id), file, at=item["recording"]))
    if fresh:
        message.attachments = [*message.attachments, *fresh]
        session.add(message)
    return bool(fresh)


async def _keep(
    session: AsyncSession, message: Message, item_id: UUID, file: Mapping[str, Any], *, at: str
) -> dict[str, Any]:
    kept = {"id": str(item_id), "name": file["name"], "media_type": file["media_type"], "size": file["size"]}
    kept |= {"sha256": None, "recording": at}
    if "blob_id" not in file["ref"]:
        await session.flush()
        session.add(
            MediaFetch(
                attachment_id=item_id,
                message_id=message.id,
                conversation_id=message.conversation_id,
                channel_id=message.channel_id,
                ref=dict(file["ref"]),
            )
        )
        await wake(session, MEDIA)
        return {**kept, "remote": dict(file["ref"])}
    upload = await _upload(session, file["ref"]["blob_id"])
    if upload is None:
        return {**kept, "error": "there is no upload with this blob_id"}
    session.add(
        Attachment(
            id=item_id,
            sha256=upload.sha256,
            size=upload.size,
            media_type=upload.media_type,
            name=upload.name,
            message_id=message.id,
        )
    )
    named = {"name": upload.name, "media_type": upload.media_type, "size": upload.size, "sha256": upload.sha256}
    return {**kept, **named}


async def _upload(session: AsyncSession, blob_id: str) -> Attachment | None:
    """A file that was uploaded to us and that no message carries: nobody gets another customer's file by naming it."""
    try:
        wanted = UUID(blob_id)
    except ValueError:
        return None
    found = await session.get(Attachment, wanted)
    return found if found is not None and found.message_id is None else None
