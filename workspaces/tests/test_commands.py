"""Commands for operators: what they print is for scripts."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from workspaces.management.progress import Progress
from workspaces.models import Membership, Role, User, Workspace
from workspaces.services import tokens
from workspaces.tests.factories import MembershipFactory, UserFactory

pytestmark = pytest.mark.django_db


def run(*arguments: Any, **options: Any) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out, **options)
    return out.getvalue()


def test_create_workspace_prints_ids_as_json() -> None:
    ids = json.loads(run("create_workspace", "Acme", "--owner-email", "Ann@x.com", "--password", "long-enough-17"))
    owner = Membership.objects.get()
    assert ids == {
        "workspaceId": str(owner.workspace_id),
        "ownerId": str(owner.user_id),
        "memberId": str(owner.pk),
    }
    assert (owner.role, owner.workspace.name) == (Role.OWNER, "Acme")
    assert owner.user.check_password("long-enough-17")


def test_create_workspace_for_an_existing_account_keeps_its_password() -> None:
    user = UserFactory(email="ann@x.com")
    run("create_workspace", "Acme", "--owner-email", "ann@x.com")
    assert User.objects.get().password == user.password
    with pytest.raises(CommandError, match="exists already"):
        run("create_workspace", "Acme", "--owner-email", "ann@x.com", "--password", "long-enough-17")


@pytest.mark.parametrize(
    "arguments",
    [
        ("", "--owner-email", "a@x.com"),
        ("A", "--owner-email", "no"),
        ("A", "--owner-email", "a@x.com", "--password", "1"),
    ],
)
def test_create_workspace_with_bad_input_says_why_and_makes_nothing(arguments: tuple[str, ...]) -> None:
    with pytest.raises(CommandError):
        run("create_workspace", *arguments)
    assert (Workspace.objects.count(), User.objects.count()) == (0, 0)


def test_create_token_prints_the_token_alone() -> None:
    membership = MembershipFactory()
    printed = run("create_token", "--email", membership.user.email.upper(), "--name", "CI")
    assert printed == printed.strip() + "\n"
    row = membership.tokens.get()
    assert tokens.matches(row, printed.strip())
    assert row.name == "CI"


def test_create_token_of_somebody_in_two_workspaces_wants_to_know_which() -> None:
    first = MembershipFactory(workspace__name="One")
    second = MembershipFactory(user=first.user, workspace__name="Two")
    with pytest.raises(CommandError, match="several"):
        run("create_token", "--email", first.user.email)
    run("create_token", "--email", first.user.email, "--workspace", "Two")
    run("create_token", "--email", first.user.email, "--workspace", str(second.workspace_id))
    assert (first.tokens.count(), second.tokens.count()) == (0, 2)


@pytest.mark.parametrize("extra", [(), ("--workspace", "Nowhere")])
def test_create_token_of_somebody_unknown_is_refused(extra: tuple[str, ...]) -> None:
    with pytest.raises(CommandError, match="not a member"):
        run("create_token", "--email", "nobody@x.com", *extra)


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_on_a_terminal_redraws_one_line() -> None:
    out = Terminal()
    progress = Progress(out, what="moved", total=4)
    progress.step(4)
    progress.close()
    assert out.getvalue().startswith("\r")
    assert out.getvalue().count("\n") == 1


def test_progress_elsewhere_is_a_plain_line() -> None:
    out = StringIO()
    progress = Progress(out, what="moved", total=10_000)
    progress.step(1_200)
    progress.close()
    assert out.getvalue().startswith("moved 1,200 of 10,000 (12 %), ")
    assert out.getvalue().endswith("s left\n")
