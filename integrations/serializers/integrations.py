"""How integrations look on the wire: the second source document's names, and what CONTRACT 5 adds."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.conf import settings
from django.urls import reverse
from django.utils import timezone
from rest_framework import serializers

from core.api.serializers import CamelSerializer, wire_time
from core.errors import InvalidInput
from core.work import WorkStatus
from integrations import fields
from integrations.models import ContactSync, Integration
from integrations.models.integration import MAX_NAME
from integrations.providers import INTEGRATION_PROVIDERS
from integrations.services import queued_actions
from integrations.services.integration_actions import Performed
from integrations.services.integration_use import Tested
from integrations.services.integrations import provider_of, shown_config


def one_line(value: str) -> None:
    """A name goes into subjects of mail and lines of logs."""
    if not fields.ONE_LINE.fullmatch(value):
        raise serializers.ValidationError("This must be one line, without control characters.")


class IntegrationParameters(CamelSerializer):
    """Query of the list."""

    type = serializers.CharField(required=False)
    enabled = serializers.BooleanField(required=False)


class IntegrationChanges(CamelSerializer):
    """Body of a change."""

    name = serializers.CharField(max_length=MAX_NAME, required=False, validators=[one_line])
    config = serializers.DictField(required=False, help_text="By type: see integrations/types.")
    credentials = serializers.DictField(required=False, write_only=True, help_text="By type. Never shown again.")
    enabled = serializers.BooleanField(required=False)
    set_as_site_email_provider = serializers.BooleanField(required=False, source="site_email_provider")


class IntegrationBody(IntegrationChanges):
    """Body of a new one."""

    name = serializers.CharField(max_length=MAX_NAME, validators=[one_line])
    type = serializers.CharField(max_length=60)
    config = serializers.DictField(default=dict, help_text="By type: see integrations/types.")
    credentials = serializers.DictField(default=dict, write_only=True, help_text="By type. Never shown again.")
    enabled = serializers.BooleanField(default=True)
    set_as_site_email_provider = serializers.BooleanField(default=False, source="site_email_provider")


class IntegrationShape(CamelSerializer):
    """One in the list."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    type = serializers.CharField()
    config = serializers.DictField()
    enabled = serializers.BooleanField()
    is_site_email_provider = serializers.BooleanField()
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()


class HealthShape(CamelSerializer):
    """How it is."""

    status = serializers.ChoiceField(["unknown", "ok", "limited", "failing", "needs_reconnect"])
    code = serializers.CharField(allow_blank=True)
    message = serializers.CharField(allow_blank=True)
    checked_at = serializers.DateTimeField(allow_null=True)
    failing_since = serializers.DateTimeField(allow_null=True)


class SyncErrorShape(CamelSerializer):
    """What stopped it last."""

    code = serializers.CharField()
    message = serializers.CharField()
    at = serializers.DateTimeField(allow_null=True)


class ContactSyncShape(CamelSerializer):
    """How the sync of contacts and companies stands. The counters are those of the last run."""

    id = serializers.UUIDField()
    run = serializers.IntegerField(help_text="Which one it is.")
    status = serializers.ChoiceField(WorkStatus.choices)
    trigger = serializers.ChoiceField(["schedule", "manual"])
    done = serializers.IntegerField(help_text="Records looked at.")
    total = serializers.IntegerField(help_text="Records there are to look at, as far as is known yet.")
    matches_made = serializers.IntegerField()
    matches_removed = serializers.IntegerField()
    skipped = serializers.DictField(child=serializers.IntegerField(), help_text="Names without a match, by reason.")
    started_at = serializers.DateTimeField(allow_null=True)
    last_synced_at = serializers.DateTimeField(allow_null=True)
    next_sync_at = serializers.DateTimeField(allow_null=True)
    last_error = SyncErrorShape(allow_null=True)


class MirrorShape(CamelSerializer):
    """How the mirror of the email log stands. `done` and `total` are those of the last run."""

    id = serializers.UUIDField()
    run = serializers.IntegerField(help_text="Which one it is.")
    status = serializers.ChoiceField(WorkStatus.choices)
    trigger = serializers.ChoiceField(["schedule", "manual"])
    table = serializers.CharField(help_text="The outside table, as configured.")
    done = serializers.IntegerField(help_text="Rows written.")
    total = serializers.IntegerField(help_text="Rows there were to write when it began or went on.")
    total_is_exact = serializers.BooleanField(help_text="false where counting stopped at `total`.")
    written = serializers.IntegerField(help_text="Rows written to this table in all; one that changed counts again.")
    started_at = serializers.DateTimeField(allow_null=True)
    last_mirrored_at = serializers.DateTimeField(allow_null=True, help_text="The table then was what the log was.")
    next_attempt_at = serializers.DateTimeField(allow_null=True, help_text="Where it waits.")
    last_error = SyncErrorShape(allow_null=True, help_text="Also why it waits.")


class IntegrationDetailShape(IntegrationShape):
    """One alone."""

    mirror = MirrorShape(allow_null=True, help_text="null where no email log is mirrored.")
    sync = ContactSyncShape(allow_null=True, help_text="null where nothing is followed.")
    credentials_configured = serializers.BooleanField()
    credential_age = serializers.IntegerField(allow_null=True, help_text="Days since the credentials were given.")
    credentials_changed_at = serializers.DateTimeField(allow_null=True)
    health = HealthShape()
    hook_url = serializers.CharField(allow_null=True, help_text="Where the vendor is to post its signed events.")


class StatsShape(CamelSerializer):
    """Counts."""

    total = serializers.IntegerField()
    enabled = serializers.IntegerField()
    disabled = serializers.IntegerField()
    by_type = serializers.DictField(child=serializers.IntegerField())


class ActionTypeShape(CamelSerializer):
    """An action of a type."""

    name = serializers.CharField()
    title = serializers.CharField()
    description = serializers.CharField(allow_blank=True)
    idempotent = serializers.BooleanField()
    input = serializers.DictField()


class TypeShape(CamelSerializer):
    """A type."""

    type = serializers.CharField()
    name = serializers.CharField()
    description = serializers.CharField()
    capabilities = serializers.ListField(child=serializers.CharField())
    config = serializers.DictField()
    credentials = serializers.DictField()
    actions = ActionTypeShape(many=True)


class TypesShape(CamelSerializer):
    """All types."""

    types = TypeShape(many=True)


class TemplateShape(serializers.Serializer[Any]):
    """A template; `created_at` as the source document writes it."""

    id = serializers.CharField()
    name = serializers.CharField()
    created_at = serializers.DateTimeField(allow_null=True)


class TemplatesShape(serializers.Serializer[Any]):
    """All templates."""

    templates = TemplateShape(many=True)


class TestedShape(CamelSerializer):
    """What a live check came to."""

    ok = serializers.BooleanField()
    message = serializers.CharField()
    code = serializers.CharField(allow_blank=True)
    latency_ms = serializers.IntegerField()
    details = serializers.DictField()


class ActionBody(serializers.Serializer[Any]):
    """Input of an action; which fields, `integrations/types` says."""


class ActionShape(CamelSerializer):
    """What an action gave."""

    action = serializers.CharField()
    result = serializers.DictField()


def summary(row: Integration) -> dict[str, Any]:
    """As `IntegrationShape`. Opens no secret."""
    return {
        "id": str(row.pk),
        "name": row.name,
        "type": row.type,
        "config": shown_config(row),
        "enabled": row.enabled,
        "isSiteEmailProvider": row.is_site_email_provider,
        "createdAt": wire_time(row.created_at),
        "updatedAt": wire_time(row.updated_at),
    }


def contact_sync(row: ContactSync) -> dict[str, Any]:
    """As `ContactSyncShape`."""
    error = {"code": row.error_code, "message": row.error_message, "at": _time(row.error_at)}
    resting = row.status in (WorkStatus.DONE, WorkStatus.FAILED)
    return {
        "id": str(row.pk),
        "run": row.run,
        "status": row.status,
        "trigger": row.trigger,
        "done": row.done,
        "total": row.total,
        "matchesMade": row.made,
        "matchesRemoved": row.removed,
        "skipped": row.skipped,
        "startedAt": _time(row.started_at),
        "lastSyncedAt": _time(row.last_synced_at),
        "nextSyncAt": _time(row.next_sync_at) if resting else None,
        "lastError": error if row.error_code else None,
    }


def performed(action: str, done: Performed) -> dict[str, Any]:
    """As `ActionShape`."""
    result: Mapping[str, Any] = done.result
    if isinstance(done.work, ContactSync):
        result = {"run": contact_sync(done.work)}
    elif done.work is not None:
        result = {"run": queued_actions.registered()[action].show(done.work)}
    return {"action": action, "result": result}


def _time(moment: datetime | None) -> str | None:
    return wire_time(moment) if moment else None


def detail(row: Integration) -> dict[str, Any]:
    """As `IntegrationDetailShape`."""
    changed = row.credentials_changed_at
    sync = ContactSync.objects.filter(integration=row).first()
    return {
        **summary(row),
        "sync": contact_sync(sync) if sync else None,
        **queued_actions.shown(row),
        "credentialsConfigured": row.has_credentials,
        "credentialAge": (timezone.now() - changed).days if changed else None,
        "credentialsChangedAt": wire_time(changed) if changed else None,
        "health": {
            "status": row.health,
            "code": row.health_code,
            "message": row.health_message,
            "checkedAt": wire_time(row.health_checked_at) if row.health_checked_at else None,
            "failingSince": wire_time(row.failing_since) if row.failing_since else None,
        },
        "hookUrl": hook_url(row),
    }


def hook_url(row: Integration) -> str | None:
    """Where its vendor is to post signed events; None where it posts none."""
    word = provider_of(row).hook_word
    if not word:
        return None
    return settings.PUBLIC_URL.rstrip("/") + reverse("email-logs:hook", args=[word, row.pk])


def types() -> list[dict[str, Any]]:
    """As `TypeShape`, in the registry's order."""
    return [_type(key) for key in INTEGRATION_PROVIDERS]


def _type(key: str) -> dict[str, Any]:
    provider = INTEGRATION_PROVIDERS.get(key)
    return {
        "type": key,
        "name": provider.name,
        "description": provider.description,
        "capabilities": sorted(provider.capabilities),
        "config": fields.schema(provider.all_config_fields()),
        "credentials": fields.schema(provider.credential_fields),
        "actions": [
            {
                "name": action.name,
                "title": action.label,
                "description": action.help,
                "idempotent": action.idempotent,
                "input": fields.schema(action.input),
            }
            for action in provider.actions
        ],
    }


def tested(result: Tested) -> dict[str, Any]:
    """As `TestedShape`."""
    return {
        "ok": result.ok,
        "message": result.message,
        "code": result.code,
        "latencyMs": result.latency_ms,
        "details": dict(result.details or {}),
    }


def action_input(data: object) -> Mapping[str, Any]:
    """The body as an object; an empty body is one too."""
    if data in (None, "", b""):
        return {}
    if not isinstance(data, Mapping):
        raise InvalidInput("The body must be a JSON object.")
    return data
