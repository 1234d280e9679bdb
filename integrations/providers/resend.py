"""EMAIL_PROVIDER: Resend (resend.com/docs/api-reference). docs/providers/resend.md is the page for users.

Its sends carry an Idempotency-Key that Resend remembers for 24 hours, so a send whose answer was lost may be sent again
under the same key with the same content.
"""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import quote
from typing import Any, ClassVar

from django.conf import settings

from core.errors import (
    CredentialsRejected,
    InvalidInput,
    ProviderOutcomeUnknown,
    ProviderRateLimited,
    ProviderRejected,
    ProviderUnavailable,
)
from core.http import Response, clean_words, parse_retry_after
from core.ids import uuid7
from integrations.fields import Field
from integrations.providers.base import Action, Checked, Pace
from integrations.providers.delivery import (
    MAX_WORDS,
    REFERENCE,
    Notice,
    Posted,
    Told,
    Unwanted,
    garbled,
    moment,
    one_line,
    own_headers,
    parsed,
    prove_standard,
    reference_in,
    webhook_key,
)
from integrations.providers.mail import (
    Accepted,
    Attachment,
    Mail,
    MailProvider,
    Template,
    check_size,
    quota_spent,
    send_action,
)

MAX_TO = 50  # resend.com/docs/api-reference/emails/send-email
MAX_ATTACHMENTS = 40 * 1024 * 1024  # of base64, all together: the same page
PAGE = 100
MAX_PAGES = 200
TEST_DOMAIN = "resend.dev"
SPECIALS = re.compile(r'[()<>@,:;.\[\]"\\]')  # RFC 5322 3.2.3
ANGLES, NO_ANGLES = r"[<>]", "This must hold no < or >."
TYPES = mimetypes.MimeTypes()
"""File endings and their types, the same on every machine."""
BAD_KEY = ("invalid_api_key", "missing_api_key")
QUOTAS = ("daily_quota_exceeded", "monthly_quota_exceeded")
RESTRICTED = "restricted_api_key"
EVENTS = {
    "email.sent": Told.ACCEPTED,
    "email.scheduled": Told.ACCEPTED,
    "email.delivery_delayed": Told.DEFERRED,
    "email.delivered": Told.DELIVERED,
    "email.bounced": Told.BOUNCED,
    "email.complained": Told.COMPLAINED,
    "email.failed": Told.FAILED,
    "email.suppressed": Told.FAILED,
    "email.opened": Told.OPENED,
    "email.clicked": Told.CLICKED,
}
"""resend.com/docs/dashboard/webhooks/event-types; others are of contacts, domains and incoming mail."""
NOT_SVIX = "This must be the signing secret that Resend shows for the webhook: whsec_ and base64."
SEND_ONLY = "The key is good for sending only: templates cannot be listed, and the sender's domain cannot be checked."


class Resend(MailProvider):
    """One team's account."""

    key = "EMAIL_PROVIDER"
    name = "Resend"
    description = "Sends the workspace's mail through Resend."
    credential_fields: ClassVar[tuple[Field, ...]] = (
        Field("apiKey", "API key", kind="key", help="Full access; a key for sending only cannot list templates."),
        Field(
            "webhookSecret", "Webhook's signing secret", kind="key", required=False,
            help="whsec_…: shown beside the webhook at Resend. Without it no delivery event is taken.",
        ),
    )  # fmt: skip
    hook_word: ClassVar[str] = "resend"
    hook_credential: ClassVar[str] = "webhookSecret"
    most_attached: ClassVar[int] = MAX_ATTACHMENTS
    actions: ClassVar[tuple[Action, ...]] = (
        send_action(most=MAX_TO, idempotent=True),
        Action("list_templates", "List published templates", idempotent=True),
    )
    keys_last: ClassVar[timedelta] = timedelta(hours=24)  # resend.com/docs/dashboard/emails/idempotency-keys
    # 2 a second for a whole team is the lowest figure Resend ever named: resend.com/docs/api-reference/rate-limit
    pace: ClassVar[Pace] = Pace(2, 1.0)

    @classmethod
    def validate(cls, *, config: Mapping[str, Any], credentials: Mapping[str, Any]) -> None:
        """The name goes into `Name <address>`, where Resend takes no angle brackets."""
        if re.search(ANGLES, str(config.get("fromName") or "")):
            raise InvalidInput(fields={"config.fromName": [NO_ANGLES]})
        secret = str(credentials.get(cls.hook_credential) or "")
        if secret and not webhook_key(secret):
            raise InvalidInput(fields={f"credentials.{cls.hook_credential}": [NOT_SVIX]})

    def check(self) -> Checked:
        """Whether the key works, what it may, and whether the sender's domain is verified."""
        response = self._get("/domains", {"limit": PAGE})
        if _name(response) == RESTRICTED:
            return Checked(SEND_ONLY, limited=True, details={"permission": "sending_access"})
        found = [*_rows(self.judged(response)), *self._onward("/domains", response)]
        verified = sorted(str(row.get("name")).lower() for row in found if row.get("status") == "verified")
        details = {"permission": "full_access", "verifiedDomains": verified}
        domain = str(self.config.get("fromEmail") or "").rpartition("@")[2].lower()
        if not domain:
            return Checked("The key works. Set fromEmail before mail is sent.", limited=True, details=details)
        if domain == TEST_DOMAIN:
            words = "The key works. From resend.dev mail goes to your own address only: verify a domain at Resend."
            return Checked(words, limited=True, details=details)
        if domain not in verified:
            words = f"The key works, but {domain} is not verified at Resend: mail from there will be refused."
            return Checked(words, limited=True, details=details)
        return Checked(f"The key works, and {domain} is verified.", details=details)

    def send(self, mail: Mail) -> Accepted:
        """ProviderUnavailable under a key of the caller's: perhaps taken, and the same mail may be sent again under it
        for 24 hours. Without one a key is made, and ProviderOutcomeUnknown names it ("idempotencyKey")."""
        key = mail.idempotency_key or f"hub-{uuid7().hex}"
        try:
            return self._send(self._payload(mail), key, repeatable=bool(mail.idempotency_key))
        except ProviderOutcomeUnknown as error:
            raise ProviderOutcomeUnknown(error.message, extra={"idempotencyKey": key}) from error

    def refuse_unfit(self, mail: Mail) -> None:
        """What Resend would refuse or drop in silence."""
        self._payload(mail)

    def _send(self, payload: Mapping[str, Any], key: str, *, repeatable: bool) -> Accepted:
        response = self.ask_raw(
            "POST", self._url("/emails"), json=payload, bearer=self.need("apiKey"),
            headers={"Idempotency-Key": key}, idempotent=repeatable,
        )  # fmt: skip
        if _name(response) in QUOTAS:
            raise quota_spent(self.name, response, _words(response))
        self.judged(response)
        identity = _identity(response)
        if not identity:
            kind = ProviderUnavailable if repeatable else ProviderOutcomeUnknown
            raise kind(f"{self.name} answered {response.status} without the id of a mail.")
        return Accepted(message_id=identity, status=response.status)

    def templates(self) -> Sequence[Template]:
        """Published ones: a draft cannot be sent."""
        first = self.judged(self._get("/templates", {"limit": PAGE}))
        rows = [*_rows(first), *self._onward("/templates", first)]
        return [
            Template(str(row["id"]), str(row.get("name") or ""), _moment(row.get("created_at")))
            for row in rows
            if row.get("status") == "published" and row.get("id")
        ]

    def prove(self, posted: Posted) -> None:
        """Svix signs as Standard Webhooks does (docs.svix.com/receiving/verifying-payloads/how-manual)."""
        prove_standard(posted, "svix", webhook_key(self.hook_secret()))

    def notices(self, posted: Posted) -> Sequence[Notice]:
        """One event a post. Its id is the post's, the same at every attempt; whom of several recipients it is about it
        does not say (reference providers-workspace 1.6)."""
        body = parsed(posted.body)
        if not isinstance(body, dict) or not isinstance(body.get("type"), str):
            raise garbled()
        kind, data = EVENTS.get(body["type"]), body.get("data")
        if kind is None:
            return ()
        if not isinstance(data, dict):
            raise garbled()
        notice = Notice(
            key=posted.headers["svix-id"],
            kind=kind,
            at=_happened(body.get("created_at"), posted.headers["svix-timestamp"]),
            message_id=one_line(data.get("email_id")),
            reference=_reference(data.get("tags")),
            words=_reason(data),
            unwanted=_unwanted(body["type"], data),
        )
        return (notice,)

    def refusal(self, response: Response) -> None:
        """By name and words: a bad key comes as 400, 401 or 403 (reference providers-workspace 18, 3)."""
        if response.ok:
            return
        name, message = _name(response), f"{self.name} answered {response.status}: {clean_words(_words(response))}"
        if name in BAD_KEY or "api key is invalid" in _words(response).lower():
            raise CredentialsRejected(message)
        if name == RESTRICTED:
            raise ProviderRejected(message, code="key_restricted")
        if name == "concurrent_idempotent_requests":
            raise ProviderUnavailable(message)
        if response.status == 429:
            wait = response.headers.get("retry-after") or response.headers.get("ratelimit-reset")
            raise ProviderRateLimited(message, retry_after=parse_retry_after(wait, default=1.0))
        if response.status in (404, 405):
            raise ProviderRejected(message)

    def _payload(self, mail: Mail) -> dict[str, Any]:
        check_size(mail, MAX_ATTACHMENTS)
        payload: dict[str, Any] = {"from": _sender(mail), "to": list(mail.to), "subject": mail.subject}
        payload |= {"cc": list(mail.cc), "bcc": list(mail.bcc), "reply_to": list(mail.reply_to)}
        payload |= {"text": mail.text, "html": mail.html}
        payload["attachments"] = [
            {"filename": item.file_name, "content": item.content, **_content_type(index, item)}
            for index, item in enumerate(mail.attachments)
        ]
        if mail.template_id:
            payload["template"] = {"id": mail.template_id, "variables": _variables(mail.template_data)}
        if mail.reference:
            payload["tags"] = [{"name": REFERENCE, "value": mail.reference}]
        payload["headers"] = own_headers(mail.reference, mail.sender)
        # Nothing empty goes along: a template beside an empty text is refused (reference providers-workspace 3.3).
        return {name: value for name, value in payload.items() if value}

    def _url(self, path: str) -> str:
        return f"{settings.RESEND_API_URL}{path}"

    def _get(self, path: str, params: Mapping[str, Any]) -> Response:
        return self.ask_raw("GET", self._url(path), params=dict(params), bearer=self.need("apiKey"))

    def _onward(self, path: str, response: Response) -> Iterator[Mapping[str, Any]]:
        """The rows of the pages behind this one; ProviderUnavailable where a page leads nowhere new."""
        seen: set[str] = set()
        for _ in range(MAX_PAGES):
            rows = _rows(response)
            if not response.json_object().get("has_more"):
                return
            last = str(rows[-1].get("id") or "") if rows else ""
            if not last or last in seen:
                break
            seen.add(last)
            response = self.judged(self._get(path, {"limit": PAGE, "after": last}))
            yield from _rows(response)
        raise ProviderUnavailable(f"{self.name} gives pages without end.")


def _sender(mail: Mail) -> str:
    if re.search(ANGLES, mail.sender_name):
        raise InvalidInput(fields={"fromName": [NO_ANGLES]})
    if not mail.sender_name:
        return mail.sender
    name = f'"{quote(mail.sender_name)}"' if SPECIALS.search(mail.sender_name) else mail.sender_name
    return f"{name} <{mail.sender}>"


def _happened(stamp: object, signed: str) -> datetime:
    """The event's own time; `data.created_at` is the mail's."""
    found = _moment(stamp)
    return moment(found.timestamp() if found else signed)


def _reference(tags: object) -> str:
    """Tags come back as an object, although they are sent as a list (reference providers-workspace 18, 18)."""
    if isinstance(tags, list):
        tags = {str(tag.get("name")): tag.get("value") for tag in tags if isinstance(tag, dict)}
    return reference_in(tags) if isinstance(tags, dict) else ""


def _reason(data: Mapping[str, Any]) -> str:
    """What `bounce`, `failed` or `suppressed` say, the server's own words behind them."""
    found: Mapping[str, Any] = next(
        (data[name] for name in ("bounce", "failed", "suppressed") if isinstance(data.get(name), dict)), {}
    )
    server = found.get("diagnosticCode")
    parts = [found.get("message"), found.get("reason"), *(server if isinstance(server, list) else [server])]
    return one_line(" ".join(part for part in parts if isinstance(part, str)), MAX_WORDS)


def _unwanted(type: str, data: Mapping[str, Any]) -> Unwanted | None:
    """A bounce that is not permanent may be over tomorrow."""
    if type == "email.complained":
        return Unwanted.COMPLAINED
    bounce = data.get("bounce")
    permanent = isinstance(bounce, dict) and str(bounce.get("type")).lower() == "permanent"
    return Unwanted.BOUNCED if type == "email.suppressed" or (type == "email.bounced" and permanent) else None


def _rows(response: Response) -> list[Mapping[str, Any]]:
    rows = response.json_object().get("data")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ProviderUnavailable(f"{response.host} answered with JSON of another form than expected.")
    return rows


def _identity(response: Response) -> str:
    """The id of a mail taken; "" where the answer is not one."""
    try:
        return str(response.json_object().get("id") or "")
    except ProviderUnavailable:
        return ""


def _problem(response: Response) -> Mapping[str, Any]:
    """{statusCode, name, message} of a refusal; empty where it is none, as from their CDN."""
    if response.ok:
        return {}
    try:
        return response.json_object()
    except ProviderUnavailable:
        return {}


def _name(response: Response) -> str:
    return str(_problem(response).get("name") or "")


def _words(response: Response) -> str:
    return str(_problem(response).get("message") or "no reason given")


def _variables(data: Mapping[str, Any]) -> dict[str, Any]:
    """Flat, texts and numbers: resend.com/docs/dashboard/templates/template-variables"""
    odd = [name for name, value in data.items() if isinstance(value, bool) or not isinstance(value, str | int | float)]
    if odd:
        words = [f"Resend takes texts and numbers only, not what {name} is." for name in sorted(odd)[:5]]
        raise InvalidInput(fields={"templateData": words})
    return dict(data)


def _content_type(index: int, item: Attachment) -> dict[str, str]:
    """Resend drops an attachment in silence whose name and type disagree (reference providers-workspace 18, 15)."""
    given = item.content_type.partition(";")[0].strip().lower()
    usual = TYPES.guess_type(item.file_name)[0]
    if given in ("", "application/octet-stream", usual):
        return {}
    if usual:
        words = f"Resend drops a file named {item.file_name} that is not {usual}: rename it or leave contentType out."
        raise InvalidInput(fields={f"attachments.{index}.contentType": [words]})
    return {"content_type": given}


def _moment(text: object) -> datetime | None:
    """Of `2023-10-06 23:47:56.678+00`."""
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
