"""The stream: what happens is told at once, to its user alone, without a gap; and it costs the product nothing."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import OperationalError
from django.db import connection as database
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from core.errors import ServiceBusy
from core.ids import oldest_kept, uuid7
from email_sync import event_stream
from email_sync.models import ChangeKind, Message
from email_sync.services import changes, followers, following
from email_sync.services.followers import FOLLOWERS, Followers
from email_sync.services.following import Following, Note
from email_sync.tests.conftest import Account
from email_sync.tests.contract import ident, mail
from email_sync.tests.factories import MessageFactory, connect
from integrations.models import SyncRun
from integrations.services import events, sync_runs
from integrations.services.events import Position
from workspaces.authentication import still_good
from workspaces.models import ApiToken
from workspaces.services import members, tokens
from workspaces.tests.fixtures import Actor, client_for

pytestmark = pytest.mark.django_db
live = pytest.mark.django_db(transaction=True)
"""Where something is committed and seen by the thread that watches."""

URL = "/api/v1/integrations/email/stream"
PATIENCE = 10.0


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A stream's seconds, shortened. No thread is left behind."""
    monkeypatch.setattr(following, "TICK_SECONDS", 0.02)
    monkeypatch.setattr(following, "HEARTBEAT_SECONDS", 0.2)
    monkeypatch.setattr(following, "COUNTS_SECONDS", 0.05)
    monkeypatch.setattr(followers, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(followers, "PROGRESS_SECONDS", 0.02)
    yield
    for thread in threading.enumerate():
        if thread.name == "followers":
            thread.join(PATIENCE)
            assert not thread.is_alive()


class Reader:
    """Reads a stream up to what it waits for."""

    def __init__(self, actor: Actor, last_seen: str = "", may_go_on: Callable[[], bool] = lambda: True) -> None:
        stream = Following(user=actor.user, workspace=actor.workspace, last_seen=last_seen, may_go_on=may_go_on)
        self.notes = stream.notes()
        self.position = ""
        self.seen: list[Note] = []

    def close(self) -> None:
        self.notes.close()  # type: ignore[attr-defined]  # a generator

    def until(self, type: str, wanted: Callable[[Note], bool] = lambda note: True) -> Note:
        """The next note of that kind; what came before it is in `seen`."""
        give_up = time.monotonic() + PATIENCE
        for note in self.notes:
            assert time.monotonic() < give_up, f"no {type}, only {[note.type for note in self.seen]}"
            self.position = str(note.position or self.position)
            if note.type:
                self.seen.append(note)
            if note.type == type and wanted(note):
                return note
        pytest.fail(f"the stream ended without {type}")

    def for_a_while(self, seconds: float = 0.5) -> list[str]:
        """What kinds come."""
        until, kinds = time.monotonic() + seconds, []
        for note in self.notes:
            kinds += [note.type] if note.type else []
            self.position = str(note.position or self.position)
            if time.monotonic() > until:
                break
        return kinds


@pytest.fixture
def synced(account: Account) -> Account:
    """Two old mails; what is appended from now on is received now."""
    account.box.append(mail("old0"), "inbox")
    account.box.append(mail("old1"), "inbox")
    account.sync()
    account.box.begun = datetime.now(UTC)
    return account


@live
def test_new_mail_comes_as_the_lists_show_it_with_the_counts(synced: Account, member: Actor) -> None:
    with closing(Reader(member)) as reader:
        reader.until("counts")
        synced.box.append(mail("new", subject="Hello"), "inbox")
        synced.sync()
        note = reader.until("email.received")
        [row] = note.emails
        assert (row["subject"], row["message_id"]) == ("Hello", ident("new"))
        listed = member.client.get("/api/v1/integrations/email/inbox", {"limit": 1}).json()["data"]
        assert listed == [event_stream.serializers.stream_data(note)]
        counts = reader.until("counts", lambda note: note.facts["inbox"]["total"] == 3)
        assert counts.facts["inbox"] == {"total": 3, "unread": 3}


@live
def test_changed_flags_and_removals_come_with_the_state_they_have_now(synced: Account, member: Actor) -> None:
    first, second = Message.objects.select_related("connection").order_by("received_at")
    with closing(Reader(member)) as reader:
        reader.until("counts")
        changes.change(message=first, kind=ChangeKind.READ, value=True)
        [state] = event_stream.serializers.stream_data(reader.until("email.updated"))["emails"]
        assert (state["id"], state["isRead"], state["pendingChanges"]) == (str(first.pk), True, ["read"])
        synced.box.remove(synced.box.find(ident("old1")).remote_id)
        synced.sync()
        assert reader.until("email.removed").facts == {"ids": [str(second.pk)]}


@live
def test_stream_shows_nothing_of_anybody_else(synced: Account, member: Actor, owner: Actor, outsider: Actor) -> None:
    with closing(Reader(owner)) as colleague, closing(Reader(outsider)) as stranger:
        for reader in (colleague, stranger):
            reader.until("counts")
        synced.box.append(mail("new"), "inbox")
        synced.sync()
        changes.change(message=Message.objects.select_related("connection")[0], kind=ChangeKind.READ, value=True)
        for reader in (colleague, stranger):
            assert reader.for_a_while() == []


@live
def test_event_that_names_somebody_elses_email_shows_nothing_of_it(member: Actor, outsider: Actor) -> None:
    """Should an event ever be written for the wrong user, the rows still decide."""
    foreign = MessageFactory(connection=connect(outsider))
    with closing(Reader(member)) as reader:
        reader.until("counts")
        whose = {"workspace_id": member.workspace.pk, "user_id": member.user.pk}
        events.record(type="email.received", payload={"emailId": str(foreign.pk)}, **whose)
        assert reader.until("email.removed").facts == {"ids": [str(foreign.pk)]}
        assert not any(note.emails for note in reader.seen)


@live
def test_broken_stream_goes_on_without_a_gap(synced: Account, member: Actor) -> None:
    with closing(Reader(member)) as reader:
        reader.until("counts")
        synced.box.append(mail("seen"), "inbox")
        synced.sync()
        reader.until("email.received")
        reader.for_a_while(0.3)
    for number in range(3):
        synced.box.append(mail(f"missed{number}"), "inbox")
    synced.sync()
    with closing(Reader(member, last_seen=reader.position)) as again:
        names = [again.until("email.received").emails[0]["message_id"] for _ in range(3)]
        assert names == [ident(f"missed{number}") for number in range(3)]
        assert "reset" not in [note.type for note in again.seen]


@live
def test_stream_that_breaks_in_the_middle_of_a_batch_tells_it_again(
    synced: Account, member: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(Reader(member)) as reader:
        reader.until("counts")
        start = reader.position
        for number in range(3):
            synced.box.append(mail(f"new{number}"), "inbox")
        synced.sync()
        reader.until("email.received")
    assert reader.position == start
    with closing(Reader(member, last_seen=reader.position)) as again:
        assert {again.until("email.received").emails[0]["message_id"] for _ in range(3)} == {
            ident(f"new{number}") for number in range(3)
        }


TOO_OLD, OF_ANOTHER_DATABASE = Position(5, oldest_kept(31)), Position(2**58, uuid7())


@pytest.mark.parametrize(
    "last_seen",
    ["7", "x" * 5000, str(TOO_OLD), str(OF_ANOTHER_DATABASE)],
    ids=["no position", "long", "too old", "of another database"],
)
def test_position_that_cannot_be_gone_on_from_is_a_reset(member: Actor, last_seen: str) -> None:
    with closing(Reader(member, last_seen=last_seen)) as reader:
        assert reader.until("reset").position is not None


def test_quiet_stream_moves_its_position_on(member: Actor) -> None:
    with closing(Reader(member)) as reader:
        first = reader.until("ready").position
        deadline = time.monotonic() + PATIENCE
        while str(first) == reader.position:
            reader.for_a_while(0.1)
            assert time.monotonic() < deadline
        assert (events.parse(reader.position) or first).id > first.id  # type: ignore[union-attr]


@live
def test_sync_progress_is_told_while_it_changes_and_at_its_end(synced: Account, member: Actor) -> None:
    with closing(Reader(member)) as reader:
        reader.until("counts")
        run = sync_runs.start(connection=synced.connection, type="email", trigger="user")
        assert reader.until("sync.progress").facts["status"] == "queued"
        SyncRun.objects.filter(pk=run.pk).update(status="running", done=50, total=200, started_at=Now())
        figures = reader.until("sync.progress", lambda note: note.facts["done"] == 50).facts
        assert (figures["connectionId"], figures["total"]) == (str(synced.connection.pk), 200)
        assert figures["status"] == "syncing"
        SyncRun.objects.filter(pk=run.pk).update(status="done", done=200, finished_at=Now())
        assert reader.until("sync.progress", lambda note: note.facts["status"] == "idle").facts["done"] == 200


# --- ends ---------------------------------------------------------------------------------------------------------


def _revoke(token: ApiToken) -> None:
    tokens.revoke(by=None, token=token)


def _expire(token: ApiToken) -> None:
    ApiToken.objects.filter(pk=token.pk).update(expires_at=Now())


def _leave(token: ApiToken) -> None:
    members.remove(by=None, membership=token.membership)


def _deactivate(token: ApiToken) -> None:
    type(token.user).objects.filter(pk=token.user.pk).update(is_active=False)


@pytest.mark.parametrize("end", [_revoke, _expire, _leave, _deactivate])
def test_stream_ends_soon_after_its_token(member: Actor, end: Callable[[ApiToken], None]) -> None:
    token = ApiToken.objects.select_related("membership__user").get(membership=member.membership)
    with closing(Reader(member, may_go_on=lambda: still_good(token))) as reader:
        reader.until("counts")
        end(token)
        give_up = time.monotonic() + PATIENCE
        for _ in reader.notes:
            assert time.monotonic() < give_up, "the stream goes on"


def test_stream_ends_after_its_life(member: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "LIFE_SECONDS", 0.1)
    with closing(Reader(member)) as reader:
        assert [note.type for note in reader.notes if note.type] == ["ready", "counts"]


def test_stream_ends_when_its_process_is_told_to_stop(member: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = Followers()
    monkeypatch.setattr(following, "FOLLOWERS", mine)
    with closing(Reader(member)) as reader:
        reader.until("counts")
        mine.end_with(lambda: False)
        began = time.monotonic()
        assert [note for note in reader.notes if note.type] == []
        assert time.monotonic() - began < 20  # and not half an hour


def test_stream_ends_where_the_database_is_away(member: Actor) -> None:
    with closing(Reader(member)) as reader:
        reader.until("counts")

        def refuse(*_: object) -> None:
            raise OperationalError("gone")

        with database.execute_wrapper(refuse):  # this thread's reads; the watching one has its own connection
            assert [note for note in reader.notes if note.type] == []


# --- limits and the wire ------------------------------------------------------------------------------------------


def test_too_many_streams_of_a_user_or_a_process_are_refused(
    member: Actor, owner: Actor, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followers, "PER_USER", 2)
    settings.EVENT_STREAMS = 3
    first, second, other = Reader(member), Reader(member), Reader(owner)
    with closing(first), closing(second), closing(other):
        first.until("ready")
        second.until("ready")
        with pytest.raises(ServiceBusy, match="2 streams"):
            Reader(member).until("ready")
        other.until("ready")
        answer = client_for(owner.token).get(URL)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "15")
        assert "EVENT_STREAMS" in answer.json()["error"]["message"]
    with closing(Reader(member)) as later:
        later.until("ready")


def test_idle_stream_asks_the_database_nothing_between_heartbeats(
    member: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "HEARTBEAT_SECONDS", 60)
    with closing(Reader(member)) as reader:
        reader.until("counts")
        reader.for_a_while(0.3)
        with CaptureQueriesContext(database) as captured:
            reader.for_a_while(0.5)
        assert len(captured) == 0


def test_stream_over_http_is_server_sent_events(
    synced: Account, member: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "LIFE_SECONDS", 0.5)
    answer = member.client.get(URL, headers={"Accept": "text/event-stream"})
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/event-stream")
    assert answer.headers["X-Accel-Buffering"] == "no"
    text = b"".join(answer).decode()
    opening, *blocks = text.removesuffix("\n\n").split("\n\n")
    assert opening == "retry: 2000"
    ready, counts, heartbeat, *_ = [dict(_field(line) for line in block.split("\n")) for block in blocks]
    assert (ready["event"], ready["data"]) == ("ready", "{}")
    assert events.parse(ready["id"]) is not None
    assert json.loads(counts["data"])["inbox"] == {"total": 2, "unread": 2}
    assert set(heartbeat) == {"", "id"}


def _field(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name, value.removeprefix(" ")


def test_head_of_the_stream_does_not_open_one(member: Actor) -> None:
    answer = member.client.head(URL)
    assert (answer.status_code, answer.content) == (200, b"")
    assert not FOLLOWERS._open


def test_reader_that_is_gone_or_does_not_read_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "SLOW_SECONDS", 0.2)
    endless = Note("counts", facts={"words": "x" * 10_000})

    def written(ours: socket.socket) -> int:
        def notes() -> Iterator[Note]:
            while True:
                yield endless

        count = 0
        for chunk in event_stream.response(notes(), ours):
            with suppress(BrokenPipeError, ConnectionResetError):
                ours.sendall(chunk)
            count += 1
            assert count < 10_000
        return count

    ours, theirs = socket.socketpair()
    with ours, theirs:
        began = time.monotonic()
        assert written(ours) > 1  # fills what the kernel takes, and then no more
        assert time.monotonic() - began < 20
    ours, theirs = socket.socketpair()
    with ours:
        theirs.close()
        assert written(ours) == 1
