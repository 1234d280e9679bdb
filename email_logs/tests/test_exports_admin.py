"""The console's pages of exports: small ones at once, large ones asked about, watched, fetched, deleted."""

from __future__ import annotations

import pytest
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from core.ids import uuid7
from email_logs.models import EmailLogExport, EmailLogTable
from email_logs.services import exports
from email_logs.services.reading import Filters
from email_logs.states import State
from email_logs.tests.logs import entries, entry, table_of
from workspaces.models import AuditEvent
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db


@pytest.fixture
def table(owner: Actor) -> EmailLogTable:
    return table_of(owner.workspace)


@pytest.fixture
def console(owner: Actor) -> Client:
    client = Client()
    client.force_login(owner.user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def page(name: str, *args: object) -> str:
    return reverse(f"admin:email_logs_emaillogtable_{name}", args=args)


def begun(owner: Actor, table: EmailLogTable, **narrowed: str) -> EmailLogExport:
    given = {"oldest_first": False, "format": "csv"}
    return exports.start(table=table, by=owner.user, filters=Filters.of(narrowed), **given)[0]  # type: ignore[arg-type]


def test_many_mails_are_asked_about_and_made_in_the_background(
    owner: Actor, console: Client, table: EmailLogTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries(table, 3)
    entry(table, 3, state=State.FAILED)
    monkeypatch.setattr(exports, "SMALL", 2)
    download = reverse("admin:email_logs_emaillogentry_export", args=(table.pk, "csv"))
    at_once = console.get(download, {"status": "failed"})
    assert at_once.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert b"".join(at_once).count(b"\r\n") == 2
    asked = console.get(download, {"status": "delivered"})
    assert asked.headers["Location"] == f"{page('begin_export', table.pk, 'csv')}?status=delivered"
    form = console.get(asked.headers["Location"])
    assert "Narrowed by: delivered" in form.content.decode()
    assert not EmailLogExport.objects.exists()
    sent = console.post(asked.headers["Location"], follow=True)
    assert sent.redirect_chain == [(page("exports", table.pk), 302)]
    assert "The export has begun." in sent.content.decode()
    again = console.post(asked.headers["Location"], follow=True).content.decode()
    assert "One of yours is under way" in again
    export = EmailLogExport.objects.get()
    assert (export.created_by, export.filters, export.format) == (owner.user, {"status": "delivered"}, "csv")


def test_page_shows_how_far_it_is_and_looks_again_until_it_is_done(
    owner: Actor, console: Client, table: EmailLogTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "CHUNK", 2)
    entries(table, 3)
    export = begun(owner, table, q="letter")
    exports.work(export.pk, seconds=0.0)
    html = console.get(page("exports", table.pk)).content.decode()
    live = page("exports_live", table.pk)
    for words in (f'data-refresh-url="{live}"', 'data-refresh-seconds="2"', owner.user.email, "“letter”", 'value="66"',
                  "2 of about 3 mails"):  # fmt: skip
        assert words in html
    assert "Download" not in html
    exports.work(export.pk)
    part = console.get(live).content.decode()
    assert 'data-refresh-seconds="60"' in part
    assert "<progress" not in part
    assert "It goes at" in part
    file = page("export_file", table.pk, export.pk)
    assert f'href="{file}"' in part
    answer = console.get(file)
    assert b"".join(answer.streaming_content).startswith(b"\xef\xbb\xbfSent At,")  # type: ignore[attr-defined]
    assert f"{table.provider}" in answer.headers["Content-Disposition"]
    assert AuditEvent.objects.filter(action="email_log.exported").count() == 1


def test_export_that_failed_says_why(owner: Actor, console: Client, table: EmailLogTable) -> None:
    export = begun(owner, table)
    EmailLogExport.objects.update(status="failed", error_code="erased", error_message=exports.ERASED)
    assert exports.ERASED in console.get(page("exports_live", table.pk)).content.decode()
    answer = console.get(page("export_file", table.pk, export.pk), follow=True)
    assert "The export is not finished." in answer.content.decode()


def test_export_is_deleted_after_it_was_asked_about(owner: Actor, console: Client, table: EmailLogTable) -> None:
    export = begun(owner, table)
    address = page("remove_export", table.pk, export.pk)
    assert console.get(address).status_code == 200
    assert EmailLogExport.objects.exists()
    assert "The export is deleted." in console.post(address, follow=True).content.decode()
    assert not EmailLogExport.objects.exists()


def test_what_cannot_begin_is_said_on_the_page(
    owner: Actor, console: Client, table: EmailLogTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "MOST_KEPT", 0)
    answer = console.post(page("begin_export", table.pk, "csv"))
    assert answer.status_code == 400
    assert "Delete one first." in answer.content.decode()
    assert console.get(page("begin_export", table.pk, "exe")).status_code == 404


def test_exports_elsewhere_are_not_there(owner: Actor, outsider: Actor, console: Client, table: EmailLogTable) -> None:
    theirs = table_of(outsider.workspace)
    export = begun(outsider, theirs)
    for log in (theirs.pk, table.pk, uuid7()):
        for name in ("export_file", "remove_export"):
            assert console.get(page(name, log, export.pk)).status_code == 404
        assert console.post(page("remove_export", log, export.pk)).status_code == 404
    assert EmailLogExport.objects.filter(pk=export.pk).exists()


def test_page_costs_the_same_however_many_there_are(owner: Actor, console: Client, table: EmailLogTable) -> None:
    counts = []
    for _ in range(3):
        exports.work(begun(owner, table).pk)
        with CaptureQueriesContext(database) as queries:
            console.get(page("exports_live", table.pk))
        counts.append(len(queries))
    assert counts[1] == counts[2]
