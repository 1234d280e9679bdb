"""Routes of the workspace's own API, mounted at /api/."""

from __future__ import annotations

from django.urls import path

from workspaces import views

urlpatterns = [
    path("members", views.Members.as_view(), name="members"),
    path("members/<str:member_id>", views.Member.as_view(), name="member"),
    path("tokens", views.Tokens.as_view(), name="tokens"),
    path("tokens/<str:token_id>", views.Token.as_view(), name="token"),
    path("audit", views.AuditTrail.as_view(), name="audit"),
]
