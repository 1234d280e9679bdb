"""An email provider in memory, for tests of what is the same for every vendor. `sent` is its ledger."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from core.errors import CredentialsRejected, ProviderUnavailable
from integrations.fields import Field
from integrations.providers.base import Action, Checked
from integrations.providers.delivery import HookRefused, Notice, Posted
from integrations.providers.mail import Accepted, Mail, MailProvider, Template

GOOD_KEY = "good-key-of-the-letterbox"
BAD_KEY = "bad-key-of-the-letterbox"


class Letterbox(MailProvider):
    """Takes GOOD_KEY; answers nothing while `away`."""

    key = "LETTERBOX"
    name = "Letterbox"
    most_attached = 1_000_000
    config_fields: ClassVar[tuple[Field, ...]] = (
        Field("fromEmail", "Sender", kind="email", required=False),
        Field("fromName", "Sender's name", required=False),
        Field("baseUrl", "Server", kind="url", required=False, destination=True),
        Field("hookUrl", "Hook", kind="url", required=False, secret=True),
    )
    credential_fields: ClassVar[tuple[Field, ...]] = (Field("apiKey", "API key", kind="key"),)
    actions: ClassVar[tuple[Action, ...]] = (
        Action(
            "send",
            "Send",
            (
                Field("to", "To", kind="email", many=True),
                Field("subject", "Subject"),
                Field("body", "Text", kind="long_text"),
            ),
        ),
        Action("list_templates", "Templates"),
    )
    sent: ClassVar[list[dict[str, Any]]] = []
    asked: ClassVar[list[str]] = []
    away: ClassVar[bool] = False

    def _knock(self, what: str) -> None:
        self.asked.append(what)
        if self.away:
            raise ProviderUnavailable("Letterbox did not answer.")
        if self.credentials["apiKey"] != GOOD_KEY:
            raise CredentialsRejected("Letterbox: this key opens nothing.")

    def check(self) -> Checked:
        self._knock("check")
        return Checked("Letterbox is open.", details={"slots": 2})

    def send(self, mail: Mail) -> Accepted:
        self._knock("send")
        self.sent.append({"to": list(mail.to), "subject": mail.subject, "body": mail.text})
        return Accepted(f"mail-{len(self.sent)}", 200)

    def refuse_unfit(self, mail: Mail) -> None:
        """It takes everything."""

    def prove(self, posted: Posted) -> None:
        """It tells of nothing."""
        raise HookRefused

    def notices(self, posted: Posted) -> Sequence[Notice]:
        return []

    def templates(self) -> Sequence[Template]:
        self._knock("list_templates")
        return [Template("t1", "Welcome", datetime(2026, 1, 10, 9, tzinfo=UTC))]
