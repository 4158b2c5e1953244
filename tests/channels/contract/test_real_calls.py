"""Every real call through its adapter: nothing raises, nothing is lost, and where others expect something it is compared."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from app.channels.base import Parsed, Unparseable
from app.channels.kit.values import configured, genuine, read, require_storable
from tests.channels.contract import DESCRIPTIONS, real
from tests.channels.contract.places import place
from tests.desk.house import House

# Where courier finds a message and we do not, or the other way round, with the reason.
DIFFERENT = {"courier_receiveBase64": "courier decodes texts that look like base64; people do write such"}


def parsed(call: real.Real) -> Parsed | None:
    """None for what cannot be read at all; it is stored and answered 2xx like everything genuine."""
    try:
        if call.name.endswith(".bell"):
            config, signed = configured(call.description), genuine(call.description, call.payload)
            call.description.adapter.verify(config, signed)
            return call.description.adapter.parse(config, signed)
        return read(call.description, call.payload)
    except Unparseable:
        return None


def test_every_folder_belongs_to_somebody(fixtures: Path) -> None:
    nobodys = [
        folder
        for folder, _ in real.folders(fixtures)
        if folder not in real.OURS
        and not folder.endswith(real.VECTORS)
        and not any(folder.startswith(beginning) for beginning in real.NOT_OURS)
    ]
    assert not nobodys, f"say in tests/channels/contract/real.py whose these are: {nobodys}"


def test_every_real_call_is_read(fixtures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table: dict[str, Counter[str]] = {}
    for call in real.calls(fixtures):
        counts = table.setdefault(call.path.parent.relative_to(fixtures).as_posix(), Counter())
        found = parsed(call)
        counts["files"] += 1
        if found is None:
            counts["unreadable"] += 1
            continue
        require_storable(found, configured(call.description))
        for kind in ("messages", "changes", "echoes", "calls", "statuses", "refusals", "ignored", "errors"):
            counts[kind] += len(getattr(found, kind))
    with capsys.disabled():
        print("\n" + "\n".join(f"{folder:30} {dict(counts)}" for folder, counts in table.items()))
    assert sum(counts["files"] for counts in table.values()) >= 400


def test_what_others_find_is_found(fixtures: Path) -> None:
    """courier's expectations: a message with this text from this person. Details are compared in each adapter's tests."""
    compared, differ = 0, []
    for call in real.calls(fixtures):
        for wanted in call.expected:
            if wanted.get("resp_status") != "200" or "urn" not in wanted:
                continue
            compared += 1
            found = parsed(call) or Parsed()
            words = str(wanted.get("text") or "")
            same = [m for m in found.messages if words in m.text or (not words and (m.files or m.text))]
            if not same and call.path.stem not in DIFFERENT:
                differ.append((call.path.stem, words, found))
    assert not differ, "\n".join(map(str, differ))
    assert compared >= 50


@pytest.mark.parametrize("name", sorted({whose for whose, _ in real.OURS.values()}))
async def test_every_real_call_is_stored_and_answered_2xx(house: House, fixtures: Path, name: str) -> None:
    """In the whole house. A bell names the account that it is for: of others it is stored and rings nothing."""
    if name not in DESCRIPTIONS and not name.endswith(".bell"):
        pytest.skip("no such channel type in this registry")
    if name == "wecom":
        pytest.skip("pages are pulled: tests/journeys/test_wechat.py")
    here = await place(house, name.partition(".")[0])
    await here.open()
    kept = {}
    for call in real.calls(fixtures, name):
        status = await here.hear(call.payload)
        assert 200 <= status < 300, f"{call.path.name} is answered {status}"
        kept[call.path.name] = status
    assert len(await here.journal()) == len(kept)
    failed = [row.error for row in await here.journal() if row.error and "adapter failed" in row.error]
    assert not failed
