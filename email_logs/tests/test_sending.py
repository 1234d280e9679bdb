"""Sending a workspace's mail through the API: what it answers, what the log says, what is refused and asks nobody."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from core.api.serializers import wire_time
from core.errors import ProviderOutcomeUnknown, ProviderRateLimited, ProviderRejected, ProviderUnavailable
from email_logs.models import EmailLogEntry, OutgoingEmail, Suppression
from email_logs.services import send_email
from email_logs.tests.postbox import MAIL, Postbox, entry, provider, send, time_passes
from integrations.models import Event
from workspaces.models import AuditEvent
from workspaces.tests.fixtures import Actor

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("postboxes")]

ENTRIES = EmailLogEntry._meta.db_table


def told() -> list[tuple[str, str]]:
    rows = Event.objects.filter(type__in=("email.sent", "email.failed")).order_by("id")
    return [(row.type, row.payload["emailId"]) for row in rows]


def test_mail_that_is_taken_is_in_the_log_with_all_it_has(admin: Actor) -> None:
    through = provider(admin)
    answer = send(
        admin.client, cc=["bob@hub.example"], bcc=["eve@hub.example"], source="Workflow Email",
        attachments=[{"fileName": "a.txt", "contentBase64": "AAAA"}],
    )  # fmt: skip
    assert answer.status_code == 201, answer.content
    row, body = entry(), answer.json()
    assert body == {
        "id": str(row.pk),
        "status": "accepted",
        "messageId": "POSTBOX-0",
        "tableId": str(row.table_id),
        "integrationId": str(through.pk),
        "sentAt": wire_time(entry().sent_at),
        "suppressed": [],
        "error": "",
    }
    shown = (row.to, row.cc, row.bcc, row.sender, row.subject, row.source, row.attachments, row.state, row.message_id)
    assert shown == (
        "ada@hub.example", "bob@hub.example", "eve@hub.example", "hub@mail.example", "Hello", "Workflow Email", 1,
        "accepted", "POSTBOX-0",
    )  # fmt: skip
    assert row.table.integration_id == through.pk
    (mail,) = Postbox.asked
    assert (mail.reference, mail.idempotency_key) == (str(row.pk), f"log-{row.pk}")
    work = OutgoingEmail.objects.get()
    assert (work.status, work.mail, work.calling) == ("done", None, False)
    assert told() == [("email.sent", str(row.pk))]
    used = AuditEvent.objects.get(action="email.send")
    assert (used.actor, used.object_id) == (admin.user, str(row.pk))


def test_mail_costs_the_log_two_statements(admin: Actor) -> None:
    provider(admin)
    with CaptureQueriesContext(
        database,
    ) as asked:
        assert send(admin.client).status_code == 201
    assert len([query for query in asked if ENTRIES in query["sql"]]) == 2


def test_queued_mail_costs_the_log_two_statements(admin: Actor) -> None:
    provider(admin)
    with CaptureQueriesContext(database) as asked:
        send_email(workspace=admin.workspace, given=MAIL, at_once=False)
        time_passes()
    statements = [query["sql"].split(" ")[0] for query in asked if ENTRIES in query["sql"]]
    assert (statements, entry().state) == (["INSERT", "UPDATE"], "accepted")


def test_mail_the_provider_refuses_is_422_in_its_words_and_failed(admin: Actor) -> None:
    provider(admin)
    Postbox.script.append(ProviderRejected("Postbox answered 422: Template `x` not found."))
    answer = send(admin.client, templateId="x", body=None, subject=None)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "provider_rejected")
    assert answer.json()["error"]["message"] == "Postbox answered 422: Template `x` not found."
    assert answer.json()["error"]["emailId"] == str(entry().pk)
    assert (entry().state, entry().error) == ("failed", "Postbox answered 422: Template `x` not found.")
    assert told() == [("email.failed", str(entry().pk))]
    time_passes()
    assert len(Postbox.asked) == 1


@pytest.mark.parametrize("error", [ProviderUnavailable("Away."), ProviderRateLimited("Slow down.", retry_after=7)])
def test_mail_that_was_surely_not_taken_is_queued_and_leaves_later(admin: Actor, error: Exception) -> None:
    provider(admin)
    Postbox.script.append(error)
    answer = send(admin.client)
    assert (answer.status_code, answer.json()["status"], answer.json()["sentAt"]) == (201, "queued", None)
    assert entry().error == str(error)
    assert told() == []
    time_passes()
    assert (entry().state, entry().error, len(Postbox.taken)) == ("accepted", "", 1)
    assert told() == [("email.sent", str(entry().pk))]


def test_mail_of_which_nobody_knows_is_unknown_and_never_sent_again(admin: Actor) -> None:
    provider(admin)
    Postbox.script.append((ProviderOutcomeUnknown("No answer."),))
    answer = send(admin.client)
    assert (answer.status_code, answer.json()["status"]) == (201, "unknown")
    time_passes()
    assert (entry().state, len(Postbox.asked)) == ("unknown", 1)
    assert told() == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"to": ["nobody"]}, "to"),
        ({"to": []}, "to"),
        ({"to": None}, "to"),
        ({"cc": ["bob@hub.example\r\nBcc: eve@else.example"]}, "cc"),
        ({"subject": "Hello\r\nBcc: eve@else.example"}, "subject"),
        ({"subject": "Hello\nthere"}, "subject"),
        ({"to": [f"a{n}@hub.example" for n in range(51)]}, "to"),
        ({"source": "Newsletter"}, "source"),
        ({"source": 7}, "source"),
        ({"body": None}, "body"),
        ({"html": "<p>"}, "html"),
        ({"integrationId": 7}, "integrationId"),
        ({"attachments": [{"fileName": "a.txt", "contentBase64": "?"}]}, "attachments.0.contentBase64"),
    ],
    ids=[
        "bad-address", "nobody", "no-to", "injection-in-address", "injection-in-subject", "line-break", "too-many",
        "unknown-source", "no-text-source", "nothing-said", "unknown-field", "no-id", "no-base64",
    ],
)  # fmt: skip
def test_bad_input_is_400_with_the_field_and_writes_nothing(admin: Actor, changes: dict[str, Any], field: str) -> None:
    provider(admin)
    answer = send(admin.client, **changes)
    assert (answer.status_code, list(answer.json()["error"]["fields"])) == (400, [field])
    assert (EmailLogEntry.objects.count(), OutgoingEmail.objects.count(), Postbox.asked) == (0, 0, [])


def test_without_a_site_provider_it_is_409(admin: Actor) -> None:
    provider(admin, site=False)
    assert send(admin.client).json()["error"]["code"] == "not_configured"
    assert send(admin.client).status_code == 409


def test_named_provider_is_used_and_must_be_one_of_ours_that_is_enabled(admin: Actor, outsider: Actor) -> None:
    provider(admin)
    other = provider(admin, site=False, sender="other@mail.example")
    theirs = provider(outsider)
    assert send(admin.client, integrationId=str(other.pk)).json()["integrationId"] == str(other.pk)
    assert send(admin.client, integrationId=str(theirs.pk)).status_code == 404
    admin.client.patch(f"/api/integrations/{other.pk}", {"enabled": False}, format="json")
    refused = send(admin.client, integrationId=str(other.pk))
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "integration_disabled")
    hook = {"name": "Hook", "type": "WEBHOOK", "config": {"url": "https://198.45.48.1/in"}}
    made = admin.client.post("/api/integrations", hook | {"credentials": {"secret": "a secret of a webhook"}})
    assert send(admin.client, integrationId=made.json()["id"]).status_code == 422
    assert len(Postbox.asked) == 1


def test_member_may_not_send(member: Actor, admin: Actor) -> None:
    provider(admin)
    assert send(member.client).status_code == 403


# --- suppressed addresses -----------------------------------------------------------------------------------------


def suppress(actor: Actor, *addresses: str) -> None:
    for address in addresses:
        Suppression.objects.create(workspace=actor.workspace, address=address, reason="bounced")


def test_suppressed_addresses_are_left_out_and_that_is_said(admin: Actor, outsider: Actor) -> None:
    provider(admin)
    suppress(admin, "ada@hub.example", "eve@hub.example")
    suppress(outsider, "bob@hub.example")
    answer = send(admin.client, to=["Ada@hub.example", "bob@hub.example"], bcc=["eve@hub.example"])
    assert (answer.status_code, answer.json()["suppressed"]) == (201, ["Ada@hub.example", "eve@hub.example"])
    (mail,) = Postbox.asked
    assert (mail.to, mail.bcc) == (("bob@hub.example",), ())
    words = "Not sent to suppressed addresses: Ada@hub.example (bounced), eve@hub.example (bounced)."
    assert (entry().to, entry().state, entry().error) == ("bob@hub.example", "accepted", words)


def test_mail_to_suppressed_addresses_only_is_422_and_failed_and_asks_nobody(admin: Actor) -> None:
    provider(admin)
    suppress(admin, "ada@hub.example")
    for _ in range(2):
        answer = send(admin.client, key="one")
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "suppressed")
    assert (entry().state, "ada@hub.example (bounced)" in entry().error) == ("failed", True)
    assert Postbox.asked == []
    assert told() == [("email.failed", str(entry().pk))]


# --- one key ------------------------------------------------------------------------------------------------------


def test_same_key_again_is_the_same_answer_and_one_mail(admin: Actor, owner: Actor) -> None:
    provider(admin)
    first, again = (send(admin.client, key="one") for _ in range(2))
    assert (first.json(), again.headers["Idempotency-Replayed"]) == (again.json(), "true")
    assert send(admin.client, key="one", subject="Other").status_code == 409
    assert send(owner.client, key="one").json()["id"] != first.json()["id"]
    assert len(Postbox.taken) == 2


def test_same_key_after_a_crash_tells_what_became_of_the_mail(admin: Actor) -> None:
    provider(admin)
    first = send_email(workspace=admin.workspace, given=MAIL, request_key="one")
    again = send_email(workspace=admin.workspace, given=MAIL, request_key="one")
    assert (again.entry.pk, again.entry.state, again.answer()["messageId"]) == (first.entry.pk, "accepted", "POSTBOX-0")
    assert len(Postbox.taken) == 1
    with pytest.raises(Exception, match="used for another request"):
        send_email(workspace=admin.workspace, given=MAIL | {"subject": "Other"}, request_key="one")


@pytest.mark.django_db(transaction=True)
def test_a_hundred_requests_with_one_key_at_once_are_one_mail(admin: Actor) -> None:
    provider(admin)
    answers: list[dict[str, Any]] = []
    barrier = threading.Barrier(25)
    asking = [threading.Thread(target=_ask, args=(admin, barrier, 4, answers)) for _ in range(25)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join(120)
    assert len(answers) == 100
    assert all(answer == answers[0] for answer in answers)
    assert (len(Postbox.taken), EmailLogEntry.objects.count()) == (1, 1)


@pytest.mark.django_db(transaction=True)
def test_one_key_at_once_below_the_api_is_one_mail_too(admin: Actor) -> None:
    provider(admin)
    barrier = threading.Barrier(8)
    found: list[str] = []

    def hand_in() -> None:
        try:
            barrier.wait(30)
            found.append(str(send_email(workspace=admin.workspace, given=MAIL, request_key="one").entry.pk))
        finally:
            database.close()

    asking = [threading.Thread(target=hand_in) for _ in range(8)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join(60)
    assert (len(found), len(set(found)), len(Postbox.taken)) == (8, 1, 1)


def _ask(actor: Actor, barrier: threading.Barrier, times: int, answers: list[dict[str, Any]]) -> None:
    """Until answered: a twin under way is told to wait."""
    try:
        barrier.wait(60)
        for _ in range(times):
            while (answer := send(actor.client, key="k")).status_code != 201:
                assert answer.status_code in (409, 429, 503), answer.content
                time.sleep(0.3)
            answers.append(answer.json())
    finally:
        database.close()
