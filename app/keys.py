"""Where the vault's key comes from: the environment, else a file beside the embedded data, else the database."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from sqlalchemy import text

from app import log
from app.db import Database
from app.settings import Settings, SettingsError
from app.vault import Vault

_logger = log.get("keys")
_PUT = text("INSERT INTO instance(name, value) VALUES (:name, :value) ON CONFLICT (name) DO NOTHING")
_GET = text("SELECT value FROM instance WHERE name = :name")


def key_file(data_dir: Path) -> str:
    """The key of an installation with the embedded database: made once, readable by its owner alone."""
    path = data_dir / "secret.key"
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    key = secrets.token_urlsafe(32)
    with os.fdopen(descriptor, "w") as file:
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
    return key


async def open_vault(database: Database, settings: Settings) -> Vault:
    """Raises SettingsError when the key is not the one this database was set up with."""
    if settings.secret_key is not None:
        vault = Vault(settings.secret_key.get_secret_value().encode())
    else:
        vault = Vault((await _kept(database, "vault.key", secrets.token_urlsafe(32))).encode())
        _logger.warning("ROUNDTRIP_SECRET_KEY is not set: the key lies in the database beside the secrets it protects")
    known = await _kept(database, "vault.fingerprint", vault.fingerprint)
    if known != vault.fingerprint:
        raise SettingsError("ROUNDTRIP_SECRET_KEY is not the key that this database was set up with")
    return vault


async def _kept(database: Database, name: str, value: str) -> str:
    """The value stored under a name; the first process to ask decides it."""
    async with database.begin() as session:
        await session.execute(_PUT, {"name": name, "value": value})
        kept: str = (await session.execute(_GET, {"name": name})).scalar_one()
        return kept
