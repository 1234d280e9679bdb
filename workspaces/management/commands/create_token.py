"""`manage.py create_token --email E [--workspace W] [--name N]`: prints a new API token, alone, on stdout."""

from __future__ import annotations

import uuid
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Q

from workspaces.models import Membership
from workspaces.services import tokens


class Command(BaseCommand):
    """For operators and scripts: `TOKEN=$(manage.py create_token --email ann@example.com)`."""

    help = "Issue an API token for a member and print it, alone, on stdout. It cannot be read again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--email", required=True)
        parser.add_argument("--workspace", help="Id or name; needed only for somebody in several workspaces.")
        parser.add_argument("--name", default="Command line")

    def handle(self, *args: Any, **options: Any) -> str:
        membership = self._membership(options["email"], options["workspace"])
        return tokens.issue(by=None, membership=membership, name=options["name"][:100] or "Command line").text

    def _membership(self, email: str, workspace: str | None) -> Membership:
        found = Membership.objects.filter(user__email=email).select_related("user", "workspace")
        if workspace:
            found = found.filter(_named(workspace))
        rows = list(found[:2])
        if not rows:
            raise CommandError(f"{email} is not a member of {workspace or 'any workspace'}.")
        if len(rows) > 1:
            raise CommandError(f"{email} is a member of several workspaces: say which with --workspace ID.")
        return rows[0]


def _named(workspace: str) -> Q:
    try:
        return Q(workspace_id=uuid.UUID(workspace))
    except ValueError:
        return Q(workspace__name=workspace)
