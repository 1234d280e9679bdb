"""POST /v3/mail/send: 202 without a body and the id in X-Message-Id; 200 in sandbox mode, where nothing is sent. It has
no idempotency: the same request twice is two mails."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from simulator.ledger import SentMail
from simulator.push import Push
from simulator.sendgrid import hooks
from simulator.sendgrid.access import Call, refusal
from simulator.sendgrid.checks import MAX_BYTES, addresses_of, is_verified, problems, template_problem
from simulator.sendgrid.state import Mail
from simulator.state import World
from simulator.wire import Response

SENDER_WORDS = (
    "The from address does not match a verified Sender Identity. Mail cannot be sent until this error is resolved. "
    "Visit https://sendgrid.com/docs/for-developers/sending-email/sender-identity/ to see the Sender Identity "
    "requirements"
)


class Sending:
    def __init__(self, world: World, push: Push) -> None:
        self.world, self.push = world, push

    def send(self, call: Call) -> Response:
        body = self._read(call)
        found = problems(body, self.world.now())
        if found:
            raise refusal(400, *found)
        missing = template_problem(call.account, body)
        if missing and not self.world.settings.sendgrid_drops_unknown_templates:
            raise refusal(400, missing)
        if not is_verified(call.account, str(body["from"]["email"])):
            raise refusal(403, (SENDER_WORDS, "from"))
        if (body.get("mail_settings") or {}).get("sandbox_mode", {}).get("enable") is True:
            return Response(200)
        self._charge(call, body)
        mail = self._keep(call, body, dropped=bool(missing))
        hooks.follow(self.world, self.push, call.account, mail)
        return Response(202, b"", {"X-Message-Id": mail.id})

    def _read(self, call: Call) -> dict[str, Any]:
        if len(call.request.body) > MAX_BYTES:
            raise refusal(413, ("Payload Too Large", None))
        try:
            return call.request.json()
        except ValueError as error:
            raise refusal(400, ("Bad Request", None)) from error

    def _charge(self, call: Call, body: dict[str, Any]) -> None:
        """Spent credits look like a bad key (reference workspace 2.3)."""
        if call.account.credits is None:
            return
        wanted = sum(len(addresses_of(item)) for item in body["personalizations"])
        if wanted > call.account.credits:
            raise refusal(401, ("Maximum credits exceeded", None))
        call.account.credits -= wanted

    def _keep(self, call: Call, body: dict[str, Any], *, dropped: bool) -> Mail:
        identity, now = self.world.authority.secret_text("", 16)[:22], self.world.now()
        lists: dict[str, list[str]] = {"to": [], "cc": [], "bcc": []}
        for item in body["personalizations"]:
            for name, found in lists.items():
                found += [str(person["email"]) for person in item.get(name) or []]
        recipients = [*lists["to"], *lists["cc"], *lists["bcc"]]
        mail = Mail(identity, now, body, recipients, dropped)
        call.account.mails[identity] = mail
        raw = json.dumps(body, ensure_ascii=False).encode()
        subject = str(body.get("subject") or body["personalizations"][0].get("subject") or "")
        self.world.ledger.sent.append(
            SentMail(
                self.world.ledger.next_seq(), now, "sendgrid", call.account.name, call.request.operation, identity, "",
                f"<{identity}@geopod-ismtpd-1>", str(body["from"]["email"]), lists["to"], lists["cc"], lists["bcc"],
                subject, len(raw), hashlib.sha256(raw).hexdigest(), raw,
            )
        )  # fmt: skip
        call.request.effect = {"kind": "mail.sent", "id": identity}
        return mail
