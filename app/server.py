"""Processes: the launcher that prepares the database and binds the sockets, and the workers that serve on them."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from types import FrameType

import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr

from app import embedded, front, keys, log, migrate, seed
from app import settings as settings_module
from app.db import MIN_SERVER_VERSION, Database, wait_until_up
from app.main import build, drain
from app.settings import Settings, SettingsError
from app.sockets import SocketProtocol

SHUTDOWN_S = 13
_logger = log.get("server")


def serve(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code. Call from the main thread."""
    server = None
    if settings.database_url is None:
        _logger.warning("embedded database, for one machine; set DATABASE_URL for several nodes")
        server = embedded.start(settings.data_dir)
        settings = settings.model_copy(update={"database_url": server.url})
        if settings.secret_key is None:
            settings = settings.model_copy(update={"secret_key": SecretStr(keys.key_file(settings.data_dir))})
    try:
        listening, mail = bind(settings.host, settings.port), None
        settings = settings.model_copy(update={"port": listening.getsockname()[1]})
        if settings.smtp_port:
            mail = bind(settings.smtp_host, settings.smtp_port)
        asyncio.run(prepare(settings))
        if settings.workers == 1:
            return run_worker(settings, listening, mail)
        return _supervise(settings, listening, mail)
    finally:
        if server is not None:
            server.stop()


def bind(host: str, port: int) -> socket.socket:
    """A listening socket that worker processes share. Raises SettingsError when the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        raise SettingsError(f"cannot listen on {host}:{port}: {error.strerror}") from None
    listening.listen(2048)
    listening.set_inheritable(True)
    return listening


async def prepare(settings: Settings) -> None:
    """Wait for the database, migrate, seed the defaults, and print a new administrator's token once."""
    assert settings.database_url is not None
    version = await wait_until_up(settings.database_url)
    if version < MIN_SERVER_VERSION:
        raise SettingsError(f"DATABASE_URL is Postgres {version // 10_000}; 15 or newer is needed")
    database = Database(settings)
    try:
        await migrate.upgrade(database)
        given = settings.admin_token.get_secret_value() if settings.admin_token else None
        async with database.begin() as session:
            await seed.ensure_defaults(session)
            made = await seed.ensure_admin_token(session, given)
        if made:
            print(f"administrator token (shown once): {made}", flush=True)
    finally:
        await database.close()


class _Server(uvicorn.Server):
    """Tells the sockets to reconnect before uvicorn closes anything."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        await drain(self._app.state.context)
        await super().shutdown(sockets)


def run_worker(settings: Settings, listening: socket.socket, mail: socket.socket | None) -> int:
    """Serve in this process until told to stop."""
    app = build(settings, smtp=mail)
    config = uvicorn.Config(
        front.wrap(app),
        http="httptools",
        loop="uvloop",
        ws=SocketProtocol,
        ws_per_message_deflate=False,
        ws_ping_interval=settings.heartbeat_s,
        ws_ping_timeout=settings.heartbeat_s,
        ws_max_size=40_000_000,
        access_log=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_S - 6,
        lifespan="on",
    )
    server = _Server(config, app)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _already_done)
    _stop_at_the_latest(server)
    # What is loaded by now stays; looking for garbage rarely leaves more of each second to messages (decision 0007).
    gc.freeze()
    gc.set_threshold(50_000, 50, 50)
    server.run(sockets=[listening])
    return 0 if server.started else 1


def _already_done(_: int, __: FrameType | None) -> None:
    """Uvicorn raises the signal again once it has stopped, for whoever was there before it: a clean stop exits with 0."""


def _stop_at_the_latest(server: uvicorn.Server) -> None:
    """A stop that hangs ends all the same, and says so."""

    def watch() -> None:
        while not server.should_exit:
            time.sleep(0.2)
        time.sleep(SHUTDOWN_S)
        _logger.error("not stopped in time; ending now")
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _supervise(settings: Settings, listening: socket.socket, mail: socket.socket | None) -> int:
    """Keep `workers` processes alive on the shared sockets; a dead one is replaced at once."""
    stopping = threading.Event()

    def stop(_: int, __: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    workers = [_spawn(settings, listening, mail) for _ in range(settings.workers)]
    while not stopping.wait(0.2):
        for place, worker in enumerate(workers):
            if worker.poll() is not None:
                _logger.error("worker ended; starting another", pid=worker.pid, code=worker.returncode)
                workers[place] = _spawn(settings, listening, mail)
    for worker in workers:
        worker.send_signal(signal.SIGTERM)
    codes = [worker.wait() for worker in workers]
    return 0 if all(code in (0, -signal.SIGTERM) for code in codes) else 1  # -SIGTERM: it was still starting


def _spawn(settings: Settings, listening: socket.socket, mail: socket.socket | None) -> subprocess.Popen[bytes]:
    handed = [listening.fileno(), *([mail.fileno()] if mail else [])]
    command = [sys.executable, "-m", "app.cli", "worker", "--listen-fd", str(listening.fileno())]
    if mail:
        command += ["--smtp-fd", str(mail.fileno())]
    return subprocess.Popen(command, env=settings_module.export(settings), pass_fds=handed, preexec_fn=_end_with_parent)


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
