"""Everything the stand-in remembers, in memory: accounts, their mailboxes, OAuth grants, settings and the clock.

One world per process, touched only from the server's event loop, so nothing here needs a lock. With the same seed and
the same requests it gives the same ids and tokens.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field, fields
from typing import Any

from simulator.grants import Authority
from simulator.ledger import Ledger
from simulator.mailbox import Mailbox
from simulator.quota import Quota

DEFAULT_SEED = 1


@dataclass
class Settings:
    """What tests may change while it runs (`PATCH /_control/settings`)."""

    code_seconds: int = 600
    google_access_token_seconds: int = 3599
    google_refresh_token_seconds: int = 0
    """0: no end. 604800 is a project in publishing status Testing."""
    microsoft_access_token_seconds: int = 3600
    microsoft_refresh_token_seconds: int = 90 * 86400
    microsoft_rotation: str = "lenient"
    """lenient: an old refresh token stays valid; strict: single use, and a second use kills the whole family."""
    microsoft_scope_style: str = "short"
    """short: `Mail.Read`; uri: `https://graph.microsoft.com/Mail.Read`."""
    gmail_quota_units_per_minute: int = 0
    """Per user; 0: no limit. A new project has 6000."""
    gmail_quota_status: int = 403
    gmail_costs: dict[str, int] = field(default_factory=dict)
    """Operation → units, over the table in `gmail.methods`."""
    gmail_rewrites_message_id: bool = False
    delivers_between_accounts: bool = True

    def change(self, values: dict[str, Any]) -> None:
        """Raises ValueError for an unknown name or a value of another type."""
        known = {item.name: type(getattr(self, item.name)) for item in fields(self)}
        for name, value in values.items():
            if name not in known or type(value) is not known[name]:
                raise ValueError(f"no such setting, or not its type: {name}")
        for name, value in values.items():
            setattr(self, name, value)


@dataclass
class Account:
    vendor: str
    email: str
    name: str
    subject: str
    """What the vendor calls the account for ever: Google's `sub`, Microsoft's object id."""
    aliases: list[str] = field(default_factory=list)
    mailbox: Mailbox | None = None


@dataclass
class AutoConsent:
    """A scripted answer on the consent page; `scopes` None grants all that is asked."""

    email: str = ""
    scopes: list[str] | None = None
    deny: bool = False
    once: bool = False


class World:
    def __init__(self, seed: int = DEFAULT_SEED) -> None:
        self.reset(seed)

    def reset(self, seed: int) -> None:
        """Forgets everything, in place: the routes keep their world."""
        self.seed = seed
        self.clock_offset = 0.0
        self.settings = Settings()
        self.accounts: dict[tuple[str, str], Account] = {}
        self.consents: dict[str, AutoConsent] = {}
        self.authority = Authority(seed)
        self.ledger = Ledger()
        self.quota = Quota()

    def now(self) -> float:
        return time.time() + self.clock_offset

    def stamp(self) -> str:
        return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(self.now()))

    def add_account(self, vendor: str, email: str, name: str = "", aliases: list[str] | None = None) -> Account:
        """Google accounts have a mailbox. Raises ValueError when the account exists."""
        email = email.lower()
        if (vendor, email) in self.accounts:
            raise ValueError(f"{vendor} account {email} exists")
        digest = hashlib.sha256(f"{self.seed}/{vendor}/{email}".encode())
        subject = str(int.from_bytes(digest.digest()[:8], "big"))[:20].rjust(21, "1")
        if vendor == "microsoft":
            text = digest.hexdigest()
            subject = f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:32]}"
        account = Account(vendor, email, name or email.partition("@")[0].title(), subject, aliases or [])
        if vendor == "google":
            account.mailbox = Mailbox(email, self.seed)
        self.accounts[vendor, email] = account
        return account

    def account(self, vendor: str, email: str) -> Account | None:
        return self.accounts.get((vendor, email.lower()))

    def accounts_of(self, vendor: str) -> list[Account]:
        return [account for account in self.accounts.values() if account.vendor == vendor]

    def remove_account(self, account: Account) -> None:
        self.authority.revoke(account.vendor, account.email)
        del self.accounts[account.vendor, account.email]
