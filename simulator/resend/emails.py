"""POST /emails and /emails/batch with idempotency keys, GET /emails/{id}. What was accepted is in the ledger."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from simulator.errors import Refusal
from simulator.ledger import SentMail
from simulator.push import Push
from simulator.resend import hooks
from simulator.resend.access import QUOTA_WORDS, Call, invalid, refusal
from simulator.resend.checks import Checked, check
from simulator.resend.state import Email, Remembered, Resend, new_id
from simulator.state import World

REMEMBERED_SECONDS = 24 * 3600
MAX_KEY = 256
MAX_BATCH = 100
DAY, MONTH = 86_400, 30 * 86_400


class Emails:
    def __init__(self, world: World, push: Push) -> None:
        self.world, self.push = world, push

    def send(self, call: Call) -> dict[str, Any]:
        body = _parse(call)
        if not isinstance(body, dict):
            raise invalid("The request body must be an object.")
        return self._once(call, body, lambda: {"id": self._accept(call, [check(call.team, body)])[0]})

    def send_batch(self, call: Call) -> dict[str, Any]:
        """`x-batch-validation: strict` (all or nothing) or permissive."""
        body = _parse(call)
        if not isinstance(body, list) or not 1 <= len(body) <= MAX_BATCH:
            raise invalid("The batch must be an array of 1 to 100 emails.")
        permissive = call.request.headers.get("x-batch-validation", "strict") == "permissive"
        return self._once(call, body, lambda: self._batch(call, body, permissive=permissive))

    def get(self, call: Call) -> dict[str, Any]:
        email = call.team.emails.get(call.request.params["id"])
        if email is None:
            raise refusal(404, "not_found", "Email not found")
        return email.show()

    def _once(self, call: Call, body: object, work: Any) -> dict[str, Any]:
        """The remembered answer of this key, else the work's, remembered for a day."""
        key = call.request.headers.get("idempotency-key")
        if key is None:
            answer: dict[str, Any] = work()
            return answer
        if not 1 <= len(key) <= MAX_KEY:
            raise refusal(400, "invalid_idempotency_key", "The key must be between 1-256 chars.")
        packed = json.dumps([call.request.operation, body], sort_keys=True).encode()
        fingerprint = hashlib.sha256(packed).hexdigest()
        known = call.team.remembered.get(key)
        if known is not None and known.at + REMEMBERED_SECONDS > self.world.now():
            if known.fingerprint != fingerprint:
                words = "Same idempotency key used with a different request payload."
                raise refusal(409, "invalid_idempotent_request", words)
            return known.answer
        if self._twin_under_way(call, key):
            words = "Same idempotency key used while original request is still in progress."
            raise refusal(409, "concurrent_idempotent_requests", words)
        answer = work()
        call.team.remembered[key] = Remembered(self.world.now(), fingerprint, answer)
        return answer

    def _twin_under_way(self, call: Call, key: str) -> bool:
        """Whether a request with this key came earlier and still waits (a `latency` fault makes them overlap)."""
        keys = self.world.part(Resend).keys
        for request in self.world.under_way:
            if request is call.request:
                return False
            caller = keys.get(request.bearer())
            if caller and caller.team == call.team.name and request.headers.get("idempotency-key") == key:
                return True
        return False

    def _batch(self, call: Call, bodies: list[Any], *, permissive: bool) -> dict[str, Any]:
        good, errors = [], []
        for index, body in enumerate(bodies):
            try:
                if isinstance(body, dict) and {"attachments", "scheduled_at"} & set(body):
                    raise invalid("The `attachments` and `scheduled_at` fields are not supported in batches.")
                good.append(check(call.team, body if isinstance(body, dict) else {}))
            except Refusal as refused:
                if not permissive:
                    raise
                errors.append({"index": index, "message": json.loads(refused.response.body)["message"]})
        answer: dict[str, Any] = {"data": [{"id": identity} for identity in self._accept(call, good)]}
        return answer | ({"errors": errors} if permissive else {})

    def _accept(self, call: Call, mails: list[Checked]) -> list[str]:
        """Keeps them and tells of them, if the quotas have room for all; their ids."""
        self._charge(call, sum(mail.addresses for mail in mails))
        ids = []
        for mail in mails:
            email = self._keep(call, mail)
            ids.append(email.id)
            hooks.follow(self.world, self.push, call.team, email)
        call.request.effect = {"kind": "mail.sent", "id": ids[0] if len(ids) == 1 else "", "ids": ids}
        return ids

    def _charge(self, call: Call, addresses: int) -> None:
        """Every address of to, cc and bcc counts; numbers of the last 24 hours and 30 days."""
        settings, now, counted = self.world.settings, self.world.now(), call.team.counted
        for limit, seconds, name in (
            (settings.resend_daily_quota, DAY, "daily_quota_exceeded"),
            (settings.resend_monthly_quota, MONTH, "monthly_quota_exceeded"),
        ):
            used = sum(count for at, count in counted if at > now - seconds)
            if limit and used + addresses > limit:
                raise refusal(429, name, QUOTA_WORDS[name], {f"x-resend-{name.split('_')[0]}-quota": str(used)})
        counted.append((now, addresses))

    def _keep(self, call: Call, mail: Checked) -> Email:
        identity, now = new_id(self.world), self.world.now()
        email = Email(
            identity, f"<{identity}@email.resend.com>", now, mail.sender, mail.recipients, mail.subject, mail.payload,
            mail.dropped, "sent",
        )  # fmt: skip
        call.team.emails[identity] = email
        raw = json.dumps(mail.payload, ensure_ascii=False).encode()
        self.world.ledger.sent.append(
            SentMail(
                self.world.ledger.next_seq(), now, "resend", call.team.name, call.request.operation, identity, "",
                email.message_id, mail.sender, mail.recipients["to"], mail.recipients["cc"], mail.recipients["bcc"],
                mail.subject, len(raw), hashlib.sha256(raw).hexdigest(), raw,
            )
        )  # fmt: skip
        return email


def _parse(call: Call) -> Any:
    try:
        return json.loads(call.request.body)
    except ValueError as error:
        raise refusal(400, "validation_error", "The request body is not valid JSON.") from error
