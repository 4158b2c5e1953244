"""httpx logs each URL that it calls, and some hold a secret: it is replaced before anybody can read it."""

import logging
import re

_rules: list[tuple[re.Pattern[str], str]] = []


class _Hide(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        message = hidden = record.getMessage()
        for pattern, by in _rules:
            hidden = pattern.sub(by, hidden)
        if hidden != message:
            record.msg, record.args = hidden, ()
        return True


logging.getLogger("httpx").addFilter(_Hide())


def hide(pattern: str, *, by: str) -> None:
    """What matches is logged as `by`, in which `\\1` stands for the part that may be seen."""
    _rules.append((re.compile(pattern), by))
