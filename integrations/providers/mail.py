"""What sending a workspace's mail is, whoever the vendor: the input of `send`, the mail as a value, the answer, and the
base of the vendors that do it.

Called by the vendors' files and by who sends workspace mail. Promised: a `Mail` names every address once, says
something, and has no line break in what becomes a header; bad input names its field.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar

from core.errors import InvalidInput, ProviderRateLimited
from core.http import Response, clean_words
from integrations.fields import Field
from integrations.providers.base import EMAIL, TEMPLATES, Action, IntegrationProvider
from integrations.providers.delivery import HookRefused, Notice, Posted

QUOTA_SECONDS = 3600.0
"""How long a send waits once a vendor's quota is used up: vendors do not say when it is filled again."""
QUOTA_CODE = "quota_exhausted"
ATTACHMENT_FIELDS = (
    Field("fileName", "File name"),
    Field("contentType", "Content type", required=False),
    Field("contentBase64", "Content", kind="base64"),
)
ALONE = "A template stands alone: leave body and bodyHtml out."


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file of a mail."""

    file_name: str
    content_type: str
    """"" where the file name is to tell."""
    content: str
    """Base64."""


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail to be sent. With a template it has no text and no HTML."""

    to: tuple[str, ...]
    sender: str
    """The address it is from."""
    sender_name: str = ""
    """The name beside it."""
    subject: str = ""
    """"" only where the template has one."""
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    reply_to: tuple[str, ...] = ()
    text: str = ""
    html: str = ""
    template_id: str = ""
    template_data: Mapping[str, Any] = field(default_factory=dict)
    attachments: tuple[Attachment, ...] = ()
    idempotency_key: str = ""
    """The same mail sent again under it is one mail, where the vendor knows such keys."""
    reference: str = ""
    """Our own id of it, letters, digits and dashes: its delivery events carry it, whatever became of the answer."""

    @property
    def recipients(self) -> int:
        """How many addresses it goes to."""
        return len(self.to) + len(self.cc) + len(self.bcc)


@dataclass(frozen=True, slots=True)
class Accepted:
    """The vendor took a mail; whether it arrives, only its delivery events say."""

    message_id: str
    """The vendor's id, which its events carry; "" where it gave none."""
    status: int
    """What it answered, an HTTP status."""


@dataclass(frozen=True, slots=True)
class Template:
    """A mail template at the vendor."""

    id: str
    name: str
    created_at: datetime | None
    """In UTC; None where the vendor's text is not a time."""

    def row(self) -> dict[str, Any]:
        """As the API shows it."""
        made = self.created_at
        stamp = made.isoformat(timespec="milliseconds").replace("+00:00", "Z") if made else None
        return {"id": self.id, "name": self.name, "created_at": stamp}


def send_action(*, most: int, idempotent: bool) -> Action:
    """The action `send` of a vendor that takes at most so many addresses in `to`; `idempotent` where it knows keys."""
    key = Field("idempotencyKey", "Idempotency key", longest=256, required=False, help="Sent twice, it is one mail.")
    fields = (
        Field("to", "To", kind="email", many=True, longest=most),
        Field("cc", "Cc", kind="email", many=True, required=False),
        Field("bcc", "Bcc", kind="email", many=True, required=False),
        Field("replyTo", "Reply to", kind="email", many=True, required=False, longest=10),
        Field("subject", "Subject", longest=998, required=False, help="A template may have one of its own."),
        Field("body", "Text", kind="long_text", required=False),
        Field("bodyHtml", "HTML", kind="long_text", required=False),
        Field("templateId", "Template", required=False, help="Instead of text and HTML."),
        Field("templateData", "Template's data", kind="json", required=False),
        Field(
            "attachments", "Attachments", kind="object", many=True, required=False, longest=50, fields=ATTACHMENT_FIELDS
        ),
        Field("fromEmail", "Sender", kind="email", required=False, help="Instead of the integration's own."),
        Field("fromName", "Sender's name", required=False, longest=100, help="Instead of the integration's own."),
    )
    return Action("send", "Send an email", (*fields, key) if idempotent else fields)


class MailProvider(IntegrationProvider):
    """A vendor that sends mail from a verified address and keeps templates for it."""

    config_fields: ClassVar[tuple[Field, ...]] = (
        Field("fromEmail", "Sender", kind="email", required=False, help="An address the vendor has verified."),
        Field("fromName", "Sender's name", required=False, longest=100),
        Field(
            "fallback", "Fall back", kind="boolean", required=False,
            help="Another enabled email provider may send what this one surely did not take.",
        ),
    )  # fmt: skip
    credential_fields: ClassVar[tuple[Field, ...]] = (Field("apiKey", "API key", kind="key"),)
    capabilities: ClassVar[frozenset[str]] = frozenset({EMAIL, TEMPLATES})
    keys_last: ClassVar[timedelta | None] = None
    """How long it remembers an idempotency key, under which the same mail may be sent again; None: it knows none."""
    most_attached: ClassVar[int]
    """What the attachments of a mail may be together, in bytes of base64: how vendors count."""
    hook_credential: ClassVar[str]
    """The credential that proves them; where it is not given, every post is refused."""

    @abstractmethod
    def send(self, mail: Mail) -> Accepted:
        """Hand a mail over, once. Raises what the refusal means. ProviderOutcomeUnknown: nobody can say whether it was
        taken, so it is not sent again. ProviderUnavailable: it was not, or (under an idempotency key, where the vendor
        knows such keys) sending the same again does no harm; who gives up then does not know that it failed."""

    @abstractmethod
    def refuse_unfit(self, mail: Mail) -> None:
        """InvalidInput, naming the field, where this vendor takes no such mail. Asks nobody."""

    @abstractmethod
    def templates(self) -> Sequence[Template]:
        """All templates that can be sent, over all pages."""

    @abstractmethod
    def prove(self, posted: Posted) -> None:
        """Whether the vendor signed exactly this for this integration, and just now; HookRefused otherwise."""

    @abstractmethod
    def notices(self, posted: Posted) -> Sequence[Notice]:
        """What a proved post says, as far as it is known here. InvalidInput where it is none of the vendor's."""

    def hook_secret(self) -> str:
        """What proves a post; HookRefused where there is none yet."""
        secret = str(self.credentials.get(self.hook_credential) or "")
        if not secret:
            raise HookRefused
        return secret

    def perform_send(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """`send` with the input of the action."""
        accepted = self.send(self.mail(given))
        return {"messageId": accepted.message_id, "status": accepted.status}

    def perform_list_templates(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """{"templates": [{"id", "name", "created_at"}]}"""
        return {"templates": [template.row() for template in self.templates()]}

    def mail(self, given: Mapping[str, Any]) -> Mail:
        """The mail that checked input describes. InvalidInput where it says nothing, or two things at once."""
        _check_content(given)
        to, cc, bcc = _each_once(given["to"], given.get("cc") or (), given.get("bcc") or ())
        return Mail(
            to=to,
            cc=cc,
            bcc=bcc,
            reply_to=tuple(given.get("replyTo") or ()),
            sender=str(given.get("fromEmail") or self.need("fromEmail")),
            sender_name=str(given.get("fromName") or self.config.get("fromName") or ""),
            subject=str(given.get("subject") or ""),
            text=str(given.get("body") or ""),
            html=str(given.get("bodyHtml") or ""),
            template_id=str(given.get("templateId") or ""),
            template_data=given.get("templateData") or {},
            attachments=tuple(
                Attachment(item["fileName"], item.get("contentType") or "", item["contentBase64"])
                for item in given.get("attachments") or ()
            ),
            idempotency_key=str(given.get("idempotencyKey") or ""),
        )


def quota_spent(who: str, response: Response, words: str) -> ProviderRateLimited:
    """The vendor takes no more mail for now, though it answers everything else: the budget of requests stays open."""
    message = f"{who} answered {response.status}: {clean_words(words)}"
    return ProviderRateLimited(message, retry_after=QUOTA_SECONDS, code=QUOTA_CODE)


def check_size(mail: Mail, most: int) -> None:
    """InvalidInput where the attachments are more than `most` bytes of base64 together."""
    refuse_attached(sum(len(item.content) for item in mail.attachments), most)


def refuse_attached(size: int, most: int) -> None:
    """The same for what is known by its size alone."""
    if size > most:
        raise InvalidInput(fields={"attachments": [f"Together at most {most // 4 * 3 // 1_000_000} MB are allowed."]})


def _check_content(given: Mapping[str, Any]) -> None:
    problems: dict[str, list[str]] = {}
    if given.get("templateId"):
        if given.get("body") or given.get("bodyHtml"):
            problems["templateId"] = [ALONE]
    else:
        if not given.get("body") and not given.get("bodyHtml"):
            problems["body"] = ["Give body, bodyHtml or templateId."]
        if not given.get("subject"):
            problems["subject"] = ["This field is required."]
        if given.get("templateData"):
            problems["templateData"] = ["This needs a templateId."]
    if not given["to"]:
        problems["to"] = ["Name at least one address."]
    if problems:
        raise InvalidInput(fields=problems)


def _each_once(*lists: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """Every address where it comes first: nobody gets a mail twice, and vendors refuse doubles."""
    seen: set[str] = set()
    kept: list[tuple[str, ...]] = []
    for addresses in lists:
        fresh = {address.lower(): address for address in reversed(tuple(addresses)) if address.lower() not in seen}
        kept.append(tuple(reversed(fresh.values())))
        seen |= fresh.keys()
    return tuple(kept)
