"""One watcher process, as a server runs it: `python -m bench.sla_watcher URL`. Ends at SIGTERM."""

from __future__ import annotations

import asyncio
import signal
import sys

import uvloop

from app.background import Background
from app.db import Database
from app.settings import Settings
from app.sla.watcher import Watcher
from app.wakeups import Wakeups


async def watch(url: str) -> None:
    database = Database(Settings(DATABASE_URL=url, log_level="error"))
    wakeups, background, stopped = Wakeups(database), Background(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    background.add("sla-watcher", Watcher(database).step, wakeups.subscribe("sla"), tick_s=30)
    await wakeups.start()
    background.start()
    print("watching", flush=True)
    await stopped.wait()
    await background.stop(within_s=5)
    await wakeups.stop()
    await database.close()


if __name__ == "__main__":
    uvloop.run(watch(sys.argv[1]))
