"""A workspace's integrations: made, changed, removed. Called by the API and the console.

Every change is one transaction with its audit row (names of fields, never values) and its event. Promised: credentials
are sealed before they are written and never come back; at most one integration is the site email provider, also under a
race; whatever stops an integration (disabled, deleted) holds from the commit on, because all work asks the row.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django.db import transaction
from django.db.models import Count, Q
from django.db.models.functions import Now
from django.utils import timezone

from core.crypto import fingerprint
from core.errors import Conflict, InvalidInput
from integrations.models import EventType, Health, Integration
from integrations.providers import INTEGRATION_PROVIDERS
from integrations.providers.base import EMAIL, EVENTS_FIELD, IntegrationProvider
from integrations.services import events, subscriptions
from integrations.services.integration_forms import FINGERPRINT, Filled, read_changes, read_new, refuse_addresses
from workspaces.models import Workspace
from workspaces.services import audit

if TYPE_CHECKING:
    from workspaces.models import User

MOST = 200
"""Integrations of one workspace: the list is a bare array, so it has an end."""
FIRST_FELT_CHECK = timedelta(days=1)
RETIRED_FOR = timedelta(hours=24)
"""How long a replaced signing secret goes on signing beside its successor."""


def provider_of(integration: Integration) -> type[IntegrationProvider]:
    """The class of its type."""
    return INTEGRATION_PROVIDERS.get(integration.type)


def create(
    *,
    workspace: Workspace,
    by: User,
    name: str,
    type: str,
    config: Mapping[str, Any],
    credentials: Mapping[str, Any],
    enabled: bool = True,
    site_email_provider: bool = False,
) -> Integration:
    """A new one. InvalidInput naming what is wrong; Conflict where there are too many."""
    if type not in INTEGRATION_PROVIDERS:
        words = f"{type[:60]!r} is no type; there are: {', '.join(INTEGRATION_PROVIDERS)}."
        raise InvalidInput(fields={"type": [words]})
    provider = INTEGRATION_PROVIDERS.get(type)
    filled = read_new(provider, config=config, credentials=credentials)
    refuse_addresses(provider, filled.config)
    integration = Integration(workspace=workspace, name=name, type=type, enabled=enabled, created_by=by)
    _require_site(integration, provider, wanted=site_email_provider)
    _fill(integration, provider, filled, retired=[])
    _health_unknown(integration, provider)
    integration.credentials_changed_at = timezone.now() if filled.credentials else None
    with transaction.atomic():
        Workspace.objects.select_for_update(no_key=True).get(pk=workspace.pk)
        if Integration.objects.in_workspace(workspace).existing().count() >= MOST:
            raise Conflict(f"A workspace has at most {MOST} integrations; delete one first.", code="limit_reached")
        if site_email_provider:
            _move_site(integration)
        integration.save(force_insert=True)
        integration.refresh_from_db()
        subscriptions.begin(integration)
        _record(integration, "created", by, {"type": type, "fields": _names(filled), "enabled": enabled})
    return integration


def change(*, integration: Integration, by: User, given: Mapping[str, Any]) -> Integration:
    """Lay `given` (name, config, credentials, enabled, site_email_provider; what is absent stays) over it.
    `credentials` replaces all of them, `new_credentials` only those it names."""
    provider = provider_of(integration)
    refuse_addresses(provider, given.get("config") or {})
    with transaction.atomic():
        # The workspace first, as `create` does: two changes that both move the site provider wait here. Without its
        # key, since who holds the integration and writes an event of the workspace must not wait for us in turn.
        Workspace.objects.select_for_update(no_key=True).get(pk=integration.workspace_id)
        locked = Integration.objects.existing().select_for_update(no_key=True).fetch(integration.pk)
        before = filled_of(locked)
        after = read_changes(
            provider,
            config=given.get("config"),
            credentials=given.get("credentials"),
            new_credentials=given.get("new_credentials"),
            before=before,
            shown=shown_config(locked),
        )
        chosen = EVENTS_FIELD.name
        if before.config.get(chosen) != after.config.get(chosen) or not given.get("enabled", True):
            subscriptions.catch_up(locked)
        changes = _apply(locked, provider, before, after, given)
        if changes:
            locked.updated_at = datetime.now(UTC)
            locked.save()
            if changes.get("enabled"):
                subscriptions.begin(locked)
            _record(locked, "updated", by, changes)
    return locked


def remove(*, integration: Integration, by: User) -> None:
    """Its secrets go at once, nothing is sent through it any more; its history stays readable."""
    with transaction.atomic():
        locked = Integration.objects.existing().select_for_update(no_key=True).fetch(integration.pk)
        locked.credentials, locked.masks = None, {}
        locked.has_credentials = locked.enabled = locked.is_site_email_provider = False
        locked.deleted_at = timezone.now()
        locked.save()
        _record(locked, "deleted", by, {"type": locked.type})


def switch_off(*, integration: Integration, why: str) -> Integration | None:
    """As when somebody disables it, by the system itself and inside the caller's transaction. None where it was changed
    since `integration` was read: what it is switched off for may be mended."""
    Workspace.objects.select_for_update(no_key=True).get(pk=integration.workspace_id)
    same = Integration.objects.enabled().filter(pk=integration.pk, updated_at=integration.updated_at)
    locked = same.select_for_update(of=("self",), no_key=True).select_related("workspace").first()
    if locked is not None:
        subscriptions.catch_up(locked)
        locked.enabled = locked.is_site_email_provider = False
        locked.updated_at = datetime.now(UTC)
        locked.save(update_fields=("enabled", "is_site_email_provider", "updated_at"))
        _record(locked, "updated", None, {"enabled": False, "reason": why})
    return locked


def filled_of(integration: Integration) -> Filled:
    """What it was filled with, secret settings and credentials opened."""
    secrets = integration.secrets
    return Filled({**integration.config, **secrets.get("config", {})}, dict(secrets.get("credentials", {})))


def given_secrets(integration: Integration) -> frozenset[str]:
    """The names of the credentials and secret settings that are there, for a form that must not show them."""
    secrets = integration.secrets
    return frozenset({*secrets.get("credentials", {}), *secrets.get("config", {})})


def shown_config(integration: Integration) -> dict[str, Any]:
    """`config` as answers show it: secret settings masked, the main credential's fingerprint beside them."""
    shown = {**integration.config, **integration.masks}
    if integration.fingerprint:
        shown[FINGERPRINT] = integration.fingerprint
    return shown


def stats(workspace: Workspace) -> dict[str, Any]:
    """Counts by state and type."""
    rows = Integration.objects.in_workspace(workspace).existing().order_by("type")
    by_type = {row["type"]: row for row in rows.values("type").annotate(n=Count("pk"), on=Count("pk", Q(enabled=True)))}
    total, enabled = (sum(row[key] for row in by_type.values()) for key in ("n", "on"))
    counts = {type: row["n"] for type, row in by_type.items()}
    return {"total": total, "enabled": enabled, "disabled": total - enabled, "byType": counts}


# --- inside a change ----------------------------------------------------------------------------------------------


def _apply(
    row: Integration, provider: type[IntegrationProvider], before: Filled, after: Filled, given: Mapping[str, Any]
) -> dict[str, object]:
    """Set the row's columns; what is to be said of it in the trail."""
    changes: dict[str, object] = {}
    if "name" in given and given["name"] != row.name:
        changes["name"], row.name = given["name"], given["name"]
    fields = _changed(before, after)
    if fields or given.get("credentials") is not None:
        changes["fields"] = fields
        _fill(row, provider, after, retired=_retired(row, provider, before, after))
        _health_unknown(row, provider)
    if before.credentials != after.credentials:
        row.credentials_changed_at = timezone.now() if after.credentials else None
        changes["credentials"] = "changed" if after.credentials else "cleared"
    enabled = given.get("enabled", row.enabled)
    if enabled != row.enabled:
        changes["enabled"] = row.enabled = enabled
        _health_unknown(row, provider)
    _apply_site(row, provider, given, changes)
    return changes


def _apply_site(
    row: Integration, provider: type[IntegrationProvider], given: Mapping[str, Any], changes: dict[str, object]
) -> None:
    wanted = given.get("site_email_provider")
    _require_site(row, provider, wanted=bool(wanted))
    site = row.is_site_email_provider if wanted is None else bool(wanted)
    site = site and row.enabled
    if site != row.is_site_email_provider:
        changes["isSiteEmailProvider"] = site
        if site:
            _move_site(row)
        row.is_site_email_provider = site


def _require_site(row: Integration, provider: type[IntegrationProvider], *, wanted: bool) -> None:
    if not wanted:
        return
    if EMAIL not in provider.capabilities:
        words = "Only an email provider can be the workspace's site email provider."
        raise InvalidInput(fields={"setAsSiteEmailProvider": [words]})
    if not row.enabled:
        words = "A disabled integration cannot be the workspace's site email provider."
        raise InvalidInput(fields={"setAsSiteEmailProvider": [words]})


def _move_site(row: Integration) -> None:
    """Away from whichever has it; the workspace's row is locked, so nobody moves it meanwhile."""
    holders = Integration.objects.in_workspace(row.workspace_id).filter(is_site_email_provider=True)
    holders.exclude(pk=row.pk).update(is_site_email_provider=False, updated_at=Now())
    row.is_site_email_provider = True


def _fill(row: Integration, provider: type[IntegrationProvider], filled: Filled, *, retired: list[Any]) -> None:
    secret = {field.name for field in provider.config_fields if field.secret}
    hidden = {name: value for name, value in filled.config.items() if name in secret}
    row.config = {name: value for name, value in filled.config.items() if name not in secret}
    row.masks = {name: mask(str(value)) for name, value in hidden.items()}
    sealed = {"credentials": filled.credentials, "config": hidden, "retired": retired}
    row.credentials = sealed if filled.credentials or hidden or retired else None
    row.has_credentials = _complete(provider, filled)
    main = next((filled.credentials[f.name] for f in provider.credential_fields if filled.credentials.get(f.name)), "")
    row.fingerprint = fingerprint(str(main), workspace_id=row.workspace_id) if main else ""


def _complete(provider: type[IntegrationProvider], filled: Filled) -> bool:
    """Whether what the vendor needs to know us by is there."""
    required = [field.name for field in provider.credential_fields if field.required]
    secret = any(filled.config.get(field.name) for field in provider.config_fields if field.secret)
    if required:
        return all(filled.credentials.get(name) for name in required)
    return bool(filled.credentials) or secret


def mask(value: str) -> str:
    """A secret URL as it is shown: where it leads, and nothing of what opens it."""
    parts = urlsplit(value)
    return f"{parts.scheme}://{parts.hostname}/...****" if parts.hostname else "...****"


def _retired(row: Integration, provider: type[IntegrationProvider], before: Filled, after: Filled) -> list[Any]:
    """Earlier values of the credential that rotates, each until its day is over; none where it leads elsewhere now."""
    name = provider.rotates
    if not name or not after.credentials:
        return []
    now = timezone.now()
    kept = [entry for entry in row.secrets.get("retired", ()) if datetime.fromisoformat(entry["until"]) > now]
    old, new = before.credentials.get(name), after.credentials.get(name)
    if old and old != new:
        kept.insert(0, {"name": name, "value": old, "until": (now + RETIRED_FOR).isoformat()})
    return [entry for entry in kept if entry["value"] != new][:3]


def _health_unknown(row: Integration, provider: type[IntegrationProvider]) -> None:
    """What was found out was of other settings; it is checked again soon."""
    row.health, row.health_code, row.health_message, row.health_checked_at = Health.UNKNOWN, "", "", None
    row.check_failures = 0
    row.next_check_at = timezone.now() + (FIRST_FELT_CHECK if provider.felt else timedelta(0))


def _changed(before: Filled, after: Filled) -> list[str]:
    """Dotted names of what differs."""
    halves = (("config", before.config, after.config), ("credentials", before.credentials, after.credentials))
    return sorted(
        f"{half}.{name}" for half, old, new in halves for name in {*old, *new} if old.get(name) != new.get(name)
    )


def _names(filled: Filled) -> list[str]:
    return _changed(Filled({}, {}), filled)


def _record(integration: Integration, verb: str, by: User | None, changes: Mapping[str, object]) -> None:
    audit.record(
        by=by, workspace=integration.workspace, action=f"integration.{verb}", target=integration, changes=changes
    )
    events.record(
        workspace_id=integration.workspace_id,
        type=EventType(f"integration.{verb}"),
        payload={"integrationId": str(integration.pk), "integrationType": integration.type},
    )
