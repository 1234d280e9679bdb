"""The wire forms of members, tokens and the audit trail, and the input of their POST and PATCH."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from core.api.serializers import CamelModelSerializer, CamelSerializer, IsoDateTimeField
from workspaces.models import ApiToken, AuditEvent, Membership, Role


class MemberSerializer(CamelModelSerializer):
    """Somebody in the workspace. `id` is the membership's."""

    email = serializers.EmailField(source="user.email", read_only=True)
    name = serializers.CharField(source="user.name", read_only=True)

    class Meta:
        model = Membership
        fields = ("id", "user_id", "email", "name", "role", "created_at")
        read_only_fields = fields


class NewMember(CamelSerializer):
    """Whom to add. `name` counts only where the account is new."""

    email = serializers.EmailField(max_length=254)
    name = serializers.CharField(max_length=150, default="", allow_blank=True)
    role = serializers.ChoiceField(choices=Role.choices, default=Role.MEMBER)


class RoleChange(CamelSerializer):
    """The one thing of a member that changes."""

    role = serializers.ChoiceField(choices=Role.choices, required=False)


class TokenSerializer(CamelModelSerializer):
    """A token without its secret."""

    fingerprint = serializers.CharField(read_only=True)

    class Meta:
        model = ApiToken
        fields: tuple[str, ...] = ("id", "name", "fingerprint", "created_at", "expires_at", "last_used_at")
        read_only_fields = fields


class IssuedTokenSerializer(TokenSerializer):
    """A new token. `token` is its text, shown this once."""

    token = serializers.CharField(read_only=True)

    class Meta(TokenSerializer.Meta):
        fields = (*TokenSerializer.Meta.fields, "token")
        read_only_fields = fields


class NewToken(CamelSerializer):
    """A token for the caller. Without `expiresAt` it is valid until revoked."""

    name = serializers.CharField(max_length=100)
    expires_at = IsoDateTimeField(required=False, allow_null=True, default=None)


class ActorShape(CamelSerializer):
    """Who did it, as the account was called then."""

    id = serializers.UUIDField()
    email = serializers.EmailField()


class AuditEventSerializer(CamelModelSerializer):
    """One line of the trail. `actor` is null where the system itself acted."""

    actor = serializers.SerializerMethodField()
    changes = serializers.DictField(read_only=True)

    class Meta:
        model = AuditEvent
        fields = ("id", "at", "actor", "action", "object_type", "object_id", "changes", "request_id")
        read_only_fields = fields

    @extend_schema_field(ActorShape(allow_null=True))
    def get_actor(self, event: AuditEvent) -> dict[str, str] | None:
        """From the row's own columns: the account may be gone."""
        return {"id": str(event.actor_id), "email": event.actor_email} if event.actor_id else None
