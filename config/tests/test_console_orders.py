"""What the console's lists offer to be sorted by: of tables that grow without bound, what an index has in order."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from config.tests.consoles import console
from core.admin import OfferedOrder, ScopedAdmin
from core.ids import uuid7
from documents.models import Document
from email_logs.models import EmailLogMirror, EmailLogTable, Suppression
from entities.models import AddressMatch, DomainMatch
from integrations.models import Connection, Integration, SyncRun
from integrations.tests.factories import ConnectionFactory, SyncRunFactory
from workspaces.models import ApiToken, AuditEvent, Membership, User, Workspace
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db

SHORT = {ApiToken, Connection, EmailLogMirror, EmailLogTable, Integration, Membership, User, Workspace}
"""As many as people make by hand: sorting them reads them all, and may."""
INDEXED = {AddressMatch: {"address"}, DomainMatch: {"domain"}}
"""What an index serves."""
LISTS = [
    "integrations_syncrun", "workspaces_auditevent", "documents_document", "documents_documentcopy",
    "email_logs_suppression", "email_logs_outgoingemail",
]  # fmt: skip


def test_list_that_grows_without_bound_is_sorted_by_what_an_index_serves_only() -> None:
    for model, page in admin.site._registry.items():
        if isinstance(page, ScopedAdmin) and model not in SHORT:
            offered = page.sortable_by
            assert offered is not None, f"{model.__name__}: say what it may be sorted by"
            assert set(offered) <= INDEXED.get(model, set()), model.__name__


@pytest.mark.parametrize("name", LISTS)
def test_order_that_is_not_offered_is_not_taken_from_an_address_either(owner: Actor, name: str) -> None:
    client, address = console(owner), reverse(f"admin:{name}_changelist")
    plain = client.get(address).context["cl"]
    assert isinstance(plain, OfferedOrder)
    for place in range(len(plain.list_display)):
        asked = client.get(address, {"o": f"{place}.-{place}"}).context["cl"]
        assert asked.queryset.query.order_by == plain.queryset.query.order_by
    assert "o=" not in "".join(header.get("url_primary", "") for header in headers(plain))


def headers(cl: object) -> list[dict[str, str]]:
    from django.contrib.admin.templatetags.admin_list import result_headers

    return list(result_headers(cl))


@pytest.mark.parametrize("name", ["integrations_syncrun", "workspaces_auditevent", "documents_documentcopy"])
def test_search_that_no_index_serves_says_how_far_it_looks(owner: Actor, name: str) -> None:
    SyncRunFactory(connection=ConnectionFactory(workspace=owner.workspace, user=owner.user))
    assert "among the newest 20,000" in console(owner).get(reverse(f"admin:{name}_changelist")).content.decode()


def test_search_looks_no_further_than_it_says(owner: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workspaces.admin.trail.AuditEventAdmin.searched", 100)
    how = {"workspace": owner.workspace, "actor_email": "ada@x.example", "object_type": "x"}
    rare = AuditEvent.objects.create(action="rare.thing", **how)
    AuditEvent.objects.bulk_create([AuditEvent(id=uuid7(), action="usual.thing", **how) for _ in range(99)])
    client, address = console(owner), reverse("admin:workspaces_auditevent_changelist")

    def found() -> set[object]:
        return {row.pk for row in client.get(address, {"q": "rare"}).context["cl"].result_list}

    newer = AuditEvent.objects.filter(workspace=owner.workspace, pk__gt=rare.pk).count()
    assert newer == 99
    assert found() == {rare.pk}
    AuditEvent.objects.bulk_create([AuditEvent(id=uuid7(), action="usual.thing", **how) for _ in range(3000)])
    with database.cursor() as cursor:
        cursor.execute("ANALYZE workspaces_auditevent")
    with CaptureQueriesContext(database) as captured:
        assert found() == set()
    asked = [row["sql"] for row in captured if 'FROM "workspaces_auditevent"' in row["sql"] and "LIKE" in row["sql"]]
    assert asked
    for sql in asked:
        with database.cursor() as cursor:
            cursor.execute(f"EXPLAIN {sql}")
            plan = "\n".join(line for (line,) in cursor.fetchall())
        assert "Seq Scan" not in plan, plan


def test_documents_are_found_as_the_api_finds_them_in_each_workspace_alone(owner: Actor, outsider: Actor) -> None:
    for actor in (owner, outsider):
        how = {"workspace": actor.workspace, "entity_type": "deal", "entity_id": "1", "content_type": "text/plain"}
        Document.objects.create(file_name="Contract of spring.txt", **how)
        Document.objects.create(file_name="Something else.txt", **how)
    client, address = console(owner), reverse("admin:documents_document_changelist")
    for words, count in (("contr", 1), ("spring contract", 1), ("txt", 2), ("autumn", 0), ("w " * 20, 0)):
        rows = client.get(address, {"q": words}).context["cl"].result_list
        assert (words, len(rows)) == (words, count)
        assert {row.workspace_id for row in rows} <= {owner.workspace.pk}


def test_suppressed_address_is_found_by_the_whole_of_it(owner: Actor, outsider: Actor) -> None:
    for actor in (owner, outsider):
        Suppression.objects.create(workspace=actor.workspace, address="ada@x.example", reason="manual")
    client, address = console(owner), reverse("admin:email_logs_suppression_changelist")
    for words, count in (("Ada@X.example ", 1), ("ada", 0), ("nobody@x.example", 0)):
        assert (words, len(client.get(address, {"q": words}).context["cl"].result_list)) == (words, count)


def test_filters_of_runs_offer_what_the_newest_have_and_ask_no_whole_table(owner: Actor) -> None:
    connection = ConnectionFactory(workspace=owner.workspace, user=owner.user)
    made = {kind: SyncRunFactory(connection=connection, type=kind, trigger="push").pk for kind in ("email", "calendar")}
    client, address = console(owner), reverse("admin:integrations_syncrun_changelist")
    with CaptureQueriesContext(database) as captured:
        html = client.get(address).content.decode()
    assert "?type=email" in html or 'value="email"' in html
    assert not any("SELECT DISTINCT" in row["sql"] for row in captured)
    rows = client.get(address, {"type": "email", "trigger": "push"}).context["cl"].result_list
    assert [row.pk for row in rows] == [made["email"]]
    assert not client.get(address, {"trigger": "schedule"}).context["cl"].result_list


def test_runs_are_the_newest_first(owner: Actor) -> None:
    connection = ConnectionFactory(workspace=owner.workspace, user=owner.user)
    made = [SyncRunFactory(connection=connection, type=kind).pk for kind in ("email", "calendar")]
    rows = console(owner).get(reverse("admin:integrations_syncrun_changelist")).context["cl"].result_list
    assert [row.pk for row in rows] == made[::-1]
    assert SyncRun.objects.count() == 2
