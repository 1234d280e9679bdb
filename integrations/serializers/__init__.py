"""The wire format of connections, consent flows and sync runs: plain functions out, serializers in.

The `…Shape` classes describe the same answers for OpenAPI; a test holds them equal to what the functions build.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rest_framework import serializers

from core.api.pagination import PageParameters
from core.api.serializers import CamelSerializer, wire_time
from integrations.models import Connection, CoverageCheck, SyncRun, Visibility
from integrations.oauth.base import CAPABILITIES, ConnectionProvider, OAuthProvider
from integrations.oauth.imap import Imap
from integrations.serializers.shapes import (
    AuthorizationShape as AuthorizationShape,
)
from integrations.serializers.shapes import (
    ConnectionShape as ConnectionShape,
)
from integrations.serializers.shapes import (
    ConnectionStatusShape as ConnectionStatusShape,
)
from integrations.serializers.shapes import (
    CoverageCheckShape as CoverageCheckShape,
)
from integrations.serializers.shapes import (
    CoverageShape as CoverageShape,
)
from integrations.serializers.shapes import (
    ErrorShape as ErrorShape,
)
from integrations.serializers.shapes import (
    FieldShape as FieldShape,
)
from integrations.serializers.shapes import (
    LastErrorShape as LastErrorShape,
)
from integrations.serializers.shapes import (
    ProgressShape as ProgressShape,
)
from integrations.serializers.shapes import (
    ProviderShape as ProviderShape,
)
from integrations.serializers.shapes import (
    ProvidersShape as ProvidersShape,
)
from integrations.serializers.shapes import (
    RunDetailShape as RunDetailShape,
)
from integrations.serializers.shapes import (
    RunShape as RunShape,
)
from integrations.serializers.shapes import (
    RunsShape as RunsShape,
)
from integrations.serializers.shapes import (
    SyncStandingShape as SyncStandingShape,
)
from integrations.serializers.shapes import (
    TroubleShape as TroubleShape,
)
from integrations.services import capabilities, standing
from integrations.services.sync_runs import ACCEPT_REMOVALS

# --- out ----------------------------------------------------------------------------------------------------------


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else wire_time(moment)


def provider_row(provider: type[ConnectionProvider], *, connected: bool) -> dict[str, Any]:
    """A provider as `oauth/providers` shows it. `fields` is the form of one that is not connected by consent."""
    can = capabilities.of_provider(provider.key)
    scopes = provider.scopes_for(can) if issubclass(provider, OAuthProvider) else []
    return {
        "provider": provider.key,
        "name": provider.name,
        "oauth": provider.oauth,
        "configured": provider.configured(),
        "connected": connected,
        "capabilities": can,
        "scopes": scopes,
        "fields": [
            {
                "name": field.name,
                "label": field.label,
                "kind": field.kind,
                "choices": list(field.choices),
                "required": field.required,
                "help": field.help,
            }
            for field in provider.fields
        ],
    }


def connection_summary(connection: Connection) -> dict[str, Any]:
    """A connection as lists show it."""
    return {
        "id": str(connection.pk),
        "provider": connection.provider,
        "accountEmail": connection.account_email,
        "displayName": connection.display_name,
        "status": str(connection.status),
        "scopes": list(connection.scopes),
        "capabilities": capabilities.of_connection(connection),
        "visibility": connection.visibility,
        "paused": connection.paused,
        "syncEmail": connection.sync_email,
        "syncCalendar": connection.sync_calendar,
        "createdAt": _time(connection.created_at),
        "lastSyncedAt": _time(connection.last_synced_at),
        "disconnectedAt": _time(connection.disconnected_at),
    }


def connection_status(connection: Connection) -> dict[str, Any]:
    """A connection with what is wrong and how far its syncs are."""
    standings = standing.of(connection)
    return {
        **connection_summary(connection),
        "lastError": _last_error(connection),
        "tokenExpiresAt": _time(connection.token_expires_at),
        "missingScopes": capabilities.missing_scopes(connection),
        **{name: sync_standing(standings[name]) for name in CAPABILITIES},
    }


def _last_error(connection: Connection) -> dict[str, Any] | None:
    if not connection.last_error_code:
        return None
    return {
        "code": connection.last_error_code,
        "message": connection.last_error_message,
        "at": _time(connection.last_error_at),
    }


def sync_standing(sync: standing.SyncStanding) -> dict[str, Any]:
    """One kind of sync of a connection."""
    run = sync.run
    return {
        "status": str(sync.status),
        "lastSyncedAt": _time(sync.state.last_synced_at if sync.state else None),
        "nextSyncAt": _time(sync.next_sync_at),
        "progress": {
            "done": run.done if run else 0,
            "total": run.total if run else None,
            "etaSeconds": sync.eta_seconds,
        },
        "coverage": _coverage(sync),
        "heldRemovals": list(sync.held),
        "folders": [{"folder": t.folder, "problem": t.problem, "since": _time(t.since)} for t in sync.troubles],
        "push": {
            "status": str(sync.push.status),
            "via": sync.push.via,
            "expiresAt": _time(sync.push.expires_at),
            "lastNotifiedAt": _time(sync.push.last_notified_at),
            "message": sync.push.message,
        },
        "lastRun": run_detail(run) if run else None,
    }


def _coverage(sync: standing.SyncStanding) -> dict[str, Any]:
    state = sync.state
    return {
        "remote": state.coverage_remote if state else None,
        "stored": state.coverage_stored if state else None,
        "missing": state.coverage_missing if state else None,
        "incomplete": sync.incomplete,
        "checkedAt": _time(state.coverage_checked_at if state else None),
        "nextCheckAt": _time(state.next_check_at if state else None),
        "checks": [coverage_check(check) for check in sync.checks],
    }


def coverage_check(check: CoverageCheck) -> dict[str, Any]:
    """One comparison with the provider and what it mended."""
    figures = ("remote", "stored", "excluded", "missing", "fetched", "moved", "removed", "recounted")
    return {"checkedAt": _time(check.ended_at), **{name: getattr(check, name) for name in figures}}


def run_summary(run: SyncRun) -> dict[str, Any]:
    """A run as the answer to a request for one."""
    return {"id": str(run.pk), "connectionId": str(run.connection_id), "type": run.type, "status": str(run.status)}


def run_detail(run: SyncRun) -> dict[str, Any]:
    """A run with what it did."""
    return {
        **run_summary(run),
        "trigger": run.trigger,
        "startedAt": _time(run.started_at),
        "finishedAt": _time(run.finished_at),
        "added": run.added,
        "changed": run.changed,
        "removed": run.removed,
        "error": {"code": run.error_code, "message": run.error_message} if run.error_code else None,
    }


# --- in -----------------------------------------------------------------------------------------------------------


class AuthorizeParameters(CamelSerializer):
    """The query of `oauth/:provider/authorize`."""

    return_to = serializers.CharField(required=False, default="", allow_blank=True, max_length=2000)
    scopes = serializers.CharField(
        required=False, default="", allow_blank=True, help_text="Comma separated: email, calendar. Default: all."
    )
    connection_id = serializers.CharField(required=False, default="", help_text="Re-authorise this connection.")

    def asked(self) -> list[str] | None:
        """The capabilities; None where none is named."""
        names = [name.strip() for name in self.validated_data["scopes"].replace(",", " ").split()]
        return names or None


class DisconnectParameters(CamelSerializer):
    """The query of DELETE `oauth/:provider`."""

    connection_id = serializers.CharField(required=False, default="")
    purge = serializers.BooleanField(required=False, default=False, help_text="Also delete what was synced.")
    all = serializers.BooleanField(
        required=False,
        default=False,
        help_text="Purge every account of the provider, where there are several and no `connectionId` names one.",
    )


class ConnectionParameters(PageParameters):
    """The query of `connections`."""

    include_disconnected = serializers.BooleanField(required=False, default=False)


class ImapBody(CamelSerializer):
    """The body of `connections/imap`; `oauth.imap.read_form` checks what is inside."""

    email = serializers.JSONField(required=False, allow_null=True)
    imap = serializers.JSONField(required=False, allow_null=True)
    smtp = serializers.JSONField(required=False, allow_null=True)
    caldav = serializers.JSONField(required=False, allow_null=True)

    def login(self) -> dict[str, Any]:
        """The arguments of `connect_imap`."""
        return {name: self.validated_data.get(name) for name in ("email", "imap", "smtp", "caldav")}


class SyncBody(CamelSerializer):
    """The body of `connections/:id/sync`."""

    type = serializers.ChoiceField(choices=[*CAPABILITIES, "all"], default="all")
    accept_removals = serializers.BooleanField(
        default=False, help_text="Believe a removal that was held back because it was suspiciously large."
    )

    check_coverage = serializers.BooleanField(
        default=False, help_text="Also compare everything with the provider, which is otherwise done once a day."
    )

    def trigger(self) -> str:
        """What the run was started by."""
        return ACCEPT_REMOVALS if self.validated_data["accept_removals"] else "user"


class ConnectionChanges(CamelSerializer):
    """The body of PATCH `connections/:id`: any of these, or none."""

    visibility = serializers.ChoiceField(choices=Visibility.choices, required=False)
    paused = serializers.BooleanField(required=False)
    sync_email = serializers.BooleanField(required=False)
    sync_calendar = serializers.BooleanField(required=False)


def imap_schema() -> dict[str, Any]:
    """The body of `connections/imap` as JSON Schema, from the fields the provider declares."""
    schema: dict[str, Any] = {"type": "object", "properties": {}, "required": []}
    for field in Imap.fields:
        outer, _, inner = field.name.partition(".")
        home = schema
        if inner:
            empty = {"type": "object", "properties": {}, "required": []}
            home = schema["properties"].setdefault(outer, empty)
            if field.required and outer not in schema["required"]:
                schema["required"].append(outer)
        home["properties"][inner or outer] = _property(field.kind, field.label, field.choices, field.help)
        if field.required:
            home["required"].append(inner or outer)
    return schema


def _property(kind: str, label: str, choices: tuple[str, ...], words: str) -> dict[str, Any]:
    described: dict[str, Any] = {"type": "integer" if kind == "port" else "string"}
    described["description"] = f"{label}. {words}".strip()
    if choices:
        described["enum"] = list(choices)
    if kind == "secret":
        described |= {"format": "password", "writeOnly": True}
    return described
