"""The vault: secrets open only where they were sealed, and show up nowhere else."""

from __future__ import annotations

import json
import pickle
import random
from typing import Any

import pytest
from django.core import serializers
from django.core.exceptions import FieldError
from django.db import transaction
from django.forms.models import modelform_factory

from core import crypto
from core.crypto import SealBroken, Sealed, SealedJSONField, SealingImpossible, seal_for
from core.ids import uuid7
from core.tests import vaults
from core.tests.vaults import MARKER, NEW, blob, make, plant

pytestmark = pytest.mark.django_db
ring, vault = vaults.ring, vaults.vault


# Storing and reading


@pytest.mark.parametrize("value", [{"a": [1, None, "ü"]}, [], {}, "text", 0, 1.5, True, False, ""])
def test_json_field_any_value_comes_back_equal(vault: Any, value: Any) -> None:
    row = make(vault, data=value)
    assert vault.objects.get(pk=row.pk).data == value


@pytest.mark.parametrize("value", ["", "x", MARKER, "line\nbreak\x00nul", "x" * 100_000])
def test_text_field_any_string_comes_back_equal(vault: Any, value: str) -> None:
    row = make(vault, text=value)
    assert vault.objects.get(pk=row.pk).text == value


def test_text_field_something_else_than_a_string_is_refused(vault: Any) -> None:
    with pytest.raises(SealingImpossible):
        make(vault, text=12)


def test_none_is_null_in_the_database(vault: Any) -> None:
    row = make(vault, text=None)
    assert row.text is None
    assert vault.objects.filter(text__isnull=True, data__isnull=False).get().text is None


def test_unsaved_row_reads_what_was_assigned(vault: Any) -> None:
    assert vault(workspace_id=uuid7(), text=MARKER).text == MARKER


def test_saved_row_keeps_no_plaintext_in_memory(vault: Any) -> None:
    row = make(vault)
    row.text = "another " + MARKER
    assert row.text == "another " + MARKER
    assert MARKER not in repr(vars(row))
    row.save()
    row.refresh_from_db()
    assert row.text == "another " + MARKER
    assert MARKER not in repr(vars(row))


def test_unsaved_row_shows_no_plaintext_in_its_variables(vault: Any) -> None:
    assert MARKER not in repr(vars(vault(workspace_id=uuid7(), text=MARKER)))


def test_database_holds_no_plaintext(vault: Any) -> None:
    row = make(vault, text="AAAAAAAA" + "plaintext-marker")
    for column in ("text", "data"):
        assert b"marker" not in blob(row, column)
        assert b"AAAA" not in blob(row, column)


def test_equal_secrets_have_different_blobs(vault: Any) -> None:
    row = make(vault)
    first = blob(row)
    row.text = MARKER
    row.save()
    assert blob(row) != first


def test_deferred_column_opens_when_it_is_read(vault: Any, django_assert_num_queries: Any) -> None:
    make(vault)
    with django_assert_num_queries(2):
        row = vault.objects.defer("text").get()
        assert "text" not in vars(row)
        assert row.text == MARKER


def test_refresh_from_db_reads_what_another_wrote(vault: Any) -> None:
    row = make(vault)
    twin = vault.objects.get(pk=row.pk)
    twin.text = "changed"
    twin.save()
    row.refresh_from_db()
    assert row.text == "changed"


def test_saving_other_columns_leaves_the_blob_alone(vault: Any) -> None:
    row = make(vault)
    before = blob(row)
    loaded = vault.objects.get(pk=row.pk)
    loaded.label = "new"
    loaded.save()
    assert blob(row) == before


def test_row_without_a_workspace_is_not_sealed(vault: Any) -> None:
    with pytest.raises(SealingImpossible, match="workspace_id"):
        make(vault, workspace_id=None)


# Bulk and query sets


def test_bulk_create_seals_each_row_for_itself(vault: Any) -> None:
    rows = vault.objects.bulk_create(vault(workspace_id=uuid7(), text=f"{MARKER}{i}") for i in range(5))
    assert [vault.objects.get(pk=row.pk).text for row in rows] == [f"{MARKER}{i}" for i in range(5)]
    assert all(MARKER.encode() not in blob(row) for row in rows)


def test_update_with_plaintext_is_refused_and_says_how(vault: Any) -> None:
    row = make(vault)
    with pytest.raises(SealingImpossible, match="seal_for") as caught, transaction.atomic():
        vault.objects.update(text="plain-marker")
    assert "plain-marker" not in str(caught.value)
    assert vault.objects.get(pk=row.pk).text == MARKER


def test_bulk_update_is_refused(vault: Any) -> None:
    row = make(vault)
    row.text = "changed"
    with pytest.raises(SealingImpossible, match="seal_for"), transaction.atomic():
        vault.objects.bulk_update([row], ["text"])


def test_update_with_a_value_sealed_for_the_row_is_read_back(vault: Any) -> None:
    row = make(vault)
    vault.objects.filter(pk=row.pk).update(text=seal_for(row, "text", "changed"), data=seal_for(row, "data", None))
    row.refresh_from_db()
    assert (row.text, row.data) == ("changed", None)


def test_seal_for_an_open_column_is_refused(vault: Any) -> None:
    with pytest.raises(SealingImpossible):
        seal_for(make(vault), "label", "x")


def test_values_give_only_the_opaque_blob(vault: Any) -> None:
    make(vault)
    (value,) = vault.objects.values_list("text", flat=True)
    assert isinstance(value, Sealed)
    assert str(value) == repr(value) == f"{value}" == "[sealed]"
    assert value != MARKER
    with pytest.raises(TypeError):
        json.dumps({"text": value})
    assert isinstance(vault.objects.values("data").get()["data"], Sealed)


@pytest.mark.parametrize("lookup", ["text", "text__in", "text__contains", "data__token", "data__gt", "text__regex"])
def test_lookups_other_than_isnull_are_refused(vault: Any, lookup: str) -> None:
    with pytest.raises(FieldError):
        list(vault.objects.filter(**{lookup: ["x"]}))


# Blobs in the wrong place


def test_blob_of_another_row_does_not_open(vault: Any) -> None:
    workspace_id = uuid7()
    mine, other = make(vault, workspace_id=workspace_id), make(vault, workspace_id=workspace_id)
    with pytest.raises(SealBroken):
        _ = plant(mine, blob(other)).text


def test_blob_of_another_column_does_not_open(vault: Any) -> None:
    row = make(vault, text='"json text"', data="json text")
    with pytest.raises(SealBroken):
        _ = plant(row, blob(row, "data")).text


def test_blob_of_another_table_does_not_open(vault: Any) -> None:
    row = make(vault)
    other = vault.Other.objects.create(id=row.id, workspace_id=row.workspace_id, text=MARKER)
    with pytest.raises(SealBroken):
        _ = plant(other, blob(row)).text


def test_row_moved_to_another_workspace_does_not_open(vault: Any) -> None:
    row = make(vault)
    vault.objects.update(workspace_id=uuid7())
    with pytest.raises(SealBroken):
        _ = vault.objects.get(pk=row.pk).text


def test_a_thousand_swaps_never_open(vault: Any) -> None:
    workspaces = [uuid7() for _ in range(4)]
    rows = [make(vault, workspace_id=random.choice(workspaces)) for _ in range(24)]
    held = {(row.pk, column): vars(row)[column] for row in rows for column in ("text", "data")}
    opened = tried = 0
    for row in rows:
        for column in ("text", "data"):
            for source, sealed in held.items():
                if source == (row.pk, column):
                    continue
                tried += 1
                try:
                    crypto.unseal(sealed, vault._meta.get_field(column).place(row))
                    opened += 1
                except SealBroken:
                    pass
    assert tried > 1000
    assert opened == 0


def test_ten_thousand_changed_blobs_never_open() -> None:
    place = crypto.Place(str(uuid7()), "table", str(uuid7()), "column")
    blob = crypto.seal(b"secret" * 20, place).blob
    opened = 0
    for bit in range(len(blob) * 8):
        changed = bytearray(blob)
        changed[bit // 8] ^= 1 << bit % 8
        opened += _opens(bytes(changed), place)
    for _ in range(10_000 - len(blob) * 8):
        changed = bytearray(blob)
        for _ in range(random.randint(1, 8)):
            changed[random.randrange(len(blob))] ^= random.randint(1, 255)
        opened += bytes(changed) != blob and _opens(bytes(changed), place)
    assert opened == 0


def _opens(blob: bytes, place: crypto.Place) -> bool:
    try:
        crypto.unseal(Sealed(blob), place)
    except SealBroken:
        return False
    return True


@pytest.mark.parametrize("length", [0, 1, 2, 5, 8, 20, 60])
def test_truncated_blob_does_not_open(length: int) -> None:
    place = crypto.Place("w", "t", "r", "c")
    assert not _opens(crypto.seal(b"secret", place).blob[:length], place)


def test_places_that_read_the_same_when_joined_are_different() -> None:
    sealed = crypto.seal(b"secret", crypto.Place("a", "bc", "d", "e"))
    assert not _opens(sealed.blob, crypto.Place("ab", "c", "d", "e"))


def test_copied_row_is_refused_instead_of_losing_its_secret(vault: Any) -> None:
    row = vault.objects.get(pk=make(vault).pk)
    row.pk, row._state.adding = uuid7(), True
    with pytest.raises(SealBroken):
        row.save()


# What must not leak


def test_dumpdata_holds_nothing_and_needs_no_key(vault: Any, settings: Any) -> None:
    make(vault)
    settings.VAULT_KEYS = NEW
    (row,) = json.loads(serializers.serialize("json", vault.objects.all()))
    assert (row["fields"]["text"], row["fields"]["data"]) == (None, None)


def test_model_form_has_no_field_for_it(vault: Any) -> None:
    assert set(modelform_factory(vault, fields="__all__").base_fields) == {"id", "workspace_id", "label"}


def test_pickled_row_holds_ciphertext(vault: Any) -> None:
    row = vault.objects.get(pk=make(vault).pk)
    row.text = "ascii-marker"
    state = {name: value for name, value in vars(row).items() if name != "_state"}
    pickled = pickle.dumps(state)
    assert b"ascii-marker" not in pickled
    assert vault(**pickle.loads(pickled)).text == "ascii-marker"


def test_unsaved_secret_is_not_pickled(vault: Any) -> None:
    with pytest.raises(SealingImpossible):
        pickle.dumps(vars(vault(workspace_id=uuid7(), text=MARKER))["text"])


def test_error_words_hold_neither_plaintext_nor_key(vault: Any, settings: Any) -> None:
    row = make(vault)
    settings.VAULT_KEYS = NEW
    with pytest.raises(SealBroken) as caught:
        _ = vault.objects.get(pk=row.pk).text
    assert MARKER not in caught.value.message
    assert NEW.partition(":")[2] not in caught.value.message


def test_field_in_a_migration_is_named_by_its_own_path() -> None:
    _, path, args, kwargs = SealedJSONField(null=True, blank=True).deconstruct()
    assert (path, list(args), kwargs) == ("core.crypto.SealedJSONField", [], {"null": True, "blank": True})
