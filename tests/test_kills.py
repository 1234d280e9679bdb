"""Nothing is lost and nothing doubled when workers die (promise 1; reference reliability R1): `kill -9` at random
points of a first sync ends in the same rows as a sync that nobody disturbed, and in what the provider has.

Three kills in every `make test`, on the embedded PostgreSQL and broker; twenty for each kind of provider among the
services. The points are random with a fixed seed.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from imaplib import Time2Internaldate
from pathlib import Path

import pytest

from email_sync.tests import dovecot as servers
from email_sync.tests.smtp_sink import SmtpSink
from simulator.process import Simulator, running
from simulator.visitor import Visitor
from tests import letters, truth
from tests.killing import Scene, assert_same, scene
from tests.running import Product
from workspaces.runtime.embedded import EmbeddedServer

KILLS = 20
SENDS = 10
MESSAGES = 2000
QUOTA = 100_000_000
MAIL = "ada@kills.example"
SENDERS_DIED = """
    UPDATE email_sync_submission SET lease_until = now() - interval '1 second' WHERE lease_until IS NOT NULL
"""
REQUESTS_DIED = "UPDATE workspaces_idempotencyrecord SET lease_until = now() - interval '1 second'"
"""Time goes by after the last kill."""
LABELS = {"INBOX": "in_inbox", "SENT": "in_sent", "DRAFT": "in_drafts", "TRASH": "in_trash", "SPAM": "in_spam"}


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    """Gmail without limits."""
    with running() as process:
        process.settings(gmail_quota_units_per_minute=QUOTA)
        yield process


def _slowed(simulator: Simulator, seconds: float) -> str:
    """So that there is time to be killed in."""
    return simulator.fault("latency", path="batch|/gmail/", seconds=seconds)


def _holds_what_gmail_has(scene: Scene, connection: str, simulator: Simulator, email: str) -> int:
    """None missing, none twice, each with Gmail's labels. How many."""
    stored = scene.ask(
        f"SELECT remote_id, is_read, is_starred, {', '.join(LABELS.values())} FROM email_sync_message"
        " WHERE connection_id = %s AND removed_at IS NULL", connection,
    )  # fmt: skip
    there = [
        (m["id"], "UNREAD" not in m["labels"], "STARRED" in m["labels"], *(label in m["labels"] for label in LABELS))
        for m in simulator.mailbox(email)["messages"]
    ]
    assert sorted(stored) == sorted(there)
    return len(there)


# --- every time ---------------------------------------------------------------------------------------------------


def test_worker_killed_three_times_in_a_first_sync_ends_in_the_same_rows(simulator: Simulator, tmp_path: Path) -> None:
    simulator.create_account("google", MAIL, messages=350)
    simulator.deliver_many(MAIL, [{"raw": raw} for raw in letters.real().values()])
    folder = tmp_path / "data"
    product = Product(folder, SYNC_INTERVAL_SECONDS="86400", **simulator.env())
    product.start()
    try:
        product.wait_until_ready()
        here = scene(product, EmbeddedServer(folder).url)
        quiet = here.undisturbed(here.visitor.connect_google(simulator, MAIL))
        slowed = _slowed(simulator, 0.1)
        connection = here.visitor.connect_google(simulator, MAIL)
        for _ in range(3):
            assert here.kill_during(connection, within=0.5, whole_worker=True), "it ended too soon"
            here.visitor.post(f"connections/{connection}/sync")  # sooner than the tick would
        simulator.remove_fault(slowed)
        here.wait_until(lambda: here.ended(connection), "the end of the disturbed sync")
        assert_same(here.rows(connection), quiet)
        assert _holds_what_gmail_has(here, connection, simulator, MAIL) == 350 + len(letters.real())
        assert here.run(connection)[1] > 3, "each kill cost a lease"
    finally:
        product.stop()


# --- real servers -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stage(
    database_url: str, redis_url: str, simulator: Simulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    """The product on the real PostgreSQL and Redis."""
    settings = simulator.env() | {"SYNC_INTERVAL_SECONDS": "86400", "EGRESS_ALLOW_CIDRS": "127.0.0.0/8"}
    servers_of_ours = {"DATABASE_URL": database_url, "CELERY_BROKER_URL": redis_url, "REDIS_URL": redis_url}
    product = Product(tmp_path_factory.mktemp("kills") / "data", **settings, **servers_of_ours)
    product.start()
    yield scene(product, database_url)
    product.stop()


def _tell(scene: Scene, capsys: pytest.CaptureFixture[str], what: str, seconds: float) -> None:
    with capsys.disabled():
        print(f"\n{what}: {dict(Counter(scene.killed))} killed in {seconds:.0f} s, same rows")


def _kill_through(stage: Scene, connect: Callable[[str], str], accounts: list[str], *, within: float) -> dict[str, str]:
    """Twenty kills in first syncs, each of which ends in the rows of an undisturbed one; account → connection. Another
    mailbox is begun where one has ended. Every fifth kill takes the whole worker."""
    stage.killed.clear()
    quiet: dict[str, dict[str, list[str]]] = {}
    begun: dict[str, str] = {}
    while len(stage.killed) < KILLS:
        account = accounts[len(begun)]
        quiet[account] = stage.undisturbed(connect(account))
        begun[account] = connection = connect(account)
        while len(stage.killed) < KILLS:
            if not stage.kill_during(connection, within=within, whole_worker=len(stage.killed) % 5 == 4):
                break
    for account, connection in begun.items():
        stage.wait_until(lambda connection=connection: stage.ended(connection), "the end of a disturbed sync")
        assert_same(stage.rows(connection), quiet[account])
    return begun


@pytest.mark.services
def test_worker_killed_twenty_times_in_first_syncs_of_gmail_ends_in_the_same_rows(
    stage: Scene, simulator: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    emails = [f"mailbox{number}@kills.example" for number in range(5)]
    for number, email in enumerate(emails):
        simulator.create_account("google", email, messages=MESSAGES, seed=number)

    def connect(email: str) -> str:
        return stage.visitor.connect_google(simulator, email)

    slowed = _slowed(simulator, 0.1)
    begun = _kill_through(stage, connect, emails, within=1.2)
    simulator.remove_fault(slowed)
    for email, connection in begun.items():
        assert _holds_what_gmail_has(stage, connection, simulator, email) == MESSAGES
    _tell(stage, capsys, f"Gmail, {len(begun)} mailboxes of {MESSAGES}", time.monotonic() - began)


@pytest.mark.services
def test_web_server_killed_while_it_sends_sends_each_mail_at_most_once_and_tells_the_truth(
    stage: Scene, simulator: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    """The caller asks again with the same key, as it should. What Gmail took is found in Sent; what it did not take is
    never called sent."""
    sender = "sender@kills.example"
    simulator.create_account("google", sender)
    connection = stage.visitor.connect_google(simulator, sender)
    stage.wait_until(lambda: stage.ended(connection), "the first sync")
    slowed = simulator.fault("latency", operation="gmail.users.messages.send", seconds=0.4)
    requests = [Request(stage, connection, f"{connection}-{number}") for number in range(SENDS)]
    for request in requests:
        asking = threading.Thread(target=request.ask)
        asking.start()
        threading.Event().wait(stage.dice.uniform(0, 1.0))
        stage.kill_web()
        asking.join(timeout=30)
        stage.wait_until(lambda: stage.product.get("/healthz")[0] == 200, "a new web server")
    simulator.remove_fault(slowed)
    stage.ask(SENDERS_DIED)
    stage.ask(REQUESTS_DIED)
    for request in requests:
        stage.wait_until(request.answered, f"an answer to {request.key}")
    taken = Counter(mail["subject"] for mail in simulator.sent(account=sender))
    for request in requests:
        assert taken[request.key] <= 1, "sent twice"
        wanted = "sent" if taken[request.key] else "unconfirmed"
        stage.wait_until(lambda request=request, wanted=wanted: request.stage() == wanted, f"{wanted}: {request.key}")
    with capsys.disabled():
        print(f"\n{SENDS} sends with the web server killed: {taken.total()} taken, none twice")


@dataclass
class Request:
    """One mail that somebody wants to send, however often they must ask."""

    scene: Scene
    connection: str
    key: str
    status: int = 0

    def ask(self) -> int:
        body = {"to": ["bob@example.com"], "subject": self.key, "body": "Hello", "connectionId": self.connection}
        port, token = self.scene.product.port, self.scene.visitor.token
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Idempotency-Key": self.key}
        try:
            client.request("POST", "/api/v1/integrations/email/send", json.dumps(body), headers)
            self.status = client.getresponse().status
        except (OSError, http.client.HTTPException):
            self.status = 0
        finally:
            client.close()
        return self.status

    def answered(self) -> bool:
        return self.status == 201 or self.ask() == 201

    def stage(self) -> str:
        [(stage,)] = self.scene.ask("SELECT stage FROM email_sync_submission WHERE subject = %s", self.key)
        return str(stage)


@pytest.mark.services
def test_worker_killed_twenty_times_in_first_syncs_over_imap_ends_in_the_same_rows(
    stage: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    if servers.missing():
        pytest.fail(servers.missing())
    began = time.monotonic()
    server = servers.Dovecot().start()
    try:
        with SmtpSink() as sink:
            users = [server.add_user(f"mailbox{number}@kills.example") for number in range(8)]
            for number, user in enumerate(users):
                _fill(server, user, number)

            def connect(user: str) -> str:
                return _connect_imap(stage.visitor, server, user, sink)

            begun = _kill_through(stage, connect, users, within=0.5)
            for user, connection in begun.items():
                assert _holds_what_dovecot_has(stage.visitor, connection, server, user) == MESSAGES
    finally:
        server.stop()
    _tell(stage, capsys, f"IMAP, {len(begun)} mailboxes of {MESSAGES}", time.monotonic() - began)


def _fill(server: servers.Dovecot, user: str, seed: int) -> None:
    """Over five folders, with flags; real mail among it."""
    real = list(letters.real().values())
    every = [*real, *letters.generated(MESSAGES - len(real), seed=seed)]
    places = ("INBOX", "INBOX", "INBOX", "Sent", "Archive", "Trash", "Work/Ünïcode")
    with server.door(user) as door:
        door.create(truth.wire_name("Work/Ünïcode"))
        for number, raw in enumerate(every):
            moment = Time2Internaldate(letters.BEGIN + timedelta(minutes=number))
            flags = ("", "\\Seen", "\\Seen \\Flagged")[number % 3]
            assert door.append(truth.wire_name(places[number % len(places)]), flags, moment, raw)[0] == "OK"


def _connect_imap(visitor: Visitor, server: servers.Dovecot, user: str, sink: SmtpSink) -> str:
    login = {"host": "127.0.0.1", "security": "none", "username": user, "password": servers.PASSWORD}
    body = {"email": user, "imap": {**login, "port": server.imap_port}, "smtp": {**login, "port": sink.port}}
    return str(visitor.post("connections/imap", body)["id"])


def _holds_what_dovecot_has(visitor: Visitor, connection: str, server: servers.Dovecot, user: str) -> int:
    with server.door(user) as door:
        there = truth.told_by_server(door)
    rows = [row for name in ("all", "trash", "spam") for row in truth.told_by_api(visitor.get, connection, name)]
    assert truth.differences(there, rows) == {}
    return len(rows)
