"""No secret leaves its column (promise 3; reference reliability S10): every kind of secret the product is given goes
through every flow there is, failing ones too, and is then looked for in all that comes out.

One long journey, because what one step leaks another may show; each test looks at one side.
"""

from __future__ import annotations

import re
import secrets as random
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from celery.signals import before_task_publish
from django.conf import settings as product
from django.contrib import admin
from django.core.management import call_command
from django.db import transaction
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from calendar_sync.services import feeds
from documents import storage as document_stores
from email_sync.services import engine, reading
from email_sync.tests.scripted import ScriptedImap
from email_sync.tests.smtp_sink import SmtpSink
from integrations.models import Connection, Integration, OAuthState, SyncRun
from integrations.tasks import execute_run, tick
from simulator.process import Simulator, running
from tests.canaries import Hunt, LastingSettings, forms, listening, messages, rows
from tests.integration_journey import IntegrationJourney
from workspaces.models import IdempotencyRecord, Role, User
from workspaces.services import tokens as api_tokens
from workspaces.tests.fixtures import make_actor

pytestmark = pytest.mark.django_db

V1 = "/api/v1/integrations"
PDF, PDF_TYPE = b"%PDF-1.7\n% a contract\n", "application/pdf"
ADA = "ada@secrets.example"
JSON = "application/json"


def canary(kind: str) -> str:
    """Nothing else looks like it, and nothing about it looks like a secret to a filter. With what is easily escaped."""
    return f'Kanari {kind} "ä" {random.token_hex(12)}'


def plain_canary(kind: str) -> str:
    """For where only a token's characters are possible."""
    return f"kanari.{kind}.{random.token_hex(16)}"


class Journey:
    """The flows. `hunt` knows each secret before it is used, or as soon as the provider has made it."""

    def __init__(self, simulator: Simulator, hunt: Hunt, settings: Any, patch: pytest.MonkeyPatch) -> None:
        self.simulator, self.hunt, self.settings, self.patch = simulator, hunt, settings, patch
        self.member = make_actor(role=Role.OWNER)
        hunt.know("API token", self.member.token)
        hunt.know("vault key", *(part.partition(":")[2] for part in _vault_keys()))
        hunt.know("secret key", product.SECRET_KEY)

    def go(self) -> None:
        self.console()
        self.google()
        self.broken_code()
        self.imap()
        IntegrationJourney(self.member.client, self.simulator, self.hunt).go()
        self.documents()
        self.feed()
        self.commands()

    # --- Google -----------------------------------------------------------------------------------------------

    def google(self) -> None:
        client_secret = plain_canary("client-secret")
        self.hunt.know("client secret", client_secret)
        self.simulator.create_client("google", "hub-client", client_secret)
        self.settings.GOOGLE_CLIENT_ID, self.settings.GOOGLE_CLIENT_SECRET = "hub-client", client_secret
        self._failing_consents()
        connection = self._connect()
        self._sync(connection)
        self._expire_and_refresh(connection)
        self._use_the_mail(connection)
        self._faults(connection)
        self._connect()  # once more: the grant is renewed
        self._know_tokens()
        self.member.client.delete(f"{V1}/oauth/google", query_params={"connectionId": str(connection.pk)})

    def _begin(self, accept: str = JSON) -> tuple[Any, str]:
        """The answer and the consent URL; state, PKCE verifier and cookie are known to the hunt from here."""
        client = self.member.client
        response = client.get(f"{V1}/oauth/google/authorize", {"returnTo": ""}, HTTP_ACCEPT=accept)
        url = response.json()["authorizationUrl"] if accept == JSON else response.headers["Location"]
        self.hunt.know("OAuth state", parse_qs(urlsplit(url).query)["state"][0])
        for flow in OAuthState.objects.all():
            self.hunt.know("OAuth session", *(v for v in flow.session.values() if len(str(v)) > 20))
        self.hunt.know("flow cookie", *(morsel.value for morsel in response.cookies.values()))
        return response, url

    def _callback(self, url: str, email: str = ADA, accept: str = JSON, **changes: str) -> Any:
        back = urlsplit(self.simulator.authorize(url, email))
        query = {name: values[0] for name, values in parse_qs(back.query).items()}
        self.hunt.know("authorization code", query.get("code"))
        client = self.member.client if accept != JSON else APIClient()
        return client.get(f"{V1}/oauth/google/callback", {**query, **changes}, HTTP_ACCEPT=accept)

    def _failing_consents(self) -> None:
        assert self._callback(self._begin()[1], "deny").status_code == 400
        assert self._callback(self._begin()[1], iss="https://evil.example").status_code == 400
        assert self._callback(self._begin()[1], state=canary("state")).status_code == 400
        for kind, rule in (("status", {"status": 400}), ("status", {"status": 500}), ("garbage", {}), ("close", {})):
            self.simulator.fault(kind, operation="google.oauth.token", count=2, **rule)
            assert 400 <= self._callback(self._begin()[1]).status_code < 600
            self.simulator.clear_faults()
        assert self._callback(self._begin("text/html")[1], accept="text/html", code="x" * 30).status_code >= 400

    def _connect(self) -> Connection:
        _, url = self._begin("text/html")
        response = self._callback(url, accept="text/html")
        assert response.status_code == 200, response.content
        self._know_tokens()
        return Connection.objects.get(provider="google")

    def _know_tokens(self) -> None:
        for connection in Connection.objects.filter(credentials__isnull=False):
            for name, value in connection.credentials.items():
                if name in ("access_token", "refresh_token", "id_token", "imapPassword", "smtpPassword"):
                    self.hunt.know(name, value)

    def _sync(self, connection: Connection) -> SyncRun:
        self.member.client.post(f"{V1}/connections/{connection.pk}/sync", {"type": "email"})
        run = SyncRun.objects.filter(connection=connection, type="email").first()
        assert run is not None
        SyncRun.objects.filter(pk=run.pk, status="queued").update(next_attempt_at="2020-01-01T00:00:00Z")
        execute_run(str(run.pk))
        self._know_tokens()
        run.refresh_from_db()
        return run

    def _expire_and_refresh(self, connection: Connection) -> None:
        self.simulator.expire_tokens(kind="access")
        run = self._sync(connection)
        assert run.status == "done", (run.error_code, run.error_message)
        assert self.member.client.post(f"{V1}/connections/{connection.pk}/refresh").status_code == 200
        self._know_tokens()

    def _use_the_mail(self, connection: Connection) -> None:
        client = self.member.client
        row = client.get(f"{V1}/email/inbox").json()["data"][0]
        client.get(f"{V1}/email/{row['id']}")
        client.get(f"{V1}/email/thread/{row['threadId']}")
        client.patch(f"{V1}/email/{row['id']}/read", {})
        self._sync(connection)
        body = {"to": ["bob@example.com"], "subject": "Hello", "body": "Hello"}
        sent = client.post(f"{V1}/email/send", body, headers={"Idempotency-Key": "once"})
        assert sent.status_code == 201, sent.content
        self.simulator.fault("close", operation="gmail.users.messages.send", effect=True, count=1)
        client.post(f"{V1}/email/send", body)
        self.simulator.fault("status", operation="gmail.users.messages.send", status=400, count=1)
        client.post(f"{V1}/email/send", body)

    def _faults(self, connection: Connection) -> None:
        """A provider that quotes what it was sent, one that is away, and a grant that is dead."""
        token = Connection.objects.get(pk=connection.pk).credentials["access_token"]
        said = {
            "error": {"code": 403, "message": f"access_token={token} is not allowed", "status": "PERMISSION_DENIED"}
        }
        self.simulator.fault("status", path="/gmail/", status=403, body=said, count=3)
        self._sync(connection)
        for kind in ("garbage", "truncate", "close"):
            self.simulator.clear_faults()
            self.simulator.fault(kind, path="/gmail/|/batch", count=4)
            self._sync(connection)
        self.simulator.clear_faults()
        self.simulator.revoke(vendor="google", email=ADA)
        self._sync(connection)
        self.member.client.post(f"{V1}/connections/{connection.pk}/refresh")
        self.member.client.get(f"{V1}/connections/{connection.pk}/status")

    # --- code that breaks -------------------------------------------------------------------------------------

    def broken_code(self) -> None:
        """In a view and in a task, with secrets within reach of the traceback."""
        quiet = APIClient(raise_request_exception=False)
        quiet.credentials(HTTP_AUTHORIZATION=f"Bearer {self.member.token}")
        connection = self._connect()

        def breaks(*_: Any, **__: Any) -> Any:
            credentials = Connection.objects.get(pk=connection.pk).credentials
            raise RuntimeError(f"broken with {len(credentials)} secrets")

        with self.patch.context() as patch:
            patch.setattr(reading, "inbox", breaks)
            assert quiet.get(f"{V1}/email/inbox").status_code == 500
            patch.setattr(engine.MailboxSync, "work", breaks)
            self._sync(connection)
        with transaction.atomic():
            tick()

    # --- IMAP -------------------------------------------------------------------------------------------------

    def imap(self) -> None:
        """Log-ins that are refused, by a server that repeats what it got, and one that works."""
        incoming, outgoing = canary("imap"), canary("smtp")
        self.hunt.know("IMAP password", incoming)
        self.hunt.know("SMTP password", outgoing)
        words = f"%T NO [AUTHENTICATIONFAILED] {incoming} is not the password of eve\r\n".encode()
        refused = ("AUTHENTICATE", words), ("LOGIN", words)
        with SmtpSink() as sink, ScriptedImap(*refused) as refusing, ScriptedImap() as serving:
            for server in (refusing, serving):
                login = {"host": "127.0.0.1", "security": "none", "username": "eve@secrets.example"}
                body = {
                    "email": "eve@secrets.example",
                    "imap": {**login, "port": server.port, "password": incoming},
                    "smtp": {**login, "port": sink.port, "password": outgoing},
                }
                answer = self.member.client.post(f"{V1}/connections/imap", body)
                assert answer.status_code == (422 if server is refusing else 201), answer.content
                self.member.client.post(f"{V1}/connections/imap", {**body, "imap": {**body["imap"], "port": "no"}})
            self._know_tokens()
            for connection in Connection.objects.filter(provider="imap"):
                self._sync(connection)
        assert Connection.objects.filter(provider="imap").exists()

    # --- documents --------------------------------------------------------------------------------------------

    def documents(self) -> None:
        """A file in and out of the local store and one that would lie in S3, each address used well and badly."""
        self._locally()
        secret = plain_canary("s3-secret")
        self.hunt.know("S3 secret key", secret)
        self.settings.S3_ENDPOINT_URL = self.simulator.base_url  # no store: what it answers is not understood
        self.settings.S3_BUCKET, self.settings.S3_ACCESS_KEY_ID = "documents", "a-key-id"
        self.settings.S3_SECRET_ACCESS_KEY, self.settings.DOCUMENT_STORAGE = secret, "s3"
        document_stores.store.cache_clear()
        for size in (len(PDF), None):
            begun = self._begin_upload(size=size)
            upload = begun["upload"]
            signed = parse_qs(urlsplit(upload["url"]).query).get("X-Amz-Signature", [])
            self.hunt.know("signed address", *signed, (upload.get("fields") or {}).get("x-amz-signature"))
            one = f"{V1}/documents/{begun['document']['id']}"
            assert self.member.client.post(f"{one}/confirm").status_code >= 409
            assert self.member.client.delete(one).status_code == 204
        assert self.member.client.get(f"{V1}/documents/config").json()["check"]["ok"] is False
        self.settings.S3_ENDPOINT_URL = "http://127.0.0.1:1"
        document_stores.store.cache_clear()
        assert self.member.client.get(f"{V1}/documents/config").json()["check"]["ok"] is False
        self.settings.DOCUMENT_STORAGE = "local"
        document_stores.store.cache_clear()

    def _locally(self) -> None:
        begun = self._begin_upload(size=len(PDF))
        upload, one = begun["upload"]["url"], f"{V1}/documents/{begun['document']['id']}"
        self._know_address(upload)
        outside = APIClient()
        for content, kind, status in ((PDF + b"!", PDF_TYPE, 422), (PDF, "text/html", 422), (PDF, PDF_TYPE, 204)):
            sent = outside.generic("PUT", urlsplit(upload).path, content, content_type=kind)
            assert sent.status_code == status, sent.content
        assert self.member.client.post(f"{one}/confirm").status_code == 200
        for name, kind in (("download", "content"), ("preview", "preview")):
            link = urlsplit(self.member.client.get(f"{one}/{name}").json()["url"]).path
            self._know_address(link)
            assert outside.get(link).status_code == 200
            assert outside.get(link, headers={"Range": "bytes=999-"}).status_code == 416
            assert outside.get(link[:-1]).status_code == 403
            other = "content" if kind == "preview" else "preview"
            assert outside.get(link.replace(f"/{kind}/", f"/{other}/")).status_code == 404
        self.member.client.delete(one)
        assert outside.get(link).status_code == 404

    def _begin_upload(self, **more: Any) -> Any:
        body = {"fileName": "a.pdf", "contentType": PDF_TYPE, "entityType": "contact", "entityId": "1", **more}
        given = {name: value for name, value in body.items() if value is not None}
        key = f"upload-{random.token_hex(4)}"
        answer = self.member.client.post(f"{V1}/documents/upload", given, headers={"Idempotency-Key": key})
        assert answer.status_code == 201, answer.content
        return answer.json()

    def _know_address(self, url: str) -> None:
        """What was signed, and the signature."""
        link = urlsplit(url).path.rpartition("/")[2]
        self.hunt.know("signed address", link, link.rpartition("~")[2])

    # --- the feed ---------------------------------------------------------------------------------------------

    def feed(self) -> None:
        """Its address opens calendars without a log-in: replaced, read, met by code that breaks, asked for too often,
        and revoked."""
        anybody = APIClient(raise_request_exception=False)
        replaced, path = self._new_feed(), self._new_feed()
        assert anybody.get(replaced).status_code == 404
        answer = anybody.get(path)
        assert answer.status_code == 200
        assert anybody.get(path, headers={"If-None-Match": answer["ETag"]}).status_code == 304
        assert anybody.post(path).status_code == 405
        with self.patch.context() as patch:
            patch.setattr(feeds, "content", _breaks)
            assert anybody.get(path).status_code == 500
        assert {anybody.get(path).status_code for _ in range(40)} == {200, 429}
        self.member.client.get(f"{V1}/calendar/feed")
        assert self.member.client.delete(f"{V1}/calendar/feed").status_code == 204
        assert anybody.get(path).status_code in (404, 429)
        self._new_feed()  # its row is looked at in the end

    def _new_feed(self) -> str:
        """The path of a new address."""
        answer = self.member.client.post(f"{V1}/calendar/feed", {})
        assert answer.status_code == 201, answer.content
        url: str = answer.json()["url"]
        token = url.rpartition("/")[2].removesuffix(".ics")
        self.hunt.know("feed address", token, token.split("_", 2)[2])
        return url[url.index("/api/") :]

    # --- the console and the commands --------------------------------------------------------------------------

    def console(self) -> None:
        password, wrong = canary("owner-password"), canary("mistyped")
        self.hunt.know("owner's password", password)
        self.hunt.know("mistyped password", wrong)
        superuser = User.objects.create_superuser(email="root@secrets.example", password=password)
        self.superuser = superuser
        client = Client()
        page = reverse("admin:login")
        assert client.post(page, {"username": superuser.email, "password": wrong}).status_code == 200
        assert client.post(page, {"username": superuser.email, "password": password}).status_code == 302
        issued = self.member.client.post("/api/tokens", {"name": "made here"}, headers={"Idempotency-Key": "t"})
        self.hunt.know("issued token", issued.json()["token"])

    def commands(self) -> None:
        password = canary("new-owner")
        self.hunt.know("owner's password", password)
        for name, *arguments in (
            ("create_workspace", "Other", "--owner-email", "other@secrets.example", "--password", password),
            ("doctor", "--json"),
            ("dumpdata",),
            ("rotate_keys",),
        ):
            written = StringIO()
            try:
                call_command(name, *arguments, stdout=written, stderr=written)
            except SystemExit as ended:
                written.write(str(ended))
            self.hunt.add(f"manage.py {name}", written.getvalue())


def _breaks(*_: Any, **__: Any) -> Any:
    raise RuntimeError("broken feed")


def _vault_keys() -> list[str]:
    keys = product.VAULT_KEYS
    return keys.split(",") if isinstance(keys, str) else [":".join(map(str, key)) for key in keys]


@pytest.fixture(scope="module")
def hunted(django_db_setup: None, django_db_blocker: Any) -> Iterator[Hunt]:
    """The journey, made once; what came out on every side is in the hunt."""
    hunt = Hunt()
    with (
        running() as simulator,
        pytest.MonkeyPatch.context() as patch,
        django_db_blocker.unblock(),
        _outermost(),
        _everything_seen(hunt, patch),
        listening() as log,
    ):
        simulator.create_account("google", ADA, messages=30)
        journey = Journey(simulator, hunt, _pointed_at(simulator, patch), patch)
        journey.go()
        _look_at_console(journey.superuser)
        for table, row in rows():
            hunt.add(f"table {table}", row)
        hunt.add("the log", log.getvalue())
        yield hunt
        transaction.set_rollback(True)


def _outermost() -> transaction.Atomic:
    """As Django's TestCase does it: what insists on a transaction of its own takes this one for none."""
    around = transaction.atomic()
    around._from_testcase = True
    return around


def _pointed_at(simulator: Simulator, patch: pytest.MonkeyPatch) -> Any:
    """Settings that last as long as the module."""
    for name, value in simulator.env().items():
        patch.setattr(product, name, value.split(",") if name == "EGRESS_ALLOW_CIDRS" else value)
    patch.setattr(product, "MAIL_PROVIDER_SETTINGS", {"google": {"gmailApiUrl": simulator.base_url, "quotaUnits": 0}})
    patch.setattr(product, "CALENDAR_PROVIDER_SETTINGS", {"google": {"calendarApiUrl": simulator.base_url}})
    return LastingSettings(patch)


@contextmanager
def _everything_seen(hunt: Hunt, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every answer of every test client, and every message to the broker (commits do happen here)."""
    ask = Client.request

    def watched(self: Client, **request: Any) -> Any:
        response = ask(self, **request)
        hunt.answer(response)
        return response

    def published(body: Any = None, headers: Any = None, properties: Any = None, **_: Any) -> None:
        hunt.add("message to the broker", messages([body, headers, properties]))

    patch.setattr(Client, "request", watched)
    patch.setattr(transaction, "on_commit", lambda work, *_, **__: work())
    before_task_publish.connect(published, weak=False)
    yield
    before_task_publish.disconnect(published)


def _look_at_console(superuser: User) -> None:
    """Every page of every row, as whoever sees most."""
    client = Client()
    client.force_login(superuser, backend="django.contrib.auth.backends.ModelBackend")
    for model in admin.site._registry:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        client.get(reverse(f"{name}_changelist"))
        for row in model._default_manager.all()[:30]:
            for kind in ("change", "history", "delete"):
                client.get(reverse(f"{name}_{kind}", args=[row.pk]), follow=True)
    for path in ("/admin/", "/metrics", "/readyz", "/healthz", "/api/schema"):
        client.get(path)


SHOWN_TO_THEIR_OWNER = {
    ("OAuth state", f"GET {V1}/oauth/google/authorize 200"),  # the consent URL
    ("OAuth session", f"GET {V1}/oauth/google/authorize 200"),
    ("OAuth state", f"GET {V1}/oauth/google/authorize 302"),
    ("OAuth session", f"GET {V1}/oauth/google/authorize 302"),
    ("flow cookie", f"GET {V1}/oauth/google/authorize 302"),
    ("issued token", "POST /api/tokens 201"),
    ("feed address", f"POST {V1}/calendar/feed 201"),
}
"""Where a secret is handed to whom it is for."""
ADDRESS_GIVEN = re.compile(rf"POST {V1}/documents/upload 201|GET {V1}/documents/[0-9a-f-]+/(?:download|preview) 200")


def test_hunt_would_find_a_secret_in_every_form() -> None:
    secret = canary("self")
    for form in forms(secret):
        hunt = Hunt()
        hunt.know("self", secret)
        hunt.add("here", b"before " + form + b" behind")
        assert hunt.found() == {("self", "here")}


def test_journey_brought_every_kind_of_secret_and_looked_everywhere(hunted: Hunt) -> None:
    assert set(hunted.secrets.values()) >= {
        "API token", "issued token", "vault key", "secret key", "client secret", "OAuth state", "OAuth session",
        "flow cookie", "authorization code", "access_token", "refresh_token", "IMAP password", "SMTP password",
        "owner's password", "mistyped password", "integration credential", "signed address", "S3 secret key",
        "feed address",
    }  # fmt: skip
    places = {place for place, _ in hunted.places}
    assert {"the log", "message to the broker", "manage.py dumpdata", "table integrations_connection"} <= places
    assert len(hunted.places) > 150


def test_no_secret_leaves_the_product(hunted: Hunt) -> None:
    """Answers, log at DEBUG, rows, messages to the broker, dumps, console: 0 hits but those handed to their owner."""
    found = {(what, place) for what, place in hunted.found() if not _is_handed_an_address(what, place)}
    assert sorted(found - SHOWN_TO_THEIR_OWNER) == []


def _is_handed_an_address(what: str, place: str) -> bool:
    """The answers whose whole point is an address that is good for five minutes."""
    return what == "signed address" and ADDRESS_GIVEN.fullmatch(place) is not None


def test_log_at_debug_was_written_and_names_what_happened(hunted: Hunt) -> None:
    [log] = [text.decode() for place, text in hunted.places if place == "the log"]
    assert "RuntimeError: broken with" in log
    assert "patchbay.http" in log
    assert "DEBUG" in log


def test_secrets_are_stored_where_they_are_sealed(hunted: Hunt) -> None:
    """Else an empty database would pass."""
    assert Connection.objects.filter(provider="imap", credentials__isnull=False).exists()
    assert IdempotencyRecord.objects.filter(body__isnull=False).exists()
    assert OAuthState.objects.exists()
    assert Integration.objects.filter(credentials__isnull=False).exists()


def test_broker_folder_holds_no_secret(hunted: Hunt) -> None:
    folder = Path(product.DATA_DIR) / "broker"
    written = [path.read_bytes() for path in folder.rglob("*.msg")] if folder.exists() else []
    again = Hunt(secrets=hunted.secrets, places=[("broker folder", text) for text in written])
    assert again.found() == set()


def test_api_token_is_found_by_a_hash_alone(hunted: Hunt) -> None:
    assert api_tokens.lookup_of(next(s for s, what in hunted.secrets.items() if what == "API token"))
