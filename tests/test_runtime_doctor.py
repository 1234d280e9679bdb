"""`manage.py doctor`: every finding names what is wrong and how to mend it, and errors set the exit status."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from config import doctor as config_doctor
from config import figures
from core.ids import uuid7
from email_logs.models import EmailLogTable, OutgoingEmail
from email_sync.tests.factories import connect
from integrations.models import Health, Integration
from workspaces.models import Heartbeat, Workspace
from workspaces.runtime.findings import ok
from workspaces.services import periodic
from workspaces.tests.fixtures import Actor

STRONG = "kT9-vQ2_xW7mZp4RbN8cJ1sLhF6gYdE3aUoVwXqBtCi"


@pytest.fixture(autouse=True)
def _healthy(db: None, settings: Any) -> None:
    settings.SECRET_KEY = STRONG[::-1]
    settings.VAULT_KEYS = f"k1:{STRONG}"
    settings.PUBLIC_URL = "https://hub.mine.test"
    settings.GOOGLE_CLIENT_ID = settings.GOOGLE_CLIENT_SECRET = ""
    settings.MICROSOFT_CLIENT_ID = settings.MICROSOFT_CLIENT_SECRET = ""
    periodic.beat(name="beat")


def _findings() -> tuple[list[dict[str, str]], int]:
    """What it said, and its exit status."""
    out, status = StringIO(), 0
    try:
        call_command("doctor", "--json", stdout=out)
    except SystemExit as exit:
        status = int(str(exit.code))
    return json.loads(out.getvalue()), status


def _wrong(subject: str) -> dict[str, str]:
    """The one finding about `subject` that is not well."""
    wrong = [finding for finding in _findings()[0] if finding["level"] != "ok"]
    assert [finding["subject"] for finding in wrong] == [subject]
    assert wrong[0]["mend"]
    return wrong[0]


def test_doctor_healthy_product_has_nothing_to_mend() -> None:
    findings, status = _findings()
    assert status == 0
    assert {finding["level"] for finding in findings} == {"ok"}
    assert {"SECRET_KEY", "VAULT_KEYS", "database", "migrations", "broker", "heartbeat", "PUBLIC_URL"} <= {
        finding["subject"] for finding in findings
    }


def test_doctor_without_json_prints_a_line_per_finding_and_its_mending(settings: Any) -> None:
    settings.PUBLIC_URL = "http://hub.mine.test"
    out = StringIO()
    call_command("doctor", stdout=out)
    assert "warning PUBLIC_URL: http://hub.mine.test is not https." in out.getvalue()
    assert "→ Serve it over https" in out.getvalue()


def test_doctor_weak_secret_key_is_an_error_that_does_not_show_it(settings: Any) -> None:
    settings.SECRET_KEY = "hunter2"
    assert _findings()[1] == 1
    assert "hunter2" not in str(_wrong("SECRET_KEY"))


def test_doctor_weak_vault_key_is_an_error_that_names_its_id(settings: Any) -> None:
    settings.VAULT_KEYS = "old:hunter2"
    finding = _wrong("VAULT_KEYS")
    assert "'old'" in finding["what"]
    assert "hunter2" not in str(finding)


def test_doctor_late_heartbeat_is_an_error(settings: Any) -> None:
    Heartbeat.objects.all().delete()
    assert _wrong("heartbeat")["level"] == "error"


def test_doctor_public_url_with_a_path_is_an_error(settings: Any) -> None:
    settings.PUBLIC_URL = "https://hub.mine.test/sub"
    assert "more than an origin" in _wrong("PUBLIC_URL")["what"]


def test_doctor_half_configured_provider_says_what_is_missing(settings: Any) -> None:
    settings.GOOGLE_CLIENT_ID = "id"
    finding = _wrong("Google")
    assert finding["level"] == "error"
    assert "GOOGLE_CLIENT_SECRET" in finding["mend"]


def test_doctor_configured_provider_shows_the_redirect_url_to_register(settings: Any) -> None:
    settings.GOOGLE_CLIENT_ID = settings.GOOGLE_CLIENT_SECRET = "given"
    google = next(finding for finding in _findings()[0] if finding["subject"] == "Google")
    assert google["what"].endswith("https://hub.mine.test/api/v1/integrations/oauth/google/callback")


def test_doctor_configured_provider_behind_plain_http_is_an_error(settings: Any) -> None:
    settings.GOOGLE_CLIENT_ID = settings.GOOGLE_CLIENT_SECRET = "given"
    settings.PUBLIC_URL = "http://hub.mine.test"
    levels = {finding["subject"]: finding["level"] for finding in _findings()[0] if finding["level"] != "ok"}
    assert levels == {"PUBLIC_URL": "warning", "Google": "error"}


def test_doctor_provider_address_in_a_private_network_wants_it_allowed(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GMAIL_API_URL", "http://127.0.0.1:9999")
    settings.EGRESS_ALLOW_CIDRS = []
    assert "EGRESS_ALLOW_CIDRS" in _wrong("GMAIL_API_URL")["mend"]
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    assert _findings()[1] == 0


def test_doctor_broker_that_is_away_is_an_error(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise OSError("refused")

    monkeypatch.setattr("kombu.connection.Connection.ensure_connection", away)
    assert "does not answer" in _wrong("broker")["what"]


def test_doctor_says_that_nobody_listens_only_where_somebody_could(member: Actor) -> None:
    assert config_doctor.check_listening() == [ok("push", "no mailbox needs a listening process")]
    connect(member)
    [finding] = config_doctor.check_listening()
    assert finding.level == "warning"
    assert "manage.py idle" in finding.mend
    periodic.beat(name="idle")
    [finding] = config_doctor.check_listening()
    assert finding.level == "ok"


def test_doctor_and_metrics_tell_of_integrations_that_do_not_work(workspace: Workspace) -> None:
    assert config_doctor.check_integrations() == [ok("integrations", "0 enabled, none known not to work")]
    Integration.objects.create(
        workspace=workspace, name="Mailer", type="WEBHOOK", health=Health.FAILING, health_message="It is gone.",
        failing_since=timezone.now(),
    )  # fmt: skip
    [finding] = config_doctor.check_integrations()
    assert (finding.level, finding.what) == ("warning", f"Mailer of {workspace.name}: It is gone.")
    assert 'patchbay_integrations{health="failing"} 1' in figures.exposition()


def test_doctor_names_providers_that_take_no_mail(workspace: Workspace) -> None:
    integration = Integration.objects.create(workspace=workspace, name="Mailer", type="EMAIL_PROVIDER")
    table = EmailLogTable.objects.create(workspace=workspace, integration=integration, failing_since=timezone.now())
    assert [finding.level for finding in config_doctor.check_mail()] == ["ok"]
    OutgoingEmail.objects.create(entry_id=uuid7(), workspace=workspace, table=table)
    [finding] = config_doctor.check_mail()
    assert (finding.level, "Mailer takes nothing since" in finding.what) == ("warning", True)
