"""Which apps the product is made of, and what one of them registers with another by dotted path."""

from __future__ import annotations

__all__ = (
    "AUTH_USER_MODEL",
    "CALENDAR_CHECKS",
    "CONNECTION_CHECKS",
    "DEFAULT_AUTO_FIELD",
    "DISCONNECT_STEPS",
    "DOCUMENT_FILES",
    "EMAIL_BACKEND",
    "INCOMPLETE_COUNTS",
    "INSTALLED_APPS",
    "MATCH_COUNTERS",
    "PUSH_STANDINGS",
    "QUEUED_ACTIONS",
    "SYNC_ENGINES",
    "WORKSPACE_MAILER",
)

INSTALLED_APPS = [
    "config",
    "unfold.apps.BasicAppConfig",
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    "config.console.apps.ConsoleConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "axes",
    "workspaces",
    "entities",
    "integrations",
    "email_logs",
    "email_sync",
    "calendar_sync",
    "documents",
]

AUTH_USER_MODEL = "workspaces.User"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

SYNC_ENGINES = {
    "email": "email_sync.services.engine.EmailEngine",
    "calendar": "calendar_sync.services.engine.CalendarEngine",
}
"""The one up-call: what `connections/:id/sync` starts, by type (DESIGN 3)."""

CONNECTION_CHECKS = {"imap": "email_sync.services.connecting.check_imap"}
"""How an account that is connected by a form is tried before it is saved, by provider; the same up-call."""

CALENDAR_CHECKS = {"imap": "calendar_sync.services.connecting.check_caldav"}
"""The same for the calendars of such an account, where it names a server for them."""

MATCH_COUNTERS = {
    "emails": "email_sync.services.match_counts.count_emails",
    "events": "calendar_sync.services.linking.count_events",
}
"""Who counts what a match of an address or domain links, by "emails" and "events" (`entities.services.matches`)."""

PUSH_STANDINGS = {
    "email": "email_sync.services.push_standing.of",
    "calendar": "calendar_sync.services.push_standing.of",
}
"""Who says whether a provider tells of changes by itself, by type of sync (`integrations.services.standing`)."""
INCOMPLETE_COUNTS = {
    "email": "email_sync.services.isolating.count",
    "calendar": "calendar_sync.services.coverage.incomplete",
}
"""Who counts what the provider lists and has not given whole, by type of sync (`integrations.services.standing`)."""

QUEUED_ACTIONS = {
    "mirror_email_log": "email_logs.queued_actions.MirrorAction",
    "copy_document": "documents.queued_actions.CopyAction",
    "save_document": "documents.queued_actions.CopyAction",
}
"""Whose work an integration's action queues, where it is another app's (`integrations.services.queued_actions`)."""

DISCONNECT_STEPS = ("email_sync.services.doorbells.stop", "calendar_sync.services.doorbells.stop")
"""What else is ended at the provider with the credential of an account that is disconnected. None may raise."""

DOCUMENT_FILES = "documents.files.DocumentFiles"
"""Who keeps files as documents and finds those that go along elsewhere (`integrations.services.files`, ADR 31)."""

WORKSPACE_MAILER = "email_logs.services.mailer.send"
"""How integrations' own sends and notices to owners leave: the second up-call (ADR 25)."""

EMAIL_BACKEND = "email_logs.django_mail.EmailBackend"
"""Every mail of Django's goes out through the workspace's site email provider and is logged."""
