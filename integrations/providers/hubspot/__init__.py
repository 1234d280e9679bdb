"""CRM_PLATFORM: HubSpot, by its CRM API (developers.hubspot.com/docs/api-reference; reference providers-workspace 9).

Writes are upserts by address, which may be repeated; a logged email may not. `changes` reads what the sync needs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import quote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.conf import settings

from core.errors import InvalidInput, ProviderRateLimited, ProviderRejected, ProviderUnavailable
from core.http import Response, clean_words, parse_retry_after
from integrations.fields import Field
from integrations.providers.base import CONTACTS, Action, Checked, IntegrationProvider, Pace
from integrations.providers.hubspot import changes
from integrations.providers.hubspot.changes import KINDS, OBJECTS
from integrations.records import CrmAccount, CrmKind, CrmPage

EMAIL_TO_CONTACT = 198
"""The association type HubSpot defines for it (developers.hubspot.com, crm/associations)."""
WAITS = {"SECONDLY": 1.0, "TEN_SECONDLY_ROLLING": 10.0}
LOCKED_SECONDS = 2.0
MIGRATING_SECONDS = 3600.0
"""Between questions to a portal that moves to another region, which takes up to a day."""
UNKNOWN_ZONE_SECONDS = 3600.0
"""A spent day ends at midnight of the portal's zone; where that is not known, it is asked again after an hour."""
EXISTING = re.compile(r"Existing ID: (\d+)")
ENTITY_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,49}")


ADDRESS = Field("email", "Address", kind="email")


class HubSpot(IntegrationProvider):
    """One portal."""

    key = "CRM_PLATFORM"
    name = "HubSpot"
    description = (
        "Contacts and companies become matches of addresses and domains; contacts and mails are written there."
    )
    capabilities: ClassVar[frozenset[str]] = frozenset({CONTACTS})
    config_fields: ClassVar[tuple[Field, ...]] = (
        Field("portalId", "Portal id", help="The number in the address of your HubSpot account."),
        Field("contactEntityType", "A contact is called", required=False, default="contact"),
        Field("companyEntityType", "A company is called", required=False, default="company"),
        Field("timeZone", "Time zone", required=False, help="The portal's, such as Europe/Prague: when its day ends."),
    )
    credential_fields: ClassVar[tuple[Field, ...]] = (
        Field("accessToken", "Access token", kind="key", help="Of a private app; begins with pat-."),
    )
    # Search allows 5 a second and account; lists more. One pace below both leaves room for the portal's other apps.
    pace: ClassVar[Pace | None] = Pace(units=4, window_seconds=1.0)
    actions: ClassVar[tuple[Action, ...]] = (
        Action(
            "sync_contacts",
            "Sync contacts and companies",
            help="Begins now what is done every hour anyway; a sync under way is given back.",
            idempotent=True,
            queued=True,
        ),
        Action(
            "upsert_contact",
            "Write a contact",
            fields=(
                ADDRESS,
                Field("properties", "Properties", kind="json", required=False, help="{HubSpot's name: value}."),
            ),
            help="By address. Send every property you own: HubSpot takes no partial upserts by address.",
            idempotent=True,
        ),
        Action(
            "log_email",
            "Log an email on a contact",
            fields=(
                ADDRESS,
                Field("subject", "Subject", longest=1000),
                Field("body", "Text", kind="long_text", required=False, longest=65_536),
                Field("bodyHtml", "HTML", kind="long_text", required=False, longest=65_536),
                Field("direction", "Direction", kind="choice", choices=("sent", "received"), default="sent"),
                Field("at", "Time", required=False, help="ISO 8601; now where it is left out."),
                Field("from", "From", kind="email", required=False),
                Field("to", "To", kind="email", many=True, required=False),
            ),
        ),
    )

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self._zone = str(self.config.get("timeZone") or "")

    @classmethod
    def validate(cls, *, config: Mapping[str, Any], credentials: Mapping[str, Any]) -> None:
        """A portal's id is a number, entity types fit into addresses, the zone exists."""
        problems: dict[str, list[str]] = {}
        if not str(config.get("portalId", "")).isascii() or not str(config.get("portalId", "")).isdigit():
            problems["config.portalId"] = ["This must be the number of the portal."]
        for kind in KINDS:
            if not ENTITY_TYPE.fullmatch(str(config.get(kind.setting) or kind.kind)):
                words = "Use at most 50 letters, digits, '_', '.' and '-', a letter first."
                problems[f"config.{kind.setting}"] = [words]
        if config.get("timeZone") and _zone(str(config["timeZone"])) is None:
            problems["config.timeZone"] = ["This is no time zone; one is Europe/Prague."]
        if problems:
            raise InvalidInput(fields=problems)

    def check(self) -> Checked:
        """The token's portal is the configured one, and contacts and companies can be read."""
        account = self.account()
        self._ask("GET", f"{OBJECTS}/contacts", params={"limit": 1})
        details = {"portalId": account.id, **account.facts}
        try:
            self._ask("GET", f"{OBJECTS}/companies", params={"limit": 1})
        except ProviderRejected as error:
            if error.code != "scope_missing":
                raise
            words = (
                "Contacts can be read, companies not, which the sync needs: add the scope crm.objects.companies.read."
            )
            return Checked(words, limited=True, details=details)
        return Checked(f"The token is one of portal {account.id} and reads contacts and companies.", details=details)

    def account(self) -> CrmAccount:
        """The portal of the token; ProviderRejected where it is another than `config.portalId`."""
        answer = self._ask("GET", "/account-info/v3/details").json_object()
        portal, wanted = str(answer.get("portalId", "")), self.need("portalId")
        if portal != wanted:
            words = f"The token is one of portal {clean_words(portal, 40)}, this integration is set up for {wanted}."
            raise ProviderRejected(words, code="wrong_portal")
        self._zone = self._zone or str(answer.get("timeZone") or "")
        return CrmAccount(
            portal, {name: answer.get(name) for name in ("accountType", "timeZone", "dataHostingLocation")}
        )

    # --- writing --------------------------------------------------------------------------------------------------

    def perform_upsert_contact(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """{"id", "created"}. A contact that has the address as a second one is changed and keeps its first."""
        email = given["email"]
        properties = _texts(given.get("properties") or {})
        row = {"idProperty": "email", "id": email, "properties": {**properties, "email": email}}
        path = f"{OBJECTS}/contacts/batch/upsert"
        response = self._raw("POST", path, json={"inputs": [row]}, idempotent=True)
        conflict = EXISTING.search(_refused_words(response))
        if conflict:
            del row["properties"]["email"]
            return self._change_contact(conflict[1], row["properties"])
        answer = self.judged(response).json_object()
        if answer.get("errors"):  # 207: of one input, that one
            raise ProviderRejected(f"HubSpot refused the contact: {_refused_words(response)}")
        results = answer.get("results")
        if not isinstance(results, list) or not results or not isinstance(results[0], dict):
            raise ProviderUnavailable("HubSpot answered without the contact.")
        return {"id": str(results[0].get("id")), "created": results[0].get("new") is True}

    def _change_contact(self, contact_id: str, properties: Mapping[str, str]) -> Mapping[str, Any]:
        if properties:
            path = f"{OBJECTS}/contacts/{contact_id}"
            self._ask("PATCH", path, json={"properties": properties}, idempotent=True)
        return {"id": contact_id, "created": False}

    def perform_log_email(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """{"id", "contactId"}: an email engagement on the contact with this address (crm/activities/emails/guide)."""
        at, received = _moment(given.get("at")), given.get("direction") == "received"
        contact = self._ask(
            "GET", f"{OBJECTS}/contacts/{quote(given['email'], safe='')}", params={"idProperty": "email"}
        ).json_object()
        headers = {"from": {"email": given.get("from")}, "to": [{"email": item} for item in given.get("to") or []]}
        properties = {
            "hs_timestamp": at.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z",
            "hs_email_direction": "INCOMING_EMAIL" if received else "EMAIL",
            "hs_email_subject": given["subject"],
            "hs_email_text": given.get("body"),
            "hs_email_html": given.get("bodyHtml"),
            # Senders and recipients are shown from here; the properties of their own are read only.
            "hs_email_headers": json.dumps(headers) if given.get("from") or given.get("to") else None,
        }
        if not received:
            properties["hs_email_status"] = "SENT"
        link = {
            "to": {"id": str(contact.get("id"))},
            "types": [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": EMAIL_TO_CONTACT}],
        }
        body = {"properties": {name: value for name, value in properties.items() if value}, "associations": [link]}
        logged = self._ask("POST", f"{OBJECTS}/emails", json=body).json_object()
        return {"id": str(logged.get("id")), "contactId": str(contact.get("id"))}

    # --- reading (records.CrmSource) ------------------------------------------------------------------------------

    def entity_type(self, kind: CrmKind) -> str:
        """As configured."""
        setting = next(item.setting for item in KINDS if item.kind == kind)
        return str(self.config.get(setting) or kind)

    def read_page(self, cursor: Mapping[str, Any]) -> CrmPage:
        """The page after `cursor`; {} is the beginning of everything."""
        return changes.read_page(self._ask, cursor)

    # --- HTTP -----------------------------------------------------------------------------------------------------

    def _ask(self, method: str, path: str, **how: Any) -> Response:
        return self.judged(self._raw(method, path, **how))

    def _raw(self, method: str, path: str, **how: Any) -> Response:
        return self.ask_raw(method, f"{settings.HUBSPOT_API_URL}{path}", bearer=self.need("accessToken"), **how)

    def refusal(self, response: Response) -> None:
        """{"status", "message", "correlationId", "category" or "policyName", "errors": [{"message"}]}."""
        if response.ok or response.status == 401:
            return
        body = _body(response)
        words = clean_words(str(body.get("message") or "no reason given"))
        said = f"HubSpot answered {response.status}: {words}"
        extra = {"correlationId": clean_words(str(body["correlationId"]), 60)} if body.get("correlationId") else {}
        if wait := self._wait(response.status, body):
            code, seconds = wait
            asked = parse_retry_after(response.headers.get("retry-after"), default=seconds)
            raise ProviderRateLimited(said, code=code, retry_after=asked)
        if response.status == 403 and body.get("category") == "MISSING_SCOPES":
            scopes = ", ".join(_scopes(body))
            raise ProviderRejected(f"{said} Missing: {scopes}." if scopes else said, code="scope_missing", extra=extra)
        if response.status == 404:
            raise ProviderRejected(said, code="not_found", extra=extra)
        if 400 <= response.status < 500 and response.status not in (408, 425):
            raise ProviderRejected(said, code="conflict" if response.status == 409 else "", extra=extra)

    def _wait(self, status: int, body: dict[str, Any]) -> tuple[str, float] | None:
        """Why it asks to wait, and for how long where it does not say; None where it does not ask."""
        if status == 429:
            policy = str(body.get("policyName") or "TEN_SECONDLY_ROLLING").upper()
            if policy == "DAILY":
                return "daily_limit", self._until_midnight()
            return "", WAITS.get(policy, WAITS["TEN_SECONDLY_ROLLING"])
        return {423: ("locked", LOCKED_SECONDS), 477: ("migrating", MIGRATING_SECONDS)}.get(status)

    def _until_midnight(self) -> float:
        """Seconds until the day ends where the portal is."""
        zone = _zone(self._zone)
        if zone is None:
            return UNKNOWN_ZONE_SECONDS
        now = datetime.now(zone)
        midnight = datetime.combine(now.date() + timedelta(days=1), datetime.min.time(), tzinfo=zone)
        return (midnight.astimezone(UTC) - now.astimezone(UTC)).total_seconds()


def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name) if name else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _texts(properties: Mapping[str, Any]) -> dict[str, str]:
    """HubSpot's property values are texts; InvalidInput where one is a list or an object."""
    wrong = [name for name, value in properties.items() if isinstance(value, (list, dict))]
    if wrong:
        raise InvalidInput(fields={f"properties.{name}": ["This must be a text, number or boolean."] for name in wrong})
    return {name: _text(value) for name, value in properties.items() if value is not None}


def _text(value: object) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _moment(text: str | None) -> datetime:
    """InvalidInput where it is no time; a time without a zone is UTC."""
    try:
        moment = datetime.fromisoformat(text) if text else datetime.now(UTC)
    except ValueError as error:
        raise InvalidInput(fields={"at": ["This must be a time in ISO 8601, such as 2026-11-21T10:00:00Z."]}) from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _body(response: Response) -> dict[str, Any]:
    try:
        body = response.json()
    except ProviderUnavailable:
        return {}
    return body if isinstance(body, dict) else {}


def _scopes(body: Mapping[str, Any]) -> Iterator[str]:
    for item in body.get("errors") or []:
        context = item.get("context") if isinstance(item, dict) else None
        for name in ("requiredGranularScopes", "requiredScopes"):
            values = context.get(name) if isinstance(context, dict) else None
            yield from (clean_words(str(scope), 80) for scope in values or [])


def _refused_words(response: Response) -> str:
    """What a 409, or a 207 about its one input, says."""
    body = _body(response)
    if response.status == 409:
        return clean_words(str(body.get("message") or ""))
    errors = [item for item in body.get("errors") or [] if isinstance(item, dict)] if response.status == 207 else []
    return clean_words(str(errors[0].get("message") or "")) if errors else ""
