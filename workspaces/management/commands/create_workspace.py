"""`manage.py create_workspace NAME --owner-email E [--password P]`: a workspace and its owner; ids as JSON."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from itertools import chain
from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from core.errors import HubError
from workspaces.services import members


class Command(BaseCommand):
    """For operators; the first workspace is made by `manage.py up`."""

    help = "Create a workspace with an owner. Prints the ids as JSON."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--owner-email", required=True)
        parser.add_argument("--password", help="Only for an account that does not exist yet; without it none is set.")

    def handle(self, *args: Any, **options: Any) -> str:
        try:
            if options["password"] is not None:
                validate_password(options["password"])
            owner = members.create_workspace(
                by=None, name=options["name"], owner_email=options["owner_email"], owner_password=options["password"]
            )
        except HubError as error:
            raise CommandError(" ".join([error.message, *chain.from_iterable(error.fields.values())])) from error
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        ids = {"workspaceId": owner.workspace_id, "ownerId": owner.user_id, "memberId": owner.pk}
        return json.dumps({name: str(value) for name, value in ids.items()})
