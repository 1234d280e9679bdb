"""The simulator as Microsoft Graph for the tests of `providers.graph`: an account, its token, the contract's harness.

What is asked of the simulator's truth is asked by immutable id, as the provider knows its messages.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from email_sync.providers.base import MailAccount
from email_sync.providers.graph import Graph
from email_sync.records import ARCHIVE, DRAFTS, INBOX, SENT, SPAM, TRASH
from email_sync.tests.contract import MailHarness, Truth
from simulator.process import Simulator

SCOPES = "openid offline_access User.Read Mail.ReadWrite Mail.Send"
FOLDERS = {
    INBOX: "inbox",
    SENT: "sentitems",
    DRAFTS: "drafts",
    TRASH: "deleteditems",
    SPAM: "junkemail",
    ARCHIVE: "archive",
}
ROLES = {folder: role for role, folder in FOLDERS.items()}


def access_token(simulator: Simulator, email: str, scope: str = SCOPES) -> str:
    """A token as a consenting user's browser would have brought it."""
    env, callback = simulator.env(), "http://hub.test/callback"
    tenant = env.get("MICROSOFT_TENANT", "common")
    asked = {"client_id": env["MICROSOFT_CLIENT_ID"], "redirect_uri": callback, "response_type": "code", "scope": scope}
    authorize = env["MICROSOFT_AUTHORIZE_URL"].replace("{tenant}", tenant)
    location = simulator.authorize(f"{authorize}?{urlencode(asked)}", email)
    form = {
        "grant_type": "authorization_code",
        "code": parse_qs(urlsplit(location).query)["code"][0],
        "redirect_uri": callback,
        "client_id": env["MICROSOFT_CLIENT_ID"],
        "client_secret": env["MICROSOFT_CLIENT_SECRET"],
    }
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    path = urlsplit(env["MICROSOFT_TOKEN_URL"].replace("{tenant}", tenant)).path
    _, _, body = simulator.request("POST", path, headers=headers, body=urlencode(form).encode())
    return str(json.loads(body)["access_token"])


def graph_at(simulator: Simulator, email: str, token: str) -> Graph:
    """The provider for an account of the simulator."""
    return Graph(MailAccount(email, token, {"graphApiUrl": simulator.base_url}))


class GraphHarness(MailHarness):
    """A Microsoft account of the simulator; a second one receives what it sends."""

    def __init__(self, simulator: Simulator, email: str, others: tuple[str, ...], **account: Any) -> None:
        self.simulator, self.email, self.others = simulator, email, others
        for address in (email, *others):
            simulator.create_account("microsoft", address, **account)
        self.token = access_token(simulator, email)

    def provider(self) -> Graph:
        return graph_at(self.simulator, self.email, self.token)

    def deliver(self, raw: bytes, role: str = INBOX, *, read: bool = False) -> None:
        message = {"raw": raw, "folder": FOLDERS.get(role, role), "is_read": read}
        self.simulator.deliver_many(self.email, [message], vendor="microsoft")

    def remove(self, message_id: str) -> None:
        self.simulator.delete_message(self.email, self.find(message_id)["id"], vendor="microsoft")

    def set_flags(self, message_id: str, *, read: bool | None = None, starred: bool | None = None) -> None:
        wanted: dict[str, Any] = {} if read is None else {"is_read": read}
        if starred is not None:
            wanted["flag"] = "flagged" if starred else "notFlagged"
        self.simulator.change(self.email, self.find(message_id)["id"], **wanted)

    def move(self, message_id: str, role: str) -> None:
        self.simulator.move(self.email, self.find(message_id)["id"], FOLDERS.get(role, role))

    def rewrite_draft(self, message_id: str, subject: str) -> None:
        """As Outlook does: in place."""
        path = f"/v1.0/me/messages/{quote(self.find(message_id)['id'])}"
        self.ask("PATCH", path, {"subject": subject})

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """A request of another client of the same user's."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        headers["Prefer"] = 'IdType="ImmutableId"'
        content = json.dumps(body).encode() if body is not None else b""
        status, _, answer = self.simulator.request(method, path, headers=headers, body=content)
        assert status < 300, answer
        return json.loads(answer) if answer else None

    def lose_cursor(self) -> None:
        self.simulator.expire_delta(self.email)

    def truth(self) -> set[Truth]:
        return {
            Truth(
                item["message_id"].strip("<>"),
                frozenset({ROLES[item["folder"]]} if item["folder"] in ROLES else ()),
                item["is_read"],
                item["flag"] == "flagged",
            )
            for item in self.messages()
        }

    def outbox(self) -> list[tuple[frozenset[str], bytes]]:
        """The bytes are those that arrived at the first other account."""
        found = []
        for sent in self.simulator.sent(account=self.email):
            arrived = next(
                item["id"]
                for item in self.simulator.mailbox(self.others[0], vendor="microsoft")["messages"]
                if item["message_id"] == sent["message_id"]
            )
            recipients = frozenset([*sent["to"], *sent["cc"], *sent["bcc"]])
            found.append((recipients, self.simulator.raw(self.others[0], arrived, vendor="microsoft")))
        return found

    def lose_next_send_answer(self) -> None:
        self.simulator.fault("close", path="/me/sendMail", effect=True, count=1)

    def refuse_next_send(self) -> None:
        self.simulator.fault("status", path="/me/sendMail", status=400, reason="ErrorInvalidRecipients", count=1)

    def messages(self) -> list[dict[str, Any]]:
        """Every message as the simulator has it."""
        return list(self.simulator.mailbox(self.email, vendor="microsoft")["messages"])

    def find(self, message_id: str) -> dict[str, Any]:
        """One by its Message-ID without brackets."""
        return next(item for item in self.messages() if item["message_id"].strip("<>") == message_id)
