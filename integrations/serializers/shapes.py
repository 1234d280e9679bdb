"""The shapes of answers, for OpenAPI. A test holds them equal to what the functions of this package build."""

from __future__ import annotations

from rest_framework import serializers

from core.api.serializers import CamelSerializer, IsoDateTimeField
from core.work import WorkStatus
from integrations.models import ConnectionStatus, Visibility
from integrations.services import standing


class FieldShape(CamelSerializer):
    """A field of a connect form."""

    name = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]
    kind = serializers.CharField()
    choices = serializers.ListField(child=serializers.CharField())
    required = serializers.BooleanField()  # type: ignore[assignment]
    help = serializers.CharField()


class ProviderShape(CamelSerializer):
    """A connection provider."""

    provider = serializers.CharField()
    name = serializers.CharField()
    oauth = serializers.BooleanField()
    configured = serializers.BooleanField()
    connected = serializers.BooleanField()
    capabilities = serializers.ListField(child=serializers.CharField())
    scopes = serializers.ListField(child=serializers.CharField())
    fields_ = FieldShape(many=True)


class ProvidersShape(CamelSerializer):
    """All connection providers."""

    providers = ProviderShape(many=True)


class AuthorizationShape(CamelSerializer):
    """Where to send the user."""

    authorization_url = serializers.URLField()
    expires_at = IsoDateTimeField()


class ConnectionShape(CamelSerializer):
    """A connection."""

    id = serializers.UUIDField()
    provider = serializers.CharField()
    account_email = serializers.EmailField()
    display_name = serializers.CharField()
    status = serializers.ChoiceField(choices=ConnectionStatus.choices)
    scopes = serializers.ListField(child=serializers.CharField())
    capabilities = serializers.ListField(child=serializers.CharField())
    visibility = serializers.ChoiceField(choices=Visibility.choices)
    paused = serializers.BooleanField()
    sync_email = serializers.BooleanField()
    sync_calendar = serializers.BooleanField()
    created_at = IsoDateTimeField()
    last_synced_at = IsoDateTimeField(allow_null=True)
    disconnected_at = IsoDateTimeField(allow_null=True)


class RunShape(CamelSerializer):
    """A sync run."""

    id = serializers.UUIDField()
    connection_id = serializers.UUIDField()
    type = serializers.CharField()
    status = serializers.ChoiceField(choices=WorkStatus.choices)


class RunsShape(CamelSerializer):
    """Runs that are under way."""

    runs = RunShape(many=True)


class ErrorShape(CamelSerializer):
    """What went wrong, in the provider's words."""

    code = serializers.CharField()
    message = serializers.CharField()


class LastErrorShape(ErrorShape):
    """… and when."""

    at = IsoDateTimeField()


class RunDetailShape(RunShape):
    """A sync run with what it did."""

    trigger = serializers.CharField()
    started_at = IsoDateTimeField(allow_null=True)
    finished_at = IsoDateTimeField(allow_null=True)
    added = serializers.IntegerField()
    changed = serializers.IntegerField()
    removed = serializers.IntegerField()
    error = ErrorShape(allow_null=True)


class ProgressShape(CamelSerializer):
    """How far a run is."""

    done = serializers.IntegerField()
    total = serializers.IntegerField(allow_null=True)
    eta_seconds = serializers.IntegerField(allow_null=True)


class CoverageCheckShape(CamelSerializer):
    """A comparison with the provider, and what it mended."""

    checked_at = IsoDateTimeField()
    remote = serializers.IntegerField()
    stored = serializers.IntegerField()
    excluded = serializers.IntegerField(help_text="Left out by the mailbox's own scope.")
    missing = serializers.IntegerField(help_text="Still missing after the repair.")
    fetched = serializers.IntegerField()
    moved = serializers.IntegerField(help_text="Found in another folder than it was believed to be in.")
    removed = serializers.IntegerField()
    recounted = serializers.IntegerField(help_text="Counters of folders and threads that were wrong.")


class CoverageShape(CamelSerializer):
    """What is stored beside what the provider has."""

    remote = serializers.IntegerField(allow_null=True)
    stored = serializers.IntegerField(allow_null=True)
    missing = serializers.IntegerField(allow_null=True)
    incomplete = serializers.IntegerField(
        help_text="Listed by the provider, which has not given them whole yet: they are asked for again and again."
    )
    checked_at = IsoDateTimeField(allow_null=True)
    next_check_at = IsoDateTimeField(allow_null=True)
    checks = CoverageCheckShape(many=True, help_text="The last ones, newest first.")


class TroubleShape(CamelSerializer):
    """A folder that does not sync."""

    folder = serializers.CharField()
    problem = serializers.CharField()
    since = IsoDateTimeField(allow_null=True)


class PushShape(CamelSerializer):
    """A provider that tells of changes before it is asked."""

    status = serializers.ChoiceField(choices=["active", "off", "failed"])
    via = serializers.CharField(help_text="How, in a word; empty where there is no way.")
    expires_at = IsoDateTimeField(allow_null=True)
    last_notified_at = IsoDateTimeField(allow_null=True)
    message = serializers.CharField(help_text="Why it is not active.")


class SyncStandingShape(CamelSerializer):
    """One kind of sync of a connection."""

    status = serializers.ChoiceField(choices=standing.SyncStatus.choices)
    last_synced_at = IsoDateTimeField(allow_null=True)
    next_sync_at = IsoDateTimeField(allow_null=True)
    progress = ProgressShape()
    coverage = CoverageShape()
    held_removals = serializers.ListField(
        child=serializers.CharField(), help_text="Removals not believed; `acceptRemovals` on a sync believes them."
    )
    folders = TroubleShape(many=True, help_text="Those that do not sync, and why.")
    push = PushShape(help_text="Whether the provider tells of changes by itself. Polling goes on in every case.")
    last_run = RunDetailShape(allow_null=True)


class ConnectionStatusShape(ConnectionShape):
    """A connection with what is wrong and how far its syncs are."""

    last_error = LastErrorShape(allow_null=True)
    token_expires_at = IsoDateTimeField(allow_null=True)
    missing_scopes = serializers.ListField(child=serializers.CharField())
    email = SyncStandingShape()
    calendar = SyncStandingShape()
