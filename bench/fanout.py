"""One event to a thousand sockets: our hub and protocol against a bare `websockets` broadcast of the same bytes.

Servers and the counting client are processes of their own; the client only adds up bytes. And what an idle desk costs.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

import orjson

from bench.stack import Stack

SOCKETS = 1_000
TOGETHER = 10
ROUNDS = {"bare": 80, "alone": 80, "together": 25}
QUEUE = UUID(int=1)
_BACKLOG = 65_536
_UPGRADE = (
    "GET {path} HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def row(number: int) -> dict[str, Any]:
    """A row of the log whose frame has about 300 bytes, and always as many."""
    return {
        "pos": number,
        "id": number,
        "type": "message.created",
        "conversation_id": UUID(int=2),
        "channel_id": None,
        "contact_id": None,
        "seq": 1,
        "scope": "conversation",
        "queues": [QUEUE],
        "agents": [],
        "to_customer": False,
        "payload": orjson.dumps({"message": {"text": f"{number:09d} " + "x" * 145}}).decode(),
    }


# the servers


def serve_ours(port: int) -> None:
    """Uvicorn with our protocol; every socket is a desk in the one queue."""
    import uvicorn
    from starlette.websockets import WebSocket, WebSocketDisconnect

    from app.events.hub import DeskSubscriber, Hub
    from app.events.stream import START, StreamEvent, Viewer
    from app.sockets import Peer, SocketProtocol

    hub = Hub(cast(Any, None))
    transports: list[Any] = []
    at = 0

    def publish(events: int) -> None:
        nonlocal at
        hub.publish([StreamEvent(row(at + 1 + place)) for place in range(events)])
        at += events

    async def application(scope: Any, receive: Any, send: Any) -> None:
        websocket = WebSocket(scope, receive, send)
        await websocket.accept()
        peer = Peer(websocket, limit=10_000_000)
        desk = DeskSubscriber(peer, Viewer(UUID(int=9), "agent", frozenset([QUEUE])), START)
        hub.join_desk(desk)
        desk.release()
        transports.append(scope["extensions"]["roundtrip.socket"]["protocol"].transport)
        try:
            while True:
                await _command(await websocket.receive_text(), publish, transports)
        except WebSocketDisconnect:
            hub.leave_desk(desk)

    uvicorn.run(
        application,
        port=port,
        ws=SocketProtocol,
        loop="uvloop",
        http="httptools",
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        log_level="error",
        lifespan="off",
        backlog=4096,
    )


def serve_bare(port: int) -> None:
    """`websockets` and its broadcast()."""
    import uvloop
    from websockets.asyncio.server import ServerConnection, broadcast, serve
    from websockets.exceptions import ConnectionClosed

    from app.events.stream import StreamEvent

    async def run() -> None:
        connections: set[ServerConnection] = set()
        transports: list[Any] = []
        at = 0

        def publish(events: int) -> None:
            nonlocal at
            for place in range(events):
                broadcast(connections, StreamEvent(row(at + 1 + place)).frame.text.decode())
            at += events

        async def handle(connection: ServerConnection) -> None:
            connections.add(connection)
            transports.append(connection.transport)
            with contextlib.suppress(ConnectionClosed):
                async for text in connection:
                    await _command(str(text), publish, transports)

        async with serve(handle, "127.0.0.1", port, compression=None, ping_interval=None, backlog=4096):
            await asyncio.get_running_loop().create_future()

    uvloop.run(run())


async def _command(text: str, publish: Callable[[int], None], transports: Sequence[Any]) -> None:
    """`rounds events`: so many rounds of so many events, flat out, but never far ahead of the client."""
    rounds, events = map(int, text.split())
    for _ in range(rounds):
        publish(events)
        await asyncio.sleep(0)
        while any(transport.get_write_buffer_size() > _BACKLOG for transport in transports):  # noqa: ASYNC110
            await asyncio.sleep(0)


# the client


def count(port: int) -> None:
    """A thousand raw sockets and an epoll. For each line `rounds events` the frames per second, as a line."""
    sockets = _open(port, SOCKETS, "/desk/live")
    poller = select.epoll()
    for opened in sockets:
        opened.setblocking(False)
        poller.register(opened, select.EPOLLIN)
    by_number = {opened.fileno(): opened for opened in sockets}
    from app.events.stream import StreamEvent

    size, buffer = len(StreamEvent(row(1)).frame.wire), bytearray(1 << 20)
    print("ready", flush=True)
    for line in sys.stdin:
        rounds, events = map(int, line.split())
        frames = rounds * events * SOCKETS
        started, left = time.perf_counter(), frames * size
        sockets[0].send(_masked(line.strip().encode()))
        while left:
            for number, _ in poller.poll(10):
                left -= by_number[number].recv_into(buffer)
        print(round(frames / (time.perf_counter() - started)), flush=True)


def _open(port: int, number: int, path: str) -> list[socket.socket]:
    opened = []
    for _ in range(number):
        one = socket.create_connection(("127.0.0.1", port))
        one.sendall(_UPGRADE.format(path=path).encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += one.recv(1)
        assert answer.startswith(b"HTTP/1.1 101"), answer
        opened.append(one)
    return opened


def _masked(text: bytes) -> bytes:
    """A client's text frame; the mask is zero."""
    size = len(text)
    head = bytes((0x81, 0x80 | size)) if size < 126 else bytes((0x81, 0xFE)) + size.to_bytes(2, "big")
    return head + b"\0\0\0\0" + text


# the measurement


def compare(*, runs: int) -> dict[str, Any]:
    """Frames per second of both, in turns; the ratios are the medians of each turn's. `cpu_ratio` compares the servers'
    own time on the processor per frame: where others work on the machine too, it is the steadier one."""
    with _pair("ours") as ours, _pair("bare") as bare:
        found: dict[str, list[int]] = {name: [] for name in ROUNDS}
        cost: dict[str, list[float]] = {name: [] for name in ROUNDS}
        for run in range(runs + 1):
            for name, client, events in (("bare", bare, 1), ("alone", ours, 1), ("together", ours, TOGETHER)):
                before = _cpu_ticks(client.pid)
                per_s = _ask(client.process, ROUNDS[name], events)
                if run:  # the first turn warms up
                    found[name].append(per_s)
                    cost[name].append(ROUNDS[name] * events / max(_cpu_ticks(client.pid) - before, 1))
    return {
        "sockets": SOCKETS,
        **{f"{name}_per_s": round(statistics.median(values)) for name, values in found.items()},
        "ratio": _ratio(found["alone"], found["bare"]),
        "ratio_together": _ratio(found["together"], found["bare"]),
        "cpu_ratio": _ratio(cost["alone"], cost["bare"]),
        "cpu_ratio_together": _ratio(cost["together"], cost["bare"]),
    }


@dataclass(frozen=True)
class _Client:
    """The counting client; `pid` is its server's."""

    process: subprocess.Popen[bytes]
    pid: int


def _cpu_ticks(pid: int) -> int:
    """User and system time of a process, in hundredths of a second."""
    with open(f"/proc/{pid}/stat") as stat:
        words = stat.read().rsplit(")", 1)[1].split()
    return int(words[11]) + int(words[12])


def _ratio(ours: Iterable[float], theirs: Iterable[float]) -> float:
    return round(statistics.median(one / other for one, other in zip(ours, theirs, strict=True)), 2)


@contextlib.contextmanager
def _pair(which: str) -> Iterator[_Client]:
    """A server and its client."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = _start("serve", which, str(port))
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                if time.monotonic() > deadline or server.poll() is not None:
                    raise SystemExit(f"the server {which} did not start") from None
                time.sleep(0.05)
        client = _start("count", str(port))
        try:
            assert client.stdout is not None
            if client.stdout.readline() != b"ready\n":
                raise SystemExit(f"the client of {which} did not start")
            yield _Client(client, server.pid)
        finally:
            client.kill()
            client.communicate()
    finally:
        server.kill()
        server.communicate()


def _start(*words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "bench.fanout", *words]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _ask(client: subprocess.Popen[bytes], rounds: int, events: int) -> int:
    assert client.stdin is not None
    assert client.stdout is not None
    client.stdin.write(f"{rounds} {events}\n".encode())
    client.stdin.flush()
    return int(client.stdout.readline())


def idle_kb(stack: Stack, *, warm: int = 200, more: int = SOCKETS) -> float:
    """KB of the server's memory for each further desk that has been greeted and waits."""
    opened = _desks(stack, warm)
    before = _resident_kb(stack.pid)
    opened += _desks(stack, more)
    after = _resident_kb(stack.pid)
    for one in opened:
        one.close()
    return round((after - before) / more, 1)


def _desks(stack: Stack, number: int) -> list[socket.socket]:
    hello = _masked(orjson.dumps({"type": "hello", "token": stack.watcher}))
    opened = []
    for _ in range(number):
        [one] = _open(stack.port, 1, "/desk/live")
        one.sendall(hello)
        answer = one.recv(65_536)
        if b'"welcome"' not in answer:
            raise SystemExit(f"a desk was not greeted: {answer!r}")
        opened.append(one)
    time.sleep(1)
    return opened


def _resident_kb(pid: int) -> int:
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def show(figures: dict[str, Any]) -> None:
    print(f"fan-out            {figures['alone_per_s']:>7} frames/s to {figures['sockets']} sockets")
    print(
        f"  bare broadcast   {figures['bare_per_s']:>7} frames/s: ours is {figures['ratio']} of it ({figures['cpu_ratio']} by processor time)"
    )
    print(f"  {TOGETHER} events at once {figures['together_per_s']:>7} frames/s: {figures['ratio_together']} of it")
    print(f"  idle desk socket {figures['idle_kb']:>7} KB")


def main() -> None:
    """What the measurement starts."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    what, *words = sys.argv[1:]
    if what == "count":
        count(int(words[0]))
    else:
        {"ours": serve_ours, "bare": serve_bare}[words[0]](int(words[1]))


if __name__ == "__main__":
    main()
