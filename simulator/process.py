"""Starts the simulator as a child process and drives it: for tests, the demo and the benchmarks.

    with running() as simulator:
        simulator.create_account("google", "ada@hub.example", messages=200)
        os.environ.update(simulator.env())

The child dies with its parent, also when the parent is killed. Imports nothing of the product.
"""

from __future__ import annotations

import base64
import http.client
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

ROOT = Path(__file__).resolve().parent.parent
STOP_SECONDS = 5


class SimulatorError(Exception):
    """The control API refused; the text says why."""


@contextmanager
def running(*, seed: int = 1, seed_messages: int = 0, host: str = "127.0.0.1", port: int = 0) -> Iterator[Simulator]:
    """A fresh simulator for the length of a `with` block."""
    process = start(seed=seed, seed_messages=seed_messages, host=host, port=port)
    try:
        yield Simulator(read_base_url(process), process.pid)
    finally:
        stop(process)


def start(*, seed: int = 1, seed_messages: int = 0, host: str = "127.0.0.1", port: int = 0) -> subprocess.Popen[bytes]:
    """The child alone, for a caller that keeps it longer than a block; `read_base_url` waits until it listens."""
    command = [sys.executable, "-m", "simulator", "--exit-with-parent", "--host", host, "--port", str(port)]
    command += ["--seed", str(seed), "--seed-messages", str(seed_messages)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def read_base_url(process: subprocess.Popen[bytes]) -> str:
    if process.stdout is None:
        raise SimulatorError("the simulator was not started with a pipe")
    line = process.stdout.readline()
    if not line:
        raise SimulatorError(f"the simulator did not start (exit status {process.wait()})")
    return str(json.loads(line)["base_url"])


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


class Simulator:
    """A running simulator and its control API. Methods raise SimulatorError when the API says no."""

    def __init__(self, base_url: str, pid: int = 0) -> None:
        self.base_url = base_url.rstrip("/")
        self.pid = pid

    # The simulator itself

    def health(self) -> dict[str, Any]:
        return self._object("GET", "/health")

    def env(self) -> dict[str, str]:
        """The environment variables that point a hub at this simulator."""
        return self._object("GET", "/env")

    def reset(self, seed: int | None = None) -> None:
        """Back to an empty simulator: no accounts, faults, tokens or ledger, default settings."""
        self._call("POST", "/reset", {} if seed is None else {"seed": seed})

    def settings(self, **changes: Any) -> dict[str, Any]:
        """All settings, after changing those named; see `state.Settings`."""
        return self._object("PATCH", "/settings", changes)

    def advance(self, seconds: float) -> None:
        """Moves the simulator's clock."""
        self._call("POST", "/clock", {"advance": seconds})

    # Accounts and mailboxes

    def accounts(self) -> list[dict[str, Any]]:
        return self._list("GET", "/accounts")

    def create_account(
        self,
        vendor: str,
        email: str,
        *,
        name: str = "",
        messages: int = 0,
        seed: int | None = None,
        until: str | None = None,
        years: float = 3,
        aliases: Sequence[str] = (),
        history_start: int | None = None,
        folder_names: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """`vendor` google or microsoft; `until` is `now` or `2026-11-01T00:00:00Z`, the date of the newest mail;
        `folder_names` (well-known name → display name) for a Microsoft mailbox in another language."""
        body: dict[str, Any] = {"vendor": vendor, "email": email, "name": name, "messages": messages, "years": years}
        body |= {"aliases": list(aliases)}
        given = {"seed": seed, "until": until, "history_start": history_start, "folder_names": folder_names}
        return self._object(
            "POST", "/accounts", body | {key: value for key, value in given.items() if value is not None}
        )

    def delete_account(self, vendor: str, email: str) -> None:
        self._call("DELETE", _account(vendor, email))

    def seed(self, email: str, messages: int, *, vendor: str = "google", **options: Any) -> dict[str, Any]:
        """More generated mail; it leaves no history, so cursors taken before are dead."""
        return self._object("POST", f"{_account(vendor, email)}/seed", {"messages": messages} | options)

    def mailbox(self, email: str, *, vendor: str = "google") -> dict[str, Any]:
        """The truth: `history_id`, `labels`, `drafts` and `messages` (id, thread_id, labels, message_id,
        internal_date, size, sha256), newest first. At Microsoft `folders` and `messages` (id, immutable_id, thread_id,
        folder, folder_id, is_read, flag, categories and the others)."""
        return self._object("GET", f"{_account(vendor, email)}/mailbox")

    def deliver(
        self,
        email: str,
        raw: bytes,
        *,
        labels: Sequence[str] = ("INBOX", "UNREAD"),
        thread_id: str = "",
        internal_date: int | str | None = None,
        vendor: str = "google",
    ) -> dict[str, Any]:
        """Files one message; labels by id or name (made when missing); `internal_date` in milliseconds or "header".
        At Microsoft labels choose folder and state: INBOX, SENT, DRAFT, TRASH, SPAM, UNREAD, STARRED, or a folder's
        name; none is the archive."""
        message = {"raw": raw, "labels": list(labels), "thread_id": thread_id, "internal_date": internal_date}
        return self.deliver_many(email, [message], vendor=vendor)[0]

    def deliver_many(
        self, email: str, messages: Sequence[dict[str, Any]], *, vendor: str = "google"
    ) -> list[dict[str, Any]]:
        """Each message a dict with `raw` (bytes) and, if wanted, `labels`, `thread_id`, `internal_date`; at Microsoft
        also `folder`, `is_read`, `flag`, `categories`."""
        packed = [item | {"raw": base64.b64encode(item["raw"]).decode()} for item in messages]
        answer = self._call("POST", f"{_account(vendor, email)}/messages", {"messages": packed})
        return list(answer["messages"])

    def load_eml(
        self, email: str, paths: Sequence[Path], *, labels: Sequence[str] = ("INBOX",), vendor: str = "google"
    ) -> list[dict[str, Any]]:
        """Files .eml files with the dates of their headers."""
        messages = [{"raw": path.read_bytes(), "labels": list(labels), "internal_date": "header"} for path in paths]
        return self.deliver_many(email, messages, vendor=vendor)

    def relabel(
        self, email: str, message_id: str, *, add: Sequence[str] = (), remove: Sequence[str] = (),
        vendor: str = "google",
    ) -> dict[str, Any]:  # fmt: skip
        """Changes labels behind the hub's back; `message_id` is the provider's id."""
        path = f"{_account(vendor, email)}/messages/{quote(message_id, safe='')}"
        return self._object("PATCH", path, {"add": list(add), "remove": list(remove)})

    def delete_message(self, email: str, message_id: str, *, vendor: str = "google") -> None:
        """Deletes for good, behind the hub's back."""
        self._call("DELETE", f"{_account(vendor, email)}/messages/{quote(message_id, safe='')}")

    def raw(self, email: str, message_id: str, *, vendor: str = "google") -> bytes:
        path = f"{_account(vendor, email)}/messages/{quote(message_id, safe='')}/raw"
        return self.request("GET", f"/_control{path}")[2]

    def expire_history(self, email: str, *, vendor: str = "google") -> str:
        """Kills every history id handed out so far; the new one."""
        return str(self._call("POST", f"{_account(vendor, email)}/expire-history")["history_id"])

    def change(self, email: str, message_id: str, **changes: Any) -> dict[str, Any]:
        """Microsoft: changes `folder` (id, well-known or display name), `is_read`, `flag` (flagged, …), `categories`
        behind the hub's back; `message_id` is either kind of id."""
        path = f"{_account('microsoft', email)}/messages/{quote(message_id, safe='')}"
        return self._object("PATCH", path, changes)

    def move(self, email: str, message_id: str, folder: str) -> dict[str, Any]:
        """Microsoft: into another folder, made if it is not there; the mutable id changes."""
        return self.change(email, message_id, folder=folder)

    def create_folder(self, email: str, name: str, *, parent: str = "", hidden: bool = False) -> dict[str, Any]:
        body = {"name": name, "parent": parent, "hidden": hidden}
        return self._object("POST", f"{_account('microsoft', email)}/folders", body)

    def change_folder(self, email: str, folder: str, *, name: str = "", parent: str = "") -> dict[str, Any]:
        path = f"{_account('microsoft', email)}/folders/{quote(folder, safe='')}"
        return self._object("PATCH", path, {"name": name, "parent": parent})

    def delete_folder(self, email: str, folder: str) -> None:
        """For good, with everything in it."""
        self._call("DELETE", f"{_account('microsoft', email)}/folders/{quote(folder, safe='')}")

    def expire_delta(self, email: str, *, folder: str = "", status: int = 410, code: str = "syncStateNotFound") -> int:
        """Microsoft: kills the sync states of a folder, or of all; how many places that are. 410 comes with a
        Location, a 4xx with its code alone."""
        body = {"folder": folder, "status": status, "code": code}
        return int(self._call("POST", f"{_account('microsoft', email)}/expire-delta", body)["expired"])

    # Doorbells

    def lifecycle(self, email: str, event: str, *, subscription: str = "") -> int:
        """Posts reauthorizationRequired, subscriptionRemoved or missed to an account's Graph subscriptions."""
        body = {"event": event, "subscription": subscription}
        return int(self._call("POST", f"{_account('microsoft', email)}/lifecycle", body)["posted"])

    def subscriptions(self) -> list[dict[str, Any]]:
        """Graph's subscriptions and Gmail's watches that are alive."""
        return self._list("GET", "/subscriptions")

    def pushes(self, **wanted: str) -> list[dict[str, Any]]:
        """Attempts to post a notification; filters: vendor, account, kind (notification, lifecycle, pubsub,
        validation). `status` 0: no answer, -1: dropped on purpose."""
        return list(self._call("GET", f"/pushes?{urlencode(wanted)}")["pushes"])

    def oidc_token(self, **claims: Any) -> str:
        """A token as a Pub/Sub push carries it, signed; `claims` are laid over the usual ones."""
        return str(self._call("POST", "/oidc-token", claims)["token"])

    # OAuth

    def create_client(
        self, vendor: str, client_id: str, client_secret: str, redirect_uris: Sequence[str] = ()
    ) -> dict[str, Any]:
        """With `redirect_uris` only those are taken; without, any."""
        body = {"vendor": vendor, "client_id": client_id, "client_secret": client_secret}
        return self._object("POST", "/clients", body | {"redirect_uris": list(redirect_uris)})

    def auto_consent(self, vendor: str, email: str, *, scopes: Sequence[str] | None = None, once: bool = False) -> None:
        """Consent without the page; `scopes` grants only those beside the sign-in ones (Google)."""
        body = {"vendor": vendor, "email": email, "once": once}
        self._call("POST", "/consent", body | {"scopes": None if scopes is None else list(scopes)})

    def auto_deny(self, vendor: str, *, once: bool = False) -> None:
        self._call("POST", "/consent", {"vendor": vendor, "deny": True, "once": once})

    def ask_again(self) -> None:
        """The consent pages are shown again."""
        self._call("DELETE", "/consent")

    def authorize(self, authorization_url: str, email: str, *, scopes: Sequence[str] | None = None) -> str:
        """Plays the user on an authorize URL; gives the URL the browser is sent back to. `email` "deny" refuses."""
        parts = urlsplit(authorization_url)
        extra = {"_auto": email} | ({} if scopes is None else {"_scopes": " ".join(scopes)})
        status, headers, body = self.request("GET", f"{parts.path}?{parts.query}&{urlencode(extra)}")
        if status != 302:
            raise SimulatorError(f"the authorize page answered {status}: {body[-400:].decode('utf-8', 'replace')}")
        return headers["location"]

    def grants(self) -> list[dict[str, Any]]:
        return self._list("GET", "/grants")

    def revoke(self, *, vendor: str = "", email: str = "") -> int:
        """The user withdraws consent at the provider; how many grants that ended."""
        return int(self._call("POST", "/grants/revoke", {"vendor": vendor, "email": email})["revoked"])

    def expire_tokens(self, *, kind: str = "access", vendor: str = "", email: str = "") -> int:
        """`kind`: access, refresh or all; how many it ended."""
        body = {"kind": kind, "vendor": vendor, "email": email}
        return int(self._call("POST", "/tokens/expire", body)["expired"])

    # Faults

    def fault(self, kind: str, **rule: Any) -> str:
        """Adds a rule (see `faults.Fault`): status, hang, close, truncate, garbage, slow, latency, merge. Its id."""
        return str(self._call("POST", "/faults", {"kind": kind} | rule)["id"])

    def faults(self) -> list[dict[str, Any]]:
        """The rules with how often each has `seen` a match and `fired`."""
        return self._list("GET", "/faults")

    def remove_fault(self, identity: str) -> None:
        self._call("DELETE", f"/faults/{quote(identity, safe='')}")

    def clear_faults(self) -> None:
        self._call("DELETE", "/faults")

    # Ledger

    def ledger(self, **wanted: Any) -> list[dict[str, Any]]:
        """Requests, oldest first; filters: vendor, account, operation, method, status, fault, target (contains),
        since (a seq), limit (the last n)."""
        return list(self._call("GET", f"/ledger?{urlencode(wanted)}")["entries"])

    def summary(self) -> dict[str, dict[str, int]]:
        """operation → status → count."""
        return self._object("GET", "/ledger/summary")

    def clear_ledger(self) -> None:
        self._call("DELETE", "/ledger")

    def sent(self, **wanted: str) -> list[dict[str, Any]]:
        """Mails accepted for delivery; filters: any field, e.g. account, message_id."""
        return list(self._call("GET", f"/sent?{urlencode(wanted)}")["mails"])

    def sent_raw(self, seq: int) -> bytes:
        return self.request("GET", f"/_control/sent/{seq}/raw")[2]

    # Plumbing

    def request(
        self, method: str, target: str, *, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> tuple[int, dict[str, str], bytes]:
        """Any request to the simulator, redirects not followed: status, headers with lower-case names, body."""
        parts = urlsplit(self.base_url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        try:
            connection.request(method, target, body=body or None, headers=headers or {})
            response = connection.getresponse()
            return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
        finally:
            connection.close()

    def _object(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        value: dict[str, Any] = self._call(method, path, body)
        return value

    def _list(self, method: str, path: str) -> list[dict[str, Any]]:
        value: list[dict[str, Any]] = self._call(method, path)
        return value

    def control(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Any call under /_control, a vendor's own among them; the decoded answer."""
        return self._call(method, path, body)

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        packed = json.dumps(body).encode() if body is not None else b""
        status, _, answer = self.request(method, f"/_control{path}", body=packed)
        value = json.loads(answer)
        if status != 200:
            raise SimulatorError(f"{status}: {value.get('error', value)}")
        return value


def _account(vendor: str, email: str) -> str:
    return f"/accounts/{vendor}/{quote(email, safe='')}"
