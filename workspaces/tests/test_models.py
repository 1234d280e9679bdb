"""What the tables promise whoever writes to them."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from django.core import serializers
from django.db import IntegrityError, connection, transaction

from core.ids import uuid7
from workspaces.models import (
    ApiToken,
    AuditEvent,
    ClockTimestamp,
    IdempotencyRecord,
    Membership,
    Role,
    TrailIsAppendOnly,
    User,
    Workspace,
)
from workspaces.services import audit
from workspaces.tests.factories import MembershipFactory, UserFactory, WorkspaceFactory

pytestmark = pytest.mark.django_db


# Users


def test_user_email_is_kept_in_lower_case_and_found_in_any() -> None:
    user = User.objects.create_user("  Ann.Smith@Example.COM ", "pw")
    assert user.email == "ann.smith@example.com"
    assert User.objects.get(email="ANN.smith@example.com") == user
    assert User.objects.get_by_natural_key("Ann.Smith@example.com") == user


def test_user_with_the_same_email_in_another_case_is_refused() -> None:
    UserFactory(email="ann@example.com")
    with pytest.raises(IntegrityError), transaction.atomic():
        UserFactory(email="Ann@Example.com")


def test_user_email_in_upper_case_is_refused_by_the_database() -> None:
    user = UserFactory()
    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE workspaces_user SET email = 'UPPER@example.com' WHERE id = %s", [user.pk])


def test_user_without_password_cannot_sign_in_with_one() -> None:
    assert not User.objects.create_user("ann@example.com").has_usable_password()


def test_superuser_is_staff_without_any_membership() -> None:
    user = User.objects.create_superuser("root@example.com", "pw")
    assert (user.is_staff, user.is_superuser) == (True, True)


def test_user_name_falls_back_to_the_address() -> None:
    assert UserFactory(name="", email="ann@example.com").get_full_name() == "ann@example.com"


# Staff follows from roles


@pytest.mark.parametrize(("role", "staff"), [(Role.OWNER, True), (Role.ADMIN, True), (Role.MEMBER, False)])
def test_staff_flag_follows_from_the_role(role: str, staff: bool) -> None:
    membership = MembershipFactory(role=role)
    membership.user.refresh_from_db()
    assert membership.user.is_staff is staff


def test_staff_flag_goes_with_the_last_role_that_gave_it() -> None:
    first = MembershipFactory(role=Role.ADMIN)
    second = MembershipFactory(user=first.user, role=Role.OWNER)
    first.role = Role.MEMBER
    first.save()
    first.user.refresh_from_db()
    assert first.user.is_staff is True
    second.delete()
    first.user.refresh_from_db()
    assert first.user.is_staff is False


def test_staff_flag_goes_when_the_workspace_goes() -> None:
    membership = MembershipFactory(role=Role.OWNER)
    membership.workspace.delete()
    membership.user.refresh_from_db()
    assert membership.user.is_staff is False


def test_console_workspaces_are_those_run_by_the_user() -> None:
    user = UserFactory()
    run = [MembershipFactory(user=user, role=role).workspace_id for role in (Role.OWNER, Role.ADMIN)]
    MembershipFactory(user=user, role=Role.MEMBER)
    assert user.console_workspace_ids() == frozenset(run)


# Constraints


def test_membership_twice_in_a_workspace_is_refused() -> None:
    membership = MembershipFactory()
    with pytest.raises(IntegrityError), transaction.atomic():
        MembershipFactory(user=membership.user, workspace=membership.workspace)


def test_membership_with_an_unknown_role_is_refused_by_the_database() -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        MembershipFactory(role="KING")


def test_workspace_without_a_name_is_refused_by_the_database() -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Workspace.objects.create(name="")


@pytest.mark.parametrize("column", ["lookup", "digest"])
def test_token_row_with_a_malformed_column_is_refused_by_the_database(column: str) -> None:
    columns = {"lookup": "0123456789ab", "digest": "0" * 64, column: "Z" * 12}
    with pytest.raises(IntegrityError), transaction.atomic():
        ApiToken.objects.create(membership=MembershipFactory(), name="x", **columns)


# The trail


@pytest.fixture
def event() -> AuditEvent:
    return audit.record(by=UserFactory(), workspace=WorkspaceFactory(), action="test.done")


def test_audit_event_is_not_changed_through_the_model(event: AuditEvent) -> None:
    event.action = "forged"
    with pytest.raises(TrailIsAppendOnly):
        event.save()
    with pytest.raises(TrailIsAppendOnly):
        event.delete()


def test_audit_events_are_not_changed_through_a_query_set(event: AuditEvent) -> None:
    for attempt in (
        lambda: AuditEvent.objects.update(action="forged"),
        lambda: AuditEvent.objects.all().delete(),
        lambda: AuditEvent.objects.bulk_update([event], ["action"]),
    ):
        with pytest.raises(TrailIsAppendOnly):
            attempt()


@pytest.mark.parametrize(
    "statement", ["UPDATE workspaces_auditevent SET action = 'x'", "DELETE FROM workspaces_auditevent"]
)
def test_audit_events_are_not_changed_past_the_model(event: AuditEvent, statement: str) -> None:
    with pytest.raises(IntegrityError, match="never changed"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert AuditEvent.objects.get().action == "test.done"


def test_audit_event_outlives_its_actor(event: AuditEvent) -> None:
    email = event.actor_email
    User.objects.filter(pk=event.actor_id).delete()
    assert AuditEvent.objects.get(pk=event.pk).actor_email == email


# Scoping


def test_in_workspace_finds_only_its_own() -> None:
    mine, _ = MembershipFactory(), MembershipFactory()
    assert list(Membership.objects.in_workspace(mine.workspace)) == [mine]
    assert list(Membership.objects.in_workspace(mine.workspace_id)) == [mine]


# Answers kept for twins


def make_record(**fields: Any) -> IdempotencyRecord:
    membership = MembershipFactory()
    columns = {"route": "POST x", "key": "k", "fingerprint": "f", "lease_until": ClockTimestamp(), **fields}
    return IdempotencyRecord.objects.create(workspace=membership.workspace, user=membership.user, **columns)


@pytest.mark.parametrize(
    "fields", [{"state": "done"}, {"state": "running", "status": 200}, {"state": "done", "status": 1}]
)
def test_idempotency_record_has_an_answer_exactly_when_done(fields: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        make_record(**fields)


def test_idempotency_record_body_is_sealed_and_stays_out_of_pickles_and_dumps() -> None:
    record = make_record(state="done", status=201, body="hub_secret_marker")
    loaded = IdempotencyRecord.objects.get(pk=record.pk)
    assert loaded.body == "hub_secret_marker"
    assert b"marker" not in pickle.dumps(loaded)
    assert pickle.loads(pickle.dumps(loaded)).body == "hub_secret_marker"
    assert "marker" not in serializers.serialize("json", [loaded])
    assert json.loads(serializers.serialize("json", [loaded]))[0]["fields"]["body"] is None


def test_ids_are_time_ordered() -> None:
    first, second = UserFactory(), UserFactory()
    assert first.pk.version == second.pk.version == uuid7().version == 7
    assert first.pk.int >> 80 <= second.pk.int >> 80
