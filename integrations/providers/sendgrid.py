"""EMAIL_PROVIDER_ALT: SendGrid (twilio.com/docs/sendgrid/api-reference). docs/providers/sendgrid.md is the page for
users.

Its sends have no idempotency: one whose answer was lost is ProviderOutcomeUnknown, and nobody may send it again.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.conf import settings

from core.errors import InvalidInput, ProviderOutcomeUnknown, ProviderRateLimited, ProviderRejected, ProviderUnavailable
from core.http import Response, clean_words
from integrations.fields import Field
from integrations.providers.base import Action, Checked, Pace
from integrations.providers.delivery import (
    MAX_WORDS,
    REFERENCE,
    HookRefused,
    Notice,
    Posted,
    Told,
    Unwanted,
    garbled,
    is_fresh,
    moment,
    one_line,
    own_headers,
    parsed,
    reference_in,
)
from integrations.providers.mail import (
    Accepted,
    Mail,
    MailProvider,
    Template,
    check_size,
    quota_spent,
    send_action,
)

MAX_RECIPIENTS = 1000  # twilio.com/docs/sendgrid/api-reference/mail-send/errors
MAX_ATTACHMENTS = 28 * 1024 * 1024
"""Of base64: the whole message may have 30 MB (twilio.com/docs/sendgrid/api-reference/mail-send/limitations)."""
PAGE = 200
MAX_PAGES = 100
MAX_WAIT = 3600.0
USUAL_WAIT = 60.0
TAKEN = 202
EVENTS = {
    "processed": Told.ACCEPTED,
    "deferred": Told.DEFERRED,
    "delivered": Told.DELIVERED,
    "bounce": Told.BOUNCED,
    "dropped": Told.FAILED,
    "spamreport": Told.COMPLAINED,
    "open": Told.OPENED,
    "click": Told.CLICKED,
    "unsubscribe": Told.UNSUBSCRIBED,
    "group_unsubscribe": Told.UNSUBSCRIBED,
}
"""twilio.com/docs/sendgrid/for-developers/tracking-events/event; others are of no mail."""
DROPPED_FOR = (
    ("unsubscribed", Unwanted.UNSUBSCRIBED),
    ("spam report", Unwanted.COMPLAINED),
    ("bounced", Unwanted.BOUNCED),
    ("invalid address", Unwanted.BOUNCED),
)
"""Of the reasons of a drop, those that are the address's (the same page)."""
SIGNED, SIGNED_AT = "x-twilio-email-event-webhook-signature", "x-twilio-email-event-webhook-timestamp"
NO_KEY = "This must be the verification key that SendGrid shows for the event webhook."
NO_CREDITS = "maximum credits exceeded"


class SendGrid(MailProvider):
    """One account, or one subuser of it."""

    key = "EMAIL_PROVIDER_ALT"
    name = "SendGrid"
    description = "Sends the workspace's mail through Twilio SendGrid."
    config_fields: ClassVar[tuple[Field, ...]] = (
        *MailProvider.config_fields,
        Field(
            "region", "Region", kind="choice", choices=("global", "eu"), default="global", required=False,
            destination=True, help="eu for a subuser whose data stays in the EU; its keys work only there.",
        ),
    )  # fmt: skip
    credential_fields: ClassVar[tuple[Field, ...]] = (
        Field("apiKey", "API key", kind="key", help="Permissions Mail Send and Template Engine (read)."),
        Field(
            "webhookPublicKey", "Event webhook's verification key", kind="key", required=False,
            help="Shown when Signed Event Webhook is on. Without it no delivery event is taken.",
        ),
    )  # fmt: skip
    hook_word: ClassVar[str] = "sendgrid"
    hook_credential: ClassVar[str] = "webhookPublicKey"
    most_attached: ClassVar[int] = MAX_ATTACHMENTS
    actions: ClassVar[tuple[Action, ...]] = (
        send_action(most=MAX_RECIPIENTS, idempotent=False),
        Action("list_templates", "List dynamic templates", idempotent=True),
    )
    # Limits of its endpoints are not published; 600 a minute is what it names for the older ones.
    pace: ClassVar[Pace] = Pace(10, 1.0)

    @classmethod
    def validate(cls, *, config: Mapping[str, Any], credentials: Mapping[str, Any]) -> None:
        """A key that proves nothing would refuse every event in silence."""
        key = str(credentials.get(cls.hook_credential) or "")
        if key and _public_key(key) is None:
            raise InvalidInput(fields={f"credentials.{cls.hook_credential}": [NO_KEY]})

    def check(self) -> Checked:
        """Whether the key works and what it may: who lacks a scope is told which."""
        scopes = self._get("/v3/scopes", {}).json_object().get("scopes")
        if not isinstance(scopes, list):
            raise ProviderUnavailable("SendGrid answered with JSON of another form than expected.")
        details = {"mayListTemplates": "templates.read" in scopes}
        if "mail.send" not in scopes:
            raise ProviderRejected(
                "The key may not send mail: give it the permission Mail Send.", code="key_restricted"
            )
        if not self.config.get("fromEmail"):
            return Checked("The key works. Set fromEmail before mail is sent.", limited=True, details=details)
        if "templates.read" not in scopes:
            words = "The key may send mail but not list templates: give it the permission Template Engine (read)."
            return Checked(words, limited=True, details=details)
        return Checked("The key works: it may send mail and list templates.", details=details)

    def send(self, mail: Mail) -> Accepted:
        """Once and never again: an answer that does not come leaves open whether it was sent."""
        response = self.ask_raw(
            "POST", self._url("/v3/mail/send"), json=self._payload(mail), bearer=self.need("apiKey"), idempotent=False
        )
        if NO_CREDITS in _words(response).lower():
            # It comes as 401, and yet the key is good (reference providers-workspace 2.3).
            raise quota_spent(self.name, response, _words(response))
        self.judged(response)
        if response.status != TAKEN:
            raise ProviderOutcomeUnknown(
                f"{self.name} answered {response.status}, which it does not say of a mail taken."
            )
        return Accepted(message_id=response.headers.get("x-message-id", ""), status=response.status)

    def refuse_unfit(self, mail: Mail) -> None:
        """Too many addresses, or too much attached."""
        self._payload(mail)

    def templates(self) -> Sequence[Template]:
        """Dynamic ones. SendGrid keeps no time of making; `created_at` is when it was last changed."""
        return [
            Template(str(row["id"]), str(row.get("name") or ""), _moment(row.get("updated_at")))
            for row in self._pages()
            if row.get("id")
        ]

    def prove(self, posted: Posted) -> None:
        """ECDSA over P-256 with SHA-256, of the timestamp and the bytes as they came. SendGrid names no tolerance; each
        attempt is signed anew, so ours is the usual one (reference providers-workspace 2.4)."""
        key, stamp = _public_key(self.hook_secret()), posted.headers.get(SIGNED_AT, "")
        if key is None or not is_fresh(stamp):
            raise HookRefused
        try:
            signature = base64.b64decode(posted.headers.get(SIGNED, ""), validate=True)
            key.verify(signature, stamp.encode() + posted.body, ec.ECDSA(hashes.SHA256()))
        except (InvalidSignature, binascii.Error, ValueError) as error:
            raise HookRefused from error

    def notices(self, posted: Posted) -> Sequence[Notice]:
        """Any number of events a post, each about one recipient."""
        rows = parsed(posted.body)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise garbled()
        return [_notice(row) for row in rows if isinstance(row.get("event"), str) and row["event"] in EVENTS]

    def refusal(self, response: Response) -> None:
        """In SendGrid's words, all of its problems; 429 says as an epoch when to come back."""
        if response.ok or response.status >= 500 or response.status == 401:
            return
        message = f"{self.name} answered {response.status}: {clean_words(_words(response)) or 'no reason given'}"
        if response.status == 429:
            raise ProviderRateLimited(message, retry_after=_until(response.headers.get("x-ratelimit-reset", "")))
        if response.status == 403 and "access forbidden" in message:
            raise ProviderRejected(f"{message}: the key lacks a permission.", code="key_restricted")
        if response.status not in (408, 425):
            raise ProviderRejected(message)

    def _payload(self, mail: Mail) -> dict[str, Any]:
        check_size(mail, MAX_ATTACHMENTS)
        if mail.recipients > MAX_RECIPIENTS:
            raise InvalidInput(fields={"to": [f"At most {MAX_RECIPIENTS} addresses in to, cc and bcc are allowed."]})
        person: dict[str, Any] = {name: _people(getattr(mail, name)) for name in ("to", "cc", "bcc")}
        person["dynamic_template_data"] = dict(mail.template_data)
        sender = {"email": mail.sender, "name": mail.sender_name}
        # Text has to stand before HTML, and neither may be empty (reference providers-workspace 2.1).
        parts = (("text/plain", mail.text), ("text/html", mail.html))
        content = [{"type": kind, "value": value} for kind, value in parts if value]
        payload = {
            "personalizations": [_filled(person)],
            "from": _filled(sender),
            "reply_to_list": _people(mail.reply_to),
            "subject": mail.subject,
            "content": content,
            "template_id": mail.template_id,
            # Events carry it flat among their own names, so it has a name that is only ours (reference 2.4).
            "custom_args": _filled({REFERENCE: mail.reference}),
            "headers": own_headers(mail.reference, mail.sender),
            "attachments": [
                _filled({"content": item.content, "filename": item.file_name, "type": _bare_type(item.content_type)})
                for item in mail.attachments
            ],
        }
        return _filled(payload)

    def _url(self, path: str) -> str:
        eu = self.config.get("region") == "eu"
        return f"{settings.SENDGRID_EU_API_URL if eu else settings.SENDGRID_API_URL}{path}"

    def _get(self, path: str, params: Mapping[str, Any]) -> Response:
        return self.ask("GET", self._url(path), params=dict(params), bearer=self.need("apiKey"))

    def _pages(self) -> Iterator[Mapping[str, Any]]:
        """Every row; ProviderUnavailable where a page leads nowhere new."""
        query: dict[str, Any] = {"generations": "dynamic", "page_size": PAGE}
        seen: set[str] = set()
        for _ in range(MAX_PAGES):
            answer = self._get("/v3/templates", query).json_object()
            # `templates` is what an older form of it says (reference providers-workspace 2.2).
            rows = answer["result"] if isinstance(answer.get("result"), list) else answer.get("templates")
            if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
                raise ProviderUnavailable("SendGrid answered with JSON of another form than expected.")
            yield from rows
            token = _next_token(answer)
            if not token:
                return
            if token in seen:
                break
            seen.add(token)
            query["page_token"] = token
        raise ProviderUnavailable(f"{self.name} gives pages without end.")


def _public_key(text: str) -> ec.EllipticCurvePublicKey | None:
    """Of the base64 of its DER; None where it is no key on P-256."""
    try:
        key = serialization.load_der_public_key(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1) else None


def _notice(row: Mapping[str, Any]) -> Notice:
    """Custom arguments lie flat among the event's own names."""
    event, address = row["event"], one_line(row.get("email"))
    words = [text for name in ("reason", "response") if (text := one_line(row.get(name), MAX_WORDS))]
    return Notice(
        key=one_line(row.get("sg_event_id")) or sha256(repr(sorted(row.items())).encode()).hexdigest(),
        kind=EVENTS[event],
        at=moment(row.get("timestamp")),
        # The send's X-Message-Id and a suffix behind a dot (reference providers-workspace 2.4).
        message_id=one_line(row.get("sg_message_id")).partition(".")[0],
        reference=reference_in(row),
        recipients=(address,) if address else (),
        words=words[0] if words else "",
        unwanted=_unwanted(event, row),
    )


def _unwanted(event: str, row: Mapping[str, Any]) -> Unwanted | None:
    """A bounce of the type "blocked" is about this mail or its sender, not about the address; a group is not all."""
    if event == "dropped":
        reason = one_line(row.get("reason")).lower()
        return next((why for words, why in DROPPED_FOR if words in reason), None)
    hard = event == "bounce" and row.get("type") != "blocked"
    why = {"spamreport": Unwanted.COMPLAINED, "unsubscribe": Unwanted.UNSUBSCRIBED}
    return Unwanted.BOUNCED if hard else why.get(event)


def _people(addresses: Sequence[str]) -> list[dict[str, str]]:
    return [{"email": address} for address in addresses]


def _bare_type(content_type: str) -> str:
    """Without its parameters: SendGrid refuses a type with a semicolon."""
    return content_type.partition(";")[0].strip()


def _filled(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value}


def _next_token(answer: Mapping[str, Any]) -> str:
    """Only the token out of `_metadata.next`: the address it stands in is not ours to follow."""
    metadata = answer.get("_metadata")
    link = metadata.get("next") if isinstance(metadata, dict) else None
    return parse_qs(urlsplit(link).query).get("page_token", [""])[0] if isinstance(link, str) else ""


def _words(response: Response) -> str:
    """What {"errors": [{"message", "field"}]} says; "" where the answer is none of that kind."""
    if response.ok:
        return ""
    try:
        errors = response.json_object().get("errors")
    except ProviderUnavailable:
        return ""
    found = [item for item in errors if isinstance(item, dict)] if isinstance(errors, list) else []
    return " ".join(_sentence(item) for item in found[:5])


def _sentence(item: Mapping[str, Any]) -> str:
    return f"{item.get('message')} ({item['field']})" if item.get("field") else str(item.get("message"))


def _until(reset: str) -> float:
    """Seconds until an epoch."""
    return min(max(float(reset) - time.time(), 1.0), MAX_WAIT) if reset.isdigit() else USUAL_WAIT


def _moment(text: object) -> datetime | None:
    """Of `2026-01-10 09:00:00`, which is UTC."""
    try:
        return datetime.strptime(str(text), "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None
