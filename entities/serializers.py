"""The wire form of entities and matches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from core.api.pagination import PageParameters
from core.api.serializers import CamelSerializer, IsoDateTimeField, wire_time
from entities.models import MAX_ID, MAX_TYPE, SYNCED, AddressMatch
from entities.services import matches

if TYPE_CHECKING:
    from workspaces.models import User, Workspace

MATCH_SOURCES = [("manual", "manual"), (SYNCED, SYNCED)]
ENTITY_TYPE = rf"^[A-Za-z][A-Za-z0-9_.-]{{0,{MAX_TYPE - 1}}}\Z"
ENTITY_ID = rf"^[^\s/\x00-\x1f\x7f-\x9f\ud800-\udfff]{{1,{MAX_ID}}}\Z"
"""Both are parts of addresses (`email/threads/:entityType/:entityId`): no slash, no white space."""


class EntityTypeField(serializers.RegexField):
    """The CRM's word for a kind of entity, kept as it is: "contact" and "Contact" are two."""

    def __init__(self, **kwargs: Any) -> None:
        words = f"Use at most {MAX_TYPE} letters, digits, '_', '.' and '-', a letter first."
        super().__init__(regex=ENTITY_TYPE, error_messages={"invalid": words}, **kwargs)


@extend_schema_field({"oneOf": [{"type": "string", "maxLength": MAX_ID}, {"type": "integer"}]})
class EntityIdField(serializers.RegexField):
    """The CRM's id: text or a whole number comes in, text goes out (42 becomes "42")."""

    takes_numbers = True

    def __init__(self, **kwargs: Any) -> None:
        words = f"Use a whole number, or at most {MAX_ID} characters without white space and '/'."
        super().__init__(regex=ENTITY_ID, error_messages={"invalid": words}, trim_whitespace=False, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        if isinstance(data, float):  # DRF would take 42.0 for "42.0"
            self.fail("invalid")
        return str(super().to_internal_value(data))


class EntityFields(CamelSerializer):
    """An entity, in a body, a query or a path."""

    entity_type = EntityTypeField()
    entity_id = EntityIdField()


class MatchBody(EntityFields):
    """An address or a domain, and the entity it stands for."""

    email_address = serializers.CharField(max_length=320, required=False)
    domain = serializers.CharField(max_length=255, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """One of the two."""
        if ("email_address" in attrs) == ("domain" in attrs):
            raise serializers.ValidationError({"emailAddress": ["Give either emailAddress or domain."]})
        return attrs


class MatchParameters(PageParameters):
    """The query of the list of matches."""

    entity_type = EntityTypeField(default="")
    entity_id = EntityIdField(default="")
    q = serializers.CharField(default="", max_length=200, help_text="A part of the address or domain.")


Counts = Mapping[str, Mapping[Any, matches.Matched]]


def shown(rows: Sequence[matches.AnyMatch], *, user: User, workspace: Workspace) -> list[dict[str, Any]]:
    """Matches as the API shows them, with what they link of all that `user` may see."""
    found = {
        kind: matches.counts(kind=kind, user=user, workspace=workspace, matches=rows) for kind in ("emails", "events")
    }
    return [_match(row, found) for row in rows]


def _match(row: matches.AnyMatch, counts: Counts) -> dict[str, Any]:
    what = {"emailAddress": row.address} if isinstance(row, AddressMatch) else {"domain": row.domain}
    emails, events = (counts[kind].get(row.pk, matches.Matched(0)) for kind in ("emails", "events"))
    by = row.created_by
    return {
        "id": str(row.pk),
        **what,
        "entityType": row.entity_type,
        "entityId": row.entity_id,
        "matchedEmails": emails.count,
        "matchedEvents": events.count,
        "matchedIsExact": emails.exact and events.exact,
        "createdAt": wire_time(row.created_at),
        "createdBy": {"name": by.name, "email": by.email} if by else None,
        "source": row.source or "manual",
    }


# --- for OpenAPI --------------------------------------------------------------------------------------------------


class CreatorShape(CamelSerializer):
    name = serializers.CharField()
    email = serializers.CharField()


class MatchShape(CamelSerializer):
    """A match: of `emailAddress` and `domain` it has one."""

    id = serializers.UUIDField()
    email_address = serializers.CharField(required=False)
    domain = serializers.CharField(required=False)
    entity_type = serializers.CharField()
    entity_id = serializers.CharField()
    matched_emails = serializers.IntegerField(help_text="Of the conversations it links, as far as the caller sees.")
    matched_events = serializers.IntegerField()
    matched_is_exact = serializers.BooleanField(help_text="false where counting stopped.")
    created_at = IsoDateTimeField()
    created_by = CreatorShape(allow_null=True)
    source = serializers.ChoiceField(  # type: ignore[assignment]  # a wire name; DRF's attribute is set per field
        MATCH_SOURCES, help_text="What made it: a person, or a CRM that is followed."
    )
