"""The console's walls: what an owner of one workspace meets when reaching for another's rows."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.test import Client, RequestFactory
from django.urls import reverse

from core.admin import ScopedAdmin
from core.crypto import SealedField
from core.ids import uuid7
from workspaces.admin import MembershipAdmin
from workspaces.models import (
    ApiToken,
    AuditEvent,
    ClockTimestamp,
    IdempotencyRecord,
    Membership,
    Role,
    User,
    Workspace,
)
from workspaces.services import members
from workspaces.tests.factories import PASSWORD, MembershipFactory
from workspaces.tests.fixtures import Actor, make_actor

pytestmark = pytest.mark.django_db

SUBMITTED = {"_form_submitted": "on"}
MODELS = [Workspace, Membership, ApiToken, AuditEvent]


def console(actor: Actor) -> Client:
    return console_of(actor.user)


def console_of(user: User) -> Client:
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.fixture
def superuser() -> User:
    return User.objects.create_superuser("root@example.com", PASSWORD)


def url(model: type, page: str, *args: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)  # type: ignore[attr-defined]


def row_of(model: type, actor: Actor) -> Any:
    return {
        Workspace: lambda: actor.workspace,
        Membership: lambda: actor.membership,
        ApiToken: lambda: actor.membership.tokens.get(),
        AuditEvent: lambda: AuditEvent.objects.filter(workspace=actor.workspace).first(),
    }[model]()


# Who gets in


@pytest.mark.parametrize("role", [Role.OWNER, Role.ADMIN])
def test_console_opens_for_those_who_run_a_workspace(role: str) -> None:
    assert console(make_actor(role=role)).get("/admin/").status_code == 200


def test_console_leads_members_to_what_is_their_own(member: Actor) -> None:
    assert console(member).get("/admin/")["Location"] == "/admin/integrations/connection/"


def test_console_is_closed_to_who_is_in_no_workspace() -> None:
    nobody = User.objects.create_user("nobody@example.com", PASSWORD)
    assert console_of(nobody).get("/admin/")["Location"].startswith("/admin/login/")


def test_console_narrows_when_the_role_goes_and_closes_with_the_membership(owner: Actor, admin: Actor) -> None:
    client = console(admin)
    assert client.get("/admin/workspaces/membership/").status_code == 200
    members.change_role(by=owner.user, membership=admin.membership, role=Role.MEMBER)
    assert client.get("/admin/workspaces/membership/").status_code == 403
    assert client.get("/admin/integrations/connection/").status_code == 200
    members.remove(by=owner.user, membership=admin.membership)
    assert client.get("/admin/integrations/connection/")["Location"].startswith("/admin/login/")


def test_console_login_with_the_right_password(owner: Actor) -> None:
    response = Client().post("/admin/login/?next=/admin/", {"username": owner.user.email.upper(), "password": PASSWORD})
    assert (response.status_code, response["Location"]) == (302, "/admin/")


def test_console_login_is_throttled_even_for_the_right_password(owner: Actor) -> None:
    client = Client()

    def attempt(password: str) -> int:
        return client.post("/admin/login/", {"username": owner.user.email, "password": password}).status_code

    statuses = [attempt("wrong") for _ in range(5)]
    assert statuses[:4] == [200] * 4
    assert statuses[4] == 429
    assert attempt(PASSWORD) == 429


def test_console_login_is_throttled_in_any_spelling_of_the_address(owner: Actor) -> None:
    client, email = Client(), owner.user.email
    for spelling in (email, email.upper(), f" {email}", email.title(), email):
        client.post("/admin/login/", {"username": spelling, "password": "wrong"})
    assert client.post("/admin/login/", {"username": email, "password": PASSWORD}).status_code == 429


def test_console_login_of_somebody_else_is_not_locked(owner: Actor, admin: Actor) -> None:
    client = Client()
    for _ in range(6):
        client.post("/admin/login/", {"username": owner.user.email, "password": "wrong"})
    assert client.post("/admin/login/", {"username": admin.user.email, "password": PASSWORD}).status_code == 302


def test_console_login_says_the_same_of_a_missing_account(owner: Actor) -> None:
    def words(email: str) -> list[str]:
        response = Client().post("/admin/login/", {"username": email, "password": "wrong"})
        return [str(error) for error in response.context["form"].non_field_errors()]

    assert words(owner.user.email) == words("nobody@example.com") != []


# What is seen


@pytest.mark.parametrize("model", MODELS)
def test_list_shows_own_rows_only(owner: Actor, outsider: Actor, model: type) -> None:
    response = console(owner).get(url(model, "changelist"))
    assert response.status_code == 200
    shown = {row.pk for row in response.context["cl"].queryset}
    assert row_of(model, owner).pk in shown
    assert row_of(model, outsider).pk not in shown
    assert outsider.user.email not in response.content.decode()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("page", ["change", "history", "delete"])
def test_foreign_row_looks_like_a_missing_one(owner: Actor, outsider: Actor, model: type, page: str) -> None:
    client = console(owner)

    def answer(pk: object) -> tuple[int, str, list[str]]:
        response = client.get(url(model, page, pk), follow=True)
        told = (
            [str(message).replace(str(pk), "…") for message in response.context["messages"]] if response.context else []
        )
        return response.status_code, str(response.redirect_chain), told

    assert answer(row_of(model, outsider).pk) == answer(uuid7())


@pytest.mark.parametrize("model", MODELS)
def test_own_row_has_a_page(owner: Actor, model: type) -> None:
    assert console(owner).get(url(model, "change", row_of(model, owner).pk)).status_code == 200


@pytest.mark.parametrize("model", [*MODELS, User])
def test_superuser_sees_all(superuser: User, owner: Actor, outsider: Actor, model: type) -> None:
    client = console_of(superuser)
    response = client.get(url(model, "changelist"))
    assert response.status_code == 200
    assert response.context["cl"].queryset.count() == model.objects.count()  # type: ignore[attr-defined]
    first = model.objects.first()  # type: ignore[attr-defined]
    assert client.get(url(model, "change", first.pk)).status_code == 200


def test_accounts_are_for_superusers(owner: Actor) -> None:
    client = console(owner)
    for path in (url(User, "changelist"), url(User, "add"), url(User, "change", owner.user.pk)):
        assert client.get(path).status_code == 403
    password = reverse("admin:auth_user_password_change", args=(owner.user.pk,))
    assert client.post(password, {"password1": "x", "password2": "x"}).status_code == 403


def test_audit_trail_is_for_owners(admin: Actor) -> None:
    assert console(admin).get(url(AuditEvent, "changelist")).status_code == 403


def test_token_pages_hold_no_digest_and_no_secret(owner: Actor) -> None:
    row = row_of(ApiToken, owner)
    for path in (url(ApiToken, "changelist"), url(ApiToken, "change", row.pk)):
        html = console(owner).get(path).content.decode()
        assert row.fingerprint in html
        assert row.digest not in html
        assert owner.token not in html


@pytest.mark.parametrize(
    ("model", "page"),
    [(Membership, "delete"), (ApiToken, "delete"), (AuditEvent, "delete"), (AuditEvent, "add")],
)
def test_read_only_pages_have_no_way_to_write(owner: Actor, model: type, page: str) -> None:
    args = () if page == "add" else (row_of(model, owner).pk,)
    before = model.objects.count()  # type: ignore[attr-defined]
    assert console(owner).post(url(model, page, *args), {"post": "yes"}).status_code == 403
    assert model.objects.count() == before  # type: ignore[attr-defined]


def test_read_only_row_is_not_changed_by_a_post(owner: Actor, member: Actor) -> None:
    console(owner).post(url(Membership, "change", member.membership.pk), {"role": "OWNER", "user": str(owner.user.pk)})
    assert Membership.objects.get(pk=member.membership.pk).role == Role.MEMBER


def test_bulk_delete_reaches_nothing(owner: Actor, outsider: Actor) -> None:
    chosen = [str(outsider.membership.pk), str(owner.membership.pk)]
    console(owner).post(
        url(Membership, "changelist"), {"action": "delete_selected", "_selected_action": chosen, "post": "yes"}
    )
    assert Membership.objects.filter(pk__in=chosen).count() == 2


def test_workspace_is_renamed_with_a_trail(owner: Actor) -> None:
    console(owner).post(url(Workspace, "change", owner.workspace.pk), {"name": "New name"})
    owner.workspace.refresh_from_db()
    assert owner.workspace.name == "New name"
    assert AuditEvent.objects.get(action="workspace.renamed").actor == owner.user


def test_superuser_makes_an_account_that_signs_in(superuser: User) -> None:
    client = console_of(superuser)
    given = {"email": "New@x.com", "name": "New", "password1": "long-enough-17", "password2": "long-enough-17"}
    response = client.post(url(User, "add"), {**given, "usable_password": "true"})
    assert response.status_code == 302
    assert User.objects.get(email="new@x.com").check_password("long-enough-17")


# Actions


def action_url(model: type, name: str, pk: object) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{name}", args=(pk,))  # type: ignore[attr-defined]


def all_actions() -> list[tuple[type, str]]:
    """Every unfold action of the whole product."""
    found = []
    for model, model_admin in admin.site._registry.items():
        for kind in ("actions_list", "actions_row", "actions_detail", "actions_submit_line"):
            for entry in getattr(model_admin, kind, ()) or ():
                names = entry["items"] if isinstance(entry, dict) else [entry]
                found += [(model, name) for name in names]
    return found


def test_every_action_is_a_scoped_one() -> None:
    assert all_actions()
    for model, name in all_actions():
        assert getattr(getattr(admin.site._registry[model], name), "is_scoped", False), f"{model.__name__}.{name}"


def test_every_admin_of_ours_is_scoped() -> None:
    for model, model_admin in admin.site._registry.items():
        assert isinstance(model_admin, ScopedAdmin), model


@pytest.mark.parametrize("verb", ["get", "post"])
@pytest.mark.parametrize(
    ("model", "name"),
    [(Workspace, "add_member"), (Membership, "change_role"), (Membership, "remove"), (ApiToken, "revoke")],
)
def test_action_on_a_foreign_row_is_404_like_on_a_missing_one(
    owner: Actor, outsider: Actor, model: type, name: str, verb: str
) -> None:
    MembershipFactory(workspace=outsider.workspace, role=Role.OWNER)
    body = {**SUBMITTED, "role": "MEMBER", "email": "a@x.com"}
    before = (Membership.objects.count(), ApiToken.objects.filter(revoked_at=None).count())
    for wanted in (row_of(model, outsider).pk, uuid7(), "not-an-id"):
        assert getattr(console(owner), verb)(action_url(model, name, wanted), body).status_code == 404
    assert (Membership.objects.count(), ApiToken.objects.filter(revoked_at=None).count()) == before


def test_action_by_a_get_shows_the_dialog_and_changes_nothing(owner: Actor, member: Actor) -> None:
    response = console(owner).get(action_url(Membership, "remove", member.membership.pk), SUBMITTED)
    assert response.status_code == 200
    assert "<form" in response.content.decode()
    assert Membership.objects.filter(pk=member.membership.pk).exists()


def test_action_without_the_csrf_token_is_403(owner: Actor, member: Actor) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(owner.user, backend="django.contrib.auth.backends.ModelBackend")
    assert client.post(action_url(Membership, "remove", member.membership.pk), SUBMITTED).status_code == 403
    assert Membership.objects.filter(pk=member.membership.pk).exists()


def test_action_removes_a_member_and_goes_back_to_the_list(owner: Actor, member: Actor) -> None:
    response = console(owner).post(action_url(Membership, "remove", member.membership.pk), SUBMITTED)
    assert (response.status_code, response["Location"]) == (302, url(Membership, "changelist"))
    assert not Membership.objects.filter(pk=member.membership.pk).exists()


def test_action_from_the_dialog_answers_with_a_redirect_for_htmx(owner: Actor, member: Actor) -> None:
    path = action_url(Membership, "change_role", member.membership.pk)
    response = console(owner).post(path, {**SUBMITTED, "role": "ADMIN"}, headers={"HX-Request": "true"})
    assert (response.status_code, response["HX-Redirect"]) == (200, url(Membership, "change", member.membership.pk))
    assert Membership.objects.get(pk=member.membership.pk).role == Role.ADMIN


def test_action_that_is_refused_shows_why(owner: Actor) -> None:
    path = action_url(Membership, "remove", owner.membership.pk)
    response = console(owner).post(path, SUBMITTED, follow=True)
    assert [str(message) for message in response.context["messages"]] == [
        "A workspace needs an owner. Make somebody else an owner first."
    ]


def test_action_adds_a_member(owner: Actor) -> None:
    body = {**SUBMITTED, "email": "new@x.com", "name": "New", "role": "ADMIN"}
    console(owner).post(action_url(Workspace, "add_member", owner.workspace.pk), body)
    added = Membership.objects.get(user__email="new@x.com")
    assert (added.workspace, added.role) == (owner.workspace, Role.ADMIN)


def test_admin_neither_removes_an_owner_nor_revokes_the_owners_token(owner: Actor, admin: Actor) -> None:
    MembershipFactory(workspace=owner.workspace, role=Role.OWNER)
    client = console(admin)
    client.post(action_url(Membership, "remove", owner.membership.pk), SUBMITTED)
    client.post(action_url(ApiToken, "revoke", row_of(ApiToken, owner).pk), SUBMITTED)
    assert Membership.objects.filter(pk=owner.membership.pk).exists()
    assert row_of(ApiToken, owner).revoked_at is None


def test_token_is_revoked_from_the_console(owner: Actor, member: Actor) -> None:
    console(owner).post(action_url(ApiToken, "revoke", row_of(ApiToken, member).pk), SUBMITTED)
    assert row_of(ApiToken, member).revoked_at is not None


# The base, on a model that has a sealed field and relations


class RecordAdmin(ScopedAdmin):
    """As a careless developer would write it."""

    list_display = ("route", "body")
    readonly_fields = ("body",)
    list_filter = ("state", "user", "workspace__name")
    fieldsets = ((None, {"fields": (("route", "body"), "key", "body", "workspace", "user")}),)


def request_of(user: User) -> Any:
    request = RequestFactory().get("/")
    request.user = user
    return request


@pytest.fixture
def careless() -> RecordAdmin:
    return RecordAdmin(IdempotencyRecord, admin.site)


def test_scoped_admin_never_names_a_sealed_field(careless: RecordAdmin, superuser: User) -> None:
    request = request_of(superuser)
    assert list(careless.get_list_display(request)) == ["route"]
    assert list(careless.get_readonly_fields(request)) == []
    assert careless.get_fieldsets(request) == [(None, {"fields": [("route",), "key", "workspace", "user"]})]
    assert "body" not in careless.get_form(request)().fields


def test_scoped_admin_offers_only_rows_of_own_workspaces(careless: RecordAdmin, owner: Actor, outsider: Actor) -> None:
    form = careless.get_form(request_of(owner.user))()
    assert list(form.fields["workspace"].queryset) == [owner.workspace]
    assert outsider.user not in form.fields["user"].queryset
    assert owner.user in form.fields["user"].queryset


def test_scoped_admin_offers_nothing_of_a_model_without_a_scoped_admin(owner: Actor) -> None:
    field = ApiToken._meta.get_field("membership")
    site = admin.AdminSite()
    kept = ScopedAdmin(ApiToken, site).formfield_for_foreignkey(field, request_of(owner.user))
    assert list(kept.queryset) == []


def test_scoped_admin_drops_relation_filters_for_all_but_superusers(
    careless: RecordAdmin, owner: Actor, superuser: User
) -> None:
    assert list(careless.get_list_filter(request_of(owner.user))) == ["state"]
    assert list(careless.get_list_filter(request_of(superuser))) == ["state", "user", "workspace__name"]


def test_scoped_admin_saves_nothing_into_another_workspace(
    careless: RecordAdmin, owner: Actor, outsider: Actor
) -> None:
    record = IdempotencyRecord(
        workspace=outsider.workspace, user=owner.user, route="x", key="k", fingerprint="f", lease_until=ClockTimestamp()
    )
    with pytest.raises(PermissionDenied):
        careless.save_model(request_of(owner.user), record, None, change=False)
    assert not IdempotencyRecord.objects.exists()


def test_scoped_admin_takes_an_id_where_unfold_passes_one(owner: Actor, outsider: Actor) -> None:
    page = MembershipAdmin(Membership, admin.site)
    request = request_of(owner.user)
    assert page.has_view_permission(request, str(owner.membership.pk))
    assert not page.has_view_permission(request, str(outsider.membership.pk))
    assert not page.has_view_permission(request, "not-an-id")


def test_scoped_admin_follows_a_path_of_several_steps(owner: Actor) -> None:
    page = admin.site._registry[ApiToken]
    assert isinstance(page, ScopedAdmin)
    assert page.workspace_id_of(row_of(ApiToken, owner)) == owner.workspace.pk
    assert page.workspace_id_of(ApiToken()) is None
    assert isinstance(owner.workspace.pk, uuid.UUID)


def test_scoped_admin_inactive_user_sees_nothing(owner: Actor) -> None:
    owner.user.is_active = False
    page = MembershipAdmin(Membership, admin.site)
    assert not page.has_module_permission(request_of(owner.user))
    assert list(page.get_queryset(request_of(owner.user))) == []


def test_no_admin_of_ours_names_a_sealed_field(superuser: User) -> None:
    for model, page in admin.site._registry.items():
        sealed = {field.name for field in model._meta.get_fields() if isinstance(field, SealedField)}
        assert not sealed & {str(name) for name in page.get_list_display(request_of(superuser))}
