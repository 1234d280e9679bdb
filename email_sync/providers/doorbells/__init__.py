"""Doorbells: how providers tell of changes, beside their mail providers. These tables are the registries: key of the
connection's provider → dotted path of the class, which carries the key."""

from core.registry import Registry
from email_sync.providers.doorbells.base import Listener
from integrations.doorbells import Doorbell

MAIL_DOORBELLS: Registry[type[Doorbell]] = Registry(
    "mail doorbell",
    {
        "google": "email_sync.providers.doorbells.gmail.GmailWatch",
        "microsoft": "email_sync.providers.doorbells.graph.MailSubscription",
    },
    check_id="patchbay.E202",
)

MAIL_LISTENERS: Registry[type[Listener]] = Registry(
    "mail listener",
    {"imap": "email_sync.providers.imap.idling.Idle"},
    check_id="patchbay.E203",
)
