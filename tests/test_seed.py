"""What a new installation starts with, and that nothing an operator did is undone at the next start."""

from __future__ import annotations

import asyncio

from sqlalchemy import func
from sqlmodel import SQLModel, col, select

from app import seed
from app.db import Database
from app.desk.auth import authenticate
from app.errors import Unauthorized
from app.models import ApiToken, Boost, CategorySetting, ClassificationRule, Queue, SlaPolicy
from app.models.words import Role
from app.routing.default_rules import DEFAULT_RULES
from app.sla.default_policies import POLICIES


async def count(database: Database, table: type[SQLModel]) -> int:
    async with database.begin() as session:
        return (await session.exec(select(func.count()).select_from(table))).one()


async def test_again_and_at_once_adds_nothing(database: Database) -> None:
    async def start() -> None:
        async with database.begin() as session:
            await seed.ensure_defaults(session)

    await asyncio.gather(*(start() for _ in range(4)))
    assert await count(database, Queue) == 1
    assert await count(database, CategorySetting) == 3
    assert await count(database, ClassificationRule) == len(DEFAULT_RULES)
    assert await count(database, SlaPolicy) == len(POLICIES)


async def test_who_is_on_the_line_has_a_start_and_a_deleted_boost_stays_away(database: Database) -> None:
    async with database.begin() as session:
        voice = (await session.exec(select(Boost).where(col(Boost.fact) == "channel_type"))).one()
        assert (voice.value, voice.boost_s) == ("voice", 300)
        await session.delete(voice)
    async with database.begin() as session:
        await seed.ensure_defaults(session)
        assert (await session.exec(select(Boost).where(col(Boost.fact) == "channel_type"))).all() == []


async def test_operators_changes_stay(database: Database) -> None:
    async with database.begin() as session:
        rule = (await session.exec(select(ClassificationRule).limit(1))).one()
        rule.active, rule.patterns = False, ["mine"]
        policy = (await session.exec(select(SlaPolicy).limit(1))).one()
        policy.retired_at = policy.created_at
        urgent = await session.get_one(CategorySetting, "urgent")
        urgent.weight = 5
        queue = (await session.exec(select(Queue))).one()
        queue.name = "Mine"
    async with database.begin() as session:
        await seed.ensure_defaults(session)
    async with database.begin() as session:
        kept = await session.get_one(ClassificationRule, rule.id)
        assert (kept.active, kept.patterns) == (False, ["mine"])
        versions = await session.exec(select(SlaPolicy).where(col(SlaPolicy.code) == policy.code))
        assert [version.retired_at is not None for version in versions.all()] == [True]
        assert (await session.get_one(CategorySetting, "urgent")).weight == 5
        assert (await session.exec(select(Queue))).one().name == "Mine"


async def opens(database: Database, token: str) -> bool:
    async with database.begin() as session:
        try:
            return (await authenticate(session, token)).has(Role.ADMIN)
        except Unauthorized:
            return False


async def ensure(database: Database, given: str | None) -> str | None:
    async with database.begin() as session:
        return await seed.ensure_admin_token(session, given)


async def test_token_is_made_once(database: Database) -> None:
    made = [token for token in await asyncio.gather(*(ensure(database, None) for _ in range(4))) if token]
    assert len(made) == 1
    assert await opens(database, made[0])
    assert await ensure(database, None) is None
    async with database.begin() as session:
        assert made[0] not in str((await session.exec(select(ApiToken))).one().model_dump())


async def test_given_token_is_the_one(database: Database) -> None:
    made = await ensure(database, None)
    assert made is not None
    assert await ensure(database, "first") is None
    assert await opens(database, "first")
    assert not await opens(database, made)
    await ensure(database, "second")
    assert (await opens(database, "first"), await opens(database, "second")) == (False, True)
    await ensure(database, "first")
    assert (await opens(database, "first"), await opens(database, "second")) == (True, False)
    assert await ensure(database, None) is None
