"""Attachment files, named by what is in them: `aa/bb/<sha256>` below one folder; several processes may write at once."""

import asyncio
import contextlib
import hashlib
import os
import re
import secrets
from pathlib import Path

from app.errors import NotFound, TooLarge

_SHA256 = re.compile(r"[0-9a-f]{64}")


class FileStore:
    """A file that has its final name is whole, and once `put` has returned it survives a power cut."""

    def __init__(self, root: Path, *, limit: int) -> None:
        """`limit`: bytes of one file."""
        self._root, self._limit = root, limit

    async def put(self, data: bytes) -> str:
        """The SHA-256 of the bytes, in hex, once they are durable. Raises TooLarge, OSError."""
        self._check(data)
        return await asyncio.to_thread(self.put_now, data)

    def put_now(self, data: bytes) -> str:
        """The same, blocking: some fsyncs long."""
        self._check(data)
        sha256 = hashlib.sha256(data).hexdigest()
        path = self._path(sha256)
        if not _has_size(path, len(data)):
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, data)
        # Also when somebody else has just made it: their rename may not be on the disk yet.
        for folder in (path.parent, path.parent.parent, self._root, self._root.parent):
            _sync_folder(folder)
        return sha256

    def open_path(self, sha256: str) -> Path:
        """Where the bytes lie. Raises NotFound, also for what is no SHA-256 at all."""
        if not _SHA256.fullmatch(sha256) or not (path := self._path(sha256)).is_file():
            raise NotFound("there is no such file")
        return path

    def _check(self, data: bytes) -> None:
        if len(data) > self._limit:
            raise TooLarge(f"an attachment may have {self._limit} bytes, this one has {len(data)}")

    def _path(self, sha256: str) -> Path:
        return self._root / sha256[:2] / sha256[2:4] / sha256


def _has_size(path: Path, size: int) -> bool:
    """Another size under this name would be a damaged disk; it is written anew."""
    try:
        return path.stat().st_size == size
    except FileNotFoundError:
        return False


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name[:8]}.{secrets.token_hex(8)}.part")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
