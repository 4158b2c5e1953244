"""`roundtrip demo`: the whole loop in a terminal, through the public surfaces alone."""

from app.demo.stage import run

__all__ = ["run"]
