"""When an endpoint that fails is called again: a table. And the example that receivers copy from the page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from app.channels.signatures import sign_webhook, webhook_key
from app.clock import now
from app.delivery.backoff import Schedule
from app.delivery.webhooks.breaker import Failed, Health, Policy, after_failures, is_down
from app.delivery.webhooks.secrets import new_secret

POLICY = Policy(after=3, probes=Schedule(steps_s=(5, 10, 60), jitter=0))
PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "webhooks.md"
CALL, PROBE = Failed("503"), Failed("503", probe=True)


@pytest.mark.parametrize(
    ("failed", "failures", "probes", "wait_s"),
    [
        ([CALL], 1, 0, None),
        ([CALL, CALL], 2, 0, None),
        ([CALL] * 3, 3, 0, 5),
        ([CALL] * 8, 8, 0, 5),  # under way together: one reason to wait
        ([CALL] * 3 + [PROBE], 4, 1, 10),
        ([CALL] * 3 + [PROBE] * 2, 5, 2, 60),
        ([CALL] * 3 + [PROBE] * 9, 12, 9, 60),
        ([Failed("429", retry_after_s=30)], 1, 0, 30),
        ([Failed("429", retry_after_s=30), CALL], 2, 0, 30),
        ([CALL] * 3 + [Failed("503", probe=True, retry_after_s=300)], 4, 1, 300),
        ([CALL] * 3 + [Failed("503", probe=True, retry_after_s=300), PROBE], 5, 2, 60),
    ],
)
def test_waits(failed: Sequence[Failed], failures: int, probes: int, wait_s: float | None) -> None:
    health = after_failures(POLICY, Health(), failed, rng=Random(1))
    assert (health.failures, health.probes, health.wait_s) == (failures, probes, wait_s)
    assert health.error == failed[-1].error
    assert is_down(POLICY, health.failures) is (failures >= 3)


def test_a_call_that_was_under_way_does_not_shorten_the_wait() -> None:
    asked = Health(failures=4, probes=2, wait_s=200)
    assert after_failures(POLICY, asked, [CALL], rng=Random(1)).wait_s == 200


def test_waits_differ_a_little() -> None:
    policy = Policy(after=1, probes=Schedule(steps_s=(100,), jitter=0.2))
    waits = {after_failures(policy, Health(), [CALL], rng=Random(seed)).wait_s for seed in range(20)}
    assert len(waits) == 20
    assert all(wait is not None and 80 <= wait <= 120 for wait in waits)


def test_the_example_of_the_page_verifies_a_call() -> None:
    found = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found
    names: dict[str, Any] = {}
    exec(found.group(1), names)
    old, new, body = new_secret(), new_secret(), b'{"type": "ping"}'
    first, second = (sign_webhook(webhook_key(secret), "an-id", body, at=now()) for secret in (new, old))
    both = {**first, "webhook-signature": f"{first['webhook-signature']} {second['webhook-signature']}"}
    for secret in (old, new):
        names["verify"](secret, both, body)
        with pytest.raises(ValueError, match="not genuine"):
            names["verify"](secret, both, body + b" ")
    with pytest.raises(ValueError, match="not genuine"):
        names["verify"](new_secret(), both, body)
    with pytest.raises(ValueError, match="too old"):
        names["verify"](old, {**both, "webhook-timestamp": "1"}, body)
