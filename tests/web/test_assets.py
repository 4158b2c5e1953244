"""Our own files, the widget's demo and the console."""

from __future__ import annotations

import re

import httpx

from app.web.answering import ASSETS


async def test_a_file_is_kept_for_ever_under_its_digest(client: httpx.AsyncClient) -> None:
    plain = await client.get("/static/pages.css")
    assert plain.status_code == 200
    assert plain.headers["content-type"].startswith("text/css")
    assert "max-age=300" in plain.headers["cache-control"]
    digest = ASSETS["pages.css"].digest
    assert "immutable" in (await client.get(f"/static/pages.css?v={digest}")).headers["cache-control"]
    again = await client.get("/static/pages.css", headers={"If-None-Match": plain.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_only_our_files(client: httpx.AsyncClient) -> None:
    for name in ("nothing.css", "..%2Fpages.py", "%2e%2e/pages.py", ".env"):
        assert (await client.get(f"/static/{name}")).status_code == 404


def test_the_widget_is_small() -> None:
    assert len(ASSETS["widget.js"].body) < 18_000


def test_the_console_is_read_in_one_sitting() -> None:
    """Every customer loads the widget; only agents load the console, once, and it does all that the desk offers."""
    parts = {name: asset for name, asset in ASSETS.items() if name.startswith("console")}
    assert sum(len(asset.body) for asset in parts.values()) < 95_000
    assert all(asset.body.count(b"\n") < 300 for asset in parts.values())


async def test_the_demo_page_embeds_the_widget(client: httpx.AsyncClient) -> None:
    page = await client.get("/widget/demo", params={"channel_id": '"><script>x'})
    assert page.status_code == 200
    assert "<script>x" not in page.text
    policy = page.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "connect-src 'self' ws: wss:" in policy
    assert "unsafe" not in policy
    assert "<script" not in (await client.get("/widget/demo")).text


async def test_pages_name_only_files_that_exist(client: httpx.AsyncClient) -> None:
    for path in ("/console", "/widget/demo?channel_id=x", "/f/x"):
        page = await client.get(path)
        names = re.findall(r'(?:href|src)="(?:\.\./)?(static/[^"]+)"', page.text)
        assert names, path
        for name in names:
            assert "immutable" in (await client.get("/" + name)).headers["cache-control"]
        assert "http://" not in page.text
        assert "https://" not in page.text
