"""Every adapter of the registry against every check of the kit."""

import pytest

from app.channels.kit import CHECKS, Skipped, run
from app.channels.registry import ADAPTERS
from tests.channels.contract import MISSING, described


@pytest.mark.parametrize("type", sorted(ADAPTERS))
def test_every_adapter_is_described(type: str) -> None:
    assert described(type) is not None, MISSING.format(type=type)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("type", sorted(ADAPTERS))
async def test_contract(type: str, check: str) -> None:
    description = described(type)
    if description is None:
        pytest.skip("not described; see test_every_adapter_is_described")
    try:
        await run(check, description)
    except Skipped as reason:
        pytest.skip(str(reason))
