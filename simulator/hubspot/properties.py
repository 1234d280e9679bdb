"""Properties of objects: which exist, what values they take, and the words of a refusal, which name every bad one."""

from __future__ import annotations

import json
import re
from typing import Any

from simulator.hubspot.access import Call, error

KNOWN = {
    "contacts": {
        "email", "firstname", "lastname", "phone", "mobilephone", "company", "jobtitle", "website", "city", "country",
        "lifecyclestage", "hs_additional_emails", "hs_merged_object_ids", "hubspot_owner_id",
    },
    "companies": {
        "name", "domain", "website", "city", "country", "industry", "phone", "hs_additional_domains",
        "hs_merged_object_ids", "hubspot_owner_id",
    },
    "emails": {
        "hs_timestamp", "hubspot_owner_id", "hs_email_direction", "hs_email_html", "hs_email_status",
        "hs_email_subject", "hs_email_text", "hs_attachment_ids", "hs_email_headers",
    },
}  # fmt: skip
SYSTEM = {"hs_object_id", "createdate", "hs_createdate", "lastmodifieddate", "hs_lastmodifieddate"}
OPTIONS = {
    "lifecyclestage": {
        "subscriber", "lead", "marketingqualifiedlead", "salesqualifiedlead", "opportunity", "customer", "evangelist",
        "other",
    },
    "hs_email_direction": {"EMAIL", "INCOMING_EMAIL", "FORWARDED_EMAIL"},
    "hs_email_status": {"BOUNCED", "FAILED", "SCHEDULED", "SENDING", "SENT"},
}  # fmt: skip
ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")


def exists(call: Call, kind: str, name: str) -> bool:
    return name in KNOWN[kind] or name in SYSTEM or name in call.portal.custom.get(kind, [])


def read(call: Call, kind: str, given: object) -> dict[str, str]:
    """The values as text, checked; raises the refusal that lists everything wrong."""
    if not isinstance(given, dict):
        raise error(400, "VALIDATION_ERROR", "Invalid input JSON: properties must be an object")
    values = {str(name): "" if value is None else _text(value) for name, value in given.items()}
    wrong = [found for name, value in values.items() if (found := _wrong(call, kind, name, value))]
    if wrong:
        raise error(400, "VALIDATION_ERROR", f"Property values were not valid: {json.dumps(wrong)}", wrong)
    return values


def _text(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _wrong(call: Call, kind: str, name: str, value: str) -> dict[str, Any] | None:
    if not exists(call, kind, name):
        return _said(name, f'Property "{name}" does not exist', "PROPERTY_DOESNT_EXIST")
    if name in SYSTEM:
        return _said(name, f'"{name}" is a read only property', "READ_ONLY_VALUE")
    if name in OPTIONS and value and value not in OPTIONS[name]:
        allowed = ", ".join(sorted(OPTIONS[name]))
        return _said(name, f"{value} was not one of the allowed options: [{allowed}]", "INVALID_OPTION")
    if name == "email" and value and not ADDRESS.fullmatch(value):
        return _said(name, f"Email address {value} is invalid", "INVALID_EMAIL")
    if name == "hs_email_headers" and value and not _is_json(value):
        return _said(name, "hs_email_headers must be JSON", "INVALID_JSON")
    return None


def _said(name: str, message: str, code: str) -> dict[str, Any]:
    return {"isValid": False, "message": message, "error": code, "name": name}


def _is_json(value: str) -> bool:
    try:
        return isinstance(json.loads(value), dict)
    except ValueError:
        return False
