"""The contract kit: what every channel adapter is held to, here and in a package of somebody else. Needs no test runner.

A `Description` says how the provider of one adapter signs, what it sends and how it answers; `CHECKS` are functions of a
description that raise AssertionError with a sentence. `python -m app.channels.kit package.module:DESCRIPTION` runs them all.
"""

from app.channels.kit.checks import CHECKS, Check, run
from app.channels.kit.description import Answer, Description, Files, Incoming, Outward, Proof
from app.channels.kit.provider import Provider
from app.channels.kit.values import WEBHOOK, Skipped

__all__ = [
    "CHECKS",
    "WEBHOOK",
    "Answer",
    "Check",
    "Description",
    "Files",
    "Incoming",
    "Outward",
    "Proof",
    "Provider",
    "Skipped",
    "run",
]
