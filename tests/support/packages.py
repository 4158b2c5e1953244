"""Packages installed beside us, offline: what an installer leaves behind is a folder of modules and a `.dist-info`."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Mapping
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parent.parent.parent / "examples" / "channel-package"


def install(source: Path, target: Path) -> None:
    """The package of a folder with a pyproject.toml, as setuptools would put it there."""
    told = tomllib.loads((source / "pyproject.toml").read_text())
    for name in told["tool"]["setuptools"]["packages"]:
        shutil.copytree(source / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    points = told["project"]["entry-points"]["roundtrip.channels"]
    describe(target, told["project"]["name"], told["project"]["version"], points)


def describe(target: Path, name: str, version: str, points: Mapping[str, str]) -> None:
    info = target / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    rows = "".join(f"{point} = {place}\n" for point, place in points.items())
    (info / "entry_points.txt").write_text(f"[roundtrip.channels]\n{rows}")


def broken(target: Path) -> None:
    """A package with everything that can be wrong with an entry point."""
    target.mkdir(parents=True, exist_ok=True)
    (target / "broken_channels.py").write_text(
        "import sys\n"
        "from app.channels.telegram import TelegramAdapter\n"
        "class Half:\n"
        "    type = 'half'\n"
        "class Clash(TelegramAdapter):\n"
        "    pass\n"
        "def leaves():\n"
        "    sys.exit(3)\n"
        "class Leaves:\n"
        "    def __init__(self):\n"
        "        sys.exit(3)\n"
    )
    points = {
        "nowhere": "no_such_module:Adapter",
        "nothing": "broken_channels:NoSuchName",
        "half": "broken_channels:Half",
        "clash": "broken_channels:Clash",
        "leaves": "broken_channels:Leaves",
    }
    describe(target, "broken-channels", "0.1", points)
