"""What `manage.py demo` integrates its workspace with: one of each type, every vendor played by the simulator.

Called by the demo command once the product is up. The vendors are seeded by the simulator's control calls, the
integrations are made over the HTTP API, as an owner's client would.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from config.management.demo_calendars import CONTACTS
from email_logs.columns import COLUMNS
from simulator.carbone import API_KEY as CARBONE_KEY
from simulator.hooks_platform import ZAPIER_HOOK
from simulator.process import Simulator
from simulator.slack import BOT_TOKEN
from simulator.visitor import Refused, Visitor

EMAIL_KEY, OTHER_EMAIL_KEY = "re_demo_0123456789abcdef", "SG.demo.0123456789abcdef"
TABLES_TOKEN, CRM_TOKEN = "patDemo0000000001.0123456789abcdef", "pat-na1-demo-0123456789abcdef"
BASE = "appDemo0000000001"
MIRRORED = ("Log ID", *(column.name for column in COLUMNS))
SECRET = "whsec_ZGVtby1zZWNyZXQtb2YtdHdlbnR5LWZvdXItYnl0ZXM="  # noqa: S105 - of the demo, on the loopback only


def seed(simulator: Simulator, owner: str) -> dict[str, str]:
    """Give the vendors something to show; the storage account's tokens."""
    simulator.control("POST", "/resend/keys", {"key": EMAIL_KEY, "owner": owner})
    simulator.control("POST", "/resend/domains", {"name": "demo.example"})
    for name in ("Welcome", "Invoice", "Reminder"):
        simulator.control("POST", "/resend/templates", {"name": name, "subject": name})
    simulator.control("POST", "/sendgrid/keys", {"key": OTHER_EMAIL_KEY})
    simulator.control("POST", "/sendgrid/senders", {"sender": "demo.example"})
    simulator.control("POST", "/sendgrid/templates", {"name": "Client Onboarding"})
    simulator.control("POST", "/carbone/templates", {"text": "Dear {d.name}", "name": "Letter"})
    simulator.control("POST", "/airtable/tokens", {"token": TABLES_TOKEN})
    leads = {"name": "Leads", "fields": [{"name": n, "type": "singleLineText"} for n in ("Email", "Name", "Stage")]}
    sent = {"name": "Sent mail", "fields": [{"name": name, "type": "singleLineText"} for name in MIRRORED]}
    simulator.control("POST", "/airtable/bases", {"id": BASE, "name": "Sales", "tables": [leads, sent]})
    simulator.control("POST", "/hubspot/tokens", {"token": CRM_TOKEN})
    for kind in ("contacts", "companies"):
        simulator.control("POST", f"/hubspot/objects/{kind}", {"count": CONTACTS})
    tokens: dict[str, str] = simulator.control("POST", f"/drive/{owner}/tokens", {})
    return tokens


def bodies(simulator: Simulator, tokens: dict[str, str]) -> Iterator[dict[str, Any]]:
    """What to POST to /api/integrations, one of each type."""
    base, sender = simulator.base_url, {"fromEmail": "noreply@demo.example", "fromName": "Demo"}
    portal = str(simulator.control("GET", "/hubspot/portal")["portalId"])
    refreshable = {"accessToken": tokens["access_token"], "refreshToken": tokens["refresh_token"]}
    for name, type, config, credentials in (
        ("Production email", "EMAIL_PROVIDER", sender, {"apiKey": EMAIL_KEY}),
        ("Spare email", "EMAIL_PROVIDER_ALT", sender, {"apiKey": OTHER_EMAIL_KEY}),
        ("Letters", "DOCUMENT_ENGINE", {"baseUrl": f"{base}/carbone"}, {"apiKey": CARBONE_KEY}),
        ("Our back office", "WEBHOOK", {"url": f"{base}/receiver/demo", "events": ["*"]}, {"secret": SECRET}),
        ("Team chat", "SLACK", {"channel": "general", "events": ["connection.*"]}, {"botToken": BOT_TOKEN}),
        (
            "Sales tables",
            "EXTERNAL_DATABASE",
            {"baseUrl": base, "baseId": BASE, "emailLogTable": "Sent mail"},
            {"apiToken": TABLES_TOKEN},
        ),
        ("Automation", "WEBHOOK_PLATFORM", {"webhookUrl": f"{base}{ZAPIER_HOOK}", "events": ["email.sent"]}, {}),
        ("CRM", "CRM_PLATFORM", {"portalId": portal}, {"accessToken": CRM_TOKEN}),
        ("Team files", "CLOUD_STORAGE", {}, refreshable),
    ):
        yield {"name": name, "type": type, "config": config, "credentials": credentials}


def integrate(visitor: Visitor, simulator: Simulator, owner: str) -> list[tuple[str, bool, str]]:
    """Make and check them all: (name, whether it works, in words)."""
    results = []
    for number, body in enumerate(bodies(simulator, seed(simulator, owner))):
        made = _post(visitor, "/api/integrations", {**body, "setAsSiteEmailProvider": number == 0})
        tested = _post(visitor, f"/api/integrations/{made['id']}/test", {})
        results.append((body["name"], bool(tested["ok"]), str(tested["message"])))
    return results


def _post(visitor: Visitor, target: str, body: dict[str, Any]) -> dict[str, Any]:
    status, answer = visitor.request("POST", target, body)
    value: dict[str, Any] = json.loads(answer)
    if status >= 400:
        raise Refused(status, value)
    return value
