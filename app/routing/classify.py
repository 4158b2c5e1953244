"""What kind of matter a text is: category, matter, severity and complaint type, each with the rules that said so (pure).

A rule fires once, when any of its patterns matches, and adds its `scores`:

    {"category": {"urgent": 5}, "matter": {"complaint": 3}, "severity": {"critical": 5}, "complaint_type": {"attitude": 3}}

- category: urgent or complex needs a total of 3; the greater total wins, urgent where they are equal; else routine.
- matter: needs 2; the greatest total wins, ties in the order complaint, service_request, feedback, enquiry; else enquiry.
- severity: needs 3; the gravest that has it. A complaint without one is minor, anything else has none.
- complaint type: of complaints only; the greatest total, ties in the order attitude, product, service_quality, process;
  else other.
Scores may be negative: "no rush" takes from urgent.

A rule that raises an alarm (a category, a severity, a complaint) does not fire on what is denied right before it: "not
urgent", "nobody was injured", "没有冒烟", "不急". A rule that only names a service does: "no refund yet" is about one.

Each pattern is tried only when a literal it needs is in the text, which leaves two or three of some hundreds.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.errors import Invalid
from app.models.setup import ClassificationRule
from app.models.words import Category, ComplaintType, Matter, Severity
from app.routing.patterns import TEXT_LIMIT, check_pattern, compile_pattern
from app.routing.screen import Screen

__all__ = ["RANK", "Classified", "Classifier", "check_pattern", "check_scores"]

RANK: Mapping[str, int] = {"routine": 0, "complex": 1, "urgent": 2}
_GRAVITY: Mapping[str | None, int] = {Severity.CRITICAL.value: 2, Severity.MAJOR.value: 1}

CATEGORY_NEEDS = 3
MATTER_NEEDS = 2
SEVERITY_NEEDS = 3
_WORDS: Mapping[str, frozenset[str]] = {
    "category": frozenset(Category),
    "matter": frozenset(Matter),
    "severity": frozenset(Severity),
    "complaint_type": frozenset(ComplaintType),
}
# Plain strings: hashing a member of an Enum costs more than looking it up.
_URGENT, _COMPLEX, _ROUTINE = Category.URGENT.value, Category.COMPLEX.value, Category.ROUTINE.value
_COMPLAINT, _ENQUIRY, _OTHER = Matter.COMPLAINT.value, Matter.ENQUIRY.value, ComplaintType.OTHER.value
_MATTERS = (_COMPLAINT, Matter.SERVICE_REQUEST.value, Matter.FEEDBACK.value, _ENQUIRY)
_SEVERITIES = (Severity.CRITICAL.value, Severity.MAJOR.value, Severity.MINOR.value)
_TYPES = tuple(
    word.value
    for word in (ComplaintType.ATTITUDE, ComplaintType.PRODUCT, ComplaintType.SERVICE_QUALITY, ComplaintType.PROCESS)
)

_SUBJECT_LIMIT = 500
_WIDE = re.compile("[\uff01\uff10-\uff19\uff21-\uff3a\uff41-\uff5a]")  # full-width letters, digits, exclamation mark
_EVIDENCE_LIMIT = 80
_LOOK_BACK = 48
_DENIED = re.compile(
    r"\b(?:not?|never|nor|without|nobody|no one|nothing|hardly|zero|(?:is|was|are|were|do|does|did|has|have|had|would)n'?t)"
    r"[ -](?:(?:an?|the|any|at|all|that|this|so|too|very|really|super|particularly|especially|exactly|yet|been|be|is|was|"
    r"were|are|got|get|in|of|one|even|need|need to|it|have|had|see|seen|seeing|smell|sign|signs|it's|making|to|him|her|me)"
    r"[ -]){0,4}$"
    r"|\b(?:in case of|in the event of) (?:an? )?$"
    r"|(?:(?<![得能是要急])不|没有?|沒有?|无|無|未|非|别|勿|避免|防止|以防|毫无)"
    r"(?:是|算|太|很|那么|那麼|那|这么|特别|怎么|怎麼|用|必|需要|要|会|會|能|有|人|任何|什么|出现|出現|发现|發現|发生|發生|闻到|看到|造成|"
    r"人员|着|再|想|打算|准备|到){0,3}$",
    re.IGNORECASE,
)
# Something that a denial begins with: a quick look before the long one.
_MAY_DENY = re.compile(
    r"n[oe']|nt[ -]|without|hardly|zero|case of|event of|[不没沒无無未非别勿避防以毫]", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Classified:
    """`fired` lists, in the order of the rules, `{code, name, evidence, scores}`; `evidence` is the text that matched.

    `warranty` ("yes" or "no") is a fact for the choice of the SLA policy, None when the text does not tell.
    """

    category: str
    matter: str
    severity: str | None
    complaint_type: str | None
    fired: list[dict[str, Any]] = field(default_factory=list)
    warranty: str | None = None


@dataclass(frozen=True, slots=True)
class _Rule:
    code: str
    name: str
    scores: Mapping[str, Any]
    alarm: bool


def graver(found: Classified, *, category: str, severity: str | None) -> bool:
    """Whether a later message shows a matter to be more urgent, or worse, than it was taken for."""
    return RANK[found.category] > RANK[category] or _GRAVITY.get(found.severity, 0) > _GRAVITY.get(severity, 0)


def worse(one: str | None, other: str | None) -> str | None:
    """The graver severity of two; the first where they are alike."""
    return other if _GRAVITY.get(other, 0) > _GRAVITY.get(one, 0) else one or other


class Classifier:
    """The active rules, compiled once. Rules that cannot be compiled are left out and named in `skipped`."""

    def __init__(self, rules: Sequence[ClassificationRule]) -> None:
        self.skipped: list[tuple[str, str]] = []
        self._rules: list[_Rule] = []
        self._patterns: list[tuple[int, re.Pattern[str]]] = []
        self._screen = Screen()
        for rule in sorted((rule for rule in rules if rule.active), key=lambda rule: (rule.position, rule.code)):
            self._add(rule)

    def classify(self, text: str, *, subject: str | None = None, hint: str | None = None) -> Classified:
        """Decide on the first 4,000 characters (and 500 of the subject). `hint` is the channel's word for the
        category: when it is one, it wins over the rules."""
        whole = _normal(text, subject)
        fired: dict[int, str] = {}
        for number in sorted(self._screen.candidates(whole.lower())):
            index, regex = self._patterns[number]
            if index not in fired and (evidence := _evidence(regex, whole, self._rules[index].alarm)):
                fired[index] = evidence
        return _decide([(self._rules[index], evidence) for index, evidence in fired.items()], hint)

    def _add(self, rule: ClassificationRule) -> None:
        try:
            check_scores(rule.scores)
            compiled = [compile_pattern(pattern) for pattern in rule.patterns]
        except Invalid as error:
            self.skipped.append((rule.code, error.detail))
            return
        for pattern in compiled:
            self._screen.add(len(self._patterns), pattern.needs)
            self._patterns.append((len(self._rules), pattern.regex))
        self._rules.append(_Rule(rule.code, rule.name, rule.scores, _is_alarm(rule.scores)))


def check_scores(scores: Mapping[str, Any]) -> None:
    """Raises Invalid(field="scores") unless it is words of ours with numbers; `warranty` takes yes and no."""
    for dimension, points in scores.items():
        words = {"yes", "no"} if dimension == "warranty" else _WORDS.get(dimension)
        if words is None:
            raise Invalid(f"{dimension!r} is not one of {', '.join(_WORDS)}, warranty", field="scores")
        if not isinstance(points, Mapping):
            raise Invalid(f"the scores of {dimension} must be an object", field="scores")
        for word, score in points.items():
            if word not in words:
                raise Invalid(f"{word!r} is not one of {', '.join(sorted(words))}", field="scores")
            if isinstance(score, bool) or not isinstance(score, int | float) or not -100 <= score <= 100:
                raise Invalid(f"the score of {word} must be a number between -100 and 100", field="scores")


def _normal(text: str, subject: str | None) -> str:
    """One line, with full-width letters and typographic apostrophes made plain."""
    whole = text[:TEXT_LIMIT]
    if subject:
        whole = f"{subject[:_SUBJECT_LIMIT]}. {whole}"
    if not whole.isascii():
        whole = whole.replace("’", "'")
        if _WIDE.search(whole):
            whole = unicodedata.normalize("NFKC", whole)[: TEXT_LIMIT + _SUBJECT_LIMIT]
    return " ".join(whole.split())


def _evidence(regex: re.Pattern[str], text: str, alarm: bool) -> str | None:
    """The first match that is not denied."""
    for match in regex.finditer(text):
        if not (alarm and _denied(text[max(0, match.start() - _LOOK_BACK) : match.start()])):
            return match.group()[:_EVIDENCE_LIMIT]
    return None


def _denied(before: str) -> bool:
    return _MAY_DENY.search(before) is not None and _DENIED.search(before) is not None


def _is_alarm(scores: Mapping[str, Any]) -> bool:
    return bool({"category", "severity", "complaint_type"} & scores.keys()) or "complaint" in scores.get("matter", {})


def _decide(fired: Sequence[tuple[_Rule, str]], hint: str | None) -> Classified:
    totals: dict[str, dict[str, float]] = {}
    for rule, _ in fired:
        for dimension, points in rule.scores.items():
            column = totals.setdefault(dimension, {})
            for word, score in points.items():
                column[word] = column.get(word, 0) + score
    entries: list[dict[str, Any]] = [
        {"code": rule.code, "name": rule.name, "evidence": evidence, "scores": dict(rule.scores)}
        for rule, evidence in fired
    ]
    category = _category(totals.get("category", {}))
    wanted = hint.strip().lower() if hint else ""
    if wanted in RANK:
        category = wanted
        name, scores = "The channel named the category", {"category": {wanted: CATEGORY_NEEDS}}
        entries.insert(0, {"code": "channel-hint", "name": name, "evidence": wanted, "scores": scores})
    matter = _greatest(totals.get("matter", {}), _MATTERS, MATTER_NEEDS) or _ENQUIRY
    complaint = matter == _COMPLAINT
    return Classified(
        category=category,
        matter=matter,
        severity=_severity(totals.get("severity", {})) or (_SEVERITIES[-1] if complaint else None),
        complaint_type=_complaint_type(totals.get("complaint_type", {})) if complaint else None,
        fired=entries,
        warranty=_greatest(totals.get("warranty", {}), ("yes", "no"), 1),
    )


def _category(totals: Mapping[str, float]) -> str:
    urgent, hard = totals.get(_URGENT, 0), totals.get(_COMPLEX, 0)
    if urgent >= CATEGORY_NEEDS and urgent >= hard:
        return _URGENT
    return _COMPLEX if hard >= CATEGORY_NEEDS else _ROUTINE


def _severity(totals: Mapping[str, float]) -> str | None:
    return next((word for word in _SEVERITIES if totals.get(word, 0) >= SEVERITY_NEEDS), None)


def _complaint_type(totals: Mapping[str, float]) -> str:
    return _greatest(totals, _TYPES, 1) or _OTHER


def _greatest(totals: Mapping[str, float], order: Iterable[str], needs: float) -> str | None:
    """The word with the greatest total, the earlier one in `order` where they are equal."""
    if not totals:
        return None
    best = max(order, key=lambda word: totals.get(word, 0))
    return best if totals.get(best, 0) >= needs else None
