"""Upload × confirm × delete × store fault: what is answered, what is left, and that nothing is left in the end.

After each story the store is there again and a day goes by: then the store holds the objects of confirmed documents and
nothing else, and nobody is still pending.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections
from django.db.models import F
from django.utils import timezone

from core.ids import uuid7
from documents import keys
from documents.models import STORED, Confirmation, Document, DocumentUsage, Removal
from documents.services import changing, checking, confirming, keeping, reading, reaping, removals
from documents.services.uploading import UNCONFIRMED_LIFE
from documents.storage import store
from documents.tests.factories import PDF, V1, begin, make_document, objects, send, uploaded
from documents.tests.test_scanning import EICAR
from integrations.models import Event
from integrations.services.files import Brought
from workspaces.models import PeriodicSlot
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db

SENT = {"nothing": None, "right": PDF, "shorter": PDF[:-1], "longer": PDF + b"x", "other bytes": PDF[:-1] + b"x"}
FAULTS = {
    "none": (),
    "down for confirm": ("promote",),
    "down while looking": ("stat",),
    "breaks off while read": ("read",),
    "down for deletes": ("delete",),
}
CONFIRMED = {"right": (200, ""), "nothing": (409, "upload_missing"), "shorter": (422, "size_mismatch"),
             "longer": (422, "size_mismatch"), "other bytes": (422, "hash_mismatch")}  # fmt: skip


def a_day_goes_by() -> None:
    """Rows and objects are older by a day, then the reaper has its turns."""
    before = timezone.now() - timedelta(days=1)
    Removal.objects.update(due_at=before)
    Confirmation.objects.update(finished_at=F("finished_at") - timedelta(days=1))
    for row in Document.objects.filter(status="pending"):
        make_older(row, before - timedelta(minutes=1))
    reaping.give_up_old()
    Removal.objects.update(due_at=before)
    removals.work()


def make_older(row: Document, moment: Any) -> None:
    """As if it had been begun then."""
    values = [keys_id(moment), row.pk]
    with connection.cursor() as cursor:
        cursor.execute("UPDATE documents_document SET id = %s WHERE id = %s", values)
        cursor.execute("UPDATE documents_confirmation SET document_id = %s WHERE document_id = %s", values)


def keys_id(moment: Any) -> Any:
    made = uuid7()
    return type(made)(int=(int(moment.timestamp() * 1000) << 80) | (made.int & ((1 << 80) - 1)))


def settle_down(actor: Actor) -> None:
    a_day_goes_by()
    stored = Document.objects.filter(status__in=STORED)
    assert sorted(objects()) == sorted(stored.values_list("key", flat=True))
    assert not Document.objects.filter(status__in=("pending", "checking")).exists()
    assert not Removal.objects.exists()
    used = DocumentUsage.objects.filter(workspace=actor.workspace).values_list("size", flat=True).first() or 0
    assert used == sum(row.size or 0 for row in stored)


def outcome(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"] if answer.status_code >= 400 else ""


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("sent", SENT)
def test_confirm_of_what_was_sent_while_the_store_is_so(
    member: Actor, broken: Callable[..., None], sent: str, fault: str
) -> None:
    begun = begin(member)
    address, row = f"{V1}/{begun['document']['id']}", Document.objects.get()
    if SENT[sent] is not None:
        store().write(row.upload_key, [SENT[sent]], content_type="application/pdf")  # past the address, which checks
    broken(*FAULTS[fault])
    first = outcome(member.client.post(f"{address}/confirm"))
    met = fault in ("down for confirm", "down while looking") or (
        fault == "breaks off while read" and sent in ("right", "other bytes")
    )
    if fault == "down while looking" and sent == "nothing":
        met = False  # there was nothing to look at
    assert first == ((503, "storage_unavailable") if met else CONFIRMED[sent])
    broken()
    assert outcome(member.client.post(f"{address}/confirm")) == CONFIRMED[sent]  # nothing was lost, and again the same
    assert outcome(member.client.post(f"{address}/confirm")) == CONFIRMED[sent]
    states = {"right": "ready", "nothing": "pending"}
    assert member.client.get(address).json()["status"] == states.get(sent, "rejected")
    assert Event.objects.filter(type="document.uploaded").count() == (1 if sent == "right" else 0)
    settle_down(member)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("sent", SENT)
@pytest.mark.parametrize("confirmed", [False, True], ids=["unconfirmed", "confirmed"])
def test_delete_of_what_was_sent_while_the_store_is_so(
    member: Actor, broken: Callable[..., None], sent: str, fault: str, confirmed: bool
) -> None:
    begun = begin(member)
    address, row = f"{V1}/{begun['document']['id']}", Document.objects.get()
    if SENT[sent] is not None:
        store().write(row.upload_key, [SENT[sent]], content_type="application/pdf")
    if confirmed:
        member.client.post(f"{address}/confirm")
    broken(*FAULTS[fault])
    assert member.client.delete(address).status_code == 204
    assert member.client.get(address).status_code == 404
    assert member.client.post(f"{address}/confirm").status_code == 404
    if "delete" not in FAULTS[fault]:
        assert objects() == []
    broken()
    settle_down(member)
    assert objects() == []


def test_upload_address_changes_nothing_after_confirm_and_what_it_leaves_goes(member: Actor) -> None:
    shown = uploaded(member)
    row = Document.objects.get(pk=shown["id"])
    store().write(row.upload_key, [PDF[:-1] + b"!"], content_type="application/pdf")
    assert b"".join(store().read(row.key)) == PDF
    assert member.client.post(f"{V1}/{row.pk}/confirm").json()["sha256"] == shown["sha256"]
    settle_down(member)


def test_delete_while_it_is_being_confirmed_wins_and_leaves_nothing(
    member: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(member)
    row = Document.objects.select_related("workspace").get()
    store().write(row.upload_key, [PDF], content_type="application/pdf")
    looking = checking.inspect

    def deleted_meanwhile(*given: Any) -> Any:
        found = looking(*given)
        changing.delete(document=row, by=member.user)
        return found

    monkeypatch.setattr(checking, "inspect", deleted_meanwhile)
    assert member.client.post(f"{V1}/{row.pk}/confirm").status_code == 404
    settle_down(member)


@pytest.mark.django_db(transaction=True)
def test_many_confirms_at_once_are_one(member: Actor) -> None:
    begin(member)
    row = reading.find(workspace=member.workspace, document_id=Document.objects.get().pk)
    store().write(row.upload_key, [PDF], content_type="application/pdf")
    together, found = threading.Barrier(4), []

    def confirm() -> None:
        try:
            together.wait()
            found.append(confirming.confirm(document=row, by=member.user).status)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=confirm) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["ready"] * 4
    assert Event.objects.filter(type="document.uploaded").count() == 1
    assert objects() == [Document.objects.get().key]
    settle_down(member)


# --- what it is ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"<!doctype html><script>alert(1)</script>", b"\x7fELF\x02\x01\x01", b"GIF89a"])
def test_confirm_of_what_is_not_what_it_is_said_to_be_rejects_it(member: Actor, content: bytes) -> None:
    begun = begin(member, content)
    send(begun, content)
    address = f"{V1}/{begun['document']['id']}"
    assert outcome(member.client.post(f"{address}/confirm")) == (422, "type_mismatch")
    shown = member.client.get(address).json()
    assert (shown["status"], shown["rejection"]["code"]) == ("rejected", "type_mismatch")
    assert objects() == []
    settle_down(member)


def test_confirm_of_an_infected_file_rejects_it_with_the_scanners_word(member: Actor, daemon: Any) -> None:
    heard = daemon(b"stream: Win.Test.EICAR_HDB-1 FOUND\0")
    begun = begin(member, EICAR, contentType="text/plain")
    send(begun, EICAR)
    answer = member.client.post(f"{V1}/{begun['document']['id']}/confirm")
    assert outcome(answer) == (422, "infected")
    assert "Win.Test.EICAR_HDB-1" in answer.json()["error"]["message"]
    assert EICAR in heard[0]
    assert objects() == []


def test_confirm_while_the_scanner_is_away_loses_nothing(member: Actor, daemon: Any) -> None:
    daemon(b"")
    begun = begin(member)
    send(begun)
    address = f"{V1}/{begun['document']['id']}/confirm"
    assert outcome(member.client.post(address)) == (503, "storage_unavailable")
    daemon(b"stream: OK\0")
    assert member.client.post(address).json()["status"] == "ready"


# --- the reaper ---------------------------------------------------------------------------------------------------


def age(key: str, hours: float) -> None:
    import os

    then = (timezone.now() - timedelta(hours=hours)).timestamp()
    os.utime(store().root / key, (then, then))  # type: ignore[attr-defined]


def test_orphans_go_and_what_rows_name_stays(member: Actor) -> None:
    kept = make_document(member, in_store=True)
    begin(member)
    pending = Document.objects.get(status="pending")
    orphans = [keys.final_key(member.workspace.pk, uuid7()), keys.upload_key(member.workspace.pk, kept.pk)]
    fresh = keys.final_key(member.workspace.pk, uuid7())
    for key in (pending.upload_key, *orphans, fresh, "not/ours"):
        store().write(key, [b"x"], content_type="text/plain")
    for key in (kept.key, pending.upload_key, *orphans, "not/ours"):
        age(key, 13)
    assert reaping.remove_orphans() == 2
    removals.work()
    assert sorted(objects()) == sorted([kept.key, pending.upload_key, fresh, "not/ours"])


def test_store_that_is_mostly_nobodys_is_left_alone(
    member: Actor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(reaping, "BELIEVED", 1)
    made = [keys.final_key(member.workspace.pk, uuid7()) for _ in range(2)]
    for key in made:
        store().write(key, [b"x"], content_type="text/plain")
        age(key, 13)
    assert reaping.remove_orphans() == 0
    assert "Is this the right store?" in caplog.text
    assert len(objects()) == 2


def test_upload_nobody_confirmed_is_given_up_within_a_day_and_not_before(member: Actor) -> None:
    begin(member)
    assert reaping.give_up_old() == 0
    assert UNCONFIRMED_LIFE + timedelta(hours=2) <= timedelta(hours=24)
    settle_down(member)
    assert not Document.objects.exists()


def test_removal_waits_longer_each_time_and_is_done_when_the_store_is_back(
    member: Actor, broken: Callable[..., None]
) -> None:
    key = keys.final_key(member.workspace.pk, uuid7())
    store().write(key, [b"x"], content_type="text/plain")
    removals.note(key)
    broken("delete")
    for wait in (60, 120, 240, 480, 900, 900):
        before = timezone.now()
        Removal.objects.update(due_at=before - timedelta(seconds=1))
        assert removals.work() == 0
        assert (Removal.objects.get().due_at - before).total_seconds() == pytest.approx(wait, abs=30)
    assert Removal.objects.get().error == "The disk is away."
    broken()
    settle_down(member)


def test_file_that_comes_for_hours_keeps_its_object(member: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what the product brings itself: 90 minutes go by between two chunks, and the reaper has its turns."""
    monkeypatch.setattr(removals, "PUT_OFF_SECONDS", 0.0)

    def slowly() -> Iterator[bytes]:
        for _ in range(3):
            yield b"x"
            Removal.objects.update(due_at=F("due_at") - timedelta(minutes=90))
            removals.work()

    brought = Brought("a.txt", "text/plain", "contact", "42", slowly())
    document, made = keeping.keep(workspace=member.workspace, by=member.user, brought=brought)
    assert (made, objects()) == (True, [document.key])
    settle_down(member)


def test_tick_takes_its_turns(member: Actor) -> None:
    from documents.tasks import tick

    removals.note(keys.final_key(member.workspace.pk, uuid7()))
    tick()
    assert not Removal.objects.exists()
    assert PeriodicSlot.objects.filter(task__startswith="documents.").count() == 5
