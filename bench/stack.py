"""A server process of our own on an embedded database, for the length of a measurement."""

from __future__ import annotations

import base64
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from app import embedded
from bench.client import api


@dataclass(frozen=True)
class Stack:
    """`secret` signs calls to the partner channel `channel_id`; `watcher` is a supervisor's token; `pid` the server's."""

    base: str
    port: int
    database_url: str
    admin: str
    channel_id: str
    secret: str
    watcher: str
    key: str
    pid: int = 0

    @property
    def webhook(self) -> str:
        return f"/channels/{self.channel_id}/webhook"


@contextmanager
def running(workers: int = 1) -> Iterator[Stack]:
    """Everything switched on, as an operator would run it."""
    home = Path(tempfile.mkdtemp(prefix="roundtrip-bench-", dir="/tmp"))
    home.chmod(0o755)
    database = embedded.start(home)
    port, admin, key = _free_port(), secrets.token_urlsafe(24), secrets.token_urlsafe(24)
    environment = {
        **os.environ,
        "DATABASE_URL": database.url,
        "ROUNDTRIP_ADMIN_TOKEN": admin,
        "ROUNDTRIP_SECRET_KEY": key,
        "ROUNDTRIP_DATA_DIR": str(home / "files"),
    }
    command = [sys.executable, "-m", "app.cli", "serve", "--port", str(port), "--workers", str(workers)]
    log = open(home / "server.log", "wb")
    server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        base = f"http://127.0.0.1:{port}"
        _await_ready(base, server, home / "server.log")
        yield replace(_set_up(base, port, database.url, admin, key), pid=server.pid)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(20)
        database.stop()
        shutil.rmtree(home, ignore_errors=True)


def _set_up(base: str, port: int, database_url: str, admin: str, key: str) -> Stack:
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()
    channel = api(base, admin, "/api/v1/channels", {"type": "partner", "name": "bench", "config": {"secret": secret}})
    watcher = {"name": "Watcher", "email": "watcher@bench.example", "role": "supervisor", "capacity": 6}
    agent = api(base, admin, "/api/v1/agents", {**watcher, "skills": [], "languages": [], "queue_ids": []})
    return Stack(base, port, database_url, admin, channel["id"], secret, agent["token"], key)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _await_ready(base: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        try:
            urllib.request.urlopen(base + "/readyz", timeout=2).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"the server did not start:\n{log.read_text()[-4000:]}")
