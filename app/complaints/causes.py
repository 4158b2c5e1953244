"""The tree of causes of a complaint, checked before it is kept. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from app.channels.text import blank
from app.errors import Invalid
from app.ids import new_id

MOST, DEEPEST, TEXT_LIMIT = 100, 20, 2_000


@dataclass(frozen=True, slots=True)
class Cause:
    """Why something happened, and why that happened in turn. `root`: this is what has to be put right."""

    text: str
    root: bool = False
    because: Sequence[Cause] = ()


@dataclass(frozen=True, slots=True)
class Node:
    """A cause as a row: its place among the causes of the same thing, from 0."""

    id: UUID
    parent_id: UUID | None
    position: int
    text: str
    root: bool


def flatten(causes: Sequence[Cause]) -> list[Node]:
    """Parents before their children. Raises Invalid naming the path of what is wrong, such as `causes.0.because.1.text`."""
    nodes = list(_walk(causes, None, "causes", 1))
    if len(nodes) > MOST:
        raise Invalid(f"a complaint has at most {MOST} causes", field="causes")
    return nodes


def _walk(causes: Sequence[Cause], parent_id: UUID | None, path: str, depth: int) -> Iterator[Node]:
    if causes and depth > DEEPEST:
        raise Invalid(f"deeper than {DEEPEST} whys", field=path)
    for position, cause in enumerate(causes):
        here = f"{path}.{position}"
        text = cause.text.strip()
        if blank(text):
            raise Invalid("say what the cause is", field=f"{here}.text")
        if len(text) > TEXT_LIMIT:
            raise Invalid(f"longer than {TEXT_LIMIT} characters", field=f"{here}.text")
        node = Node(new_id(), parent_id, position, text, cause.root)
        yield node
        yield from _walk(cause.because, node.id, f"{here}.because", depth + 1)


def nest(nodes: Sequence[Node]) -> list[Cause]:
    """The tree again, whatever the order of the rows."""
    below: dict[UUID | None, list[Node]] = {}
    for node in sorted(nodes, key=lambda node: node.position):
        below.setdefault(node.parent_id, []).append(node)

    def of(parent_id: UUID | None) -> list[Cause]:
        return [Cause(node.text, node.root, of(node.id)) for node in below.get(parent_id, ())]

    return of(None)
