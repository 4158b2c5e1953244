"""A live server: real processes on a real database."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parent.parent.parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Server:
    """`roundtrip serve` as a child process; several may share one database."""

    database_url: str
    data_dir: Path
    admin: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    port: int = field(default_factory=free_port)
    smtp_port: int = 0
    workers: int = 1
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def socket_base(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.data_dir / f"server-{self.port}.log"

    async def start(self) -> Server:
        environment = {
            **os.environ,
            "DATABASE_URL": self.database_url,
            "ROUNDTRIP_ADMIN_TOKEN": self.admin,
            "ROUNDTRIP_SECRET_KEY": "a key for the journeys, long enough",
            "ROUNDTRIP_DATA_DIR": str(self.data_dir),
            "PYTHONPATH": str(ROOT),
            "ROUNDTRIP_ANNOUNCEMENTS": "false",  # customers hear what a test says, and no more
            **self.environment,
        }
        command = [sys.executable, "-m", "app.cli", "serve", "--port", str(self.port), "--workers", str(self.workers)]
        if self.smtp_port:
            command += ["--smtp-port", str(self.smtp_port)]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            await self.ready()
        except BaseException:
            await self.kill()
            raise
        return self

    async def ready(self) -> None:
        """Until /readyz says so; fails with the end of the log when the process ends."""
        async with httpx.AsyncClient() as client, asyncio.timeout(60):
            while True:
                assert self.process is not None
                if self.process.poll() is not None:
                    raise AssertionError(f"the server ended:\n{self.log.read_text()[-4000:]}")
                try:
                    if (await client.get(self.base + "/readyz")).status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.05)

    async def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self.process.wait, 20)

    async def kill(self) -> None:
        """SIGKILL: no chance to finish anything."""
        assert self.process is not None
        self.process.kill()
        await asyncio.to_thread(self.process.wait, 20)

    async def api(self, method: str, path: str, body: Any = None, *, token: str | None = None, expect: int = 0) -> Any:
        """A call to /api/v1 as the administrator, or with another token; asserts success, or the `expect`ed status."""
        headers = {"Authorization": f"Bearer {token or self.admin}"}
        async with httpx.AsyncClient(timeout=20) as client:
            answer = await client.request(method, f"{self.base}/api/v1{path}", json=body, headers=headers)
        wanted = answer.status_code == expect if expect else answer.status_code < 300
        assert wanted, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    async def change(self, path: str, *, version: int | None = None, **fields: Any) -> dict[str, Any]:
        """PATCH it as the administrator, from that version or the one that is there; what it is now."""
        headers = {"Authorization": f"Bearer {self.admin}"}
        async with httpx.AsyncClient(base_url=f"{self.base}/api/v1", headers=headers, timeout=20) as client:
            known = f'"{version}"' if version is not None else (await client.get(path)).headers["etag"]
            answer = await client.patch(path, json=fields, headers={"If-Match": known})
        assert answer.status_code == 200, f"PATCH {path}: {answer.status_code} {answer.text}"
        changed: dict[str, Any] = answer.json()
        return changed

    async def make_agent(
        self, name: str, *, role: str = "agent", capacity: int = 6, queue_ids: Any = None
    ) -> dict[str, Any]:
        """{id, token, ...}"""
        body: dict[str, Any] = {
            "name": name,
            "email": f"{name.lower().replace(' ', '.')}.{secrets.token_hex(3)}@desk.example",
            "role": role,
            "capacity": capacity,
            "skills": [],
            "languages": ["en"],
        }
        if queue_ids is not None:
            body["queue_ids"] = queue_ids
        made: dict[str, Any] = await self.api("POST", "/agents", body)
        return made

    async def make_channel(self, type: str, config: dict[str, Any], **more: Any) -> dict[str, Any]:
        made: dict[str, Any] = await self.api(
            "POST", "/channels", {"type": type, "name": type, "config": config, **more}
        )
        return made
