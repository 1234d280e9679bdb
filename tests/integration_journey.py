"""What workspace integrations add to the hunt for secrets: every registered type is filled in with marked secrets,
tried against a vendor that works, refuses, quotes what it was sent and breaks, then changed and removed."""

from __future__ import annotations

import base64
import secrets as random
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.utils import timezone
from rest_framework.test import APIClient

from integrations.fields import Field
from integrations.models import Integration
from integrations.providers import INTEGRATION_PROVIDERS
from integrations.providers.base import IntegrationProvider
from integrations.services import integration_use, notice_sending
from simulator.process import Simulator
from tests.canaries import Hunt

API = "/api/integrations"
SAMPLES: Mapping[str, Any] = {
    "email": "ada@secrets.example",
    "number": 1,
    "boolean": True,
    "json": {"a": "b"},
    "base64": "JVBERi0xLjQK",
    "long_text": "Text",
    "host": "mail.example.org",
    "port": 443,
}
NAMED: Mapping[str, Any] = {"portalId": "48151623", "timeZone": "Europe/Prague", "baseId": "appDemo0000000001"}
"""Texts that have a form of their own."""


def _marked(name: str) -> str:
    return f"kanari.{name}.{random.token_hex(16)}"


def _signing_secret(name: str) -> str:
    return "whsec_" + base64.b64encode(random.token_bytes(24)).decode()


def _public_key(name: str) -> str:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    return base64.b64encode(key.public_bytes(*form)).decode()


FORMED: Mapping[str, Callable[[str], str]] = {"webhookSecret": _signing_secret, "webhookPublicKey": _public_key}
"""Secrets that have a form of their own."""


class IntegrationJourney:
    """The flows, for whoever may make integrations."""

    def __init__(self, client: APIClient, simulator: Simulator, hunt: Hunt) -> None:
        self.client, self.simulator, self.hunt = client, simulator, hunt

    def go(self) -> None:
        for key in INTEGRATION_PROVIDERS:
            self._one(INTEGRATION_PROVIDERS.get(key))
        Integration.objects.update(next_check_at=timezone.now())
        integration_use.check_due()
        notice_sending.send_due()
        for path in ("", "/stats", "/types", "/email-provider-a/templates", "/email-provider-b/templates"):
            self.client.get(f"{API}{path}")
        self.client.get("/api/audit")

    def _one(self, provider: type[IntegrationProvider]) -> None:
        body = {
            "name": provider.name,
            "type": provider.key,
            "config": self._filled(provider.config_fields, provider.key),
            "credentials": self._filled(provider.credential_fields, provider.key),
        }
        wrong = {**body, "config": {**body["config"], "colour": "red"}}
        assert self.client.post(API, wrong, format="json").status_code == 400
        made = self.client.post(API, body, format="json", headers={"Idempotency-Key": f"i-{provider.key}"})
        assert made.status_code == 201, made.content
        one = f"{API}/{made.json()['id']}"
        for faults in (self._none, self._quoted, self._broken):
            faults(body["credentials"])
            self._use(one, provider)
            self.simulator.clear_faults()
        self.client.patch(one, {"config": made.json()["config"], "name": "Renamed"}, format="json")
        renewed = self._filled(provider.credential_fields, provider.key)
        if renewed:
            assert self.client.patch(one, {"credentials": renewed}, format="json").status_code == 200
        self._use(one, provider)
        if provider.rotates:
            return  # one stays, with what it had before
        self.client.delete(one)

    def _use(self, one: str, provider: type[IntegrationProvider]) -> None:
        self.client.get(one)
        assert self.client.post(f"{one}/test").status_code in (200, 503)
        for action in provider.actions:
            given = self._samples(action.input)
            answer = self.client.post(f"{one}/actions/{action.name}", given, format="json")
            assert answer.status_code < 500 or answer.status_code in (502, 503), answer.content

    def _none(self, credentials: Mapping[str, str]) -> None:
        """The simulator's own answers: it knows none of these keys."""

    def _quoted(self, credentials: Mapping[str, str]) -> None:
        """A vendor that says which key it refuses."""
        said = f"The key {' and '.join(credentials.values())} is not allowed"
        body = {"message": said, "error": {"message": said}, "errors": [{"message": said}], "ok": False}
        self.simulator.fault("status", path="/", status=403, body=body, count=50)

    def _broken(self, credentials: Mapping[str, str]) -> None:
        self.simulator.fault("truncate", path="/", count=50, fraction=0.5)

    def _filled(self, fields: Iterable[Field], key: str) -> dict[str, Any]:
        """Every field, secrets marked and known to the hunt."""
        values: dict[str, Any] = {}
        for field in fields:
            if field.write_only:
                values[field.name] = FORMED.get(field.name, _marked)(field.name)
                self.hunt.know("integration credential", values[field.name])
            elif field.kind == "url":
                word = random.token_hex(16)
                values[field.name] = f"{self.simulator.base_url}/receiver/{word if field.secret else 'open'}"
                self.hunt.know("hook address", *([word] if field.secret else []))
            elif not field.many:
                values[field.name] = self._sample(field)
        return values

    def _samples(self, fields: Iterable[Field]) -> dict[str, Any]:
        return {
            field.name: [self._sample(field)] if field.many else self._sample(field)
            for field in fields
            if field.required
        }

    def _sample(self, field: Field) -> Any:
        if field.kind == "object":
            return self._samples(field.fields)
        if field.kind == "choice":
            return field.choices[0]
        if field.kind == "number":
            return max(1, field.least)
        return NAMED.get(field.name) or SAMPLES.get(field.kind, "sample")
