"""Every environment variable of the product, once: name, kind, default and what it is for.

`config.settings` reads them through `read`; nothing else reads the environment. `.env` in the project's folder (or the
file that `ENV_FILE` names) fills in what the environment does not set; `NAME_FILE` reads a secret from a file.
Promised: a value that cannot be understood stops the start with the variable's name and never with its value.

`python -m config.env > .env.example` writes the example file; a test keeps the two equal.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import environ
from django.core.exceptions import ImproperlyConfigured

from config.env_values import CONVERSIONS

PROJECT = Path(__file__).resolve().parent.parent

Kind = Literal[
    "str", "int", "count", "days", "seconds", "port", "bool", "list", "origins", "networks", "level", "url", "origin",
    "tenant", "secret",
]  # fmt: skip
MEANINGS: dict[Kind, str] = {
    "int": "a whole number",
    "count": "a whole number from 1",
    "days": "a number of days from 0 to 36500",
    "seconds": "a number of seconds from 1 to a year's",
    "port": "a port from 1 to 65535",
    "bool": "true or false",
    "origins": "a list of origins (https://host)",
    "networks": "a list of networks (10.1.0.0/16, with nothing set after the prefix)",
    "level": "a level",
    "url": "a web address (https://host), without a user name or password",
    "origin": "an origin (https://host), without a path, a user name or a password",
    "tenant": "a word, an id or a domain",
}
"""What a value must be, for the message that refuses another; every text is a `str`, a `list` or a `secret`."""


@dataclass(frozen=True)
class Variable:
    """One variable. `default` is written as it would stand in `.env`; "" means unset."""

    name: str
    kind: Kind
    default: str
    help: str


@dataclass(frozen=True)
class Topic:
    """Variables that belong together, under one heading of `.env.example`."""

    title: str
    variables: tuple[Variable, ...]


TOPICS: tuple[Topic, ...] = (
    Topic(
        "The server",
        (
            Variable("DEBUG", "bool", "false", "Development only: detailed error pages, weak keys are tolerated."),
            Variable("PORT", "port", "8000", "Port of `manage.py up`, on 127.0.0.1."),
            Variable(
                "PUBLIC_URL",
                "url",
                "",
                "Address people and providers use, e.g. https://hub.example.org; default http://127.0.0.1:$PORT.",
            ),
            Variable(
                "ALLOWED_HOSTS", "list", "", "More host names to answer to, besides PUBLIC_URL's and the loopback's."
            ),
            Variable(
                "CORS_ALLOWED_ORIGINS",
                "origins",
                "",
                "Origins whose pages may call the API, e.g. https://crm.example.org.",
            ),
            Variable("DATA_DIR", "str", ".data", "Folder of all state that is not in a server named below."),
            Variable("LOG_LEVEL", "level", "INFO", "DEBUG, INFO, WARNING or ERROR."),
            Variable("WEB_WORKERS", "count", "2", "Web processes of `manage.py up`, four threads each for requests."),
            Variable(
                "EVENT_STREAMS",
                "count",
                "32",
                "Event streams each web process keeps open, a thread for each.",
            ),
            Variable("WORKER_CONCURRENCY", "count", "2", "Syncs that `manage.py up` does at a time."),
            Variable("DELIVERY_CONCURRENCY", "count", "16", "Webhooks that `manage.py up` sends at a time."),
            Variable(
                "PROCESS_ROLE", "str", "", "What this process is; set by the product itself (web), not by operators."
            ),
        ),
    ),
    Topic(
        "Keys. Generated into $DATA_DIR/secrets on first start where unset; back them up",
        (
            Variable("SECRET_KEY", "secret", "", "Signs sessions and fingerprints; at least 32 random characters."),
            Variable(
                "VAULT_KEYS",
                "secret",
                "",
                "Seal stored secrets: id:secret,id:secret, newest first. Rotate with `manage.py rotate_keys`.",
            ),
        ),
    ),
    Topic(
        "Servers. Without them: an embedded PostgreSQL, a broker and a cache inside DATA_DIR and the database",
        (
            Variable(
                "DATABASE_URL", "secret", "", "postgresql://user:password@host:5432/name; PostgreSQL 15 or newer."
            ),
            Variable("CELERY_BROKER_URL", "secret", "", "redis://host:6379/0 for workers on several machines."),
            Variable("REDIS_URL", "secret", "", "redis://host:6379/1 for the cache and the throttles."),
        ),
    ),
    Topic(
        "First start",
        (
            Variable("OWNER_EMAIL", "str", "", "Log-in of the owner that the first start creates."),
            Variable("OWNER_PASSWORD", "secret", "", "The owner's password; generated and printed once where unset."),
        ),
    ),
    Topic(
        "Sync",
        (
            Variable("SYNC_INTERVAL_SECONDS", "seconds", "300", "How often a connection is asked for news."),
            Variable(
                "SYNC_HISTORY_KEEP_DAYS",
                "days",
                "30",
                "Syncs that ended longer ago are removed, but the last of each account; 0 keeps them.",
            ),
            Variable(
                "CRM_SYNC_INTERVAL_SECONDS",
                "seconds",
                "3600",
                "How often a CRM's contacts and companies are looked at.",
            ),
            Variable(
                "MAIL_BACKFILL_DAYS", "days", "0", "How far back the first sync of a mailbox goes; 0 is everything."
            ),
            Variable("MAIL_IMPORT_MAX_BYTES", "count", "1073741824", "The largest file of mail that may be imported."),
            Variable(
                "EMAIL_LOG_KEEP_DAYS",
                "days",
                "0",
                "Entries of the email logs older than this are removed; 0 keeps them. Counts by day stay.",
            ),
            Variable("IDLE_MAILBOXES", "count", "2000", "Mailboxes one `manage.py idle` listens to (IMAP IDLE)."),
            Variable("IDLE_PER_HOST", "count", "500", "Of them at one mail server."),
            Variable(
                "IDLE_REISSUE_SECONDS",
                "seconds",
                "540",
                "How often such a connection is confirmed; servers end it after 29 minutes, some networks sooner.",
            ),
            Variable(
                "EGRESS_ALLOW_CIDRS",
                "networks",
                "",
                "Private networks that outgoing requests may reach, e.g. 10.1.0.0/16; none by default.",
            ),
        ),
    ),
    Topic(
        "Documents (docs/documents.md)",
        (
            Variable("DOCUMENT_STORAGE", "str", "local", "local (in DATA_DIR) or s3 (any S3-compatible store)."),
            Variable("DOCUMENT_MAX_BYTES", "count", "104857600", "The largest document that is taken."),
            Variable(
                "DOCUMENT_ALLOWED_TYPES", "list", "", "Types that are taken: application/pdf,image/*; default all."
            ),
            Variable(
                "DOCUMENT_CHECK_AT_ONCE_BYTES",
                "count",
                "1073741824",
                "Up to this size confirming answers when it has looked at the file; larger ones a worker looks at.",
            ),
            Variable("DOCUMENT_QUOTA_BYTES", "int", "0", "How much a workspace may store; 0 is not limited."),
            Variable(
                "DOCUMENT_PARTS_FROM_BYTES",
                "count",
                "5368709120",
                "With s3, larger uploads than this are sent in parts; at most 5 GiB, what one request carries.",
            ),
            Variable("DOCUMENT_PART_BYTES", "count", "67108864", "Of each such part, 5 MiB to 5 GiB."),
            Variable("S3_BUCKET", "str", "", "The bucket, which must exist and should not be public."),
            Variable("S3_ENDPOINT_URL", "url", "", "The store as the product reaches it; default: Amazon's."),
            Variable("S3_PUBLIC_ENDPOINT_URL", "url", "", "The store as browsers reach it; default: the same."),
            Variable("S3_REGION", "str", "us-east-1", "The region requests are signed for."),
            Variable("S3_ACCESS_KEY_ID", "str", "", "Access key that may get, put, delete and list in the bucket."),
            Variable("S3_SECRET_ACCESS_KEY", "secret", "", "Its secret."),
            Variable("CLAMAV_URL", "str", "", "Virus scanner: unix:///run/clamav/clamd.ctl or tcp://host:3310."),
            Variable("CLAMAV_TIMEOUT_SECONDS", "seconds", "60", "How long it may keep silent over one document."),
        ),
    ),
    Topic(
        "Google (docs/providers/google.md)",
        (
            Variable("GOOGLE_CLIENT_ID", "str", "", "OAuth client of type Web application."),
            Variable("GOOGLE_CLIENT_SECRET", "secret", "", "Its secret."),
            Variable(
                "GOOGLE_AUTHORIZE_URL",
                "url",
                "https://accounts.google.com/o/oauth2/v2/auth",
                "Google's consent screen.",
            ),
            Variable("GOOGLE_TOKEN_URL", "url", "https://oauth2.googleapis.com/token", "Google's token endpoint."),
            Variable(
                "GOOGLE_REVOKE_URL", "url", "https://oauth2.googleapis.com/revoke", "Google's revocation endpoint."
            ),
            Variable(
                "GOOGLE_USERINFO_URL",
                "url",
                "https://openidconnect.googleapis.com/v1/userinfo",
                "Where the account's address is read.",
            ),
            Variable(
                "GMAIL_API_URL", "origin", "https://gmail.googleapis.com", "Origin of the Gmail API, without a path."
            ),
            Variable(
                "GMAIL_UNITS_PER_MINUTE",
                "int",
                "6000",
                "Your Google project's quota per user and minute: 15000 if it is from before May 2026; 0: not kept.",
            ),
            Variable(
                "GOOGLE_CALENDAR_API_URL",
                "origin",
                "https://www.googleapis.com",
                "Origin of the Calendar API, without a path.",
            ),
            Variable(
                "GOOGLE_CALENDAR_REQUESTS_PER_MINUTE",
                "int",
                "600",
                "Your Google project's quota of Calendar requests per user and minute; 0: not kept.",
            ),
            Variable(
                "GOOGLE_DRIVE_API_URL", "origin", "https://www.googleapis.com", "Origin of the Drive API, no path."
            ),
            Variable(
                "GMAIL_PUBSUB_TOPIC",
                "str",
                "",
                "Cloud Pub/Sub topic for Gmail's push, projects/<id>/topics/<name>; without it Gmail is polled only.",
            ),
            Variable(
                "GMAIL_PUSH_SERVICE_ACCOUNT",
                "str",
                "",
                "Service account whose token the topic's push subscription sends; without it no push is believed.",
            ),
            Variable(
                "GMAIL_PUSH_AUDIENCE", "str", "", "Audience of that token; default: the address that is pushed to."
            ),
            Variable("GOOGLE_CERTS_URL", "url", "https://www.googleapis.com/oauth2/v3/certs", "Keys that sign it."),
        ),
    ),
    Topic(
        "Microsoft (docs/providers/microsoft.md)",
        (
            Variable("MICROSOFT_CLIENT_ID", "str", "", "Application id of the app registration."),
            Variable("MICROSOFT_CLIENT_SECRET", "secret", "", "Its client secret."),
            Variable(
                "MICROSOFT_TENANT", "tenant", "common", "common, organizations, consumers, or a tenant's id or domain."
            ),
            Variable(
                "MICROSOFT_AUTHORIZE_URL",
                "url",
                "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/authorize",
                "Microsoft's consent screen; {tenant} is replaced.",
            ),
            Variable(
                "MICROSOFT_TOKEN_URL",
                "url",
                "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token",
                "Microsoft's token endpoint; {tenant} is replaced.",
            ),
            Variable(
                "GRAPH_API_URL", "origin", "https://graph.microsoft.com", "Origin of Microsoft Graph, without a path."
            ),
        ),
    ),
    Topic(
        "Vendors of a workspace's integrations: the origins of their APIs, without a path",
        (
            Variable("RESEND_API_URL", "origin", "https://api.resend.com", "Resend (docs/providers/resend.md)."),
            Variable(
                "SENDGRID_API_URL", "origin", "https://api.sendgrid.com", "SendGrid (docs/providers/sendgrid.md)."
            ),
            Variable(
                "SENDGRID_EU_API_URL",
                "url",
                "https://api.eu.sendgrid.com",
                "The same for accounts in the EU; a stand-in's may have a path.",
            ),
            Variable(
                "AIRTABLE_API_URL", "origin", "https://api.airtable.com", "Airtable (docs/providers/airtable.md)."
            ),
            Variable("HUBSPOT_API_URL", "origin", "https://api.hubapi.com", "HubSpot (docs/providers/hubspot.md)."),
            Variable("SLACK_API_URL", "origin", "https://slack.com", "Slack (docs/providers/slack.md)."),
        ),
    ),
)

VARIABLES: tuple[Variable, ...] = tuple(variable for topic in TOPICS for variable in topic.variables)
BY_NAME = {variable.name: variable for variable in VARIABLES}


def load_env_file() -> None:
    """Fill in from the `.env` file what the environment does not set. An empty ENV_FILE means no file."""
    name = os.environ.get("ENV_FILE", ".env")
    path = PROJECT / name
    if name and path.is_file():
        environ.Env.read_env(str(path), overwrite=False)


def surroundings() -> dict[str, str]:
    """The whole environment as a process of ours would pass it on."""
    return dict(os.environ)


def read(name: str) -> Any:
    """The value of a declared variable, as its kind says; its default where it is unset or empty."""
    variable = BY_NAME[name]
    text = _text(variable)
    try:
        return _convert(variable, text)
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} must be {MEANINGS[variable.kind]}. {variable.help}") from error


def _text(variable: Variable) -> str:
    """What was set. Only secrets may come from a file: an orchestrator mounts those."""
    text = os.environ.get(variable.name, "").strip()
    file = os.environ.get(f"{variable.name}_FILE", "").strip() if variable.kind == "secret" else ""
    if text and file:
        raise ImproperlyConfigured(f"{variable.name} and {variable.name}_FILE are both set; keep one.")
    if not file:
        return text or variable.default
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ImproperlyConfigured(f"{variable.name}_FILE names a file that cannot be read: {file}") from error


def _convert(variable: Variable, text: str) -> Any:
    convert = CONVERSIONS.get(variable.kind)
    return convert(text) if convert else text


def example() -> str:
    """The text of `.env.example`: every variable commented out at its default."""
    lines = ["# Every setting of Patchbay with its default. Copy to .env and change what you need.", "#"]
    lines += ["# NAME_FILE reads a secret from a file: SECRET_KEY_FILE=/run/secrets/key.", ""]
    for topic in TOPICS:
        lines += [f"## {topic.title}", ""]
        for variable in topic.variables:
            lines += [f"# {variable.help}", f"# {variable.name}={variable.default}", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    print(example(), end="")
