"""Adapters that other packages bring: entry points of the group `roundtrip.channels`. A bad one is named and stops nothing."""

import inspect
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from pydantic import BaseModel

from app.channels.base import Adapter, Capabilities

GROUP = "roundtrip.channels"
_TYPE = re.compile(r"[a-z][a-z0-9_]{0,29}")


@dataclass(frozen=True, slots=True)
class Added:
    """An adapter that a package brought. `package` is its name and version."""

    adapter: Adapter
    package: str


@dataclass(frozen=True, slots=True)
class Fault:
    """An entry point that is left out, and why."""

    name: str
    package: str
    why: str


def load(taken: Collection[str], points: Iterable[EntryPoint] | None = None) -> tuple[list[Added], list[Fault]]:
    """What is installed beside us. The types in `taken` are not replaced; of two packages with one type the first by name
    has it. Their code runs here, and whatever it raises is a fault."""
    added: list[Added] = []
    faults: list[Fault] = []
    found = entry_points(group=GROUP) if points is None else points
    for point in sorted(found, key=lambda point: (_package(point), point.name)):
        types = {*taken, *(one.adapter.type for one in added)}
        try:
            adapter = _made(point.load())
            why = wrong_with(adapter, types)
        except (Exception, SystemExit) as error:
            why = f"{type(error).__name__}: {error}"
        if why is None:
            added.append(Added(adapter, _package(point)))
        else:
            faults.append(Fault(point.name, _package(point), why))
    return added, faults


def _made(given: Any) -> Any:
    return given() if isinstance(given, type) else given


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else point.value


def wrong_with(adapter: Any, taken: Collection[str]) -> str | None:
    """Why it cannot be an adapter here; None when it can."""
    kind, model = getattr(adapter, "type", None), getattr(adapter, "config_model", None)
    if not isinstance(kind, str) or not _TYPE.fullmatch(kind):
        return "its `type` is not a lower-case name of at most 30 characters"
    if kind in taken:
        return f"there is a channel type {kind!r} already"
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return "its `config_model` is not a pydantic model"
    if not isinstance(getattr(adapter, "capabilities", None), Capabilities):
        return "its `capabilities` are not app.channels.base.Capabilities"
    for name in ("verify", "parse", "send", "fetch", "check", "pull", "profile"):
        method = getattr(adapter, name, None)
        waits = name not in ("verify", "parse")
        if method is None and name not in ("verify", "parse", "send"):
            continue
        if not callable(method) or inspect.iscoroutinefunction(method) is not waits:
            return f"its `{name}` is not {'an async' if waits else 'a plain'} function"
    return None
