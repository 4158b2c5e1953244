"""From the webhook call to the agent's frame, at a steady open-loop rate."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import orjson
import websockets

from bench.client import Connection, signed_call
from bench.ingest import TEXT
from bench.stack import Stack

SENDERS = 500


async def at_rate(stack: Stack, rate: int, *, seconds: float, run: str) -> dict[str, Any]:
    """Poisson arrivals; latency counts from when a call was due, so a stall is charged to every call it delayed."""
    due: dict[str, float] = {}
    latencies: list[float] = []
    count = int(rate * seconds)
    done = asyncio.Event()

    async def listen(socket: Any) -> None:
        async for text in socket:
            if not text.startswith('{"type":"message.created"'):
                continue
            arrived = time.perf_counter()
            key = orjson.loads(text)["message"]["text"].split(" ", 1)[0]
            if (at := due.pop(key, None)) is not None:
                latencies.append(arrived - at)
                if len(latencies) == count:
                    done.set()

    async with websockets.connect(f"ws://127.0.0.1:{stack.port}/desk/live", compression=None, max_size=None) as socket:
        await socket.send(orjson.dumps({"type": "hello", "token": stack.watcher}).decode())
        await socket.recv()
        listener = asyncio.create_task(listen(socket))
        await _send(stack, rate, count, run, due)
        try:
            await asyncio.wait_for(done.wait(), 15)
        finally:
            listener.cancel()
    latencies.sort()
    return {
        "p50_ms": round(latencies[len(latencies) // 2] * 1e3, 2),
        "p99_ms": round(latencies[int(len(latencies) * 0.99)] * 1e3, 2),
        "messages": len(latencies),
    }


async def _send(stack: Stack, rate: int, count: int, run: str, due: dict[str, float]) -> None:
    connections: asyncio.LifoQueue[Connection] = asyncio.LifoQueue()
    for _ in range(64):
        connections.put_nowait(await Connection.open(stack.port))
    randomness, at, tasks = random.Random(rate), time.perf_counter() + 0.05, []
    stamp = int(time.time())
    calls = []
    for number in range(count):
        key = f"{run}-{rate}-{number}"
        sender = {"id": f"{run}-{number % SENDERS}", "name": "Customer"}
        body = orjson.dumps({"id": key, "from": sender, "text": f"{key} {TEXT}"})
        calls.append((key, signed_call(stack.webhook, stack.secret, body, key, stamp)))

    async def one(request: bytes) -> None:
        connection = await connections.get()
        await connection.send(request)
        connections.put_nowait(connection)

    for key, request in calls:
        at += randomness.expovariate(rate)
        if (wait := at - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        due[key] = at
        tasks.append(asyncio.create_task(one(request)))
    await asyncio.gather(*tasks)
    while not connections.empty():
        connections.get_nowait().close()
