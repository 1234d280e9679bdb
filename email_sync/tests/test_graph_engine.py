"""Graph under the engine and the sending service, from the simulator to the database and back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.db.models.functions import Now

from core.work import WorkStatus
from email_sync.models import ChangeKind, Folder, Message, Submission, SubmissionStage
from email_sync.providers.graph import Graph, delta, listing
from email_sync.providers.graph.delta import WHY_UNTOLD
from email_sync.records import RemoteState, Stream
from email_sync.services import sending, submissions
from email_sync.services.changes import change
from email_sync.services.engine import MAX_RESYNCS, EmailEngine
from email_sync.services.sending import Letter
from email_sync.tests.conftest import Account
from email_sync.tests.contract import Truth, ident, mail
from email_sync.tests.factories import connect
from email_sync.tests.graph_simulator import GraphHarness
from integrations.models import SyncCursor, SyncRun
from integrations.services import standing, sync_runs
from simulator.process import Simulator, running
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db

ADA, BOB = "ada@contract.test", "bob@contract.test"


@pytest.fixture(scope="module")
def process() -> Iterator[Simulator]:
    with running() as simulator:
        yield simulator


@pytest.fixture
def harness(process: Simulator, settings: Any) -> GraphHarness:
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    settings.MAIL_PROVIDER_SETTINGS = {"microsoft": {"graphApiUrl": process.base_url, "quotaUnits": 0}}
    process.reset()
    return GraphHarness(process, ADA, (BOB,))


@pytest.fixture
def account(harness: GraphHarness, member: Actor) -> Account:
    """The member's connected Microsoft account."""
    connection = connect(member, ADA, provider="microsoft")
    connection.credentials = {"access_token": harness.token}
    connection.save()
    return Account(connection)


def stored(account: Account) -> set[Truth]:
    rows = Message.objects.present().filter(connection=account.connection)
    return {Truth(row.message_id, frozenset(row.folders), row.is_read, row.is_starred) for row in rows}


def seed(harness: GraphHarness, count: int) -> None:
    harness.simulator.seed(ADA, count, vendor="microsoft")


def asked(harness: GraphHarness, ending: str) -> int:
    """How many requests went to a path with this end, in batches too."""
    return len([entry for entry in harness.simulator.ledger() if entry["target"].partition("?")[0].endswith(ending)])


def test_first_sync_of_graph_stores_every_message_once(account: Account, harness: GraphHarness) -> None:
    seed(harness, 120)
    for role in ("archive", "drafts", "trash", "spam", "Clients"):
        harness.deliver(mail(role), role)
    run = account.sync()
    assert run.status == WorkStatus.DONE
    assert stored(account) == harness.truth()
    assert Message.objects.count() == len(harness.messages())
    assert (run.done, run.total, run.added) == (125, 125, 125)
    assert set(Folder.objects.values_list("role", flat=True)) >= {"inbox", "sent", "drafts", "trash", "spam", "archive"}
    assert Message.objects.get(message_id=ident("Clients")).thread.remote_id


def test_first_sync_fetches_by_the_listing_and_nothing_twice(
    account: Account, harness: GraphHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first round of the delta names every message too, in several pages: walked, and left to the listing."""
    monkeypatch.setattr(delta, "PREFER", "odata.maxpagesize=20")
    seed(harness, 70)
    account.sync()
    assert stored(account) == harness.truth()
    assert asked(harness, "/$value") == 70


def test_first_slice_of_graph_shows_the_newest_before_the_round_is_walked(
    account: Account, harness: GraphHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delta, "PREFER", "odata.maxpagesize=20")
    seed(harness, 320)
    assert account.slice(seconds=0)
    assert Message.objects.filter(in_inbox=True).count() == Message.objects.count() == 50
    assert asked(harness, "/delta") == Folder.objects.count()
    account.sync()
    assert stored(account) == harness.truth()
    assert asked(harness, "/$value") == 320


def test_second_sync_of_a_quiet_graph_asks_each_folder_once_and_writes_nothing(
    account: Account, harness: GraphHarness
) -> None:
    seed(harness, 30)
    account.sync()
    before = set(Message.objects.values_list("pk", "updated_at"))
    harness.simulator.clear_ledger()
    account.sync()
    assert set(Message.objects.values_list("pk", "updated_at")) == before
    assert asked(harness, "/delta") == Folder.objects.count()
    assert asked(harness, "/$value") == 0


def test_changes_in_graph_arrive_and_changes_here_reach_graph(account: Account, harness: GraphHarness) -> None:
    for name in "abcde":
        harness.deliver(mail(name))
    account.sync()
    harness.set_flags(ident("a"), starred=True, read=True)
    harness.move(ident("b"), "trash")
    harness.remove(ident("c"))
    harness.deliver(mail("f"), "spam")
    for kind in (ChangeKind.READ, ChangeKind.ARCHIVED):
        change(message=Message.objects.get(message_id=ident("d")), kind=kind, value=True)
    account.sync()
    assert stored(account) == harness.truth()
    assert Truth(ident("d"), frozenset({"archive"}), True, False) in harness.truth()
    account.sync()
    assert stored(account) == harness.truth()


def test_message_that_is_moved_from_folder_to_folder_keeps_its_row_and_its_stream_follows(
    account: Account, harness: GraphHarness
) -> None:
    harness.deliver(mail("mover"))
    account.sync()
    row = Message.objects.get(message_id=ident("mover"))
    for folder in ("Clients", "sent", "inbox"):
        harness.move(ident("mover"), folder)
        account.sync()
        moved = Message.objects.get()
        assert moved.pk == row.pk
        assert moved.folder_ids == [harness.find(ident("mover"))["folder_id"]] == [moved.stream]
        assert stored(account) == harness.truth()


def test_lost_cursor_of_the_folder_a_message_left_does_not_take_the_message(
    account: Account, harness: GraphHarness
) -> None:
    """The folder it left tells last where it went; a comparison of that folder must not miss it there."""
    harness.deliver(mail("mover"), "Zoo")
    harness.deliver(mail("stays"), "Zoo")
    account.sync()
    harness.move(ident("mover"), "inbox")
    account.sync()
    harness.simulator.expire_delta(ADA, folder="Zoo")
    account.sync()
    assert stored(account) == harness.truth()


def test_message_that_left_and_came_back_between_two_syncs_keeps_its_row(
    account: Account, harness: GraphHarness
) -> None:
    harness.deliver(mail("traveller"))
    account.sync()
    row = Message.objects.get()
    harness.move(ident("traveller"), "archive")
    harness.move(ident("traveller"), "inbox")
    for _ in range(2):
        account.sync()
        assert stored(account) == harness.truth()
    assert Message.objects.get().pk == row.pk


@pytest.mark.parametrize("folder", ["", "inbox"])
def test_graph_that_forgot_its_cursors_is_compared_and_nothing_is_fetched_twice(
    account: Account, harness: GraphHarness, folder: str
) -> None:
    seed(harness, 60)
    account.sync()
    harness.deliver(mail("new"))
    harness.simulator.delete_message(ADA, harness.messages()[5]["id"], vendor="microsoft")
    harness.simulator.expire_delta(ADA, folder=folder)
    harness.simulator.clear_ledger()
    run = account.sync()
    assert run.status == WorkStatus.DONE
    assert stored(account) == harness.truth()
    assert asked(harness, "/$value") == 1
    assert not SyncCursor.objects.filter(reconcile=True).exists()


def test_comparison_while_mail_goes_misses_neither_what_went_nor_what_stayed(
    account: Account, harness: GraphHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first round is walked to its end before the listing: what goes while it lists is told by the next round."""
    monkeypatch.setattr(delta, "PREFER", "odata.maxpagesize=5")
    monkeypatch.setattr(listing, "PAGE", 13)
    monkeypatch.setattr(listing, "OVERLAP", 3)
    for number in range(40):
        harness.deliver(mail(f"m{number}"))
    account.sync()
    harness.lose_cursor()
    told = Graph.states

    def states(self: Graph, stream: Any) -> Any:
        for place, chunk in enumerate(told(self, stream)):
            yield chunk
            if stream.folder.role == "inbox" and place == 1:
                harness.remove(ident("m39"))
                harness.move(ident("m38"), "archive")

    monkeypatch.setattr(Graph, "states", states)
    account.sync()
    monkeypatch.setattr(Graph, "states", told)
    account.sync()
    assert stored(account) == harness.truth()


def test_full_mailbox_is_still_synced(account: Account, harness: GraphHarness) -> None:
    harness.deliver(mail("a"))
    account.sync()
    harness.simulator.settings(graph_full_mailboxes=[ADA])
    harness.deliver(mail("b"))
    harness.set_flags(ident("a"), read=True)
    assert account.sync().status == WorkStatus.DONE
    assert stored(account) == harness.truth()
    harness.simulator.settings(graph_full_mailboxes=[])
    harness.remove(ident("a"))
    account.sync()
    assert stored(account) == harness.truth()


def test_mailbox_that_stays_full_is_compared_at_each_sync_and_says_so(account: Account, harness: GraphHarness) -> None:
    """Comparing by design is no lost cursor: nothing is parked however often it happens within a day."""
    harness.deliver(mail("a"))
    account.sync()
    harness.simulator.settings(graph_full_mailboxes=[ADA])
    for number in range(MAX_RESYNCS + 2):
        harness.deliver(mail(f"b{number}"))
        harness.set_flags(ident("a"), read=number % 2 == 0)
        account.sync("schedule")
        assert stored(account) == harness.truth()
    troubles = standing.of(account.connection)["email"].troubles
    assert {(t.problem, t.since is None) for t in troubles} == {(WHY_UNTOLD, False)}
    harness.simulator.settings(graph_full_mailboxes=[])
    account.sync("schedule")
    assert standing.of(account.connection)["email"].troubles == ()
    harness.deliver(mail("after"))
    account.sync("schedule")
    assert stored(account) == harness.truth()


def test_full_mailbox_is_compared_once_in_a_run_of_many_slices(
    account: Account, harness: GraphHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.deliver(mail("a"))
    harness.simulator.settings(graph_full_mailboxes=[ADA])
    account.sync()
    compared: list[str] = []
    states = Graph.states

    def counted(self: Graph, stream: Stream) -> Iterator[list[RemoteState]]:
        compared.append(stream.key)
        return states(self, stream)

    monkeypatch.setattr(Graph, "states", counted)
    run = sync_runs.start(connection=account.connection, type="email", trigger="schedule")
    for _ in range(3):
        claimed = SyncRun.objects.claim(run.pk, lease_seconds=60)
        assert claimed is not None
        EmailEngine().run(claimed, deadline=time.monotonic() + 60)
        claimed.retry(after_seconds=0)
    assert len(compared) == len(set(compared)) == SyncCursor.objects.count()


def test_new_account_whose_mailbox_is_full_is_synced(account: Account, harness: GraphHarness) -> None:
    harness.simulator.settings(graph_full_mailboxes=[ADA])
    for name in "abc":
        harness.deliver(mail(name))
    assert account.sync().status == WorkStatus.DONE
    assert stored(account) == harness.truth()
    harness.deliver(mail("d"))
    account.sync("schedule")
    assert stored(account) == harness.truth()


def test_folder_that_goes_takes_its_mail_along_and_one_that_comes_brings_it(
    account: Account, harness: GraphHarness
) -> None:
    for name in ("kept", "lost"):
        harness.deliver(mail(name), "Doomed")
    account.sync()
    row = Message.objects.get(message_id=ident("kept"))
    harness.move(ident("kept"), "Fresh")
    harness.simulator.delete_folder(ADA, "Doomed")
    account.sync()
    assert stored(account) == harness.truth() == {Truth(ident("kept"), frozenset(), False, False)}
    assert Message.objects.get(message_id=ident("kept")).pk == row.pk


def test_folder_thrown_away_puts_its_mail_into_the_trash_and_back(account: Account, harness: GraphHarness) -> None:
    """The folder moves below Deleted Items; its messages stay where they are, and no delta tells anything."""
    harness.deliver(mail("inside"), "Project")
    account.sync()
    for parent, folders in (("deleteditems", ["trash"]), ("msgfolderroot", [])):
        harness.simulator.change_folder(ADA, "Project", parent=parent)
        account.sync()
        assert Message.objects.get().folders == folders
    assert asked(harness, "/$value") == 1


@pytest.mark.parametrize("kind", ["close", "garbage", "truncate", "status"])
def test_first_sync_with_faults_on_the_way_ends_complete(account: Account, harness: GraphHarness, kind: str) -> None:
    seed(harness, 60)
    rule: dict[str, Any] = {"status": 503} if kind == "status" else {}
    for path in ("/delta", r"/messages\?", r"\$batch", r"/\$value"):
        harness.simulator.fault(kind, path=path, skip=2, count=1, **rule)
    for _ in range(8):
        if account.sync().status == WorkStatus.DONE:
            break
    assert account.sync().status == WorkStatus.DONE
    fired = {fault["path"]: fault["fired"] for fault in harness.simulator.faults()}
    assert list(fired.values())[:3] == [1, 1, 1]  # a part of a batch cannot lose its line by itself
    assert stored(account) == harness.truth()
    assert Message.objects.count() == 60


def test_first_sync_throttled_inside_its_batches_waits_as_asked_and_stores_everything(
    account: Account, harness: GraphHarness
) -> None:
    seed(harness, 80)
    fault = {"status": 429, "headers": {"Retry-After": "9"}, "skip": 30, "count": 3}
    harness.simulator.fault("status", path=r"/\$value", **fault)
    run = account.sync()
    assert (run.status, run.error_code) == (WorkStatus.QUEUED, "provider_rate_limited")
    waited = SyncRun.objects.filter(pk=run.pk, next_attempt_at__gt=Now()).exists()
    assert waited
    kept = Message.objects.count()
    assert kept >= 20
    while (run := account.sync()).status != WorkStatus.DONE:
        assert run.error_code == "provider_rate_limited"
    assert stored(account) == harness.truth()


def test_mail_that_graph_took_without_an_answer_is_found_and_never_sent_again(
    account: Account, harness: GraphHarness, member: Actor
) -> None:
    harness.simulator.settings(graph_sent_copy_seconds=30.0)
    harness.lose_next_send_answer()
    letter = Letter(to=[BOB], subject="Lunch", body="At one?", connection_id=account.connection.pk)
    submission = sending.send(user=member.user, workspace=member.workspace, letter=letter, by=member.user)
    assert submission.stage == SubmissionStage.UNCONFIRMED
    settle(submission)
    assert submission.stage == SubmissionStage.UNCONFIRMED
    harness.simulator.advance(31)
    settle(submission)
    assert submission.stage == SubmissionStage.SENT
    assert submission.remote_id
    assert len(harness.simulator.sent()) == 1
    account.sync()
    assert Message.objects.get(remote_id=submission.remote_id).thread_id == submission.thread_id


def settle(submission: Submission) -> None:
    Submission.objects.update(next_attempt_at="2026-01-01T00:00:00Z")
    for submission_id in submissions.take_due():
        submissions.settle(submission_id)
    submission.refresh_from_db()


def test_mail_sent_is_in_the_thread_its_copy_is_in(account: Account, harness: GraphHarness, member: Actor) -> None:
    letter = Letter(to=[BOB], subject="Lunch", body="At one?", connection_id=account.connection.pk)
    submission = sending.send(user=member.user, workspace=member.workspace, letter=letter, by=member.user)
    assert submission.stage == SubmissionStage.SENT
    account.sync()
    copy = Message.objects.get(in_sent=True)
    assert (copy.message_id, copy.thread_id) == (submission.message_id, submission.thread_id)


def test_draft_at_graph_is_one_here_and_there_through_changes_and_its_sending(
    account: Account, harness: GraphHarness, member: Actor
) -> None:
    account.sync()
    base = "/api/v1/integrations/email/drafts"
    content = {"to": [BOB], "subject": "Lunch", "body": "At one?"}
    draft = member.client.post(base, {**content, "connectionId": str(account.connection.pk)}).json()
    assert draft["state"] == "saved"
    for subject in ("Dinner", "Supper"):
        account.sync()
        assert member.client.patch(f"{base}/{draft['id']}", {"subject": subject}).json()["state"] == "saved"
    account.sync()
    [row] = member.client.get(base).json()["data"]
    assert (row["id"], row["subject"]) == (draft["id"], "Supper")
    assert stored(account) == harness.truth()
    sent = member.client.post(f"{base}/{draft['id']}/send", {}).json()
    account.sync()
    assert (sent["status"], member.client.get(base).json()["data"]) == ("sent", [])
    assert [mail["subject"] for mail in harness.simulator.sent()] == ["Supper"]
    assert stored(account) == harness.truth()
