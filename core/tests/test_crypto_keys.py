"""The vault's keys: rotated while rows are sealed with older ones, unknown, malformed; fingerprints of secrets."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from core import crypto
from core.crypto import SealBroken, Sealed, UnknownKey
from core.ids import uuid7
from core.tests import vaults
from core.tests.vaults import MARKER, NEW, OLD, blob, make, plant

pytestmark = pytest.mark.django_db
ring, vault = vaults.ring, vaults.vault


# Keys


def test_new_key_seals_and_old_one_still_opens(vault: Any, settings: Any) -> None:
    old = make(vault)
    settings.VAULT_KEYS = f"{NEW},{OLD}"
    new = make(vault, text="newer")
    assert (vault.objects.get(pk=old.pk).text, vault.objects.get(pk=new.pk).text) == (MARKER, "newer")
    assert Sealed(blob(old)).key_id == "2026a"
    assert Sealed(blob(new)).key_id == "2026b"


def test_saving_moves_a_row_to_the_newest_key(vault: Any, settings: Any) -> None:
    row = make(vault)
    settings.VAULT_KEYS = f"{NEW},{OLD}"
    vault.objects.get(pk=row.pk).save()
    settings.VAULT_KEYS = NEW
    assert vault.objects.get(pk=row.pk).text == MARKER


def test_reseal_moves_every_column_and_says_whether_it_had_to(vault: Any, settings: Any) -> None:
    row = make(vault)
    settings.VAULT_KEYS = f"{NEW},{OLD}"
    assert crypto.reseal(vault.objects.get(pk=row.pk)) is True
    assert crypto.reseal(vault.objects.get(pk=row.pk)) is False
    settings.VAULT_KEYS = NEW
    loaded = vault.objects.get(pk=row.pk)
    assert (loaded.text, loaded.data) == (MARKER, {"token": MARKER})


def test_reseal_of_a_damaged_row_writes_nothing(vault: Any, settings: Any) -> None:
    row = make(vault)
    row = plant(row, blob(row, "data"), "text")
    before = blob(row, "data")
    settings.VAULT_KEYS = f"{NEW},{OLD}"
    with pytest.raises(SealBroken):
        crypto.reseal(row)
    assert blob(row, "data") == before


def test_unknown_key_fails_closed_and_names_the_key(vault: Any, settings: Any) -> None:
    row = make(vault)
    settings.VAULT_KEYS = NEW
    with pytest.raises(UnknownKey, match="2026a"):
        _ = vault.objects.get(pk=row.pk).text


def test_row_of_an_unknown_key_keeps_its_blob_when_other_columns_are_saved(vault: Any, settings: Any) -> None:
    row = make(vault)
    before = blob(row)
    settings.VAULT_KEYS = NEW
    loaded = vault.objects.get(pk=row.pk)
    loaded.label = "still works"
    loaded.save()
    assert blob(row) == before


def test_same_key_id_with_another_secret_does_not_open(vault: Any, settings: Any) -> None:
    row = make(vault)
    settings.VAULT_KEYS = OLD.replace("Jm4k", "Jm4K")
    with pytest.raises(SealBroken):
        _ = vault.objects.get(pk=row.pk).text


def test_secret_key_has_no_part_in_sealing(vault: Any, settings: Any) -> None:
    row = make(vault)
    settings.SECRET_KEY = "another" * 10
    assert vault.objects.get(pk=row.pk).text == MARKER


def test_key_ids_in_use_counts_values_of_all_columns(vault: Any, settings: Any) -> None:
    make(vault)
    make(vault, text=None)
    settings.VAULT_KEYS = f"{NEW},{OLD}"
    make(vault)
    assert crypto.key_ids_in_use(vault) == {"2026a": 3, "2026b": 2}


def test_key_ids_in_use_survives_damaged_blobs(vault: Any) -> None:
    plant(make(vault, data=None), b"")
    plant(make(vault, data=None), b"\x01\xff\xfe")
    assert sum(crypto.key_ids_in_use(vault).values()) == 2


@pytest.mark.parametrize("ring", ["no-colon", "a:", ":secret", "a:one,a:two", "ü:secret"])
def test_malformed_ring_is_refused(settings: Any, ring: str) -> None:
    settings.VAULT_KEYS = ring
    with pytest.raises(ImproperlyConfigured):
        crypto.key_ring()


def test_empty_ring_seals_nothing(settings: Any) -> None:
    settings.VAULT_KEYS = ""
    with pytest.raises(ImproperlyConfigured):
        crypto.seal(b"x", crypto.Place("w", "t", "r", "c"))


def test_secret_with_a_colon_is_kept_whole(settings: Any) -> None:
    settings.VAULT_KEYS = "a:one:two, b:three"
    assert crypto.key_ring() == {"a": "one:two", "b": "three"}


# Fingerprints


def test_fingerprint_has_the_documented_form() -> None:
    shown = crypto.fingerprint("re_live_abcdefgh", workspace_id=uuid7())
    assert shown.startswith("key.")
    assert shown.endswith("...****")
    assert len(shown) == len("key.a1b2...****")


def test_fingerprint_is_stable_and_survives_a_rotation(settings: Any) -> None:
    workspace_id = uuid7()
    before = crypto.fingerprint("secret", workspace_id=workspace_id)
    settings.VAULT_KEYS = f"{NEW},{OLD}"
    assert crypto.fingerprint("secret", workspace_id=workspace_id) == before


def test_fingerprint_differs_by_workspace_and_says_nothing_about_the_secret() -> None:
    first, second = (
        crypto.fingerprint("abcd-secret", workspace_id=uuid.UUID(int=1)),
        crypto.fingerprint("abcd-secret", workspace_id=uuid.UUID(int=2)),
    )
    assert first != second
    assert "abcd" not in first
