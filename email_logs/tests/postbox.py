"""Email providers in memory, for tests of what is the same for every vendor: one that knows idempotency keys and one
that does not. `taken` is their ledger, `script` what they do next."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from rest_framework.test import APIClient

from core.errors import CredentialsRejected
from email_logs.models import EmailLogEntry, EmailLogTable, OutgoingEmail
from email_logs.services import outgoing
from integrations.models import Integration
from integrations.providers import INTEGRATION_PROVIDERS
from integrations.providers.base import Action, Checked
from integrations.providers.delivery import HookRefused, Notice, Posted
from integrations.providers.mail import Accepted, Mail, MailProvider, Template, send_action
from workspaces.tests.fixtures import Actor

FROM = "hub@mail.example"
MAIL: dict[str, Any] = {"to": ["ada@hub.example"], "subject": "Hello", "body": "Hi"}


class Postbox(MailProvider):
    """Sends what it is given, unless the script says otherwise: an error is raised; (error,) is raised and the mail
    taken all the same."""

    key = "POSTBOX"
    name = "Postbox"
    most_attached = 1000
    actions: ClassVar[tuple[Action, ...]] = (send_action(most=50, idempotent=True),)
    script: ClassVar[list[Any]] = []
    taken: ClassVar[list[tuple[str, Mail]]] = []
    asked: ClassVar[list[Mail]] = []

    def check(self) -> Checked:
        if self.credentials["apiKey"] == "bad":
            raise CredentialsRejected("Postbox: this key opens nothing.")
        return Checked("Open.")

    def send(self, mail: Mail) -> Accepted:
        self.asked.append(mail)
        self.check()
        known = [number for number, (_, other) in enumerate(self.taken) if self._same(mail, other)]
        todo = self.script.pop(0) if self.script else None
        if isinstance(todo, BaseException):
            raise todo
        if not known:
            self.taken.append((self.key, mail))
        if isinstance(todo, tuple):
            raise todo[0]
        return Accepted(f"{self.key}-{(known or [len(self.taken) - 1])[0]}", 200)

    def _same(self, mail: Mail, other: Mail) -> bool:
        return self.keys_last is not None and mail.idempotency_key == other.idempotency_key

    def refuse_unfit(self, mail: Mail) -> None:
        """It takes everything."""

    def prove(self, posted: Posted) -> None:
        """It tells of nothing."""
        raise HookRefused

    def notices(self, posted: Posted) -> Sequence[Notice]:
        return []

    def templates(self) -> Sequence[Template]:
        return []


class KeyedPostbox(Postbox):
    """It remembers keys for a day."""

    key = "POSTBOX_KEYED"
    keys_last: ClassVar[timedelta | None] = timedelta(hours=24)


KINDS = {kind.key: kind for kind in (Postbox, KeyedPostbox)}


def register(patch: pytest.MonkeyPatch) -> None:
    """For one test."""
    for key, kind in KINDS.items():
        patch.setitem(INTEGRATION_PROVIDERS.paths, key, f"email_logs.tests.postbox.{kind.__name__}")
    for record in (Postbox.script, Postbox.taken, Postbox.asked):
        record.clear()


def forget() -> None:
    for key in KINDS:
        INTEGRATION_PROVIDERS._loaded.pop(key, None)


def provider(
    actor: Actor, type: str = "POSTBOX", *, site: bool = True, key: str = "good", sender: str = FROM, **config: Any
) -> Integration:
    """An email provider of the actor's workspace."""
    body = {
        "name": f"{type} {sender}",
        "type": type,
        "config": {"fromEmail": sender, "fromName": "Hub", **config},
        "credentials": {"apiKey": key},
        "setAsSiteEmailProvider": site,
    }
    answer = actor.client.post("/api/integrations", body, format="json")
    assert answer.status_code == 201, answer.content
    return Integration.objects.select_related("workspace").get(pk=answer.json()["id"])


def send(client: APIClient, key: str = "", **changes: Any) -> Any:
    """Over the API; a change of None leaves a field out."""
    given = {name: value for name, value in (MAIL | changes).items() if value is not None}
    headers = {"Idempotency-Key": key} if key else {}
    return client.post("/api/email/send", given, format="json", headers=headers)


def entry() -> EmailLogEntry:
    return EmailLogEntry.objects.get()


def time_passes() -> None:
    """Whatever waits is due, whatever was held is given up, and workers go through all of it once."""
    from django.db.models.functions import Now

    long_ago = Now() - timedelta(seconds=1)
    EmailLogTable.objects.update(not_before=None, rung_at=None)
    OutgoingEmail.objects.filter(status="running").update(lease_until=long_ago)
    OutgoingEmail.objects.filter(status="queued").update(next_attempt_at=long_ago)
    for table in outgoing.unattended():
        outgoing.begun(table)
        outgoing.work(table, call_help=lambda: None)
