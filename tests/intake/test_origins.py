"""Which origins a channel's list admits."""

from __future__ import annotations

import pytest

from app.intake import origins

OWN = "https://desk.example"


@pytest.mark.parametrize(
    ("allowed", "origin"),
    [
        ([], "https://anything.example"),
        (["*"], "null"),
        (["https://shop.example"], None),
        (["https://shop.example"], "https://shop.example"),
        (["https://shop.example"], "https://SHOP.example:443"),
        (["HTTPS://Shop.Example/"], "https://shop.example"),
        (["shop.example"], "https://shop.example"),
        (["http://shop.example:8080"], "http://shop.example:8080"),
        (["https://xn--bcher-kva.example"], "https://xn--bcher-kva.example"),
        (["https://shop.example"], OWN),
        (["https://[2001:db8::1]:8443"], "https://[2001:DB8::1]:8443"),
    ],
)
def test_admitted(allowed: list[str], origin: str | None) -> None:
    origins.require(allowed, origin, own=OWN)


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "https://",
        "http://shop.example",
        "https://shop.example:8443",
        "https://shop.example:99999",
        "https://shop.example:x",
        "https://shop.example.evil.example",
        "https://evil.example/https://shop.example",
        "https://shop.example@evil.example",
        "https://www.shop.example",
        "https://[bad",
        "file://",
    ],
)
def test_refused(origin: str) -> None:
    with pytest.raises(origins.OriginNotAllowed):
        origins.require(["https://shop.example", "null"], origin, own=OWN)
