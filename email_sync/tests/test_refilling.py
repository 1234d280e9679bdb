"""Messages that came without their body: they stand as what is known, are asked for again, become whole in place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now

from core.work import WorkStatus
from email_sync.models import ChangeKind, MailScope, Message, Thread, ThreadParticipant, Unfetched
from email_sync.records import RemoteMessage, Stream
from email_sync.services import isolating
from email_sync.services.changes import change
from email_sync.services.fetching import REFUSED
from email_sync.tests.conftest import Account
from email_sync.tests.contract import ident, mail
from email_sync.tests.memory import Memory, message_id_of
from email_sync.tests.test_engine import check_counters, fill, picture, truth
from integrations.models import CoverageCheck, Event, SyncState
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db

API = "/api/v1/integrations"
REPLY = b"References: <parent@contract.test>\r\n" + mail("child")


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """The server lists these and gives no body of them; `headers` says whether it gives those. () mends it."""
    fetch = Memory.fetch

    def install(*names: str, headers: bool = False) -> None:
        wanted = {ident(name) for name in names}

        def without_body(self: Memory, stream: Stream, remote_ids: Sequence[str]) -> Iterator[RemoteMessage]:
            for message in fetch(self, stream, remote_ids):
                raw = message.raw or b""
                if message_id_of(raw) not in wanted:
                    yield message
                    continue
                key = message.state.content_key if headers else ""
                head = raw.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if headers else b""
                state = replace(message.state, content_key=key)
                yield replace(message, state=state, raw=head, truncated=True, refused=True)

        monkeypatch.setattr(Memory, "fetch", without_body)

    return install


def their_time_comes() -> None:
    Unfetched.objects.update(next_attempt_at=Now())


def coverage(account: Account, member: Actor) -> dict[str, Any]:
    found: dict[str, Any] = member.client.get(f"{API}/connections/{account.connection.pk}/status").json()
    return dict(found["email"]["coverage"])


@pytest.mark.parametrize("headers", [False, True], ids=["nothing", "headers"])
def test_message_without_its_body_becomes_whole_in_its_row(
    account: Account, member: Actor, refuse: Callable[..., None], headers: bool
) -> None:
    account.box.append(mail("parent"), "inbox")
    account.box.append(REPLY, "inbox")
    account.box.append(mail("other", body="needle"), "inbox")
    refuse("child", "other", headers=headers)
    assert account.sync().status == WorkStatus.DONE
    before = {row.remote_id: row for row in Message.objects.all()}
    assert len(before) == 3
    assert sorted(row.defect[:20] for row in before.values()) == ["", REFUSED[:20], REFUSED[:20]]
    assert coverage(account, member)["incomplete"] == 2
    refuse()
    their_time_comes()
    account.sync()
    assert picture(account) == truth(account.box)
    rows = {row.message_id: row for row in Message.objects.all()}
    assert {row.remote_id: row.pk for row in rows.values()} == {key: row.pk for key, row in before.items()}
    assert [row.defect for row in rows.values()] == ["", "", ""]
    assert rows[ident("child")].thread_id == rows[ident("parent")].thread_id
    assert rows[ident("other")].thread_id != rows[ident("parent")].thread_id
    assert coverage(account, member)["incomplete"] == 0
    found = member.client.get(f"{API}/email/inbox?q=needle").json()["data"]
    assert [item["id"] for item in found] == [str(rows[ident("other")].pk)]
    check_counters(account)
    assert not Thread.objects.filter(merged_into__isnull=True, message_count=0).exists()
    assert not Thread.objects.filter(merged_into__isnull=True, subject="").exists()
    shown = ThreadParticipant.objects.filter(thread=rows[ident("other")].thread_id)
    assert shown.exists()


def test_message_without_its_body_keeps_its_conversations_id_answering(
    account: Account, member: Actor, refuse: Callable[..., None]
) -> None:
    account.box.append(mail("parent"), "inbox")
    account.sync()
    account.box.append(REPLY, "inbox")
    refuse("child")
    account.sync()
    alone = Message.objects.get(message_id="").thread_id
    refuse()
    their_time_comes()
    account.sync()
    told = member.client.get(f"{API}/email/thread/{alone}")
    assert told.status_code == 200
    assert {item["messageId"] for item in told.json()["emails"]} == {ident("parent"), ident("child")}


def test_message_without_its_body_is_asked_for_later_and_later(account: Account, refuse: Callable[..., None]) -> None:
    fill(account.box, 3)
    refuse("inbox-1")
    account.sync()
    account.box.calls.clear()
    account.sync()
    assert "fetch" not in account.box.calls  # its time has not come
    for attempts in (2, 3):
        their_time_comes()
        account.sync()
        kept = Unfetched.objects.annotate(now=Now()).get()
        assert kept.attempts == attempts
        wait = timedelta(minutes=4 ** (attempts - 1))
        assert wait * 0.9 < kept.next_attempt_at - kept.now <= wait
    assert Message.objects.exclude(defect="").count() == 1


def test_many_without_their_body_are_few_requests_until_the_server_gives_them_again(
    account: Account, refuse: Callable[..., None]
) -> None:
    fill(account.box, 90)
    names = [f"inbox-{number}" for number in range(90)]
    refuse(*names)
    account.sync()
    assert Unfetched.objects.count() == 90
    their_time_comes()
    account.sync()
    assert Unfetched.objects.filter(attempts=2).count() == isolating.RETRIED_TOGETHER
    refuse()
    their_time_comes()
    account.sync()
    assert not Unfetched.objects.exists()
    assert picture(account) == truth(account.box)
    check_counters(account)


def test_message_without_its_body_counts_as_missing_in_the_comparison(
    account: Account, member: Actor, refuse: Callable[..., None]
) -> None:
    fill(account.box, 3)
    refuse("inbox-1")
    account.sync()
    assert (coverage(account, member)["stored"], coverage(account, member)["missing"]) == (2, 1)
    refuse()
    their_time_comes()
    SyncState.objects.update(next_check_at=None)
    account.sync()
    assert (coverage(account, member)["stored"], coverage(account, member)["missing"]) == (3, 0)
    assert CoverageCheck.objects.count() == 2


def test_message_without_its_body_that_was_archived_meanwhile_is_asked_for_under_its_new_id(
    account: Account, refuse: Callable[..., None]
) -> None:
    fill(account.box, 3)
    refuse("inbox-1")
    account.sync()
    archived = Message.objects.exclude(defect="").get()
    change(message=archived, kind=ChangeKind.ARCHIVED, value=True)
    account.sync()
    archived.refresh_from_db()
    assert archived.remote_id.startswith("archive/")
    refuse()
    for _ in range(2):
        their_time_comes()
        SyncState.objects.update(next_check_at=None)
        account.sync()
    archived.refresh_from_db()
    assert (archived.message_id, archived.defect, archived.in_archive) == (ident("inbox-1"), "", True)
    assert picture(account) == truth(account.box)
    assert not Unfetched.objects.exists()


def test_message_stored_whole_is_not_spoiled_by_a_refusal(account: Account, refuse: Callable[..., None]) -> None:
    fill(account.box, 3)
    account.sync()
    row = Message.objects.get(message_id=ident("inbox-1"))
    refuse("inbox-1")
    Message.objects.filter(pk=row.pk).update(stream="archive")  # a comparison asks for it
    SyncState.objects.update(next_check_at=None)
    account.sync()
    row.refresh_from_db()
    assert (row.message_id, row.defect) == (ident("inbox-1"), "")
    assert not Unfetched.objects.exists()


def test_message_without_its_body_that_is_gone_at_the_server_is_forgotten(
    account: Account, refuse: Callable[..., None]
) -> None:
    fill(account.box, 3)
    refuse("inbox-1")
    account.sync()
    account.box.remove(account.box.find(ident("inbox-1")).remote_id)
    their_time_comes()
    account.sync()
    assert picture(account) == truth(account.box)
    assert not Unfetched.objects.exists()


def test_message_whose_sender_is_known_late_and_unwanted_goes(account: Account, refuse: Callable[..., None]) -> None:
    fill(account.box, 2)
    account.box.append(mail("unwanted", sender="noise@spam.test"), "inbox")
    MailScope.objects.create(connection=account.connection, blocked=["spam.test"])
    refuse("unwanted")
    account.sync()
    assert Message.objects.count() == 3
    refuse()
    their_time_comes()
    account.sync()
    assert Message.objects.count() == 2
    assert not Unfetched.objects.exists()
    check_counters(account)


def test_message_filled_tells_streams_of_a_change_and_of_no_second_arrival(
    account: Account, refuse: Callable[..., None]
) -> None:
    account.sync()
    account.box.append(mail("new"), "inbox")
    refuse("new")
    account.sync()
    received = Event.objects.filter(type="email.received").count()
    refuse()
    their_time_comes()
    account.sync()
    row = Message.objects.get(message_id=ident("new"))
    assert Event.objects.filter(type="email.received").count() == received
    assert Event.objects.filter(type="email.updated", payload__changed__contains=[str(row.pk)]).exists()


def test_state_of_a_message_without_its_body_follows_changes(account: Account, refuse: Callable[..., None]) -> None:
    fill(account.box, 1)
    refuse("inbox-0")
    account.sync()
    box_id = account.box.find(ident("inbox-0")).remote_id
    account.box.flag(box_id, starred=True)
    account.sync()
    row = Message.objects.get()
    assert (row.is_starred, row.message_id) == (True, "")


# --- listed, and then denied --------------------------------------------------------------------------------------


@pytest.fixture
def deny(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """The server lists these and says it has no such message when they are asked for. () mends it."""
    fetch = Memory.fetch

    def install(*names: str) -> None:
        wanted = {ident(name) for name in names}

        def without(self: Memory, stream: Stream, remote_ids: Sequence[str]) -> Iterator[RemoteMessage]:
            for message in fetch(self, stream, remote_ids):
                if message_id_of(message.raw or b"") not in wanted:
                    yield message

        monkeypatch.setattr(Memory, "fetch", without)

    return install


def test_message_that_was_listed_and_denied_comes_when_the_server_has_it_again(
    account: Account, deny: Callable[..., None]
) -> None:
    fill(account.box, 3)
    deny("inbox-0", "inbox-1", "inbox-2")
    assert account.sync().status == WorkStatus.DONE
    assert not Message.objects.exists()
    their_time_comes()
    account.sync()
    deny()
    their_time_comes()
    SyncState.objects.update(next_check_at=Now() + timedelta(days=1))
    account.sync()
    assert picture(account) == truth(account.box)
    assert not Unfetched.objects.exists()


def test_message_that_is_denied_again_and_again_counts_as_gone(account: Account, deny: Callable[..., None]) -> None:
    account.sync()
    account.box.append(mail("new"), "inbox")
    deny("new")
    account.sync()
    for attempts in range(1, isolating.BELIEVED_AT):
        assert Unfetched.objects.get().attempts == attempts
        their_time_comes()
        account.sync()
    their_time_comes()
    account.sync()
    assert not Unfetched.objects.exists()
    account.box.calls.clear()
    account.sync()
    assert "fetch" not in account.box.calls
