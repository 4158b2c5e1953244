"""Reading a page."""

from __future__ import annotations

from selectolax.lexbor import LexborHTMLParser, LexborNode

HTMLParser = LexborHTMLParser


def one(page: LexborHTMLParser | LexborNode | str, selector: str) -> LexborNode:
    """The first match, which has to be there."""
    node = (LexborHTMLParser(page) if isinstance(page, str) else page).css_first(selector)
    assert node is not None, f"no {selector} on the page"
    return node


def language(page: str) -> str | None:
    return one(page, "html").attributes["lang"]


def checked(page: str) -> dict[str, str]:
    """Which radio buttons and boxes are on."""
    nodes = LexborHTMLParser(page).css("input[checked]")
    return {str(node.attributes["name"]): str(node.attributes["value"]) for node in nodes}
