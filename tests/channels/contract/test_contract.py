"""Every adapter of the registry against every check of the kit."""

import pytest

from app.channels.kit import CHECKS, Skipped, run
from app.channels.registry import ADAPTERS
from tests.channels.contract import DESCRIPTIONS, MISSING, described


@pytest.mark.parametrize("type", sorted(ADAPTERS))
def test_every_adapter_is_described(type: str) -> None:
    assert described(type), MISSING.format(type=type)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", DESCRIPTIONS)
async def test_contract(name: str, check: str) -> None:
    try:
        await run(check, DESCRIPTIONS[name])
    except Skipped as reason:
        pytest.skip(str(reason))
