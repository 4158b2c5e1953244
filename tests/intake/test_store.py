"""Attachment files: named by their content, whole or not there, safe for several processes."""

import hashlib
import multiprocessing
from pathlib import Path

import pytest

from app.errors import NotFound, TooLarge
from app.intake.store import FileStore


def store(tmp_path: Path, limit: int = 1_000_000) -> FileStore:
    return FileStore(tmp_path / "data" / "attachments", limit=limit)


def files(tmp_path: Path) -> list[Path]:
    return [path for path in tmp_path.rglob("*") if path.is_file()]


async def test_what_is_put_is_found(tmp_path: Path) -> None:
    here = store(tmp_path)
    sha256 = await here.put(b"a picture")
    assert sha256 == hashlib.sha256(b"a picture").hexdigest()
    path = here.open_path(sha256)
    assert path.read_bytes() == b"a picture"
    assert path.relative_to(tmp_path / "data" / "attachments").parts == (sha256[:2], sha256[2:4], sha256)


async def test_the_same_bytes_are_one_file(tmp_path: Path) -> None:
    here = store(tmp_path)
    assert await here.put(b"x") == await here.put(b"x")
    await here.put(b"")
    assert len(files(tmp_path)) == 2


async def test_a_limit(tmp_path: Path) -> None:
    here = store(tmp_path, limit=3)
    await here.put(b"abc")
    with pytest.raises(TooLarge):
        await here.put(b"abcd")
    assert len(files(tmp_path)) == 1


async def test_a_damaged_file_is_written_anew(tmp_path: Path) -> None:
    here = store(tmp_path)
    path = here.open_path(await here.put(b"whole"))
    path.write_bytes(b"wh")
    assert here.open_path(await here.put(b"whole")).read_bytes() == b"whole"


async def test_a_failed_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = store(tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        await here.put(b"x")
    assert files(tmp_path) == []


@pytest.mark.parametrize("name", ["", "..", "../../etc/passwd", "a" * 63, "A" * 64, "0" * 64, "0" * 64 + "\n"])
def test_what_is_not_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotFound):
        store(tmp_path).open_path(name)


def write_many(root: Path) -> None:
    here = FileStore(root, limit=1_000_000)
    for number in range(50):
        here.put_now(b"%d" % number * 1000)


def test_several_processes_at_once(tmp_path: Path) -> None:
    root = tmp_path / "data" / "attachments"
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=write_many, args=(root,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    found = files(tmp_path)
    assert len(found) == 50
    assert all(hashlib.sha256(path.read_bytes()).hexdigest() == path.name for path in found)
