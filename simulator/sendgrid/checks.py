"""What SendGrid asks of a mail: every problem of a request is told at once, with the field it is in."""

from __future__ import annotations

import base64
import re
from typing import Any

from simulator.sendgrid.state import Account

MAX_BYTES = 30 * 1024 * 1024
MAX_PERSONALIZATIONS = 1000
MAX_RECIPIENTS = 1000
MAX_CATEGORIES = 10
MAX_CATEGORY = 255
MAX_ARGS_BYTES = 10_000
MAX_AHEAD_SECONDS = 72 * 3600
ADDRESS = re.compile(r"[^@\s<>,;\"]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")
TEMPLATE = re.compile(r"d-[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
Problem = tuple[str, str | None]
TO_WORDS = (
    "The to array is required for all personalization objects, and must have at least one email object with a valid "
    "email address."
)
SUBJECT_WORDS = (
    "The subject is required. You can get around this requirement if you use a template with a subject defined or if "
    "every personalization has a subject defined."
)
CONTENT_WORDS = (
    "Unless a valid template_id is provided, the content parameter is required. There must be at least one defined "
    "content block. We typically suggest both text/plain and text/html blocks are included, but only one block is "
    "required."
)


def problems(body: dict[str, Any], now: float) -> list[Problem]:
    """Everything wrong with a request, besides its template and its sender's right to send."""
    people = body.get("personalizations")
    if not isinstance(people, list) or not people:
        return [("You must have at least one personalization.", "personalizations")]
    if len(people) > MAX_PERSONALIZATIONS:
        words = f"The personalization block is limited to {MAX_PERSONALIZATIONS} personalizations per API request. You "
        words += f"have provided {len(people)} personalizations. Please consider splitting this into multiple requests "
        return [(words + "and resending your request.", "personalizations")]
    if any(_is_cryptic(item) for item in [*people, body]):
        return [("Bad Request", None)]
    found = [problem for index, item in enumerate(people) for problem in _personalization(index, item)]
    if sum(len(addresses_of(item)) for item in people) > MAX_RECIPIENTS:
        found.append((f"There is a limit of {MAX_RECIPIENTS} total recipients (to + cc + bcc) per request.", None))
    return [*found, *_sender(body), *_content(body, people), *_attachments(body), *_extras(body, now)]


def addresses_of(personalization: dict[str, Any]) -> list[str]:
    """Of to, cc and bcc, as they came."""
    return [str(item.get("email")) for name in ("to", "cc", "bcc") for item in personalization.get(name) or []]


def is_verified(account: Account, address: str) -> bool:
    """By address, or by domain."""
    address = address.lower()
    return address in account.senders or address.rpartition("@")[2] in account.senders


def template_problem(account: Account, body: dict[str, Any]) -> Problem | None:
    """Unknown, without an active version, or given data of the other generation."""
    wanted = body.get("template_id")
    if not wanted:
        return None
    template = next((item for item in account.templates if item.id == wanted), None)
    if template is None:
        return f"The template_id must be a valid GUID, you provided '{wanted}'.", "template_id"
    if not template.active:
        return "The template does not have an active version.", "template_id"
    other = "substitutions" if template.generation == "dynamic" else "dynamic_template_data"
    if any(item.get(other) for item in body["personalizations"]):
        return f"{other} may not be used with a {template.generation} template.", f"personalizations.0.{other}"
    return None


def _is_cryptic(part: Any) -> bool:
    """What is answered with "Bad Request" and no field: a value that is no text where only texts go."""
    if not isinstance(part, dict):
        return True
    for name in ("custom_args", "substitutions", "headers"):
        values = part.get(name) or {}
        if not isinstance(values, dict) or any(not isinstance(value, str) for value in values.values()):
            return True
    return any(not isinstance(part.get(name) or [], list) for name in ("to", "cc", "bcc"))


def _personalization(index: int, item: dict[str, Any]) -> list[Problem]:
    path = f"personalizations.{index}"
    if not item.get("to"):
        return [(TO_WORDS, f"{path}.to")]
    found: list[Problem] = []
    seen: set[str] = set()
    for name in ("to", "cc", "bcc"):
        for place, person in enumerate(item.get(name) or []):
            address = str(person.get("email")).lower()
            if not ADDRESS.fullmatch(address):
                found.append(("Does not contain a valid address.", f"{path}.{name}.{place}.email"))
            elif address in seen:
                words = "Each email address in the personalization block should be unique between to, cc, and bcc. We "
                words += f"found the first duplicate instance of [{address}] in the {path}.{name} field."
                return [*found, (words, path)]
            seen.add(address)
    if not isinstance(item.get("dynamic_template_data") or {}, dict):
        found.append(("The dynamic_template_data must be an object.", f"{path}.dynamic_template_data"))
    return found


def _sender(body: dict[str, Any]) -> list[Problem]:
    sender = body.get("from")
    if not isinstance(sender, dict) or not ADDRESS.fullmatch(str(sender.get("email"))):
        return [("The from email does not contain a valid address.", "from.email")]
    if body.get("reply_to") and body.get("reply_to_list"):
        return [("Only one of reply_to and reply_to_list may be used.", "reply_to_list")]
    answers = [body["reply_to"]] if body.get("reply_to") else body.get("reply_to_list") or []
    if any(not ADDRESS.fullmatch(str(item.get("email"))) for item in answers):
        return [("The reply_to email does not contain a valid address.", "reply_to.email")]
    return []


def _content(body: dict[str, Any], people: list[dict[str, Any]]) -> list[Problem]:
    template, content = body.get("template_id"), body.get("content")
    found: list[Problem] = []
    if template and not TEMPLATE.fullmatch(str(template)):
        found.append((f"The template_id must be a valid GUID, you provided '{template}'.", "template_id"))
    if not template and not body.get("subject") and not all(item.get("subject") for item in people):
        found.append((SUBJECT_WORDS, "subject"))
    if not template and not content:
        found.append((CONTENT_WORDS, "content"))
    for index, part in enumerate(content or []):
        if not isinstance(part.get("value"), str) or not part["value"]:
            words = "The content value must be a string at least one character in length."
            found.append((words, f"content.{index}.value"))
    kinds = [part.get("type") for part in content or []]
    if kinds != sorted(kinds, key=lambda kind: {"text/plain": 0, "text/html": 1}.get(str(kind), 2)):
        words = "If present, text/plain must be first, followed by text/html, followed by any other content."
        found.append((words, "content"))
    return found


def _attachments(body: dict[str, Any]) -> list[Problem]:
    found: list[Problem] = []
    for index, item in enumerate(body.get("attachments") or []):
        if not _is_base64(item.get("content")):
            found.append(("The attachment content must be base64 encoded.", f"attachments.{index}.content"))
        if not item.get("filename"):
            found.append(("The filename must be a string at least one character.", f"attachments.{index}.filename"))
        if re.search(r"[;\r\n]", str(item.get("type") or "")):
            found.append(("The attachment type cannot contain ';', or CRLF characters.", f"attachments.{index}.type"))
    return found


def _extras(body: dict[str, Any], now: float) -> list[Problem]:
    found: list[Problem] = []
    categories = body.get("categories") or []
    if len(categories) > MAX_CATEGORIES or any(len(str(item)) > MAX_CATEGORY for item in categories):
        found.append(("There is a limit of 10 categories per request, each of 255 characters.", "categories"))
    sizes = sum(len(name.encode()) + len(value.encode()) for name, value in (body.get("custom_args") or {}).items())
    if sizes >= MAX_ARGS_BYTES:
        found.append(("The overall size of custom_args is limited to 10,000 bytes.", "custom_args"))
    if body.get("send_at") and float(body["send_at"]) > now + MAX_AHEAD_SECONDS:
        found.append(("Scheduling more than 72 hours in advance is forbidden.", "send_at"))
    return found


def _is_base64(text: object) -> bool:
    try:
        return isinstance(text, str) and bool(base64.b64decode(text, validate=True))
    except ValueError:
        return False
