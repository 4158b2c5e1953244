"""Structured logs: one JSON object per line, with the correlation id of the call that caused it."""

import logging
import sys
from contextvars import ContextVar
from typing import Any

import orjson
import structlog

correlation: ContextVar[str | None] = ContextVar("correlation", default=None)

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def _add_correlation(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    current = correlation.get()
    if current is not None:
        event.setdefault("correlation_id", current)
    return event


def configure(level: str, style: str) -> None:
    """Called once per process. Libraries that use `logging` are shown from warning up."""
    minimum = _LEVELS[level]
    shared: list[structlog.typing.Processor] = [
        _add_correlation,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    if style == "json":
        structlog.configure(
            processors=[*shared, structlog.processors.JSONRenderer(serializer=_dumps)],
            wrapper_class=structlog.make_filtering_bound_logger(minimum),
            logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer),
            cache_logger_on_first_use=True,
        )
    else:
        structlog.configure(
            processors=[*shared, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())],
            wrapper_class=structlog.make_filtering_bound_logger(minimum),
            logger_factory=structlog.PrintLoggerFactory(sys.stderr),
            cache_logger_on_first_use=True,
        )
    logging.basicConfig(
        level=max(minimum, logging.WARNING),
        stream=sys.stderr,
        format='{"level":"%(levelname)s","logger":"%(name)s","event":"%(message)s"}',
    )


def _dumps(value: Any, **_: Any) -> bytes:
    return orjson.dumps(value, default=str)


def get(name: str) -> structlog.typing.FilteringBoundLogger:
    """A logger whose lines carry `room=name`: which room of the house speaks."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(room=name)
    return logger
