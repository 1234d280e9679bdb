"""Log tables: made once for each email provider, listed with their columns, readable for as long as anybody wants."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.db import connection as database
from django.db import connections
from rest_framework.test import APIClient

from core.ids import uuid7
from email_logs.models import EmailLogTable
from email_logs.services import tables
from email_logs.tests.logs import API, entry, provider, rows, table_of
from integrations.models import Integration
from integrations.services import integrations
from workspaces.models import Workspace
from workspaces.tests.fixtures import Actor, client_for

pytestmark = pytest.mark.django_db

COLUMNS = [
    ("Sent At", "Date"), ("To", "Text"), ("From", "Text"), ("Subject", "Text"), ("Status", "Text"),
    ("Provider", "Text"), ("Message ID", "Text"), ("CC", "Text"), ("BCC", "Text"), ("Template ID", "Text"),
    ("Source", "Text"), ("Error", "Text"), ("Attachments", "Number"),
]  # fmt: skip
"""Of the source document."""


def init(actor: Actor) -> dict[str, Any]:
    answer = actor.client.post(f"{API}/integration/init")
    assert answer.status_code == 200, answer.content
    body: dict[str, Any] = answer.json()
    return body


def test_init_answers_as_the_document_says(admin: Actor, workspace: Workspace) -> None:
    of = provider(workspace)
    answer = init(admin)
    table = EmailLogTable.objects.get()
    assert answer["success"] is True
    [shown] = answer["tables"]
    assert (shown["id"], shown["name"], shown["systemType"]) == (str(table.pk), "Email Log", "EMAIL_LOG")
    assert (shown["integrationId"], shown["integrationName"]) == (str(of.pk), "Production Email")
    assert shown["provider"] == "email-provider"
    assert [(column["name"], column["type"]) for column in shown["columns"]] == COLUMNS


def test_init_again_changes_nothing(admin: Actor, workspace: Workspace) -> None:
    provider(workspace)
    assert init(admin) == init(admin)
    assert EmailLogTable.objects.count() == 1


def test_init_makes_no_table_of_what_sends_no_mail_or_is_disabled(admin: Actor, workspace: Workspace) -> None:
    provider(workspace, "SLACK")
    provider(workspace, enabled=False)
    assert init(admin)["tables"] == []
    assert not EmailLogTable.objects.exists()


def test_init_is_for_admins(member: Actor) -> None:
    assert member.client.post(f"{API}/integration/init").status_code == 403


@pytest.mark.django_db(transaction=True)
def test_fifty_inits_at_once_make_one_table_of_each_provider(admin: Actor, workspace: Workspace) -> None:
    for type in ("EMAIL_PROVIDER", "EMAIL_PROVIDER_ALT"):
        provider(workspace, type)
    workers, together = 10, 50
    barrier = Barrier(workers, timeout=30)

    def call(number: int) -> tuple[int, str]:
        try:
            if number < workers:
                barrier.wait()
            client: APIClient = client_for(admin.token)
            answer = client.post(f"{API}/integration/init")
            return answer.status_code, answer.content.decode()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(workers) as pool:
        answers = set(pool.map(call, range(together)))
    assert {status for status, _ in answers} == {200}
    assert len(answers) == 1, "all of them see the same tables"
    assert EmailLogTable.objects.count() == 2


def _create(admin: Actor, **given: Any) -> Integration:
    common: dict[str, Any] = {"config": {"fromEmail": "noreply@acme.example"}, "credentials": {"apiKey": "re_a_key"}}
    return integrations.create(
        workspace=admin.workspace, by=admin.user, name="Mail", type="EMAIL_PROVIDER", **common, **given
    )


def test_provider_has_its_table_as_soon_as_it_is_created(admin: Actor) -> None:
    row = _create(admin)
    assert EmailLogTable.objects.get().integration == row


def test_provider_has_its_table_as_soon_as_it_is_enabled(admin: Actor) -> None:
    row = _create(admin, enabled=False)
    assert not EmailLogTable.objects.exists()
    integrations.change(integration=row, by=admin.user, given={"enabled": True})
    assert EmailLogTable.objects.get().integration == row


def test_first_listing_makes_what_is_missing(member: Actor, workspace: Workspace) -> None:
    of = provider(workspace)
    answer = member.client.get(API).json()
    assert [table["integrationId"] for table in answer["data"]] == [str(of.pk)]
    assert answer["pagination"]["total"] == 1


def test_list_costs_the_same_queries_for_many_tables(
    member: Actor, workspace: Workspace, django_assert_max_num_queries: Any
) -> None:
    for _ in range(5):
        table_of(workspace)
    member.client.get(API)
    with django_assert_max_num_queries(3):
        assert len(member.client.get(API).json()["data"]) == 5


def test_table_of_a_disabled_and_of_a_deleted_provider_stays_readable(admin: Actor, member: Actor) -> None:
    made = [_create(admin), _create(admin)]
    for row in made:
        entry(tables.of_integration(row))
    integrations.change(integration=made[0], by=admin.user, given={"enabled": False})
    integrations.remove(integration=made[1], by=admin.user)
    shown = member.client.get(API).json()["data"]
    assert [table["active"] for table in shown] == [False, False]
    assert init(admin)["tables"] == []
    for row in made:
        table = EmailLogTable.objects.get(integration=row)
        assert member.client.get(f"{API}/{table.pk}").json()["integrationName"] == "Mail"
        assert len(rows(member, table)["data"]) == 1


def test_foreign_table_looks_like_a_missing_one(outsider: Actor, workspace: Workspace) -> None:
    table = table_of(workspace)
    for path in ("", "/rows", f"/rows/{entry(table).pk}", "/export"):
        answers = [outsider.client.get(f"{API}/{pk}{path}") for pk in (table.pk, uuid7())]
        assert {answer.status_code for answer in answers} == {404}, path


def test_reading_a_table_opens_no_credential(admin: Actor, member: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tables.of_integration(_create(admin))
    with database.execute_wrapper(_refuse_credentials):
        assert member.client.get(API).status_code == 200
        assert member.client.get(f"{API}/{table.pk}/rows").status_code == 200


def _refuse_credentials(execute: Any, sql: str, values: Any, many: bool, context: Any) -> Any:
    assert "credentials" not in sql.replace("has_credentials", "").replace("credentials_changed_at", "")
    return execute(sql, values, many, context)
