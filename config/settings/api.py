"""REST framework and the OpenAPI schema. Bearer tokens only: a browser's session never authenticates an API call."""

from __future__ import annotations

from typing import Any

__all__ = (
    "REST_FRAMEWORK",
    "SPECTACULAR_SETTINGS",
    "THROTTLE_ADDRESS_PER_MINUTE",
    "THROTTLE_TOKEN_PER_MINUTE",
    "THROTTLE_WORKSPACE_PER_MINUTE",
)

THROTTLE_TOKEN_PER_MINUTE = 600
THROTTLE_WORKSPACE_PER_MINUTE = 3000
THROTTLE_ADDRESS_PER_MINUTE = 12_000
"""Of providers' notifications, which carry no token."""

REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["workspaces.authentication.BearerAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["workspaces.permissions.IsMember"],
    "DEFAULT_PARSER_CLASSES": ["core.api.parsers.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "core.api.schema.OperationSchema",
    "EXCEPTION_HANDLER": "core.api.errors.handle",
    "DEFAULT_THROTTLE_CLASSES": ["core.api.throttling.TokenThrottle", "core.api.throttling.WorkspaceThrottle"],
    "UNAUTHENTICATED_USER": None,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
    "URL_FORMAT_OVERRIDE": None,
}

SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "Patchbay",
    "DESCRIPTION": "Mail, calendars and integrations of your users, behind one API. "
    "Send `Authorization: Bearer <token>`; make a token with `manage.py create_token`.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"persistAuthorization": True, "displayRequestDuration": True},
    "COMPONENT_SPLIT_REQUEST": True,
    "SCHEMA_PATH_PREFIX": r"/api/",
    "ENUM_NAME_OVERRIDES": {
        "MatchSource": "entities.serializers.MATCH_SOURCES",
        "SourceEnum": "email_logs.sources.SOURCES",
        "DeliveredOrFailed": "email_logs.columns.STATUSES",
        "MailState": "email_logs.states.State",
        "ConnectionStatus": "integrations.models.ConnectionStatus",
        "RunStatus": "core.work.WorkStatus",
        "SyncStatus": "integrations.services.standing.SyncStatus",
        "SeenAs": "email_sync.serializers.timelines.SEEN_AS",
        "LinkedHow": "calendar_sync.services.linking.WAYS",
        "LinkedByHand": "calendar_sync.serializers.links.BY_HAND",
        "Visibility": "integrations.models.Visibility",
        "EventVisibility": "calendar_sync.records.VISIBILITIES",
    },
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "core.api.schema.describe_errors",
    ],
}
