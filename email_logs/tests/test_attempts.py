"""What an attempt's outcome means, vendor by vendor kind: never two mails for one request, never a false "failed"."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from core.errors import (
    BudgetSpent,
    CredentialsRejected,
    LeaseLost,
    ProviderOutcomeUnknown,
    ProviderRejected,
    ProviderUnavailable,
    ProviderUnreached,
)
from email_logs.models import EmailLogEntry, EmailLogTable, OutgoingEmail
from email_logs.services import outgoing, send_email, settling
from email_logs.services.sending import Sent
from email_logs.tests.postbox import MAIL, Postbox, entry, provider, send, time_passes
from integrations.models import Event, Integration
from workspaces.tests.fixtures import Actor

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("postboxes")]

KINDS = ("POSTBOX", "POSTBOX_KEYED")
LOST = (ProviderUnavailable("The server failed: the connection broke."),)
"""The mail was taken and the answer lost, as a provider with keys says it."""


def queue(actor: Actor) -> Sent:
    return send_email(workspace=actor.workspace, given=MAIL, at_once=False)


def age(**by: Any) -> None:
    """The mail was handed in, and first called for, so long ago."""
    Integration.objects.update(credentials_changed_at=Now() - timedelta(days=9))
    OutgoingEmail.objects.filter(called_at__isnull=False).update(called_at=Now() - timedelta(**by))
    OutgoingEmail.objects.update(created_at=Now() - timedelta(**by))


# --- somebody may have it -----------------------------------------------------------------------------------------


def test_lost_answer_is_asked_for_again_under_the_same_key(admin: Actor) -> None:
    provider(admin, "POSTBOX_KEYED")
    Postbox.script.append(LOST)
    assert send(admin.client).json()["status"] == "queued"
    time_passes()
    assert (entry().state, len(Postbox.taken), len(Postbox.asked)) == ("accepted", 1, 2)
    assert len({mail.idempotency_key for mail in Postbox.asked}) == 1


def test_mail_sent_again_is_the_same_though_its_integration_was_changed(admin: Actor) -> None:
    row = provider(admin, "POSTBOX_KEYED")
    Postbox.script.append(LOST)
    send(admin.client)
    change = {"config": {"fromEmail": "new@mail.example", "fromName": "New"}}
    admin.client.patch(f"/api/integrations/{row.pk}", change, format="json")
    time_passes()
    assert Postbox.asked[0] == Postbox.asked[1]


def test_key_is_not_used_after_23_hours(admin: Actor) -> None:
    provider(admin, "POSTBOX_KEYED")
    Postbox.script.extend([LOST, LOST])
    send(admin.client)
    age(hours=22, minutes=55)
    time_passes()
    assert (entry().state, len(Postbox.asked)) == ("queued", 2)
    age(hours=23, seconds=5)
    time_passes()
    assert (entry().state, len(Postbox.asked)) == ("unknown", 2)


def test_key_is_not_used_with_other_credentials(admin: Actor) -> None:
    row = provider(admin, "POSTBOX_KEYED")
    Postbox.script.append(LOST)
    send(admin.client)
    admin.client.patch(f"/api/integrations/{row.pk}", {"credentials": {"apiKey": "better"}}, format="json")
    time_passes()
    assert (entry().state, len(Postbox.asked)) == ("unknown", 1)


@pytest.mark.parametrize(
    "error", [ProviderRejected("Another payload."), CredentialsRejected("No."), ProviderUnreached("Gone.")]
)
def test_mail_that_may_have_been_taken_never_fails(admin: Actor, error: Exception) -> None:
    provider(admin, "POSTBOX_KEYED")
    Postbox.script.extend([LOST, error])
    send(admin.client)
    time_passes()
    assert entry().state in ("unknown", "queued")
    age(hours=25)
    time_passes()
    assert entry().state == "unknown"
    assert not Event.objects.filter(type="email.failed").exists()


def test_mail_that_an_event_proves_is_not_sent_again(admin: Actor) -> None:
    provider(admin, "POSTBOX_KEYED")
    Postbox.script.append(LOST)
    send(admin.client)
    EmailLogEntry.objects.update(state="delivered")
    time_passes()
    assert (entry().state, len(Postbox.asked), OutgoingEmail.objects.get().status) == ("delivered", 1, "done")


@pytest.mark.parametrize("type", KINDS)
def test_bug_in_the_call_leaves_open_whether_it_was_sent(admin: Actor, type: str) -> None:
    provider(admin, type)
    Postbox.script.append((RuntimeError("a bug"),))
    send(admin.client)
    assert entry().state == {"POSTBOX": "unknown", "POSTBOX_KEYED": "queued"}[type]
    time_passes()
    assert len(Postbox.taken) == 1


@pytest.mark.parametrize("type", KINDS)
def test_mail_whose_sender_died_during_the_call_is_one_mail(admin: Actor, type: str) -> None:
    provider(admin, type)
    Postbox.script.append((KeyboardInterrupt(),))
    with pytest.raises(KeyboardInterrupt):
        send(admin.client)
    work = OutgoingEmail.objects.get()
    assert (work.status, work.calling, entry().state) == ("running", True, "queued")
    time_passes()
    assert entry().state == {"POSTBOX": "unknown", "POSTBOX_KEYED": "accepted"}[type]
    assert len(Postbox.taken) == 1


def test_answer_that_comes_after_the_lease_is_kept_all_the_same(admin: Actor) -> None:
    provider(admin)
    queue(admin)
    turn = outgoing.take(EmailLogTable.objects.get().pk)
    assert turn is not None
    OutgoingEmail.objects.update(calling=True, called_at=Now())
    time_passes()
    assert entry().state == "unknown"
    table = EmailLogTable.objects.get()
    settling.accepted(turn.work, table, Postbox(config={}, credentials={"apiKey": "good"}).send(_mail()))
    assert (entry().state, entry().message_id) == ("accepted", "POSTBOX-0")
    assert Event.objects.filter(type="email.sent").count() == 1


def _mail() -> Any:
    return Postbox(config={"fromEmail": "hub@mail.example"}, credentials={"apiKey": "good"}).mail(MAIL)


def test_worker_that_lost_its_lease_before_the_call_asks_nobody(admin: Actor) -> None:
    provider(admin)
    queue(admin)
    turn = outgoing.take(EmailLogTable.objects.get().pk)
    assert turn is not None
    OutgoingEmail.objects.update(fence=99)
    with pytest.raises(LeaseLost):
        turn.work.hold(lease_seconds=1)
    from email_logs.services import attempts

    assert attempts.attempt(turn.work, asked=False).state == "queued"
    assert Postbox.asked == []


# --- nobody has it ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("type", KINDS)
def test_mail_that_nobody_takes_for_a_day_fails_with_the_last_words(admin: Actor, type: str) -> None:
    provider(admin, type)
    Postbox.script.extend([ProviderUnreached("Nobody there."), ProviderUnreached("Still nobody there.")])
    send(admin.client)
    age(hours=25)
    time_passes()
    assert (entry().state, entry().error) == ("failed", f"{settling.GAVE_UP}Still nobody there.")
    assert Event.objects.filter(type="email.failed").count() == 1


def test_refused_key_is_told_to_the_person_who_sends(admin: Actor) -> None:
    provider(admin, key="bad")
    answer = send(admin.client)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "credentials_rejected")
    assert entry().state == "failed"
    assert Integration.objects.get().health == "failing"


def test_queued_mail_waits_for_a_refused_key_to_be_mended_and_the_key_is_not_tried_with_it(admin: Actor) -> None:
    row = provider(admin, key="bad")
    queue(admin)
    for _ in range(3):
        time_passes()
    assert (entry().state, entry().error) == ("queued", "Postbox: this key opens nothing.")
    assert len(Postbox.asked) == 1
    admin.client.patch(f"/api/integrations/{row.pk}", {"credentials": {"apiKey": "good"}}, format="json")
    time_passes()
    assert (entry().state, entry().error) == ("accepted", "")


def test_queued_mail_of_a_broken_provider_fails_after_a_day_though_it_never_had_its_turn(admin: Actor) -> None:
    provider(admin, key="bad")
    for _ in range(3):
        queue(admin)
    time_passes()
    assert outgoing.give_up_old() == 0
    age(hours=25)
    assert outgoing.give_up_old() == 0  # the provider is broken since a moment ago only
    EmailLogTable.objects.update(failing_since=Now() - timedelta(hours=25))
    assert outgoing.give_up_old() == 3
    assert set(EmailLogEntry.objects.values_list("state", flat=True)) == {"failed"}
    assert all(row.error.startswith(settling.GAVE_UP) for row in EmailLogEntry.objects.all())


def test_queued_mail_waits_while_its_provider_is_disabled_and_fails_when_it_is_deleted(admin: Actor) -> None:
    row = provider(admin)
    queue(admin)
    admin.client.patch(f"/api/integrations/{row.pk}", {"enabled": False}, format="json")
    time_passes()
    assert (entry().state, entry().error) == ("queued", "This integration is disabled. Enable it first.")
    admin.client.patch(f"/api/integrations/{row.pk}", {"enabled": True}, format="json")
    queue_two = send_email(workspace=admin.workspace, given=MAIL, integration=_fresh(row), at_once=False)
    admin.client.delete(f"/api/integrations/{row.pk}")
    time_passes()
    assert EmailLogEntry.objects.get(pk=queue_two.entry.pk).state == "failed"
    assert Postbox.taken == []


def _fresh(row: Integration) -> Integration:
    return Integration.objects.select_related("workspace").get(pk=row.pk)


def test_provider_that_asks_to_wait_is_not_asked_by_the_next_mail(admin: Actor) -> None:
    from core.errors import ProviderRateLimited

    provider(admin)
    Postbox.script.append(ProviderRateLimited("Slow down.", retry_after=120))
    send(admin.client)
    assert send(admin.client).json()["status"] == "queued"
    assert len(Postbox.asked) == 1
    table = EmailLogTable.objects.get()
    assert timedelta(seconds=100) < table.not_before - timezone.now() < timedelta(seconds=121)
    assert table.failing_since is None
    assert outgoing.take(table.pk) is None


def test_our_own_pace_is_no_attempt_and_no_trouble(admin: Actor) -> None:
    provider(admin)
    Postbox.script.append(BudgetSpent(retry_after=8))
    send(admin.client)
    work = OutgoingEmail.objects.get()
    assert (work.attempts, work.called_at, entry().error) == (0, None, "")
    assert EmailLogTable.objects.get().failing_since is None


def test_outcome_unknown_of_a_vendor_without_keys_is_final(admin: Actor) -> None:
    provider(admin)
    queue(admin)
    Postbox.script.append(ProviderOutcomeUnknown("No answer."))
    for _ in range(3):
        time_passes()
    assert (entry().state, entry().error, len(Postbox.asked)) == ("unknown", "No answer.", 1)
