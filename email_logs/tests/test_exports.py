"""Exports in the background: the same file as the streamed one, each row once through kills, for who may see it."""

from __future__ import annotations

import csv
import io
import tracemalloc
import zipfile
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from xml.etree import ElementTree

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from core.work import WorkStatus
from email_logs import files, tasks
from email_logs.models import EmailLogExport, EmailLogTable, ExportChunk
from email_logs.services import erasing, exports
from email_logs.services.reading import Filters
from email_logs.states import State
from email_logs.tests.logs import API, entries, entry, many, table_of
from integrations.models import Connection, Visibility
from integrations.tests.factories import ConnectionFactory
from workspaces.models import AuditEvent, Workspace
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db


@pytest.fixture
def table(workspace: Workspace) -> EmailLogTable:
    return table_of(workspace)


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows to a piece, here and in the streamed file."""
    monkeypatch.setattr("email_logs.services.exports.CHUNK", 2)
    monkeypatch.setattr("email_logs.services.exporting.CHUNK", 2)


def begin(actor: Actor, table: EmailLogTable, **body: Any) -> EmailLogExport:
    """Not worked at: the broker of tests has no worker."""
    answer = actor.client.post(f"{API}/{table.pk}/exports", body)
    assert answer.status_code == 201, answer.content
    return EmailLogExport.objects.get(pk=answer.json()["id"])


def worked(export: EmailLogExport, seconds: float = 60.0) -> EmailLogExport:
    """Slice after slice, to its end."""
    for _ in range(100):
        if not exports.work(export.pk, seconds=seconds):
            break
    export.refresh_from_db()
    return export


def one_piece(export: EmailLogExport) -> None:
    """One slice, which ends after its first piece."""
    assert exports.work(export.pk, seconds=0.0)


def content(actor: Actor, export: EmailLogExport) -> bytes:
    answer = actor.client.get(f"{API}/{export.table_id}/exports/{export.pk}/content")
    assert answer.status_code == 200, answer
    data = b"".join(answer)
    assert len(data) == int(answer.headers["Content-Length"]) == export.size
    return data


def streamed(actor: Actor, table: EmailLogTable, **query: Any) -> bytes:
    answer = actor.client.get(f"{API}/{table.pk}/export", query)
    assert answer.status_code == 200, answer
    return b"".join(answer)


def subjects(data: bytes) -> list[str]:
    return [row[3] for row in csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""))][1:]


SPACE = {"x": "http://schemas.openxmlformats.org/spreadsheetml/2006/main"}


def sheet(data: bytes) -> bytes:
    """The sheet of a workbook that is whole."""
    with zipfile.ZipFile(io.BytesIO(data)) as book:
        assert book.testzip() is None
        return book.read(files.SHEET)


# --- the file ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["-sentAt", "sentAt"])
@pytest.mark.parametrize("count", [0, 1, 4, 5])
@pytest.mark.usefixtures("small_pieces")
def test_csv_is_byte_for_byte_the_streamed_one(admin: Actor, table: EmailLogTable, count: int, order: str) -> None:
    entries(table, count, subject='=1+1 "quoted",\nbroken', to="ä@example.com", attachments=2)
    export = worked(begin(admin, table, sort=order))
    assert (export.status, export.done, export.total) == (WorkStatus.DONE, count, count)
    assert content(admin, export) == streamed(admin, table, sort=order)
    assert "'=1+1" in content(admin, export).decode() or not count


@pytest.mark.usefixtures("small_pieces")
def test_sheet_made_in_pieces_is_the_streamed_one(admin: Actor, table: EmailLogTable) -> None:
    entries(table, 5, subject="=1+1", attachments=2)
    export = begin(admin, table, format="xlsx")
    assert export.total == 5
    while exports.work(export.pk, seconds=0.0):
        pass
    export.refresh_from_db()
    made = sheet(content(admin, export))
    assert made == sheet(streamed(admin, table, format="xlsx"))
    tree = ElementTree.fromstring(made)
    assert [row.attrib["r"] for row in tree.iterfind(".//x:row", SPACE)] == ["1", "2", "3", "4", "5", "6"]
    assert tree.findall(".//x:f", SPACE) == []
    assert tree.find(".//x:c[@r='D2']", SPACE).attrib["s"] == "3"  # type: ignore[union-attr]  # marked as text


@pytest.mark.parametrize(
    "narrowed",
    [
        {"status": "failed"}, {"source": "Form Send"}, {"q": "rare"}, {"q": "rare", "sort": "sentAt"},
        {"from": "2026-03-01T00:01:00Z", "to": "2026-03-01T00:03:00Z"}, {"provider": "other"}, {"q": "nowhere"},
    ],
)  # fmt: skip
@pytest.mark.usefixtures("small_pieces")
def test_export_is_narrowed_as_the_list_is(
    admin: Actor, table: EmailLogTable, narrowed: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However few entries are looked at one by one."""
    monkeypatch.setattr("email_logs.services.searching.RECENT", 2)
    entries(table, 4)
    for number in range(4, 9):
        entry(table, number, state=State.FAILED, source="Form Send", subject=f"Rare word {number}")
    entries(table, 3, subject="Others")
    export = worked(begin(admin, table, **narrowed), seconds=0.0)
    assert content(admin, export) == streamed(admin, table, **narrowed)
    assert export.total == export.done


def test_walk_reads_close_hits_one_by_one_and_leaps_over_the_rest(
    admin: Actor, table: EmailLogTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A day of very many hits is not read anew for each piece: the word index is not asked there."""
    monkeypatch.setattr("email_logs.services.exports.CHUNK", 20)
    monkeypatch.setattr("email_logs.services.searching.RECENT", 20)
    for number in range(60):
        entry(table, number, source="Form Send" if number % 2 else "Workflow Email")
    export = begin(admin, table, source="Form Send")
    with CaptureQueriesContext(database) as queries:
        worked(export)
    assert len([query for query in queries if "email_logs_periods" in query["sql"]]) <= 2  # counting, and the end
    assert EmailLogExport.objects.get().done == 30


@pytest.mark.usefixtures("small_pieces")
def test_what_is_logged_after_the_beginning_is_not_in_it(admin: Actor, table: EmailLogTable) -> None:
    entries(table, 5)
    for order in ("-sentAt", "sentAt"):
        export = begin(admin, table, sort=order)
        one_piece(export)
        late = entry(table, 90, subject="Late")
        assert sorted(subjects(content(admin, worked(export)))) == [f"Letter {number}" for number in range(5)]
        late.delete()


# --- through kills ----------------------------------------------------------------------------------------------------


class KilledError(BaseException):
    """The worker is gone in the middle of something."""


def killed(*_: object, **__: object) -> None:
    raise KilledError


@pytest.mark.parametrize("format", ["csv", "xlsx"])
@pytest.mark.parametrize(
    "where", ["email_logs.services.searching.stretch", "core.work_files.FileWork.append", "core.work.WorkRow.finish"]
)
@pytest.mark.usefixtures("small_pieces")
def test_killed_worker_is_followed_by_one_that_goes_on_where_it_was(
    admin: Actor, table: EmailLogTable, monkeypatch: pytest.MonkeyPatch, where: str, format: str
) -> None:
    entries(table, 5)
    export = begin(admin, table, format=format)
    one_piece(export)
    with monkeypatch.context() as patched:
        patched.setattr(where, killed)
        with pytest.raises(KilledError):
            worked(export)
    assert not exports.work(export.pk), "its lease holds"
    before = ExportChunk.objects.filter(export=export).count()
    assert before >= 1
    EmailLogExport.objects.filter(status=WorkStatus.RUNNING).update(lease_until=timezone.now())
    assert export.pk in exports.due()
    done = worked(export)
    assert (done.status, done.done) == (WorkStatus.DONE, 5)
    given, wanted = content(admin, done), streamed(admin, table, format=format)
    assert given == wanted if format == "csv" else sheet(given) == sheet(wanted)


@pytest.mark.usefixtures("small_pieces")
def test_worker_that_lost_its_lease_writes_nothing(
    admin: Actor, table: EmailLogTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one took over while it read."""
    entries(table, 5)
    export = begin(admin, table)
    rows: Callable[..., Any] = exports._rows

    def slow(*given: Any) -> Any:
        EmailLogExport.objects.update(fence=99)
        return rows(*given)

    monkeypatch.setattr(exports, "_rows", slow)
    assert not exports.work(export.pk)
    assert not ExportChunk.objects.exists()


def test_what_breaks_is_tried_again_and_then_said(
    admin: Actor, table: EmailLogTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries(table, 1)
    export = begin(admin, table)
    with monkeypatch.context() as patched:
        patched.setattr("email_logs.services.exports._rows", lambda *_: 1 / 0)
        for attempt in range(1, exports.MAX_ATTEMPTS + 1):
            assert not exports.work(export.pk)
            export.refresh_from_db()
            last = attempt == exports.MAX_ATTEMPTS
            assert export.status == (WorkStatus.FAILED if last else WorkStatus.QUEUED)
            EmailLogExport.objects.update(next_attempt_at=timezone.now())
    assert (export.error_code, export.expires_at is not None) == ("internal_error", True)
    answer = admin.client.get(f"{API}/{table.pk}/exports/{export.pk}/content")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "not_ready")


def test_task_works_and_the_tick_rings(
    admin: Actor, table: EmailLogTable, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    entries(table, 2)
    rung: list[str] = []
    monkeypatch.setattr("email_logs.tasks.run_export.delay", rung.append)
    with django_capture_on_commit_callbacks(execute=True):
        export = begin(admin, table)
    tasks.tick_mirrors()
    assert rung == [str(export.pk)] * 2
    tasks.run_export(rung[0])
    export.refresh_from_db()
    assert export.status == WorkStatus.DONE


# --- beginning, looking, ending ---------------------------------------------------------------------------------------


def test_one_under_way_is_answered_and_not_doubled(admin: Actor, owner: Actor, table: EmailLogTable) -> None:
    export = begin(admin, table)
    again = admin.client.post(f"{API}/{table.pk}/exports", {"format": "xlsx"})
    assert (again.status_code, again.json()["id"]) == (200, str(export.pk))
    begin(owner, table)
    worked(export)
    begin(admin, table)
    assert EmailLogExport.objects.count() == 3


def test_export_says_how_far_it_is_and_what_it_is_of(admin: Actor, table: EmailLogTable) -> None:
    entries(table, 3)
    export = begin(admin, table, q="letter", **{"from": "2026-03-01", "sort": "sentAt"})
    address = f"{API}/{table.pk}/exports/{export.pk}"
    shown = admin.client.get(address).json()
    assert shown["progress"] == {"done": 0, "total": None}
    assert shown["filters"] == {
        "status": None, "state": None, "source": None, "provider": None, "q": "letter",
        "from": "2026-03-01T00:00:00.000Z", "to": None,
    }  # fmt: skip
    assert (shown["sort"], shown["createdBy"], shown["url"]) == ("sentAt", admin.user.email, None)
    worked(export)
    shown = admin.client.get(address).json()
    assert (shown["progress"], shown["url"]) == ({"done": 3, "total": 3}, f"{address}/content")
    listed = admin.client.get(f"{API}/{table.pk}/exports").json()
    assert (listed["data"], listed["pagination"]["total"]) == ([shown], 1)


def test_list_costs_the_same_however_many_there_are(admin: Actor, table: EmailLogTable) -> None:
    counts = []
    for _ in range(3):
        worked(begin(admin, table))
        with CaptureQueriesContext(database) as queries:
            admin.client.get(f"{API}/{table.pk}/exports")
        counts.append(len(queries))
    assert counts[0] == counts[-1]


@pytest.mark.parametrize(
    ("body", "field"), [({"format": "pdf"}, "format"), ({"q": "-x"}, "q"), ({"other": 1}, "other")]
)
def test_bad_export_is_400_and_nothing_begins(
    admin: Actor, table: EmailLogTable, body: dict[str, Any], field: str
) -> None:
    answer = admin.client.post(f"{API}/{table.pk}/exports", body)
    assert (answer.status_code, list(answer.json()["error"]["fields"])) == (400, [field])
    assert not EmailLogExport.objects.exists()
    assert not AuditEvent.objects.filter(action__startswith="email_log.").exists()


def test_more_rows_than_a_sheet_holds_are_refused_at_the_beginning(
    admin: Actor, table: EmailLogTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries(table, 3)
    monkeypatch.setitem(files.FORMATS, "xlsx", files.Format("application/x", files.SheetFile, 2))
    answer = admin.client.post(f"{API}/{table.pk}/exports", {"format": "xlsx"})
    assert answer.status_code == 400
    assert "csv" in answer.json()["error"]["fields"]["format"][0]
    export = begin(admin, table, format="xlsx", to="2026-03-01T00:02:00Z")
    entry(table, 0)
    assert (worked(export).status, export.error_code) == (WorkStatus.FAILED, "validation_error")


def test_sheet_that_grows_too_large_says_so(
    admin: Actor, table: EmailLogTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries(table, 3)
    monkeypatch.setattr(files, "MOST_BYTES", 2_000)
    export = worked(begin(admin, table, format="xlsx"))
    assert (export.status, export.error_code, export.error_message) == (
        WorkStatus.FAILED, "too_large", files.TOO_LARGE,
    )  # fmt: skip


def test_only_so_many_are_kept(admin: Actor, table: EmailLogTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "MOST_KEPT", 2)
    for _ in range(2):
        worked(begin(admin, table))
    answer = admin.client.post(f"{API}/{table.pk}/exports")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "too_many")


def test_delete_ends_the_work_and_removes_the_file(admin: Actor, table: EmailLogTable) -> None:
    entries(table, 1)
    kept = worked(begin(admin, table))
    export = begin(admin, table)
    assert admin.client.delete(f"{API}/{table.pk}/exports/{export.pk}").status_code == 204
    assert not exports.work(export.pk)
    assert list(EmailLogExport.objects.all()) == [kept]
    assert admin.client.delete(f"{API}/{table.pk}/exports/{kept.pk}").status_code == 204
    assert not ExportChunk.objects.exists()
    assert admin.client.get(f"{API}/{table.pk}/exports/{kept.pk}").status_code == 404


def test_delete_while_a_worker_reads_leaves_nothing(
    admin: Actor, table: EmailLogTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries(table, 1)
    export = begin(admin, table)
    monkeypatch.setattr(exports, "_rows", lambda *_: exports.remove(export=export, by=admin.user) or [])
    assert not exports.work(export.pk)
    assert not EmailLogExport.objects.exists()
    assert not ExportChunk.objects.exists()


def test_export_goes_a_day_after_it_is_done(admin: Actor, table: EmailLogTable) -> None:
    entries(table, 1)
    old, fresh = worked(begin(admin, table)), worked(begin(admin, table))
    assert abs(old.expires_at - timezone.now() - timedelta(hours=24)) < timedelta(minutes=5)
    EmailLogExport.objects.filter(pk=old.pk).update(expires_at=timezone.now())
    tasks.follow()
    assert list(EmailLogExport.objects.all()) == [fresh]
    assert set(ExportChunk.objects.values_list("export", flat=True)) == {fresh.pk}


def test_trail_tells_of_beginning_fetching_and_deleting(admin: Actor, table: EmailLogTable) -> None:
    export = worked(begin(admin, table, status="failed", q="somebody@their.example"))
    content(admin, export)
    admin.client.delete(f"{API}/{table.pk}/exports/{export.pk}")
    told = AuditEvent.objects.filter(action__startswith="email_log.").order_by("pk")
    assert [(event.action, event.actor, event.object_id) for event in told] == [
        (f"email_log.{word}", admin.user, str(table.pk)) for word in ("export_started", "exported", "export_deleted")
    ]
    asked = {"format": "csv", "status": "failed", "searched": True}  # never what for
    assert [event.changes for event in told[:2]] == [asked, {**asked, "export": str(export.pk)}]


# --- who --------------------------------------------------------------------------------------------------------------


def test_exports_are_for_admins(member: Actor, admin: Actor, table: EmailLogTable) -> None:
    export = begin(admin, table)
    address = f"{API}/{table.pk}/exports"
    for method, url in (
        ("get", address), ("post", address), ("get", f"{address}/{export.pk}"), ("delete", f"{address}/{export.pk}"),
        ("get", f"{address}/{export.pk}/content"),
    ):  # fmt: skip
        assert getattr(member.client, method)(url).status_code == 403


def test_export_of_another_log_or_workspace_is_not_there(admin: Actor, outsider: Actor, table: EmailLogTable) -> None:
    export = worked(begin(admin, table))
    other = table_of(admin.workspace, "EMAIL_PROVIDER_ALT")
    theirs = table_of(outsider.workspace)
    for actor, log in ((admin, other), (outsider, theirs), (outsider, table)):
        for end in ("", "/content"):
            assert actor.client.get(f"{API}/{log.pk}/exports/{export.pk}{end}").status_code == 404
        assert actor.client.delete(f"{API}/{log.pk}/exports/{export.pk}").status_code == 404
    assert outsider.client.get(f"{API}/{theirs.pk}/exports").json()["data"] == []
    assert EmailLogExport.objects.filter(pk=export.pk).exists()


@pytest.fixture
def mailbox_log(admin: Actor) -> EmailLogTable:
    """Of users' own mailboxes: one of the admin's, which nobody else sees, and one that all see about."""
    mine = ConnectionFactory(user=admin.user, workspace=admin.workspace, provider="postbox", visibility="private")
    shown = ConnectionFactory(workspace=admin.workspace, provider="postbox", visibility=Visibility.METADATA)
    log = EmailLogTable.objects.create(workspace=admin.workspace, provider="postbox")
    entry(log, 0, subject="Mine", connection_id=mine.pk, bcc="hidden@example.com")
    entry(log, 1, subject="Shown", connection_id=shown.pk, bcc="withheld@example.com")
    return log


def test_file_holds_what_its_asker_sees_and_is_for_nobody_who_sees_less(
    admin: Actor, owner: Actor, mailbox_log: EmailLogTable
) -> None:
    export = worked(begin(admin, mailbox_log))
    data = content(admin, export)
    assert subjects(data) == ["Shown", "Mine"]
    assert (b"hidden@example.com" in data, b"withheld@example.com" in data) == (True, False)
    address = f"{API}/{mailbox_log.pk}/exports/{export.pk}/content"
    assert owner.client.get(address).status_code == 403
    theirs = worked(begin(owner, mailbox_log))
    assert subjects(content(owner, theirs)) == ["Shown"]
    assert subjects(content(admin, theirs)) == ["Shown"]


def test_mailbox_that_is_shown_no_longer_closes_the_file(admin: Actor, mailbox_log: EmailLogTable) -> None:
    made, going = worked(begin(admin, mailbox_log)), begin(admin, mailbox_log)
    Connection.objects.exclude(user=admin.user).update(visibility=Visibility.PRIVATE)
    answer = admin.client.get(f"{API}/{mailbox_log.pk}/exports/{made.pk}/content")
    assert answer.status_code == 403
    assert "mailboxes" in answer.json()["error"]["message"]
    assert (worked(going).status, going.error_code) == (WorkStatus.FAILED, "permission_denied")


@pytest.mark.usefixtures("small_pieces")
def test_erasure_takes_away_files_that_may_name_the_person(owner: Actor, outsider: Actor, table: EmailLogTable) -> None:
    entries(table, 5)
    made = worked(begin(owner, table))
    going = begin(owner, table, q="person*")
    one_piece(going)
    elsewhere = worked(begin(outsider, table_of(outsider.workspace)))
    erasing.start(workspace=owner.workspace, address="person1@example.com", by=owner.user)
    for export in (made, going):
        export.refresh_from_db()
        assert (export.status, export.error_code, export.size) == (WorkStatus.FAILED, "erased", 0)
        assert export.filters == {}
    assert set(ExportChunk.objects.values_list("export", flat=True)) == {elsewhere.pk}
    assert not exports.work(going.pk)


# --- cost -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["csv", "xlsx"])
def test_memory_and_the_cost_of_a_piece_do_not_follow_the_rows(
    admin: Actor, table: EmailLogTable, monkeypatch: pytest.MonkeyPatch, format: str
) -> None:
    """Ten times the rows: as much memory, and as many statements to a piece."""
    monkeypatch.setattr(exports, "CHUNK", 500)
    peaks, statements = [], []
    for count in (1_500, 13_500):
        many(table, count)
        export = begin(admin, table, format=format)
        with CaptureQueriesContext(database) as queries:
            one_piece(export)
        statements.append(len(queries))
        tracemalloc.start()
        worked(export)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert statements[0] == statements[1]
    assert peaks[1] < peaks[0] * 1.5 + 1_000_000


def test_small_is_what_streams_in_a_moment(admin: Actor, table: EmailLogTable, monkeypatch: pytest.MonkeyPatch) -> None:
    entries(table, 3)
    monkeypatch.setattr(exports, "SMALL", 2)
    assert not exports.is_small(table=table, by=admin.user, filters=Filters())
    assert exports.is_small(table=table, by=admin.user, filters=Filters(q='"Letter 1"'))
    assert exports.is_small(table=table, by=admin.user, filters=Filters(provider="other"))
