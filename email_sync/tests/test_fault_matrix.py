"""Every fault of a provider ends in a defined state (reference reliability R7): 23 faults at each of 6 operations of
Gmail, Microsoft and IMAP.

Each cell: the fault lasts for some slices, in which nothing breaks, requests are bounded, a wait that was asked for is
kept and the connection's status says what is wrong in a code and words; then it is over, and everything is as if it had
never been: rows equal the provider, a click has arrived or was taken back, a mail has left once or not at all.

`make test` runs cells on a diagonal of the matrix for Gmail and Microsoft, `make chaos` all of it; IMAP's third is
against a real Dovecot.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Any, Protocol

import pytest
from django.db import connection as database
from django.db.models.functions import Now

from core import http
from core.work import WorkStatus
from email_sync.models import Folder, LocalChange, Message, Submission, SubmissionStage, Unfetched
from email_sync.providers.imap import connection as imap_connection
from email_sync.providers.imap import smtp
from email_sync.services import submissions
from email_sync.tests import http_faults
from email_sync.tests.conftest import Account
from email_sync.tests.contract import MailHarness, Truth, ident, mail
from email_sync.tests.dovecot import Dovecot, DovecotHarness, missing
from email_sync.tests.factories import connect
from email_sync.tests.gmail_simulator import GmailHarness
from email_sync.tests.graph_simulator import GraphHarness
from email_sync.tests.http_faults import FaultyHttp
from email_sync.tests.line_faults import FaultyWire
from email_sync.tests.smtp_sink import SmtpSink
from integrations.models import Connection, SyncRun
from integrations.services import connections, sync_runs
from simulator.process import Simulator, running
from workspaces.tests.fixtures import Actor

API = "/api/v1/integrations"
ADA, BOB = "ada@contract.test", "bob@contract.test"
OPERATIONS = ("folders", "list", "fetch", "changes", "write", "send")
FAULTS = tuple(http_faults.FAULTS)
MAIL = 3
SLICES = 2
"""With the fault; then it is over."""
REQUESTS = 60
"""That one slice may spend on an operation that fails: 5 messages, each alone, some times over."""
IMPATIENT_SECONDS = 0.6

GMAIL = {
    "folders": r"^GET \S*/labels",
    "list": r"^GET \S*/messages ",
    "fetch": r"^POST \S*/batch/gmail|^GET \S*/messages/\w",
    "changes": r"^GET \S*/history",
    "write": r"^POST \S*/(modify|batchModify)",
    "send": r"^POST \S*/messages/send|^GET \S*/messages .*rfc822msgid",
}
GRAPH = {
    "folders": r"\$batch .*(mailFolders\?|childFolders)",
    "list": r"^GET \S*/mailFolders/[^/]+/messages\?(?!.*internetMessageId eq)",
    "fetch": r"\$batch .*/\$value|^GET \S*/\$value",
    "changes": r"^GET \S*delta",
    "write": r"\$batch .*PATCH|/move ",
    "send": r"/sendMail|sentitems.*internetMessageId",
}
IMAP = {
    "folders": r"^\S+ X?LIST ",
    "list": r"^\S+ UID SEARCH",
    "fetch": r"^\S+ UID FETCH .*BODY",
    "changes": r"^\S+ (STATUS|SELECT|EXAMINE|UID FETCH)",
    "write": r"^\S+ UID (STORE|MOVE|COPY)",
    "send": r"^\.$|^\S+ UID SEARCH .*HEADER",
}


class Scene(Protocol):
    """A mailbox that can be made to fail at one operation, and the door behind the provider's back."""

    account: Account
    harness: MailHarness

    def break_at(self, operation: str, fault: str) -> None: ...

    def mend(self) -> None: ...

    def asked(self) -> int:
        """How often the fault was met."""

    def taken(self) -> int:
        """How many mails left."""


# --- over HTTP -------------------------------------------------------------------------------------------------------


class HttpScene:
    """Requests of one operation go to a faulty server, and the product has little patience with it."""

    def __init__(self, account: Account, harness: GmailHarness | GraphHarness, faulty: FaultyHttp) -> None:
        self.account, self.harness, self.faulty = account, harness, faulty
        self.pattern = ""
        self.patterns = GMAIL if faulty.vendor == "google" else GRAPH

    def break_at(self, operation: str, fault: str) -> None:
        self.faulty.fault, self.pattern = fault, self.patterns[operation]

    def mend(self) -> None:
        self.pattern = ""

    def asked(self) -> int:
        return self.faulty.asked

    def taken(self) -> int:
        return len(self.harness.simulator.sent(account=ADA))

    def routed(self, original: Callable[..., http.Response]) -> Callable[..., http.Response]:
        def request(method: str, url: str, **arguments: Any) -> http.Response:
            given = " ".join(str(arguments.get(name) or "") for name in ("params", "json", "content"))
            if self.pattern and re.search(self.pattern, f"{method} {url} {given}", re.DOTALL):
                url = self.faulty.instead_of(url)
                arguments["timeout"] = IMPATIENT_SECONDS
            return original(method, url, **arguments)

        return request


@pytest.fixture(scope="module")
def process() -> Iterator[Simulator]:
    with running() as simulator:
        yield simulator


@pytest.fixture
def http_scene(
    request: pytest.FixtureRequest, process: Simulator, settings: Any, member: Actor, monkeypatch: pytest.MonkeyPatch
) -> Iterator[HttpScene]:
    vendor = request.node.callspec.params["vendor"]
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    options = {"gmailApiUrl": process.base_url, "graphApiUrl": process.base_url, "quotaUnits": 0}
    settings.MAIL_PROVIDER_SETTINGS = {"google": options, "microsoft": options}
    process.reset()
    harness = (GmailHarness if vendor == "google" else GraphHarness)(process, ADA, (BOB,))
    connection = connect(member, ADA, provider=vendor, scopes=["email"])
    connection.credentials = {"access_token": harness.token}
    connection.save()
    with FaultyHttp(vendor, process.base_url.removeprefix("http://")) as faulty:
        scene = HttpScene(Account(connection), harness, faulty)
        monkeypatch.setattr(http, "request", scene.routed(http.request))
        yield scene


# --- over lines ------------------------------------------------------------------------------------------------------


class LineScene:
    """A real server behind a wire, another for sending."""

    def __init__(self, account: Account, harness: DovecotHarness, wires: tuple[FaultyWire, ...]) -> None:
        self.account, self.harness, self.wires = account, harness, wires

    def break_at(self, operation: str, fault: str) -> None:
        for wire in self.wires:
            wire.over.clear()
            wire.fault, wire.pattern = fault, IMAP[operation]

    def mend(self) -> None:
        for wire in self.wires:
            wire.mend()

    def asked(self) -> int:
        return sum(wire.asked for wire in self.wires)

    def taken(self) -> int:
        return len(self.harness.outbox())


@pytest.fixture(scope="module")
def server() -> Iterator[Dovecot]:
    if missing():
        pytest.fail(missing())
    running_server = Dovecot().start()
    yield running_server
    running_server.stop()


@pytest.fixture
def line_scene(server: Dovecot, settings: Any, member: Actor, monkeypatch: pytest.MonkeyPatch) -> Iterator[LineScene]:
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    for module in (imap_connection, smtp):
        for name in ("CONNECT_SECONDS", "OPERATION_SECONDS", "COMMAND_SECONDS", "VERDICT_SECONDS"):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, IMPATIENT_SECONDS * (2 if name == "COMMAND_SECONDS" else 1))
    monkeypatch.setattr(imap_connection, "ANSWER_LIMIT", 4 * 1024 * 1024)
    with ExitStack() as stack:
        sink = stack.enter_context(SmtpSink())
        wires = FaultyWire("imap", server.imap_port), FaultyWire("smtp", sink.port)
        for wire in wires:
            stack.enter_context(wire)
        harness = DovecotHarness(server, sink)
        reached = server.account(harness.user, sink=sink)
        options = {
            side: {**reached.settings[side], "port": wire.port}  # type: ignore[dict-item]
            for side, wire in zip(("imap", "smtp"), wires, strict=True)
        }
        connection = connect(member, harness.user, options=options)
        connection.credentials = dict(reached.secrets)
        connection.save()
        yield LineScene(Account(connection), harness, wires)


# --- one cell --------------------------------------------------------------------------------------------------------


def one_slice(account: Account) -> SyncRun:
    """One slice of the run under way or of a new one, whose time has come."""
    run = sync_runs.start(connection=account.connection, type="email", trigger="schedule")
    SyncRun.objects.filter(pk=run.pk).update(next_attempt_at=Now())
    sync_runs.execute(run.pk)
    run.refresh_from_db()
    account.connection.refresh_from_db()
    return run


def stored(account: Account) -> set[Truth]:
    rows = Message.objects.present().filter(connection=account.connection)
    return {Truth(row.message_id, frozenset(row.folders), row.is_read, row.is_starred) for row in rows}


def told(account: Account, member: Actor) -> dict[str, Any]:
    answer = member.client.get(f"{API}/connections/{account.connection.pk}/status")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def check_slice(scene: Scene, member: Actor, fault: str, operation: str) -> None:
    """One slice with the fault: it ends by itself, in a state with words."""
    before = scene.asked()
    if scene.account.connection.needs_reauth:
        return
    run = one_slice(scene.account)
    assert scene.asked() - before <= REQUESTS, "requests without bound"
    assert run.status in (WorkStatus.DONE, WorkStatus.QUEUED, WorkStatus.FAILED)
    assert run.error_code not in ("internal_error", "crashed"), run.error_message
    status = told(scene.account, member)
    if run.status == WorkStatus.FAILED:
        assert status["lastError"]["code"] == run.error_code
        assert status["lastError"]["message"]
    if run.status == WorkStatus.QUEUED and run.error_code:
        assert run.error_message
        assert status["email"]["lastRun"]["error"]["code"] == run.error_code, status["email"]
    if run.error_code == "provider_rate_limited":
        _wait_is_kept(run, http_faults.WAITS.get(fault) if isinstance(scene, HttpScene) else 300)


def _wait_is_kept(run: SyncRun, asked: float | None) -> None:
    if asked is not None:
        least, most = Now() + timedelta(seconds=asked - 3), Now() + timedelta(seconds=asked + 1)
        waits = SyncRun.objects.filter(pk=run.pk, next_attempt_at__gt=least, next_attempt_at__lt=most)
        assert waits.exists(), f"{run.next_attempt_at} is not in {asked} s"


def time_passes(scene: Scene, member: Actor) -> None:
    """The fault is over: a dead grant is renewed, every wait has ended, two syncs go by. The daily comparison is not
    among them."""
    scene.mend()
    connection = Connection.objects.get(pk=scene.account.connection.pk)
    if connection.needs_reauth:
        connections.save_connected(connection, by=member.user, created=False)
    scene.account.connection = connection
    LocalChange.objects.update(created_at=Now() - timedelta(days=2))
    _send_again()
    for _ in range(2):
        Unfetched.objects.update(next_attempt_at=Now())
        for _ in range(10):
            if one_slice(scene.account).status == WorkStatus.DONE:
                break
        LocalChange.objects.update(created_at=Now() - timedelta(days=2))


def _send_again() -> None:
    for _ in range(4):
        Submission.objects.filter(lease_until__isnull=False).update(lease_until=Now() - timedelta(seconds=1))
        Submission.objects.filter(next_attempt_at__isnull=False).update(next_attempt_at=Now())
        for submission_id in submissions.take_due():
            submissions.settle(submission_id)


def fill(scene: Scene, first: int = 0) -> None:
    for number in range(first, first + MAIL):
        scene.harness.deliver(mail(f"m{number}"))


def click(member: Actor) -> None:
    for message, deed in zip(Message.objects.order_by("message_id")[:3], ("read", "star", "archive"), strict=True):
        assert member.client.patch(f"{API}/email/{message.pk}/{deed}").status_code == 200


def check_sync(scene: Scene, member: Actor, operation: str, fault: str) -> None:
    fill(scene)
    if operation in ("changes", "write"):
        assert one_slice(scene.account).status == WorkStatus.DONE
    if operation == "changes":
        fill(scene, MAIL)
        scene.harness.set_flags(ident("m1"), read=True, starred=True)
        scene.harness.remove(ident("m2"))
    if operation == "write":
        click(member)
    scene.break_at(operation, fault)
    for _ in range(SLICES):
        check_slice(scene, member, fault, operation)
    assert scene.asked(), "the fault was never met"
    time_passes(scene, member)
    assert stored(scene.account) == scene.harness.truth()
    assert not Unfetched.objects.exists()
    outlined = isinstance(scene, HttpScene) and (fault, operation) == ("gzip bomb", "fetch")
    assert outlined or not Message.objects.exclude(defect="").exists()  # a mail over the limit is kept as an outline
    assert Message.objects.present().count() == (MAIL * 2 - 1 if operation == "changes" else MAIL)
    assert not LocalChange.objects.filter(status="pending").exists()
    assert told(scene.account, member)["status"] == "active"


def check_send(scene: Scene, member: Actor, fault: str) -> None:
    assert one_slice(scene.account).status == WorkStatus.DONE
    scene.break_at("send", fault)
    body = {"to": [BOB], "subject": "Lunch", "body": "At one?", "connectionId": str(scene.account.connection.pk)}
    answer = member.client.post(f"{API}/email/send", body, headers={"Idempotency-Key": "lunch"})
    assert answer.status_code in (201, 409, 422, 429, 502, 503), answer.content
    for _ in range(SLICES):
        _send_again()
    assert scene.asked(), "the fault was never met"
    assert scene.asked() <= REQUESTS
    time_passes(scene, member)
    Submission.objects.update(tried_at=Now() - timedelta(seconds=submissions.SETTLE_SECONDS))
    _send_again()
    submission = Submission.objects.get()
    assert scene.taken() <= 1, "sent twice"
    ends = OVER_HTTP if isinstance(scene, HttpScene) else OVER_SMTP
    ended = (submission.stage, scene.taken())
    assert ended == ends.get(fault, (SubmissionStage.SENT, 1)), submission.error_message
    assert submission.stage == SubmissionStage.SENT or submission.error_message
    assert stored(scene.account) == scene.harness.truth()


REFUSED, UNKNOWN = (SubmissionStage.FAILED, 0), (SubmissionStage.UNCONFIRMED, 0)
OVER_HTTP = {
    "401": REFUSED,  # the grant: the mail fails at once, for its user to see
    "403 scope": REFUSED,
    "cursor gone": REFUSED,  # 404, 410: the provider will not take it
    "200 with an error": UNKNOWN,  # an answer that names no mail is no proof of one
    "500": UNKNOWN,  # neither vendor says whether a 5xx took the mail; Sent does not show it within ten minutes
    "502 HTML": UNKNOWN,
    "503": UNKNOWN,
}
"""How a send ends, and how many mails left, where that is not: sent, and one. Nothing is sent again that may have
left."""
UNKNOWN_TAKEN = (SubmissionStage.UNCONFIRMED, 1)
OVER_SMTP = {
    "401": REFUSED,
    "403 scope": REFUSED,
    "cursor gone": REFUSED,
    "500": REFUSED,  # 554 after the mail is final (RFC 5321 4.2.1)
    "200 with an error": (SubmissionStage.SENT, 0),  # a 250 for a mail it dropped: SMTP says no more than that
    "connect timeout": UNKNOWN,  # the last dot left, no answer came, and SMTP has no Sent to look in
    "endless pages": UNKNOWN,
    "long header": UNKNOWN,
    "502 HTML": UNKNOWN_TAKEN,  # the same, where the server had taken it
    "read timeout": UNKNOWN_TAKEN,
    "one byte a second": UNKNOWN_TAKEN,
    "wrong types": UNKNOWN_TAKEN,
    "gzip bomb": UNKNOWN_TAKEN,
    "TLS failure": UNKNOWN_TAKEN,
}
"""The same over SMTP. Whether a mail whose answer was lost has left cannot be known: it stays unconfirmed, says so, and
is never sent again (RFC 5321 4.5.4.1 would send it twice)."""


def check(scene: Scene, member: Actor, operation: str, fault: str, caplog: pytest.LogCaptureFixture) -> None:
    """The cell."""
    assert not database.in_atomic_block or Folder.objects.count() == 0
    with caplog.at_level(logging.WARNING):
        if operation == "send":
            check_send(scene, member, fault)
        else:
            check_sync(scene, member, operation, fault)
    broken = [record.getMessage() for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR]
    assert broken == []


# --- the matrix ------------------------------------------------------------------------------------------------------

DIAGONAL = [(fault, OPERATIONS[number % len(OPERATIONS)]) for number, fault in enumerate(FAULTS)]
"""Each fault once, each operation about four times."""
SAMPLE = [DIAGONAL[number * 5 % len(DIAGONAL)] for number in range(9)]
"""Every operation at least once."""
CELLS = [(fault, operation) for operation in OPERATIONS for fault in FAULTS]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("vendor", "fault", "operation"),
    [(("google", "microsoft")[number % 2], *cell) for number, cell in enumerate(SAMPLE)],
)
def test_fault_ends_in_a_defined_state_and_nothing_is_lost(
    http_scene: HttpScene, member: Actor, vendor: str, fault: str, operation: str, caplog: pytest.LogCaptureFixture
) -> None:
    check(http_scene, member, operation, fault, caplog)


@pytest.mark.chaos
@pytest.mark.django_db
@pytest.mark.parametrize("vendor", ["google", "microsoft"])
@pytest.mark.parametrize(("fault", "operation"), CELLS)
def test_every_fault_over_http_ends_in_a_defined_state_and_nothing_is_lost(
    http_scene: HttpScene, member: Actor, vendor: str, fault: str, operation: str, caplog: pytest.LogCaptureFixture
) -> None:
    check(http_scene, member, operation, fault, caplog)


@pytest.mark.services
@pytest.mark.django_db
@pytest.mark.parametrize(("fault", "operation"), DIAGONAL[1:12:3])
def test_fault_over_imap_ends_in_a_defined_state_and_nothing_is_lost(
    line_scene: LineScene, member: Actor, fault: str, operation: str, caplog: pytest.LogCaptureFixture
) -> None:
    check(line_scene, member, operation, fault, caplog)


@pytest.mark.chaos
@pytest.mark.services
@pytest.mark.django_db
@pytest.mark.parametrize(("fault", "operation"), CELLS)
def test_every_fault_over_imap_ends_in_a_defined_state_and_nothing_is_lost(
    line_scene: LineScene, member: Actor, fault: str, operation: str, caplog: pytest.LogCaptureFixture
) -> None:
    check(line_scene, member, operation, fault, caplog)
