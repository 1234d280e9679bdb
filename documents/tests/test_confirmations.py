"""Looking at an upload under a lease: in the request or by a task, by one at a time, taken up again after a kill, given
back with the reason where it cannot be done, and left alone by the reaper while it lasts."""

from __future__ import annotations

import os
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections
from django.db.models.functions import Now
from django.utils import timezone

from core.errors import LeaseLost, ProviderRejected
from documents import tasks
from documents.models import Confirmation, Document, DocumentUsage, Removal
from documents.services import checking, confirming, reading, reaping, removals
from documents.storage import store
from documents.storage.local import LocalStore
from documents.tests.factories import PDF, V1, begin, fetch, objects, send, work
from documents.tests.test_document_states import (
    CONFIRMED,
    FAULTS,
    SENT,
    a_day_goes_by,
    make_older,
    outcome,
    settle_down,
)
from integrations.models import Event
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The documents a worker was woken for."""
    heard: list[str] = []
    monkeypatch.setattr(tasks, "_wake_confirmation", lambda pk: heard.append(str(pk)))
    return heard


@pytest.fixture
def large(settings: Any, rung: list[str]) -> None:
    """A contract is a large file here."""
    settings.DOCUMENT_CHECK_AT_ONCE_BYTES = len(PDF) - 2


def sent(actor: Actor, content: bytes | None = PDF, **changes: Any) -> str:
    """The address of a document to which this was sent, past the upload's own address, which checks."""
    begun = begin(actor, **changes)
    row = Document.objects.get(pk=begun["document"]["id"])
    if content is not None:
        store().write(row.upload_key, [content], content_type="application/pdf")
    return f"{V1}/{row.pk}"


def shown(actor: Actor, address: str) -> dict[str, Any]:
    return actor.client.get(address).json()


# --- a large one ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("large")
def test_large_upload_is_checked_in_the_background_and_told_once(
    member: Actor, rung: list[str], django_capture_on_commit_callbacks: Any
) -> None:
    begun = begin(member)
    assert send(begun).status_code == 204
    address = f"{V1}/{begun['document']['id']}"
    with django_capture_on_commit_callbacks(execute=True):
        answers = [member.client.post(f"{address}/confirm") for _ in range(2)]
    assert rung == [begun["document"]["id"]] * 2
    for answer in answers:
        assert (answer.status_code, answer.json()["status"]) == (202, "checking")
        assert answer.json()["confirmation"] == {
            "stage": "waiting", "done": 0, "total": len(PDF), "attempts": 0, "nextAttemptAt": None, "lastError": None,
        }  # fmt: skip
    for pk in rung:
        tasks.run_confirmation(pk)
    ready = member.client.post(f"{address}/confirm")
    assert (ready.status_code, ready.json()["status"], ready.json()["confirmation"]) == (200, "ready", None)
    assert shown(member, address) == ready.json()
    assert fetch(member.client.get(f"{address}/download").json()["url"]).body == PDF
    assert Event.objects.filter(type="document.uploaded").count() == 1
    assert not Confirmation.objects.exists()
    settle_down(member)


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("what", SENT)
def test_large_upload_comes_to_the_same_end_as_a_small_one(
    member: Actor, broken: Callable[..., None], what: str, fault: str
) -> None:
    """Announced × sent × fault of the store in the middle."""
    address = sent(member, SENT[what])
    first = outcome(member.client.post(f"{address}/confirm"))
    if what == "nothing":
        assert first == CONFIRMED[what]
        assert shown(member, address)["status"] == "pending"
        settle_down(member)
        return
    assert first == (202, "")
    broken(*FAULTS[fault])
    work()
    if shown(member, address)["status"] == "checking":
        assert fault in ("down for confirm", "down while looking", "breaks off while read")
        found = shown(member, address)["confirmation"]
        assert (found["stage"], found["lastError"]["code"]) == ("waiting", "storage_unavailable")
        assert found["nextAttemptAt"] is not None
        assert outcome(member.client.post(f"{address}/confirm")) == (202, "")
    broken()
    work()
    for _ in range(2):
        assert outcome(member.client.post(f"{address}/confirm")) == CONFIRMED[what]
    assert Event.objects.filter(type="document.uploaded").count() == (1 if what == "right" else 0)
    settle_down(member)


@pytest.mark.usefixtures("large")
def test_store_that_is_down_when_it_is_confirmed_is_503_and_nothing_is_begun(
    member: Actor, broken: Callable[..., None]
) -> None:
    address = sent(member)
    broken("stat")
    assert outcome(member.client.post(f"{address}/confirm")) == (503, "storage_unavailable")
    assert (shown(member, address)["status"], Confirmation.objects.count()) == ("pending", 0)


@pytest.mark.usefixtures("large")
def test_store_that_stays_away_is_waited_for_without_end(member: Actor, broken: Callable[..., None]) -> None:
    address = sent(member)
    member.client.post(f"{address}/confirm")
    broken("promote")
    for _ in range(confirming.MAX_ATTEMPTS + 3):
        work()
    assert shown(member, address)["status"] == "checking"
    broken()
    work()
    assert shown(member, address)["status"] == "ready"
    settle_down(member)


@pytest.mark.usefixtures("large")
def test_size_that_was_not_announced_is_held_against_the_quota_at_once(member: Actor, settings: Any) -> None:
    address = sent(member, size=None, sha256=None)
    settings.DOCUMENT_QUOTA_BYTES = len(PDF) - 1
    assert outcome(member.client.post(f"{address}/confirm")) == (409, "quota_exceeded")
    settings.DOCUMENT_QUOTA_BYTES = len(PDF)
    assert outcome(member.client.post(f"{address}/confirm")) == (202, "")
    assert DocumentUsage.objects.get().size == len(PDF)
    work()
    assert shown(member, address)["size"] == len(PDF)
    settle_down(member)


@pytest.mark.usefixtures("large")
def test_progress_is_told_while_it_is_read(member: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "BEAT_SECONDS", 0.0)
    address, seen = sent(member), []

    def slowly(*_: object, **__: object) -> Iterator[bytes]:
        for part in (PDF[:9], PDF[9:]):
            yield part
            seen.append(shown(member, address))

    monkeypatch.setattr(LocalStore, "read", slowly)
    member.client.post(f"{address}/confirm")
    work()
    assert [(row["status"], row["confirmation"]["stage"], row["confirmation"]["done"]) for row in seen] == [
        ("checking", "reading", 9), ("checking", "reading", len(PDF)),
    ]  # fmt: skip
    assert shown(member, address)["status"] == "ready"


@pytest.mark.usefixtures("large")
def test_large_files_have_half_of_the_workers(member: Actor, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.WORKER_CONCURRENCY = 3
    addresses = [sent(member), sent(member)]
    for address in addresses:
        member.client.post(f"{address}/confirm")
    looking, beside = checking.inspect, []

    def another_comes(*given: Any) -> Any:
        if not beside:
            beside.append("it waits")
            work()
        return looking(*given)

    monkeypatch.setattr(checking, "inspect", another_comes)
    tasks.run_confirmation(addresses[0].rpartition("/")[2])
    assert [shown(member, address)["status"] for address in addresses] == ["ready", "checking"]
    work()
    assert shown(member, addresses[1])["status"] == "ready"


def test_checking_is_a_state_of_lists_and_counts(member: Actor, settings: Any) -> None:
    settings.DOCUMENT_CHECK_AT_ONCE_BYTES = 1
    address = sent(member)
    member.client.post(f"{address}/confirm")
    listed = member.client.get(V1, {"status": "checking"}).json()["data"]
    assert [(row["status"], row["confirmation"]["stage"]) for row in listed] == [("checking", "waiting")]
    counts = member.client.get(f"{V1}/entity/account/1").json()["counts"]
    assert counts == {"pending": 0, "checking": 1, "ready": 0, "archived": 0, "rejected": 0}
    for action, code in (("download", "not_ready"), ("preview", "not_ready"), ("parts", "not_pending")):
        assert outcome(member.client.get(f"{address}/{action}")) == (409, code)
    assert outcome(member.client.post(f"{address}/archive")) == (409, "not_ready")


# --- one at a time --------------------------------------------------------------------------------------------------


@pytest.fixture
def promoted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The uploads whose content somebody went to look at."""
    whole, seen = LocalStore.promote, []

    def promote(self: LocalStore, upload_key: str, key: str, **how: Any) -> None:
        seen.append(upload_key)
        whole(self, upload_key, key, **how)

    monkeypatch.setattr(LocalStore, "promote", promote)
    return seen


def at_once(*works: Callable[[], object]) -> None:
    """All of them, in threads of their own."""
    together = threading.Barrier(len(works))

    def run(do: Callable[[], object]) -> None:
        try:
            together.wait()
            do()
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(do,)) for do in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.django_db(transaction=True)
def test_confirms_at_the_same_time_look_once(member: Actor, promoted: list[str]) -> None:
    address, found = sent(member), []
    at_once(*[lambda: found.append(outcome(member.client.post(f"{address}/confirm")))] * 6)
    assert found == [(200, "")] * 6
    assert len(promoted) == 1
    assert Event.objects.filter(type="document.uploaded").count() == 1
    settle_down(member)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("large")
def test_workers_at_the_same_time_look_once(member: Actor, promoted: list[str], settings: Any) -> None:
    settings.WORKER_CONCURRENCY = 20
    address = sent(member)
    member.client.post(f"{address}/confirm")
    at_once(*[work] * 4, *[lambda: member.client.post(f"{address}/confirm")] * 2)
    assert shown(member, address)["status"] == "ready"
    assert len(promoted) == 1
    assert Event.objects.filter(type="document.uploaded").count() == 1
    settle_down(member)


def test_confirm_of_what_another_request_is_at_for_long_says_so(
    member: Actor, monkeypatch: pytest.MonkeyPatch, promoted: list[str]
) -> None:
    monkeypatch.setattr(confirming, "TWIN_SECONDS", 0.1)
    address, looking, twins = sent(member), checking.inspect, []

    def meanwhile(*given: Any) -> Any:
        twins.append(outcome(member.client.post(f"{address}/confirm")))
        return looking(*given)

    monkeypatch.setattr(checking, "inspect", meanwhile)
    assert outcome(member.client.post(f"{address}/confirm")) == (200, "")
    assert (twins, len(promoted)) == ([(202, "")], 1)
    settle_down(member)


def test_worker_that_lost_its_lease_settles_nothing_and_leaves_nothing(
    member: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, looking = sent(member), checking.inspect
    taken: list[str] = []

    def overtaken(*given: Any) -> Any:
        found = looking(*given)
        if not taken:
            taken.append("by a worker that thinks it is dead")
            Confirmation.objects.update(lease_until=Now() - timedelta(seconds=1))
            work()
        return found

    monkeypatch.setattr(checking, "inspect", overtaken)
    assert outcome(member.client.post(f"{address}/confirm")) == (200, ""), "it answers what the other one found"
    assert objects() == [Document.objects.get().key]
    assert Event.objects.filter(type="document.uploaded").count() == 1
    settle_down(member)


def test_lease_of_before_is_none_after_it_was_given_back_and_begun_anew(
    member: Actor, broken: Callable[..., None]
) -> None:
    address = sent(member)
    old = []
    broken("promote")
    for _ in range(2):
        member.client.post(f"{address}/confirm")
        old.append(Confirmation.objects.get())
    Confirmation.objects.update(status="running")
    with pytest.raises(LeaseLost):
        old[0].hold(lease_seconds=1)
    old[1].hold(lease_seconds=1)


@pytest.mark.usefixtures("large")
def test_delete_while_a_worker_is_at_it_ends_that_and_leaves_nothing(
    member: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "BEAT_SECONDS", 0.0)
    address, read = sent(member), []

    def deleted_meanwhile(*_: object, **__: object) -> Iterator[bytes]:
        for part in (PDF[:9], PDF[9:]):
            read.append(part)
            yield part
            member.client.delete(address)

    monkeypatch.setattr(LocalStore, "read", deleted_meanwhile)
    member.client.post(f"{address}/confirm")
    work()
    assert read == [PDF[:9], PDF[9:]][: len(read)]
    assert (member.client.get(address).status_code, objects(), Event.objects.count()) == (404, [], 0)
    settle_down(member)


@pytest.mark.usefixtures("large")
def test_delete_while_it_waits_leaves_nothing(member: Actor) -> None:
    address = sent(member)
    member.client.post(f"{address}/confirm")
    assert member.client.delete(address).status_code == 204
    tasks.run_confirmation(address.rpartition("/")[2])
    assert (objects(), Confirmation.objects.count()) == ([], 0)
    settle_down(member)


# --- killed ---------------------------------------------------------------------------------------------------------


def killed(do: Callable[[], object], when: Callable[[], bool]) -> None:
    """`do` in a process of its own, killed by `kill -9` as soon as `when`."""
    connections.close_all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # nothing of ours runs in the other threads
        pid = os.fork()
    if pid == 0:
        try:
            do()
        except BaseException:  # noqa: BLE001 - nothing of pytest may run in here
            traceback.print_exc()
        os._exit(3)
    try:
        ends = time.monotonic() + 20
        while not when():
            assert time.monotonic() < ends
            time.sleep(0.01)
    finally:
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status), "it had ended before"


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """Whoever reads an object stands still there; says whether somebody does."""
    here, reached = os.getpid(), store().root / ".." / "reached"  # type: ignore[attr-defined]
    whole = LocalStore.read

    def read(self: LocalStore, key: str, **how: Any) -> Iterator[bytes]:
        if os.getpid() != here:
            reached.touch()
            threading.Event().wait(60)
        yield from whole(self, key, **how)

    monkeypatch.setattr(LocalStore, "read", read)
    return reached.exists


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("large")
def test_worker_killed_in_the_middle_is_followed_by_another(member: Actor, stuck: Callable[[], bool]) -> None:
    address = sent(member)
    member.client.post(f"{address}/confirm")
    killed(work, stuck)
    assert (shown(member, address)["status"], len(objects())) == ("checking", 2)
    assert outcome(member.client.post(f"{address}/confirm")) == (202, "")
    work()  # the kernel says that its holder is gone; elsewhere its lease has to end
    assert shown(member, address)["status"] == "ready"
    assert Event.objects.filter(type="document.uploaded").count() == 1
    settle_down(member)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("how", ["confirmed again", "by the tick", "on another machine"])
def test_request_killed_in_the_middle_is_followed_by_the_next_or_the_tick(
    member: Actor, stuck: Callable[[], bool], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    address = sent(member)
    killed(lambda: member.client.post(f"{address}/confirm"), stuck)
    assert (shown(member, address)["status"], len(objects())) == ("checking", 2)
    if how == "on another machine":
        monkeypatch.setattr(confirming.holder, "is_dead", lambda _: False)
        work()
        assert shown(member, address)["status"] == "checking", "its lease lasts"
        Confirmation.objects.update(lease_until=Now() - timedelta(seconds=1))
    if how != "confirmed again":
        work()
    assert outcome(member.client.post(f"{address}/confirm")) == (200, "")
    assert Event.objects.filter(type="document.uploaded").count() == 1
    settle_down(member)


def test_request_that_is_told_to_end_gives_it_back_at_once(member: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    address = sent(member)
    row = reading.find(workspace=member.workspace, document_id=address.rpartition("/")[2])
    with monkeypatch.context() as patch:
        patch.setattr(checking, "inspect", lambda *_: (_ for _ in ()).throw(SystemExit))
        with pytest.raises(SystemExit):
            confirming.confirm(document=row, by=member.user)
    assert (shown(member, address)["status"], objects()) == ("pending", [row.upload_key])
    assert outcome(member.client.post(f"{address}/confirm")) == (200, "")
    settle_down(member)


def test_process_told_to_end_right_after_it_was_settled_keeps_the_object(
    member: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, settle = sent(member), checking._settle

    def and_ends(*given: Any) -> Any:
        settle(*given)
        raise SystemExit

    monkeypatch.setattr(checking, "_settle", and_ends)
    with pytest.raises(SystemExit):
        member.client.post(f"{address}/confirm")
    assert shown(member, address)["status"] == "ready"
    assert fetch(member.client.get(f"{address}/download").json()["url"]).body == PDF
    settle_down(member)


@pytest.mark.usefixtures("large")
def test_file_that_takes_every_worker_along_is_given_back(member: Actor) -> None:
    address = sent(member)
    member.client.post(f"{address}/confirm")
    for _ in range(confirming.MAX_ATTEMPTS):
        assert Confirmation.objects.claim(address.rpartition("/")[2], lease_seconds=-1) is not None
    work()
    assert shown(member, address)["confirmation"]["lastError"]["code"] == "crashed"
    assert shown(member, address)["status"] == "pending"
    assert outcome(member.client.post(f"{address}/confirm")) == (202, "")
    work()
    assert shown(member, address)["status"] == "ready"
    settle_down(member)


# --- given back, and left alone -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("large")
def test_upload_that_went_away_meanwhile_is_pending_and_says_why(member: Actor) -> None:
    address = sent(member)
    member.client.post(f"{address}/confirm")
    store().delete(Document.objects.get().upload_key)
    work()
    found = shown(member, address)
    assert (found["status"], found["confirmation"]["stage"]) == ("pending", None)
    assert found["confirmation"]["lastError"]["code"] == "upload_missing"
    assert outcome(member.client.post(f"{address}/confirm")) == (409, "upload_missing")


@pytest.mark.usefixtures("large")
def test_store_that_refuses_for_good_is_tried_some_times_and_then_said(
    member: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = sent(member)
    member.client.post(f"{address}/confirm")
    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "promote", _refusing)
        for _ in range(confirming.MAX_ATTEMPTS):
            assert shown(member, address)["status"] == "checking"
            work()
    found = shown(member, address)
    assert (found["status"], found["confirmation"]["lastError"]["message"]) == ("pending", "The key lacks a right.")
    make_older(Document.objects.get(), timezone.now() - timedelta(days=2))
    assert reaping.give_up_old() == 0, "whoever mends the store has time to confirm again"
    Confirmation.objects.update(finished_at=Now() - timedelta(days=1))
    assert reaping.give_up_old() == 1


def _refusing(*_: object, **__: object) -> None:
    raise ProviderRejected("The key lacks a right.")


@pytest.mark.usefixtures("large")
def test_reaper_touches_nothing_of_what_is_being_checked(member: Actor, broken: Callable[..., None]) -> None:
    address = sent(member)
    row = Document.objects.get()
    member.client.post(f"{address}/confirm")
    a_day_goes_by()
    os.utime(store().root / row.upload_key, (0, 0))  # type: ignore[attr-defined]
    assert (reaping.give_up_old(), reaping.remove_orphans()) == (0, 0)
    removals.work()
    assert objects() == [row.upload_key]
    work()
    assert shown(member, address)["status"] == "ready"
    settle_down(member)


def test_removal_is_put_off_while_work_goes_on(member: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    putting = removals.Putting("w/doc/x", after=timedelta(hours=2))
    Removal.objects.update(due_at=Now())
    putting.off()
    assert Removal.objects.filter(due_at__lte=Now()).exists(), "not with every byte"
    monkeypatch.setattr(removals, "PUT_OFF_SECONDS", 0.0)
    putting.off()
    assert not Removal.objects.filter(due_at__lte=Now() + timedelta(hours=1)).exists()


def test_removal_that_came_to_its_end_while_work_slept_is_not_made_anew(
    member: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a machine sleeps for hours in the middle: what is ready has its object."""
    monkeypatch.setattr(removals, "PUT_OFF_SECONDS", 0.0)
    monkeypatch.setattr(checking, "BEAT_SECONDS", 0.0)
    address, read = sent(member), LocalStore.read

    def sleeps(self: LocalStore, key: str, **how: Any) -> Iterator[bytes]:
        whole = b"".join(read(self, key, **how))
        Removal.objects.filter(key=key).update(due_at=Now())
        removals.work()
        yield whole

    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "read", sleeps)
        assert outcome(member.client.post(f"{address}/confirm")) == (503, "storage_unavailable")
    assert outcome(member.client.post(f"{address}/confirm")) == (200, "")
    assert fetch(member.client.get(f"{address}/download").json()["url"]).body == PDF
    settle_down(member)


def test_lease_is_longer_than_what_may_be_silent(settings: Any) -> None:
    small, most = checking.patience(), checking.patience(10**15)
    assert most - small == checking.MOST_COPIED / checking.SLOWEST
    settings.CLAMAV_URL, settings.CLAMAV_TIMEOUT_SECONDS = "tcp://127.0.0.1:3310", 1000
    assert checking.patience() == small + 1000
