"""The console's own forms of this app: inviting a colleague, a token that is shown once, looking through the trail."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from workspaces.models import ApiToken, AuditEvent, Membership, Role, User
from workspaces.services import audit, tokens
from workspaces.tests.fixtures import Actor, client_for, make_actor

pytestmark = pytest.mark.django_db


def console(user: User) -> Client:
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def page(model: str, name: str) -> str:
    return reverse(f"admin:workspaces_{model}_{name}")


# Inviting


def test_colleague_is_invited_on_a_page_of_its_own(owner: Actor) -> None:
    client = console(owner.user)
    assert "Invite a colleague" in client.get(page("membership", "add")).content.decode()
    response = client.post(page("membership", "add"), {"email": "New@x.example", "role": "ADMIN"}, follow=True)
    assert "new@x.example is a member now." in [str(message) for message in response.context["messages"]]
    added = Membership.objects.get(user__email="new@x.example")
    assert (added.workspace, added.role) == (owner.workspace, Role.ADMIN)
    assert AuditEvent.objects.filter(action="member.added", actor=owner.user).exists()


@pytest.mark.parametrize(
    ("email", "role", "words"),
    [
        ("not an address", "MEMBER", "Enter a valid email address."),
        ("new@x.example", "OWNER", "Your role does not allow this."),
        ("{member}", "MEMBER", "This person is a member already."),
    ],
)
def test_invitation_that_cannot_be_says_why_and_keeps_what_was_typed(
    admin: Actor, member: Actor, email: str, role: str, words: str
) -> None:
    given = {"email": email.format(member=member.user.email), "role": role, "name": "Nora Typed"}
    before = Membership.objects.count()
    response = console(admin.user).post(page("membership", "add"), given)
    assert response.status_code == 400
    assert words in response.content.decode()
    assert "Nora Typed" in response.content.decode()
    assert Membership.objects.count() == before


def test_form_asks_which_workspace_only_where_there_are_several_and_takes_no_other(
    owner: Actor, outsider: Actor
) -> None:
    assert 'name="workspace"' not in console(owner.user).get(page("membership", "add")).content.decode()
    second = make_actor(role=Role.OWNER, user=owner.user).workspace
    client = console(owner.user)
    assert 'name="workspace"' in client.get(page("membership", "add")).content.decode()
    given = {"email": "new@x.example", "role": "MEMBER"}
    for chosen, status in ((outsider.workspace, 400), (None, 400), (second, 302)):
        sent = {**given, "workspace": str(chosen.pk)} if chosen else given
        assert client.post(page("membership", "add"), sent).status_code == status
    assert Membership.objects.get(user__email="new@x.example").workspace == second


# Tokens


def _made(client: Client, **given: str) -> Any:
    return client.post(page("apitoken", "add"), {"name": "My script", "days": "30", **given})


def test_new_token_works_and_is_of_the_caller(owner: Actor) -> None:
    response = _made(console(owner.user))
    [(_, text)] = response.context["secrets"]
    row = ApiToken.objects.get(name="My script")
    assert (response.status_code, row.membership) == (200, owner.membership)
    assert text in response.content.decode()
    assert client_for(text).get("/api/tokens").status_code == 200
    assert timedelta(days=29) < row.expires_at - timezone.now() < timedelta(days=31)  # type: ignore[operator]
    assert AuditEvent.objects.get(action="token.issued", object_id=str(row.pk)).actor == owner.user


def test_text_of_a_token_is_on_one_page_and_nowhere_else(owner: Actor, caplog: pytest.LogCaptureFixture) -> None:
    client = console(owner.user)
    with caplog.at_level(logging.DEBUG):
        response = _made(client)
    [(_, text)] = response.context["secrets"]
    assert "no-store" in response.headers["Cache-Control"].split(", ")
    assert text not in response.cookies.output()
    assert text not in caplog.text
    assert not any(text in str(session.get_decoded()) for session in Session.objects.all())
    row = ApiToken.objects.get(name="My script")
    for address in (page("apitoken", "changelist"), reverse("admin:workspaces_apitoken_change", args=(row.pk,))):
        assert text not in client.get(address).content.decode()
    assert not any(text in str(event.changes) for event in AuditEvent.objects.all())


def test_token_without_an_end_is_a_choice(owner: Actor) -> None:
    _made(console(owner.user), days="")
    assert ApiToken.objects.get(name="My script").expires_at is None


def test_token_without_a_name_is_refused(owner: Actor) -> None:
    before = ApiToken.objects.count()
    assert _made(console(owner.user), name=" ").status_code == 400
    assert ApiToken.objects.count() == before


def test_token_is_made_for_own_workspaces_only(owner: Actor, outsider: Actor) -> None:
    _made(console(owner.user), workspace=str(outsider.workspace.pk))
    assert ApiToken.objects.get(name="My script").workspace == owner.workspace


def test_superuser_without_a_membership_has_no_token_to_make() -> None:
    root = User.objects.create_superuser("root@example.com", "long-enough-17")
    assert console(root).get(page("apitoken", "add")).status_code == 403


# The trail


def test_trail_is_narrowed_by_action_person_and_day(owner: Actor, admin: Actor) -> None:
    for who, action in ((owner.user, "thing.made"), (admin.user, "thing.lost"), (None, "thing.expired")):
        audit.record(by=who, workspace=owner.workspace, action=action)
    client = console(owner.user)

    def shown(**query: str) -> set[str]:
        rows = client.get(page("auditevent", "changelist"), query).context["cl"].queryset
        return {row.action for row in rows if row.action.startswith("thing.")}

    assert shown(what="thing.made") == {"thing.made"}
    assert shown(who=admin.user.email) == {"thing.lost"}
    assert shown(who="-") == {"thing.expired"}
    today, long_ago = str(datetime.now(UTC).date()), "2000-01-01"
    assert shown(at_from=today, at_to=today) == {"thing.made", "thing.lost", "thing.expired"}
    assert shown(at_from=long_ago, at_to=long_ago) == set()
    assert shown(at_from="nonsense") == {"thing.made", "thing.lost", "thing.expired"}
    html = client.get(page("auditevent", "changelist")).content.decode()
    assert "The system itself" in html


def test_filters_of_the_trail_offer_nothing_of_another_workspace(owner: Actor, outsider: Actor) -> None:
    audit.record(by=outsider.user, workspace=outsider.workspace, action="secret.thing")
    html = console(owner.user).get(page("auditevent", "changelist")).content.decode()
    assert "secret.thing" not in html
    assert outsider.user.email not in html


def test_tokens_issued_elsewhere_are_not_listed(owner: Actor, outsider: Actor) -> None:
    row = tokens.issue(by=None, membership=outsider.membership, name="secret-name").row
    html = console(owner.user).get(page("apitoken", "changelist")).content.decode()
    assert row.name not in html
