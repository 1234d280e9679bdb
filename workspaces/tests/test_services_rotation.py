"""Every sealed value moves to the newest key, whatever happens meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command
from django.db import connection

from core import crypto_checks
from core.crypto import UnknownKey, key_ids_in_use
from workspaces.models import ClockTimestamp, IdempotencyRecord, Membership
from workspaces.services import rotation
from workspaces.tests.factories import MembershipFactory

OLD = "old:Jm4kT0wq9ZpX7vNbYd2WcRfYhGuEoAi5"
NEW = "new:xB8rLs1nQe6UgVt3Mz0aKjHyPw5CdFi7"


@pytest.fixture(autouse=True)
def ring(settings: Any) -> None:
    settings.VAULT_KEYS = OLD


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(rotation, "BATCH", 3)
    return


def seal_rows(count: int) -> list[IdempotencyRecord]:
    membership = MembershipFactory()
    return [seal_row(membership, number) for number in range(count)]


def seal_row(membership: Membership, number: int) -> IdempotencyRecord:
    row = new_row(membership, number)
    row.save()
    return row


def new_row(membership: Membership, number: int) -> IdempotencyRecord:
    return IdempotencyRecord(
        workspace=membership.workspace,
        user=membership.user,
        route="POST x",
        key=str(number),
        fingerprint="f",
        lease_until=ClockTimestamp(),
        state="done",
        status=200,
        body=f"secret {number}",
    )


def opened() -> list[str | None]:
    return [row.body for row in IdempotencyRecord.objects.order_by("pk")]


def rotate_keys(**options: Any) -> str:
    out = StringIO()
    call_command("rotate_keys", stdout=out, stderr=out, **options)
    return out.getvalue()


@pytest.mark.django_db
@pytest.mark.usefixtures("small_batches")
def test_rotate_moves_all_and_the_old_key_can_go(settings: Any) -> None:
    seal_rows(10)
    settings.VAULT_KEYS = f"{NEW},{OLD}"
    said = rotate_keys()
    assert "Rows to move: 10" in said
    assert "rotated 10 of 10 (100 %)" in said
    assert key_ids_in_use(IdempotencyRecord) == {"new": 10}
    settings.VAULT_KEYS = NEW
    assert sorted(opened()) == sorted(f"secret {number}" for number in range(10))


@pytest.mark.django_db
def test_rotate_again_finds_nothing(settings: Any) -> None:
    seal_rows(2)
    settings.VAULT_KEYS = f"{NEW},{OLD}"
    rotate_keys()
    assert "Rows to move: 0" in rotate_keys()


@pytest.mark.django_db
def test_rotate_dry_run_changes_nothing_and_counts_per_key(settings: Any) -> None:
    seal_rows(3)
    settings.VAULT_KEYS = f"{NEW},{OLD}"
    said = rotate_keys(dry_run=True)
    assert "Rows to move: 3" in said
    assert "old: 3 values" in said
    assert key_ids_in_use(IdempotencyRecord) == {"old": 3}


@pytest.mark.django_db
@pytest.mark.usefixtures("small_batches")
def test_rotate_stopped_halfway_continues_where_it_was(settings: Any) -> None:
    seal_rows(10)
    settings.VAULT_KEYS = f"{NEW},{OLD}"

    class Killed(BaseException):
        pass

    def kill(_: int) -> None:
        raise Killed

    with pytest.raises(Killed):
        rotation.rotate(progress=kill, failed=lambda *_: None)
    assert key_ids_in_use(IdempotencyRecord) == {"new": 3, "old": 7}
    moved: list[int] = []
    rotation.rotate(progress=moved.append, failed=lambda *_: None)
    assert sum(moved) == 7
    assert key_ids_in_use(IdempotencyRecord) == {"new": 10}


@pytest.mark.django_db
@pytest.mark.usefixtures("small_batches")
def test_rotate_names_what_does_not_open_moves_the_rest_and_fails(settings: Any) -> None:
    rows = seal_rows(7)
    with connection.cursor() as cursor:
        cursor.execute("SELECT body FROM workspaces_idempotencyrecord WHERE id = %s", [rows[0].pk])
        cursor.execute(
            "UPDATE workspaces_idempotencyrecord SET body = %s WHERE id = %s", [cursor.fetchone()[0], rows[4].pk]
        )
    settings.VAULT_KEYS = f"{NEW},{OLD}"
    out = StringIO()
    with pytest.raises(CommandError, match="1 rows"):
        call_command("rotate_keys", stdout=out, stderr=out)
    assert f"workspaces.IdempotencyRecord {rows[4].pk}" in out.getvalue()
    assert key_ids_in_use(IdempotencyRecord) == {"new": 6, "old": 1}


@pytest.mark.django_db
def test_rotate_without_the_old_key_fails_closed_and_names_it(settings: Any) -> None:
    seal_rows(2)
    settings.VAULT_KEYS = NEW
    out = StringIO()
    with pytest.raises(CommandError):
        call_command("rotate_keys", stdout=out, stderr=out)
    assert "'old' is not in VAULT_KEYS" in out.getvalue()
    assert key_ids_in_use(IdempotencyRecord) == {"old": 2}
    with pytest.raises(UnknownKey):
        opened()


@pytest.mark.django_db
def test_rotate_without_any_key_says_so(settings: Any) -> None:
    settings.VAULT_KEYS = ""
    with pytest.raises(CommandError, match="VAULT_KEYS is empty"):
        call_command("rotate_keys", stdout=StringIO())


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("small_batches")
def test_rotate_beside_writers_and_readers_loses_nothing(settings: Any) -> None:
    rows = seal_rows(60)
    settings.VAULT_KEYS = f"{NEW},{OLD}"

    def write(row: IdempotencyRecord) -> str:
        try:
            loaded = IdempotencyRecord.objects.get(pk=row.pk)
            assert loaded.body is not None
            loaded.body = f"{loaded.body} again"
            loaded.save()
            return IdempotencyRecord.objects.get(pk=row.pk).body or ""
        finally:
            connection.close()

    def turn() -> None:
        try:
            rotation.rotate(progress=lambda _: None, failed=lambda _, error: pytest.fail(error.message))
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        turning = pool.submit(turn)
        written = list(pool.map(write, rows))
        turning.result()
    assert written == [f"secret {number} again" for number in range(60)]
    assert key_ids_in_use(IdempotencyRecord) == {"new": 60}


# System checks


@pytest.mark.parametrize(
    "secret", ["short", "a" * 40, "example-example-example-example-ab12", "change-me-please-0a1b2c3d4e5f6g7h8"]
)
@pytest.mark.parametrize(("debug", "check_id"), [(False, "core.E102"), (True, "core.W102")])
def test_check_weak_key_is_an_error_in_production(settings: Any, secret: str, debug: bool, check_id: str) -> None:
    settings.DEBUG, settings.VAULT_KEYS = debug, f"k1:{secret}"
    (found,) = crypto_checks.check_ring()
    assert found.id == check_id
    assert secret not in str(found)


def test_check_secret_key_as_vault_key_is_weak(settings: Any) -> None:
    settings.DEBUG = False
    settings.SECRET_KEY = OLD.partition(":")[2]
    assert [found.id for found in crypto_checks.check_ring()] == ["core.E102"]


@pytest.mark.parametrize("ring", ["", "malformed"])
def test_check_missing_or_malformed_ring_is_an_error(settings: Any, ring: str) -> None:
    settings.DEBUG, settings.VAULT_KEYS = True, ring
    assert [found.id for found in crypto_checks.check_ring()] == ["core.E101"]


def test_check_good_ring_says_nothing(settings: Any) -> None:
    settings.DEBUG, settings.VAULT_KEYS = False, f"{NEW},{OLD}"
    assert crypto_checks.check_ring() == []


@pytest.mark.django_db
def test_check_key_in_use_that_is_missing_is_named(settings: Any) -> None:
    seal_rows(2)
    assert crypto_checks.check_keys_in_use(databases=["default"]) == []
    settings.VAULT_KEYS = NEW
    (found,) = crypto_checks.check_keys_in_use(databases=["default"])
    assert found.id == "core.W103"
    assert "'old'" in found.msg
    assert crypto_checks.missing_keys() == {"old": 2}


def test_check_keys_in_use_asks_no_database_unless_told_to() -> None:
    assert crypto_checks.check_keys_in_use(databases=None) == []


# Killed, not stopped


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """What a second process needs to work on this test's database."""
    url = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{connection.settings_dict['NAME']}").geturl()
    return {**os.environ, "DATABASE_URL": url, "DATA_DIR": str(tmp_path), "VAULT_KEYS": f"{NEW},{OLD}", "DEBUG": "true"}


def start_rotation(environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "manage.py", "rotate_keys"],
        cwd=django_settings.BASE_DIR,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def moved() -> int:
    return key_ids_in_use(IdempotencyRecord).get("new", 0)


def kill_once_it_moves(process: subprocess.Popen[bytes], before: int) -> None:
    pause = threading.Event()
    while process.poll() is None and moved() == before:
        pause.wait(0.005)
    process.kill()
    _, said = process.communicate()
    assert process.returncode in (0, -signal.SIGKILL), said.decode()


@pytest.mark.django_db(transaction=True)
def test_rotate_killed_three_times_loses_nothing_and_ends(settings: Any, environment: dict[str, str]) -> None:
    membership = MembershipFactory()
    IdempotencyRecord.objects.bulk_create(new_row(membership, number) for number in range(3000))
    settings.VAULT_KEYS = f"{NEW},{OLD}"
    for _ in range(3):
        before = moved()
        kill_once_it_moves(start_rotation(environment), before)
        assert before < moved() <= 3000
        assert moved() % rotation.BATCH == 0
    last = start_rotation(environment)
    assert last.wait(60) == 0, last.communicate()[1]
    settings.VAULT_KEYS = NEW
    assert sorted(opened(), key=str) == sorted((f"secret {number}" for number in range(3000)), key=str)
