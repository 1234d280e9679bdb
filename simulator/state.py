"""Everything the stand-in remembers, in memory: accounts, their mailboxes, OAuth grants, settings and the clock.

One world per process, touched only from the server's event loop, so nothing here needs a lock. With the same seed and
the same requests it gives the same ids and tokens.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from simulator.exchange import ExchangeMailbox
from simulator.grants import Authority
from simulator.ledger import Ledger
from simulator.mailbox import Mailbox
from simulator.quota import MailboxRequests, Quota
from simulator.wire import Request

DEFAULT_SEED = 1

Part = TypeVar("Part")


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
    google_rotates_refresh_tokens: bool = False
    """A refresh brings a new refresh token and ends the old one. Google does it rarely, and a client must cope."""
    drive_quota_units_per_minute: int = 0
    """Per user; 0: no limit. A new project has 325,000."""
    drive_quota_status: int = 403
    """403 userRateLimitExceeded, or 429 rateLimitExceeded: both are seen."""
    drive_daily_limit: int = 0
    """Requests of all users until the clock's next day; 0: no limit."""
    drive_export_bytes: int = 10 * 1024 * 1024
    drive_small_upload_bytes: int = 5 * 1024 * 1024
    """The most that simple and multipart uploads take."""
    drive_chunk_keeps_bytes: int = 0
    """How much of a chunk that is not the last is kept at most, rounded down to 256 KiB; 0: all of it."""
    drive_session_seconds: int = 7 * 86400
    """Life of an upload session."""
    google_calendar_requests_per_minute: int = 0
    """Per user; 0: no limit. A new project has 600."""
    google_calendar_quota_status: int = 403
    google_calendar_page: int = 0
    """The most that a page holds, whatever is asked for; 0: as asked."""
    google_calendar_empty_pages: int = 0
    """How many empty pages with more to follow begin each listing of events."""
    google_calendar_conference_pending: bool = False
    """A conference that is asked for does not come about at once."""
    graph_requests_in_flight: int = 4
    """Per mailbox; 0: no limit. A `latency` fault makes requests overlap."""
    graph_requests_per_ten_minutes: int = 10_000
    """Per mailbox, refused ones included; 0: no limit."""
    graph_retry_after_seconds: int = 1
    """What Retry-After says when too many requests are under way."""
    graph_disabled_mailboxes: list[str] = field(default_factory=list)
    """Addresses answered with MailboxNotEnabledForRESTAPI."""
    graph_full_mailboxes: list[str] = field(default_factory=list)
    """Addresses whose deltas are refused with ErrorQuotaExceeded while everything else works."""
    graph_lost_item_bug: bool = True
    """With immutable ids, what left a folder and came back between two deltas is told as removed, and no more."""
    graph_delta_empty_pages: int = 0
    """How many empty pages with more to follow begin each round."""
    graph_delta_repeats: bool = False
    """Every item of a page comes twice, and out of order."""
    graph_delta_replays: int = 0
    """How far (in changes of the mailbox) a delta link goes back behind where it ended."""
    graph_delta_lag_seconds: float = 0.0
    """How long a change stays unseen by deltas."""
    graph_delta_partial: bool = True
    """Changed items come with what changed only; else whole."""
    graph_sent_copy_seconds: float = 0.0
    """How long after the 202 the copy appears in Sent Items."""
    graph_required_claims: str = ""
    """A JSON object of claims an access token must have been asked with; one that was not, of a client that says it
    understands (`xms_cc` cp1), meets a claims challenge (continuous access evaluation). Others pass until they end."""
    graph_rewrites_message_id: bool = False
    graph_splits_conversations: bool = False
    """What comes as MIME begins a conversation of its own, whatever it refers to."""
    pubsub_push_endpoint: str = ""
    """Where Pub/Sub pushes what Gmail announces: an address on loopback; empty: nowhere."""
    pubsub_audience: str = ""
    """`aud` of its token; empty: the endpoint, as Pub/Sub does by default."""
    pubsub_service_account: str = "push@simulator.iam.gserviceaccount.com"
    pubsub_subscription: str = "projects/simulator/subscriptions/gmail-push"
    pubsub_token_seconds: int = 3600
    """Life of a push's token; negative: expired when it arrives."""
    gmail_push_interval_seconds: float = 1.0
    """Gmail announces at most one change in this time, and drops the others."""
    push_drop: bool = False
    """No push and no notification arrives."""
    push_copies: int = 1
    push_delay_seconds: float = 0.0
    push_attempts: int = 3
    """How often a push is tried until it is answered with 2xx."""
    resend_requests_per_second: int = 5
    """Per team; 0: no limit."""
    resend_invalid_key_status: int = 400
    """What a wrong key is answered with: 403 as documented, 400 or 401 as seen."""
    resend_daily_quota: int = 0
    """Addresses written to; 0: no limit."""
    resend_monthly_quota: int = 0
    resend_events: list[str] = field(default_factory=lambda: ["sent", "delivered"])
    """What happens to each mail by itself, and is posted to the team's webhook."""
    sendgrid_requests_per_minute: int = 600
    """Per endpoint; 0: no limit."""
    sendgrid_events: list[str] = field(default_factory=lambda: ["processed", "delivered"])
    sendgrid_drops_unknown_templates: bool = False
    """Whether a mail of an unknown template is accepted and dropped later (github sendgrid/docs issue 2616)."""

    def change(self, values: dict[str, Any]) -> None:
        """Raises ValueError for an unknown name or a value of another type."""
        known = {item.name: type(getattr(self, item.name)) for item in fields(self)}
        for name, value in values.items():
            if known.get(name) is float and type(value) is int:
                continue
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
    """Google's."""
    exchange: ExchangeMailbox | None = None
    """Microsoft's."""


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
        self.mailbox_requests = MailboxRequests()
        self.uploads: dict[str, Any] = {}
        """Upload sessions by the name in their address; `graph.attachments` keeps them."""
        self.subscriptions: dict[str, Any] = {}
        """By id; `graph.subscriptions` keeps them."""
        self.watches: dict[str, Any] = {}
        """By address; `gmail.push` keeps them."""
        self.pushes: list[Any] = []
        """Every attempt to post a notification; `push` writes it."""
        self.under_way: list[Request] = []
        """Requests whose caller still waits, in the order they came; `server` keeps it."""
        self._parts: dict[type, Any] = {}

    def part(self, kind: type[Part]) -> Part:
        """What a vendor's module remembers, a dataclass of its own: empty when first asked for, and after `reset`."""
        if kind not in self._parts:
            self._parts[kind] = kind()
        part: Part = self._parts[kind]
        return part

    def now(self) -> float:
        return time.time() + self.clock_offset

    def stamp(self) -> str:
        return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(self.now()))

    def add_account(
        self, vendor: str, email: str, name: str = "", aliases: list[str] | None = None,
        folder_names: dict[str, str] | None = None,
    ) -> Account:  # fmt: skip
        """With an empty mailbox; `folder_names` (well-known name → display name) are those of a Microsoft account in
        another language. Raises ValueError when the account exists."""
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
        else:
            account.exchange = ExchangeMailbox(email, self.seed, folder_names)
        self.accounts[vendor, email] = account
        return account

    def account(self, vendor: str, email: str) -> Account | None:
        return self.accounts.get((vendor, email.lower()))

    def accounts_of(self, vendor: str) -> list[Account]:
        return [account for account in self.accounts.values() if account.vendor == vendor]

    def remove_account(self, account: Account) -> None:
        self.authority.revoke(account.vendor, account.email)
        del self.accounts[account.vendor, account.email]
