"""What providers post to us: proved or dropped, never believed, cheap, and coalesced (reference reliability S13)."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from django.db.models.functions import Now
from django.http import HttpResponse
from rest_framework.test import APIClient

from email_sync.models import PushChannel, PushStatus
from email_sync.providers.doorbells import pubsub
from email_sync.tests.doorbells import ADA, CLEO, GOOGLE, MICROSOFT, configure
from email_sync.tests.factories import connect
from integrations import tasks
from integrations.models import Connection, SyncRun, SyncState
from integrations.services.doorbells import digest
from simulator.process import Simulator, running
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db

HUB = "http://127.0.0.1:8000"
SECRET = "s" * 43
SUBSCRIPTION = "7f105c7d-2dc5-4530-97cd-4e7ae6534c07"


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with running() as process:
        yield process


@pytest.fixture(autouse=True)
def _configured(simulator: Simulator, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    simulator.reset()
    configure(settings, simulator, HUB)
    monkeypatch.setattr(pubsub, "_sets", {})
    monkeypatch.setattr(tasks.execute_run, "delay", lambda run_id: None)


def mailbox(actor: Actor, provider: str, email: str, **columns: Any) -> Connection:
    """A connected mailbox whose doorbell is set up, not due for a long time."""
    connection = connect(actor, email, provider=provider)
    SyncState.objects.filter(connection=connection).update(next_sync_at="2099-01-01T00:00Z")
    PushChannel.objects.create(
        connection=connection, status=PushStatus.ACTIVE, next_attempt_at="2099-01-01T00:00Z", **columns
    )
    return connection


@pytest.fixture
def google(member: Actor) -> Connection:
    return mailbox(member, "google", ADA, via="pubsub", remote_id=ADA, expires_at="2099-01-01T00:00Z")


@pytest.fixture
def microsoft(member: Actor) -> Connection:
    return mailbox(
        member,
        "microsoft",
        CLEO,
        via="subscription",
        remote_id=SUBSCRIPTION,
        secret_digest=digest(SECRET),
        expires_at="2099-01-01T00:00Z",
    )


def envelope(email: str = ADA) -> dict[str, Any]:
    data = base64.b64encode(json.dumps({"emailAddress": email, "historyId": 9}).encode()).decode()
    return {"message": {"data": data, "messageId": "1"}, "subscription": "projects/x/subscriptions/y"}


def push(token: str, body: Any = None) -> Any:
    client = APIClient()
    if token:
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return client.post(GOOGLE, envelope() if body is None else body)


def notify(*elements: dict[str, Any], path: str = MICROSOFT, **fields: Any) -> Any:
    element = {"subscriptionId": SUBSCRIPTION, "clientState": SECRET, "changeType": "created"} | fields
    return APIClient().post(path, {"value": list(elements) or [element]})


def runs() -> list[Any]:
    return list(SyncRun.objects.values_list("connection_id", "trigger"))


# --- Gmail --------------------------------------------------------------------------------------------------------


def test_push_with_a_good_token_begins_a_run_of_the_mailbox(google: Connection, simulator: Simulator) -> None:
    answer = push(simulator.oidc_token())
    assert (answer.status_code, answer.content) == (204, b"")
    assert runs() == [(google.pk, "push")]
    assert PushChannel.objects.get().last_notified_at is not None


def test_push_names_the_mailbox_without_regard_to_case(google: Connection, simulator: Simulator) -> None:
    assert push(simulator.oidc_token(), envelope(ADA.upper())).status_code == 204
    assert runs() == [(google.pk, "push")]


def test_push_tells_every_connection_of_the_account(google: Connection, simulator: Simulator, outsider: Actor) -> None:
    other = mailbox(outsider, "google", ADA, via="pubsub", remote_id=ADA)
    push(simulator.oidc_token())
    assert {connection_id for connection_id, _ in runs()} == {google.pk, other.pk}


def test_push_of_an_unknown_mailbox_is_taken_and_does_nothing(google: Connection, simulator: Simulator) -> None:
    assert push(simulator.oidc_token(), envelope("nobody@contract.test")).status_code == 204
    assert runs() == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"message": None},
        {"message": {"data": "%%%"}},
        {"message": {"data": base64.b64encode(b"[]").decode()}},
        {"message": {"data": base64.b64encode(b'{"emailAddress": 5}').decode()}},
        [],
    ],
    ids=str,
)
def test_push_that_cannot_be_read_is_not_asked_for_again(google: Connection, simulator: Simulator, body: Any) -> None:
    assert push(simulator.oidc_token(), body).status_code == 204
    assert runs() == []


WRONG_CLAIMS: dict[str, dict[str, Any]] = {
    "another audience": {"aud": "https://elsewhere.example/push"},
    "a list of audiences": {"aud": [f"{HUB}{GOOGLE}", "x"]},
    "another issuer": {"iss": "https://accounts.example"},
    "another service account": {"email": "push@elsewhere.iam.gserviceaccount.com"},
    "an e-mail address not verified": {"email_verified": False},
    "an e-mail address verified by a word": {"email_verified": "true"},
    "no e-mail address": {"email": None},
    "expired": {"exp": int(time.time()) - 120},
    "not yet issued": {"iat": int(time.time()) + 86_400},  # when this is read, which may be long before it is used
    "no expiry": {"exp": None},
}


@pytest.mark.parametrize("claims", WRONG_CLAIMS.values(), ids=WRONG_CLAIMS)
def test_push_with_wrong_claims_is_refused_without_a_reason(
    google: Connection, simulator: Simulator, claims: dict[str, Any]
) -> None:
    refused(push(simulator.oidc_token(**claims)))


def refused(answer: Any) -> None:
    """401 in our shape, the same for every reason, and nothing was done."""
    error = answer.json()["error"]
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert (error["code"], error["message"]) == (
        "push_refused",
        "This notification does not prove where it comes from.",
    )
    assert runs() == []
    assert PushChannel.objects.filter(last_notified_at__isnull=False).count() == 0


def test_push_without_a_token_is_refused(google: Connection) -> None:
    refused(push(""))


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    good = {"iss": "https://accounts.google.com", "aud": f"{HUB}{GOOGLE}", "iat": now, "exp": now + 600}
    return good | {"email": "push@simulator.iam.gserviceaccount.com", "email_verified": True} | changes


def test_push_signed_by_somebody_else_is_refused(google: Connection, simulator: Simulator) -> None:
    """With the key id of the real key, and with one nobody knows."""
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    known = jwt.get_unverified_header(simulator.oidc_token())["kid"]
    for kid in (known, "unknown"):
        refused(push(jwt.encode(claims(), stranger, algorithm="RS256", headers={"kid": kid})))


def test_push_with_another_algorithm_is_refused(google: Connection, simulator: Simulator) -> None:
    """ "none", and HMAC with the public key as the secret."""
    known = jwt.get_unverified_header(simulator.oidc_token())["kid"]
    certs = simulator.request("GET", "/oauth2/v3/certs")[2].decode()
    modulus = json.loads(certs)["keys"][0]["n"]
    refused(push(jwt.encode(claims(), None, algorithm="none", headers={"kid": known})))
    refused(push(jwt.encode(claims(), modulus, algorithm="HS256", headers={"kid": known})))


@pytest.mark.parametrize("token", ["x", "a.b.c", "é.é.é", "." * 9000, "e30.e30.", "bnVsbA.bnVsbA.bnVsbA"])
def test_push_with_something_that_is_no_token_is_refused(google: Connection, token: str) -> None:
    refused(push(token))


def test_push_without_a_service_account_set_believes_nobody(
    google: Connection, simulator: Simulator, settings: Any
) -> None:
    own = settings.MAIL_PROVIDER_SETTINGS["google"]
    settings.MAIL_PROVIDER_SETTINGS = {"google": {**own, "pushServiceAccount": ""}}
    refused(push(simulator.oidc_token(email="")))


def test_push_takes_the_audience_the_operator_set(google: Connection, simulator: Simulator, settings: Any) -> None:
    own = settings.MAIL_PROVIDER_SETTINGS["google"]
    settings.MAIL_PROVIDER_SETTINGS = {"google": {**own, "pushAudience": "hub"}}
    refused(push(simulator.oidc_token()))
    assert push(simulator.oidc_token(aud="hub")).status_code == 204


def test_keys_are_fetched_once_and_an_unknown_key_has_them_fetched_once_a_minute(
    google: Connection, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetched() -> int:
        return sum(entry["target"] == "/oauth2/v3/certs" for entry in simulator.ledger())

    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    forged = jwt.encode(claims(), stranger, algorithm="RS256", headers={"kid": "unknown"})
    before = fetched()
    for _ in range(5):
        assert push(simulator.oidc_token()).status_code == 204
        assert push(forged).status_code == 401
    assert fetched() - before == 1
    [keys] = pubsub._sets.values()
    keys._asked_at -= pubsub.REFETCH_SECONDS
    for _ in range(5):
        assert push(forged).status_code == 401
    assert fetched() - before == 2


def test_push_while_the_keys_cannot_be_had_is_asked_for_again(google: Connection, simulator: Simulator) -> None:
    simulator.fault("status", path="/oauth2/v3/certs", status=500)
    answer = push(simulator.oidc_token())
    simulator.clear_faults()
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert runs() == []


def test_google_has_no_lifecycle_address(simulator: Simulator) -> None:
    assert APIClient().post(f"{GOOGLE}/lifecycle", {}).status_code == 404
    assert APIClient().post(GOOGLE.replace("google", "imap"), {}).status_code == 404


# --- Graph --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [MICROSOFT, f"{MICROSOFT}/lifecycle"])
@pytest.mark.parametrize(
    "token", ["Validation: Testing 1+1=2 & <b>é</b> Request-Id: 9", "a", "<script>alert(1)</script>"]
)
def test_validation_token_is_echoed_as_plain_text_and_nothing_else(path: str, token: str) -> None:
    asked = f"{path}?{urlencode({'validationToken': token})}"
    answer: HttpResponse = APIClient().post(asked, b"", content_type="text/plain; charset=utf-8")
    assert (answer.status_code, answer.content.decode()) == (200, token)
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "token", ["", "a\r\nSet-Cookie: x=1", "\x1b[31m", "a" * 5000], ids=["empty", "line", "esc", "long"]
)
def test_validation_token_that_is_none_is_refused(token: str) -> None:
    answer = APIClient().post(f"{MICROSOFT}?{urlencode({'validationToken': token})}")
    assert answer.status_code == 401
    assert answer.headers["Content-Type"] == "application/json"


def test_notification_with_the_secret_begins_a_run(microsoft: Connection) -> None:
    answer = notify()
    assert (answer.status_code, answer.content) == (202, b"")
    assert runs() == [(microsoft.pk, "push")]


@pytest.mark.parametrize(
    "fields",
    [
        {"clientState": "t" * 43},
        {"clientState": ""},
        {"clientState": None},
        {"clientState": {"a": 1}},
        {"clientState": "é" * 43},
        {"clientState": "s" * 42},
        {"clientState": "\udfff"},
        {"subscriptionId": "another"},
        {"subscriptionId": None},
        {"lifecycleEvent": "somethingNew"},
    ],
    ids=str,
)
def test_notification_that_proves_nothing_is_taken_and_dropped(microsoft: Connection, fields: dict[str, Any]) -> None:
    element = {"subscriptionId": SUBSCRIPTION, "clientState": SECRET} | fields
    body = json.dumps({"value": [element]}).encode("ascii")
    answer = APIClient().post(MICROSOFT, body, content_type="application/json")
    assert (answer.status_code, answer.content) == (202, b"")
    assert runs() == []


def test_notification_mixes_right_and_wrong_and_only_the_right_count(microsoft: Connection, outsider: Actor) -> None:
    """Another's subscription with our secret, ours with another's: neither."""
    other = mailbox(
        outsider, "microsoft", "eve@contract.test", via="subscription", remote_id="other",
        secret_digest=digest("o" * 43),
    )  # fmt: skip
    right = {"subscriptionId": SUBSCRIPTION, "clientState": SECRET}
    crossed = {"subscriptionId": "other", "clientState": SECRET}
    assert notify(crossed, right, right, {"subscriptionId": SUBSCRIPTION, "clientState": "o" * 43}).status_code == 202
    assert runs() == [(microsoft.pk, "push")]
    assert not SyncRun.objects.filter(connection=other).exists()


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"value": 5}', b"\xff", b"[" * 100_000])
def test_notification_of_another_shape_is_400(microsoft: Connection, body: bytes) -> None:
    answer = APIClient().post(MICROSOFT, body, content_type="application/json")
    assert answer.status_code == 400
    assert runs() == []


def test_body_over_the_cap_is_413(microsoft: Connection) -> None:
    body = json.dumps({"value": [{"subscriptionId": "x" * 1000}] * 1100}).encode()
    assert APIClient().post(MICROSOFT, body, content_type="application/json").status_code == 413


def lifecycle(event: str, **fields: Any) -> int:
    return int(notify(path=f"{MICROSOFT}/lifecycle", lifecycleEvent=event, **fields).status_code)


def test_lifecycle_missed_is_a_look(microsoft: Connection) -> None:
    assert lifecycle("missed") == 202
    assert runs() == [(microsoft.pk, "push")]
    assert PushChannel.objects.get().status == "active"


def test_lifecycle_reauthorization_required_renews_soon(microsoft: Connection) -> None:
    assert lifecycle("reauthorizationRequired") == 202
    row = PushChannel.objects.get()
    assert PushChannel.objects.filter(next_attempt_at__lte=Now()).exists()
    assert (row.status, row.remote_id) == ("active", SUBSCRIPTION)


def test_lifecycle_subscription_removed_makes_another_soon_and_looks(microsoft: Connection) -> None:
    assert lifecycle("subscriptionRemoved") == 202
    assert PushChannel.objects.filter(next_attempt_at__lte=Now(), status="off", remote_id="").exists()
    assert runs() == [(microsoft.pk, "push")]


def test_lifecycle_with_a_wrong_secret_changes_nothing(microsoft: Connection) -> None:
    before = PushChannel.objects.values().get()
    assert lifecycle("subscriptionRemoved", clientState="wrong") == 202
    assert PushChannel.objects.values().get() == before


# --- both ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [{"paused": True}, {"needs_reauth": True}, {"sync_email": False}], ids=str)
def test_notification_of_a_mailbox_that_does_not_sync_is_taken(microsoft: Connection, columns: dict[str, Any]) -> None:
    Connection.objects.filter(pk=microsoft.pk).update(**columns)
    assert notify().status_code == 202
    assert runs() == []


def test_flood_makes_one_run_and_costs_a_few_queries_each(
    microsoft: Connection, django_assert_max_num_queries: Any
) -> None:
    notify()
    began = time.perf_counter()
    for _ in range(200):
        assert notify().status_code == 202
    each = (time.perf_counter() - began) / 200
    assert runs() == [(microsoft.pk, "push")]
    assert each < 0.3  # of the three seconds Microsoft waits
    with django_assert_max_num_queries(7):
        notify()


def test_flood_over_the_rate_is_429(microsoft: Connection, settings: Any) -> None:
    settings.THROTTLE_ADDRESS_PER_MINUTE = 5
    statuses = [APIClient().post(MICROSOFT, {"value": []}, REMOTE_ADDR="192.0.2.77").status_code for _ in range(20)]
    assert statuses.count(429) >= 10
    assert APIClient().post(MICROSOFT, {"value": []}, REMOTE_ADDR="192.0.2.78").status_code == 202


def test_secrets_and_tokens_never_reach_the_log(
    microsoft: Connection, google: Connection, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    token = simulator.oidc_token(aud="wrong")
    push(token)
    notify()
    notify(clientState="another-secret")
    assert not any(secret in caplog.text for secret in (token, SECRET, "another-secret"))
