"""Django's mail (`send_mail()`, `EmailMessage`, mail to admins, password resets) through the workspace's site provider,
logged and queued with the caller's transaction (`settings.EMAIL_BACKEND`).

Whose mail it is says `sending_for`, the message's own `workspace`, or there is only one workspace; else it is that of
which all its recipients are members. What no provider could send as it is meant (headers of one's own, parts other than
text and HTML, inline files) is refused loudly and never left out in silence.
"""

from __future__ import annotations

import base64
import logging
import mimetypes
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from email.message import Message
from email.mime.base import MIMEBase
from email.utils import parseaddr
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage, EmailMultiAlternatives
from django.core.mail.backends.base import BaseEmailBackend

from core.errors import HubError, InvalidInput, NotConfigured
from email_logs.services import send_email
from workspaces.models import Membership, Workspace

logger = logging.getLogger("patchbay.send")

HTML = "text/html"
WHOSE = "Say whose mail it is: `with sending_for(workspace):`, or set `workspace` on the message."
_current: ContextVar[tuple[Workspace | None, str]] = ContextVar("sending_for", default=(None, ""))


@contextmanager
def sending_for(workspace: Workspace | None = None, source: str = "") -> Iterator[None]:
    """Mail that is sent within is this workspace's, and originates there (one of `email_logs.sources.SOURCES`)."""
    before = _current.set((workspace, source))
    try:
        yield
    finally:
        _current.reset(before)


class EmailBackend(BaseEmailBackend):
    """Nothing is sent at once: a mail is queued, and what becomes of it is in the log."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """How many were queued. HubErrors where one cannot be sent as it is meant, unless `fail_silently`."""
        return sum(self._queue(message) for message in email_messages if message.recipients())

    def _queue(self, message: EmailMessage) -> bool:
        workspace, source = _current.get()
        try:
            send_email(
                workspace=getattr(message, "workspace", None) or workspace or _workspace_of(message),
                given=given_of(message),
                source=getattr(message, "source", "") or source,
                at_once=False,
            )
        except HubError as error:
            if not self.fail_silently:
                raise
            logger.warning("a mail was not queued: %s", error.code)
            return False
        return True


def _workspace_of(message: EmailMessage) -> Workspace:
    some = list(Workspace.objects.order_by("created_at")[:2])
    if len(some) == 1:
        return some[0]
    people = {address.lower() for address in _addresses(message.recipients())}
    member = Membership.objects.filter(user__email__in=people, user__is_active=True).order_by("created_at")
    emails: dict[Workspace, set[str]] = {}
    for row in member.select_related("workspace", "user"):
        emails.setdefault(row.workspace, set()).add(row.user.email.lower())
    found = next((workspace for workspace, known in emails.items() if known == people), None)
    if found is None:
        raise NotConfigured(WHOSE)
    return found


# --- what a message says ------------------------------------------------------------------------------------------


def given_of(message: EmailMessage) -> dict[str, Any]:
    """As the input of the action `send`. InvalidInput naming what cannot be sent."""
    given: dict[str, Any] = {
        "to": _addresses(message.to),
        "cc": _addresses(message.cc),
        "bcc": _addresses(message.bcc),
        "replyTo": _addresses([*message.reply_to, *_headers(message)]),
        "subject": _text(message.subject),
        **_bodies(message),
        **_sender(message),
    }
    files = [_attachment(item) for item in message.attachments]
    return given | ({"attachments": files} if files else {})


def _addresses(written: Sequence[str]) -> list[str]:
    """Bare: `Ada <ada@example.org>` is ada@example.org. What is none stays as it is, to be refused by its field."""
    return [parseaddr(str(one))[1] or str(one) for one in written]


def _headers(message: EmailMessage) -> list[str]:
    """The reply-to that Django also takes as a header; every other header is refused."""
    headers = {name.lower(): str(value) for name, value in message.extra_headers.items()}
    answers = headers.pop("reply-to", "")
    if headers:
        words = f"Headers of one's own cannot be sent: {', '.join(sorted(headers))}."
        raise InvalidInput(fields={"headers": [words]})
    return [one.strip() for one in answers.split(",") if one.strip()]


def _bodies(message: EmailMessage) -> dict[str, str]:
    main = "bodyHtml" if message.content_subtype == "html" else "body"
    if message.content_subtype not in ("plain", "html"):
        raise InvalidInput(fields={"body": [f"text/{message.content_subtype} cannot be sent."]})
    bodies = {main: _text(message.body)}
    for content, kind in message.alternatives if isinstance(message, EmailMultiAlternatives) else ():
        if kind != HTML or bodies.get("bodyHtml"):
            raise InvalidInput(fields={"alternatives": [f"Beside the text one {HTML} can be sent, and not {kind}."]})
        bodies["bodyHtml"] = _text(content)
    return {name: text for name, text in bodies.items() if text}


def _sender(message: EmailMessage) -> dict[str, str]:
    """None where nobody named one: the integration's own."""
    name, address = parseaddr(message.from_email)
    if message.from_email in (settings.DEFAULT_FROM_EMAIL, settings.SERVER_EMAIL):
        return {}
    return {"fromEmail": address or message.from_email, **({"fromName": _text(name)} if name else {})}


def _attachment(item: Any) -> Mapping[str, str]:
    """A part of Python's email package, or Django's (name, content, type)."""
    if isinstance(item, MIMEBase):
        if item.get("Content-ID"):
            raise InvalidInput(fields={"attachments": ["Files inside the text (Content-ID) cannot be sent."]})
        packed = item.get_payload(decode=True)
        content = packed if isinstance(packed, bytes) else item.as_bytes()
        return _file(item.get_filename() or "", content, item.get_content_type())
    name, content, kind = item
    return _file(name or "", _bytes(content), kind or "")


def _bytes(content: Any) -> bytes:
    if isinstance(content, EmailMessage):
        return bytes(content.message().as_bytes())
    if isinstance(content, Message):
        return content.as_bytes()
    return content.encode("utf-8", "replace") if isinstance(content, str) else bytes(content)


def _file(name: str, content: bytes, kind: str) -> Mapping[str, str]:
    name = name or f"attachment{mimetypes.guess_extension(kind) or '.bin'}"
    file = {"fileName": name, "contentBase64": base64.b64encode(content).decode()}
    return file | ({"contentType": kind} if kind else {})


def _text(value: object) -> str:
    """As UTF-8 can hold it; translations that are not made yet are made."""
    return str(value).encode("utf-8", "replace").decode()
