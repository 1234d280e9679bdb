"""Which entities a conversation is about: by address, by domain, by hand; old mail and new, and nobody else's rules."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from core.ids import uuid7
from email_sync.models import Alias, Message, Thread, ThreadLink
from email_sync.services import housekeeping, linking
from email_sync.tests.conftest import Account
from email_sync.tests.conversations import assert_people_are_true, get, letter, match, open_mailbox
from email_sync.tests.test_scope import wish
from entities.models import AddressMatch
from workspaces.models import AuditEvent
from workspaces.tests.fixtures import Actor, make_actor

pytestmark = pytest.mark.django_db

CONTACT = {"entityType": "contact", "entityId": "42"}


@pytest.fixture
def ada(memory: None, member: Actor) -> Account:
    return open_mailbox(member, "ada@acme.example")


def entities(actor: Actor, **query: Any) -> list[list[tuple[str, str, str]]]:
    """Of each mail of the inbox."""
    return [
        [(one["entityType"], one["entityId"], one["how"]) for one in row["entities"]]
        for row in get(actor, "inbox", **query)["data"]
    ]


def decide(actor: Actor, method: str, thread_id: object, **entity: Any) -> Any:
    path = f"/api/v1/integrations/email/thread/{thread_id}/links"
    if method == "post":
        return actor.client.post(path, entity or CONTACT, format="json")
    return actor.client.delete(path, query_params=entity or CONTACT)


def test_match_links_mail_of_the_past_and_of_the_future(ada: Account, member: Actor) -> None:
    ada.box.append(letter("one"), "inbox")
    ada.sync()
    assert entities(member) == [[]]
    made = match(member, "contact", 42, emailAddress="CARLA+crm@customer.example")
    assert made["matchedEmails"] == 1
    assert entities(member) == [[("contact", "42", "address")]]
    ada.box.append(letter("two", sender="ada@acme.example", to="carla@customer.example", after=["one"]), "sent")
    ada.box.append(letter("other", cc="carla@customer.example", sender="dan@x.example"), "inbox")
    ada.sync()
    assert entities(member, folder="all") == [[("contact", "42", "address")]] * 3
    assert match(member, "contact", 42, emailAddress="carla@customer.example")["matchedEmails"] == 3


def test_match_made_while_mail_syncs_is_complete(ada: Account, member: Actor) -> None:
    for number in range(30):
        ada.box.append(letter(f"n{number}"), "inbox")
    seen = []

    def meanwhile(call: str) -> None:
        if call == "fetch" and not seen:
            seen.append(match(member, "contact", 42, emailAddress="carla@customer.example"))

    ada.box.before_call = meanwhile
    ada.sync()
    assert seen
    assert match(member, "contact", 42, emailAddress="carla@customer.example")["matchedEmails"] == 30
    assert get(member, "threads/contact/42")["pagination"]["total"] == 30


def test_undone_match_links_nothing_any_more(ada: Account, member: Actor) -> None:
    ada.box.append(letter(), "inbox")
    ada.sync()
    made = match(member, "contact", 42, emailAddress="carla@customer.example")
    assert member.client.delete(f"/api/v1/integrations/email/match/{made['id']}").status_code == 204
    assert entities(member) == [[]]
    assert get(member, "threads/contact/42")["data"] == []


def test_domain_links_everybody_there_but_no_subdomain_and_no_colleague(
    ada: Account, member: Actor, owner: Actor
) -> None:
    open_mailbox(owner, "olivia@customer.example")
    ada.box.append(letter("a", sender="x@customer.example"), "inbox")
    ada.box.append(letter("b", sender="x@mail.customer.example"), "inbox")
    ada.box.append(letter("c", sender="olivia@customer.example"), "inbox")
    ada.sync()
    assert match(member, "account", 7, domain="customer.example")["matchedEmails"] == 1
    assert entities(member) == [[], [], [("account", "7", "domain")]]
    assert get(member, "threads/account/7")["pagination"]["total"] == 1


def test_colleague_matched_explicitly_counts_in_the_mail_of_others_only(
    ada: Account, member: Actor, owner: Actor
) -> None:
    olivia = open_mailbox(owner, "olivia@acme.example")
    for box in (ada, olivia):
        box.box.append(letter("internal", sender="olivia@acme.example", to="ada@acme.example"), "inbox")
        box.box.append(letter("outside"), "inbox")
        box.sync()
    match(member, "employee", 1, emailAddress="olivia@acme.example")
    assert entities(member) == [[], [("employee", "1", "address")]]
    assert entities(owner) == [[], []]


def test_alias_of_a_mailbox_is_nobody_it_talks_to(ada: Account, member: Actor, owner: Actor) -> None:
    ben = open_mailbox(owner, "ben@acme.example")
    for box in (ada, ben):
        box.box.append(letter(to="sales@acme.example"), "inbox")
        box.sync()
    match(member, "team", 1, emailAddress="sales@acme.example")
    match(member, "account", 2, domain="acme.example")
    assert entities(member) == entities(owner) == [[("account", "2", "domain"), ("team", "1", "address")]]
    Alias.objects.create(connection=ada.connection, key="sales@acme.example", email="Sales@acme.example")
    assert entities(member) == [[]]
    assert entities(owner) == [[("team", "1", "address")]]
    assert get(member, "threads/team/1")["data"] == get(owner, "threads/account/2")["data"] == []
    assert get(owner, "threads/team/1")["pagination"]["total"] == 1


def test_several_entities_are_all_shown_each_with_how_it_was_found(ada: Account, member: Actor) -> None:
    ada.box.append(letter(), "inbox")
    ada.sync()
    match(member, "contact", 1, emailAddress="carla@customer.example")
    match(member, "contact", 2, emailAddress="carla@customer.example")
    match(member, "account", 9, domain="customer.example")
    match(member, "contact", 1, domain="customer.example")
    wanted = [("account", "9", "domain"), ("contact", "1", "address"), ("contact", "2", "address")]
    assert entities(member) == [wanted]
    email = get(member, get(member, "inbox")["data"][0]["id"])
    assert len(email["entities"]) == 3
    assert len(get(member, f"thread/{email['threadId']}")["entities"]) == 3


def test_match_of_another_workspace_links_nothing_here(ada: Account, member: Actor, outsider: Actor) -> None:
    ada.box.append(letter(), "inbox")
    ada.sync()
    made = match(outsider, "contact", 42, emailAddress="carla@customer.example")
    match(outsider, "contact", 42, domain="customer.example")
    assert made["matchedEmails"] == 0
    assert entities(member) == [[]]
    assert get(member, "threads/contact/42")["data"] == get(outsider, "threads/contact/42")["data"] == []


def test_inbox_page_takes_the_same_queries_for_one_and_for_many_links(ada: Account, member: Actor) -> None:
    def queries() -> int:
        with CaptureQueriesContext(database) as found:
            get(member, "inbox", limit=50)
        return len(found)

    bare = queries()
    match(member, "contact", 0, emailAddress="p0@x0.example")
    for number in range(30):
        ada.box.append(letter(sender=f"p{number}@x{number}.example"), "inbox")
    ada.sync()
    few = queries()
    for number in range(30):
        match(member, "contact", number, emailAddress=f"p{number}@x{number}.example")
        match(member, "account", number, domain=f"x{number}.example")
    assert queries() == few <= bare + 2


# --- by hand ------------------------------------------------------------------------------------------------------


def thread_of(actor: Actor) -> str:
    return str(get(actor, "inbox")["data"][0]["threadId"])


def test_link_by_hand_answers_201_then_200_and_shows(ada: Account, member: Actor) -> None:
    ada.box.append(letter(), "inbox")
    ada.sync()
    thread = thread_of(member)
    first, second = decide(member, "post", thread), decide(member, "post", thread)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    assert first.json() | {"createdAt": ""} == {"threadId": thread, **CONTACT, "how": "manual", "createdAt": ""}
    assert entities(member) == [[("contact", "42", "manual")]]
    [item] = get(member, "threads/contact/42")["data"]
    assert item["threadId"] == thread
    assert AuditEvent.objects.filter(action="thread.linked").count() == 1


def test_unlink_wins_over_matches_until_linked_again(ada: Account, member: Actor) -> None:
    ada.box.append(letter("one"), "inbox")
    ada.sync()
    thread = thread_of(member)
    match(member, "contact", 42, emailAddress="carla@customer.example")
    assert decide(member, "delete", thread).status_code == 204
    assert decide(member, "delete", thread).status_code == 204
    match(member, "contact", 42, domain="customer.example")
    ada.box.append(letter("two", after=["one"]), "inbox")
    ada.sync()
    assert entities(member) == [[], []]
    assert get(member, "threads/contact/42")["data"] == []
    assert decide(member, "post", thread).status_code == 201
    assert entities(member) == [[("contact", "42", "manual")]] * 2


@pytest.mark.parametrize("kind", ["post", "delete"])
def test_decision_survives_whatever_happens_to_the_mailbox(ada: Account, member: Actor, kind: str) -> None:
    ada.box.append(letter("child", after=["parent"]), "inbox")
    ada.box.append(letter("sibling", after=["aunt"], sender="dan@x.example"), "inbox")
    ada.sync()
    match(member, "contact", 42, emailAddress="carla@customer.example")
    younger = Thread.objects.order_by("pk").last()
    assert younger is not None
    older = Thread.objects.exclude(pk=younger.pk).get()
    decide(member, kind, younger.pk)
    wanted = [("contact", "42", "manual")] if kind == "post" else []

    ada.box.append(letter("parent", after=["aunt"]), "inbox")  # joins the two
    ada.sync()
    assert ThreadLink.objects.get().thread_id == older.pk
    assert entities(member) == [wanted] * 3
    ada.box.renumber()
    ada.sync()
    assert entities(member) == [wanted] * 3
    AddressMatch.objects.all().delete()
    assert entities(member) == [wanted] * 3
    for stored in list(ada.box.messages.values()):
        ada.box.remove(stored.remote_id)
    ada.sync()
    housekeeping.purge_removed(grace_days=-1)
    housekeeping.forget_empty_threads(keep_days=-1)
    ada.box.append(letter("later", after=["parent"]), "inbox")
    ada.sync()
    assert entities(member) == [wanted]
    assert_people_are_true()


@pytest.mark.parametrize("kind", ["post", "delete"])
def test_decision_survives_a_scope_that_takes_the_mail_away_and_brings_it_back(
    ada: Account, member: Actor, kind: str
) -> None:
    for name in ("one", "other"):
        ada.box.append(letter(name), "inbox")
    ada.sync()
    match(member, "contact", 42, emailAddress="carla@customer.example")
    row = Message.objects.select_related("thread").get(message_id__startswith="one@")
    subject = row.thread.subject
    decide(member, kind, row.thread_id)
    wish(ada, member, blocklist=["carla@customer.example"])
    assert not Message.objects.exists()
    [left] = Thread.objects.all()
    assert (left.pk, left.subject, left.message_count) == (row.thread_id, "", 0)
    assert get(member, "threads/contact/42")["data"] == []
    assert_people_are_true()

    wish(ada, member, blocklist=[])
    ada.sync()
    back = Message.objects.select_related("thread").get(message_id=row.message_id)
    assert (back.thread_id, back.thread.subject, back.thread.message_count) == (row.thread_id, subject, 1)
    shown = {item["threadId"] for item in get(member, "threads/contact/42")["data"]}
    assert (str(row.thread_id) in shown, len(shown)) == ((True, 2) if kind == "post" else (False, 1))
    assert_people_are_true()


def test_newest_of_two_decisions_stands_after_a_merge(ada: Account, member: Actor) -> None:
    ada.box.append(letter("left", after=["root1"]), "inbox")
    ada.box.append(letter("right", after=["root2"]), "inbox")
    ada.sync()
    older, younger = Thread.objects.order_by("pk")
    decide(member, "delete", younger.pk)
    decide(member, "post", older.pk)
    ada.box.append(letter("root1", after=["root2"]), "inbox")
    ada.sync()
    assert entities(member) == [[("contact", "42", "manual")]] * 3
    assert decide(member, "delete", younger.pk).status_code == 204  # its id still answers
    assert entities(member) == [[]] * 3


@pytest.mark.parametrize(
    ("entity", "field"),
    [({"entityType": "contact"}, "entityId"), ({"entityId": "1"}, "entityType"), ({**CONTACT, "x": 1}, "x")],
)
def test_link_names_what_is_wrong(ada: Account, member: Actor, entity: dict[str, Any], field: str) -> None:
    ada.box.append(letter(), "inbox")
    ada.sync()
    response = decide(member, "post", thread_of(member), **entity)
    assert response.status_code == 400
    assert field in response.json()["error"]["fields"]
    assert not ThreadLink.objects.exists()


def test_foreign_thread_can_neither_be_linked_nor_unlinked(
    ada: Account, member: Actor, owner: Actor, outsider: Actor
) -> None:
    ada.box.append(letter(), "inbox")
    ada.sync()
    thread = thread_of(member)
    for stranger in (owner, outsider, make_actor(workspace=member.workspace)):
        for method in ("post", "delete"):
            foreign, missing = decide(stranger, method, thread), decide(stranger, method, uuid7())
            assert foreign.status_code == missing.status_code == 404
    assert not ThreadLink.objects.exists()


def test_link_thread_of_a_merged_thread_links_the_one_that_stands(ada: Account, member: Actor) -> None:
    ada.box.append(letter("left", after=["root1"]), "inbox")
    ada.box.append(letter("right", after=["root2"]), "inbox")
    ada.sync()
    ada.box.append(letter("root1", after=["root2"]), "inbox")
    ada.sync()
    merged = Thread.objects.exclude(merged_into=None).get()
    link, is_new = linking.link_thread(thread=merged, entity_type="deal", entity_id="1", by=member.user)
    assert (link.thread_id, is_new) == (merged.merged_into_id, True)
