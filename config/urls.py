"""Every route: the API of each app, the console, the documentation, the probes."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from config import health

urlpatterns = [
    path("", RedirectView.as_view(url="/admin/"), name="home"),
    path("admin", RedirectView.as_view(url="/admin/")),
    path("favicon.ico", RedirectView.as_view(url="/static/patchbay/favicon.svg")),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", health.metrics, name="metrics"),
    path("api/docs", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="docs"),
    path("api/schema", SpectacularAPIView.as_view(), name="schema"),
    path("api/", include("workspaces.urls")),
    path("api/", include("integrations.workspace_urls")),
    path("api/", include("email_logs.urls")),
    path("api/v1/integrations/", include("integrations.urls")),
    path("api/v1/integrations/", include("entities.urls")),
    path("api/v1/integrations/", include("email_sync.urls")),
    path("api/v1/integrations/", include("calendar_sync.urls")),
    path("api/v1/integrations/", include("documents.urls")),
    path("admin/", admin.site.urls),
]

handler400 = "core.api.errors.bad_request"
handler403 = "core.api.errors.permission_denied"
handler404 = "core.api.errors.not_found"
handler500 = "core.api.errors.server_error"
