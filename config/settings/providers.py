"""Sync and the providers' addresses: each can be overridden so that a stand-in answers (CONTRACT 2)."""

from __future__ import annotations

from config import env

__all__ = (
    "AIRTABLE_API_URL",
    "CALENDAR_PROVIDER_SETTINGS",
    "CRM_SYNC_INTERVAL_SECONDS",
    "EMAIL_LOG_KEEP_DAYS",
    "GMAIL_API_URL",
    "GMAIL_PUBSUB_TOPIC",
    "GMAIL_PUSH_AUDIENCE",
    "GMAIL_PUSH_SERVICE_ACCOUNT",
    "GMAIL_UNITS_PER_MINUTE",
    "GOOGLE_AUTHORIZE_URL",
    "GOOGLE_CALENDAR_API_URL",
    "GOOGLE_CALENDAR_REQUESTS_PER_MINUTE",
    "GOOGLE_CERTS_URL",
    "GOOGLE_CLIENT_ID",
    "GOOGLE_CLIENT_SECRET",
    "GOOGLE_DRIVE_API_URL",
    "GOOGLE_REVOKE_URL",
    "GOOGLE_TOKEN_URL",
    "GOOGLE_USERINFO_URL",
    "GRAPH_API_URL",
    "HUBSPOT_API_URL",
    "IDLE_MAILBOXES",
    "IDLE_PER_HOST",
    "IDLE_REISSUE_SECONDS",
    "MAIL_BACKFILL_DAYS",
    "MAIL_IMPORT_MAX_BYTES",
    "MAIL_PROVIDER_SETTINGS",
    "MICROSOFT_AUTHORIZE_URL",
    "MICROSOFT_CLIENT_ID",
    "MICROSOFT_CLIENT_SECRET",
    "MICROSOFT_TENANT",
    "MICROSOFT_TOKEN_URL",
    "OWNER_EMAIL",
    "OWNER_PASSWORD",
    "RESEND_API_URL",
    "SENDGRID_API_URL",
    "SENDGRID_EU_API_URL",
    "SLACK_API_URL",
    "SYNC_HISTORY_KEEP_DAYS",
    "SYNC_INTERVAL_SECONDS",
)

SYNC_INTERVAL_SECONDS: int = env.read("SYNC_INTERVAL_SECONDS")
SYNC_HISTORY_KEEP_DAYS: int = env.read("SYNC_HISTORY_KEEP_DAYS")
"""0 or less: kept for good."""
CRM_SYNC_INTERVAL_SECONDS: int = env.read("CRM_SYNC_INTERVAL_SECONDS")
MAIL_BACKFILL_DAYS: int = env.read("MAIL_BACKFILL_DAYS")
MAIL_IMPORT_MAX_BYTES: int = env.read("MAIL_IMPORT_MAX_BYTES")
EMAIL_LOG_KEEP_DAYS: int = env.read("EMAIL_LOG_KEEP_DAYS")
"""0 or less: kept for good."""
IDLE_MAILBOXES: int = env.read("IDLE_MAILBOXES")
IDLE_PER_HOST: int = env.read("IDLE_PER_HOST")
IDLE_REISSUE_SECONDS: int = env.read("IDLE_REISSUE_SECONDS")
OWNER_EMAIL: str = env.read("OWNER_EMAIL")
OWNER_PASSWORD: str = env.read("OWNER_PASSWORD")

GOOGLE_CLIENT_ID: str = env.read("GOOGLE_CLIENT_ID")
GOOGLE_CLIENT_SECRET: str = env.read("GOOGLE_CLIENT_SECRET")
GOOGLE_AUTHORIZE_URL: str = env.read("GOOGLE_AUTHORIZE_URL")
GOOGLE_TOKEN_URL: str = env.read("GOOGLE_TOKEN_URL")
GOOGLE_REVOKE_URL: str = env.read("GOOGLE_REVOKE_URL")
GOOGLE_USERINFO_URL: str = env.read("GOOGLE_USERINFO_URL")
GOOGLE_CALENDAR_API_URL: str = env.read("GOOGLE_CALENDAR_API_URL")
GOOGLE_CALENDAR_REQUESTS_PER_MINUTE: int = env.read("GOOGLE_CALENDAR_REQUESTS_PER_MINUTE")
GOOGLE_DRIVE_API_URL: str = env.read("GOOGLE_DRIVE_API_URL")
GMAIL_API_URL: str = env.read("GMAIL_API_URL")
GMAIL_UNITS_PER_MINUTE: int = env.read("GMAIL_UNITS_PER_MINUTE")
GMAIL_PUBSUB_TOPIC: str = env.read("GMAIL_PUBSUB_TOPIC")
GMAIL_PUSH_SERVICE_ACCOUNT: str = env.read("GMAIL_PUSH_SERVICE_ACCOUNT")
GMAIL_PUSH_AUDIENCE: str = env.read("GMAIL_PUSH_AUDIENCE")
GOOGLE_CERTS_URL: str = env.read("GOOGLE_CERTS_URL")

MICROSOFT_CLIENT_ID: str = env.read("MICROSOFT_CLIENT_ID")
MICROSOFT_CLIENT_SECRET: str = env.read("MICROSOFT_CLIENT_SECRET")
MICROSOFT_TENANT: str = env.read("MICROSOFT_TENANT")
MICROSOFT_AUTHORIZE_URL: str = env.read("MICROSOFT_AUTHORIZE_URL").replace("{tenant}", MICROSOFT_TENANT)
MICROSOFT_TOKEN_URL: str = env.read("MICROSOFT_TOKEN_URL").replace("{tenant}", MICROSOFT_TENANT)
GRAPH_API_URL: str = env.read("GRAPH_API_URL")

RESEND_API_URL: str = env.read("RESEND_API_URL")
SENDGRID_API_URL: str = env.read("SENDGRID_API_URL")
SENDGRID_EU_API_URL: str = env.read("SENDGRID_EU_API_URL")
AIRTABLE_API_URL: str = env.read("AIRTABLE_API_URL")
HUBSPOT_API_URL: str = env.read("HUBSPOT_API_URL")
SLACK_API_URL: str = env.read("SLACK_API_URL")

MAIL_PROVIDER_SETTINGS: dict[str, dict[str, str | int]] = {
    "google": {
        "gmailApiUrl": GMAIL_API_URL,
        "quotaUnits": GMAIL_UNITS_PER_MINUTE,
        "pubsubTopic": GMAIL_PUBSUB_TOPIC,
        "pushServiceAccount": GMAIL_PUSH_SERVICE_ACCOUNT,
        "pushAudience": GMAIL_PUSH_AUDIENCE,
        "certsUrl": GOOGLE_CERTS_URL,
    },
    "microsoft": {"graphApiUrl": GRAPH_API_URL},
}
"""What a mail provider and its doorbell are told besides the connection's own options, by connection provider."""

CALENDAR_PROVIDER_SETTINGS: dict[str, dict[str, str | int]] = {
    "google": {"calendarApiUrl": GOOGLE_CALENDAR_API_URL, "quotaUnits": GOOGLE_CALENDAR_REQUESTS_PER_MINUTE},
    "microsoft": {"graphApiUrl": GRAPH_API_URL},
}
"""The same for a calendar provider."""
