"""Using integrations: checks and actions, refusals in the vendor's words, health and incidents, notices to owners."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from core.errors import CredentialsRejected
from core.work import WorkStatus
from integrations.models import Event, Health, Integration, IntegrationCheck, Notice
from integrations.providers import INTEGRATION_PROVIDERS
from integrations.providers.base import Checked
from integrations.services import integration_health, integration_use, notice_sending, notices
from integrations.tests.letterbox import BAD_KEY, GOOD_KEY, Letterbox
from integrations.tests.test_integrations import API, HOOK, made
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _letterbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(INTEGRATION_PROVIDERS.paths, "LETTERBOX", "integrations.tests.letterbox.Letterbox")
    monkeypatch.setattr(Letterbox, "away", False)
    Letterbox.sent.clear()
    Letterbox.asked.clear()
    yield
    INTEGRATION_PROVIDERS._loaded.pop("LETTERBOX", None)


def told() -> list[str]:
    names = ("integration.failing", "integration.recovered")
    return list(Event.objects.filter(type__in=names).order_by("id").values_list("type", flat=True))


def due_now() -> None:
    Integration.objects.update(next_check_at=timezone.now() - timedelta(seconds=1))


def test_check_says_in_a_sentence_how_it_went(admin: Actor) -> None:
    row = made(admin)
    body = admin.client.post(f"{API}/{row['id']}/test").json()
    assert body.pop("latencyMs") >= 0
    assert body == {"ok": True, "message": "Letterbox is open.", "code": "", "details": {"slots": 2}}
    health = admin.client.get(f"{API}/{row['id']}").json()["health"]
    assert (health["status"], health["message"]) == ("ok", "Letterbox is open.")


def test_check_that_is_refused_is_an_answer_and_an_incident(admin: Actor) -> None:
    row = made(admin, credentials={"apiKey": BAD_KEY})
    for _ in range(2):
        answer = admin.client.post(f"{API}/{row['id']}/test")
        assert answer.status_code == 200
        assert answer.json()["ok"] is False
        assert (answer.json()["code"], answer.json()["message"]) == (
            "credentials_rejected",
            "Letterbox: this key opens nothing.",
        )
    assert admin.client.get(f"{API}/{row['id']}").json()["health"]["status"] == "failing"
    assert told() == ["integration.failing"]
    assert Notice.objects.count() == 1
    admin.client.patch(f"{API}/{row['id']}", {"credentials": {"apiKey": GOOD_KEY}}, format="json")
    admin.client.post(f"{API}/{row['id']}/test")
    assert told() == ["integration.failing", "integration.recovered"]
    assert Notice.objects.count() == 2


def test_checks_are_kept_as_they_came_out_as_far_back_as_is_said(admin: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(IntegrationCheck, "KEPT", 2)
    other = made(admin, name="Other")
    admin.client.post(f"{API}/{other['id']}/test")
    row = made(admin, credentials={"apiKey": BAD_KEY})
    for _ in range(2):
        admin.client.post(f"{API}/{row['id']}/test")
    admin.client.patch(f"{API}/{row['id']}", {"credentials": {"apiKey": GOOD_KEY}}, format="json")
    admin.client.post(f"{API}/{row['id']}/test")
    kept = integration_health.checks(Integration.objects.get(pk=row["id"]))
    assert [(check.code, check.message) for check in kept] == [
        ("", "Letterbox is open."), ("credentials_rejected", "Letterbox: this key opens nothing."),
    ]  # fmt: skip
    assert len(integration_health.checks(Integration.objects.get(pk=other["id"]))) == 1


def test_notices_are_kept_as_far_back_as_is_said_and_those_to_be_sent_all(
    admin: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Notice, "KEPT", 2)
    row = Integration.objects.get(pk=made(admin)["id"])
    other = Integration.objects.get(pk=made(admin, name="Other")["id"])
    notices.recovered(other)
    Notice.objects.update(status=WorkStatus.DONE)
    for _ in range(3):
        notices.failing(row)
    assert len(notices.told(row)) == 3  # all of them are to be sent
    Notice.objects.update(status=WorkStatus.FAILED)
    notices.recovered(row)
    assert [said.subject for said in notices.told(row)] == [
        "Production Email works again",
        "Production Email stopped working",
    ]
    assert len(notices.told(other)) == 1


def test_action_gives_its_result_and_the_vendors_refusal_as_it_is(admin: Actor) -> None:
    row = made(admin)
    send = f"{API}/{row['id']}/actions/send"
    mail = {"to": ["bob@example.com"], "subject": "Hello", "body": "Text\nof two lines"}
    answer = admin.client.post(send, mail, format="json")
    assert (answer.status_code, answer.json()["action"]) == (200, "send")
    result = answer.json()["result"]
    assert (result["status"], result["messageId"], result["integrationId"]) == ("accepted", "mail-1", row["id"])
    assert Letterbox.sent == [mail]
    Integration.objects.update(enabled=True)
    admin.client.patch(f"{API}/{row['id']}", {"credentials": {"apiKey": BAD_KEY}}, format="json")
    refused = admin.client.post(send, mail, format="json")
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "credentials_rejected")
    assert refused.json()["error"]["message"] == "Letterbox: this key opens nothing."
    assert admin.client.get(f"{API}/{row['id']}").json()["health"]["status"] == "failing"


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"to": ["nobody"], "subject": "S", "body": "B"}, "to"),
        ({"to": "bob@example.com", "subject": "S", "body": "B"}, "to"),
        ({"subject": "S", "body": "B"}, "to"),
        ({"to": ["bob@example.com"], "subject": "S\r\nBcc: eve@example.com", "body": "B"}, "subject"),
        ({"to": ["bob@example.com"], "subject": "S", "body": "B", "html": "<p>"}, "html"),
    ],
    ids=["no-address", "no-list", "missing", "header-injection", "unknown"],
)
def test_action_with_bad_input_names_the_field_and_asks_nobody(admin: Actor, given: dict[str, Any], field: str) -> None:
    row = made(admin)
    answer = admin.client.post(f"{API}/{row['id']}/actions/send", given, format="json")
    assert answer.status_code == 400, answer.content
    assert set(answer.json()["error"]["fields"]) == {field}
    assert Letterbox.asked == []


def test_action_of_a_disabled_one_is_refused_before_anybody_is_asked(admin: Actor) -> None:
    row = made(admin, enabled=False)
    answer = admin.client.post(f"{API}/{row['id']}/actions/list_templates", {}, format="json")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "integration_disabled")
    assert admin.client.post(f"{API}/{row['id']}/actions/dance", {}, format="json").status_code == 404
    assert Letterbox.asked == []


def test_outage_is_an_incident_only_after_several_checks(admin: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    made(admin)
    monkeypatch.setattr(Letterbox, "away", True)
    for expected in ([], [], ["integration.failing"], ["integration.failing"]):
        due_now()
        assert integration_use.check_due() == 1
        assert told() == expected
    row = Integration.objects.get()
    assert (row.health, row.health_message) == (Health.FAILING, "Letterbox did not answer.")
    assert row.next_check_at > timezone.now()
    monkeypatch.setattr(Letterbox, "away", False)
    due_now()
    integration_use.check_due()
    assert told() == ["integration.failing", "integration.recovered"]
    assert Integration.objects.get().next_check_at > timezone.now() + timedelta(hours=23)


def test_check_due_asks_only_enabled_ones_with_credentials_and_each_once(admin: Actor) -> None:
    made(admin)
    off = made(admin, name="Off", enabled=False)
    gone = made(admin, name="Gone")
    admin.client.delete(f"{API}/{gone['id']}")
    due_now()
    assert integration_use.check_due() == 1
    assert integration_use.check_due() == 0
    assert Letterbox.asked == ["check"]
    assert Integration.objects.get(pk=off["id"]).health == Health.UNKNOWN


def test_check_that_breaks_costs_the_others_nothing(admin: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = made(admin, name="Broken"), made(admin, name="Sound")
    due_now()

    def check(self: Letterbox) -> Checked:
        if self.config["fromEmail"] == "broken@example.com":
            raise ZeroDivisionError
        return Checked("Fine.")

    Integration.objects.filter(pk=first["id"]).update(config={"fromEmail": "broken@example.com"})
    monkeypatch.setattr(Letterbox, "check", check)
    assert integration_use.check_due() == 2
    assert Integration.objects.get(pk=second["id"]).health == Health.OK
    assert Integration.objects.get(pk=first["id"]).health == Health.UNKNOWN


def test_what_a_check_found_of_settings_that_were_changed_meanwhile_is_not_kept(admin: Actor) -> None:
    row = Integration.objects.get(pk=made(admin)["id"])
    admin.client.patch(f"{API}/{row.pk}", {"config": {"fromEmail": "other@example.com"}}, format="json")
    integration_health.refused(row, CredentialsRejected("No."), checking=True)
    assert Integration.objects.get(pk=row.pk).health == Health.UNKNOWN


def test_owners_are_told_by_another_provider_than_the_broken_one(admin: Actor, owner: Actor) -> None:
    broken = made(admin, credentials={"apiKey": BAD_KEY}, setAsSiteEmailProvider=True)
    admin.client.post(f"{API}/{broken['id']}/test")
    notice_sending.send_due()
    notice = Notice.objects.get()
    assert (notice.status, notice.error_code) == (WorkStatus.QUEUED, "not_configured")
    made(admin, name="Spare")
    Notice.objects.update(next_attempt_at=timezone.now() - timedelta(seconds=1))
    notice_sending.send_due()
    notice_sending.send_due()
    assert [mail["to"] for mail in Letterbox.sent] == [[owner.user.email]]
    assert Letterbox.sent[0]["subject"] == "Production Email stopped working"
    assert "this key opens nothing" in Letterbox.sent[0]["body"]
    assert Notice.objects.get().status == WorkStatus.DONE


def test_notice_whose_sender_died_is_not_sent_again(admin: Actor) -> None:
    row = made(admin)
    Notice.objects.create(
        workspace=admin.workspace, integration_id=row["id"], subject="S", text="T", status=WorkStatus.RUNNING,
        attempts=1, lease_until=timezone.now() - timedelta(seconds=1),
    )  # fmt: skip
    notice_sending.send_due()
    assert Notice.objects.get().error_code == "unconfirmed"
    assert Letterbox.sent == []


def test_check_that_was_under_way_says_nothing_of_new_credentials(admin: Actor) -> None:
    made(admin, credentials={"apiKey": BAD_KEY})
    before = Integration.objects.select_related("workspace").get()
    admin.client.patch(f"{API}/{before.pk}", {"credentials": {"apiKey": GOOD_KEY}}, format="json")
    assert integration_use.test(integration=before).ok is False
    assert Integration.objects.get().health == Health.UNKNOWN
    assert told() == []


def test_check_that_is_felt_at_the_other_end_is_not_made_after_every_change(admin: Actor) -> None:
    made(admin)
    hook = admin.client.post(API, HOOK, format="json").json()
    admin.client.patch(f"{API}/{hook['id']}", {"config": {"url": "https://198.45.48.2/in"}}, format="json")
    due = Integration.objects.filter(next_check_at__lte=timezone.now())
    assert [row.name for row in due] == ["Production Email"]
    later = Integration.objects.get(pk=hook["id"]).next_check_at - timezone.now()
    assert timedelta(hours=23) < later <= timedelta(days=1)
