"""The scope of a mailbox: what stays out, what goes as it narrows, what comes back as it widens; and nothing loops."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from core.errors import ProviderUnavailable
from email_sync.models import (
    Attachment,
    Excluded,
    LocalChange,
    Message,
    MessageBody,
    MessageSearch,
    ScopeChange,
    Thread,
)
from email_sync.services import scope_changes
from email_sync.tests.conftest import Account
from email_sync.tests.contract import ident, mail
from email_sync.tests.test_engine import check_counters, fill
from integrations.models import SyncCursor
from workspaces.models import AuditEvent
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db

PREFIX = "/api/v1/integrations/email/scope"


def letter(name: str, sender: str = "ada@contract.test", to: str = "bob@contract.test") -> bytes:
    return mail(name).replace(b"Ada <ada@contract.test>", sender.encode()).replace(b"bob@contract.test", to.encode())


def wish(account: Account, actor: Actor, **body: Any) -> Any:
    """Save a scope over the API and do the work that follows, as a worker would."""
    response = actor.client.patch(f"{PREFIX}/{account.connection.pk}", body)
    assert response.status_code == 200, response.content
    for change in ScopeChange.objects.due():
        while scope_changes.work(change.pk):
            pass
    return response.json()


def asked(account: Account, actor: Actor, **body: Any) -> Any:
    response = actor.client.post(f"{PREFIX}/{account.connection.pk}/preview", body)
    assert response.status_code == 200, response.content
    return response.json()


def names() -> set[str]:
    return {message_id.partition("@")[0] for message_id in Message.objects.values_list("message_id", flat=True)}


def fetches(account: Account) -> int:
    return account.box.calls.count("fetch")


# --- the blocklist ------------------------------------------------------------------------------------------------


@pytest.fixture
def blocked(account: Account, member: Actor) -> Account:
    """A mailbox with mail from and to people who are blocked before the first sync."""
    account.box.append(letter("from-address", "Eve <EVE@spam.test>"), "inbox")
    account.box.append(letter("to-address", to="eve@spam.test"), "sent")
    account.box.append(letter("from-domain", "x@mail.bulk.test"), "inbox")
    account.box.append(letter("kept", "x@notbulk.test"), "inbox")
    wish(account, member, blocklist=["Eve@Spam.test", "@bulk.test"])
    account.sync()
    return account


def test_blocked_mail_is_not_stored_and_leaves_nothing_of_its_content(blocked: Account) -> None:
    assert names() == {"kept"}
    assert Thread.objects.count() == MessageSearch.objects.count() == 1
    notes = {(row.reason, row.rule) for row in Excluded.objects.all()}
    assert notes == {("blocked", "eve@spam.test"), ("blocked", "bulk.test")}
    check_counters(blocked)


def test_own_addresses_block_nothing(account: Account, member: Actor) -> None:
    """They are in every mail: somebody who blocks the own company's domain means the colleagues."""
    account.box.append(letter("from-customer", "x@customer.test", "ada@contract.test"), "inbox")
    account.box.append(letter("from-colleague", "carl@contract.test", "Ada+tag@contract.test"), "inbox")
    wish(account, member, blocklist=["contract.test"])
    account.sync()
    assert names() == {"from-customer"}


def test_blocked_mail_is_not_fetched_again(blocked: Account) -> None:
    SyncCursor.objects.update(reconcile=True)
    before = fetches(blocked)
    blocked.sync()
    assert fetches(blocked) == before
    assert names() == {"kept"}


def test_blocked_mail_that_arrives_later_is_not_stored(blocked: Account) -> None:
    blocked.box.append(letter("late", "eve@spam.test"), "inbox")
    blocked.sync()
    assert names() == {"kept"}


def test_blocked_mail_that_is_flagged_or_moved_elsewhere_stays_out(blocked: Account) -> None:
    first, second = (blocked.box.find(ident(name)).remote_id for name in ("from-address", "from-domain"))
    blocked.box.flag(first, starred=True)
    blocked.box.move(second, "archive")
    blocked.sync()
    assert names() == {"kept"}
    assert set(Excluded.objects.values_list("remote_id", flat=True)) == set(blocked.box.messages) - {
        blocked.box.find(ident("kept")).remote_id
    }


def test_unblocked_mail_comes_back(blocked: Account, member: Actor) -> None:
    wish(blocked, member, blocklist=["bulk.test"])
    blocked.sync()
    assert names() == {"from-address", "to-address", "kept"}
    assert Excluded.objects.get().rule == "bulk.test"
    check_counters(blocked)


def test_new_uidvalidity_leaves_no_stale_notes(blocked: Account) -> None:
    blocked.box.renumber()
    blocked.sync()
    assert names() == {"kept"}
    assert Excluded.objects.count() == 3
    assert set(Excluded.objects.values_list("remote_id", flat=True)) <= set(blocked.box.messages)


def test_narrowing_deletes_what_falls_out_and_keeps_the_figures_right(account: Account, member: Actor) -> None:
    fill(account.box, 30)
    account.box.append(letter("first", "eve@spam.test"), "inbox")
    account.box.append(
        letter("reply", "bob@contract.test").replace(b"\r\n\r\n", b"\r\nIn-Reply-To: <first@contract.test>\r\n\r\n", 1),
        "inbox",
    )
    account.sync()
    alone = Thread.objects.count()
    LocalChange.objects.create(
        connection=account.connection, message=Message.objects.get(message_id=ident("first")), kind="read", value=True
    )
    answer = wish(account, member, blocklist=["spam.test"])
    assert answer["change"]["status"] == "queued"
    assert "first" not in names()
    assert Message.objects.count() == 31
    assert Thread.objects.count() == alone
    assert Thread.objects.get(messages__message_id=ident("reply")).message_count == 1
    assert not LocalChange.objects.exists()
    change = ScopeChange.objects.get()
    assert (change.status, change.done, change.total, change.removed) == ("done", 32, 32, 1)
    check_counters(account)
    account.sync()
    assert "first" not in names()


# --- folders ------------------------------------------------------------------------------------------------------


def test_excluded_folder_goes_and_comes_back(account: Account, member: Actor) -> None:
    for folder in ("inbox", "archive", "Clients"):
        fill(account.box, 15, folder)
    account.sync()
    wish(account, member, folders={"rule": "exclude", "list": ["Clients"]})
    assert Message.objects.filter(stream="Clients").count() == 0
    account.sync()
    assert Message.objects.count() == 30
    assert not SyncCursor.objects.filter(stream="Clients").exists()
    check_counters(account)
    wish(account, member, folders={"rule": "all"})
    account.sync()
    assert Message.objects.present().count() == len(account.box.messages) == 45
    assert not Excluded.objects.exists()
    check_counters(account)


def test_included_folders_alone_are_asked_for(account: Account, member: Actor) -> None:
    fill(account.box, 5)
    fill(account.box, 5, "archive")
    wish(account, member, folders={"rule": "include", "list": ["inbox"]})
    account.sync()
    assert set(Message.objects.values_list("stream", flat=True)) == {"inbox"}
    assert set(SyncCursor.objects.values_list("stream", flat=True)) == {"inbox"}


def test_mail_moved_into_a_wanted_folder_is_fetched_and_out_of_it_removed(account: Account, member: Actor) -> None:
    fill(account.box, 3)
    fill(account.box, 3, "archive")
    wish(account, member, folders={"rule": "include", "list": ["inbox"]})
    account.sync()
    account.box.move(account.box.find(ident("archive-1")).remote_id, "inbox")
    account.box.move(account.box.find(ident("inbox-1")).remote_id, "archive")
    account.sync()
    present = set(Message.objects.present().values_list("message_id", flat=True))
    assert present == {ident("inbox-0"), ident("inbox-2"), ident("archive-1")}


def test_excluded_folder_is_no_vanished_one_to_the_brake(account: Account, member: Actor) -> None:
    fill(account.box, 10)
    fill(account.box, 90, "Clients")
    account.sync()
    member.client.patch(f"{PREFIX}/{account.connection.pk}", {"folders": {"rule": "exclude", "list": ["Clients"]}})
    account.sync()  # before the work was done
    assert not SyncCursor.objects.exclude(held_reason="").exists()
    assert Message.objects.filter(stream="Clients", removed_at=None).count() == 90


# --- how far back -------------------------------------------------------------------------------------------------


def aged(account: Account, name: str, days: int, folder: str = "inbox") -> None:
    stored = account.box.append(mail(name), folder)
    account.box.messages[stored.remote_id] = replace(stored, received_at=stored.received_at - timedelta(days=days))


def test_horizon_keeps_older_mail_out_and_does_not_move_on(account: Account, member: Actor) -> None:
    for days in (1, 20, 40):
        aged(account, f"old-{days}", days)
    wish(account, member, days=30)
    account.sync()
    assert names() == {"old-1", "old-20"}
    SyncCursor.objects.update(reconcile=True)
    account.sync()
    before = fetches(account)
    SyncCursor.objects.update(reconcile=True)
    account.sync()
    assert fetches(account) == before
    assert names() == {"old-1", "old-20"}


def test_horizon_further_back_brings_older_mail_and_nearer_takes_it(account: Account, member: Actor) -> None:
    for days in (1, 20, 40):
        aged(account, f"old-{days}", days)
    wish(account, member, days=30)
    account.sync()
    wish(account, member, days=0)
    account.sync()
    assert names() == {"old-1", "old-20", "old-40"}
    wish(account, member, days=10)
    account.sync()
    assert names() == {"old-1"}
    assert Excluded.objects.filter(reason="age").count() == 2


# --- metadata only ------------------------------------------------------------------------------------------------

SECRET = "zanzibar"


def texts() -> str:
    """Everything stored that could hold a text."""
    rows = [*Message.objects.values_list("snippet"), *MessageBody.objects.values_list("text", "html", "headers")]
    return repr(
        [*rows, *MessageSearch.objects.values_list("words", "text"), *Attachment.objects.values_list("file_name")]
    )


def test_metadata_only_stores_no_text_and_is_found_by_subject(account: Account, member: Actor) -> None:
    wish(account, member, metadataOnly=True)
    raw = mail("quiet", subject="Plans", body=SECRET, attachment=b"x").replace(
        b"Subject:", f"X-Note: {SECRET}\r\nSubject:".encode()
    )
    account.box.append(raw, "inbox")
    account.sync()
    assert SECRET not in texts()
    assert "quiet.bin" not in texts()
    [row] = member.client.get("/api/v1/integrations/email/inbox?q=plans").json()["data"]
    assert row["hasAttachments"]
    assert row["metadataOnly"]
    assert member.client.get(f"/api/v1/integrations/email/inbox?q={SECRET}").json()["data"] == []
    detail = member.client.get(f"/api/v1/integrations/email/{row['id']}").json()
    assert (detail["bodyText"], detail["bodyHtml"]) == ("", "")
    part = detail["attachments"][0]["id"]
    refused = member.client.get(f"/api/v1/integrations/email/{row['id']}/attachments/{part}")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "metadata_only")


def test_metadata_only_takes_stored_texts_away_and_off_brings_them_back(account: Account, member: Actor) -> None:
    for number in range(3):
        account.box.append(mail(f"m{number}", body=SECRET, attachment=b"x"), "inbox")
    account.sync()
    kept = dict(Message.objects.values_list("message_id", "pk"))
    before = texts()
    wish(account, member, metadataOnly=True)
    assert SECRET not in texts()
    assert ScopeChange.objects.get().reduced == 3
    account.sync()
    assert SECRET not in texts()
    wish(account, member, metadataOnly=False)
    account.sync()
    assert sorted(texts()) == sorted(before)
    assert dict(Message.objects.values_list("message_id", "pk")) == kept
    assert not Message.objects.filter(body_withheld=True).exists()
    calls = fetches(account)
    account.sync()
    assert fetches(account) == calls


# --- the dry run and the saving -----------------------------------------------------------------------------------


def test_preview_says_what_would_go_by_which_rule_and_changes_nothing(account: Account, member: Actor) -> None:
    fill(account.box, 20)
    for number in range(12):
        account.box.append(letter(f"spam-{number}", "eve@spam.test"), "inbox")
    aged(account, "old", 90)
    account.sync()
    answer = asked(account, member, blocklist=["spam.test"], days=30, metadataOnly=True)
    assert (answer["examined"], answer["stay"], answer["go"], answer["reduced"]) == (33, 20, 13, 20)
    assert [(rule["reason"], rule["rule"], rule["count"]) for rule in answer["rules"]] == [
        ("blocked", "spam.test", 12),
        ("age", "", 1),
    ]
    assert len(answer["rules"][0]["examples"]) == 10
    assert answer["rules"][1]["examples"][0]["subject"] == "About old"
    assert Message.objects.count() == 33
    assert not ScopeChange.objects.exists()


def test_draft_of_ones_own_is_kept_by_every_scope(account: Account, member: Actor) -> None:
    account.sync()

    def away(name: str) -> None:
        raise ProviderUnavailable

    account.box.before_call = away
    body = {"to": ["x@y.test"], "subject": "Mine", "body": "Mine", "connectionId": str(account.connection.pk)}
    wish(account, member, folders={"rule": "include", "list": ["inbox"]}, days=1)
    response = member.client.post("/api/v1/integrations/email/drafts", body)
    assert response.status_code == 201, response.content
    wish(account, member, folders={"rule": "include", "list": ["sent"]})
    assert Message.objects.get().subject == "Mine"


def test_draft_without_its_text_is_not_saved_over(account: Account, member: Actor) -> None:
    account.box.append(mail("written elsewhere", body="long work"), "drafts")
    wish(account, member, metadataOnly=True)
    account.sync()
    path = f"/api/v1/integrations/email/drafts/{Message.objects.get().pk}"
    refused = member.client.patch(path, {"subject": "x"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "metadata_only")
    account.sync()
    assert b"long work" in next(iter(account.box.messages.values())).raw


def test_preview_counts_what_would_come_back(account: Account, member: Actor) -> None:
    account.box.append(letter("spam", "eve@spam.test"), "inbox")
    wish(account, member, blocklist=["spam.test"])
    account.sync()
    assert asked(account, member, blocklist=[])["returning"] == {"folder": 0, "age": 0, "blocked": 1}


def test_preview_and_work_agree(account: Account, member: Actor) -> None:
    fill(account.box, 10)
    fill(account.box, 10, "archive")
    account.box.append(letter("spam", "eve@spam.test"), "archive")
    account.sync()
    body = {"folders": {"rule": "exclude", "list": ["archive"]}, "blocklist": ["spam.test"]}
    promised = asked(account, member, **body)["go"]
    wish(account, member, **body)
    assert ScopeChange.objects.get().removed == promised == 11


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"blocklist": ["not an address"]}, "blocklist"),
        ({"blocklist": ["a@b@c"]}, "blocklist"),
        ({"days": -1}, "days"),
        ({"folders": {"rule": "include"}}, "folders.list"),
        ({"folders": {"rule": "exclude", "list": ["nowhere"]}}, "folders.list"),
        ({"folders": {"rule": "some"}}, "folders.rule"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
def test_wish_that_makes_no_sense_is_refused_by_field(
    account: Account, member: Actor, body: dict[str, Any], field: str
) -> None:
    account.box.append(mail("one"), "inbox")
    account.sync()
    for path, method in (
        (f"{PREFIX}/{account.connection.pk}", "patch"),
        (f"{PREFIX}/{account.connection.pk}/preview", "post"),
    ):
        response = getattr(member.client, method)(path, body)
        assert response.status_code == 400, response.content
        assert field in response.json()["error"]["fields"]


def test_same_wish_again_starts_no_work(account: Account, member: Actor) -> None:
    wish(account, member, blocklist=["spam.test"])
    wish(account, member, blocklist=["spam.test"])
    assert ScopeChange.objects.count() == 1
    assert AuditEvent.objects.filter(action="connection.scope_changed").count() == 1


def test_audit_of_a_wish_does_not_tell_whom_a_user_blocks(account: Account, member: Actor) -> None:
    wish(account, member, blocklist=["spam.test"])
    assert "spam.test" not in str(AuditEvent.objects.get(action="connection.scope_changed").changes)


def test_new_wish_ends_the_work_of_the_old_one(account: Account, member: Actor) -> None:
    fill(account.box, 3)
    account.sync()
    member.client.patch(f"{PREFIX}/{account.connection.pk}", {"blocklist": ["a.test"]})
    old = ScopeChange.objects.get()
    held = ScopeChange.objects.claim(old.pk, lease_seconds=60)
    member.client.patch(f"{PREFIX}/{account.connection.pk}", {"blocklist": ["b.test"]})
    old.refresh_from_db()
    assert (old.status, old.error_code, old.fence) == ("failed", "superseded", held.fence + 1)


def test_scope_of_a_colleague_is_not_found(account: Account, owner: Actor) -> None:
    assert owner.client.get(f"{PREFIX}/{account.connection.pk}").status_code == 404
