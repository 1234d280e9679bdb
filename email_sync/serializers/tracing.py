"""The wire format of a trace (docs/mail.md)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rest_framework import serializers

from core.api.serializers import CamelSerializer, IsoDateTimeField, wire_time
from email_sync.scope import is_imported
from email_sync.services.tracing import Copy, Finding, MailboxTrace


class TraceParameters(CamelSerializer):
    """The query of `email/trace`. `messageId` is a header's value and names no row of ours."""

    message_id = serializers.CharField(max_length=2000, help_text="The Message-ID, with or without angle brackets.")
    live = serializers.BooleanField(default=False, help_text="Ask the providers too, which takes a few seconds.")


def trace(found: MailboxTrace) -> dict[str, Any]:
    """One mailbox."""
    return {
        "connectionId": str(found.connection.pk),
        "accountEmail": found.connection.account_email,
        "stored": found.stored,
        "emails": [_copy(copy) for copy in found.copies],
        "findings": [_finding(finding) for finding in found.findings],
        "visibility": None if found.seen_by is None else _finding(found.seen_by),
        "live": None if found.live is None else _finding(found.live),
    }


def _copy(copy: Copy) -> dict[str, Any]:
    message = copy.message
    return {
        "emailId": str(message.pk),
        "threadId": str(message.thread_id),
        "remoteId": message.remote_id,
        "folders": copy.folders,
        "receivedAt": wire_time(message.received_at),
        "firstSeenAt": wire_time(message.created_at),
        "imported": is_imported(message.remote_id),
        "metadataOnly": message.body_withheld,
        "removedAt": _time(message.removed_at),
        "removedCause": message.removed_cause,
        "entities": [
            {"entityType": one.entity_type, "entityId": one.entity_id, "how": one.how} for one in copy.entities
        ],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "code": finding.code,
        "message": finding.message,
        "certain": finding.certain,
        "at": _time(finding.at),
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else wire_time(moment)


# --- for OpenAPI --------------------------------------------------------------------------------------------------


class FindingShape(CamelSerializer):
    code = serializers.CharField()
    message = serializers.CharField()
    certain = serializers.BooleanField(help_text="false where it only may explain the mail.")
    at = IsoDateTimeField(allow_null=True)


class TracedEntityShape(CamelSerializer):
    entity_type = serializers.CharField()
    entity_id = serializers.CharField()
    how = serializers.CharField()


class TracedEmailShape(CamelSerializer):
    email_id = serializers.UUIDField()
    thread_id = serializers.UUIDField()
    remote_id = serializers.CharField()
    folders = serializers.ListField(child=serializers.CharField())
    received_at = IsoDateTimeField()
    first_seen_at = IsoDateTimeField()
    imported = serializers.BooleanField()
    metadata_only = serializers.BooleanField()
    removed_at = IsoDateTimeField(allow_null=True)
    removed_cause = serializers.CharField(help_text="deleted, absent, or empty.")
    entities = TracedEntityShape(many=True)


class MailboxTraceShape(CamelSerializer):
    connection_id = serializers.UUIDField()
    account_email = serializers.CharField()
    stored = serializers.BooleanField()
    emails = TracedEmailShape(many=True)
    findings = FindingShape(many=True)
    visibility = FindingShape(allow_null=True)
    live = FindingShape(allow_null=True)


class TraceShape(CamelSerializer):
    """What is known of one Message-ID in each of the caller's mailboxes."""

    message_id = serializers.CharField()
    mailboxes = MailboxTraceShape(many=True)
