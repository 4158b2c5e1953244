"""What our own mail server found out about a mail's sender (RFC 8601): only servers that the operator names are believed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from app.channels.mail_headers import Headers
from app.channels.text import clean

_METHODS = ("spf", "dkim", "dmarc", "arc")
_RESULTS = frozenset(
    {"pass", "fail", "softfail", "neutral", "none", "temperror", "permerror", "policy", "bestguesspass"}
)
_RESULT = re.compile(r"^\s*(spf|dkim|dmarc|arc|sender-id)(?:/\d{1,3})?\s{0,5}=\s{0,5}([a-z]{1,20})\b", re.IGNORECASE)
_PROPERTY = re.compile(
    r"\b(?:header\.(?:from|d|i)|smtp\.(?:mailfrom|helo|from))\s{0,5}=\s{0,5}([^\s;()]{1,320})", re.IGNORECASE
)
_RSPAMD = re.compile(r"\b(R_SPF|R_DKIM|DMARC)_(?:POLICY_)?([A-Z_]{2,20}?)\([-\d.]{1,10}\)")
_RSPAMD_WORDS = {
    "ALLOW": "pass", "FAIL": "fail", "SOFTFAIL": "softfail", "NEUTRAL": "neutral", "NA": "none", "REJECT": "fail", "QUARANTINE": "fail",
    "BAD": "permerror", "DNSFAIL": "temperror", "PERMFAIL": "permerror", "TEMPFAIL": "temperror",
}  # fmt: skip
_FIELDS_LIMIT = 20
_CLAUSES_LIMIT = 50


def read(headers: Headers, *, trusted: Sequence[str], sender: str) -> dict[str, Any]:
    """`{"verdict": "verified" | "unverified" | "unknown", "by": server, "spf": ..., "dkim": ..., "dmarc": ...}`.

    verified: DMARC passed, or, where nobody looked at DMARC, a DKIM signature of the sender's own domain. unverified: looked
    at, and not so. unknown: no server that is trusted has said anything.
    """
    names = {name.lower() for name in trusted}
    found = _by_field(headers, names) or _by_rspamd(headers, names)
    if found is None:
        return {"verdict": "unknown"}
    server, results, domains = found
    if "dmarc" in results and results["dmarc"] not in ("none", "temperror"):
        good = results["dmarc"] in ("pass", "bestguesspass")
    else:
        good = results.get("dkim") == "pass" and _aligned(domains, sender)
    known = {name: results[name] for name in _METHODS if name in results}
    return {"verdict": "verified" if good else "unverified", "by": server, **known}


def _by_field(headers: Headers, names: set[str]) -> tuple[str, dict[str, str], list[str]] | None:
    """The topmost field of a trusted server: what stands below it came with the mail."""
    for value in headers.all("authentication-results")[:_FIELDS_LIMIT]:
        first, *clauses = _without_comments(value).split(";")[:_CLAUSES_LIMIT]
        server = (first.split() or [""])[0].lower()
        if server not in names:
            continue
        results: dict[str, str] = {}
        domains: list[str] = []
        for clause in clauses:
            match = _RESULT.match(clause)
            if match is None or match[2].lower() not in _RESULTS:
                continue
            method, result = match[1].lower(), match[2].lower()
            if results.get(method) != "pass":
                results[method] = result
            if method == "dkim" and result == "pass":
                domains += [found.rpartition("@")[2].lower() for found in _PROPERTY.findall(clause)]
        return clean(server, 255), results, domains
    return None


def _by_rspamd(headers: Headers, names: set[str]) -> tuple[str, dict[str, str], list[str]] | None:
    server = (headers.raw("x-rspamd-server") or "").strip().lower()
    symbols = headers.raw("x-spamd-result")
    if server not in names or not symbols:
        return None
    method = {"R_SPF": "spf", "R_DKIM": "dkim", "DMARC": "dmarc"}
    results = {
        method[match[1]]: _RSPAMD_WORDS[match[2]] for match in _RSPAMD.finditer(symbols) if match[2] in _RSPAMD_WORDS
    }
    return clean(server, 255), results, []


def _aligned(domains: Sequence[str], sender: str) -> bool:
    domain = sender.rpartition("@")[2]
    return any(found and (domain == found or domain.endswith("." + found)) for found in domains)


def _without_comments(value: str) -> str:
    kept, depth, quoted = [], 0, False
    for char in value:
        if char == '"' and not depth:
            quoted = not quoted
        elif char == "(" and not quoted:
            depth += 1
        elif char == ")" and depth:
            depth -= 1
        elif not depth:
            kept.append(char)
    return "".join(kept)
