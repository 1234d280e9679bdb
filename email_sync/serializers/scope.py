"""The wire format of a mailbox's scope (docs/mail.md)."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from core.api.serializers import CamelSerializer, IsoDateTimeField, wire_time
from email_sync.models import ExcludedReason, Folder, FolderRule, MailScope, ScopeChange
from email_sync.services import scope_changes, scoping
from email_sync.services.scope_preview import Preview

MAX_FOLDERS, MAX_BLOCKED, MAX_DAYS = 1000, 1000, 36_500


# --- out ----------------------------------------------------------------------------------------------------------


def scope(row: MailScope, change: ScopeChange | None) -> dict[str, Any]:
    """The saved wish, what there is to choose from, what it keeps out, and how far the last change is."""
    folders = Folder.objects.filter(connection=row.connection_id).order_by("name", "id")
    kept_out = scoping.kept_out(row.connection)
    return {
        "connectionId": str(row.connection_id),
        **_wish(row),
        "available": [{"id": f.remote_id, "name": f.name, "role": f.role} for f in folders],
        "excluded": {reason: kept_out.get(reason, 0) for reason in ExcludedReason.values},
        "change": None if change is None else _change(change),
    }


def _wish(row: MailScope) -> dict[str, Any]:
    return {
        "folders": {"rule": row.folder_rule, "list": row.folder_ids},
        "days": row.days,
        "since": wire_time(row.since) if row.since else None,
        "blocklist": row.blocked,
        "metadataOnly": row.metadata_only,
    }


def _change(change: ScopeChange) -> dict[str, Any]:
    return {
        "id": str(change.pk),
        "status": change.status,
        "progress": {"done": change.done, "total": max(change.total, change.done)},
        "removed": change.removed,
        "reduced": change.reduced,
        "startedAt": wire_time(change.created_at),
        "finishedAt": wire_time(change.finished_at) if change.finished_at else None,
    }


def preview(row: MailScope, seen: Preview) -> dict[str, Any]:
    """What a wish would do."""
    return {
        **_wish(row),
        "examined": seen.examined,
        "stay": seen.stay,
        "go": seen.go,
        "reduced": seen.reduced,
        "returning": seen.returning,
        "rules": [
            {
                "reason": outcome.reason,
                "rule": outcome.rule,
                "count": outcome.count,
                "examples": [
                    {
                        "id": str(message.pk),
                        "subject": message.subject,
                        "from": {"name": message.from_name, "email": message.from_email},
                        "receivedAt": wire_time(message.received_at),
                    }
                    for message in outcome.examples
                ],
            }
            for outcome in seen.rules
        ],
    }


# --- in -----------------------------------------------------------------------------------------------------------


class FoldersBody(CamelSerializer):
    """Which folders or labels, by the ids that `available` names."""

    rule = serializers.ChoiceField(choices=FolderRule.choices)
    list = serializers.ListField(child=serializers.CharField(max_length=500), required=False, max_length=MAX_FOLDERS)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["rule"] != FolderRule.ALL and not attrs.get("list"):
            raise serializers.ValidationError({"list": ["Name at least one folder."]})
        return attrs


class ScopeBody(CamelSerializer):
    """A wish, whole or in part."""

    folders = FoldersBody(required=False)
    days = serializers.IntegerField(
        required=False,
        allow_null=True,
        min_value=0,
        max_value=MAX_DAYS,
        help_text="How far back from today; 0 is everything, null what the operator set.",
    )
    blocklist = serializers.ListField(
        child=serializers.CharField(max_length=320),
        required=False,
        max_length=MAX_BLOCKED,
        help_text="Addresses and domains; mail from or to them is not stored.",
    )
    metadata_only = serializers.BooleanField(required=False, help_text="Keep no text and no attachment names.")

    def changes(self) -> dict[str, object]:
        """Columns of MailScope. InvalidInput for an entry of the blocklist that is no address or domain."""
        given = dict(self.validated_data)
        changes: dict[str, object] = {name: given[name] for name in ("days", "metadata_only") if name in given}
        if "folders" in given:
            changes["folder_rule"] = given["folders"]["rule"]
            changes["folder_ids"] = given["folders"].get("list", [])
        if "blocklist" in given:
            changes["blocked"] = [scope_changes.blocked_entry(text) for text in given["blocklist"]]
        return changes


# --- for OpenAPI --------------------------------------------------------------------------------------------------


class FoldersShape(CamelSerializer):
    rule = serializers.ChoiceField(choices=FolderRule.choices)
    list = serializers.ListField(child=serializers.CharField())


class WishShape(CamelSerializer):
    """What a user wants of a mailbox."""

    folders = FoldersShape()
    days = serializers.IntegerField(allow_null=True)
    since = IsoDateTimeField(allow_null=True)
    blocklist = serializers.ListField(child=serializers.CharField())
    metadata_only = serializers.BooleanField()


class FolderShape(CamelSerializer):
    id = serializers.CharField()
    name = serializers.CharField()
    role = serializers.CharField()


class ReasonCountsShape(CamelSerializer):
    folder = serializers.IntegerField()
    age = serializers.IntegerField()
    blocked = serializers.IntegerField()


class CountedProgressShape(CamelSerializer):
    done = serializers.IntegerField()
    total = serializers.IntegerField()


class ScopeChangeShape(CamelSerializer):
    """The work that followed the last saving."""

    id = serializers.UUIDField()
    status = serializers.CharField()
    progress = CountedProgressShape()
    removed = serializers.IntegerField()
    reduced = serializers.IntegerField()
    started_at = IsoDateTimeField()
    finished_at = IsoDateTimeField(allow_null=True)


class ScopeShape(WishShape):
    """The saved wish and what came of it."""

    connection_id = serializers.UUIDField()
    available = FolderShape(many=True)
    excluded = ReasonCountsShape()
    change = ScopeChangeShape(allow_null=True)


class SenderShape(CamelSerializer):
    name = serializers.CharField()
    email = serializers.CharField()


class ExampleShape(CamelSerializer):
    id = serializers.UUIDField()
    subject = serializers.CharField()
    received_at = IsoDateTimeField()

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """`from` is a Python keyword, so it cannot be declared above."""
        return {**super().get_fields(), "from": SenderShape()}


class RuleOutcomeShape(CamelSerializer):
    reason = serializers.ChoiceField(choices=ExcludedReason.choices)
    rule = serializers.CharField()
    count = serializers.IntegerField()
    examples = ExampleShape(many=True)


class PreviewShape(WishShape):
    """What a wish would do to the newest mails."""

    examined = serializers.IntegerField()
    stay = serializers.IntegerField()
    go = serializers.IntegerField()
    reduced = serializers.IntegerField()
    returning = ReasonCountsShape()
    rules = RuleOutcomeShape(many=True)
