"""Forged headers: fifty mails that claim to be a colleague's or to belong to their conversation join, hide and steal
nothing."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from email_sync.models import Message, Thread
from email_sync.tests.conftest import Account
from email_sync.tests.conversations import CUSTOMER, deliver, get, letter, match, open_mailbox
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db

REAL = {"sender": CUSTOMER, "subject": "Offer", "date": "Mon, 05 Jan 2026 10:00:00 +0000", "body": "The price is 100."}
OTHER = {
    "sender": "Carla <carla@customer.example.evil.example>",
    "subject": "0ffer",
    "date": "Mon, 05 Jan 2026 10:00:01 +0000",
    "body": "Pay to another account, please.",
}


def forgeries() -> Iterator[bytes]:
    """Each agrees with the real mail in some of sender, subject, date and text, and claims to be it, to follow it or to
    answer it; all are to be found by the customer's address."""
    for choice in product((True, False), repeat=4):
        parts: dict[str, Any] = {
            name: (REAL if same else OTHER)[name] for name, same in zip(REAL, choice, strict=True)
        } | {"cc": "carla@customer.example"}
        if not all(choice):
            yield letter("real", **parts)
        yield letter(after=["real"], **parts)
        yield letter(headers=[("In-Reply-To", "<real@letters.example>")], **parts)
    claims = [("Resent-Message-ID", "<real@letters.example>"), ("X-Original-Message-ID", "<real@letters.example>")]
    for header in [*claims, ("Message-ID", "<REAL@letters.example>")]:
        yield letter(headers=[header], cc="carla@customer.example", **REAL)


@pytest.fixture
def ben(memory: None, owner: Actor) -> Account:
    """A colleague's shared mailbox with the real mail."""
    made = open_mailbox(owner, "ben@acme.example", "full")
    made.box.append(letter("real", **REAL), "inbox")
    made.sync()
    match(owner, "contact", 42, emailAddress="carla@customer.example")
    return made


def items(actor: Actor) -> list[dict[str, Any]]:
    return get(actor, "threads/contact/42", limit=100)["data"]


def test_fifty_forged_mails_join_hide_and_steal_nothing(ben: Account, member: Actor, owner: Actor) -> None:
    [before] = items(owner)
    forged = list(forgeries())
    assert len(forged) == 50
    for number, raw in enumerate(forged):
        victim = open_mailbox(member, f"ada{number}@acme.example", "full")
        deliver(victim.connection, raw)
    for actor in (member, owner):
        found = items(actor)
        assert len(found) == 51
        assert [item["copies"] for item in found if item["copies"]] == []
        assert [item["messageCount"] for item in found] == [1] * 51
        [real] = [item for item in found if item["threadId"] == before["threadId"]]
        assert {**real, "isOwn": True, "unread": 1} == before
    assert Thread.objects.get(pk=before["threadId"]).message_count == 1


def test_forged_mail_in_the_same_mailbox_is_a_message_of_its_own(ben: Account, owner: Actor) -> None:
    """Within one mailbox References are how conversations are made: a forged one is seen in it, and hides nothing."""
    ben.box.append(letter("real", **{**REAL, "body": OTHER["body"]}), "inbox")
    ben.sync()
    [item] = items(owner)
    assert item["messageCount"] == 2
    assert len(get(owner, f"thread/{item['threadId']}")["emails"]) == 2


def test_flood_of_claims_hides_no_conversation(ben: Account, member: Actor, owner: Actor) -> None:
    """More mails with the same headers than are looked at: at worst two items stand where one could."""
    victim = open_mailbox(member, "ada@acme.example", "full")
    for number in range(70):
        victim.box.append(letter("real", **{**REAL, "body": f"Forgery {number}"}), "inbox")
    victim.sync()
    threads = {item["threadId"] for item in items(owner)}
    assert str(Message.objects.get(connection=ben.connection).thread_id) in threads
    assert len(threads) == 2


def test_exact_copy_in_a_colleagues_mailbox_is_the_same_item(ben: Account, member: Actor) -> None:
    victim = open_mailbox(member, "ada@acme.example")
    victim.box.append(letter("real", **{**REAL, "date": "Mon, 05 Jan 2026 11:00:00 +0100"}), "inbox")
    victim.sync()
    [item] = items(member)
    assert (item["isOwn"], len(item["copies"]), item["messageCount"]) == (True, 1, 1)


def test_unlinking_a_forgery_leaves_the_real_conversation(ben: Account, member: Actor, owner: Actor) -> None:
    victim = open_mailbox(member, "ada@acme.example", "full")
    victim.box.append(letter("real", **{**REAL, "body": OTHER["body"]}), "inbox")
    victim.sync()
    [forged] = [item for item in items(member) if item["isOwn"]]
    path = f"/api/v1/integrations/email/thread/{forged['threadId']}/links"
    entity = {"entityType": "contact", "entityId": "42"}
    assert member.client.delete(path, query_params=entity).status_code == 204
    assert [item["isOwn"] for item in items(owner)] == [True]
    assert [item["isOwn"] for item in items(member)] == [False]
