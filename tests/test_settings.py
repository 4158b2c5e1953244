"""Settings: validated at start, with an error that names each field."""

from __future__ import annotations

import pytest

from app.settings import SettingsError, export, load


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DATABASE_URL", "mysql://somewhere/db"),
        ("ROUNDTRIP_PORT", "ninety"),
        ("ROUNDTRIP_PORT", "70000"),
        ("ROUNDTRIP_PUBLIC_URL", "care.example"),
        ("ROUNDTRIP_WORKERS", "0"),
        ("ROUNDTRIP_SECRET_KEY", "short"),
        ("ROUNDTRIP_LOG_LEVEL", "loud"),
        ("ROUNDTRIP_REQUEUE_ON_AGENT_LOSS", "sometimes"),
    ],
)
def test_a_wrong_value_is_named(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=variable):
        load()


def test_several_wrong_values_are_named_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUNDTRIP_PORT", "x")
    monkeypatch.setenv("ROUNDTRIP_WORKERS", "y")
    with pytest.raises(SettingsError, match=r"(?s)ROUNDTRIP_PORT.*ROUNDTRIP_WORKERS"):
        load()


def test_flags_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUNDTRIP_PORT", "9001")
    assert load().port == 9001
    assert load(port=9002).port == 9002
    assert load(port=None).port == 9001


def test_a_worker_gets_the_same_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    given = load(database_url="postgresql://a@b/c", port=9100, secret_key="a key that is long enough", workers=3)
    for name, value in export(given).items():
        if name == "DATABASE_URL" or name.startswith("ROUNDTRIP_"):
            monkeypatch.setenv(name, value)
    assert load() == given


def test_empty_means_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "")
    assert load().database_url is None


@pytest.mark.parametrize(
    ("host", "public", "base"),
    [
        ("127.0.0.1", None, "http://127.0.0.1:8000"),
        ("::1", None, "http://[::1]:8000"),
        ("0.0.0.0", "https://care.example/", "https://care.example"),
    ],
)
def test_where_the_world_reaches_us(host: str, public: str | None, base: str) -> None:
    assert load(host=host, public_url=public, port=8000).base_url == base


@pytest.mark.parametrize(
    ("public", "reachable"),
    [
        (None, False),
        ("http://localhost:8000", False),
        ("http://[::1]:8000", False),
        ("http://127.0.0.9", False),
        ("http://0.0.0.0:8000", False),
        ("https://care.example", True),
        ("http://10.1.2.3", True),
    ],
)
def test_whether_providers_can_reach_us(public: str | None, reachable: bool) -> None:
    assert load(public_url=public).reachable is reachable
