"""Mirroring an email log over the simulator: the table outside is the log, through kills, throttles, a spent month,
late changes and missing columns."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from core.ids import uuid7
from email_logs import tasks
from email_logs.models import EmailLogEntry, EmailLogMirror, EmailLogTable
from email_logs.services import mirroring, tables
from email_logs.states import State
from email_logs.tests.logged import entry, log_table, move, new_entry
from integrations.models import Integration
from integrations.providers import INTEGRATION_PROVIDERS
from integrations.providers.airtable import Airtable
from integrations.services import integrations
from simulator.process import Simulator
from workspaces.models import AuditEvent
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db(transaction=True)

TOKEN, BASE, TABLE = "pat.mirror.canary", "appMirrorBase0001", "Sent mail"
KIND = "EXTERNAL_DATABASE"
API = "/api/integrations"


class Killed(BaseException):
    """What a worker dies of: nothing catches it."""


@pytest.fixture(autouse=True)
def base(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Simulator:
    """A base with the table, and no limit in the way; limits have tests of their own."""
    simulator.control("POST", "/airtable/tokens", {"token": TOKEN})
    simulator.control(
        "PATCH", "/airtable/settings", {"base_requests_per_second": 100_000, "owner_requests_per_second": 100_000}
    )
    make_base(simulator, mirroring.COLUMNS)
    monkeypatch.setattr(Airtable, "pace", None)
    return simulator


def make_base(simulator: Simulator, names: Any) -> None:
    kinds = {"Sent At": "dateTime", "Attachments": "number", "Status": "singleSelect"}
    fields = [{"name": name, "type": kinds.get(name, "singleLineText")} for name in names]
    simulator.control("POST", "/airtable/bases", {"id": BASE, "tables": [{"name": TABLE, "fields": fields}]})


def integrate(actor: Actor, **config: Any) -> Integration:
    return integrations.create(
        workspace=actor.workspace, by=actor.user, name="Tables", type=KIND,
        config={"baseId": BASE, "emailLogTable": TABLE} | config, credentials={"apiToken": TOKEN},
    )  # fmt: skip


def mail_table(actor: Actor, name: str = "Mail") -> EmailLogTable:
    made = integrations.create(
        workspace=actor.workspace, by=actor.user, name=name, type="EMAIL_PROVIDER",
        config={"fromEmail": "us@x.example"}, credentials={"apiKey": "re_canary_0123456789"},
    )  # fmt: skip
    return tables.of_integration(made)


def fill(table: EmailLogTable, count: int) -> None:
    EmailLogEntry.objects.bulk_create([new_entry(table) for _ in range(count)])


def run(slices: int = 4) -> EmailLogMirror:
    """What is due, to its end."""
    EmailLogMirror.objects.update(next_mirror_at=timezone.now() - timedelta(seconds=1))
    mirroring.start_due()
    for _ in range(slices):
        for pk in mirroring.due():
            mirroring.work(pk)
    return EmailLogMirror.objects.get()


def outside(simulator: Simulator) -> list[dict[str, Any]]:
    [found] = simulator.control("GET", f"/airtable/bases/{BASE}")["tables"]
    return sorted((record["fields"] for record in found["records"]), key=lambda row: str(row["Log ID"]))


def inside(**whose: Any) -> list[dict[str, Any]]:
    """The log as the table outside should have it: empty cells are absent there."""
    rows = EmailLogEntry.objects.filter(**whose).select_related("table")
    shown = (mirroring.row_of(row) for row in rows)
    found = [{name: value for name, value in row.items() if value not in (None, "")} for row in shown]
    return sorted(found, key=lambda row: str(row["Log ID"]))


def writes(simulator: Simulator) -> int:
    return sum(simulator.summary().get("airtable.records.update", {}).values())


# --- what is mirrored -------------------------------------------------------------------------------------------------


def test_log_of_every_provider_is_mirrored_with_its_columns_and_nobodys_own_mail(
    simulator: Simulator, owner: Actor, outsider: Actor
) -> None:
    table, spare, own = mail_table(owner), mail_table(owner, "Spare"), log_table(owner.workspace, "mailbox")
    entry(
        table, to="ann@x.example, bob@x.example", cc="c@x.example", bcc="d@x.example", subject="=1+1", attachments=2,
        message_id="m-1", template_id="t-1", source="Form Send", state=State.DELIVERED,
    )  # fmt: skip
    entry(spare, state=State.BOUNCED, error="550 no such user")
    entry(spare, state=State.QUEUED)
    entry(own, subject="private", connection_id=uuid7())
    entry(mail_table(outsider), subject="foreign")
    integrate(owner)
    mirror = run()
    assert (mirror.status, mirror.done, mirror.total, mirror.written) == ("done", 3, 3, 3)
    assert outside(simulator) == inside(table__in=[table, spare])
    [first, *_] = outside(simulator)
    assert (first["Status"], first["Subject"], first["Attachments"]) == ("delivered", "=1+1", 2)
    assert {row.get("Status") for row in outside(simulator)} == {"delivered", "failed", None}


def test_late_change_is_written_again_and_nothing_else(simulator: Simulator, owner: Actor) -> None:
    table = mail_table(owner)
    rows = [entry(table, error="421 later", state=State.DEFERRED) for _ in range(25)]
    integrate(owner)
    run()
    before = writes(simulator)
    move(rows[7], State.BOUNCED, error="550 gone")
    move(rows[8], State.DELIVERED, error="")
    mirror = run()
    assert (mirror.done, mirror.written, writes(simulator) - before) == (2, 27, 1)
    assert outside(simulator) == inside()


def test_up_to_date_mirror_asks_nobody_anything(simulator: Simulator, owner: Actor) -> None:
    entry(mail_table(owner))
    integrate(owner)
    run()
    before = dict(simulator.summary())
    assert run().run == 1
    assert dict(simulator.summary()) == before


# --- kills ------------------------------------------------------------------------------------------------------------


def test_thousand_entries_with_kills_are_the_log_without_doubles_or_holes(
    simulator: Simulator, owner: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, spare = mail_table(owner), mail_table(owner, "Spare")
    for one, count in ((table, 700), (spare, 300)):
        EmailLogEntry.objects.bulk_create([new_entry(one, subject=f"Mail {number}") for number in range(count)])
    integrate(owner)
    mirroring.start_due()
    write, commit = Airtable.write_log, mirroring._commit
    seen = {"handfuls": 0}

    def dies_around_its_write(self: Airtable, rows: Any, *, key: str) -> None:
        seen["handfuls"] += 1
        if seen["handfuls"] in (3, 50):
            raise Killed
        write(self, rows, key=key)
        if seen["handfuls"] in (20, 90):
            raise Killed

    def dies_after_its_commit(mirror: Any, integration: Any, one: Any, rows: Any) -> None:
        commit(mirror, integration, one, rows)
        if seen["handfuls"] in (31, 77):
            changing = EmailLogEntry.objects.filter(table=spare).first()
            assert changing is not None
            move(changing, State.BOUNCED, error=f"late {seen['handfuls']}")
            raise Killed

    monkeypatch.setattr(Airtable, "write_log", dies_around_its_write)
    monkeypatch.setattr(mirroring, "_commit", dies_after_its_commit)
    kills, patience = 0, time.monotonic() + 60
    # What another transaction of the server holds back (its vacuum, say) is read a moment later.
    while (kills < 6 or outside(simulator) != inside()) and time.monotonic() < patience:
        try:
            run()
        except Killed:
            kills += 1
            EmailLogMirror.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    mirror = EmailLogMirror.objects.get()
    assert kills == 6
    assert (mirror.status, mirror.total) == ("done", mirror.done)
    assert mirror.written >= 1000
    assert len(outside(simulator)) == 1000
    assert outside(simulator) == inside()


def test_worker_that_lost_its_lease_moves_no_place(simulator: Simulator, owner: Actor) -> None:
    entry(mail_table(owner))
    integrate(owner)
    mirroring.start_due()
    [pk] = mirroring.due()
    first = EmailLogMirror.objects.claim(pk, lease_seconds=-1)
    assert first is not None
    assert not mirroring.work(pk)
    before = EmailLogMirror.objects.get()
    mirroring.RUNS.after_error(first, first.integration, RuntimeError("slow"))
    assert EmailLogMirror.objects.get().status == before.status == "done"


# --- limits -----------------------------------------------------------------------------------------------------------


def test_spent_month_parks_the_mirror_with_its_reason_and_a_larger_plan_goes_on(
    simulator: Simulator, owner: Actor, admin: Actor
) -> None:
    fill(mail_table(owner), 55)
    integration = integrate(owner)
    simulator.control("PATCH", "/airtable/settings", {"monthly_calls": 3})
    mirror = run()
    assert (mirror.status, mirror.error_code, mirror.done) == ("queued", "quota_exhausted", 30)
    assert mirror.next_attempt_at > timezone.now() + timedelta(minutes=1)
    assert mirroring.due() == []
    shown = admin.client.get(f"{API}/{integration.pk}").json()["mirror"]
    assert shown["lastError"]["code"] == "quota_exhausted"
    assert "used up" in shown["lastError"]["message"]
    assert (shown["done"], shown["total"]) == (30, 55)
    simulator.control("PATCH", "/airtable/settings", {"monthly_calls": 0})
    response = admin.client.post(f"{API}/{integration.pk}/actions/mirror_email_log", {}, format="json")
    assert response.status_code == 202, response.content
    assert run().status == "done"
    assert outside(simulator) == inside()


def test_budget_of_five_requests_a_second_is_never_exceeded(
    simulator: Simulator, owner: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    simulator.control("PATCH", "/airtable/settings", {"base_requests_per_second": 5})
    fill(mail_table(owner), 120)
    integrate(owner)
    mirror = run()
    assert (mirror.status, mirror.error_code) == ("done", "")  # one request more and all is refused for 30 seconds
    assert outside(simulator) == inside()


def test_penalty_is_waited_for_and_the_mirror_goes_on_after_it(simulator: Simulator, owner: Actor) -> None:
    simulator.control("PATCH", "/airtable/settings", {"base_requests_per_second": 2})
    fill(mail_table(owner), 55)
    integrate(owner)
    mirror = run()
    assert (mirror.status, mirror.error_code) == ("queued", "provider_rate_limited")
    wait = mirror.next_attempt_at - timezone.now()
    assert timedelta(seconds=20) < wait <= timedelta(seconds=30)
    simulator.control(
        "PATCH", "/airtable/settings", {"base_requests_per_second": 100_000, "owner_requests_per_second": 100_000}
    )
    EmailLogMirror.objects.update(next_attempt_at=timezone.now() - timedelta(seconds=1))
    assert run().status == "done"
    assert outside(simulator) == inside()


# --- what is not as it should be --------------------------------------------------------------------------------------


def test_missing_columns_are_named_before_anything_is_written(simulator: Simulator, owner: Actor) -> None:
    make_base(simulator, [name for name in mirroring.COLUMNS if name not in ("BCC", "Log ID")])
    entry(mail_table(owner))
    integrate(owner)
    mirror = run()
    assert (mirror.status, mirror.error_code, writes(simulator)) == ("failed", "missing_columns", 0)
    assert '"Log ID", "BCC"' in mirror.error_message
    make_base(simulator, mirroring.COLUMNS)
    assert run().status == "done"
    assert outside(simulator) == inside()


def test_column_that_is_removed_later_is_named_and_the_rest_is_written_once_it_is_back(
    simulator: Simulator, owner: Actor
) -> None:
    table = mail_table(owner)
    entry(table)
    integrate(owner)
    run()
    make_base(simulator, mirroring.COLUMNS[:-1])
    entry(table)
    mirror = run()
    assert (mirror.status, mirror.error_code) == ("failed", "missing_columns")
    assert '"Attachments"' in mirror.error_message
    assert '"Attachments"' in run().error_message


def test_table_that_is_not_there_is_said_with_the_columns_it_needs(simulator: Simulator, owner: Actor) -> None:
    entry(mail_table(owner))
    integrate(owner, emailLogTable="Nowhere")
    mirror = run()
    assert (mirror.error_code, mirror.failures) == ("missing_table", 1)
    assert '"Nowhere"' in mirror.error_message
    assert '"Log ID"' in mirror.error_message
    assert mirror.next_mirror_at > timezone.now() + timedelta(minutes=2)


def test_token_that_sees_no_schema_writes_without_looking(simulator: Simulator, owner: Actor) -> None:
    scopes = ["data.records:read", "data.records:write"]
    simulator.control("POST", "/airtable/tokens", {"token": TOKEN, "scopes": scopes})
    entry(mail_table(owner))
    integrate(owner)
    assert run().status == "done"
    assert outside(simulator) == inside()


def test_refused_token_is_the_integrations_trouble_and_a_new_one_goes_on(simulator: Simulator, owner: Actor) -> None:
    entry(mail_table(owner))
    integration = integrate(owner)
    simulator.control("POST", "/airtable/tokens/revoke", {"token": TOKEN})
    assert run().error_code == "credentials_rejected"
    integration.refresh_from_db()
    assert integration.health == "failing"
    simulator.control("POST", "/airtable/tokens", {"token": "pat.mirror.other"})
    given = {"credentials": {"apiToken": "pat.mirror.other"}}
    integrations.change(integration=integration, by=owner.user, given=given)
    mirroring.start_due()  # though its pause is not over
    assert run().status == "done"


def test_disabled_integration_stops_and_goes_on_where_it_was(
    simulator: Simulator, owner: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(mail_table(owner), 50)
    integration = integrate(owner)
    write, left = Airtable.write_log, [None]

    def is_switched_off_meanwhile(self: Airtable, rows: Any, *, key: str) -> None:
        write(self, rows, key=key)
        if len(outside(simulator)) == 20 and left:
            left.clear()
            integrations.change(integration=integration, by=owner.user, given={"enabled": False})

    monkeypatch.setattr(Airtable, "write_log", is_switched_off_meanwhile)
    mirror = run()
    assert (mirror.status, mirror.error_code, mirror.done) == ("failed", "integration_disabled", 10)
    assert len(outside(simulator)) == 20
    integration.refresh_from_db()
    integrations.change(integration=integration, by=owner.user, given={"enabled": True})
    assert run().status == "done"
    assert outside(simulator) == inside()


def test_another_table_begins_anew(simulator: Simulator, owner: Actor) -> None:
    entry(mail_table(owner))
    integration = integrate(owner)
    run()
    fields = [{"name": name, "type": "singleLineText"} for name in mirroring.COLUMNS]
    other = "appOther000000001"
    simulator.control("POST", "/airtable/bases", {"id": other, "tables": [{"name": TABLE, "fields": fields}]})
    given = {"config": {"baseId": other}, "credentials": {"apiToken": TOKEN}}
    integrations.change(integration=integration, by=owner.user, given=given)
    EmailLogMirror.objects.update(next_mirror_at=timezone.now())
    mirroring.start(integration=Integration.objects.get(pk=integration.pk))
    mirror = run()
    assert (mirror.status, mirror.written) == ("done", 1)
    [found] = simulator.control("GET", f"/airtable/bases/{other}")["tables"]
    assert len(found["records"]) == 1


# --- asked for --------------------------------------------------------------------------------------------------------


def test_action_begins_a_run_and_the_detail_shows_it(simulator: Simulator, owner: Actor, admin: Actor) -> None:
    entry(mail_table(owner))
    integration = integrate(owner)
    assert admin.client.get(f"{API}/{integration.pk}").json()["mirror"] is None
    response = admin.client.post(f"{API}/{integration.pk}/actions/mirror_email_log", {}, format="json")
    assert response.status_code == 202, response.content
    begun = response.json()["result"]["run"]
    assert (begun["status"], begun["trigger"], begun["table"]) == ("queued", "manual", TABLE)
    [pk] = mirroring.due()
    tasks.run_mirror(str(pk))
    shown = admin.client.get(f"{API}/{integration.pk}").json()["mirror"]
    assert (shown["id"], shown["status"], shown["done"], shown["lastError"]) == (begun["id"], "done", 1, None)
    assert shown["lastMirroredAt"] is not None
    assert AuditEvent.objects.filter(action="integration.used", changes__action="mirror_email_log").count() == 1


def test_action_without_a_table_in_the_settings_is_refused(simulator: Simulator, owner: Actor, admin: Actor) -> None:
    integration = integrate(owner, emailLogTable="")
    response = admin.client.post(f"{API}/{integration.pk}/actions/mirror_email_log", {}, format="json")
    assert response.status_code == 409
    assert response.json()["error"]["code"] == "not_configured"
    mirroring.start_due()
    assert not EmailLogMirror.objects.exists()


def test_tick_begins_what_is_behind(simulator: Simulator, owner: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    rung: list[str] = []
    monkeypatch.setattr(tasks.run_mirror, "delay", rung.append)
    entry(mail_table(owner))
    integrate(owner)
    tasks.tick_mirrors()
    assert rung == [str(EmailLogMirror.objects.get().pk)]


def test_handful_costs_the_same_however_much_is_left(simulator: Simulator, owner: Actor) -> None:
    table = mail_table(owner)
    integrate(owner)
    entry(table)
    run()
    costs = []
    for count in (10, 40, 70):
        fill(table, count)
        with CaptureQueriesContext(database) as captured:
            run()
        costs.append(len(captured))
    assert costs[2] - costs[1] == costs[1] - costs[0] > 0  # three handfuls more each


def test_every_provider_that_can_hold_a_mirror_says_so_by_its_capability() -> None:
    assert mirroring.types() == (KIND,)
    assert all(hasattr(INTEGRATION_PROVIDERS.get(kind), "write_log") for kind in mirroring.types())
