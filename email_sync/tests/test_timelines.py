"""The timeline of an entity: one conversation is one item, in its place, for each reader what they may see."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from core.ids import uuid7
from email_sync.models import LinkKind, Message, Thread, ThreadLink
from email_sync.services import timelines
from email_sync.tests.conftest import Account
from email_sync.tests.contract import ident, mail
from email_sync.tests.conversations import CUSTOMER, get, letter, match, open_mailbox
from integrations.services import disconnecting
from workspaces.tests.fixtures import Actor, make_actor

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada(memory: None, member: Actor) -> Account:
    return open_mailbox(member, "ada@acme.example")


@pytest.fixture
def ben(memory: None, owner: Actor) -> Account:
    """A colleague's mailbox that shows all of what is linked."""
    return open_mailbox(owner, "ben@acme.example", "full")


def both(ada: Account, ben: Account, raw: bytes) -> None:
    for account in (ada, ben):
        account.box.append(raw, "inbox")


def items(actor: Actor, **query: Any) -> list[dict[str, Any]]:
    return get(actor, "threads/contact/42", **query)["data"]


def walk(actor: Actor, limit: int) -> list[str]:
    """Thread ids of all pages, by cursor."""
    found, cursor = [], ""
    while cursor is not None:
        answer = get(actor, "threads/contact/42", limit=limit, **({"cursor": cursor} if cursor else {}))
        found += [item["threadId"] for item in answer["data"]]
        cursor = answer["pagination"]["nextCursor"]
    return found


def test_timeline_answers_the_documented_shape(ada: Account, member: Actor) -> None:
    ada.box.append(letter("one", to="Ada <ada@acme.example>", cc="dan@x.example"), "inbox")
    reply = letter("two", sender="ada@acme.example", to="carla@customer.example", body="Thanks a lot.", after=["one"])
    ada.box.append(reply, "sent")
    ada.sync()
    match(member, "contact", 42, emailAddress="carla@customer.example")
    answer = get(member, "threads/contact/42")
    [item] = answer["data"]
    assert set(item) == {"threadId", "subject", "participants", "messageCount", "lastMessageAt", "snippet", "unread",
                         "isOwn", "visibility", "owner", "copies"}  # fmt: skip
    assert item["subject"] == "Offer"
    assert item["participants"] == [
        {"name": "Carla", "email": "carla@customer.example"},
        {"name": "Ada", "email": "ada@acme.example"},
        {"name": "", "email": "dan@x.example"},
    ]
    assert (item["messageCount"], item["unread"], item["snippet"]) == (2, 2, "Thanks a lot.")
    assert (item["isOwn"], item["visibility"], item["copies"]) == (True, "full", [])
    assert item["owner"] == {"name": member.user.name, "email": member.user.email}
    assert answer["pagination"] == {
        "page": 1, "limit": 25, "total": 1, "totalIsExact": True, "totalPages": 1, "nextCursor": None,
    }  # fmt: skip


def test_timeline_of_nothing_is_empty_and_of_nonsense_400(member: Actor) -> None:
    assert items(member) == []
    for path in ("1x/42", "contact/a%20b", "contact/" + "x" * 201):
        assert member.client.get(f"/api/v1/integrations/email/threads/{path}").status_code == 400


def test_timeline_is_newest_first_by_pages_and_by_cursor(ada: Account, member: Actor) -> None:
    for number in range(23):
        ada.box.append(letter(f"n{number}", subject=f"No {number}"), "inbox")
    ada.sync()
    match(member, "contact", 42, emailAddress="carla@customer.example")
    numbered = [item for page in (1, 2, 3) for item in items(member, page=page, limit=10)]
    assert [item["subject"] for item in numbered] == [f"No {number}" for number in reversed(range(23))]
    assert walk(member, 7) == [item["threadId"] for item in numbered]
    assert get(member, "threads/contact/42", page=9)["data"] == []


@pytest.mark.parametrize("query", [{"cursor": "x"}, {"cursor": "WzFd"}, {"page": 0}])
def test_timeline_names_what_is_wrong(member: Actor, query: dict[str, Any]) -> None:
    response = member.client.get("/api/v1/integrations/email/threads/contact/42", query)
    assert response.status_code == 400
    assert list(response.json()["error"]["fields"]) == list(query)


@pytest.mark.parametrize("role", ["drafts", "trash", "spam"])
def test_timeline_shows_no_drafts_trash_and_spam(ada: Account, member: Actor, role: str) -> None:
    ada.box.append(letter(), role)
    ada.sync()
    match(member, "contact", 42, emailAddress="carla@customer.example")
    assert items(member) == []


# --- several members ----------------------------------------------------------------------------------------------


def test_conversation_of_two_members_is_one_item_at_its_newest_message(
    ada: Account, ben: Account, member: Actor, owner: Actor
) -> None:
    both(ada, ben, letter("shared", to="ada@acme.example, ben@acme.example", subject="Shared"))
    ada.box.append(letter("alone", subject="Alone"), "inbox")
    ada.sync()
    ben.box.begun = ada.box.begun.replace(year=ada.box.begun.year + 1)
    reply = letter("reply", sender="ben@acme.example", to="carla@customer.example", body="Sure!", after=["shared"])
    ben.box.append(reply, "sent")
    ben.sync()
    made = match(member, "contact", 42, emailAddress="carla@customer.example")
    assert made["matchedEmails"] == 3  # shared once, alone, and what Ben answered
    shared, alone = items(member)
    assert (shared["subject"], alone["subject"]) == ("Shared", "Alone")
    assert (shared["messageCount"], shared["snippet"]) == (2, "Sure!")
    assert shared["isOwn"] is True
    [copy] = shared["copies"]
    assert (copy["isOwn"], copy["owner"]["email"]) == (False, owner.user.email)
    assert get(member, "threads/contact/42")["pagination"]["total"] == 2
    [seen_by_ben] = items(owner)  # Ada's mailbox is private
    assert (seen_by_ben["isOwn"], seen_by_ben["copies"], seen_by_ben["threadId"]) == (True, [], copy["threadId"])


def test_conversation_of_two_members_stays_one_item_over_pages(
    ada: Account, ben: Account, member: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12):
        both(ada, ben, letter(f"n{number}", subject=f"No {number}"))
    ada.sync()
    ben.sync()
    match(member, "contact", 42, emailAddress="carla@customer.example")
    whole = [item["threadId"] for item in items(member)]
    assert len(whole) == 12
    assert walk(member, 5) == whole
    monkeypatch.setattr(timelines, "WHOLE", 4)  # as a timeline of more threads is read
    answer = get(member, "threads/contact/42", limit=5)
    assert (answer["pagination"]["total"], answer["pagination"]["totalIsExact"]) == (6, False)
    assert walk(member, 5) == whole
    assert [item["threadId"] for page in (1, 2, 3) for item in items(member, page=page, limit=5)] == whole


def test_page_number_out_of_reach_says_to_go_on_by_cursor(
    ada: Account, member: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        ada.box.append(letter(f"n{number}"), "inbox")
    ada.sync()
    match(member, "contact", 42, emailAddress="carla@customer.example")
    monkeypatch.setattr(timelines, "WHOLE", 2)
    response = member.client.get("/api/v1/integrations/email/threads/contact/42", {"page": 200, "limit": 100})
    assert response.status_code == 400
    assert "cursor" in response.json()["error"]["fields"]["page"][0]


def test_conversation_of_three_members_is_joined_through_the_one_in_the_middle(
    ada: Account, ben: Account, member: Actor, memory: None
) -> None:
    carol = make_actor(workspace=member.workspace)
    cora = open_mailbox(carol, "cora@acme.example", "metadata")
    both(ada, ben, letter("one"))
    both(ben, cora, letter("two", after=["one"]))
    for account in (ada, ben, cora):
        account.sync()
    match(member, "contact", 42, emailAddress="carla@customer.example")
    [item] = items(member)
    assert item["messageCount"] == 2
    assert sorted(copy["visibility"] for copy in item["copies"]) == ["full", "metadata"]
    [other] = items(carol)
    assert other["isOwn"] is True


def test_decision_counts_for_a_copy_of_a_copy_of_a_copy(
    ada: Account, ben: Account, member: Actor, memory: None
) -> None:
    others = [open_mailbox(make_actor(workspace=member.workspace), f"m{n}@acme.example", "full") for n in range(3)]
    chain, raws = [ada, ben, *others], [letter("one", cc="dan@x.example")]
    raws += [letter(name, after=[before]) for before, name in pairwise(("one", "two", "three", "four"))]
    for raw, neighbours in zip(raws, pairwise(chain), strict=True):
        both(*neighbours, raw)
    for account in chain:
        account.sync()
    match(member, "contact", 42, emailAddress="dan@x.example")
    assert len(items(member)) == 1
    last = Thread.objects.get(connection=chain[-1].connection)
    entity = {"entity_type": "contact", "entity_id": "42"}
    ThreadLink.objects.create(thread=last, connection=last.connection, kind=LinkKind.UNLINKED, **entity)
    assert items(member) == []


def test_timeline_takes_the_same_queries_for_one_and_for_many(ada: Account, ben: Account, member: Actor) -> None:
    def queries() -> int:
        with CaptureQueriesContext(database) as found:
            items(member, limit=50)
        return len(found)

    both(ada, ben, letter("first"))
    ada.sync()
    ben.sync()
    match(member, "contact", 42, emailAddress="carla@customer.example")
    few = queries()
    for number in range(40):
        both(ada, ben, letter(f"n{number}"))
    ada.sync()
    ben.sync()
    assert queries() == few <= 7


# --- what a colleague sees ----------------------------------------------------------------------------------------


def thread_of(account: Account) -> str:
    return str(Thread.objects.filter(connection=account.connection, shown_count__gt=0).latest("pk").pk)


def ask(actor: Actor, path: str) -> Any:
    return actor.client.get(f"/api/v1/integrations/email/{path}")


@pytest.fixture
def secret(ben: Account, owner: Actor) -> Account:
    """One mail with an attachment and a blind copy in Ben's mailbox, linked to contact 42."""
    raw = letter("one", body="Strictly confidential.", headers=[("Bcc", "blind@x.example"), ("X-Trace", "internal")])
    ben.box.append(raw, "inbox")
    ben.box.append(letter("draft", after=["one"], body="Unsent words."), "drafts")
    ben.sync()
    match(owner, "contact", 42, emailAddress="carla@customer.example")
    return ben


def share(account: Account, visibility: str) -> None:
    type(account.connection).objects.filter(pk=account.connection.pk).update(visibility=visibility)


def test_private_mailbox_shows_colleagues_nothing(secret: Account, member: Actor) -> None:
    share(secret, "private")
    assert items(member) == []
    thread = thread_of(secret)
    foreign, missing = ask(member, f"thread/{thread}"), ask(member, f"thread/{uuid7()}")
    assert foreign.status_code == missing.status_code == 404
    assert foreign.json()["error"] | {"requestId": ""} == missing.json()["error"] | {"requestId": ""}
    assert match(member, "contact", 42, emailAddress="carla@customer.example")["matchedEmails"] == 0


def test_metadata_shows_who_when_and_what_about(secret: Account, member: Actor) -> None:
    share(secret, "metadata")
    [item] = items(member)
    assert (item["subject"], item["snippet"], item["unread"]) == ("Offer", "", 0)
    assert (item["isOwn"], item["visibility"], item["messageCount"]) == (False, "metadata", 1)
    answer = ask(member, f"thread/{item['threadId']}")
    assert answer.status_code == 200
    [email] = answer.json()["emails"]
    assert (email["subject"], email["from"]["email"]) == ("Offer", "carla@customer.example")
    assert email["receivedAt"]
    assert email["metadataOnly"] is True
    assert (email["bodyText"], email["bodyHtml"], email["replyText"], email["snippet"]) == ("", "", "", "")
    assert (email["attachments"], email["headers"], email["bcc"], email["hasAttachments"]) == ([], [], [], False)
    assert (email["folder"], email["folders"]) == ("", [])
    for word in (b"confidential", b"internal", b"blind@", b"Unsent"):
        assert word not in answer.content
        assert word not in ask(member, "threads/contact/42").content
    assert answer.json()["entities"] == [{"entityType": "contact", "entityId": "42", "how": "address"}]


def test_full_shows_all_but_drafts(secret: Account, member: Actor, owner: Actor) -> None:
    [item] = items(member)
    assert item["snippet"] == "Strictly confidential."
    answer = ask(member, f"thread/{item['threadId']}").json()
    assert (answer["isOwn"], answer["visibility"], answer["messageCount"]) == (False, "full", 1)
    [email] = answer["emails"]
    assert email["bodyText"].strip() == "Strictly confidential."
    assert len(get(owner, f"thread/{item['threadId']}")["emails"]) == 2


@pytest.mark.parametrize(("visibility", "status"), [("full", 200), ("metadata", 404), ("private", 404)])
def test_attachment_of_a_colleague_downloads_where_all_is_shown(
    ben: Account, member: Actor, outsider: Actor, visibility: str, status: int
) -> None:
    for name, sender in (("linked", CUSTOMER), ("unlinked", "dan@x.example")):
        raw = mail(name, attachment=b"figures").replace(b"Ada <ada@contract.test>", sender.encode())
        ben.box.append(raw, "inbox")
    ben.sync()
    match(member, "contact", 42, emailAddress="carla@customer.example")
    share(ben, visibility)
    linked, unlinked = (Message.objects.get(message_id=ident(name)) for name in ("linked", "unlinked"))
    paths = [f"{email.pk}/attachments/{email.attachments.get().pk}" for email in (linked, unlinked)]
    assert [ask(member, path).status_code for path in paths] == [status, 404]
    assert status != 200 or ask(member, paths[0]).content == b"figures"
    assert ask(outsider, paths[0]).status_code == 404
    Message.objects.filter(pk=linked.pk).update(in_inbox=False, in_drafts=True)
    assert ask(member, paths[0]).status_code == 404


def test_shared_mailbox_shows_nothing_that_is_linked_to_no_entity(secret: Account, member: Actor, owner: Actor) -> None:
    secret.box.append(letter("other", sender="dan@x.example", subject="Private matter"), "inbox")
    secret.sync()
    thread = thread_of(secret)
    assert ask(member, f"thread/{thread}").status_code == 404
    assert ask(owner, f"thread/{thread}").status_code == 200
    assert get(member, "inbox", folder="all", q="confidential")["data"] == []
    for email in Message.objects.filter(connection=secret.connection):
        assert ask(member, str(email.pk)).status_code == 404


def test_another_workspace_sees_nothing_whatever_it_matches(secret: Account, outsider: Actor) -> None:
    match(outsider, "contact", 42, emailAddress="carla@customer.example")
    match(outsider, "contact", 42, domain="customer.example")
    assert items(outsider) == []
    assert ask(outsider, f"thread/{thread_of(secret)}").status_code == 404


def test_owner_of_the_workspace_has_no_right_of_their_own(ada: Account, member: Actor, owner: Actor) -> None:
    ada.box.append(letter(), "inbox")
    ada.sync()
    match(owner, "contact", 42, emailAddress="carla@customer.example")
    assert items(owner) == []


def test_what_was_shared_stays_when_its_user_leaves_and_goes_with_a_purge(
    secret: Account, member: Actor, owner: Actor, admin: Actor
) -> None:
    disconnecting.disconnect(secret.connection, purge=False, by=owner.user)
    assert len(items(member)) == 1
    second = make_actor(workspace=member.workspace, role="OWNER")
    assert second.client.delete(f"/api/members/{owner.membership.pk}").status_code == 204
    [item] = items(member)
    assert item["owner"]["email"] == owner.user.email
    disconnecting.disconnect(secret.connection, purge=True, by=owner.user)
    assert items(member) == []


def test_unlink_by_one_member_counts_for_the_conversation_and_for_copies_that_come_later(
    ada: Account, ben: Account, member: Actor, owner: Actor
) -> None:
    share(ada, "full")
    raw = letter("one")
    ada.box.append(raw, "inbox")
    ada.sync()
    match(member, "contact", 42, emailAddress="carla@customer.example")
    path = f"/api/v1/integrations/email/thread/{thread_of(ada)}/links"
    entity = {"entityType": "contact", "entityId": "42"}
    assert member.client.delete(path, query_params=entity).status_code == 204
    ben.box.append(raw, "inbox")
    ben.sync()
    assert items(member) == items(owner) == []
    assert member.client.post(path, entity, format="json").status_code == 201
    assert [item["isOwn"] for item in items(member)] == [item["isOwn"] for item in items(owner)] == [True]


def test_decision_in_a_private_mailbox_changes_nothing_for_others(
    ada: Account, ben: Account, member: Actor, owner: Actor
) -> None:
    share(ben, "private")
    both(ada, ben, letter("one"))
    ada.sync()
    ben.sync()
    match(member, "contact", 42, emailAddress="carla@customer.example")
    entity = {"entityType": "contact", "entityId": "42"}
    member.client.delete(f"/api/v1/integrations/email/thread/{thread_of(ada)}/links", query_params=entity)
    assert items(member) == []
    assert len(items(owner)) == 1


def test_link_by_hand_of_a_conversation_counts_in_every_mailbox_its_maker_sees(
    ada: Account, ben: Account, member: Actor, owner: Actor
) -> None:
    match(member, "account", 1, domain="customer.example")
    both(ada, ben, letter("one"))
    ada.sync()
    ben.sync()
    entity = {"entityType": "contact", "entityId": "42"}
    path = f"/api/v1/integrations/email/thread/{thread_of(ben)}/links"
    assert member.client.post(path, entity, format="json").status_code == 201
    [item] = items(member)
    assert item["isOwn"] is True
    assert len(items(owner)) == 1
