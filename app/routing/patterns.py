"""A rule's pattern: checked when it is set up, compiled with the literals that no match can do without.

A pattern is a plain word or phrase, or a Python regular expression; both ignore case. A plain Latin word matches as a
whole word, a Chinese one anywhere. `check_pattern` counts in how many ways a pattern can run over a text and refuses
what could run away, so that no operator can stall intake with a rule.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from re import _constants as op  # type: ignore[attr-defined]  # the standard library's own parser: there is no other
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

from app.errors import Invalid

TEXT_LIMIT = 4_000
PATTERN_LIMIT = 500
WAYS_LIMIT = 10_000
_RUNS_LIMIT = 24
_REPEATS = (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT)

_PLAIN = re.compile(r"[^\\.^$*+?{}\[\]|()]+")
_CJK = re.compile("[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]")


@dataclass(frozen=True, slots=True)
class CompiledPattern:
    """`needs`: a match contains at least one literal (in lower case) of each set; empty when nothing can be said."""

    regex: re.Pattern[str]
    needs: tuple[frozenset[str], ...]


def check_pattern(pattern: str) -> None:
    """Raises Invalid(field="patterns") when the pattern is no regular expression, too long, matches nothing at all, or
    could run for too long."""
    compile_pattern(pattern)


@lru_cache(maxsize=5_000)
def compile_pattern(pattern: str) -> CompiledPattern:
    """Raises Invalid as `check_pattern` does. Kept, since a changed set-up compiles all rules again."""
    if len(pattern) > PATTERN_LIMIT:
        raise Invalid(f"a pattern has at most {PATTERN_LIMIT} characters", field="patterns")
    if not pattern.strip():
        raise Invalid("a pattern must not be empty", field="patterns")
    # In ASCII mode a Chinese character is no word character, so that \b holds between Chinese and Latin letters.
    flags = re.IGNORECASE | (re.ASCII if pattern.isascii() else re.NOFLAG)
    if _PLAIN.fullmatch(pattern):
        return CompiledPattern(re.compile(_plain(pattern), flags), (frozenset({" ".join(pattern.lower().split())}),))
    try:
        tree, regex = parser.parse(pattern, flags), re.compile(pattern, flags)
    except (re.error, ValueError, OverflowError, RecursionError) as error:
        raise Invalid(f"{pattern!r} is not a regular expression: {error}", field="patterns") from None
    _check_cost(pattern, tree)
    return CompiledPattern(regex, tuple(_needed(tree)))


def _check_cost(pattern: str, tree: Any) -> None:
    if tree.getwidth()[0] == 0:
        raise Invalid(f"{pattern!r} also matches nothing at all, so it would always fire", field="patterns")
    if _ways(tree) > WAYS_LIMIT:
        raise Invalid(
            f"{pattern!r} could take too long: use one open repetition (* or +) at most, not inside another one, "
            "and bounded gaps such as .{0,20}",
            field="patterns",
        )


def _plain(words: str) -> str:
    parts = words.split()
    head, tail = _edge(parts[0][0]), _edge(parts[-1][-1])
    return (f"(?<!{head})" if head else "") + r"\s+".join(map(re.escape, parts)) + (f"(?!{tail})" if tail else "")


def _edge(letter: str) -> str:
    """What must not stand beside a word that begins or ends with this letter."""
    if letter.isascii():
        return "[A-Za-z0-9]"
    return "" if _CJK.match(letter) else r"[^\W_]"


def _ways(items: Iterable[tuple[Any, Any]]) -> float:
    """In how many ways a sequence can be laid over a text: an upper bound of the steps from one starting point."""
    total = 1.0
    for kind, value in items:
        total *= _ways_of(kind, value)
        if total > WAYS_LIMIT:
            return float("inf")
    return total


def _ways_of(kind: Any, value: Any) -> float:
    if kind is op.SUBPATTERN:
        return _ways(value[3])
    if kind is op.ATOMIC_GROUP:
        return _ways(value)
    if kind in (op.ASSERT, op.ASSERT_NOT):
        return _ways(value[1])
    if kind is op.BRANCH:
        return _ways_of_branch(value[1])
    if kind in _REPEATS:
        return _ways_of_repeat(*value)
    return float("inf") if kind in (op.GROUPREF, op.GROUPREF_EXISTS) else 1.0


def _ways_of_branch(branches: list[Any]) -> float:
    """Of branches that begin differently only one can match at a place: those that can together are added up."""
    ways = [(_head(branch), _ways(branch)) for branch in branches]
    return max(
        sum(other for start, other in ways if start.startswith(head) or head.startswith(start)) for head, _ in ways
    )


def _head(items: Iterable[tuple[Any, Any]]) -> str:
    """The letters that a sequence must begin with."""
    letters = itertools.takewhile(lambda item: item[0] is op.LITERAL, items)
    return "".join(chr(value).lower() for _, value in letters)


def _ways_of_repeat(low: int, high: Any, items: Any) -> float:
    most = TEXT_LIMIT if high is op.MAXREPEAT else min(int(high), TEXT_LIMIT)
    counts = most - min(int(low), most) + 1
    inner = _ways(items)
    if inner == 1:
        return float(counts)
    return counts * inner**most if most < 30 else float("inf")


def _needed(items: Iterable[tuple[Any, Any]]) -> list[frozenset[str]]:
    """Sets of literals of each of which every match contains one; the most telling set first, useless ones left out."""
    found: list[frozenset[str]] = []
    runs = frozenset({""})
    for kind, value in items:
        exact = _exact_of(kind, value)
        if exact is not None and len(runs) * len(exact) <= _RUNS_LIMIT:
            runs = frozenset(run + more for run in runs for more in exact)
            continue
        found.append(runs)
        runs = frozenset({""}) if exact is None else exact
        if exact is None:
            found += _needed_of(kind, value)
    found.append(runs)
    useful = [_shortest(literals) for literals in found if min(map(_weight, literals)) >= 2]
    return sorted(useful, key=_telling, reverse=True)


def _needed_of(kind: Any, value: Any) -> list[frozenset[str]]:
    if kind is op.SUBPATTERN:
        return _needed(value[3])
    if kind is op.ATOMIC_GROUP:
        return _needed(value)
    if kind in _REPEATS:
        return _needed(value[2]) if value[0] >= 1 else []
    if kind is op.BRANCH:
        each = [_needed(branch)[:1] for branch in value[1]]
        return [frozenset().union(*(best[0] for best in each))] if all(each) else []
    return []


def _exact(items: Iterable[tuple[Any, Any]]) -> frozenset[str] | None:
    """Everything that a sequence can match, when that is a handful of literals."""
    runs = frozenset({""})
    for kind, value in items:
        more = _exact_of(kind, value)
        if more is None or len(runs) * len(more) > _RUNS_LIMIT:
            return None
        runs = frozenset(run + end for run in runs for end in more)
    return runs


def _exact_of(kind: Any, value: Any) -> frozenset[str] | None:
    if kind is op.LITERAL:
        return frozenset({chr(value).lower()})
    if kind is op.AT:
        return frozenset({""})
    if kind is op.IN:
        literal = len(value) <= _RUNS_LIMIT and all(item[0] is op.LITERAL for item in value)
        return frozenset(chr(item[1]).lower() for item in value) if literal else None
    if kind is op.SUBPATTERN:
        return _exact(value[3])
    if kind is op.BRANCH:
        each = [_exact(branch) for branch in value[1]]
        return None if None in each else frozenset().union(*(literals for literals in each if literals))
    if kind in _REPEATS and value[:2] == (0, 1):
        once = _exact(value[2])
        return None if once is None else once | {""}
    return None


def _shortest(literals: frozenset[str]) -> frozenset[str]:
    """Without those that contain another one."""
    return frozenset(one for one in literals if not any(other in one for other in literals - {one}))


def _telling(literals: frozenset[str]) -> tuple[int, int]:
    return min(6, *map(_weight, literals), 6), -len(literals)


def _weight(literal: str) -> int:
    """How much a literal narrows down: a Chinese character as much as two letters."""
    return sum(2 if _CJK.match(character) else 1 for character in literal)
