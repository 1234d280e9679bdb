"""The console's pages of outbound mail: what an owner sees and may do, and what nobody sees."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from core.ids import uuid7
from email_logs.admin.asked import filters_of
from email_logs.models import DeliveryEvent, EmailLogEntry, EmailLogMirror, EmailLogTable, OutgoingEmail, Suppression
from email_logs.services import days, tables
from email_logs.services.marks import MARK
from email_logs.states import State
from email_logs.tests.logged import entry, log_table, new_entry, old_id
from integrations.models import Integration, Visibility
from integrations.tests.factories import ConnectionFactory
from workspaces.models import AuditEvent
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db

SUBMITTED = {"_form_submitted": "on"}


def console(actor: Actor) -> Client:
    client = Client()
    client.force_login(actor.user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def page(model: str, name: str, *args: object) -> str:
    return reverse(f"admin:email_logs_{model}_{name}", args=args)


def log_of(actor: Actor, name: str = "Production mail") -> EmailLogTable:
    made = Integration.objects.create(workspace=actor.workspace, name=name, type="EMAIL_PROVIDER")
    return tables.of_integration(made)


def text(actor: Actor, address: str, **query: str) -> str:
    response = console(actor).get(address, query)
    assert response.status_code == 200, response
    return response.content.decode()


# --- entries ----------------------------------------------------------------------------------------------------------


def test_entries_of_one_log_are_listed_newest_first_with_state_and_reason(owner: Actor) -> None:
    log, other = log_of(owner), log_of(owner, "Spare")
    now = timezone.now()
    entry(log, to="first@x.example", sent_at=now - timedelta(hours=1), state=State.BOUNCED, error="550 no such user")
    entry(log, to="second@x.example", sent_at=now)
    entry(other, to="elsewhere@x.example")
    html = text(owner, page("emaillogentry", "changelist"))
    assert html.index("second@x.example") < html.index("first@x.example")
    for words in ("Production mail", "Bounced", "550 no such user", "2 mails"):
        assert words in html
    assert "elsewhere@x.example" not in html
    assert "elsewhere@x.example" in text(owner, page("emaillogentry", "changelist"), log=str(other.pk))


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"status": "failed"}, {"bounced@x.example"}),
        ({"status": "delivered"}, {"taken@x.example"}),
        ({"state": "bounced"}, {"bounced@x.example"}),
        ({"source": "Form Send"}, {"taken@x.example"}),
        ({"q": "waiting@x.example"}, {"waiting@x.example"}),
        ({"sent_at_from": "2026-03-02", "sent_at_to": "2026-03-02"}, {"bounced@x.example"}),
        ({"status": "nonsense", "sent_at_from": "x"}, {"taken@x.example", "bounced@x.example", "waiting@x.example"}),
        ({"q": "-"}, set()),
    ],
)
def test_filters_and_search_find_what_the_api_finds(owner: Actor, query: dict[str, str], found: set[str]) -> None:
    log = log_of(owner)
    base = timezone.now().replace(year=2026, month=3, day=1, hour=12)
    for number, (name, state, source) in enumerate(
        (("taken", State.ACCEPTED, "Form Send"), ("bounced", State.BOUNCED, ""), ("waiting", State.QUEUED, ""))
    ):
        at = base + timedelta(days=number)
        entry(log, id=old_id(at), sent_at=at, to=f"{name}@x.example", state=state, source=source)
    html = text(owner, page("emaillogentry", "changelist"), **query)
    table = html.partition('id="changelist-form"')[2]
    assert {name for name in ("taken@x.example", "bounced@x.example", "waiting@x.example") if name in table} == found


def test_second_page_goes_on_where_the_first_ended(owner: Actor) -> None:
    log = log_of(owner)
    EmailLogEntry.objects.bulk_create([new_entry(log, subject=f"number {n:03}.") for n in range(60)])
    first, second = (text(owner, page("emaillogentry", "changelist"), p=p) for p in ("1", "2"))
    assert sum(f"number {n:03}." in first for n in range(60)) == 50
    assert sum(f"number {n:03}." in second for n in range(60)) == 10
    for beyond in ("3", "9999999", "0", "x"):
        response = console(owner).get(page("emaillogentry", "changelist"), {"p": beyond}, follow=True)
        assert response.status_code == 200


def test_list_costs_the_same_for_one_and_for_many_and_counts_no_big_log(owner: Actor, monkeypatch: Any) -> None:
    log = log_of(owner)
    client = console(owner)

    def queries() -> int:
        with CaptureQueriesContext(database) as captured:
            client.get(page("emaillogentry", "changelist"))
        return len(captured)

    entry(log)
    days.count_changed()
    queries()
    for_one = queries()
    EmailLogEntry.objects.bulk_create([new_entry(log) for _ in range(40)])
    days.count_changed()
    assert queries() == for_one
    monkeypatch.setattr("email_logs.services.reading.COUNTED", 5)
    html = text(owner, page("emaillogentry", "changelist"))
    assert "(an estimate)" in html


def test_detail_shows_the_way_of_a_mail_and_is_not_a_form(owner: Actor) -> None:
    log = log_of(owner)
    row = entry(log, subject="<b>Invoice</b>", state=State.BOUNCED, error="550 no such user", bcc="boss@x.example")
    for kind in ("deferred", "bounced"):
        DeliveryEvent.objects.create(
            workspace=owner.workspace, table=log, entry_id=row.pk, event_key=kind, kind=kind, at=timezone.now(),
            recipients=["bob@x.example"], words=f"said when {kind}",
        )  # fmt: skip
    html = text(owner, page("emaillogentry", "change", row.pk))
    for words in (
        "said when deferred",
        "said when bounced",
        "boss@x.example",
        "&lt;b&gt;Invoice&lt;/b&gt;",
        "accepted",
    ):
        assert words in html
    assert "<b>Invoice</b>" not in html
    assert 'name="subject"' not in html
    before = EmailLogEntry.objects.values().get()
    assert console(owner).post(page("emaillogentry", "change", row.pk), {"subject": "other"}).status_code == 403
    assert console(owner).post(page("emaillogentry", "delete", row.pk), {"post": "yes"}).status_code == 403
    assert EmailLogEntry.objects.values().get() == before


def test_mail_of_users_own_mailboxes_is_shown_as_far_as_they_allow(owner: Actor, member: Actor) -> None:
    log = log_table(owner.workspace, "imap")
    rows = {}
    for visibility in Visibility.values:
        box = ConnectionFactory(user=member.user, workspace=member.workspace, visibility=visibility)
        rows[visibility] = entry(
            log, subject=f"{visibility}-subject", bcc=f"{visibility}-bcc@x.example", connection_id=box.pk,
            error=f"{visibility}-error",
        )  # fmt: skip
    listed = text(owner, page("emaillogentry", "changelist"), log=str(log.pk))
    assert [name for name in Visibility.values if f"{name}-subject" in listed] == ["metadata", "full"]
    assert [name for name in Visibility.values if f"{name}-error" in listed] == ["full"]
    assert console(owner).get(page("emaillogentry", "change", rows["private"].pk)).status_code == 302
    metadata = text(owner, page("emaillogentry", "change", rows["metadata"].pk))
    assert "metadata-subject" in metadata
    assert "metadata-bcc@x.example" not in metadata
    assert "metadata-error" not in metadata
    assert "full-bcc@x.example" in text(owner, page("emaillogentry", "change", rows["full"].pk))


@pytest.mark.parametrize("format", ["csv", "xlsx"])
def test_download_holds_what_the_list_shows(owner: Actor, format: str) -> None:
    log = log_of(owner)
    entry(log, to="kept@x.example", state=State.BOUNCED)
    entry(log, to="left-out@x.example")
    address = page("emaillogentry", "export", log.pk, format)
    assert f"{address}?status=failed" in text(owner, page("emaillogentry", "changelist"), status="failed")
    response = console(owner).get(address, {"status": "failed"})
    content = b"".join(response.streaming_content)  # type: ignore[attr-defined]
    assert response.status_code == 200
    assert f".{format}" in response.headers["Content-Disposition"]
    if format == "csv":
        assert b"kept@x.example" in content
        assert b"left-out@x.example" not in content
    assert AuditEvent.objects.filter(action="email_log.exported").count() == 1


def test_download_of_another_workspace_is_not_there(owner: Actor, outsider: Actor) -> None:
    log = log_of(outsider)
    for table_id in (log.pk, uuid7()):
        assert console(owner).get(page("emaillogentry", "export", table_id, "csv")).status_code == 404
    mine = log_of(owner)
    assert console(owner).get(page("emaillogentry", "export", mine.pk, "exe")).status_code == 404


def test_filters_leave_out_what_makes_no_sense(rf: Any) -> None:
    asked = filters_of(rf.get("/", {"status": "x", "state": "x", "source": "x", "sent_at_to": "2026-13-01"}))
    assert asked == filters_of(rf.get("/"))


# --- logs, suppressions, the queue, mirrors ---------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_logs_are_listed_with_their_last_days_and_a_picture_of_them(owner: Actor) -> None:
    log = log_of(owner)
    for state in (State.BOUNCED, State.ACCEPTED, State.ACCEPTED):
        entry(log, state=state)
    days.count_changed()
    html = text(owner, page("emaillogtable", "changelist"))
    assert "Production mail" in html
    assert f"?log={log.pk}" in html
    detail = text(owner, page("emaillogtable", "change", log.pk))
    assert f"{timezone.now():%Y-%m-%d}: " in detail
    for words in ("2 accepted", "1 bounced", "Accepted: 2", "Bounced: 1", "CSV", "XLSX"):
        assert words in detail


def test_log_of_a_deleted_provider_is_still_there(owner: Actor) -> None:
    log = log_of(owner)
    Integration.objects.update(deleted_at=timezone.now(), enabled=False)
    assert "Production mail" in text(owner, page("emaillogtable", "changelist"))
    assert str(log.pk) in text(owner, page("emaillogentry", "changelist"))


def test_address_is_suppressed_and_taken_off_by_post(owner: Actor) -> None:
    client = console(owner)
    address = page("suppression", "suppress", owner.workspace.pk)
    assert client.get(address).status_code == 405
    client.post(address, {"address": "Ada@X.example", "words": "asked on the phone"})
    row = Suppression.objects.get()
    assert (row.address, row.reason, row.created_by) == ("ada@x.example", "manual", owner.user)
    assert "asked on the phone" in text(owner, page("suppression", "changelist"))
    for bad in ({"address": "nobody"}, {}, {"address": "ada@x.example"}):
        assert client.post(address, bad, follow=True).status_code == 200
    assert Suppression.objects.count() == 1
    remove = page("suppression", "remove", row.pk)
    client.get(remove)
    assert Suppression.objects.exists()
    client.post(remove, SUBMITTED)
    assert not Suppression.objects.exists()
    assert set(AuditEvent.objects.values_list("action", flat=True)) >= {"suppression.added", "suppression.removed"}


def test_erased_address_is_shown_as_that(owner: Actor) -> None:
    Suppression.objects.create(workspace=owner.workspace, address=f"{MARK}0123456789", reason="bounced")
    html = text(owner, page("suppression", "changelist"))
    assert "(erased)" in html
    assert "0123456789" not in html


def test_nobody_suppresses_elsewhere(owner: Actor, outsider: Actor) -> None:
    response = console(owner).post(page("suppression", "suppress", outsider.workspace.pk), {"address": "a@x.example"})
    assert response.status_code == 404
    assert not Suppression.objects.exists()


def test_queue_shows_where_mail_stands_and_not_what_it_says(owner: Actor) -> None:
    log = log_of(owner)
    row = entry(log, state=State.QUEUED)
    OutgoingEmail.objects.create(
        entry_id=row.pk, workspace=owner.workspace, table=log, mail={"given": {"body": "vanishing-point"}},
        error_code="provider_unavailable", error_message="It did not answer.",
    )  # fmt: skip
    listed = text(owner, page("outgoingemail", "changelist"))
    detail = text(owner, page("outgoingemail", "change", row.pk))
    for html in (listed, detail):
        assert "Waits" in html
        assert "It did not answer. (provider_unavailable)" in html
        assert "vanishing-point" not in html
    assert page("emaillogentry", "change", row.pk) in detail


def test_mirror_says_why_it_waits_and_begins_when_told(owner: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Integration.objects.create(
        workspace=owner.workspace, name="Tables", type="EXTERNAL_DATABASE", has_credentials=True,
        config={"baseId": "appX", "emailLogTable": "Sent"}, credentials={"credentials": {"apiToken": "pat.x"}},
    )  # fmt: skip
    mirror = EmailLogMirror.objects.create(
        integration=made, trigger="schedule", error_code="quota_exhausted", error_message="Used up.",
        next_attempt_at=timezone.now() + timedelta(days=1),
    )  # fmt: skip
    html = text(owner, page("emaillogmirror", "changelist"))
    for words in ("Tables", "Sent", "Waits", "Used up. (quota_exhausted)"):
        assert words in html
    rung: list[str] = []
    monkeypatch.setattr("email_logs.tasks.run_mirror.delay", rung.append)
    console(owner).post(page("emaillogmirror", "mirror_now", mirror.pk), SUBMITTED)
    mirror.refresh_from_db()
    assert mirror.next_attempt_at <= timezone.now()


@pytest.mark.parametrize("model", ["emaillogtable", "emaillogentry", "suppression", "outgoingemail", "emaillogmirror"])
def test_pages_of_another_workspace_look_like_missing_ones(owner: Actor, outsider: Actor, model: str) -> None:
    log = log_of(outsider, "secret-log")
    row = entry(log, to="secret@x.example")
    rows: dict[str, Any] = {
        "emaillogtable": log,
        "emaillogentry": row,
        "suppression": Suppression.objects.create(workspace=outsider.workspace, address="secret@x.example", reason="x"),
        "outgoingemail": OutgoingEmail.objects.create(entry_id=row.pk, workspace=outsider.workspace, table=log),
        "emaillogmirror": EmailLogMirror.objects.create(integration=log.integration, trigger="manual"),
    }
    client = console(owner)
    for html in (
        client.get(page(model, "changelist"), {"log": str(log.pk)} if model == "emaillogentry" else {}).content,
        client.get(page(model, "change", rows[model].pk), follow=True).content,
    ):
        assert b"secret" not in html.replace(str(log.pk).encode(), b"")
