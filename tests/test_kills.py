"""Nothing is lost and nothing doubled when workers die (promise 1; reference reliability R1): `kill -9` at random
points of a first sync ends in the same rows as a sync that nobody disturbed, and in what the provider has. A restart of
the database that forgets its last moments (R3) and a broker that forgets its wake-ups (R2) cost a pause as well.

Three kills in every `make test`, on the embedded PostgreSQL and broker; three for each kind of provider on the real
servers in `make test-services`, where the worker's pool are processes; twenty by `make chaos`. The points are random
with a fixed seed, and every kill is known to have hit a run under way.
"""

from __future__ import annotations

import http.client
import json
import signal
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
from tests.killing import TIME_PASSES, Load, Scene, assert_same, scene
from tests.running import Product
from tests.slow_line import SlowLine
from workspaces.runtime.embedded import EmbeddedServer

KILLS = 20
A_MAILBOX = 4
"""Kills in one first sync; the next mailbox is then begun."""
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


@pytest.fixture(scope="module")
def home(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """The product as it comes: its own PostgreSQL, its broker a folder."""
    folder = tmp_path_factory.mktemp("home") / "data"
    product = Product(folder, SYNC_INTERVAL_SECONDS="86400", **simulator.env())
    product.start()
    product.wait_until_ready()
    yield scene(product, EmbeddedServer(folder).url)
    product.stop()


def test_worker_killed_three_times_in_a_first_sync_ends_in_the_same_rows(home: Scene, simulator: Simulator) -> None:
    simulator.create_account("google", MAIL, messages=350)
    simulator.deliver_many(MAIL, [{"raw": raw} for raw in letters.real().values()])
    quiet = home.undisturbed(home.visitor.connect_google(simulator, MAIL))
    slowed = _slowed(simulator, 0.1)
    connection = home.visitor.connect_google(simulator, MAIL)
    for _ in range(3):
        assert home.kill_during(connection, within=0.5, whole_worker=True), "it ended too soon"
        home.visitor.post(f"connections/{connection}/sync")  # sooner than the tick would
    simulator.remove_fault(slowed)
    home.wait_until(lambda: home.ended(connection), "the end of the disturbed sync")
    assert_same(home.rows(connection), quiet)
    assert _holds_what_gmail_has(home, connection, simulator, MAIL) == 350 + len(letters.real())
    home.check_kills_hit()


# --- the database restarts, the broker forgets --------------------------------------------------------------------


def _restart_database(scene: Scene) -> None:
    """At once, without a word to anybody: what was not on the disk is gone (`pg_ctl restart -m immediate`)."""
    [server] = [child for name, child in scene.product.children().items() if name == "postgres"]
    server.send_signal(signal.SIGQUIT)
    server.wait(10)
    scene.product.wait_until_ready()
    scene.ask(TIME_PASSES)


def _empty_broker(scene: Scene) -> None:
    """Every wake-up under way is lost."""
    for message in (Path(scene.product.environment["DATA_DIR"]) / "broker" / "queue").glob("*"):
        message.unlink(missing_ok=True)


def _disturb_through(home: Scene, simulator: Simulator, *, times: int, mailboxes: list[str]) -> Counter[str]:
    """So many restarts and lost wake-ups during first syncs, with people at the API; what these were answered."""
    answers, done = Counter[str](), 0
    while done < times:
        email = mailboxes.pop()
        quiet = home.undisturbed(home.visitor.connect_google(simulator, email))
        slowed = _slowed(simulator, 0.15)
        connection = home.visitor.connect_google(simulator, email)
        with Load(home, connection) as load:
            while done < times and not home.ended(connection):
                threading.Event().wait(home.dice.uniform(0.1, 0.8))
                _restart_database(home)
                _empty_broker(home)
                done += 1
                home.visitor.post(f"connections/{connection}/sync")
            simulator.remove_fault(slowed)
            home.wait_until(lambda connection=connection: home.ended(connection), "the end of a disturbed sync")
        answers += load.answers
        assert_same(home.rows(connection), quiet)
        assert _holds_what_gmail_has(home, connection, simulator, email)
    return answers


def test_database_that_restarts_and_a_broker_that_forgets_cost_a_pause(home: Scene, simulator: Simulator) -> None:
    simulator.create_account("google", "pause@kills.example", messages=400)
    answers = _disturb_through(home, simulator, times=1, mailboxes=["pause@kills.example"])
    assert answers["200"] > 0
    assert set(answers) <= {"200", "503 later"}, answers


@pytest.mark.chaos
def test_database_that_restarts_twenty_times_and_a_broker_that_forgets_cost_pauses(
    home: Scene, simulator: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    emails = [f"pause{number}@kills.example" for number in range(20)]
    for number, email in enumerate(emails):
        simulator.create_account("google", email, messages=700, seed=number)
    answers = _disturb_through(home, simulator, times=20, mailboxes=emails)
    assert set(answers) == {"200", "503 later"}, answers
    with capsys.disabled():
        seconds = time.monotonic() - began
        print(
            f"\n20 restarts of PostgreSQL and 20 empty brokers in {seconds:.0f} s, same rows; answers {dict(answers)}"
        )


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
    killed = dict(Counter(kill.what for kill in scene.killed))
    with capsys.disabled():
        print(f"\n{what}: {killed} killed in {seconds:.0f} s, same rows")


def _kill_through(
    stage: Scene, connect: Callable[[str], str], accounts: list[str], *, kills: int, within: float
) -> dict[str, str]:
    """So many kills in first syncs, each of which ends in the rows of an undisturbed one; account → connection. Another
    mailbox is begun where one has ended. Every third kill takes the whole worker."""
    stage.killed.clear()
    begun: dict[str, str] = {}
    while len(stage.killed) < kills:
        assert len(begun) < len(accounts), f"the syncs ended too soon: {stage.killed}"
        account = accounts[len(begun)]
        quiet = stage.undisturbed(connect(account))
        begun[account] = connection = connect(account)
        for _ in range(min(A_MAILBOX, kills - len(stage.killed))):
            if not stage.kill_during(connection, within=within, whole_worker=len(stage.killed) % 3 == 2):
                break
            stage.visitor.post(f"connections/{connection}/sync")  # sooner than the tick would
        stage.wait_until(lambda connection=connection: stage.ended(connection), "the end of a disturbed sync")
        assert_same(stage.rows(connection), quiet)
    stage.check_kills_hit()
    return begun


def _kill_gmail(stage: Scene, simulator: Simulator, *, kills: int, mailboxes: int, messages: int) -> int:
    """How many mailboxes were begun."""
    emails = [f"{messages}-{number}@kills.example" for number in range(mailboxes)]
    for number, email in enumerate(emails):
        simulator.create_account("google", email, messages=messages, seed=number)

    def connect(email: str) -> str:
        return stage.visitor.connect_google(simulator, email)

    slowed = _slowed(simulator, 0.1)
    begun = _kill_through(stage, connect, emails, kills=kills, within=0.8)
    simulator.remove_fault(slowed)
    for email, connection in begun.items():
        assert _holds_what_gmail_has(stage, connection, simulator, email) == messages
    return len(begun)


@pytest.mark.services
def test_worker_killed_in_a_first_sync_of_gmail_with_redis_ends_in_the_same_rows(
    stage: Scene, simulator: Simulator
) -> None:
    assert _kill_gmail(stage, simulator, kills=3, mailboxes=1, messages=300) == 1


@pytest.mark.chaos
@pytest.mark.services
def test_worker_killed_twenty_times_in_first_syncs_of_gmail_ends_in_the_same_rows(
    stage: Scene, simulator: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    begun = _kill_gmail(stage, simulator, kills=KILLS, mailboxes=7, messages=MESSAGES)
    _tell(stage, capsys, f"Gmail, {begun} mailboxes of {MESSAGES}", time.monotonic() - began)


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

    def taken() -> Counter[str]:
        return Counter(mail["subject"] for mail in simulator.sent(account=sender))

    def is_true(request: Request) -> bool:
        """What was called and not taken stays unconfirmed; what died before the call is sent by the sweeper."""
        return request.stage() == ("sent" if taken()[request.key] else "unconfirmed")

    for request in requests:
        stage.wait_until(lambda request=request: is_true(request), f"the truth about {request.key}")
        assert taken()[request.key] <= 1, "sent twice"
    with capsys.disabled():
        print(f"\n{SENDS} sends with the web server killed: {taken().total()} taken, none twice")


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


def _kill_imap(stage: Scene, *, kills: int, mailboxes: int, messages: int) -> int:
    """How many mailboxes were begun."""
    if servers.missing():
        pytest.fail(servers.missing())
    server = servers.Dovecot().start()
    try:
        with SmtpSink() as sink, SlowLine(server.imap_port, seconds=0.05) as line:
            users = [server.add_user(f"mailbox{number}@kills.example") for number in range(mailboxes)]
            filled: set[str] = set()

            def connect(user: str) -> str:
                if user not in filled:
                    _fill(server, user, messages, seed=len(filled))
                    filled.add(user)
                return _connect_imap(stage.visitor, line, user, sink)

            begun = _kill_through(stage, connect, users, kills=kills, within=0.6)
            for user, connection in begun.items():
                assert _holds_what_dovecot_has(stage.visitor, connection, server, user) == messages
    finally:
        server.stop()
    return len(begun)


@pytest.mark.services
def test_worker_killed_in_a_first_sync_over_imap_ends_in_the_same_rows(stage: Scene) -> None:
    assert _kill_imap(stage, kills=3, mailboxes=1, messages=300) == 1


@pytest.mark.chaos
@pytest.mark.services
def test_worker_killed_twenty_times_in_first_syncs_over_imap_ends_in_the_same_rows(
    stage: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    begun = _kill_imap(stage, kills=KILLS, mailboxes=7, messages=MESSAGES // 4)
    _tell(stage, capsys, f"IMAP, {begun} mailboxes of {MESSAGES // 4}", time.monotonic() - began)


def _fill(server: servers.Dovecot, user: str, messages: int, *, seed: int) -> None:
    """Over five folders, with flags; real mail among it."""
    real = list(letters.real().values())
    every = [*real, *letters.generated(messages - len(real), seed=seed)]
    places = ("INBOX", "INBOX", "INBOX", "Sent", "Archive", "Trash", "Work/Ünïcode")
    with server.door(user) as door:
        door.create(truth.wire_name("Work/Ünïcode"))
        for number, raw in enumerate(every):
            moment = Time2Internaldate(letters.BEGIN + timedelta(minutes=number))
            flags = ("", "\\Seen", "\\Seen \\Flagged")[number % 3]
            assert door.append(truth.wire_name(places[number % len(places)]), flags, moment, raw)[0] == "OK"


def _connect_imap(visitor: Visitor, line: SlowLine, user: str, sink: SmtpSink) -> str:
    login = {"host": "127.0.0.1", "security": "none", "username": user, "password": servers.PASSWORD}
    body = {"email": user, "imap": {**login, "port": line.port}, "smtp": {**login, "port": sink.port}}
    return str(visitor.post("connections/imap", body)["id"])


def _holds_what_dovecot_has(visitor: Visitor, connection: str, server: servers.Dovecot, user: str) -> int:
    with server.door(user) as door:
        there = truth.told_by_server(door)
    rows = [row for name in ("all", "trash", "spam") for row in truth.told_by_api(visitor.get, connection, name)]
    assert truth.differences(there, rows) == {}
    return len(rows)
