"""The workspace's integrations API: made, shown, changed and removed as documented, and secrets never seen again."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection as database
from django.db import connections, transaction

from integrations.models import Event, Integration
from integrations.providers import INTEGRATION_PROVIDERS
from integrations.services import events
from integrations.tests.letterbox import BAD_KEY, GOOD_KEY, Letterbox
from workspaces.models import AuditEvent
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db

API = "/api/integrations"
EMAIL = {
    "name": "Production Email",
    "type": "LETTERBOX",
    "config": {"fromEmail": "noreply@example.com", "fromName": "Opbox Notifications"},
    "credentials": {"apiKey": GOOD_KEY},
}
HOOK = {
    "name": "Hook",
    "type": "WEBHOOK",
    "config": {"url": "https://198.45.48.1/in"},
    "credentials": {"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"},
}


@pytest.fixture(autouse=True)
def _letterbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(INTEGRATION_PROVIDERS.paths, "LETTERBOX", "integrations.tests.letterbox.Letterbox")
    Letterbox.sent.clear()
    Letterbox.asked.clear()
    yield
    INTEGRATION_PROVIDERS._loaded.pop("LETTERBOX", None)


def made(actor: Actor, **changes: Any) -> dict[str, Any]:
    answer = actor.client.post(API, {**EMAIL, **changes}, format="json")
    assert answer.status_code == 201, answer.content
    body: dict[str, Any] = answer.json()
    return body


def test_create_answers_what_the_document_shows(admin: Actor) -> None:
    body = made(admin, enabled=True, setAsSiteEmailProvider=True)
    assert body["name"] == "Production Email"
    assert body["type"] == "LETTERBOX"
    assert body["config"] == {
        "fromEmail": "noreply@example.com",
        "fromName": "Opbox Notifications",
        "apiKeyFingerprint": body["config"]["apiKeyFingerprint"],
    }
    assert body["config"]["apiKeyFingerprint"].startswith("key.")
    assert body["config"]["apiKeyFingerprint"].endswith("...****")
    assert (body["enabled"], body["isSiteEmailProvider"], body["credentialsConfigured"]) == (True, True, True)
    assert body["credentialAge"] == 0
    assert body["health"]["status"] == "unknown"
    assert body["createdAt"].endswith("Z")
    assert body["updatedAt"].endswith("Z")


def test_list_is_a_bare_array_without_what_only_details_say(admin: Actor, member: Actor) -> None:
    first, second = made(admin), made(admin, name="Second", enabled=False)
    rows = member.client.get(API).json()
    assert [row["id"] for row in rows] == [first["id"], second["id"]]
    documented = {"id", "name", "type", "config", "enabled", "isSiteEmailProvider", "createdAt", "updatedAt"}
    assert set(rows[0]) == documented
    assert [row["id"] for row in member.client.get(f"{API}?enabled=false").json()] == [second["id"]]
    assert member.client.get(f"{API}?type=WEBHOOK").json() == []


def test_list_opens_no_secret_and_asks_as_often_for_many_as_for_one(
    admin: Actor, member: Actor, django_assert_max_num_queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        made(admin, name=f"No. {number}")
    monkeypatch.setattr("core.crypto.unseal", None)
    member.client.get(API)
    with django_assert_max_num_queries(2):
        assert len(member.client.get(API).json()) == 5


def test_stats_count_by_state_and_type(admin: Actor, member: Actor, outsider: Actor) -> None:
    made(admin)
    made(admin, enabled=False)
    admin.client.post(API, HOOK, format="json")
    made(outsider)
    expected = {"total": 3, "enabled": 2, "disabled": 1, "byType": {"LETTERBOX": 2, "WEBHOOK": 1}}
    assert member.client.get(f"{API}/stats").json() == expected


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 256}, "name"),
        ({"name": None}, "name"),
        ({"name": "a\r\nBcc: eve@example.com"}, "name"),
        ({"type": "CARRIER_PIGEON"}, "type"),
        ({"type": None}, "type"),
        ({"colour": "red"}, "colour"),
        ({"config": {"fromEmial": "a@b.example"}}, "config.fromEmial"),
        ({"config": {"fromEmail": "nobody"}}, "config.fromEmail"),
        ({"config": {"fromName": "a\r\nBcc: b@c.example"}}, "config.fromName"),
        ({"config": {"apiKeyFingerprint": "key.0000...****"}}, "config.apiKeyFingerprint"),
        ({"config": {"baseUrl": "javascript:alert(1)"}}, "config.baseUrl"),
        ({"config": {"baseUrl": "https://127.0.0.1/"}}, "config.baseUrl"),
        ({"config": {"baseUrl": "https://[::ffff:10.0.0.1]/"}}, "config.baseUrl"),
        ({"config": {"baseUrl": "https://0x7f000001/"}}, "config.baseUrl"),
        ({"config": {"baseUrl": "http://198.45.48.1/"}}, "config.baseUrl"),
        ({"config": {"baseUrl": "https://user:word@198.45.48.1/"}}, "config.baseUrl"),
        ({"config": []}, "config"),
        ({"credentials": {}}, "credentials.apiKey"),
        ({"credentials": {"apiKey": ""}}, "credentials.apiKey"),
        ({"credentials": {"apiKey": "ends with a newline\n"}}, "credentials.apiKey"),
        ({"credentials": {"apiKey": GOOD_KEY, "apikey": "x"}}, "credentials.apikey"),
        ({"credentials": {"apiKey": 7}}, "credentials.apiKey"),
        ({"enabled": "perhaps"}, "enabled"),
        ({"enabled": False, "setAsSiteEmailProvider": True}, "setAsSiteEmailProvider"),
    ],
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else None,
)
def test_create_with_bad_input_names_the_field_and_stores_nothing(
    admin: Actor, change: dict[str, Any], field: str
) -> None:
    answer = admin.client.post(API, {**EMAIL, **change}, format="json")
    assert answer.status_code == 400, answer.content
    assert set(answer.json()["error"]["fields"]) == {field}
    assert GOOD_KEY not in answer.content.decode()
    assert not Integration.objects.exists()
    assert Letterbox.asked == []


def test_create_that_is_no_email_provider_cannot_be_the_sites(admin: Actor) -> None:
    answer = admin.client.post(API, {**HOOK, "setAsSiteEmailProvider": True}, format="json")
    assert answer.status_code == 400
    assert list(answer.json()["error"]["fields"]) == ["setAsSiteEmailProvider"]


def test_member_sees_the_list_and_changes_nothing(admin: Actor, member: Actor) -> None:
    row = made(admin)
    one = f"{API}/{row['id']}"
    refused = [
        member.client.post(API, EMAIL, format="json"),
        member.client.get(one),
        member.client.patch(one, {"name": "Mine"}, format="json"),
        member.client.delete(one),
        member.client.post(f"{one}/test"),
        member.client.post(f"{one}/actions/send", {}, format="json"),
    ]
    assert {answer.status_code for answer in refused} == {403}
    assert Integration.objects.get().name == EMAIL["name"]


def test_another_workspaces_integration_is_missing(admin: Actor, outsider: Actor) -> None:
    row = made(admin)
    for path in (row["id"], str(uuid.uuid4()), "7"):
        answers = [
            outsider.client.get(f"{API}/{path}"),
            outsider.client.patch(f"{API}/{path}", {"name": "x"}, format="json"),
            outsider.client.delete(f"{API}/{path}"),
            outsider.client.post(f"{API}/{path}/test"),
        ]
        assert {answer.status_code for answer in answers} == {404}


def test_credentials_are_nowhere_in_the_clear(admin: Actor) -> None:
    row = made(admin, config={"hookUrl": "https://hooks.example/secret-path"})
    assert row["config"]["hookUrl"] == "https://hooks.example/...****"
    admin.client.patch(f"{API}/{row['id']}", {"credentials": {"apiKey": "another-good-key"}}, format="json")
    with database.cursor() as cursor:
        for table in ("integrations_integration", "integrations_event", "workspaces_auditevent"):
            cursor.execute(f"SELECT string_agg(t::text, ' ') FROM {table} t")
            text = cursor.fetchone()[0] or ""
            assert GOOD_KEY not in text, table
            assert "secret-path" not in text, table
    shown = admin.client.get(f"{API}/{row['id']}").content.decode()
    assert GOOD_KEY not in shown
    assert "secret-path" not in shown


def test_fingerprint_is_the_same_for_the_same_key_of_a_workspace(admin: Actor, outsider: Actor) -> None:
    first, second = made(admin), made(admin, name="Second")
    other = made(admin, name="Third", credentials={"apiKey": BAD_KEY})
    marks = [row["config"]["apiKeyFingerprint"] for row in (first, second, other, made(outsider))]
    assert marks[0] == marks[1]
    assert len({*marks}) == 3


def test_change_lays_settings_over_those_before(admin: Actor) -> None:
    row = made(admin)
    one = f"{API}/{row['id']}"
    answer = admin.client.patch(one, {"config": {"fromName": None, "fromEmail": "new@example.com"}}, format="json")
    assert answer.json()["config"] == {
        "fromEmail": "new@example.com",
        "apiKeyFingerprint": row["config"]["apiKeyFingerprint"],
    }
    assert answer.json()["credentialsConfigured"] is True
    assert answer.json()["updatedAt"] > row["updatedAt"]


def test_change_with_what_was_shown_changes_nothing(admin: Actor) -> None:
    row = made(admin, config={"hookUrl": "https://hooks.example/secret-path", "fromEmail": "a@example.com"})
    answer = admin.client.patch(f"{API}/{row['id']}", {"config": row["config"]}, format="json")
    assert answer.status_code == 200
    assert answer.json() == row
    assert Integration.objects.get().secrets["config"] == {"hookUrl": "https://hooks.example/secret-path"}


def test_change_of_the_address_clears_the_credentials(admin: Actor) -> None:
    row = made(admin, config={"baseUrl": "https://198.45.48.1/a"})
    one = f"{API}/{row['id']}"
    answer = admin.client.patch(one, {"config": {"baseUrl": "https://198.45.48.2/a"}}, format="json").json()
    assert answer["credentialsConfigured"] is False
    assert "apiKeyFingerprint" not in answer["config"]
    assert Integration.objects.get().credentials is None
    used = admin.client.post(f"{one}/actions/list_templates", {}, format="json")
    assert (used.status_code, used.json()["error"]["code"]) == (409, "not_configured")
    again = {"config": {"baseUrl": "https://198.45.48.3/a"}, "credentials": {"apiKey": GOOD_KEY}}
    assert admin.client.patch(one, again, format="json").json()["credentialsConfigured"] is True


def test_change_cannot_make_it_another_type(admin: Actor) -> None:
    row = made(admin)
    answer = admin.client.patch(f"{API}/{row['id']}", {"type": "WEBHOOK"}, format="json")
    assert (answer.status_code, list(answer.json()["error"]["fields"])) == (400, ["type"])


def test_site_email_provider_moves_and_goes_with_what_is_disabled(admin: Actor) -> None:
    first = made(admin, setAsSiteEmailProvider=True)
    second = made(admin, name="Second")
    one, two = f"{API}/{first['id']}", f"{API}/{second['id']}"
    admin.client.patch(two, {"setAsSiteEmailProvider": True}, format="json")
    assert [row["isSiteEmailProvider"] for row in admin.client.get(API).json()] == [False, True]
    assert admin.client.patch(two, {"enabled": False}, format="json").json()["isSiteEmailProvider"] is False
    refused = admin.client.patch(two, {"setAsSiteEmailProvider": True}, format="json")
    assert list(refused.json()["error"]["fields"]) == ["setAsSiteEmailProvider"]
    admin.client.patch(one, {"setAsSiteEmailProvider": True}, format="json")
    admin.client.patch(one, {"setAsSiteEmailProvider": False}, format="json")
    assert [row["isSiteEmailProvider"] for row in admin.client.get(API).json()] == [False, False]


@pytest.mark.django_db(transaction=True)
def test_site_email_provider_is_one_also_when_many_want_to_be_it(admin: Actor) -> None:
    rows = [made(admin, name=f"No. {number}") for number in range(4)]
    statuses: list[int] = []

    def claim(row: dict[str, Any]) -> None:
        try:
            answer = admin.client.patch(f"{API}/{row['id']}", {"setAsSiteEmailProvider": True}, format="json")
            statuses.append(answer.status_code)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=claim, args=(row,)) for row in rows]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 4
    assert Integration.objects.filter(is_site_email_provider=True).count() == 1


@pytest.mark.django_db(transaction=True)
def test_change_waits_for_whoever_holds_the_integration_and_never_they_for_it(admin: Actor) -> None:
    """A check that ends tells an event of the workspace while it holds the row."""
    row = made(admin)
    statuses: list[int] = []

    def rename() -> None:
        try:
            answer = admin.client.patch(f"{API}/{row['id']}", {"name": "Other"}, format="json")
            statuses.append(answer.status_code)
        finally:
            connections.close_all()

    changing = threading.Thread(target=rename)
    waiting = (
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')"
    )
    with transaction.atomic(), database.cursor() as cursor:
        Integration.objects.select_for_update().get(pk=row["id"])
        changing.start()
        for _ in range(1000):
            cursor.execute(waiting)
            if cursor.fetchone()[0]:
                break
        events.record(workspace_id=admin.workspace.pk, type="integration.failing")
    changing.join(20)
    assert statuses == [200]


def test_delete_takes_the_secrets_and_keeps_the_row(admin: Actor) -> None:
    row = made(admin, setAsSiteEmailProvider=True)
    assert admin.client.delete(f"{API}/{row['id']}").status_code == 204
    kept = Integration.objects.get()
    assert (kept.credentials, kept.enabled, kept.is_site_email_provider) == (None, False, False)
    assert admin.client.get(f"{API}/{row['id']}").status_code == 404
    assert admin.client.get(API).json() == []
    assert admin.client.get(f"{API}/stats").json()["total"] == 0


def test_changes_are_in_the_trail_by_field_names_and_go_out_as_events(admin: Actor) -> None:
    row = made(admin)
    one = f"{API}/{row['id']}"
    admin.client.patch(one, {"config": {"fromName": "Other"}, "credentials": {"apiKey": BAD_KEY}}, format="json")
    admin.client.patch(one, {"config": {"fromName": "Other"}}, format="json")  # as it was: nothing to tell
    admin.client.delete(one)
    trail = AuditEvent.objects.filter(action__startswith="integration.").order_by("id")
    assert [entry.action.partition(".")[2] for entry in trail] == ["created", "updated", "deleted"]
    assert trail[1].changes == {"fields": ["config.fromName", "credentials.apiKey"], "credentials": "changed"}
    assert all(entry.actor == admin.user for entry in trail)
    told = Event.objects.filter(type__startswith="integration.").order_by("id")
    assert [event.type for event in told] == ["integration.created", "integration.updated", "integration.deleted"]
    assert {event.payload["integrationId"] for event in told} == {row["id"]}


def test_secret_that_was_replaced_signs_on_for_a_day(admin: Actor) -> None:
    row = admin.client.post(API, HOOK, format="json").json()
    one = f"{API}/{row['id']}"
    admin.client.patch(one, {"credentials": {"secret": "another secret of twenty-four"}}, format="json")
    retired = Integration.objects.get().secrets["retired"]
    assert [entry["value"] for entry in retired] == [HOOK["credentials"]["secret"]]  # type: ignore[index]
    admin.client.patch(one, {"config": {"url": "https://198.45.48.2/in"}}, format="json")
    assert Integration.objects.get().credentials is None


def test_types_declare_what_the_document_lists(member: Actor) -> None:
    types = {row["type"]: row for row in member.client.get(f"{API}/types").json()["types"]}
    webhook = types["WEBHOOK"]
    assert set(webhook["config"]["properties"]) == {"url", "events"}
    assert webhook["config"]["required"] == ["url"]
    assert webhook["credentials"]["properties"]["secret"]["writeOnly"] is True
    assert webhook["capabilities"] == ["events"]


@pytest.mark.parametrize(
    ("events", "status"),
    [(["email.received", "integration.*"], 201), (["*"], 201), (["email.read"], 400), (["email.updated"], 400)],
)
def test_subscription_names_events_that_exist(admin: Actor, events: list[str], status: int) -> None:
    body = {**HOOK, "config": {**HOOK["config"], "events": events}}  # type: ignore[dict-item]
    answer = admin.client.post(API, body, format="json")
    assert answer.status_code == status
    if status == 400:
        assert list(answer.json()["error"]["fields"]) == ["config.events"]


def test_create_with_a_key_of_idempotency_is_done_once(admin: Actor) -> None:
    bodies = [
        admin.client.post(API, EMAIL, format="json", headers={"Idempotency-Key": "once"}).json() for _ in range(2)
    ]
    assert bodies[0] == bodies[1]
    assert Integration.objects.count() == 1
