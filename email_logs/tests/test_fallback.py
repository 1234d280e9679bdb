"""Another provider for what the first one surely did not take, where the workspace asked for it."""

from __future__ import annotations

import pytest

from core.errors import (
    CredentialsRejected,
    ProviderOutcomeUnknown,
    ProviderRateLimited,
    ProviderRejected,
    ProviderUnavailable,
    ProviderUnreached,
)
from email_logs.models import EmailLogTable, OutgoingEmail
from email_logs.services import send_email
from email_logs.tests.postbox import MAIL, KeyedPostbox, Postbox, entry, provider, send, time_passes
from integrations.models import Integration
from integrations.providers.mail import QUOTA_CODE
from workspaces.tests.fixtures import Actor

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("postboxes")]

SURE = [
    ProviderUnreached("Nobody there."),
    CredentialsRejected("No."),
    ProviderRateLimited("No more today.", retry_after=3600, code=QUOTA_CODE),
    ProviderRejected("Not with this key.", code="key_restricted"),
]


def two(admin: Actor, *, fallback: bool = True, type: str = "POSTBOX_KEYED") -> tuple[Integration, Integration]:
    """The site provider, and another."""
    first = provider(admin, type, fallback=fallback)
    return first, provider(admin, "POSTBOX", site=False, sender="other@mail.example")


@pytest.mark.parametrize("error", SURE, ids=lambda error: str(error.code))
def test_mail_goes_on_to_another_provider_at_once(admin: Actor, error: Exception) -> None:
    first, other = two(admin)
    Postbox.script.append(error)
    answer = send(admin.client, fromEmail="sales@mail.example", fromName="Sales")
    assert (answer.status_code, answer.json()["status"], answer.json()["integrationId"]) == (
        201, "accepted", str(other.pk),
    )  # fmt: skip
    row, work = entry(), OutgoingEmail.objects.get()
    assert (row.table.integration_id, row.sender, work.tried) == (other.pk, "other@mail.example", [first.pk])
    assert answer.json()["tableId"] == str(row.table_id)
    assert [(kind, mail.sender, mail.sender_name) for kind, mail in Postbox.taken] == [
        ("POSTBOX", "other@mail.example", "Hub")
    ]


@pytest.mark.parametrize("error", SURE, ids=lambda error: str(error.code))
def test_mail_stays_where_nobody_asked_for_a_fallback(admin: Actor, error: Exception) -> None:
    two(admin, fallback=False)
    Postbox.script.append(error)
    send(admin.client)
    assert (OutgoingEmail.objects.get().tried, Postbox.taken) == ([], [])


@pytest.mark.parametrize(
    ("type", "error"),
    [
        ("POSTBOX", (ProviderOutcomeUnknown("No answer."),)),
        ("POSTBOX_KEYED", (ProviderUnavailable("No answer."),)),
        ("POSTBOX", (RuntimeError("a bug"),)),
        ("POSTBOX_KEYED", (RuntimeError("a bug"),)),
        ("POSTBOX", ProviderRejected("A bad address.")),
    ],
    ids=["unknown", "unknown-under-a-key", "bug", "bug-under-a-key", "refused"],
)
def test_mail_that_may_have_been_taken_or_was_refused_stays(admin: Actor, type: str, error: object) -> None:
    first, _ = two(admin, type=type)
    Postbox.script.append(error)
    send(admin.client)
    time_passes()
    assert entry().table.integration_id == first.pk
    assert len(Postbox.taken) <= 1


def test_vendor_without_keys_that_says_it_is_away_surely_took_nothing(admin: Actor) -> None:
    _, other = two(admin, type="POSTBOX")
    Postbox.script.append(ProviderUnavailable("Postbox answered 503."))
    assert send(admin.client).json()["integrationId"] == str(other.pk)


def test_mail_with_a_template_stays_since_templates_are_the_vendors(admin: Actor) -> None:
    first, _ = two(admin)
    Postbox.script.append(ProviderUnreached("Nobody there."))
    assert send(admin.client, templateId="t", body=None).json()["status"] == "queued"
    assert entry().table.integration_id == first.pk


def test_mail_waits_where_the_other_one_does_not_work_either(admin: Actor) -> None:
    first, other = two(admin)
    Postbox.script.extend([ProviderUnreached("Nobody there."), ProviderUnreached("Nobody there either.")])
    assert send(admin.client).json()["status"] == "queued"
    assert (entry().table.integration_id, OutgoingEmail.objects.get().tried) == (other.pk, [first.pk])
    time_passes()
    assert (entry().state, len(Postbox.taken)) == ("accepted", 1)


def test_other_workspaces_providers_are_no_fallback(admin: Actor, outsider: Actor) -> None:
    provider(admin, fallback=True)
    provider(outsider, "POSTBOX_KEYED")
    Postbox.script.append(ProviderUnreached("Nobody there."))
    assert send(admin.client).json()["status"] == "queued"


def test_queued_mail_of_a_provider_that_fails_goes_elsewhere_without_asking_it(admin: Actor) -> None:
    _, other = two(admin)
    Postbox.script.append(ProviderUnreached("Nobody there."))
    send(admin.client)
    for _ in range(3):
        send_email(workspace=admin.workspace, given=MAIL, at_once=False)
    asked = len(Postbox.asked)
    _work()
    assert OutgoingEmail.objects.filter(table__integration=other).count() == 4
    _work()
    assert len(Postbox.taken) == 4
    assert {type(kind) for kind, _ in Postbox.taken} == {str}
    assert KeyedPostbox.key not in {kind for kind, _ in Postbox.taken}
    assert len(Postbox.asked) == asked + 3


def _work() -> None:
    """A round of workers, while the first provider rests."""
    from email_logs.services import outgoing

    EmailLogTable.objects.update(rung_at=None)
    for table in outgoing.unattended():
        outgoing.begun(table)
        outgoing.work(table, call_help=lambda: None)
