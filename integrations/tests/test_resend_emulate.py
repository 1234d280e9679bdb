"""Resend's provider against somebody else's imitation (emulate 0.11.2). It takes any key, has no templates and drops
attachments, so what is tried is what it has: domains, sending, idempotency."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.errors import ProviderRejected
from integrations import fields
from integrations.providers.resend import Resend
from integrations.tests import emulate

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(emulate.program() is None, reason="needs `npm install -g emulate@0.11.2`, or EMULATE_BIN"),
]
SEED = "resend: {domains: [{name: mail.example, status: verified}]}\n"
MAIL: dict[str, Any] = {"to": ["ada@hub.example"], "subject": "Hello", "body": "Hi", "idempotencyKey": "log-1"}


@pytest.fixture
def base(tmp_path: Path, settings: Any) -> Iterator[str]:
    with emulate.serving(tmp_path, ("resend",), SEED) as bases:
        settings.RESEND_API_URL = bases["resend"]
        settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
        yield bases["resend"]


def resend(sender: str = "hub@mail.example") -> Resend:
    config = {"fromEmail": sender, "fromName": "Hub, Notifications"}
    return Resend(config=config, credentials={"apiKey": "test_token_admin"})


def send(**changes: Any) -> Any:
    provider = resend()
    return provider.perform("send", fields.read(provider.action("send").fields, MAIL | changes))


def test_check_reads_the_domains(base: str) -> None:
    assert not resend().check().limited
    assert resend("hub@other.example").check().limited


def test_send_is_one_mail_however_often_under_its_key(base: str) -> None:
    first = send(cc=["bob@hub.example"], bodyHtml="<p>Hi</p>")
    assert send(cc=["bob@hub.example"], bodyHtml="<p>Hi</p>") == first
    with pytest.raises(ProviderRejected, match="different request"):
        send(subject="Other")
    (mail,) = httpx.get(f"{base}/emails", headers={"Authorization": "Bearer test_token_admin"}).json()["data"]
    assert (mail["id"], mail["from"]) == (first["messageId"], '"Hub, Notifications" <hub@mail.example>')
    assert (mail["to"], mail["cc"], mail["html"]) == (["ada@hub.example"], ["bob@hub.example"], "<p>Hi</p>")


def test_call_that_does_not_exist_there_is_refused_and_no_empty_list(base: str) -> None:
    with pytest.raises(ProviderRejected, match="404"):
        resend().perform("list_templates", {})
