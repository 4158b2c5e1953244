"""`scripts/bench [--quick] [--json FILE]`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import orjson
import uvloop

from bench import fanout, ingest, latency, routing, sla
from bench.stack import running


async def measure(*, quick: bool) -> dict[str, Any]:
    seconds, rounds = (3.0, 1) if quick else (5.0, 5)
    with running() as stack:
        figures: dict[str, Any] = {"latency": {}}
        await latency.at_rate(stack, 100, seconds=2, run="warm")
        for rate in (100, 300, 1000):
            figures["latency"][str(rate)] = await latency.at_rate(
                stack, rate, seconds=2 if quick else 10, run=f"l{rate}"
            )
        figures["ingest"] = await ingest.through_http(stack, seconds=seconds, rounds=rounds)
    with running() as stack:
        figures["ingest"]["floor_batched_per_s"] = round(await ingest.bare(stack, batch=64, lanes=2, seconds=seconds))
        figures["ingest"]["floor_single_per_s"] = round(await ingest.bare(stack, batch=1, lanes=8, seconds=seconds))
    figures["fanout"] = fanout.compare(runs=3 if quick else 9)
    with running() as stack:
        figures["fanout"]["idle_kb"] = fanout.idle_kb(stack, more=300 if quick else fanout.SOCKETS)
    figures["routing"] = await routing.measure(quick=quick)
    return figures


def show(figures: dict[str, Any]) -> None:
    found = figures["ingest"]
    print(f"durable ingest     {found['per_s']:>7} messages/s through signed HTTP, answered after commit")
    for name, label in (("floor_batched_per_s", "bare batched writer"), ("floor_single_per_s", "one transaction each")):
        print(f"  {label:<20} {found[name]:>7} messages/s: ours is {found['per_s'] / max(found[name], 1):.2f} of it")
    print(f"  per message        {found['commits_per_message']} commits, {found['queries_per_message']} statements")
    for rate, row in figures["latency"].items():
        print(f"webhook to frame   {rate:>5}/s: p50 {row['p50_ms']} ms, p99 {row['p99_ms']} ms")
    fanout.show(figures["fanout"])
    routing.show(figures["routing"])
    sla.show(figures["sla"])


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="end within a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    options = parser.parse_args()
    figures = uvloop.run(measure(quick=options.quick))
    figures["sla"] = sla.measure(quick=options.quick)
    show(figures)
    if options.json:
        options.json.write_bytes(orjson.dumps(figures, option=orjson.OPT_INDENT_2))


main()
