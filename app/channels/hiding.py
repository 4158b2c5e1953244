"""Secrets are replaced before anybody can read them: in the URLs that httpx logs, in what a provider says back to us."""

import logging
import re

from pydantic import SecretStr

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


def without(said: str, *secrets: SecretStr) -> str:
    """What a provider said, without the secrets of ours that it quotes."""
    for secret in secrets:
        if value := secret.get_secret_value():
            said = said.replace(value, "<secret>")
    return said
