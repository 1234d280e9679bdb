"""Mail servers that many people's addresses are with, by the domain of the address or the name of its mail exchanger.

What a vendor's own page says: asking the domain would find the same or nothing, and slower. Calendars where the vendor
has CalDAV for a log-in. Checked on 2026-11-22 against each vendor's page named beside its row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from integrations.oauth.imap import PORTS

ADDRESS, LOCAL_PART = "%EMAILADDRESS%", "%EMAILLOCALPART%"
"""User names by the words of Mozilla's autoconfig."""


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where a client logs in. `security` is "tls" or "starttls": nothing found in the open is believed."""

    host: str
    port: int
    security: str


@dataclass(frozen=True, slots=True)
class KnownServers:
    """What to fill a form with. `sign_in` names the provider whose consent flow opens the account instead of a form."""

    imap: MailServer | None = None
    smtp: MailServer | None = None
    caldav_url: str = ""
    username: str = ADDRESS
    sign_in: str = ""
    help: str = ""


def _tls(host: str, kind: str) -> MailServer:
    return MailServer(host, PORTS[kind, "tls"], "tls")


def _starttls(host: str) -> MailServer:
    return MailServer(host, PORTS["smtp", "starttls"], "starttls")


ASKS_FOR_APP_LOG_IN = "It wants an app password, made in the account's security settings."
SWITCHED_OFF = "Access by IMAP may have to be switched on in the account's settings first."

GOOGLE = KnownServers(sign_in="google")
MICROSOFT = KnownServers(sign_in="microsoft")  # no password of any kind opens these mailboxes any more
# support.apple.com/102525
ICLOUD = KnownServers(
    _tls("imap.mail.me.com", "imap"),
    _starttls("smtp.mail.me.com"),
    "https://caldav.icloud.com/",
    help=ASKS_FOR_APP_LOG_IN,
)
# help.yahoo.com SLN4075
YAHOO = KnownServers(
    _tls("imap.mail.yahoo.com", "imap"),
    _tls("smtp.mail.yahoo.com", "smtp"),
    "https://caldav.calendar.yahoo.com/",
    help=ASKS_FOR_APP_LOG_IN,
)
# help.aol.com "download-your-email-from-aol-mail-with-imap-or-pop"
AOL = KnownServers(_tls("imap.aol.com", "imap"), _tls("smtp.aol.com", "smtp"), help=ASKS_FOR_APP_LOG_IN)
# www.fastmail.help 1500000278342
FASTMAIL = KnownServers(
    _tls("imap.fastmail.com", "imap"), _tls("smtp.fastmail.com", "smtp"), "https://caldav.fastmail.com/",
    help=ASKS_FOR_APP_LOG_IN,
)  # fmt: skip
# hilfe.gmx.net/pop-imap
GMX = KnownServers(
    _tls("imap.gmx.net", "imap"), _tls("mail.gmx.net", "smtp"), "https://caldav.gmx.net/", help=SWITCHED_OFF
)
# support.gmx.com/pop-imap
GMX_COM = KnownServers(_tls("imap.gmx.com", "imap"), _tls("mail.gmx.com", "smtp"), help=SWITCHED_OFF)
# hilfe.web.de/pop-imap
WEB_DE = KnownServers(
    _tls("imap.web.de", "imap"), _tls("smtp.web.de", "smtp"), "https://caldav.web.de/", help=SWITCHED_OFF
)
# kb.mailbox.org "settings for your e-mail program"
MAILBOX_ORG = KnownServers(
    _tls("imap.mailbox.org", "imap"), _tls("smtp.mailbox.org", "smtp"), "https://dav.mailbox.org/"
)
# posteo.de/en/help "which settings do I need for my e-mail program"
POSTEO = KnownServers(_tls("posteo.de", "imap"), _tls("posteo.de", "smtp"), "https://posteo.de:8443/")
# zoho.com/mail/help/imap-access.html
ZOHO = KnownServers(_tls("imap.zoho.com", "imap"), _tls("smtp.zoho.com", "smtp"), help=ASKS_FOR_APP_LOG_IN)
# migadu.com/guides/imap_smtp
MIGADU = KnownServers(_tls("imap.migadu.com", "imap"), _tls("smtp.migadu.com", "smtp"))

BY_DOMAIN: Mapping[str, KnownServers] = MappingProxyType(
    {
        "gmail.com": GOOGLE, "googlemail.com": GOOGLE,
        "outlook.com": MICROSOFT, "hotmail.com": MICROSOFT, "live.com": MICROSOFT, "msn.com": MICROSOFT,
        "icloud.com": ICLOUD, "me.com": ICLOUD, "mac.com": ICLOUD,
        "yahoo.com": YAHOO, "ymail.com": YAHOO, "rocketmail.com": YAHOO, "yahoo.co.uk": YAHOO, "yahoo.de": YAHOO,
        "yahoo.fr": YAHOO, "yahoo.it": YAHOO, "yahoo.es": YAHOO,
        "aol.com": AOL,
        "fastmail.com": FASTMAIL, "fastmail.fm": FASTMAIL,
        "gmx.de": GMX, "gmx.net": GMX, "gmx.at": GMX, "gmx.ch": GMX, "gmx.com": GMX_COM,
        "web.de": WEB_DE,
        "mailbox.org": MAILBOX_ORG,
        "posteo.de": POSTEO, "posteo.net": POSTEO,
        "zohomail.com": ZOHO,
    }
)  # fmt: skip
BY_EXCHANGER: Mapping[str, KnownServers] = MappingProxyType(
    {
        "google.com": GOOGLE, "googlemail.com": GOOGLE,
        "outlook.com": MICROSOFT,
        "icloud.com": ICLOUD,
        "messagingengine.com": FASTMAIL,
        "mailbox.org": MAILBOX_ORG,
        "zoho.com": ZOHO,
        "migadu.com": MIGADU,
    }
)  # fmt: skip
"""Where the domain's own mail exchanger is under one of these: who takes in its mail keeps it."""
