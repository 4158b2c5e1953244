"""A link to one file: what it refuses. That it opens is tested on a live server, with the widget."""

from __future__ import annotations

import httpx
import pytest

from app.ids import new_id
from app.vault import Vault


@pytest.mark.parametrize(
    ("purpose", "valid_s", "status"),
    [("file", 60, 404), ("file", -60, 410), ("progress", 60, 404), ("feedback", 60, 404)],
)
async def test_links_that_open_nothing(
    client: httpx.AsyncClient, vault: Vault, purpose: str, valid_s: int, status: int
) -> None:
    token = vault.sign(purpose, new_id(), valid_s=valid_s)
    for method in ("GET", "HEAD"):
        assert (await client.request(method, f"/files/{token}")).status_code == status
    assert (await client.post(f"/files/{token}")).status_code == 405
