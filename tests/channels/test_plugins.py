"""Adapters of other packages: taken when they are adapters, named with the reason when they are not."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

import pytest

from app.channels import plugins
from app.channels.registry import ADAPTERS
from tests.support import packages


@pytest.fixture
def beside(tmp_path: Path) -> Iterator[Path]:
    """A folder on the path, as site-packages is; what was imported from it is forgotten."""
    known = set(sys.modules)
    sys.path.insert(0, str(tmp_path))
    importlib.invalidate_caches()
    yield tmp_path
    sys.path.remove(str(tmp_path))
    for name in set(sys.modules) - known:
        if name.startswith(("roundtrip_pigeon", "broken_channels")):
            del sys.modules[name]


def found(folder: Path) -> tuple[list[plugins.Added], list[plugins.Fault]]:
    points = [
        point
        for package in distributions(path=[str(folder)])
        for point in package.entry_points
        if point.group == plugins.GROUP
    ]
    return plugins.load(ADAPTERS, points)


def test_an_installed_package_brings_a_channel_type(beside: Path) -> None:
    packages.install(packages.EXAMPLE, beside)
    [added], faults = found(beside)
    assert (added.adapter.type, added.package) == ("pigeon", "roundtrip-channel-pigeon 1.0.0")
    assert faults == []


def test_what_cannot_be_taken_is_named_and_stops_nothing(beside: Path) -> None:
    packages.broken(beside)
    packages.install(packages.EXAMPLE, beside)
    [added], faults = found(beside)
    assert added.adapter.type == "pigeon"
    why = {fault.name: fault.why for fault in faults}
    assert {fault.package for fault in faults} == {"broken-channels 0.1"}
    assert why.pop("clash") == "there is a channel type 'telegram' already"
    assert why.pop("half") == "its `config_model` is not a pydantic model"
    assert why.pop("leaves") == "SystemExit: 3"
    assert why.pop("nowhere").startswith("ModuleNotFoundError: ")
    assert why.pop("nothing").startswith("AttributeError: ")
    assert not why


def test_two_packages_with_one_type_are_not_both_taken(beside: Path) -> None:
    packages.install(packages.EXAMPLE, beside)
    points = {"pigeon": "roundtrip_pigeon.adapter:PigeonAdapter"}
    packages.describe(beside, "another-pigeon", "2.0", points)
    [added], [fault] = found(beside)
    assert (added.package, fault.package) == ("another-pigeon 2.0", "roundtrip-channel-pigeon 1.0.0")
    assert fault.why == "there is a channel type 'pigeon' already"


@pytest.mark.parametrize("name", ["type", "capabilities", "verify", "parse", "send"])
def test_a_wrong_shape(name: str) -> None:
    adapter = type("Wrong", (type(ADAPTERS["line"]),), {"type": "wrong", name: None})()
    assert plugins.wrong_with(adapter, ADAPTERS) is not None
    assert plugins.wrong_with(type("Right", (type(ADAPTERS["line"]),), {"type": "right"})(), ADAPTERS) is None


def test_a_shape_that_waits_where_it_must_not() -> None:
    async def parse(self: object, config: object, call: object) -> None:
        raise NotImplementedError

    adapter = type("Wrong", (type(ADAPTERS["line"]),), {"type": "wrong", "parse": parse})()
    assert plugins.wrong_with(adapter, ADAPTERS) == "its `parse` is not a plain function"


def test_the_example_keeps_the_contract(beside: Path) -> None:
    """As its author would run it: the kit of an installed Roundtrip on an installed package."""
    packages.install(packages.EXAMPLE, beside)
    root = packages.EXAMPLE.parent.parent
    command = [sys.executable, "-m", "app.channels.kit", "roundtrip_pigeon.contract:DESCRIPTION"]
    done = subprocess.run(
        command, env={"PYTHONPATH": f"{root}:{beside}"}, cwd=beside, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok    secrets_are_never_told" in done.stdout
    assert "FAIL" not in done.stdout
