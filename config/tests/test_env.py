"""The environment: kinds, files, and the example file that must not grow old."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from config import env


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in env.VARIABLES:
        monkeypatch.delenv(variable.name, raising=False)


def test_env_example_file_equals_what_the_variables_say() -> None:
    assert (env.PROJECT / ".env.example").read_text() == env.example(), "run: python -m config.env > .env.example"


def test_env_names_are_declared_once() -> None:
    assert len(env.BY_NAME) == len(env.VARIABLES)


def test_read_unset_gives_the_default() -> None:
    assert env.read("PORT") == 8000
    assert env.read("DEBUG") is False
    assert env.read("EGRESS_ALLOW_CIDRS") == []


def test_read_list_drops_spaces_and_empty_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EGRESS_ALLOW_CIDRS", " 10.0.0.0/8, ,192.168.0.0/16 ")
    assert env.read("EGRESS_ALLOW_CIDRS") == ["10.0.0.0/8", "192.168.0.0/16"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "eighty"),
        ("PORT", "-1"),
        ("PORT", "70000"),
        ("WEB_WORKERS", "0"),
        ("CORS_ALLOWED_ORIGINS", "crm.mine.test"),
        ("CORS_ALLOWED_ORIGINS", "https://crm.mine.test/page"),
        ("DEBUG", "perhaps"),
        ("PUBLIC_URL", "hub.mine.test"),
        ("PUBLIC_URL", "https:///hub"),
        ("PUBLIC_URL", "http://hub.mine.test:99999"),
        ("PUBLIC_URL", "https://ada:secret@hub.mine.test"),
        ("MAIL_BACKFILL_DAYS", "99999999999999"),
        ("SYNC_INTERVAL_SECONDS", "99999999999999"),
        ("EGRESS_ALLOW_CIDRS", "10.9.9.9/8"),
        ("LOG_LEVEL", "LOUD"),
        ("CORS_ALLOWED_ORIGINS", "https://crm.mine.test?page=1"),
        ("MICROSOFT_TENANT", "a/b"),
        ("MICROSOFT_TENANT", ".."),
        ("MICROSOFT_TENANT", "mine.test?x"),
        ("GRAPH_API_URL", "https://graph.microsoft.com/v1.0"),
        ("GMAIL_API_URL", "https://gmail.googleapis.com?key=1"),
    ],
)
def test_read_malformed_value_names_the_variable_and_not_the_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ImproperlyConfigured) as refusal:
        env.read(name)
    assert name in str(refusal.value)
    assert value not in str(refusal.value)


def test_read_secret_file_gives_its_content(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("from-a-file\n")
    monkeypatch.setenv("SECRET_KEY_FILE", str(file))
    assert env.read("SECRET_KEY") == "from-a-file"


def test_read_secret_and_its_file_both_set_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SECRET_KEY", "one")
    monkeypatch.setenv("SECRET_KEY_FILE", str(tmp_path / "other"))
    with pytest.raises(ImproperlyConfigured, match="SECRET_KEY_FILE"):
        env.read("SECRET_KEY")


def test_read_missing_secret_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SECRET_KEY_FILE", str(tmp_path / "absent"))
    with pytest.raises(ImproperlyConfigured, match="absent"):
        env.read("SECRET_KEY")


def test_url_loses_its_closing_slash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GMAIL_API_URL", "http://127.0.0.1:9000/")
    assert env.read("GMAIL_API_URL") == "http://127.0.0.1:9000"


def test_every_address_of_an_api_is_an_origin() -> None:
    """But the one that shares its origin with another where a stand-in has a single port."""
    others = {name for name, variable in env.BY_NAME.items() if name.endswith("_API_URL") and variable.kind != "origin"}
    assert others == {"SENDGRID_EU_API_URL"}


@pytest.mark.parametrize("tenant", ["consumers", "9188040d-6c67-4c5b-b112-36a304b66dad", "mine.onmicrosoft.test"])
def test_tenant_is_a_word_an_id_or_a_domain(monkeypatch: pytest.MonkeyPatch, tenant: str) -> None:
    monkeypatch.setenv("MICROSOFT_TENANT", tenant)
    assert env.read("MICROSOFT_TENANT") == tenant
