"""A provider that asks, while somebody is on the line, what to do with the call: answered from the rows as they are."""

from __future__ import annotations

from functools import cache

from prometheus_client import Counter

from app import log
from app.catalog import ChannelAccount
from app.channels.base import Call, Directing, Reply, Situation, Unparseable
from app.context import Context
from app.intake import calls_situation

DIRECTED = Counter(
    "roundtrip_calls_directed_total", "Answers to providers that asked what to do with a call", ["stage"]
)
_logger = log.get("intake")


def asked_about(account: ChannelAccount, call: Call) -> str | None:
    """The call that a genuine request asks about."""
    if not _directs(type(account.adapter)):
        return None
    assert isinstance(account.adapter, Directing)
    try:
        return account.adapter.asks(account.config, call)
    except Unparseable:
        return None
    except Exception as error:
        _logger.error("adapter failed", channel_id=account.id, type=account.type, error=repr(error), exc_info=True)
        return None


async def repeated(context: Context, account: ChannelAccount, call: Call, call_id: str) -> Reply | None:
    """The answer to a question about a call that we know: there is nothing in it to be kept. None: it has to be stored."""
    assert isinstance(account.adapter, Directing)
    if not account.adapter.is_question(account.config, call):
        return None
    situation = await _situation(context, account, call_id)
    return _directed(account, call, situation) if situation is not None else None


async def direct(context: Context, account: ChannelAccount, call: Call, call_id: str) -> Reply:
    """What to do next, once the call is stored; when its situation cannot be read, what the adapter does without."""
    return _directed(account, call, await _situation(context, account, call_id))


async def _situation(context: Context, account: ChannelAccount, call_id: str) -> Situation | None:
    try:
        catalog = await context.catalog.current()
        return await calls_situation.read(context.database, account.id, call_id, catalog)
    except Exception as error:
        _logger.error("situation not read", channel_id=account.id, call_id=call_id, error=repr(error), exc_info=True)
        return None


def _directed(account: ChannelAccount, call: Call, situation: Situation | None) -> Reply:
    assert isinstance(account.adapter, Directing)
    DIRECTED.labels(situation.stage if situation else "unknown").inc()
    return account.adapter.direct(account.config, call, situation)


@cache
def _directs(adapter: type[object]) -> bool:
    """Looking a protocol up is too slow for every call."""
    return issubclass(adapter, Directing)
