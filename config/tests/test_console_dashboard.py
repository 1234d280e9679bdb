"""The console's first page: what its figures say, whose they are, and what they cost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db.models import Count
from django.test import RequestFactory
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from config.console import dashboard, mailing, surroundings, syncing
from config.console.scope import Scope
from config.console.words import duration
from config.tests.consoles import console, console_of
from core.ids import uuid7
from core.work import WorkStatus
from documents.models import DocumentUsage
from email_logs.models import EmailLogDay, EmailLogEntry, EmailLogTable
from email_logs.states import State
from email_logs.tests.factories import email_provider, entry
from integrations.models import Connection, ConnectionStatus, Delivery, Health, Integration, Subscription
from integrations.tests.factories import ConnectionFactory, SyncRunFactory, SyncStateFactory
from workspaces.models import User
from workspaces.tests.factories import PASSWORD
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db

MOST_QUERIES = 26
"""Session, user, memberships and the choice of a workspace are four of them."""


def scope(actor: Actor) -> Scope:
    return Scope(frozenset({actor.workspace.pk}))


def connect(actor: Actor, **columns: Any) -> Connection:
    return ConnectionFactory(workspace=actor.workspace, user=actor.user, **columns)


STANDINGS: dict[str, dict[str, Any]] = {
    ConnectionStatus.ACTIVE: {},
    ConnectionStatus.PAUSED: {"paused": True, "last_error_code": "e", "last_error_message": "w"},
    ConnectionStatus.NEEDS_REAUTH: {"needs_reauth": True, "paused": True},
    ConnectionStatus.ERROR: {"last_error_code": "rate_limited", "last_error_message": "Slow down."},
    ConnectionStatus.DISCONNECTED: {"disconnected_at": datetime(2026, 1, 1, tzinfo=UTC), "credentials": None},
}


# --- connections --------------------------------------------------------------------------------------------------


def test_connections_are_counted_as_their_own_status_says(owner: Actor) -> None:
    rows = [connect(owner, **columns) for columns in STANDINGS.values()]
    assert [row.status for row in rows] == list(STANDINGS)
    assert syncing.read(scope(owner)).counts == dict.fromkeys(STANDINGS, 1)


def test_each_state_links_to_the_list_that_shows_exactly_these(owner: Actor) -> None:
    rows = {status: connect(owner, **columns) for status, columns in STANDINGS.items()}
    for group in console(owner).get("/admin/").context["groups"]:
        status = next(status for status, (title, _) in syncing.TITLES.items() if title == group["title"])
        assert [row.pk for row in listed(owner, group["url"])] == [rows[status].pk], status


def test_what_goes_wrong_is_listed_worst_first_with_the_providers_words(owner: Actor) -> None:
    connect(owner, **STANDINGS[ConnectionStatus.ERROR])
    dead = connect(owner, needs_reauth=True, last_error_code="invalid_grant", last_error_message="Token revoked.")
    page = console(owner).get("/admin/")
    assert [item["words"] for item in page.context["troubled"]] == ["Token revoked.", "Slow down."]
    assert [item["advice"] for item in page.context["troubled"]] == [
        "Connect your account again.",
        "It is tried again by itself.",
    ]
    assert f"/admin/integrations/connection/{dead.pk}/change/" in page.content.decode()
    assert [(reason["words"], reason["count"]) for reason in page.context["sync_reasons"]] == [
        ("Token revoked.", 1),
        ("Slow down.", 1),
    ]


def test_sync_under_way_shows_progress_and_time_left_and_hurries_the_page(owner: Actor) -> None:
    connection = connect(owner)
    assert dashboard_of(owner)["refresh_seconds"] == dashboard.QUIET_SECONDS
    SyncRunFactory(
        connection=connection, status=WorkStatus.RUNNING, done=250, total=1000,
        started_at=timezone.now() - timedelta(minutes=5), lease_until=timezone.now() + timedelta(minutes=1),
    )  # fmt: skip
    SyncRunFactory(connection=connection, type="calendar")
    shown = dashboard_of(owner)
    assert [(run["done"], run["total"], run["share"]) for run in shown["runs"]] == [(250, 1000, 25)]
    assert shown["runs"][0]["left"] == "about 15 min left"
    assert shown["more_runs"] == 1
    assert shown["refresh_seconds"] == dashboard.BUSY_SECONDS


def test_lag_is_that_of_the_sync_that_is_most_overdue_and_not_under_way(owner: Actor) -> None:
    late, busy, paused = (connect(owner, paused=number == 2) for number in range(3))
    now = timezone.now()
    SyncStateFactory(connection=late, next_sync_at=now - timedelta(minutes=20))
    SyncStateFactory(connection=busy, next_sync_at=now - timedelta(hours=9))
    SyncRunFactory(connection=busy)
    SyncStateFactory(connection=paused, next_sync_at=now - timedelta(days=9))
    assert 1200 <= syncing.read(scope(owner)).lag_seconds < 1300


def test_lag_is_none_while_nothing_is_due(owner: Actor) -> None:
    SyncStateFactory(connection=connect(owner), next_sync_at=timezone.now() + timedelta(minutes=5))
    assert syncing.read(scope(owner)).lag_seconds == 0


def test_coverage_is_summed_by_kind_and_never_rounded_up_to_all(owner: Actor) -> None:
    for remote, stored, missing in ((99_999, 99_999, 0), (100_001, 100_000, 1)):
        SyncStateFactory(
            connection=connect(owner), coverage_remote=remote, coverage_stored=stored, coverage_missing=missing,
            coverage_checked_at=timezone.now(),
        )  # fmt: skip
    [found] = syncing.read(scope(owner)).coverage
    assert (found.remote, found.stored, found.missing, found.checked) == (200_000, 199_999, 1, 2)
    assert found.share == 99.9


def count(integration: Integration) -> None:
    """What the task does once entries are committed, which those of a test are not."""
    rows = EmailLogEntry.objects.filter(table__integration=integration).order_by()
    EmailLogDay.objects.all().delete()
    for table_id, state, number in rows.values_list("table_id", "state").annotate(Count("pk")):
        EmailLogDay.objects.create(table_id=table_id, day=datetime.now(UTC).date(), state=state, count=number)


# --- mail ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def provider(owner: Actor) -> Integration:
    return email_provider(owner, "EMAIL_PROVIDER", {"apiKey": "re_test_key"})


def test_mail_of_each_day_is_shown_by_its_true_state(owner: Actor, provider: Integration) -> None:
    for number, state in enumerate((State.DELIVERED, State.DELIVERED, State.BOUNCED, State.QUEUED)):
        entry(provider, state=state, message_id=f"m{number}", error="550 5.1.1 No such user <ada@hub.example>")
    count(provider)
    found = mailing.read(scope(owner))
    assert found.states == {State.QUEUED: 1, State.DELIVERED: 2, State.BOUNCED: 1}
    assert found.days[datetime.now(UTC).date()][State.DELIVERED] == 2
    page = console(owner).get("/admin/")
    state = next(item for item in page.context["mail_states"] if item["name"] == State.BOUNCED.label)
    listed = console(owner).get(state["url"])
    assert [row.state for row in listed.context["cl"].result_list] == [State.BOUNCED]


def test_failures_are_put_together_but_for_addresses_and_ids(owner: Actor, provider: Integration) -> None:
    for number in range(3):
        entry(
            provider, state=State.BOUNCED, message_id=f"m{number}",
            error=f"550 5.1.1 <user{number}@hub.example>: no such user (session a7f3c9d{number})",
        )  # fmt: skip
    entry(provider, state=State.FAILED, message_id="m9", error="")
    count(provider)
    found = mailing.read(scope(owner)).reasons
    assert [(reason.words, reason.count) for reason in found] == [
        ("550 5.1.1 <…>: no such user (session …)", 3),
        ("No reason was given.", 1),
    ]


def test_failures_of_users_own_mailboxes_are_counted_and_not_quoted(owner: Actor) -> None:
    table = EmailLogTable.objects.create(workspace=owner.workspace, provider="imap")
    EmailLogDay.objects.create(table=table, day=datetime.now(UTC).date(), state=State.FAILED, count=4)
    found = mailing.read(scope(owner))
    assert (found.failed, found.reasons) == (4, [])


# --- surroundings -------------------------------------------------------------------------------------------------


def test_integration_that_does_not_work_is_named_with_its_words(owner: Actor, provider: Integration) -> None:
    Integration.objects.filter(pk=provider.pk).update(
        health=Health.FAILING, health_message="The key was refused.", failing_since=timezone.now() - timedelta(hours=3)
    )
    shown = dashboard_of(owner)
    assert [(item["name"], item["words"], item["since"]) for item in shown["broken"]] == [
        ("Mail", "The key was refused.", "3.0 h")
    ]
    assert tile(shown, "Integrations").tone == "bad"


def test_integrations_are_counted_by_health_and_lead_to_their_list(owner: Actor, provider: Integration) -> None:
    Integration.objects.filter(pk=provider.pk).update(health=Health.OK)
    other = email_provider(owner, "EMAIL_PROVIDER_ALT", {"apiKey": "SG.a.b"})
    Integration.objects.filter(pk=other.pk).update(health=Health.FAILING, name="Broken")
    found = dashboard_of(owner)["health"]
    assert [(group["title"], group["count"], group["tone"]) for group in found] == [
        ("Failing", 1, "bad"), ("Works", 1, "good")
    ]  # fmt: skip
    assert [row.name for row in listed(owner, found[0]["url"])] == ["Broken"]


def test_endpoint_leads_to_its_own_deliveries(owner: Actor, provider: Integration) -> None:
    other = email_provider(owner, "EMAIL_PROVIDER_ALT", {"apiKey": "SG.a.b"})
    Integration.objects.filter(pk=other.pk).update(name="Other")
    for row in (provider, other):
        Subscription.objects.create(integration=row, transaction=0, event_id=row.pk)
        Delivery.objects.create(
            workspace=owner.workspace, integration=row, event_id=uuid7(), event_type="email.sent",
            event_at=timezone.now(), body="{}",
        )  # fmt: skip
    for endpoint in dashboard_of(owner)["endpoints"]:
        assert [row.integration.name for row in listed(owner, endpoint["url"])] == [endpoint["name"]]


def test_endpoint_says_what_waits_and_what_was_given_up(owner: Actor, provider: Integration) -> None:
    Subscription.objects.create(
        integration=provider, transaction=0, event_id=provider.pk, failing_since=timezone.now() - timedelta(days=3)
    )
    for status in (WorkStatus.QUEUED, WorkStatus.FAILED, WorkStatus.FAILED, WorkStatus.DONE):
        Delivery.objects.create(
            workspace=owner.workspace, integration=provider, event_id=uuid7(),
            event_type="email.sent", event_at=timezone.now(), body="{}", status=status,
        )  # fmt: skip
    [endpoint] = surroundings.read(scope(owner)).endpoints
    assert (endpoint.waiting, endpoint.failed, endpoint.at_least) == (1, 2, False)
    assert dashboard_of(owner)["endpoints"][0]["failing"] == "3 days"


def test_storage_is_held_against_the_quota_of_the_workspaces_shown(owner: Actor, settings: Any) -> None:
    settings.DOCUMENT_QUOTA_BYTES = 1000
    DocumentUsage.objects.create(workspace=owner.workspace, size=950)
    shown = tile(dashboard_of(owner), "Documents stored")
    assert "95" in shown.words
    assert shown.tone == "warn"


# --- whose, and at what cost --------------------------------------------------------------------------------------


def test_everything_of_another_workspace_is_left_out(owner: Actor, outsider: Actor, provider: Integration) -> None:
    entry(provider, state=State.BOUNCED, error="secret reason")
    count(provider)
    SyncRunFactory(connection=connect(owner, account_email="secret@hub.example", needs_reauth=True), total=5)
    page = console(outsider).get("/admin/").content.decode()
    for word in ("secret", "hub.example", owner.user.email):
        assert word not in page
    assert mailing.read(scope(outsider)).total == 0
    assert syncing.read(scope(outsider)).counts == {}


def test_operator_sees_the_whole_installation(owner: Actor, outsider: Actor) -> None:
    connect(owner)
    connect(outsider)
    operator = console_of(User.objects.create_superuser("root@example.com", PASSWORD))
    assert tile(operator.get("/admin/").context, "Connections").figure == "2"


def test_queries_do_not_grow_with_what_there_is(
    owner: Actor, provider: Integration, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    fill(owner, provider, 2)
    client = console(owner)
    with django_assert_max_num_queries(MOST_QUERIES) as few:
        assert client.get("/admin/").status_code == 200
    fill(owner, provider, 12)
    with django_assert_max_num_queries(len(few)):
        assert client.get("/admin/").status_code == 200


def fill(owner: Actor, provider: Integration, much: int) -> None:
    """So much of everything."""
    Subscription.objects.get_or_create(integration=provider, defaults={"transaction": 0, "event_id": provider.pk})
    for number in range(much):
        connection = connect(owner, needs_reauth=bool(number % 2), last_error_code="e", last_error_message="w")
        SyncStateFactory(connection=connection)
        SyncRunFactory(connection=connection, total=100)
        entry(provider, state=State.BOUNCED, message_id=f"m{much}-{number}", error="No.")
    count(provider)


def test_middle_of_the_page_is_fetched_alone_and_only_by_who_may_see_it(owner: Actor, member: Actor) -> None:
    part = console(owner).get("/admin/overview")
    assert part.status_code == 200
    assert b"<html" not in part.content
    assert f'data-refresh-seconds="{dashboard.QUIET_SECONDS}"' in part.content.decode()
    assert console(owner).post("/admin/overview").status_code == 405
    assert console(member).get("/admin/overview").status_code == 403


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (89, "89 s"), (90, "2 min"), (5399, "90 min"), (5400, "1.5 h"), (172_800, "2 days"), (None, "")],
)
def test_duration_is_in_the_unit_a_person_would_use(seconds: float | None, words: str) -> None:
    assert duration(seconds) == words


def tile(shown: Any, title: str) -> dashboard.Tile:
    return next(tile for tile in shown["tiles"] if tile.title == title)


def listed(actor: Actor, url: str) -> list[Any]:
    """The rows behind a figure."""
    response = console(actor).get(url)
    assert response.status_code == 200, url
    return list(response.context["cl"].result_list)


def dashboard_of(actor: Actor) -> dict[str, Any]:
    request = RequestFactory().get("/admin/")
    request.user = actor.user
    return dashboard.shown(request)
