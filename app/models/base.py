"""How columns are declared: ids, aware times, JSON, and words that the database checks."""

from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, DateTime, Text, func
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.dialects.postgresql import UUID as PgUUID
from sqlmodel import Field

from app.ids import new_id

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


def Id() -> Any:
    """A UUIDv7 primary key, made by us so that it works on every Postgres from 15 on."""
    return Field(default_factory=new_id, primary_key=True)


def Moment(**options: Any) -> Any:
    """A point in time, with its zone."""
    return Field(sa_type=DateTime(timezone=True), **options)


def Now() -> Any:
    """A point in time that the database sets when the row is made: its clock decides."""
    return Field(
        default=None, sa_type=DateTime(timezone=True), nullable=False, sa_column_kwargs={"server_default": func.now()}
    )


def Json(default: Any = None, *, nullable: bool = False) -> Any:
    factory = None if default is None else (lambda: type(default)(default))
    if factory is None:
        return Field(default=None, sa_type=JSONB, nullable=True)
    return Field(default_factory=factory, sa_type=JSONB, nullable=nullable)


def Texts() -> Any:
    return Field(default_factory=list, sa_type=ARRAY(Text), nullable=False)


def Uuids() -> Any:
    return Field(default_factory=list, sa_type=ARRAY(PgUUID(as_uuid=True)), nullable=False)


def Word(**options: Any) -> Any:
    """A short text; enums are stored as their word so that a person can read the tables."""
    return Field(sa_type=Text, **options)


def one_of(column: str, words: type[StrEnum], *, nullable: bool = False) -> CheckConstraint:
    """The database accepts only the enum's words."""
    listed = ", ".join(f"'{word.value}'" for word in words)
    test = f"{column} IN ({listed})" + (f" OR {column} IS NULL" if nullable else "")
    return CheckConstraint(test, name=column)
