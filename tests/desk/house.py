"""The HTTP surface on the real database: the application without its loops, callers, and conversations to act in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID, uuid4

import httpx
from fastapi import FastAPI
from sqlmodel import SQLModel, select

from app import problems
from app.background import Background
from app.catalog import CatalogCache, seal_secrets
from app.context import Context
from app.db import Database
from app.desk import endpoints
from app.edge import Correlation
from app.events.hub import Hub
from app.ids import new_token, token_hash
from app.intake.ingest import Intake
from app.intake.store import FileStore
from app.intake.walk_ins import WalkIns
from app.models import (
    Agent,
    ApiToken,
    Assignment,
    Channel,
    Contact,
    ContactIdentity,
    Conversation,
    Message,
    Queue,
    QueueEntry,
    QueueMember,
)
from app.models.words import AuthorType, Direction, Role, TokenKind
from app.settings import Settings
from app.vault import Vault
from app.wakeups import Wakeups

SECRET = "whsec_bm90IGEgcmVhbCBzZWNyZXQsIGJ1dCBsb25nIGVub3VnaA=="


def build_context(database: Database, vault: Vault, settings: Settings, *, inner: Database | None = None) -> Context:
    """Without a pool of its own the intake shares the desk's: good for tests that do not race for connections."""
    wakeups = Wakeups(database)
    inner = inner or database
    catalog = CatalogCache(inner, vault, wakeups)
    files = FileStore(settings.attachments_dir, limit=settings.attachment_limit)
    context = Context(
        settings=settings,
        database=database,
        inner=inner,
        vault=vault,
        wakeups=wakeups,
        catalog=catalog,
        hub=Hub(database),
        files=files,
        intake=Intake(inner, catalog, vault, settings, files),
        http=httpx.AsyncClient(),
        background=Background(),
        limits=cast(Any, None),
    )
    context.walk_ins = WalkIns(context)
    return context


def build_app(context: Context) -> FastAPI:
    app = FastAPI()
    app.state.context = context
    problems.install(app)
    app.include_router(endpoints.router())
    return app


@dataclass
class Caller:
    """Somebody with a token."""

    http: httpx.AsyncClient
    token: str
    agent: Agent | None = None

    @property
    def id(self) -> UUID:
        assert self.agent is not None
        return self.agent.id

    async def call(
        self,
        method: str,
        path: str,
        *,
        expect: int | None = None,
        headers: dict[str, str] | None = None,
        **options: Any,
    ) -> httpx.Response:
        """A call of `/api/v1`; fails with the answer's text when the status is not the expected one."""
        sent = {"Authorization": f"Bearer {self.token}", **(headers or {})}
        response = await self.http.request(method, f"/api/v1{path}", headers=sent, **options)
        if expect is not None:
            assert response.status_code == expect, response.text
        return response

    async def get(self, path: str, **options: Any) -> Any:
        return (await self.call("GET", path, expect=200, **options)).json()

    async def post(self, path: str, json: Any = None, *, expect: int = 201, **options: Any) -> Any:
        return (await self.call("POST", path, json=json, expect=expect, **options)).json()

    async def patch(self, path: str, version: int, json: Any, *, expect: int = 200) -> Any:
        headers = {"If-Match": f'"{version}"'}
        return (await self.call("PATCH", path, json=json, headers=headers, expect=expect)).json()

    async def all(self, path: str, **params: Any) -> list[Any]:
        """Every item of a list, page by page."""
        items: list[Any] = []
        cursor = None
        while True:
            page = await self.get(path, params={**params, **({"cursor": cursor} if cursor else {})})
            items += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return items


@dataclass
class House:
    """One application on one database."""

    context: Context
    http: httpx.AsyncClient
    channel_id: UUID | None = None
    made: list[UUID] = field(default_factory=list)

    @property
    def database(self) -> Database:
        return self.context.database

    async def add(self, *rows: SQLModel) -> None:
        async with self.database.begin() as session:
            for row in rows:
                session.add(row)
                await session.flush()

    async def caller(self, role: Role = Role.ADMIN, kind: TokenKind = TokenKind.ADMIN) -> Caller:
        token = new_token(kind)
        await self.add(ApiToken(kind=kind, name="test", digest=token_hash(token), role=role))
        return Caller(self.http, token)

    async def agent(self, *queue_ids: UUID, role: Role = Role.AGENT, capacity: int = 6) -> Caller:
        agent = Agent(name="Ada", email=f"{uuid4()}@example.org", role=role, capacity=capacity)
        token = new_token("agent")
        await self.add(
            agent,
            ApiToken(kind=TokenKind.AGENT, name=agent.email, digest=token_hash(token), agent_id=agent.id, role=role),
            *(QueueMember(queue_id=queue_id, agent_id=agent.id) for queue_id in queue_ids),
        )
        return Caller(self.http, token, agent)

    async def queue(self, name: str = "Repairs", **fields: Any) -> UUID:
        queue = Queue(name=name, **fields)
        await self.add(queue)
        return queue.id

    async def default_queue(self) -> UUID:
        async with self.database.begin() as session:
            return (await session.exec(select(Queue.id).where(Queue.is_default))).one()

    async def channel(self) -> UUID:
        if self.channel_id is None:
            sealed = seal_secrets(self.context.vault, {"secret": SECRET})
            channel = Channel(type="partner", name="Partner", secrets=sealed)
            await self.add(channel)
            self.channel_id = channel.id
        return self.channel_id

    async def conversation(self, queue_id: UUID, *, assignee: Caller | None = None, **fields: Any) -> UUID:
        """With one message of the customer: waiting in its queue, or assigned at the cost of 1."""
        channel_id = await self.channel()
        contact = Contact(name="Mei", email="mei@example.org", language="en")
        identity = ContactIdentity(
            contact_id=contact.id, channel_id=channel_id, kind="partner", value=str(contact.id), address={"id": "1"}
        )
        theirs = {"assignee_id": assignee.id, "owner_id": assignee.id} if assignee else {}
        values: dict[str, Any] = {**theirs, **fields}
        conversation = Conversation(
            channel_id=channel_id,
            channel_type="partner",
            contact_id=contact.id,
            identity_id=identity.id,
            queue_id=queue_id,
            last_seq=1,
            **values,
        )
        message = Message(
            conversation_id=conversation.id,
            seq=1,
            channel_id=channel_id,
            direction=Direction.INBOUND,
            author_type=AuthorType.CONTACT,
            author_id=contact.id,
            author_name="Mei",
            text="my chair is broken",
            external_id=str(uuid4()),
        )
        work: SQLModel = QueueEntry(conversation_id=conversation.id, queue_id=queue_id, weight=1)
        if assignee:
            work = Assignment(conversation_id=conversation.id, agent_id=assignee.id, weight=1, how="offer")
            async with self.database.begin() as session:
                agent = await session.get_one(Agent, assignee.id, with_for_update=True)
                agent.load += 1
        await self.add(contact, identity, conversation, message, work)
        return conversation.id


def build_client(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(Correlation(app)), base_url="http://desk.test")
