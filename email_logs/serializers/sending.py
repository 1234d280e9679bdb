"""How sending a workspace's mail looks on the wire. What may be given is declared by the providers' action `send`."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from core.api.serializers import CamelSerializer
from core.errors import InvalidInput
from email_logs.sources import SOURCES
from email_logs.states import State


class MailFileBody(CamelSerializer):
    """A file that comes with the request, or a document of the workspace."""

    document_id = serializers.UUIDField(required=False, help_text="A document that is ready: it alone.")
    file_name = serializers.CharField(required=False)
    content_type = serializers.CharField(required=False)
    content_base64 = serializers.CharField(required=False)


class WorkspaceMailBody(CamelSerializer):
    """A mail."""

    to = serializers.ListField(child=serializers.EmailField())
    cc = serializers.ListField(child=serializers.EmailField(), required=False)
    bcc = serializers.ListField(child=serializers.EmailField(), required=False)
    reply_to = serializers.ListField(child=serializers.EmailField(), required=False)
    subject = serializers.CharField(required=False, help_text="A template may have one of its own.")
    body = serializers.CharField(required=False, help_text="Text.")
    body_html = serializers.CharField(required=False)
    template_id = serializers.CharField(required=False, help_text="Of the provider; instead of text and HTML.")
    template_data = serializers.DictField(required=False)
    attachments = MailFileBody(many=True, required=False)
    from_email = serializers.EmailField(required=False, help_text="Instead of the integration's own.")
    from_name = serializers.CharField(required=False, help_text="Instead of the integration's own.")
    integration_id = serializers.UUIDField(required=False, help_text="Instead of the site email provider.")
    source = serializers.ChoiceField(SOURCES, required=False)  # type: ignore[assignment]  # the field's own attribute


class WorkspaceMailShape(CamelSerializer):
    """What became of a mail so far."""

    id = serializers.UUIDField(help_text="Of its log entry.")
    status = serializers.ChoiceField(State.choices)
    message_id = serializers.CharField(allow_blank=True, help_text="The provider's; empty before it took the mail.")
    table_id = serializers.UUIDField()
    integration_id = serializers.UUIDField()
    sent_at = serializers.DateTimeField(allow_null=True, help_text="When the provider took it.")
    suppressed = serializers.ListField(child=serializers.CharField(), help_text="Addresses it does not go to.")
    error = serializers.CharField(allow_blank=True, help_text="Why it waits, or what else is to be known.")


def split(data: object) -> tuple[dict[str, Any], str | None, str]:
    """The input of `send`, the integration's id and the source. The providers' fields check the rest."""
    if not isinstance(data, dict):
        raise InvalidInput("The body must be a JSON object.")
    given = dict(data)
    chosen, source = given.pop("integrationId", None), given.pop("source", None)
    problems = {
        name: ["This must be a text."]
        for name, value in (("integrationId", chosen), ("source", source))
        if value is not None and not isinstance(value, str)
    }
    if problems:
        raise InvalidInput(fields=problems)
    return given, chosen or None, source or ""
