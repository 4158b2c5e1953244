"""What an automated checker finds wrong with a page (axe-core)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page

WCAG = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")
_AXE = Axe()


async def violations(page: Page, *, tags: Sequence[str] = WCAG) -> list[str]:
    """One line for each rule and element; the target sizes of WCAG 2.2 are among the rules."""
    # Colours that are on their way to others are judged by neither.
    await page.evaluate("Promise.all(document.getAnimations().map((one) => one.finished))")
    options = {"runOnly": {"type": "tag", "values": list(tags)}, "resultTypes": ["violations"]}
    found: list[dict[str, Any]] = (await _AXE.run(page, options=options)).response["violations"]
    return [f"{rule['id']}: {node['target']} {node['failureSummary']}" for rule in found for node in rule["nodes"]]
