"""What Resend asks of a mail before it takes it: fields, addresses, sender's domain, template, attachments, tags."""

from __future__ import annotations

import base64
import mimetypes
import re
from dataclasses import dataclass
from typing import Any

from simulator.resend.access import invalid, refusal
from simulator.resend.catalog import find_template
from simulator.resend.state import Team, Template

MAX_TO = 50
MAX_ATTACHMENT_BYTES = 40 * 1024 * 1024
"""Of all attachments together, measured in base64."""
TYPES = mimetypes.MimeTypes()
"""The same on every machine."""
TEST_DOMAIN = "resend.dev"
ADDRESS = re.compile(r"[^@\s<>,;\"]+@(?P<domain>[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)")
NAMED = re.compile(r"[^<>\r\n]*<(?P<address>[^<>]+)>\s*")
TAG = re.compile(r"[A-Za-z0-9_-]{1,256}")
FORMAT = "The email address needs to follow the `email@example.com` or `Name <email@example.com>` format."


@dataclass(frozen=True)
class Checked:
    """A mail that may go."""

    sender: str
    recipients: dict[str, list[str]]
    subject: str
    payload: dict[str, Any]
    dropped: list[str]

    @property
    def addresses(self) -> int:
        """How many the quotas count."""
        return sum(len(self.recipients[name]) for name in ("to", "cc", "bcc"))


def check(team: Team, body: dict[str, Any]) -> Checked:
    """Raises Refusal in Resend's words."""
    template = _template(team, body)
    sender = str(body.get("from") or (template.sender if template else ""))
    subject = str(body.get("subject") or (template.subject if template else ""))
    if not sender:
        raise invalid("Missing `from` field.", "missing_required_field")
    if not body.get("to"):
        raise invalid("Missing `to` field.", "missing_required_field")
    if not subject:
        raise invalid("Missing `subject` field.", "missing_required_field")
    if template is None and body.get("html") is None and body.get("text") is None:
        raise invalid("Missing `html` or `text` field.", "missing_required_field")
    recipients = {name: _addresses(body, name) for name in ("to", "cc", "bcc", "reply_to")}
    if len(recipients["to"]) > MAX_TO:
        raise invalid("The `to` field must have at most 50 recipients.")
    _check_extras(body)
    dropped = _attachments(body.get("attachments") or [])
    _check_sender(team, sender, [*recipients["to"], *recipients["cc"], *recipients["bcc"]])
    return Checked(sender, recipients, subject, body, dropped)


def address_of(text: object) -> tuple[str, str] | None:
    """Address and domain of `a@b.c` or `Name <a@b.c>`; None where it is neither."""
    if not isinstance(text, str):
        return None
    named = NAMED.fullmatch(text)
    found = ADDRESS.fullmatch((named["address"] if named else text).strip())
    return (found[0].lower(), found["domain"].lower()) if found else None


def _addresses(body: dict[str, Any], name: str) -> list[str]:
    value = body.get(name) or []
    values = value if isinstance(value, list) else [value]
    if any(address_of(item) is None for item in values):
        raise invalid(f"Invalid `{name}` field. {FORMAT}")
    return [str(item) for item in values]


def _check_sender(team: Team, sender: str, recipients: list[str]) -> None:
    found = address_of(sender)
    if found is None:
        raise invalid(f"Invalid `from` field. {FORMAT}", "invalid_from_address")
    domain = found[1]
    if domain == TEST_DOMAIN:
        foreign = [item for item in map(address_of, recipients) if item and item[1] != TEST_DOMAIN]
        if any(address != team.owner for address, _ in foreign):
            words = f"You can only send testing emails to your own email address ({team.owner}). To send emails to "
            words += "other recipients, please verify a domain at resend.com/domains, and change the `from` address "
            raise refusal(403, "validation_error", words + "to an email using this domain.")
        return
    if not any(item.name == domain and item.status == "verified" for item in team.domains):
        words = f"The {domain} domain is not verified. Please, add and verify your domain on "
        raise refusal(403, "validation_error", words + "https://resend.com/domains")


def _template(team: Team, body: dict[str, Any]) -> Template | None:
    """The published template of a send, its variables checked; it stands alone, beside no content of the mail's."""
    wanted = body.get("template")
    if wanted is None:
        return None
    if not isinstance(wanted, dict) or not isinstance(wanted.get("id"), str):
        raise invalid("The `template` field must be an object with an `id`.")
    if {"html", "text", "react"} & set(body):
        raise invalid("The `template` field cannot be used together with `html`, `text` or `react`.")
    found = find_template(team, wanted["id"])
    if found is None:
        raise invalid(f"Template `{wanted['id']}` not found.")
    if not found.published:
        raise invalid(f"Template `{wanted['id']}` is not published.")
    _check_variables(found, wanted.get("variables") or {})
    return found


def _check_variables(template: Template, given: Any) -> None:
    if not isinstance(given, dict) or any(
        isinstance(value, bool) or not isinstance(value, str | int | float) for value in given.values()
    ):
        raise invalid("Template variables must be strings or numbers.")
    for variable in template.variables:
        name = str(variable["key"])
        if name not in given and variable.get("fallback_value") is None:
            raise invalid(f"Missing value for template variable `{name}`.")
        if name in given and (variable.get("type") == "number") == isinstance(given[name], str):
            raise invalid(f"Template variable `{name}` must be a {variable.get('type')}.")


def _check_extras(body: dict[str, Any]) -> None:
    if "scheduled_at" in body:
        raise invalid("Scheduled mails are not imitated.")
    headers = body.get("headers") or {}
    if not isinstance(headers, dict) or any(not isinstance(value, str) for value in headers.values()):
        raise invalid("The `headers` field must be an object of strings.")
    for tag in body.get("tags") or []:
        if not (TAG.fullmatch(str(tag.get("name"))) and TAG.fullmatch(str(tag.get("value")))):
            raise invalid("Tags should only contain ASCII letters, numbers, underscores, or dashes.")


def _attachments(attachments: list[Any]) -> list[str]:
    """Names of those that are left out in silence: the file's ending and its content type disagree."""
    dropped, size = [], 0
    for item in attachments:
        content, name = item.get("content"), str(item.get("filename") or "")
        if not content and not item.get("path"):
            raise invalid("Attachment must have either a `content` or `path`.", "invalid_attachment")
        if content and not _is_base64(content):
            raise invalid("Attachment `content` must be valid base64.", "invalid_attachment")
        size += len(content or "")
        usual, given = TYPES.guess_type(name)[0], item.get("content_type")
        if usual and given and usual != str(given).partition(";")[0].strip():
            dropped.append(name)
    if size > MAX_ATTACHMENT_BYTES:
        raise invalid("The attachments are larger than 40MB.", "invalid_attachment")
    return dropped


def _is_base64(text: object) -> bool:
    try:
        return isinstance(text, str) and bool(base64.b64decode(text, validate=True))
    except ValueError:
        return False
