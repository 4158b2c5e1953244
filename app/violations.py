"""Constraints decide races: what the database refused, as the refusal that the caller understands (pure)."""

import re

import asyncpg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.errors import AlreadyExists, Conflict, Invalid, Problem, Unavailable

DATABASE_ERRORS = (DBAPIError, PoolTimeout, asyncpg.PostgresError, asyncpg.InterfaceError, OSError)
_NOT_THE_DATABASE = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, FileExistsError)

_UNIQUE = {
    "uq_agent_email": ("email", "an agent with this email exists already"),
    "uq_canned_reply_shortcut": ("shortcut", "a canned reply with this shortcut exists already"),
    "uq_classification_rule_code": ("code", "a rule with this code exists already"),
    "uq_sla_policy_current": ("code", "a policy with this code exists already"),
    "uq_sla_policy_code_version": ("code", "this version of the policy exists already"),
    "uq_queue_default": ("is_default", "another queue is the default"),
    "uq_message_author_client": ("client_message_id", "this message was sent already"),
    "uq_receipt_template_place": ("language", "there are words for this language, channel type and kind already"),
    "uq_message_template_name": ("name", "the channel has this template in this language already"),
    "uq_team_name": ("name", "a team with this name exists already"),
    "uq_boost_fact_value": ("value", "there is a boost for this value of the fact already"),
    "uq_announcement_policy_code": ("code", "an announcement policy with this code exists already"),
    "uq_announcement_text": ("language", "there is a text for this notice, language and type of channel already"),
    "uq_graded_response_code": ("code", "a graded response with this code exists already"),
}
_CHECKED = {
    "ck_queue_offer_timeout_positive": "offer_timeout_s",
    "ck_category_setting_weight_positive": "weight",
    "ck_agent_load_not_negative": "load",
    "ck_agent_capacity_not_negative": "capacity",
}
_COLUMNS = re.compile(r"^Key \((?P<columns>[^)]*)\)")
_TRANSIENT = ("08", "40", "53", "55P03", "57P")


def named(error: BaseException) -> Problem | None:
    """The problem that a database error means to the caller; None for one that is our own mistake (a 500)."""
    cause = _postgres_error(error)
    if cause is None:
        return Unavailable(retry_after=1) if _is_lost(error) else None
    state = cause.sqlstate or ""
    if state.startswith(_TRANSIENT):
        return Unavailable(retry_after=1)
    match state:
        case "23505":
            return _taken(cause)
        case "23503":
            return _reference(cause)
        case "23502":
            return Invalid("this must be given", field=str(cause.column_name))
        case "23514":
            return _check(cause)
    if state.startswith("22"):
        return Invalid("a value cannot be stored: it holds a character or a number that the database does not take")
    return None


def _postgres_error(error: BaseException) -> asyncpg.PostgresError | None:
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, asyncpg.PostgresError):
            return seen
        seen = seen.orig if isinstance(seen, DBAPIError) else seen.__cause__
    return None


def _is_lost(error: BaseException) -> bool:
    """No connection was to be had, or it broke. (A connect that tried several addresses raises a bare OSError.)"""
    if isinstance(error, DBAPIError):
        return error.connection_invalidated
    return not isinstance(error, _NOT_THE_DATABASE)


def _taken(cause: asyncpg.PostgresError) -> Problem:
    field, detail = _UNIQUE.get(cause.constraint_name or "", (None, None))
    return AlreadyExists(detail, field=field) if field else AlreadyExists()


def _reference(cause: asyncpg.PostgresError) -> Problem:
    if "still referenced" in (cause.detail or ""):
        return Conflict("it is still in use")
    columns = _COLUMNS.match(cause.detail or "")
    field = columns["columns"] if columns else "?"
    return Invalid(f"there is no such {field.removesuffix('_id')}", field=field)


def _check(cause: asyncpg.PostgresError) -> Problem:
    name = cause.constraint_name or ""
    field = _CHECKED.get(name) or name.removeprefix(f"ck_{cause.table_name}_")
    return Invalid("the value is outside of what is allowed", field=field)
