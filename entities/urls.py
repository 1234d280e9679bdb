"""The API of matches, relative to /api/v1/integrations/. Mounted before the mail API, whose `email/<id>` is wider."""

from __future__ import annotations

from django.urls import path

from entities import views

urlpatterns = [
    path("email/match", views.Matches.as_view(), name="email-match"),
    path("email/match/<str:match_id>", views.Match.as_view(), name="email-match-detail"),
]
