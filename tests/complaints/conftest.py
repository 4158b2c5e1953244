"""The house of the desk."""

from tests.desk.conftest import admin, house, supervisor

__all__ = ["admin", "house", "supervisor"]
