"""The console's pages of deliveries and events: found by their indexes, read, sent once more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from core.ids import uuid7
from core.work import WorkStatus
from integrations.admin.looks import PER_PAGE
from integrations.models import Delivery, DeliveryAttempt, Event, Integration, Subscription
from integrations.services import delivery_log, events, integrations
from workspaces.models import AuditEvent
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db
SUBMITTED = {"_form_submitted": "on"}
SECRET = "whsec_c2VjcmV0LW9mLWEtdGVzdC1hbmQtbm8tbW9yZQ=="


def console(actor: Actor) -> Client:
    client = Client()
    client.force_login(actor.user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def page(model: str, name: str, *args: object) -> str:
    return reverse(f"admin:integrations_{model}_{name}", args=args)


def hook(actor: Actor, name: str = "Hook") -> Integration:
    return integrations.create(
        workspace=actor.workspace, by=actor.user, name=name, type="WEBHOOK",
        config={"url": "https://198.45.48.1/", "events": ["*"]}, credentials={"secret": SECRET},
    )  # fmt: skip


def new(integration: Integration, **columns: Any) -> Delivery:
    given = {"event_type": "email.sent", "event_at": timezone.now(), "body": '{"type": "email.sent"}', **columns}
    return Delivery(workspace_id=integration.workspace_id, integration=integration, event_id=uuid7(), **given)


def delivery(integration: Integration, **columns: Any) -> Delivery:
    row = new(integration, **columns)
    row.save(force_insert=True)
    return row


def shown(actor: Actor, **query: str) -> list[Any]:
    response = console(actor).get(page("delivery", "changelist"), query)
    assert response.status_code == 200
    return [row.pk for row in response.context["cl"].result_list]


# --- deliveries ---------------------------------------------------------------------------------------------------


def test_deliveries_of_all_endpoints_are_listed_newest_first(owner: Actor, outsider: Actor) -> None:
    one, two = hook(owner, "One"), hook(owner, "Two")
    rows = [delivery(row) for row in (one, two, one, two)]
    delivery(hook(outsider))
    assert shown(owner) == [row.pk for row in reversed(rows)]


def test_deliveries_are_narrowed_by_endpoint_state_event_and_day(owner: Actor) -> None:
    one, two = hook(owner, "One"), hook(owner, "Two")
    old = delivery(one, id=_id_of(datetime(2026, 3, 1, 12, tzinfo=UTC)))
    failed = delivery(one, status=WorkStatus.FAILED)
    other = delivery(two, event_type="document.uploaded")
    assert shown(owner, endpoint=str(two.pk)) == [other.pk]
    assert shown(owner, state="failed") == [failed.pk]
    assert shown(owner, type="document.uploaded") == [other.pk]
    assert shown(owner, created_at_from="2026-03-01", created_at_to="2026-03-01") == [old.pk]
    assert shown(owner, endpoint="nonsense", state="x") == []
    assert len(shown(owner, state="nonsense", created_at_from="31.12.")) == 3


def _id_of(moment: datetime) -> Any:
    return type(uuid7())(int=round(moment.timestamp() * 1000) << 80)


def test_pages_walk_on_without_counting_and_end(owner: Actor) -> None:
    one, two = hook(owner, "One"), hook(owner, "Two")
    made = Delivery.objects.bulk_create([new(one if n % 2 else two) for n in range(2 * PER_PAGE + 3)])
    client, address, seen = console(owner), page("delivery", "changelist"), []
    pages = 0
    with CaptureQueriesContext(database) as captured:
        query = ""
        while pages == 0 or query:
            listed = client.get(address + query).context["cl"]
            seen += [row.pk for row in listed.result_list]
            query, pages = listed.older, pages + 1
    assert pages == 3
    assert seen == sorted((row.pk for row in made), reverse=True)
    asked = [q["sql"] for q in captured if '"integrations_delivery"' in q["sql"]]
    assert asked
    assert not any("COUNT(" in sql for sql in asked)
    assert not any('"body"' in sql for sql in asked)


@pytest.mark.parametrize("only", [{}, {"status": WorkStatus.FAILED}, {"type": "email.sent"}])
def test_page_is_read_from_an_index_whatever_lies_beside_it(owner: Actor, only: dict[str, Any]) -> None:
    endpoints = [hook(owner, name) for name in ("One", "Two")]
    Delivery.objects.bulk_create([new(row) for row in endpoints for _ in range(3000)])
    with database.cursor() as cursor:
        cursor.execute("ANALYZE integrations_delivery")
    ids = [row.pk for row in endpoints]
    with CaptureQueriesContext(database) as captured:
        delivery_log.newest(integration_ids=ids, only=only, before=uuid7(), limit=20)
    [asked] = [query["sql"] for query in captured if "UNION ALL" in query["sql"]]
    with database.cursor() as cursor:
        cursor.execute(f"EXPLAIN {asked}")
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert plan.count("delivery_list") >= len(ids), plan
    assert "Seq Scan" not in plan, plan


def test_another_filter_begins_at_the_newest(owner: Actor) -> None:
    endpoint = hook(owner)
    Delivery.objects.bulk_create([new(endpoint) for _ in range(PER_PAGE + 1)])
    address = page("delivery", "changelist")
    first = console(owner).get(address).context["cl"]
    html = console(owner).get(address + first.older).content.decode()
    assert "first_page" in html  # the way back
    assert 'name="before"' not in html


def test_list_costs_the_same_for_one_and_for_many(owner: Actor) -> None:
    client, one = console(owner), hook(owner)

    def queries() -> int:
        with CaptureQueriesContext(database) as captured:
            client.get(page("delivery", "changelist"))
        return len(captured)

    delivery(one)
    queries()
    for_one = queries()
    Delivery.objects.bulk_create([new(one) for _ in range(30)])
    assert queries() == for_one


def test_detail_shows_body_and_attempts(owner: Actor) -> None:
    row = delivery(
        hook(owner), status=WorkStatus.QUEUED, attempt_count=2, error_message="The endpoint answered 500.",
        body='{"type": "email.sent", "data": {"x": "<b>"}}',
    )  # fmt: skip
    for number in (1, 2):
        DeliveryAttempt.objects.create(
            delivery=row, number=number, status=500, latency_ms=120 + number, error="The endpoint answered 500.",
            excerpt=f"<i>answer {number}</i>",
        )  # fmt: skip
    html = console(owner).get(page("delivery", "change", row.pk)).content.decode()
    for words in (
        "Waits",
        row.message_id,
        "121 ms",
        "122 ms",
        "&lt;i&gt;answer 2&lt;/i&gt;",
        "&quot;x&quot;: &quot;&lt;b",
    ):
        assert words in html
    assert html.index("122 ms") < html.index("121 ms")
    assert SECRET not in html


def test_one_is_replayed(owner: Actor) -> None:
    row = delivery(hook(owner), status=WorkStatus.FAILED, finished_at=timezone.now(), tries=9)
    client = console(owner)
    client.get(page("delivery", "replay", row.pk))
    row.refresh_from_db()
    assert row.status == WorkStatus.FAILED
    client.post(page("delivery", "replay", row.pk), SUBMITTED)
    row.refresh_from_db()
    assert (row.status, row.tries) == (WorkStatus.QUEUED, 0)
    assert AuditEvent.objects.get(action="integration.replayed").actor == owner.user


def test_replay_of_one_under_way_or_switched_off_says_why(owner: Actor) -> None:
    endpoint = hook(owner)
    row = delivery(endpoint, status=WorkStatus.RUNNING)

    def told() -> str:
        response = console(owner).post(page("delivery", "replay", row.pk), SUBMITTED, follow=True)
        return " ".join(str(message) for message in response.context["messages"])

    assert "An attempt is under way" in told()
    integrations.change(integration=endpoint, by=owner.user, given={"enabled": False})
    assert "Enable it first" in told()


def test_all_failed_since_a_moment_are_replayed(owner: Actor) -> None:
    endpoint, other = hook(owner), hook(owner, "Other")
    since = timezone.now() - timedelta(hours=2)
    failed = [delivery(endpoint, status=WorkStatus.FAILED) for _ in range(3)]
    untouched = [
        delivery(endpoint, status=WorkStatus.FAILED, id=_id_of(since - timedelta(hours=1))),
        delivery(endpoint, status=WorkStatus.DONE),
        delivery(other, status=WorkStatus.FAILED),
        delivery(endpoint, status=WorkStatus.FAILED, event_type="document.uploaded"),
    ]
    given = {**SUBMITTED, "since": f"{since:%Y-%m-%dT%H:%M}", "type": "email.sent"}
    address = page("integration", "replay_failed", endpoint.pk)
    response = console(owner).post(address, given, follow=True)
    assert "3 are sent again." in " ".join(str(message) for message in response.context["messages"])
    queued = set(Delivery.objects.filter(status=WorkStatus.QUEUED).values_list("pk", flat=True))
    assert queued == {row.pk for row in failed}
    assert {row.pk for row in untouched} & queued == set()
    missing = console(owner).post(address, {**SUBMITTED, "since": "yesterday"})
    assert "Enter a valid date/time." in missing.content.decode()


def test_page_of_an_endpoint_says_how_it_behaves(owner: Actor) -> None:
    endpoint = hook(owner)
    client = console(owner)
    assert "Takes what it is sent." in client.get(page("integration", "change", endpoint.pk)).content.decode()
    Subscription.objects.update(
        failures=4, failing_since=timezone.now(), asked_until=timezone.now() + timedelta(minutes=5)
    )
    html = client.get(page("integration", "change", endpoint.pk)).content.decode()
    assert "4 times in a row" in html
    assert "next attempt not before" in html
    assert f"{page('delivery', 'changelist')}?endpoint={endpoint.pk}" in html


def test_deliveries_of_a_deleted_endpoint_stay_readable(owner: Actor) -> None:
    endpoint = hook(owner, "Gone one")
    row = delivery(endpoint, status=WorkStatus.FAILED)
    integrations.remove(integration=endpoint, by=owner.user)
    assert shown(owner) == [row.pk]
    assert "Gone one (deleted)" in console(owner).get(page("delivery", "change", row.pk)).content.decode()


def test_delivery_of_another_workspace_is_not_there(owner: Actor, outsider: Actor) -> None:
    row = delivery(hook(outsider, "secret-name"), status=WorkStatus.FAILED)
    assert console(owner).post(page("delivery", "replay", row.pk), SUBMITTED).status_code == 404
    row.refresh_from_db()
    assert row.status == WorkStatus.FAILED
    assert shown(owner, endpoint=str(row.integration_id)) == []
    assert "secret-name" not in console(owner).get(page("delivery", "changelist")).content.decode()


def test_newest_of_no_endpoint_is_nothing() -> None:
    assert delivery_log.newest(integration_ids=[], only={}, before=None, limit=5) == []


# --- events -------------------------------------------------------------------------------------------------------


def test_events_are_listed_newest_first_and_walked(owner: Actor, outsider: Actor) -> None:
    for number in range(PER_PAGE + 5):
        events.record(workspace_id=owner.workspace.pk, type="email.sent", payload={"number": number})
    events.record(workspace_id=outsider.workspace.pk, type="email.sent", payload={"secret": "secret-fact"})
    client, address = console(owner), page("event", "changelist")
    first = client.get(address).context["cl"]
    numbers = [row.payload["number"] for row in first.result_list]
    second = client.get(address + first.older).context["cl"]
    numbers += [row.payload["number"] for row in second.result_list]
    assert numbers == list(reversed(range(PER_PAGE + 5)))
    assert second.older == ""
    assert "secret-fact" not in client.get(address).content.decode()


def test_events_of_one_type_are_looked_for_among_the_newest(owner: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    for type in ("document.uploaded", "email.sent", "document.deleted", "email.sent"):
        events.record(workspace_id=owner.workspace.pk, type=type)

    def found() -> list[str]:
        listed = console(owner).get(page("event", "changelist"), {"type": "document.uploaded"}).context["cl"]
        return [row.type for row in listed.result_list]

    assert found() == ["document.uploaded"]
    monkeypatch.setattr(events, "LOOKED_AT", 2)
    assert found() == []


def test_event_has_a_page_and_no_form(owner: Actor) -> None:
    events.record(workspace_id=owner.workspace.pk, type="email.sent", payload={"fact": "<b>"})
    row = Event.objects.get()
    html = console(owner).get(page("event", "change", row.pk)).content.decode()
    assert "&quot;fact&quot;: &quot;&lt;b&gt;&quot;" in html
    assert console(owner).post(page("event", "change", row.pk), {"type": "x"}).status_code == 403
