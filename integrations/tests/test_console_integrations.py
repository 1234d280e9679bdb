"""The console's pages of integrations: what an owner sees and may do there, and what no page ever holds."""

from __future__ import annotations

import base64
import re
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from core.errors import CredentialsRejected
from core.work import WorkStatus
from integrations.fields import Field
from integrations.models import ContactSync, Health, Integration
from integrations.providers import INTEGRATION_PROVIDERS
from integrations.providers.base import Action, Checked, IntegrationProvider
from integrations.services import integration_health, integrations
from workspaces.models import AuditEvent
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db
SUBMITTED = {"_form_submitted": "on"}
SECRET = "vanishing-point-of-a-secret"
OTHER = "another-secret-altogether"


class Machine(IntegrationProvider):
    """A vendor with one of every kind of field, that does what it is told."""

    key = "MACHINE"
    name = "Machine"
    description = "Does <b>nothing</b> much."
    config_fields = (
        Field("address", "Address", kind="url", destination=True, required=False),
        Field("count", "Count", kind="number", required=False, longest=10),
        Field("loud", "Loud", kind="boolean", required=False),
        Field("mode", "Mode", kind="choice", choices=("fast", "slow"), required=False),
        Field("tags", "Tags", many=True, required=False),
        Field("extra", "Extra", kind="json", required=False),
        Field("hook", "Hook", kind="url", secret=True, required=False),
    )
    credential_fields = (Field("key", "Key", kind="key"), Field("pin", "Pin", kind="secret", required=False))
    actions = (
        Action("echo", "Say it again", (Field("text", "Text"), Field("files", "Files", kind="object", many=True,
               required=False, fields=(Field("fileName", "Name"), Field("content", "Content", kind="base64"))))),
        Action("fetch", "Fetch a file"),
        Action("refuse", "Refuse"),
    )  # fmt: skip

    def check(self) -> Checked:
        return Checked("All is well.")

    def perform_echo(self, given: Any) -> dict[str, Any]:
        rows = [{"name": "<i>row</i>", "n": n} for n in range(2)]
        return {"text": given["text"], "files": given.get("files"), "rows": rows}

    def perform_fetch(self, given: Any) -> dict[str, Any]:
        return {"fileName": "a\r\nb.html", "contentType": "text/html", "content": "PGI+aGk8L2I+"}

    def perform_refuse(self, given: Any) -> dict[str, Any]:
        raise CredentialsRejected("The machine knows no such key.")


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(INTEGRATION_PROVIDERS.paths, Machine.key, f"{__name__}.Machine")
    monkeypatch.setitem(INTEGRATION_PROVIDERS._loaded, Machine.key, Machine)


def console(actor: Actor) -> Client:
    client = Client()
    client.force_login(actor.user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def page(name: str, *args: object) -> str:
    return reverse(f"admin:integrations_integration_{name}", args=args)


def made(actor: Actor, type: str = Machine.key, **given: Any) -> Integration:
    credentials = given.pop("credentials", {"key": SECRET})
    config = given.pop("config", {})
    name = given.pop("name", "Ours")
    return integrations.create(
        workspace=actor.workspace, by=actor.user, name=name, type=type, config=config, credentials=credentials, **given
    )


def told(response: Any) -> str:
    return " ".join(str(message) for message in response.context["messages"])


# --- choosing and filling -----------------------------------------------------------------------------------------


def test_every_type_is_offered_with_what_it_can(owner: Actor) -> None:
    html = console(owner).get(page("add")).content.decode()
    for key in INTEGRATION_PROVIDERS:
        assert f'href="?type={key}"' in html
        assert INTEGRATION_PROVIDERS.get(key).name in html
    assert "Say it again, Fetch a file" in html
    assert "<b>nothing</b>" not in html


@pytest.mark.parametrize("key", list(INTEGRATION_PROVIDERS))
def test_form_of_a_type_asks_for_every_declared_field(owner: Actor, key: str) -> None:
    kind = INTEGRATION_PROVIDERS.get(key)
    html = console(owner).get(page("add"), {"type": key}).content.decode()
    for field in kind.all_config_fields():
        assert f'name="config.{field.name}"' in html
    for field in kind.credential_fields:
        assert f'name="credentials.{field.name}"' in html
    assert 'type="password"' in html


def test_integration_is_made_from_the_form(owner: Actor) -> None:
    given = {
        "name": "Our machine", "config.address": "https://198.45.48.1/", "config.count": "7", "config.loud": "on",
        "config.mode": "slow", "config.tags": "one\n two \n\n", "config.extra": '{"a": [1]}',
        "config.hook": "https://198.45.48.1/path-that-opens", "credentials.key": SECRET, "credentials.pin": " 1 ",
    }  # fmt: skip
    response = console(owner).post(f"{page('add')}?type=MACHINE", given)
    row = Integration.objects.get()
    assert (response.status_code, response.headers["Location"]) == (302, page("change", row.pk))
    assert row.config == {
        "address": "https://198.45.48.1/", "count": 7, "loud": True, "mode": "slow", "tags": ["one", "two"],
        "extra": {"a": [1]},
    }  # fmt: skip
    assert row.secrets["credentials"] == {"key": SECRET, "pin": " 1 "}
    assert row.secrets["config"] == {"hook": "https://198.45.48.1/path-that-opens"}
    assert AuditEvent.objects.get(action="integration.created").actor == owner.user


def test_what_is_wrong_is_said_beside_its_field_and_nothing_typed_is_lost_but_secrets(owner: Actor) -> None:
    given = {"name": "Our machine", "config.count": "99", "config.extra": "{", "credentials.key": f"{SECRET} x"}
    response = console(owner).post(f"{page('add')}?type=MACHINE", given)
    html = response.content.decode()
    assert response.status_code == 400
    assert set(response.context["form"].errors) == {"config.extra"}
    assert 'value="Our machine"' in html
    assert 'value="99"' in html
    assert SECRET not in html
    response = console(owner).post(f"{page('add')}?type=MACHINE", {**given, "config.extra": ""})
    assert set(response.context["form"].errors) == {"config.count", "credentials.key"}
    assert not Integration.objects.exists()


def test_name_of_several_lines_is_refused(owner: Actor) -> None:
    given = {"name": "a\u2028b", "credentials.key": SECRET}
    response = console(owner).post(f"{page('add')}?type=MACHINE", given)
    assert set(response.context["form"].errors) == {"name"}


def test_unknown_type_shows_the_choice(owner: Actor) -> None:
    assert "Add an integration" in console(owner).get(page("add"), {"type": "NONE"}).content.decode()


def test_email_provider_may_be_made_the_site_provider_at_once(owner: Actor) -> None:
    given = {"name": "Mail", "credentials.apiKey": "re_0123456789", "setAsSiteEmailProvider": "on"}
    console(owner).post(f"{page('add')}?type=EMAIL_PROVIDER", given)
    assert Integration.objects.get().is_site_email_provider


def test_events_are_chosen_by_name_family_or_all(owner: Actor) -> None:
    given = {"name": "Hook", "config.url": "https://198.45.48.1/", "credentials.secret": SECRET}
    html = console(owner).get(page("add"), {"type": "WEBHOOK"}).content.decode()
    assert 'value="email.*"' in html
    assert 'value="email.updated"' not in html
    console(owner).post(f"{page('add')}?type=WEBHOOK", {**given, "config.events": ["email.sent", "document.*"]})
    row = Integration.objects.get()
    assert row.config["events"] == ["email.sent", "document.*"]
    console(owner).post(page("settings", row.pk), {"name": "Hook", "config.url": "https://198.45.48.1/"})
    row.refresh_from_db()
    assert "events" not in row.config
    assert row.secrets["credentials"] == {"secret": SECRET}


# --- changing -----------------------------------------------------------------------------------------------------


def test_no_page_holds_a_secret(owner: Actor) -> None:
    row = made(owner, credentials={"key": SECRET, "pin": OTHER}, config={"hook": f"https://198.45.48.1/{SECRET}"})
    client = console(owner)
    for address in (page("changelist"), *(page(name, row.pk) for name in ("change", "settings", "rotate", "work"))):
        html = client.get(address).content.decode()
        assert SECRET not in html
        assert OTHER not in html
    detail = client.get(page("change", row.pk)).content.decode()
    assert row.fingerprint in detail
    assert "https://198.45.48.1/...****" in client.get(page("settings", row.pk)).content.decode()


def test_empty_secrets_stay_and_empty_settings_go(owner: Actor) -> None:
    row = made(
        owner, credentials={"key": SECRET, "pin": OTHER},
        config={"count": 3, "mode": "fast", "loud": True, "hook": "https://198.45.48.1/secret-path"},
    )  # fmt: skip
    console(owner).post(page("settings", row.pk), {"name": "Renamed", "config.count": "4", "credentials.key": ""})
    row.refresh_from_db()
    assert row.name == "Renamed"
    assert row.config == {"count": 4, "loud": False}
    assert row.secrets["credentials"] == {"key": SECRET, "pin": OTHER}
    assert row.secrets["config"] == {"hook": "https://198.45.48.1/secret-path"}


def test_secret_that_is_not_needed_can_be_taken_away(owner: Actor) -> None:
    row = made(owner, credentials={"key": SECRET, "pin": OTHER}, config={"hook": "https://198.45.48.1/secret-path"})
    gone = {"name": "Ours", "credentials.pin-clear": "on", "config.hook-clear": "on", "credentials.key-clear": "on"}
    console(owner).post(page("settings", row.pk), gone)
    row.refresh_from_db()
    assert row.secrets["credentials"] == {"key": SECRET}
    assert row.secrets["config"] == {}


def test_credentials_do_not_follow_to_another_address(owner: Actor) -> None:
    row = made(owner, config={"address": "https://198.45.48.1/"}, credentials={"key": SECRET, "pin": OTHER})
    moved = {"name": "Ours", "config.address": "https://198.45.48.2/"}
    console(owner).post(page("settings", row.pk), {**moved, "credentials.key": "a-new-key"})
    row.refresh_from_db()
    assert row.secrets["credentials"] == {"key": "a-new-key"}
    console(owner).post(page("settings", row.pk), {"name": "Ours", "config.address": "https://198.45.48.3/"})
    row.refresh_from_db()
    assert row.secrets.get("credentials", {}) == {}
    assert not row.has_credentials


def test_rotating_replaces_what_is_given_and_says_so_where_nothing_is(owner: Actor) -> None:
    row = made(owner, credentials={"key": SECRET, "pin": OTHER})
    nothing = console(owner).post(page("rotate", row.pk), {})
    assert nothing.status_code == 400
    assert "Give a new secret" in nothing.content.decode()
    before = row.fingerprint
    assert console(owner).post(page("rotate", row.pk), {"credentials.key": "a-new-key"}).status_code == 302
    row.refresh_from_db()
    assert row.secrets["credentials"] == {"key": "a-new-key", "pin": OTHER}
    assert row.fingerprint != before
    changed = AuditEvent.objects.filter(action="integration.updated").latest("at").changes
    assert changed["fields"] == ["credentials.key"]
    assert "a-new-key" not in str(changed)


def secret_on(response: Any) -> str:
    """The one that a page shows, and that no browser keeps."""
    assert "no-store" in response.headers["Cache-Control"]
    [found] = re.findall(r"whsec_[\w+/=]+", response.content.decode())
    assert len(base64.b64decode(found.removeprefix("whsec_"))) >= 24
    return str(found)


def test_signing_secret_is_made_where_none_is_given_and_shown_once(owner: Actor) -> None:
    client = console(owner)
    assert "checked" in re.findall(r'<input[^>]*credentials.secret-make[^>]*>', client.get(
        page("add"), {"type": "WEBHOOK"}).content.decode())[0]  # fmt: skip
    given = {"name": "Office", "config.url": "https://198.45.48.1/", "config.events": ["*"]}
    response = client.post(f"{page('add')}?type=WEBHOOK", {**given, "credentials.secret-make": "on"})
    row = Integration.objects.get()
    secret = secret_on(response)
    assert row.secrets["credentials"] == {"secret": secret}
    for name in ("change", "settings", "rotate"):
        assert secret not in client.get(page(name, row.pk)).content.decode()


def test_own_signing_secret_is_taken_rather_than_one_made(owner: Actor) -> None:
    given = {"name": "Office", "config.url": "https://198.45.48.1/", "config.events": ["*"]}
    own = {"credentials.secret": SECRET, "credentials.secret-make": "on"}
    assert console(owner).post(f"{page('add')}?type=WEBHOOK", {**given, **own}).status_code == 302
    assert Integration.objects.get().secrets["credentials"] == {"secret": SECRET}


def test_webhook_without_a_secret_is_asked_for_one(owner: Actor) -> None:
    given = {"name": "Office", "config.url": "https://198.45.48.1/", "config.events": ["*"]}
    response = console(owner).post(f"{page('add')}?type=WEBHOOK", given)
    assert response.status_code == 400
    assert "Give one, or have one made." in response.content.decode()
    assert not Integration.objects.exists()


def test_signing_secret_is_rotated_to_one_that_is_made(owner: Actor) -> None:
    row = made(owner, "WEBHOOK", config={"url": "https://198.45.48.1/"}, credentials={"secret": SECRET})
    secret = secret_on(console(owner).post(page("rotate", row.pk), {"credentials.secret-make": "on"}))
    assert Integration.objects.get().secrets["credentials"] == {"secret": secret}
    assert secret != SECRET


def test_rotated_signing_secret_goes_on_beside_the_new_one(owner: Actor) -> None:
    row = made(owner, "WEBHOOK", config={"url": "https://198.45.48.1/"}, credentials={"secret": SECRET})
    assert "for 24 hours" in console(owner).get(page("rotate", row.pk)).content.decode()
    console(owner).post(page("rotate", row.pk), {"credentials.secret": OTHER})
    row.refresh_from_db()
    assert [entry["value"] for entry in row.secrets["retired"]] == [SECRET]


# --- how it is ----------------------------------------------------------------------------------------------------


def test_list_shows_type_state_health_and_age(owner: Actor) -> None:
    row = made(owner, name="Old one")
    now = timezone.now()
    Integration.objects.filter(pk=row.pk).update(
        health=Health.NEEDS_RECONNECT, health_checked_at=now - timedelta(hours=2),
        credentials_changed_at=now - timedelta(days=400), enabled=False,
    )  # fmt: skip
    html = console(owner).get(page("changelist")).content.decode()
    for words in ("Old one", "Machine", "Disabled", "Needs new credentials", "2 hours ago", "400 days"):
        assert words in html
    assert "Old one" not in console(owner).get(page("changelist"), {"type": "WEBHOOK"}).content.decode()


def test_list_costs_the_same_for_one_and_for_many(owner: Actor) -> None:
    client = console(owner)

    def queries() -> int:
        with CaptureQueriesContext(database) as captured:
            client.get(page("changelist"))
        assert not any("credentials" in q["sql"].split("FROM")[0].replace("has_credentials", "").replace(
            "credentials_changed_at", "") for q in captured if '"integrations_integration"' in q["sql"])  # fmt: skip
        return len(captured)

    made(owner)
    queries()
    for_one = queries()
    for number in range(8):
        made(owner, name=f"Number {number}")
    assert queries() == for_one


def test_test_says_what_the_vendor_said(owner: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    row = made(owner)
    done = console(owner).post(page("test", row.pk), SUBMITTED, follow=True)
    assert "Ours works: All is well." in told(done)
    assert "All is well." in done.content.decode()

    def refuses(self: Machine) -> Checked:
        raise CredentialsRejected("No such key.")

    monkeypatch.setattr(Machine, "check", refuses)
    refused = console(owner).post(page("test", row.pk), SUBMITTED, follow=True)
    assert "Ours does not work: No such key." in told(refused)
    html = refused.content.decode()
    assert "No such key. (credentials_rejected)" in html
    assert "Ours stopped working" in html  # the incident
    checks = html[html.index("Ours stopped working") :]
    assert checks.index("No such key.") < checks.index("All is well.")  # newest first


def test_incidents_are_listed_as_the_owners_were_told(owner: Actor) -> None:
    row = made(owner)
    integration_health.refused(row, CredentialsRejected("No."), checking=True)
    integration_health.works(row, Checked("Again."))
    html = console(owner).get(page("change", row.pk)).content.decode()
    assert html.index("Ours works again") < html.index("Ours stopped working")


def test_enable_disable_and_site_provider(owner: Actor) -> None:
    row = made(owner, "EMAIL_PROVIDER", credentials={"apiKey": "re_0123456789"}, name="Mail")
    client = console(owner)
    client.post(page("make_site", row.pk), SUBMITTED)
    row.refresh_from_db()
    assert row.is_site_email_provider
    client.post(page("disable", row.pk), SUBMITTED)
    row.refresh_from_db()
    assert (row.enabled, row.is_site_email_provider) == (False, False)
    refused = client.post(page("make_site", row.pk), SUBMITTED, follow=True)
    assert "cannot be the workspace's site email provider" in refused.content.decode().replace("&#x27;", "'")
    client.post(page("enable", row.pk), SUBMITTED)
    row.refresh_from_db()
    assert row.enabled


def test_page_offers_only_what_makes_sense(owner: Actor) -> None:
    client = console(owner)
    chat = client.get(page("change", made(owner).pk)).content.decode()
    mail = made(owner, "EMAIL_PROVIDER", credentials={"apiKey": "re_0123456789"})
    other = client.get(page("change", mail.pk)).content.decode()
    assert "/make_site/" not in chat
    assert "/make_site/" in other
    assert "/enable/" not in chat
    assert page("templates", mail.pk) in other
    assert "/replay_failed/" not in other


def test_removed_one_is_gone_with_its_secrets(owner: Actor) -> None:
    row = made(owner)
    response = console(owner).post(page("remove", row.pk), SUBMITTED)
    assert response.headers["Location"] == page("changelist")
    row.refresh_from_db()
    assert (row.credentials, row.enabled) == (None, False)
    assert console(owner).get(page("settings", row.pk)).status_code == 404


def test_django_s_own_delete_and_change_are_closed(owner: Actor) -> None:
    row = made(owner)
    assert console(owner).post(page("delete", row.pk), {"post": "yes"}).status_code == 403
    assert console(owner).post(page("change", row.pk), {"name": "Other"}).status_code == 403
    assert Integration.objects.get().name == "Ours"


# --- using --------------------------------------------------------------------------------------------------------


def test_action_shows_its_answer(owner: Actor) -> None:
    row = made(owner)
    files = [SimpleUploadedFile("a.txt", b"abc"), SimpleUploadedFile("b.txt", b"de")]
    response = console(owner).post(page("use", row.pk, "echo"), {"text": "Hello & good-bye", "files": files})
    html = response.content.decode()
    assert response.status_code == 200
    assert "Hello &amp; good-bye" in html
    assert "&lt;i&gt;row&lt;/i&gt;" in html
    assert "YWJj" in html
    assert AuditEvent.objects.get(action="integration.used").changes == {"action": "echo", "fields": ["files", "text"]}


def test_form_that_arrives_twice_does_it_once(owner: Actor) -> None:
    row, client = made(owner), console(owner)
    shown = client.get(page("use", row.pk, "echo")).context["form"]
    given = {"text": "Hello", "once": str(shown["once"].value())}
    assert client.post(page("use", row.pk, "echo"), {**given, "text": ""}).status_code == 400  # nothing was done yet
    assert client.post(page("use", row.pk, "echo"), given).status_code == 200
    again = client.post(page("use", row.pk, "echo"), given)
    assert again.status_code == 400
    assert "This was sent already" in again.content.decode()
    assert AuditEvent.objects.filter(action="integration.used").count() == 1
    wanted = {**given, "once": again.context["form"]["once"].value()}
    assert client.post(page("use", row.pk, "echo"), wanted).status_code == 200


def test_action_that_is_refused_keeps_what_was_typed(owner: Actor) -> None:
    row = made(owner)
    missing = console(owner).post(page("use", row.pk, "echo"), {"text": ""})
    assert missing.status_code == 400
    assert "This field is required." in missing.content.decode()
    refused = console(owner).post(page("use", row.pk, "refuse"))
    assert refused.status_code == 400
    assert "The machine knows no such key." in refused.content.decode()


def test_file_that_is_answered_is_downloaded_and_never_shown(owner: Actor) -> None:
    response = console(owner).post(page("use", made(owner).pk, "fetch"))
    assert response.content == b"<b>hi</b>"
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert response.headers["Content-Disposition"].startswith("attachment")
    assert "\n" not in response.headers["Content-Disposition"]


def test_looking_at_an_action_does_nothing_and_an_unknown_one_is_not_there(owner: Actor) -> None:
    row = made(owner)
    assert console(owner).get(page("use", row.pk, "fetch"), SUBMITTED).status_code == 200
    assert not AuditEvent.objects.filter(action="integration.used").exists()
    assert console(owner).get(page("use", row.pk, "explode")).status_code == 404


def test_queued_action_shows_how_far_it_is_until_it_ends(owner: Actor) -> None:
    row = made(owner, "CRM_PLATFORM", config={"portalId": "1"}, credentials={"accessToken": "pat-0123456789"})
    client = console(owner)
    begun = client.post(page("use", row.pk, "sync_contacts"), follow=True)
    assert "it is under way" in told(begun)
    ContactSync.objects.update(status=WorkStatus.RUNNING, done=30, total=120)
    html = client.get(page("use", row.pk, "sync_contacts")).content.decode()
    assert "30 of 120 (25 %)" in html
    assert f'hx-get="{page("work", row.pk)}"' in html
    assert "30 of 120" in client.get(page("change", row.pk)).content.decode()
    ContactSync.objects.update(status=WorkStatus.FAILED, error_message="It broke off.")
    ended = client.get(page("work", row.pk)).content.decode()
    assert "It broke off." in ended
    assert "hx-get" not in ended


def test_templates_are_found_by_name_and_paged(owner: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    row = made(owner, "EMAIL_PROVIDER", credentials={"apiKey": "re_0123456789"})
    listed = [{"id": f"t{n}", "name": f"Letter {n:02}", "created_at": "2026-01-01T00:00:00Z"} for n in range(40)]
    kind = INTEGRATION_PROVIDERS.get("EMAIL_PROVIDER")
    monkeypatch.setattr(kind, "perform_list_templates", lambda self, given: {"templates": listed}, raising=False)
    client = console(owner)
    first, second = (client.get(page("templates", row.pk), {"p": p}).content.decode() for p in ("1", "2"))
    assert (first.count("Letter "), second.count("Letter ")) == (25, 15)
    found = client.get(page("templates", row.pk), {"q": "letter 07"}).content.decode()
    assert found.count("Letter 07") == 1
    assert "Letter 08" not in found


def test_templates_that_cannot_be_had_say_why(owner: Actor) -> None:
    row = made(owner, "EMAIL_PROVIDER", credentials={"apiKey": "re_0123456789"}, enabled=False)
    response = console(owner).get(page("templates", row.pk))
    assert response.status_code == 409
    assert "Enable it first" in response.content.decode()


# --- others -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "more"),
    [("settings", ()), ("rotate", ()), ("use", ("echo",)), ("work", ()), ("templates", ()), ("test", ()),
     ("enable", ()), ("disable", ()), ("make_site", ()), ("replay_failed", ()), ("remove", ())],
)  # fmt: skip
def test_nothing_of_another_workspace_is_there(owner: Actor, outsider: Actor, name: str, more: tuple[str, ...]) -> None:
    row = made(outsider, name="secret-name")
    before = Integration.objects.values().get()
    given = {**SUBMITTED, "name": "x", "credentials.key": "y", "text": "z", "since": "2026-01-01T00:00"}
    for verb in ("get", "post"):
        assert getattr(console(owner), verb)(page(name, row.pk, *more), given).status_code == 404
    assert Integration.objects.values().get() == before


def test_form_makes_nothing_in_another_workspace(owner: Actor, outsider: Actor) -> None:
    given = {"name": "x", "credentials.key": SECRET, "workspace": str(outsider.workspace.pk)}
    console(owner).post(f"{page('add')}?type=MACHINE", given)
    assert Integration.objects.get().workspace == owner.workspace
