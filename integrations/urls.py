"""The OAuth and connections API, relative to /api/v1/integrations/ (CONTRACT 4)."""

from django.urls import path

from integrations.views import connections as views

app_name = "integrations"

urlpatterns = [
    path("oauth/providers", views.Providers.as_view(), name="oauth-providers"),
    path("oauth/<str:provider>/authorize", views.Authorize.as_view(), name="oauth-authorize"),
    path("oauth/<str:provider>/callback", views.Callback.as_view(), name="oauth-callback"),
    path("oauth/<str:provider>", views.Disconnect.as_view(), name="oauth-disconnect"),
    path("connections", views.Connections.as_view(), name="connections"),
    path("connections/imap", views.ConnectImap.as_view(), name="connect-imap"),
    path("connections/imap/servers", views.MailServers.as_view(), name="connect-imap-servers"),
    path("connections/<str:connection_id>", views.ConnectionDetail.as_view(), name="connection"),
    path("connections/<str:connection_id>/status", views.ConnectionStatus.as_view(), name="connection-status"),
    path("connections/<str:connection_id>/purge", views.PurgeDetail.as_view(), name="connection-purge"),
    path("connections/<str:connection_id>/sync", views.Sync.as_view(), name="connection-sync"),
    path("connections/<str:connection_id>/refresh", views.Refresh.as_view(), name="connection-refresh"),
]
