"""Why a mail is here or is not: every answer a support person may need, and nothing of anybody else's."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from core.errors import ProviderUnavailable
from email_sync.models import Message
from email_sync.services import importing
from email_sync.tests.conftest import Account
from email_sync.tests.contract import ident, mail
from email_sync.tests.factories import connect
from email_sync.tests.memory import Mailbox, Memory
from email_sync.tests.test_engine import fill
from email_sync.tests.test_scope import letter, wish
from integrations.models import Connection, SyncCursor
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db

ROOT = "/api/v1/integrations"


def traced(actor: Actor, name: str, **query: str) -> Any:
    """The one mailbox of a trace."""
    response = actor.client.get(f"{ROOT}/email/trace", {"messageId": ident(name), **query})
    assert response.status_code == 200, response.content
    [mailbox] = response.json()["mailboxes"]
    return mailbox


def codes(mailbox: Any) -> list[str]:
    return [finding["code"] for finding in mailbox["findings"]]


@pytest.fixture
def synced(account: Account) -> Account:
    account.box.append(mail("here", attachment=b"x"), "inbox")
    account.sync()
    return account


@pytest.mark.parametrize("form", ["{}", "<{}>", " <{}> "])
def test_trace_of_a_stored_mail_says_where_since_when_and_who_sees_it(
    synced: Account, member: Actor, form: str
) -> None:
    asked = {"messageId": form.format(ident("here"))}
    [mailbox] = member.client.get(f"{ROOT}/email/trace", asked).json()["mailboxes"]
    message = Message.objects.get()
    assert mailbox["stored"]
    assert codes(mailbox) == ["stored"]
    [email] = mailbox["emails"]
    assert (email["emailId"], email["threadId"]) == (str(message.pk), str(message.thread_id))
    assert email["folders"] == ["inbox"]
    assert email["firstSeenAt"] == mailbox["findings"][0]["at"]
    assert mailbox["visibility"]["code"] == "private"
    assert mailbox["live"] is None


def test_trace_names_the_entities_and_what_colleagues_see(synced: Account, member: Actor) -> None:
    Connection.objects.update(visibility="full")
    assert traced(member, "here")["visibility"]["code"] == "not_linked"
    body = {"emailAddress": "bob@contract.test", "entityType": "contact", "entityId": "42"}
    assert member.client.post(f"{ROOT}/email/match", body).status_code == 201
    mailbox = traced(member, "here")
    assert mailbox["emails"][0]["entities"] == [{"entityType": "contact", "entityId": "42", "how": "address"}]
    assert mailbox["visibility"]["code"] == "full"
    Connection.objects.update(visibility="metadata")
    assert traced(member, "here")["visibility"]["code"] == "metadata"


@pytest.mark.parametrize("cause", ["deleted", "absent"])
def test_trace_of_a_removed_mail_says_when_and_why(synced: Account, member: Actor, cause: str) -> None:
    if cause == "absent":
        SyncCursor.objects.update(reconcile=True)
    synced.box.remove(synced.box.find(ident("here")).remote_id)
    synced.sync()
    mailbox = traced(member, "here")
    assert not mailbox["stored"]
    assert codes(mailbox) == [f"removed_{cause}"]
    assert mailbox["emails"][0]["removedCause"] == cause
    assert mailbox["emails"][0]["removedAt"] == mailbox["findings"][0]["at"]


def test_trace_of_mail_kept_out_names_the_rule(account: Account, member: Actor) -> None:
    old = account.box.append(mail("old"), "inbox")
    account.box.messages[old.remote_id] = replace(old, received_at=old.received_at - timedelta(days=90))
    account.box.append(letter("spam", "eve@spam.test"), "inbox")
    account.box.append(mail("client"), "Clients")
    account.sync()
    wish(account, member, blocklist=["spam.test"], days=30, folders={"rule": "exclude", "list": ["Clients"]})
    for name, code, word in (
        ("spam", "excluded_blocked", "spam.test"),
        ("old", "excluded_age", "older"),
        ("client", "excluded_folder", "Clients"),
    ):
        mailbox = traced(member, name)
        assert codes(mailbox) == [code]
        assert word in mailbox["findings"][0]["message"]
        assert mailbox["findings"][0]["certain"]


def test_trace_of_an_imported_mail_says_so(account: Account, member: Actor) -> None:
    response = member.client.post(
        f"{ROOT}/email/import/{account.connection.pk}", mail("old"), content_type="message/rfc822"
    )
    importing.work(response.json()["id"])
    mailbox = traced(member, "old")
    assert codes(mailbox) == ["imported"]
    assert mailbox["emails"][0]["imported"]


def test_trace_of_an_unknown_mail_says_all_that_may_be_the_reason(account: Account, member: Actor) -> None:
    assert codes(traced(member, "x")) == ["never_synced"]
    fill(account.box, 200)
    account.slice(seconds=-1)
    first = traced(member, "inbox-0")
    assert codes(first)[0] == "not_reached"
    assert "50 of 200" in first["findings"][0]["message"]
    account.sync()
    assert codes(traced(member, "x")) == ["never_seen"]
    wish(account, member, days=30, folders={"rule": "exclude", "list": ["spam"]})
    SyncCursor.objects.filter(stream="inbox").update(last_error="No.")
    Connection.objects.update(needs_reauth=True, last_error_message="Invalid.")
    found = traced(member, "x")
    assert set(codes(found)) >= {"needs_reauth", "folder_refused", "folders_not_synced", "before_horizon", "never_seen"}
    assert not any(finding["certain"] for finding in found["findings"])


def test_trace_of_a_disconnected_account_says_since_when(synced: Account, member: Actor) -> None:
    member.client.delete(f"{ROOT}/oauth/imap")
    assert codes(traced(member, "x"))[0] == "disconnected"
    assert traced(member, "here")["stored"]


def test_trace_asked_live_says_what_the_provider_has(synced: Account, member: Actor) -> None:
    synced.box.append(mail("late"), "inbox")
    assert traced(member, "here", live="true")["live"]["code"] == "at_provider"
    assert traced(member, "late", live="true")["live"]["code"] == "missing_here"
    assert traced(member, "never", live="true")["live"]["code"] == "not_at_provider"

    def fail(name: str) -> None:
        raise ProviderUnavailable

    synced.box.before_call = fail
    assert traced(member, "here", live="true")["live"]["code"] == "not_asked"


def test_trace_shows_nothing_of_other_mailboxes(synced: Account, member: Actor, owner: Actor, outsider: Actor) -> None:
    for actor in (owner, outsider):
        theirs = connect(actor, f"{actor.user.pk}@contract.test")
        Memory.mailboxes[theirs.account_email] = Mailbox()
        mailbox = traced(actor, "here")
        assert mailbox["connectionId"] == str(theirs.pk)
        assert (mailbox["stored"], mailbox["emails"]) == (False, [])


def test_trace_without_a_message_id_is_refused(member: Actor) -> None:
    response = member.client.get(f"{ROOT}/email/trace")
    assert (response.status_code, list(response.json()["error"]["fields"])) == (400, ["messageId"])
