"""Who takes part in which conversation, through everything that happens to a mailbox."""

from __future__ import annotations

import importlib
import random
from typing import Any

import pytest
from django.apps import apps
from django.db import connection as database
from django.db import transaction
from django.test.utils import CaptureQueriesContext

from email_sync.models import Message, Thread, ThreadParticipant
from email_sync.records import RemoteState
from email_sync.services import housekeeping
from email_sync.services.store import write_page
from email_sync.tests.conftest import Account
from email_sync.tests.conversations import assert_people_are_true, letter, open_mailbox
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db


def people() -> list[str]:
    return sorted(ThreadParticipant.objects.values_list("address_key", flat=True))


@pytest.fixture
def ada(memory: None, member: Actor) -> Account:
    return open_mailbox(member, "ada@acme.example")


def test_page_notes_everybody_but_the_mailbox_itself(ada: Account) -> None:
    ada.box.append(
        letter(sender="Carla <Carla+x@Customer.example>", to="Ada@Acme.example, b.en@gmail.com", cc="dan@x.example"),
        "inbox",
    )
    ada.sync()
    assert people() == ["ben@gmail.com", "carla@customer.example", "dan@x.example"]
    assert_people_are_true()


def test_reply_moves_the_whole_conversation_to_the_top(ada: Account) -> None:
    ada.box.append(letter("one", to="ada@acme.example, dan@x.example"), "inbox")
    ada.sync()
    before = Thread.objects.get().shown_at
    ada.box.append(letter("two", sender="ada@acme.example", to="carla@customer.example", after=["one"]), "sent")
    ada.sync()
    assert Thread.objects.get().shown_at > before
    assert_people_are_true()


@pytest.mark.parametrize("role", ["drafts", "trash", "spam"])
def test_mail_that_timelines_do_not_show_notes_nobody(ada: Account, role: str) -> None:
    ada.box.append(letter(), role)
    ada.sync()
    assert people() == []
    assert Thread.objects.get().shown_at is None
    stored = next(iter(ada.box.messages.values()))
    ada.box.move(stored.remote_id, "inbox")
    ada.sync()
    assert people() == ["carla@customer.example"]
    assert_people_are_true()


def test_removed_mail_takes_only_its_own_people_along(ada: Account) -> None:
    ada.box.append(letter("one", cc="dan@x.example"), "inbox")
    ada.box.append(letter("two", after=["one"]), "inbox")
    ada.sync()
    ada.box.remove(next(s.remote_id for s in ada.box.messages.values() if b"<one@" in s.raw))
    ada.sync()
    assert people() == ["carla@customer.example"]
    housekeeping.purge_removed(grace_days=-1)
    assert Message.objects.count() == 1
    assert_people_are_true()


def test_people_of_mails_that_change_places_in_one_page_are_read_anew(ada: Account) -> None:
    """One goes to spam while another comes back from it: the count stays, the people do not."""
    ada.box.append(letter("good", cc="dan@x.example"), "inbox")
    ada.box.append(letter("bad", after=["good"], sender="eve@x.example"), "spam")
    ada.sync()
    assert people() == ["carla@customer.example", "dan@x.example"]
    states = [
        RemoteState(row.remote_id, (role,), frozenset({role}), is_read=False, is_starred=False)
        for row, role in zip(Message.objects.order_by("in_spam"), ("spam", "inbox"), strict=True)
    ]
    with transaction.atomic():
        write_page(connection=ada.connection, stream="inbox", updated=states)
    assert people() == ["eve@x.example"]
    assert_people_are_true()


def test_late_parent_joins_the_people_of_its_children(ada: Account) -> None:
    for name, sender in (("left", "Lea <lea@l.example>"), ("right", "Ron <ron@r.example>")):
        ada.box.append(letter(name, sender=sender, after=["parent"] if name == "left" else ["parent2"]), "inbox")
    ada.sync()
    assert Thread.objects.filter(merged_into=None).count() == 2
    ada.box.append(letter("parent", after=["parent2"]), "inbox")
    ada.sync()
    assert Thread.objects.filter(merged_into=None).count() == 1
    assert people() == ["carla@customer.example", "lea@l.example", "ron@r.example"]
    assert_people_are_true()


def test_new_remote_ids_keep_threads_and_people(ada: Account) -> None:
    ada.box.append(letter("one"), "inbox")
    ada.sync()
    thread = Thread.objects.get().pk
    ada.box.renumber()
    ada.sync()
    assert Thread.objects.get().pk == thread
    assert people() == ["carla@customer.example"]
    assert_people_are_true()


def test_mail_to_thousands_is_noted_within_bounds_sender_first(ada: Account) -> None:
    ada.box.append(letter(to=", ".join(f"p{n}@x.example" for n in range(400))), "inbox")
    ada.sync()
    assert len(people()) == 250
    assert "carla@customer.example" in people()


@pytest.mark.parametrize("seed", range(6))
def test_people_are_true_after_anything_that_may_happen(ada: Account, seed: int) -> None:
    chance = random.Random(seed)
    names = [f"n{number}" for number in range(14)]
    for _ in range(6):
        for _ in range(chance.randint(1, 6)):
            stored = list(ada.box.messages.values())
            act = chance.choice(["append"] * 4 + ["move", "remove", "flag", "renumber"])
            if act == "append":
                sender = f"P <p{chance.randint(0, 5)}@x{chance.randint(0, 2)}.example>"
                raw = letter(chance.choice(names), sender=sender, after=chance.sample(names, chance.randint(0, 2)))
                ada.box.append(raw, chance.choice(["inbox", "inbox", "sent", "spam", "drafts", "trash"]))
            elif stored and act == "move":
                ada.box.move(chance.choice(stored).remote_id, chance.choice(["inbox", "archive", "trash", "spam"]))
            elif stored and act == "remove":
                ada.box.remove(chance.choice(stored).remote_id)
            elif stored and act == "flag":
                ada.box.flag(chance.choice(stored).remote_id, read=True)
            elif act == "renumber":
                ada.box.renumber()
        ada.sync()
        assert_people_are_true()


def test_page_of_new_mail_costs_one_statement_for_its_people(ada: Account) -> None:
    for number in range(40):
        ada.box.append(letter(sender=f"p{number}@x.example"), "inbox")
    with CaptureQueriesContext(database) as queries:
        ada.sync()
    about = [query["sql"] for query in queries if "INSERT INTO email_sync_threadparticipant" in query["sql"]]
    reads = [query["sql"] for query in queries if "DELETE FROM email_sync_threadparticipant" in query["sql"]]
    assert len(about) == 1
    assert reads == []


def test_migration_fills_what_was_stored_before(ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(7):
        ada.box.append(letter(f"n{number}", sender=f"p{number}@x.example", after=["n0"]), "inbox")
    ada.box.append(letter(sender="spam@x.example"), "spam")
    ada.sync()
    prints = set(Message.objects.values_list("pk", "fingerprint"))
    ThreadParticipant.objects.all().delete()
    Message.objects.update(fingerprint=None)
    Thread.objects.update(shown_at=None, shown_count=0)
    migration: Any = importlib.import_module("email_sync.migrations.0006_link_stored_mail")
    monkeypatch.setattr(migration, "CHUNK", 3)
    with database.schema_editor() as editor:
        migration.fill(apps, editor)
        migration.fill(apps, editor)
    assert set(Message.objects.values_list("pk", "fingerprint")) == prints
    assert_people_are_true()
