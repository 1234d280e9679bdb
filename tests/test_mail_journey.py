"""The main job on real mail, from outside: the running product, a real Dovecot, a real PostgreSQL, an SMTP sink.

Everything goes through the HTTP API, and what it says is compared with what Dovecot says, message by message: none
missing, none twice. The tests stand in the order of a mailbox's life, which is lived with two kinds of server: one that
tells changes (QRESYNC), one that knows RFC 3501 and no more.
"""

from __future__ import annotations

import http.client
import imaplib
import json
import random
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from email import message_from_bytes
from imaplib import Time2Internaldate
from itertools import cycle
from typing import Any

import pytest

from email_sync.tests import dovecot as servers
from email_sync.tests.smtp_sink import SmtpSink
from simulator.visitor import Refused, Visitor
from tests import letters, truth
from tests.running import Product

pytestmark = pytest.mark.services

WAIT_SECONDS = 90
FIRST_MAIL_SECONDS = 15
HISTORIES = 25
TOKENS = 6
"""A token may call 600 times a minute; who reads a whole mailbox mail by mail brings several."""
FOLDER = "Projekte/Ünïcode & Söhne"
RENAMED = "Ablage/Ünïcode 2026"
SHARES = {"INBOX": 150, "Sent": 40, "Archive": 40, "Drafts": 5, "Trash": 12, "Junk": 12, FOLDER: 41}


@dataclass
class Hub:
    """The product as its user's program sees it."""

    product: Product
    visitors: Iterator[Visitor]
    connection: str = ""

    def call(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """The answer; a token that has called too often is put aside for another one."""
        for visitor in (next(self.visitors) for _ in range(TOKENS)):
            try:
                return visitor.call(method, path, body, **query)
            except Refused as error:
                if error.status != 429:
                    raise
        raise AssertionError("every token is throttled")

    def get(self, path: str, **query: Any) -> Any:
        return self.call("GET", path, **query)

    def refused(self, method: str, path: str, body: Any = None) -> tuple[int, str]:
        """Status and code of a call that must fail."""
        with pytest.raises(Refused) as caught:
            self.call(method, path, body)
        return caught.value.status, caught.value.body["error"]["code"]

    def content(self, path: str) -> bytes:
        status, content = next(self.visitors).request("GET", f"/api/v1/integrations/{path}")
        assert status == 200, content
        return content

    def wait_until(self, happened: Callable[[], bool], what: str) -> float:
        """How long it took."""
        began = time.monotonic()
        while not happened():
            assert time.monotonic() - began < WAIT_SECONDS, f"{what} did not happen\n{self.product.output[-6000:]}"
            assert self.product.process.poll() is None, self.product.output
            threading.Event().wait(0.1)
        return time.monotonic() - began

    def run_ended(self, run_id: str) -> bool:
        run = self.get(f"connections/{self.connection}/status")["email"]["lastRun"]
        assert run["status"] != "failed", run
        return run["id"] == run_id and run["status"] == "done"

    def sync(self) -> None:
        [run] = self.call("POST", f"connections/{self.connection}/sync", {"type": "email"})["runs"]
        self.wait_until(lambda: self.run_ended(run["id"]), "the end of a sync")

    def resting(self) -> dict[str, Any]:
        """The connection's status between two runs: it listens, so another one may have begun by itself."""
        found: list[dict[str, Any]] = []

        def is_resting() -> bool:
            found.append(self.get(f"connections/{self.connection}/status"))
            return bool(found[-1]["email"]["status"] == "idle")

        self.wait_until(is_resting, "a rest")
        return found[-1]

    def rows(self) -> list[dict[str, Any]]:
        """Every email there is."""
        everywhere = ("all", "trash", "spam")
        return [row for folder in everywhere for row in truth.told_by_api(self.get, self.connection, folder)]

    def row(self, message_id: str) -> dict[str, Any]:
        [row] = [row for row in self.rows() if row["messageId"] == message_id]
        return row


@dataclass
class Mailbox:
    """An account at Dovecot, with a door behind the product's back."""

    server: servers.Dovecot
    user: str
    moments: Iterator[Any]
    appended: int = 0
    refused: list[str] = field(default_factory=list)

    def append(self, folder: str, raw: bytes, flags: str = "") -> bool:
        """Each message gets a moment of its own. False where Dovecot does not take it."""
        with self.server.door(self.user) as door:
            return self._append(door, folder, raw, flags)

    def _append(self, door: imaplib.IMAP4, folder: str, raw: bytes, flags: str = "") -> bool:
        moment = Time2Internaldate(next(self.moments))
        status, _ = door.append(truth.wire_name(folder), flags, moment, raw)
        self.appended += status == "OK"
        return status == "OK"

    def fill(self) -> None:
        """All real mail into the inbox, generated mail everywhere."""
        dice = random.Random(7)
        with self.server.door(self.user) as door:
            door.create(truth.wire_name(FOLDER))
            for name, raw in letters.real().items():
                if not self._append(door, "INBOX", raw, _flags(dice)):
                    self.refused.append(name)
            generated = letters.generated(sum(SHARES.values()), seed=3)
            for folder, count in SHARES.items():
                for _ in range(count):
                    assert self._append(door, folder, next(generated), _flags(dice))

    def told(self) -> list[tuple[truth.Seen, bytes]]:
        with self.server.door(self.user) as door:
            return truth.told_by_server(door)

    def uids(self, door: imaplib.IMAP4, folder: str) -> list[str]:
        assert door.select(truth.wire_name(folder))[0] == "OK"
        return door.uid("SEARCH", "ALL")[1][0].decode().split()

    def move(self, door: imaplib.IMAP4, uids: list[str], folder: str) -> None:
        """Out of the selected folder."""
        assert door.uid("COPY", ",".join(uids), truth.wire_name(folder))[0] == "OK"
        self.expunge(door, uids)

    def expunge(self, door: imaplib.IMAP4, uids: list[str]) -> None:
        assert door.uid("STORE", ",".join(uids), "+FLAGS.SILENT", "(\\Deleted)")[0] == "OK"
        assert door.expunge()[0] == "OK"

    def account(self, sink: SmtpSink, **imap: Any) -> dict[str, Any]:
        """The body of POST connections/imap."""
        login = {"username": self.user, "password": servers.PASSWORD, "security": "none", "host": "127.0.0.1"}
        return {
            "email": self.user,
            "imap": {**login, "port": self.server.imap_port, **imap},
            "smtp": {**login, "port": sink.port},
        }


def _flags(dice: random.Random) -> str:
    return " ".join(flag for flag in ("\\Seen", "\\Flagged", "\\Answered", "$Label1") if dice.random() < 0.35)


@pytest.fixture(scope="module")
def product(database_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    running = Product(
        tmp_path_factory.mktemp("journey") / "data",
        DATABASE_URL=database_url,
        CELERY_BROKER_URL=redis_url,
        REDIS_URL=redis_url,
        EGRESS_ALLOW_CIDRS="127.0.0.0/8",
        SYNC_INTERVAL_SECONDS="86400",
    )
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def hub(product: Product) -> Hub:
    product.wait_until_ready()
    first = re.search(r"API token\s+(\S+)", product.output)
    assert first, product.output
    url = f"http://127.0.0.1:{product.port}"
    owner = Visitor(url, first[1])
    texts = [first[1]]
    for number in range(TOKENS - 1):
        status, answer = owner.request("POST", "/api/tokens", {"name": f"reader {number}"})
        assert status == 201, answer
        texts.append(json.loads(answer)["token"])
    return Hub(product, cycle([Visitor(url, text) for text in texts]))


@pytest.fixture(scope="module", params=["qresync", "plain"])
def mailbox(request: pytest.FixtureRequest) -> Iterator[Mailbox]:
    if servers.missing():
        pytest.fail(servers.missing())
    server = servers.Dovecot(request.param).start()
    moments = (letters.BEGIN + timedelta(minutes=minute) for minute in range(10_000))
    made = Mailbox(server, server.add_user(f"{request.param}@contract.test"), moments)
    made.fill()
    yield made
    server.stop()


@pytest.fixture(scope="module")
def sink(mailbox: Mailbox) -> Iterator[SmtpSink]:
    """Takes mail for anybody from this account alone."""
    with SmtpSink(users={mailbox.user: servers.PASSWORD}) as running:
        yield running


def _agree(hub: Hub, mailbox: Mailbox) -> int:
    """How many messages were compared."""
    server, rows = mailbox.told(), hub.rows()
    assert truth.differences(server, rows) == {}
    assert len(rows) == len(server)
    for role in truth.ROLES.values():
        told = [(seen, raw) for seen, raw in server if seen.folder == role]
        assert truth.differences(told, truth.told_by_api(hub.get, hub.connection, role)) == {}, role
    return len(rows)


# --- connecting ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("imap", "code"),
    [
        ({"password": "wrong"}, "credentials_rejected"),
        ({"username": "nobody@contract.test", "password": "wrong"}, "credentials_rejected"),
        ({"port": 0}, "connection_failed"),
        ({"host": "no-such-host.invalid"}, "connection_failed"),
        ({"host": "10.0.0.1", "security": "tls"}, "address_not_allowed"),
        ({"host": "169.254.169.254", "security": "tls"}, "address_not_allowed"),
        ({"host": "[::1]", "security": "tls"}, "address_not_allowed"),
    ],
)
def test_account_that_cannot_log_in_is_refused_with_a_reason_and_not_saved(
    hub: Hub, mailbox: Mailbox, sink: SmtpSink, imap: dict[str, Any], code: str
) -> None:
    before = hub.get("connections")
    if imap.get("port") == 0:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            imap = {"port": closed.getsockname()[1]}
    assert hub.refused("POST", "connections/imap", mailbox.account(sink, **imap)) == (422, code)
    assert hub.get("connections") == before


def test_first_mail_is_readable_soon_after_connecting_and_the_rest_follows(
    hub: Hub, mailbox: Mailbox, sink: SmtpSink, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    connected = hub.call("POST", "connections/imap", mailbox.account(sink))
    hub.connection = connected["id"]

    def newest() -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = hub.get("email/inbox", connectionId=hub.connection, limit=50)["data"]
        return rows

    hub.wait_until(lambda: len(newest()) == 50, "fifty mails")
    assert all(hub.get(f"email/{row['id']}")["headers"] for row in newest()[:3])
    readable = time.monotonic() - began
    run = hub.get(f"connections/{hub.connection}/status")["email"]["lastRun"]
    hub.wait_until(lambda: hub.run_ended(run["id"]), "the end of the first sync")
    whole = time.monotonic() - began
    with capsys.disabled():
        print(f"\n{mailbox.server.variant}: 50 mails readable {readable:.1f} s after connecting, all {whole:.1f} s")
    assert readable < FIRST_MAIL_SECONDS


def test_every_message_is_there_once_with_its_folder_flags_and_time(
    hub: Hub, mailbox: Mailbox, capsys: pytest.CaptureFixture[str]
) -> None:
    compared = _agree(hub, mailbox)
    assert compared == mailbox.appended
    counts = hub.get("email/folders/counts")
    with capsys.disabled():
        print(f"\n{mailbox.server.variant}: {compared} messages compared; not taken by Dovecot: {mailbox.refused}")
    status = hub.resting()
    assert (status["status"], status["lastError"]) == ("active", None)
    assert status["email"]["progress"]["done"] == compared
    assert counts["inbox"]["total"] >= SHARES["INBOX"]


def test_every_message_says_what_the_standard_library_reads_in_it(
    hub: Hub, mailbox: Mailbox, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {truth.seen_of(row): row for row in hub.rows()}
    compared: Counter[str] = Counter()
    wrong: list[tuple[str, Any, Any]] = []
    for seen, raw in mailbox.told():
        detail, message = hub.get(f"email/{rows[seen]['id']}"), truth.parsed(raw)
        for what, ours, theirs in (
            ("Message-ID", detail["messageId"], truth.message_id(message)),
            ("Subject", truth.squeezed(detail["subject"]), truth.subject(message)),
        ):
            compared[what] += theirs is not None
            if theirs not in (None, ours):
                wrong.append((what, ours, theirs))
        expected = truth.attachments(message)
        if expected is not None:
            own = [f"email/{detail['id']}/attachments/{part['id']}" for part in detail["attachments"]]
            found = Counter(truth.digest(hub.content(path)) for path in own)
            compared["attachments"] += expected.total()
            if expected - found:
                wrong.append(("attachments", found, expected))
    with capsys.disabled():
        print(f"\n{mailbox.server.variant}: compared with the standard library: {dict(compared)}")
    assert wrong == []
    assert compared["Message-ID"] > 300
    assert compared["attachments"] > 100


# --- changes on the server ----------------------------------------------------------------------------------------


def test_new_mail_arrives(hub: Hub, mailbox: Mailbox) -> None:
    places, marks = cycle(("INBOX", "Sent", FOLDER)), cycle(("", "\\Seen", "\\Flagged", "\\Seen \\Flagged"))
    for raw in letters.generated(12, seed=11):
        assert mailbox.append(next(places), raw, next(marks))
    hub.sync()
    assert _agree(hub, mailbox) == mailbox.appended


def test_flags_set_elsewhere_arrive(hub: Hub, mailbox: Mailbox) -> None:
    with mailbox.server.door(mailbox.user) as door:
        for folder in ("INBOX", FOLDER, "Archive"):
            uids = mailbox.uids(door, folder)
            door.uid("STORE", ",".join(uids[::3]), "+FLAGS.SILENT", "(\\Seen)")
            door.uid("STORE", ",".join(uids[1::3]), "-FLAGS.SILENT", "(\\Seen)")
            door.uid("STORE", ",".join(uids[::4]), "+FLAGS.SILENT", "(\\Flagged)")
            door.uid("STORE", ",".join(uids[1::4]), "-FLAGS.SILENT", "(\\Flagged)")
    hub.sync()
    assert _agree(hub, mailbox) == mailbox.appended


def test_mail_deleted_elsewhere_goes(hub: Hub, mailbox: Mailbox) -> None:
    with mailbox.server.door(mailbox.user) as door:
        for folder, count in (("INBOX", 9), ("Sent", 3), (FOLDER, 2)):
            gone = mailbox.uids(door, folder)[2 : 2 + count]
            mailbox.expunge(door, gone)
            mailbox.appended -= count
    hub.sync()
    assert _agree(hub, mailbox) == mailbox.appended


def _ids(hub: Hub) -> dict[str, str]:
    """Message-ID → id, of those that have one of their own."""
    every = Counter(row["messageId"] for row in hub.rows())
    return {row["messageId"]: row["id"] for row in hub.rows() if row["messageId"] and every[row["messageId"]] == 1}


def test_mail_moved_elsewhere_moves_and_keeps_its_id(hub: Hub, mailbox: Mailbox) -> None:
    before = _ids(hub)
    with mailbox.server.door(mailbox.user) as door:
        for source, target in (("INBOX", "Archive"), ("INBOX", "Trash"), ("INBOX", FOLDER), (FOLDER, "INBOX"),
                               ("Trash", "INBOX"), ("Archive", "Junk")):  # fmt: skip
            mailbox.move(door, mailbox.uids(door, source)[-6:-1], target)
    hub.sync()
    assert _agree(hub, mailbox) == mailbox.appended
    assert _ids(hub) == before


def test_mail_without_an_identity_of_its_own_moves_too(hub: Hub, mailbox: Mailbox) -> None:
    """The oldest of the inbox are CPython's: some have no Message-ID, some share one."""
    with mailbox.server.door(mailbox.user) as door:
        mailbox.move(door, mailbox.uids(door, "INBOX")[:20], "Archive")
        mailbox.move(door, mailbox.uids(door, "INBOX")[:10], FOLDER)
    hub.sync()
    assert _agree(hub, mailbox) == mailbox.appended


def test_copies_of_a_mail_are_mails_of_their_own(hub: Hub, mailbox: Mailbox) -> None:
    """A copy in another folder, and the same bytes twice in one folder."""
    twin, moment = next(letters.generated(1, seed=21)), Time2Internaldate(next(mailbox.moments))
    with mailbox.server.door(mailbox.user) as door:
        copied = mailbox.uids(door, "INBOX")[-5:]
        assert door.uid("COPY", ",".join(copied), "Archive")[0] == "OK"
        for folder in ("INBOX", "INBOX", "Sent"):
            assert door.append(folder, "", moment, twin)[0] == "OK"
    mailbox.appended += 8
    hub.sync()
    assert _agree(hub, mailbox) == mailbox.appended


def test_one_of_two_copies_that_goes_leaves_the_other(hub: Hub, mailbox: Mailbox) -> None:
    with mailbox.server.door(mailbox.user) as door:
        mailbox.expunge(door, mailbox.uids(door, "Archive")[-3:])
        mailbox.expunge(door, mailbox.uids(door, "INBOX")[-1:])
    mailbox.appended -= 4
    hub.sync()
    assert _agree(hub, mailbox) == mailbox.appended


def test_folder_renamed_keeps_its_mail_and_their_ids(hub: Hub, mailbox: Mailbox) -> None:
    before = _ids(hub)
    with mailbox.server.door(mailbox.user) as door:
        assert door.rename(truth.wire_name(FOLDER), truth.wire_name(RENAMED))[0] == "OK"
    hub.sync()
    assert _agree(hub, mailbox) == mailbox.appended
    assert RENAMED in {row["folder"] for row in hub.rows()}
    assert _ids(hub) == before


def test_folder_deleted_takes_its_mail_along(hub: Hub, mailbox: Mailbox) -> None:
    with mailbox.server.door(mailbox.user) as door:
        mailbox.appended -= len(mailbox.uids(door, RENAMED))
        door.select("INBOX")
        assert door.delete(truth.wire_name(RENAMED))[0] == "OK"
    hub.sync()
    assert _agree(hub, mailbox) == mailbox.appended


def test_folder_whose_numbers_start_anew_keeps_its_mail_and_their_ids(hub: Hub, mailbox: Mailbox) -> None:
    """UIDVALIDITY changes while something else happens as well."""
    before = _ids(hub)
    for folder in ("INBOX", "Archive"):
        value = str(time.time_ns() % 2**31)
        mailbox.server.admin("mailbox", "update", "-u", mailbox.user, "--uid-validity", value, folder)
    assert mailbox.append("INBOX", next(letters.generated(1, seed=12)))
    hub.sync()
    assert _agree(hub, mailbox) == mailbox.appended
    after = _ids(hub)
    assert {message_id: after.get(message_id) for message_id in before} == before


@dataclass
class Chance:
    """What other programs may do to a mailbox, one thing at a time."""

    mailbox: Mailbox
    dice: random.Random
    letters: Iterator[bytes]
    places: tuple[str, ...] = ("INBOX", "Sent", "Archive", "Drafts", "Trash", "Junk", "Notes")

    def something(self, door: imaplib.IMAP4) -> None:
        ways = (self._deliver, self._deliver, self._flag, self._flag, self._move, self._move, self._copy, self._delete)
        self.dice.choice(ways)(door)

    def _some(self, door: imaplib.IMAP4) -> str:
        """A few messages of a folder, which is selected then; "" where it is empty."""
        uids = self.mailbox.uids(door, self.dice.choice(self.places))
        return ",".join(self.dice.sample(uids, min(len(uids), self.dice.randint(1, 4))))

    def _deliver(self, door: imaplib.IMAP4) -> None:
        folder = self.dice.choice(self.places)
        assert self.mailbox._append(door, folder, next(self.letters), _flags(self.dice))

    def _flag(self, door: imaplib.IMAP4) -> None:
        if some := self._some(door):
            flag = self.dice.choice(("\\Seen", "\\Flagged"))
            assert door.uid("STORE", some, self.dice.choice(("+FLAGS", "-FLAGS")), f"({flag})")[0] == "OK"

    def _move(self, door: imaplib.IMAP4) -> None:
        if some := self._some(door):
            self.mailbox.move(door, some.split(","), self.dice.choice(self.places))

    def _copy(self, door: imaplib.IMAP4) -> None:
        if some := self._some(door):
            assert door.uid("COPY", some, self.dice.choice(self.places))[0] == "OK"

    def _delete(self, door: imaplib.IMAP4) -> None:
        if some := self._some(door):
            self.mailbox.expunge(door, some.split(","))


def test_mailbox_after_anything_that_happened_to_it_is_the_same_here(hub: Hub, mailbox: Mailbox) -> None:
    """Random deeds of other programs, synced after each handful; the seed is fixed."""
    with mailbox.server.door(mailbox.user) as door:
        assert door.create("Notes")[0] == "OK"
    chance = Chance(mailbox, random.Random(99), letters.generated(500, seed=31))
    for deeds in range(1, HISTORIES + 1):
        with mailbox.server.door(mailbox.user) as door:
            for _ in range(deeds % 7 + 1):
                chance.something(door)
        hub.sync()
        mailbox.appended = _agree(hub, mailbox)


# --- changes here -------------------------------------------------------------------------------------------------


def test_read_star_and_archive_reach_the_server(hub: Hub, mailbox: Mailbox) -> None:
    unread = [row for row in truth.told_by_api(hub.get, hub.connection, "inbox") if not row["isRead"]][:9]
    for row in unread[:3]:
        assert hub.call("PATCH", f"email/{row['id']}/read", {})["isRead"]
    for row in unread[3:6]:
        assert hub.call("POST", f"email/{row['id']}/star", {"starred": not row["isStarred"]})
    for row in unread[6:]:
        shown = hub.call("PATCH", f"email/{row['id']}/archive", {"archived": True})
        assert (shown["folder"], shown["isArchived"]) == ("archive", True)
    hub.wait_until(lambda: not any(row["pendingChanges"] for row in hub.rows()), "the changes to be carried")
    _agree(hub, mailbox)
    hub.sync()
    assert _agree(hub, mailbox) == mailbox.appended
    told = {(seen.received, seen.folder) for seen, _ in mailbox.told()}
    assert {(row["receivedAt"], "archive") for row in unread[6:]} <= told
    assert {row["id"] for row in hub.rows()} >= {row["id"] for row in unread}


# --- sending ------------------------------------------------------------------------------------------------------


def test_sent_mail_leaves_once_with_the_right_headers_and_is_in_sent_once(
    hub: Hub, mailbox: Mailbox, sink: SmtpSink
) -> None:
    body = {
        "connectionId": hub.connection,
        "to": ["Jürgen Müller <juergen@example.com>"],
        "cc": ["cc@example.com"],
        "bcc": ["hidden@example.com"],
        "subject": "Größe: 10 € – déjà vu",
        "body": "Guten Tag,\n\nanbei das Gewünschte.\n",
        "attachments": [{"fileName": "Übersicht.txt", "contentType": "text/plain", "contentBase64": "w7xiZXI="}],
    }
    sent = hub.call("POST", "email/send", body)
    assert sent["status"] == "sent", sent
    [(recipients, raw)] = sink.received
    assert recipients == {"juergen@example.com", "cc@example.com", "hidden@example.com"}
    message = message_from_bytes(raw)
    assert message["Message-ID"] == f"<{sent['messageId']}>"
    assert truth.subject(message) == "Größe: 10 € – déjà vu"
    assert mailbox.user in message["From"]
    assert "Bcc" not in message
    assert b"hidden@example.com" not in raw
    assert message["Date"]
    assert truth.attachments(message) == Counter([truth.digest("über".encode())])
    _is_in_sent_once(hub, mailbox, sent["messageId"])


def test_reply_carries_the_thread_and_a_repeated_request_sends_nothing_more(
    hub: Hub, mailbox: Mailbox, sink: SmtpSink
) -> None:
    before = len(sink.received)
    original = next(row for row in hub.rows() if row["folder"] == "inbox" and "generated.test" in row["messageId"])
    body = {"to": ["sender@example.com"], "subject": "Re: it", "body": "Yes.", "replyToId": original["id"]}
    answers = [_send_with_key(hub, body) for _ in range(2)]
    assert [status for status, _ in answers] == [201, 201]
    assert answers[0][1] == answers[1][1]
    [(_, raw)] = sink.received[before:]
    message = message_from_bytes(raw)
    assert message["In-Reply-To"] == f"<{original['messageId']}>"
    assert f"<{original['messageId']}>" in message["References"]
    sent = json.loads(answers[0][1])
    _is_in_sent_once(hub, mailbox, sent["messageId"])
    assert hub.row(sent["messageId"])["threadId"] == original["threadId"]
    thread = hub.get(f"email/thread/{original['threadId']}")
    assert {original["messageId"], sent["messageId"]} <= {email["messageId"] for email in thread["emails"]}


def _send_with_key(hub: Hub, body: dict[str, Any]) -> tuple[int, bytes]:
    visitor = next(hub.visitors)
    client = http.client.HTTPConnection("127.0.0.1", hub.product.port, timeout=60)
    headers = {"Authorization": f"Bearer {visitor.token}", "Content-Type": "application/json"}
    key = f"journey-{hub.connection}"
    client.request("POST", "/api/v1/integrations/email/send", json.dumps(body), {**headers, "Idempotency-Key": key})
    answer = client.getresponse()
    content = answer.read()
    client.close()
    return answer.status, content


def _is_in_sent_once(hub: Hub, mailbox: Mailbox, message_id: str) -> None:
    def copies() -> int:
        return sum(
            truth.message_id(truth.parsed(raw)) == message_id for seen, raw in mailbox.told() if seen.folder == "sent"
        )

    hub.wait_until(lambda: copies() > 0, "a copy in Sent")
    hub.sync()
    assert copies() == 1
    assert hub.row(message_id)["folder"] == "sent"
    mailbox.appended += 1
    assert _agree(hub, mailbox) == mailbox.appended


def test_mail_that_could_carry_a_forged_header_is_refused(hub: Hub, sink: SmtpSink) -> None:
    before = len(sink.received)
    body = {"to": ["a@example.com"], "subject": "x\r\nBcc: eve@example.com", "body": "x"}
    assert hub.refused("POST", "email/send", {**body, "connectionId": hub.connection}) == (400, "validation_error")
    assert len(sink.received) == before


# --- the end ------------------------------------------------------------------------------------------------------


def test_disconnected_account_keeps_its_mail_readable_and_touches_the_server_no_more(
    hub: Hub, mailbox: Mailbox
) -> None:
    hub.call("DELETE", "oauth/imap", connectionId=hub.connection)
    assert len(hub.rows()) == mailbox.appended
    assert hub.refused("POST", f"connections/{hub.connection}/sync", {"type": "email"}) == (409, "disconnected")
