"""The loops of webhooks in one process."""

from __future__ import annotations

import asyncio

from app.background import Background
from app.db import Database
from app.delivery.webhooks.deliverer import Deliverer
from app.delivery.webhooks.fanout import CHANGED, TOPIC, FanOut
from app.delivery.webhooks.sweep import Sweeper
from app.settings import Settings
from app.vault import Vault
from app.wakeups import Wakeups


def add_loops(
    background: Background, wakeups: Wakeups, database: Database, vault: Vault, settings: Settings
) -> Deliverer:
    """Fill the queues, tell the endpoints, let go of what is too old. Returns the one to drain at the end."""
    due = wakeups.subscribe(TOPIC)
    deliverer = Deliverer(database, vault, settings, poke=due.set)
    filler = FanOut(database, wakeups.subscribe(CHANGED))
    background.add("webhook-events", filler.step, wakeups.subscribe("events"), tick_s=2)
    background.add("webhook-calls", deliverer.step, due, tick_s=30)
    background.add("webhook-sweep", Sweeper(database, settings).step, asyncio.Event(), tick_s=60)
    return deliverer
