"""The control API under /_control/: seeds, changes behind the hub's back, scripted consent, faults, clock, ledger.
Used through `process.Simulator`, or by anything that speaks HTTP and JSON. Never subject to faults, never in the
ledger. Errors are `{"error": text}` with 400 or 404."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

from simulator.gmail.push import Watch, oidc_token
from simulator.grants import Client
from simulator.graph.subscriptions import living
from simulator.mailbox_control import Body, MailboxControl, missing
from simulator.routing import Router
from simulator.state import AutoConsent, World
from simulator.wire import Request, Response, json_response

if TYPE_CHECKING:
    from simulator.server import Server

VENDOR = "control"
ROOT = "/_control"
ORIGINS = (
    "RESEND_API_URL",
    "SENDGRID_API_URL",
    "SLACK_API_URL",
    "AIRTABLE_API_URL",
    "HUBSPOT_API_URL",
    "GOOGLE_DRIVE_API_URL",
    "GOOGLE_CALENDAR_API_URL",
)
"""Settings of a hub that are the origin of a vendor and nothing more: all have this one here."""


def register(router: Router, server: Server) -> None:
    control = Control(server)
    for method, path, handler in control.routes():
        add_call(router, method, path, handler)


def add_call(router: Router, method: str, path: str, handler: Callable[[Request], object]) -> None:
    """A control call under /_control: what the handler gives is answered as JSON. Vendors' modules add theirs."""
    router.add(method, ROOT + path, VENDOR, f"control.{handler.__name__}", _guarded(handler))


def _guarded(handler: Callable[[Request], object]) -> Callable[[Request], Response]:
    """Answers are JSON; what is wrong with a request is said in words."""

    def handle(request: Request) -> Response:
        try:
            value = handler(request)
        except (ValueError, TypeError, KeyError, re.error) as error:
            return json_response({"error": f"{type(error).__name__}: {error}"}, 400)
        return value if isinstance(value, Response) else json_response(value)

    return handle


class Control:
    def __init__(self, server: Server) -> None:
        self.server = server
        self.mailboxes = MailboxControl(server)

    @property
    def world(self) -> World:
        return self.server.world

    def routes(self) -> list[tuple[str, str, Callable[[Request], object]]]:
        return [
            ("GET", "/health", self.health),
            ("GET", "/env", self.env),
            ("POST", "/reset", self.reset),
            ("GET", "/settings", self.settings),
            ("PATCH", "/settings", self.change_settings),
            ("POST", "/clock", self.clock),
            *self.mailboxes.routes(),
            ("POST", "/accounts/{vendor}/{email}/lifecycle", self.lifecycle),
            ("GET", "/subscriptions", self.subscriptions),
            ("GET", "/pushes", self.pushes),
            ("POST", "/oidc-token", self.oidc_token),
            ("POST", "/clients", self.create_client),
            ("POST", "/consent", self.consent),
            ("DELETE", "/consent", self.forget_consent),
            ("GET", "/grants", self.grants),
            ("POST", "/grants/revoke", self.revoke_grants),
            ("POST", "/tokens/expire", self.expire_tokens),
            ("GET", "/faults", self.faults),
            ("POST", "/faults", self.add_fault),
            ("DELETE", "/faults", self.clear_faults),
            ("DELETE", "/faults/{id}", self.remove_fault),
            ("GET", "/ledger", self.ledger),
            ("GET", "/ledger/summary", self.ledger_summary),
            ("DELETE", "/ledger", self.clear_ledger),
            ("GET", "/sent", self.sent),
            ("GET", "/sent/{seq}/raw", self.sent_raw),
        ]

    # The simulator itself

    def health(self, request: Request) -> Body:
        return {"ok": True, "base_url": self.server.base_url, "seed": self.world.seed, "now": self.world.now()}

    def env(self, request: Request) -> Body:
        """The environment a hub needs to use this simulator as every vendor."""
        base, clients = self.server.base_url, self.world.authority.clients
        google = next(client for client in clients.values() if client.vendor == "google")
        microsoft = next(client for client in clients.values() if client.vendor == "microsoft")
        return {
            "GOOGLE_CLIENT_ID": google.client_id,
            "GOOGLE_CLIENT_SECRET": google.secret,
            "GOOGLE_AUTHORIZE_URL": f"{base}/o/oauth2/v2/auth",
            "GOOGLE_TOKEN_URL": f"{base}/token",
            "GOOGLE_REVOKE_URL": f"{base}/revoke",
            "GOOGLE_USERINFO_URL": f"{base}/v1/userinfo",
            "GMAIL_API_URL": base,
            "GMAIL_UNITS_PER_MINUTE": str(self.world.settings.gmail_quota_units_per_minute),
            "GOOGLE_CALENDAR_REQUESTS_PER_MINUTE": str(self.world.settings.google_calendar_requests_per_minute),
            "MICROSOFT_CLIENT_ID": microsoft.client_id,
            "MICROSOFT_CLIENT_SECRET": microsoft.secret,
            "MICROSOFT_TENANT": "common",
            "MICROSOFT_AUTHORIZE_URL": f"{base}/common/oauth2/v2.0/authorize",
            "MICROSOFT_TOKEN_URL": f"{base}/common/oauth2/v2.0/token",
            "GRAPH_API_URL": base,
            "SENDGRID_EU_API_URL": f"{base}/eu",
            "EGRESS_ALLOW_CIDRS": "127.0.0.0/8,::1/128",
        } | dict.fromkeys(ORIGINS, base)

    def reset(self, request: Request) -> Body:
        self.server.reset(int(request.json().get("seed", self.world.seed)))
        return self.health(request)

    def settings(self, request: Request) -> Body:
        return asdict(self.world.settings)

    def change_settings(self, request: Request) -> Body:
        self.world.settings.change(request.json())
        return self.settings(request)

    def clock(self, request: Request) -> Body:
        """Moves the simulator's time: tokens expire, quotas refill, without waiting."""
        self.world.clock_offset += float(request.json()["advance"])
        return {"now": self.world.now()}

    # Doorbells

    def lifecycle(self, request: Request) -> Body:
        """Posts a lifecycle event: `event`, `subscription?` (an id; default all of the account)."""
        email, body = self.mailboxes.account(request).email, request.json()
        return {"posted": self.server.push.lifecycle(str(body["event"]), email, str(body.get("subscription") or ""))}

    def subscriptions(self, request: Request) -> list[Body]:
        """Graph's living subscriptions and Gmail's watches."""
        found = [item.show() | {"account": item.account} for item in living(self.world)]
        return found + [{"account": email} | watch.describe() for email, watch in self._watches()]

    def _watches(self) -> list[tuple[str, Watch]]:
        return [(email, watch) for email, watch in self.world.watches.items() if watch.expires_at > self.world.now()]

    def pushes(self, request: Request) -> Body:
        """Every attempt to post a notification, oldest first, filtered by `vendor`, `account`, `kind`."""
        wanted = {name: values[0] for name, values in request.query.items()}
        found = [delivery.describe() for delivery in self.world.pushes]
        return {"pushes": [item for item in found if all(str(item[name]) == value for name, value in wanted.items())]}

    def oidc_token(self, request: Request) -> Body:
        """A token as Pub/Sub's pushes carry it, with these claims over the usual ones."""
        return {"token": oidc_token(self.world, request.json())}

    # OAuth

    def create_client(self, request: Request) -> Body:
        body = request.json()
        client = Client(
            str(body["vendor"]), str(body["client_id"]), str(body["client_secret"]), body.get("redirect_uris") or []
        )  # fmt: skip
        self.world.authority.add_client(client)
        return asdict(client)

    def consent(self, request: Request) -> Body:
        """From now on (or once) the consent page of a vendor is answered without being shown."""
        body = request.json()
        answer = AutoConsent(
            str(body.get("email", "")), body.get("scopes"), bool(body.get("deny")), bool(body.get("once"))
        )  # fmt: skip
        self.world.consents[str(body["vendor"])] = answer
        return asdict(answer)

    def forget_consent(self, request: Request) -> Body:
        self.world.consents.clear()
        return {}

    def grants(self, request: Request) -> list[Body]:
        grants = self.world.authority.grants.values()
        return [asdict(grant) | {"scopes": sorted(grant.scopes)} for grant in grants]

    def revoke_grants(self, request: Request) -> Body:
        """The user withdraws consent at the vendor's own site."""
        body = request.json()
        count = self.world.authority.revoke(str(body.get("vendor", "")), str(body.get("email", "")))
        return {"revoked": count}

    def expire_tokens(self, request: Request) -> Body:
        body = request.json()
        kind = str(body.get("kind", "access"))
        if kind not in ("access", "refresh", "all"):
            raise ValueError("kind must be access, refresh or all")
        vendor, email = str(body.get("vendor", "")), str(body.get("email", ""))
        return {"expired": self.world.authority.expire(kind, self.world.now(), vendor, email)}

    # Faults and ledger

    def faults(self, request: Request) -> list[Body]:
        return [fault.describe() for fault in self.server.faults.rules.values()]

    def add_fault(self, request: Request) -> Body:
        return self.server.faults.add(request.json()).describe()

    def clear_faults(self, request: Request) -> Body:
        self.server.faults.rules.clear()
        return {}

    def remove_fault(self, request: Request) -> Body:
        fault = self.server.faults.rules.pop(request.params["id"], None)
        if fault is None:
            raise missing("fault")
        return fault.describe()

    def ledger(self, request: Request) -> Body:
        wanted = {name: values[0] for name, values in request.query.items() if name != "limit"}
        entries = [asdict(entry) for entry in self.world.ledger.select(wanted)]
        limit = int(request.argument("limit", "0"))
        return {"entries": entries[-limit:] if limit else entries, "dropped": self.world.ledger.dropped}

    def ledger_summary(self, request: Request) -> Body:
        return self.world.ledger.summary()

    def clear_ledger(self, request: Request) -> Body:
        self.world.ledger.clear()
        return {}

    def sent(self, request: Request) -> Body:
        """Mails accepted for delivery, filtered by `account` and `message_id`."""
        wanted = {name: values[0] for name, values in request.query.items()}
        mails = [mail.summary() for mail in self.world.ledger.sent]
        return {"mails": [mail for mail in mails if all(mail[name] == value for name, value in wanted.items())]}

    def sent_raw(self, request: Request) -> Response:
        seq = int(request.params["seq"])
        raw = next((mail.raw for mail in self.world.ledger.sent if mail.seq == seq), None)
        if raw is None:
            raise missing("mail")
        return Response(200, raw, {}, "message/rfc822")
