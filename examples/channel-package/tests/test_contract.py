"""The contract of Roundtrip's channels, check by check."""

import asyncio

import pytest
from roundtrip_pigeon.contract import DESCRIPTION

from app.channels.kit import CHECKS, Skipped, run


@pytest.mark.parametrize("check", CHECKS)
def test_contract(check: str) -> None:
    try:
        asyncio.run(run(check, DESCRIPTION))
    except Skipped as reason:
        pytest.skip(str(reason))
