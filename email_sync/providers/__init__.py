"""Mail providers: one file each behind `base.MailProvider`. This table is the registry: key of the connection's
provider → dotted path of the class, which carries the key."""

from core.registry import Registry
from email_sync.providers.base import MailProvider

MAIL_PROVIDERS: Registry[type[MailProvider]] = Registry(
    "mail provider",
    {
        "google": "email_sync.providers.gmail.Gmail",
        "microsoft": "email_sync.providers.graph.Graph",
        "imap": "email_sync.providers.imap.Imap",
    },
    check_id="patchbay.E201",
)
