"""The workspace's integrations API, relative to /api/ (CONTRACT 5)."""

from django.urls import path

from integrations.views import deliveries
from integrations.views import integrations as views

app_name = "workspace-integrations"

urlpatterns = [
    path("integrations", views.Integrations.as_view(), name="integrations"),
    path("integrations/stats", views.Stats.as_view(), name="stats"),
    path("integrations/types", views.Types.as_view(), name="types"),
    path(
        "integrations/email-provider-a/templates",
        views.Templates.as_view(),
        {"type": "EMAIL_PROVIDER"},
        name="email-provider-a-templates",
    ),
    path(
        "integrations/email-provider-b/templates",
        views.Templates.as_view(),
        {"type": "EMAIL_PROVIDER_ALT"},
        name="email-provider-b-templates",
    ),
    path("integrations/<str:integration_id>", views.IntegrationDetail.as_view(), name="integration"),
    path("integrations/<str:integration_id>/test", views.Test.as_view(), name="test"),
    path("integrations/<str:integration_id>/actions/<str:action>", views.Action.as_view(), name="action"),
    path("integrations/<str:integration_id>/deliveries", deliveries.Deliveries.as_view(), name="deliveries"),
    path("integrations/<str:integration_id>/deliveries/replay", deliveries.ReplayRange.as_view(), name="replay-range"),
    path(
        "integrations/<str:integration_id>/deliveries/<str:delivery_id>/replay",
        deliveries.Replay.as_view(),
        name="replay",
    ),
]
