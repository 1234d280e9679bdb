"""The simulator as Gmail for the tests of `providers.gmail`: an account, its token, and the harness of the contract."""

from __future__ import annotations

import base64
import json
from urllib.parse import parse_qs, urlencode, urlsplit

from email_sync.providers.base import MailAccount
from email_sync.providers.gmail import Gmail
from email_sync.records import ARCHIVE, DRAFTS, INBOX, SENT, SPAM, TRASH
from email_sync.tests.contract import MailHarness, Truth, resubjected
from simulator.process import Simulator

MODIFY = "https://www.googleapis.com/auth/gmail.modify"
LABELS = {INBOX: "INBOX", SENT: "SENT", DRAFTS: "DRAFT", TRASH: "TRASH", SPAM: "SPAM"}
ROLES = {label: role for role, label in LABELS.items()}


def access_token(simulator: Simulator, email: str, scope: str = MODIFY) -> str:
    """A token as a consenting user's browser would have brought it."""
    env, callback = simulator.env(), "http://hub.test/callback"
    asked = {"client_id": env["GOOGLE_CLIENT_ID"], "redirect_uri": callback, "response_type": "code", "scope": scope}
    location = simulator.authorize(f"{env['GOOGLE_AUTHORIZE_URL']}?{urlencode(asked)}", email)
    form = {
        "grant_type": "authorization_code",
        "code": parse_qs(urlsplit(location).query)["code"][0],
        "redirect_uri": callback,
        "client_id": env["GOOGLE_CLIENT_ID"],
        "client_secret": env["GOOGLE_CLIENT_SECRET"],
    }
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    _, _, body = simulator.request("POST", "/token", headers=headers, body=urlencode(form).encode())
    return str(json.loads(body)["access_token"])


def gmail_at(simulator: Simulator, email: str, token: str) -> Gmail:
    """The provider for an account of the simulator."""
    return Gmail(MailAccount(email, token, {"gmailApiUrl": simulator.base_url}))


class GmailHarness(MailHarness):
    """A Gmail account of the simulator; a second one receives what it sends."""

    def __init__(self, simulator: Simulator, email: str, others: tuple[str, ...]) -> None:
        self.simulator, self.email, self.others = simulator, email, others
        for address in (email, *others):
            simulator.create_account("google", address)
        self.token = access_token(simulator, email)

    def provider(self) -> Gmail:
        return gmail_at(self.simulator, self.email, self.token)

    def deliver(self, raw: bytes, role: str = INBOX, *, read: bool = False) -> None:
        labels = ([] if role == ARCHIVE else [LABELS[role]]) + ([] if read else ["UNREAD"])
        self.simulator.deliver(self.email, raw, labels=labels)

    def remove(self, message_id: str) -> None:
        self.simulator.delete_message(self.email, self._id(message_id))

    def set_flags(self, message_id: str, *, read: bool | None = None, starred: bool | None = None) -> None:
        wanted = {"UNREAD": None if read is None else not read, "STARRED": starred}
        self._relabel(message_id, [n for n, on in wanted.items() if on], [n for n, on in wanted.items() if on is False])

    def move(self, message_id: str, role: str) -> None:
        there = [] if role == ARCHIVE else [LABELS[role]]
        self._relabel(message_id, there, [label for label in ROLES if label not in there])

    def rewrite_draft(self, message_id: str, subject: str) -> None:
        """The draft keeps its id, its message does not."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        drafts = json.loads(self.simulator.request("GET", "/gmail/v1/users/me/drafts", headers=headers)[2])["drafts"]
        old = self._id(message_id)
        [draft_id] = [draft["id"] for draft in drafts if draft["message"]["id"] == old]
        raw = base64.urlsafe_b64encode(resubjected(self.simulator.raw(self.email, old), subject)).decode()
        body = json.dumps({"message": {"raw": raw}}).encode()
        status, _, answer = self.simulator.request(
            "PUT", f"/gmail/v1/users/me/drafts/{draft_id}", headers=headers, body=body
        )
        assert status == 200, answer

    def lose_cursor(self) -> None:
        self.simulator.expire_history(self.email)

    def truth(self) -> set[Truth]:
        return {
            Truth(
                item["message_id"].strip("<>"),
                frozenset(ROLES[label] for label in item["labels"] if label in ROLES) or frozenset({ARCHIVE}),
                "UNREAD" not in item["labels"],
                "STARRED" in item["labels"],
            )
            for item in self.simulator.mailbox(self.email)["messages"]
        }

    def outbox(self) -> list[tuple[frozenset[str], bytes]]:
        """The bytes are those that arrived at the first other account."""
        found = []
        for sent in self.simulator.sent(account=self.email):
            [arrived] = [
                item["id"]
                for item in self.simulator.mailbox(self.others[0])["messages"]
                if item["message_id"] == sent["message_id"]
            ]
            recipients = frozenset([*sent["to"], *sent["cc"], *sent["bcc"]])
            found.append((recipients, self.simulator.raw(self.others[0], arrived)))
        return found

    def lose_next_send_answer(self) -> None:
        self.simulator.fault("close", operation="gmail.users.messages.send", effect=True, count=1)

    def refuse_next_send(self) -> None:
        self.simulator.fault(
            "status", operation="gmail.users.messages.send", status=400, reason="invalidArgument", count=1
        )

    def _id(self, message_id: str) -> str:
        found = self.simulator.mailbox(self.email)["messages"]
        return next(str(item["id"]) for item in found if item["message_id"].strip("<>") == message_id)

    def _relabel(self, message_id: str, add: list[str], remove: list[str]) -> None:
        self.simulator.relabel(self.email, self._id(message_id), add=add, remove=remove)
