"""Set the stage: a server of its own, sample queues, agents and channels, and everybody in their place."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from app.demo.customers import Customers
from app.demo.desk import DemoAgent
from app.demo.providers import HttpStandIn, Inbox, MailStandIn
from app.demo.transcript import Transcript

SMTP_PORT = 8025
_PACE_S = 0.8


def run(*, port: int | None, data_dir: Path | None, smtp_port: int | None, seconds: float | None) -> int:
    """The demo until Ctrl-C, or for some seconds. Without `data_dir` nothing of it is kept."""
    home = data_dir or Path(tempfile.mkdtemp(prefix="roundtrip-demo-"))
    home.mkdir(parents=True, exist_ok=True)
    if data_dir is None:
        home.chmod(0o755)
    stage = _Stage(home, port or 8000, SMTP_PORT if smtp_port is None else smtp_port)
    try:
        asyncio.run(stage.play(seconds))
    except KeyboardInterrupt:
        pass
    finally:
        stage.strike()
        if data_dir is None:
            shutil.rmtree(home, ignore_errors=True)
    return stage.exit_code


def _require_free(port: int) -> None:
    """Somebody else's server must not become the stage."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise SystemExit(f"port {port} is in use; choose another with --port or --smtp-port") from None


@dataclass
class _Stage:
    home: Path
    port: int
    smtp_port: int
    exit_code: int = 0

    def __post_init__(self) -> None:
        self.admin = secrets.token_urlsafe(24)
        self.base = f"http://127.0.0.1:{self.port}"
        self.transcript = Transcript()
        self.server: subprocess.Popen[bytes] | None = None

    async def play(self, seconds: float | None) -> None:
        """Start, set up, run everybody, sum up."""
        for port in filter(None, (self.port, self.smtp_port)):
            _require_free(port)
        self.transcript.plain("starting a server of its own, a few seconds ...")
        self._serve()
        async with httpx.AsyncClient(timeout=20) as client:
            await self._await_ready(client)
            people = await self._set_up(client)
        self._tell_what_to_open(people)
        tasks = [asyncio.create_task(work) for work in people.work]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.gather(*tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.transcript.rule("the demo ends")
        counts = self.transcript.counts
        self.transcript.plain(
            ", ".join(f"{number} {what}" for what, number in sorted(counts.items())) or "nothing happened"
        )
        self.exit_code = 0 if counts.get("confirmed") or seconds is None else 1

    def strike(self) -> None:
        if self.server is not None and self.server.poll() is None:
            self.server.send_signal(signal.SIGTERM)
            self.server.wait(20)

    def _serve(self) -> None:
        mine = {name: value for name, value in os.environ.items() if not name.startswith("ROUNDTRIP_")}
        mine.pop("DATABASE_URL", None)  # the demo has a database of its own: nobody's real one is set up by it
        environment = {
            **mine,
            "ROUNDTRIP_ADMIN_TOKEN": self.admin,
            "ROUNDTRIP_DATA_DIR": str(self.home),
            "ROUNDTRIP_LOG_LEVEL": "warning",
            "ROUNDTRIP_PORT": str(self.port),
            "ROUNDTRIP_SMTP_PORT": str(self.smtp_port),
            "ROUNDTRIP_WIDGET_BURST": "1000",
        }
        log = (self.home / "server.log").open("ab")
        self.server = subprocess.Popen(
            [sys.executable, "-m", "app.cli", "serve"], env=environment, stdout=log, stderr=log
        )

    async def _await_ready(self, client: httpx.AsyncClient) -> None:
        assert self.server is not None
        while self.server.poll() is None:
            with contextlib.suppress(httpx.TransportError):
                if (await client.get(self.base + "/readyz")).status_code == 200:
                    return
            await asyncio.sleep(0.1)
        raise SystemExit(f"the server did not start:\n{(self.home / 'server.log').read_text()[-3000:]}")

    async def _set_up(self, client: httpx.AsyncClient) -> _People:
        async def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
            answer = await client.post(
                f"{self.base}/api/v1{path}", json=body, headers={"Authorization": f"Bearer {self.admin}"}
            )
            if answer.status_code >= 300:
                raise SystemExit(f"{path}: {answer.text}")
            made: dict[str, Any] = answer.json()
            return made

        run = secrets.token_hex(2)
        queues = {
            category: (await post("/queues", {"name": f"{category.title()} {run}", "category": category}))["id"]
            for category in ("routine", "urgent", "complex")
        }
        inbox = Inbox()
        outside, mail = HttpStandIn(inbox), MailStandIn(inbox)
        await outside.start()
        await mail.start()
        secret = secrets.token_bytes(24)
        there = f"http://127.0.0.1:{outside.port}"
        configs: dict[str, dict[str, Any]] = {
            "webchat": {"allowed_origins": []},
            "partner": {"secret": "whsec_" + base64.b64encode(secret).decode(), "callback_url": there + "/callback"},
            "telegram": {"bot_token": "1:demo", "secret_token": "demo-hook", "api_base": there},
            "email": {"address": "care@demo.example", "smtp_url": f"smtp://127.0.0.1:{mail.port}"},
        }
        if not self.smtp_port:
            configs.pop("email")
        channels = {
            kind: await post(
                "/channels", {"type": kind, "name": f"Demo {kind}", "queue_id": queues["routine"], "config": config}
            )
            for kind, config in configs.items()
        }
        agents = [
            await post("/agents", {"name": name, "email": f"{name.lower()}.{run}@demo.example", "role": role, "capacity": 12,
                                   "skills": [], "languages": ["en", "zh"], "queue_ids": [queues[c] for c in serves]})
            for name, role, serves in (
                ("Ada", "agent", ("routine",)),
                ("Bo", "agent", ("routine", "complex")),
                ("Sam", "supervisor", ("urgent", "complex")),
            )
        ]  # fmt: skip
        return self._people(agents, channels, secret, inbox)

    def _people(
        self, agents: list[dict[str, Any]], channels: dict[str, dict[str, Any]], secret: bytes, inbox: Inbox
    ) -> _People:
        socket = self.base.replace("http", "ws", 1) + "/desk/live"
        consoles = [
            DemoAgent(socket, agent["name"], agent["token"], self.transcript, pace_s=_PACE_S) for agent in agents
        ]
        customers = Customers(self.base, channels, secret, self.smtp_port, inbox, self.transcript)
        work = [console.run() for console in consoles]
        work += [customers.run(channel, pause_s=1 + 0.4 * place) for place, channel in enumerate(channels)]
        return _People(agents, channels, work)

    def _tell_what_to_open(self, people: _People) -> None:
        self.transcript.rule("roundtrip demo")
        self.transcript.plain(f"agents' console   {self.base}/console   sign in with {people.agents[0]['token']}")
        self.transcript.plain(
            f"chat widget       {self.base}/widget/demo?channel_id={people.channels['webchat']['id']}"
        )
        self.transcript.plain(f"API               {self.base}/docs   token {self.admin}")
        self.transcript.rule("customers write, agents answer, customers confirm")


@dataclass
class _People:
    agents: list[dict[str, Any]]
    channels: dict[str, dict[str, Any]]
    work: list[Any]
