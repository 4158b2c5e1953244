"""What a connected widget may ask for, each answered after its commit."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from pydantic import ValidationError

from app.catalog import ChannelAccount
from app.channels.base import InboundFile, InboundMessage, Parsed
from app.context import Context
from app.conversations import feedback, queries
from app.delivery import receipts
from app.errors import Conflict, IdempotencyMismatch, Invalid, NotFound, sentence
from app.feedback.survey import Answer
from app.intake import limits, visitors
from app.intake import widget_protocol as protocol
from app.intake.language import by_script
from app.models import Conversation, Message


@dataclass
class Widget:
    """One that said who it is: on which channel, as which visitor (another one after a merge), from what address."""

    context: Context
    account: ChannelAccount
    known: visitors.Known
    address: str

    async def answer(self, command: Any) -> dict[str, Any]:
        """Do it; the fields of the answer. Raises Problem."""
        return await _HANDLERS[type(command)](self, command)

    async def _hello(self, command: protocol.Hello) -> dict[str, Any]:
        raise Conflict("hello was said already")

    async def _ping(self, command: protocol.Ping) -> dict[str, Any]:
        return {"type": "pong"}

    async def _send(self, command: protocol.SendMessage) -> dict[str, Any]:
        """Stored before it is acknowledged; the same client_message_id again gets the same answer. Raises
        IdempotencyMismatch when it comes with another text."""
        allowed, visitor = self.context.limits, str(self.known.visitor_id)
        limits.require(allowed.visitor.take(visitor), allowed.address.take(self.address))
        files = [_decode(index, file) for index, file in enumerate(command.attachments)]
        if not command.text.strip() and not files:
            raise Invalid("a message needs a text or an attachment", field="text")
        message = InboundMessage(
            external_id=f"{visitor}:{command.client_message_id}",
            sender=self.known.sender,
            text=command.text.replace("\x00", ""),
            files=files,
            client_message_id=command.client_message_id,
        )
        await self._learn_language(message.text)
        [stored] = await self.context.intake.store(
            self.account,
            transport="widget",
            headers={},
            body=orjson.dumps(command.model_dump(mode="json", exclude={"attachments"})),
            parsed=Parsed(messages=[message]),
        )
        if stored.outcome == "duplicate":
            await self._require_same(stored.message_id, message.text)
        return {
            "message_id": str(stored.message_id),
            "conversation_id": str(stored.conversation_id),
            "seq": stored.seq,
            "client_message_id": command.client_message_id,
            **({"duplicate": True} if stored.outcome == "duplicate" else {}),
        }

    async def _learn_language(self, text: str) -> None:
        """Who has said their name has a contact before the first message: routing looks for its language there."""
        contact = self.known.contact
        if contact is None or contact.language or not (language := by_script(text)):
            return
        async with self.context.database.begin() as session:
            await visitors.learn_language(session, contact.id, language)
        contact.language = language

    async def _require_same(self, message_id: UUID, text: str) -> None:
        async with self.context.database.begin() as session:
            known = await session.get_one(Message, message_id)
        if known.text != text:
            raise IdempotencyMismatch("this id was used for another message", field="client_message_id")

    async def _typing(self, command: protocol.Typing) -> dict[str, Any]:
        conversation = await self._conversation()
        shown = {"type": "typing", "conversation_id": str(conversation.id), "on": command.on}
        await self.context.wakeups.publish(
            {
                "queues": [str(conversation.queue_id)] if conversation.queue_id else [],
                "agents": [str(other) for other in (conversation.assignee_id, conversation.owner_id) if other],
                "frame": {**shown, "author": {"type": "contact", "name": self.known.sender.name}},
            }
        )
        return {}

    async def _read(self, command: protocol.ReadConversation) -> dict[str, Any]:
        conversation = await self._conversation()
        async with self.context.database.begin() as session:
            held = await queries.lock(session, conversation.id)
            seq = max(held.contact_read_seq, min(command.seq, held.last_seq))
            held.contact_read_seq = seq
            await receipts.mark_read(session, held, seq)
        return {"seq": seq}

    async def _submit(self, command: protocol.SubmitFeedback) -> dict[str, Any]:
        """The customer's word on a receipt of their own."""
        self._require_calm()
        try:
            answer = Answer.model_validate(command.answer)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise Invalid(sentence(first["msg"]), field=".".join(map(str, first["loc"])) or None) from None
        async with self.context.database.begin() as session:
            contact = await visitors.contact_of(session, self.account, self.known.sender)
            cycle_id = await visitors.receipt_of(session, contact, command.receipt_id) if contact else None
        if cycle_id is None:
            raise NotFound("there is no such receipt")
        async with self.context.database.begin() as session:
            taken = await feedback.answer_receipt(session, cycle_id=cycle_id, answer=answer, via="widget")
        taken.require()
        state, status = taken.cycle.state, taken.conversation.status
        return {"receipt_id": str(taken.cycle.id), "state": state, "conversation_status": status}

    async def _conversation(self) -> Conversation:
        """Theirs. Raises NotFound before the first message, TooManyRequests."""
        self._require_calm()
        async with self.context.database.begin() as session:
            found = await visitors.conversation_of(session, self.account, self.known.sender)
        if found is None:
            raise NotFound("there is no conversation yet; send a message first")
        return found

    def _require_calm(self) -> None:
        limits.require(self.context.limits.signals.take(str(self.known.visitor_id)))


def _decode(index: int, file: protocol.UploadedFile) -> InboundFile:
    try:
        data = base64.b64decode(file.data, validate=True)
    except (binascii.Error, ValueError):
        raise Invalid("not base64", field=f"attachments.{index}.data") from None
    if len(data) > protocol.FILE_BYTES:
        raise Invalid(f"larger than {protocol.FILE_BYTES} bytes", field=f"attachments.{index}.data")
    return InboundFile(name=file.name, media_type=file.media_type, data=data)


_HANDLERS: dict[type[Any], Callable[[Widget, Any], Awaitable[dict[str, Any]]]] = {
    protocol.Hello: Widget._hello,
    protocol.Ping: Widget._ping,
    protocol.SendMessage: Widget._send,
    protocol.Typing: Widget._typing,
    protocol.ReadConversation: Widget._read,
    protocol.SubmitFeedback: Widget._submit,
}
