"""Gmail's watch and stop, and the signed pushes of the Pub/Sub stand-in."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from simulator.tests.doorbell import Doorbell, doorbell
from simulator.tests.factories import GmailApi, send

TOPIC = "projects/simulator/topics/gmail"
WATCH = {"topicName": TOPIC}


@pytest.fixture
def bell(ada: GmailApi) -> Iterator[Doorbell]:
    with doorbell() as found:
        ada.simulator.settings(pubsub_push_endpoint=found.url, pubsub_audience="hub", gmail_push_interval_seconds=0.0)
        yield found


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def claims_of(token: str, key_set: dict[str, Any]) -> dict[str, Any]:
    """The claims of a token whose signature the key set proves."""
    head, body, signature = token.split(".")
    keys = {key["kid"]: key for key in key_set["keys"]}
    key = keys[json.loads(decoded(head))["kid"]]
    numbers = rsa.RSAPublicNumbers(int.from_bytes(decoded(key["e"]), "big"), int.from_bytes(decoded(key["n"]), "big"))
    numbers.public_key().verify(decoded(signature), f"{head}.{body}".encode(), padding.PKCS1v15(), SHA256())
    claims: dict[str, Any] = json.loads(decoded(body))
    return claims


def test_watch_tells_where_it_begins_and_when_it_ends(ada: GmailApi) -> None:
    answer = ada.post("/watch", WATCH)
    assert answer["historyId"] == ada.get("/profile")["historyId"]
    days = (int(answer["expiration"]) / 1000 - ada.simulator.health()["now"]) / 86_400
    assert 6.9 < days <= 7


def test_watch_of_a_second_topic_needs_stop_first(ada: GmailApi) -> None:
    ada.post("/watch", WATCH)
    ada.post("/watch", WATCH)
    other = {"topicName": f"{TOPIC}-2"}
    assert ada.call("POST", "/watch", json=other).status == 400
    assert ada.call("POST", "/stop").status == 204
    assert ada.call("POST", "/watch", json=other).status == 200
    assert ada.call("POST", "/watch", json={"topicName": "gmail"}).status == 400


def test_push_names_the_mailbox_and_history_and_is_signed(ada: GmailApi, bell: Doorbell) -> None:
    ada.post("/watch", WATCH)
    ada.deliver()
    (body,) = bell.wait(1)
    data = json.loads(base64.b64decode(body["message"]["data"]))
    assert data == {"emailAddress": ada.email, "historyId": int(ada.get("/profile")["historyId"])}
    assert body["subscription"] == "projects/simulator/subscriptions/gmail-push"
    assert {"messageId", "publishTime"} <= set(body["message"])
    scheme, _, token = bell.received[0][0]["authorization"].partition(" ")
    claims = claims_of(token, send(ada.simulator, "GET", "/oauth2/v3/certs").json)
    assert (scheme, claims["aud"], claims["iss"]) == ("Bearer", "hub", "https://accounts.google.com")
    assert (claims["email"], claims["email_verified"]) == ("push@simulator.iam.gserviceaccount.com", True)
    assert claims["exp"] - claims["iat"] == 3600


def test_token_with_other_claims_is_signed_all_the_same(ada: GmailApi) -> None:
    keys = send(ada.simulator, "GET", "/oauth2/v3/certs").json
    assert claims_of(ada.simulator.oidc_token(aud="elsewhere"), keys)["aud"] == "elsewhere"


def test_push_keeps_to_one_in_the_interval_and_drops_the_others(ada: GmailApi, bell: Doorbell) -> None:
    ada.simulator.settings(gmail_push_interval_seconds=60.0, push_drop=True)
    ada.post("/watch", WATCH)
    ada.deliver()
    ada.deliver()
    ada.simulator.advance(61)
    assert [item["status"] for item in ada.simulator.pushes(kind="pubsub")] == [-1]
    ada.deliver()
    assert len(ada.simulator.pushes(kind="pubsub")) == 2


def test_push_stops_when_the_watch_has_run_out_or_was_stopped(ada: GmailApi, bell: Doorbell) -> None:
    ada.simulator.settings(push_drop=True)
    ada.post("/watch", WATCH)
    ada.call("POST", "/stop")
    ada.deliver()
    ada.post("/watch", WATCH)
    ada.simulator.advance(8 * 86_400)
    ada.deliver()
    assert ada.simulator.pushes() == []
    assert ada.simulator.subscriptions() == []


def test_push_of_watched_labels_only(ada: GmailApi, bell: Doorbell) -> None:
    ada.simulator.settings(push_drop=True)
    ada.post("/watch", WATCH | {"labelIds": ["INBOX"], "labelFilterBehavior": "include"})
    ada.simulator.deliver(ada.email, b"Subject: Spam\r\n\r\n", labels=["SPAM"])
    assert ada.simulator.pushes() == []
    ada.deliver()
    assert len(ada.simulator.pushes()) == 1
