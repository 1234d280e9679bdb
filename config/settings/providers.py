"""Sync and the providers' addresses: each can be overridden so that a stand-in answers (CONTRACT 2)."""

from __future__ import annotations

from config import env

__all__ = (
    "GMAIL_API_URL",
    "GOOGLE_AUTHORIZE_URL",
    "GOOGLE_CLIENT_ID",
    "GOOGLE_CLIENT_SECRET",
    "GOOGLE_REVOKE_URL",
    "GOOGLE_TOKEN_URL",
    "GOOGLE_USERINFO_URL",
    "GRAPH_API_URL",
    "MAIL_BACKFILL_DAYS",
    "MAIL_PROVIDER_SETTINGS",
    "MICROSOFT_AUTHORIZE_URL",
    "MICROSOFT_CLIENT_ID",
    "MICROSOFT_CLIENT_SECRET",
    "MICROSOFT_TENANT",
    "MICROSOFT_TOKEN_URL",
    "OWNER_EMAIL",
    "OWNER_PASSWORD",
    "SYNC_INTERVAL_SECONDS",
)

SYNC_INTERVAL_SECONDS: int = env.read("SYNC_INTERVAL_SECONDS")
MAIL_BACKFILL_DAYS: int = env.read("MAIL_BACKFILL_DAYS")
OWNER_EMAIL: str = env.read("OWNER_EMAIL")
OWNER_PASSWORD: str = env.read("OWNER_PASSWORD")

GOOGLE_CLIENT_ID: str = env.read("GOOGLE_CLIENT_ID")
GOOGLE_CLIENT_SECRET: str = env.read("GOOGLE_CLIENT_SECRET")
GOOGLE_AUTHORIZE_URL: str = env.read("GOOGLE_AUTHORIZE_URL")
GOOGLE_TOKEN_URL: str = env.read("GOOGLE_TOKEN_URL")
GOOGLE_REVOKE_URL: str = env.read("GOOGLE_REVOKE_URL")
GOOGLE_USERINFO_URL: str = env.read("GOOGLE_USERINFO_URL")
GMAIL_API_URL: str = env.read("GMAIL_API_URL")

MICROSOFT_CLIENT_ID: str = env.read("MICROSOFT_CLIENT_ID")
MICROSOFT_CLIENT_SECRET: str = env.read("MICROSOFT_CLIENT_SECRET")
MICROSOFT_TENANT: str = env.read("MICROSOFT_TENANT")
MICROSOFT_AUTHORIZE_URL: str = env.read("MICROSOFT_AUTHORIZE_URL").replace("{tenant}", MICROSOFT_TENANT)
MICROSOFT_TOKEN_URL: str = env.read("MICROSOFT_TOKEN_URL").replace("{tenant}", MICROSOFT_TENANT)
GRAPH_API_URL: str = env.read("GRAPH_API_URL")

MAIL_PROVIDER_SETTINGS: dict[str, dict[str, str]] = {"google": {"gmailApiUrl": GMAIL_API_URL}}
"""What a mail provider is told besides the connection's own options, by connection provider."""
