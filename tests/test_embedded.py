"""The database that starts by itself: started once, shared, stopped with us, and when we are killed."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from app import embedded
from app.embedded import EmbeddedError

HOLD = """
import sys, pathlib
from app import embedded
server = embedded.start(pathlib.Path(sys.argv[1]))
print(server.process.pid, server.url, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def home() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="roundtrip-embedded-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


async def ask(url: str, question: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(question)
    finally:
        await connection.close()


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    except FileNotFoundError:
        return True


async def test_what_is_written_outlives_a_restart_and_a_second_start_joins(home: Path) -> None:
    server = embedded.start(home)
    try:
        visitor = embedded.start(home)
        assert visitor.process is None
        assert visitor.url == server.url
        await ask(server.url, "CREATE TABLE kept AS SELECT 42 AS answer")
        visitor.stop()
        assert await ask(server.url, "SELECT answer FROM kept") == 42
    finally:
        server.stop()
    again = embedded.start(home)
    try:
        assert await ask(again.url, "SELECT answer FROM kept") == 42
        assert (home / "postgres" / "password").stat().st_mode & 0o077 == 0
    finally:
        again.stop()


async def test_a_killed_owner_takes_the_server_along_and_nothing_committed_is_lost(home: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    assert owner.stdin is not None
    pid, url = owner.stdout.readline().split()
    await ask(url, "CREATE TABLE kept AS SELECT 43 AS answer")
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    owner.stdin.close()
    async with asyncio.timeout(20):
        while not gone(int(pid)):
            await asyncio.sleep(0.05)
    again = embedded.start(home)
    try:
        assert await ask(again.url, "SELECT answer FROM kept") == 43
    finally:
        again.stop()


async def test_a_killed_server_leaves_a_stale_file_that_fools_nobody(home: Path) -> None:
    server = embedded.start(home)
    assert server.process is not None
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()
    server.stop()
    again = embedded.start(home)
    try:
        assert await ask(again.url, "SELECT 1") == 1
    finally:
        again.stop()


def test_data_of_another_major_version_is_refused(home: Path) -> None:
    embedded.start(home).stop()
    (home / "postgres" / "cluster" / "PG_VERSION").write_text("14\n")
    with pytest.raises(EmbeddedError, match="made by Postgres 14"):
        embedded.start(home)
