"""The whole product as `make run` starts it: mail that arrives at a server is in the inbox within three seconds.

Nothing is asked by interval for an hour, so whatever arrives was told: by a real Dovecot over IDLE, by the simulator's
Pub/Sub and Graph over HTTP. Among the services, because Dovecot is wanted and time is measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from email_sync.tests import dovecot as servers
from email_sync.tests.contract import mail
from email_sync.tests.doorbells import GOOGLE, SERVICE_ACCOUNT, TOPIC
from email_sync.tests.dovecot import Dovecot
from email_sync.tests.smtp_sink import SmtpSink
from simulator.process import Simulator, running
from tests.killing import Scene, scene
from tests.running import Product
from workspaces.runtime.embedded import EmbeddedServer

pytestmark = pytest.mark.services

ADA, CLEO, IMAP, LENA = "ada@push.example", "cleo@push.example", "ida@push.example", "lena@push.example"
BAR_SECONDS = 3.0
ROUNDS = 5
LISTENER_DIED = "UPDATE email_sync_pushchannel SET lease_until = now() - interval '1 second' WHERE via = 'idle'"
"""A minute and a half goes by: the leases of a killed process are over."""


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with running() as process:
        process.create_account("google", ADA)
        process.create_account("microsoft", CLEO)
        yield process


@pytest.fixture(scope="module")
def stage(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """The product on its embedded database and broker, with nothing to wait for."""
    settings = simulator.env() | {
        "SYNC_INTERVAL_SECONDS": "3600",
        "GMAIL_PUBSUB_TOPIC": TOPIC,
        "GMAIL_PUSH_SERVICE_ACCOUNT": SERVICE_ACCOUNT,
        "GOOGLE_CERTS_URL": f"{simulator.base_url}/oauth2/v3/certs",
    }
    product = Product(tmp_path_factory.mktemp("push") / "data", **settings)
    simulator.settings(pubsub_push_endpoint=f"http://127.0.0.1:{product.port}{GOOGLE}")
    product.start()
    try:
        yield scene(product, EmbeddedServer(Path(product.environment["DATA_DIR"])).url)
    finally:
        product.stop()


@pytest.fixture(scope="module")
def dovecot() -> Iterator[Dovecot]:
    if servers.missing():
        pytest.fail(servers.missing())
    server = Dovecot().start()
    yield server
    server.stop()


def arrives(stage: Scene, deliver: Callable[[str], object], name: str) -> float:
    """Seconds from the delivery to the inbox over the API."""
    before = stage.visitor.get("email/inbox", limit=1)["pagination"]["total"]
    deliver(name)
    began = time.monotonic()

    def there() -> bool:
        time.sleep(0.1)  # within the rate of a token
        return bool(stage.visitor.get("email/inbox", limit=1)["pagination"]["total"] == before + 1)

    stage.wait_until(there, f"arrival of {name}")
    return time.monotonic() - began


def connected(stage: Scene, dovecot: Dovecot, sink: SmtpSink, email: str) -> str:
    """The id of a connection to a mailbox at Dovecot."""
    login = {"host": "127.0.0.1", "security": "none", "username": email, "password": servers.PASSWORD}
    body = {"email": email, "imap": {**login, "port": dovecot.imap_port}, "smtp": {**login, "port": sink.port}}
    return str(stage.visitor.post("connections/imap", body)["id"])


def push(stage: Scene, connection: str) -> dict[str, object]:
    time.sleep(0.1)  # within the rate of a token
    return dict(stage.visitor.get(f"connections/{connection}/status")["email"]["push"])


def settled(stage: Scene, connection: str, via: str) -> None:
    """Until the mailbox is listened to and no run is left."""
    stage.wait_until(lambda: push(stage, connection)["status"] == "active", f"push by {via}")
    stage.wait_until(
        lambda: not stage.ask("SELECT 1 FROM integrations_syncrun WHERE status IN ('queued', 'running')"), "quiet"
    )


def measured(
    stage: Scene, connection: str, deliver: Callable[[str], object], capsys: pytest.CaptureFixture[str], via: str
) -> None:
    settled(stage, connection, via)
    took = []
    for number in range(ROUNDS):
        time.sleep(2.5)  # a mail on the heels of another waits for the tick
        took.append(arrives(stage, deliver, f"{via}-{number}"))
    with capsys.disabled():
        print(f"\n{via}: in the inbox after {', '.join(f'{seconds:.2f}' for seconds in took)} s")
    assert push(stage, connection)["lastNotifiedAt"] is not None
    assert max(took) < BAR_SECONDS


def test_mail_at_dovecot_is_in_the_inbox_in_three_seconds(
    stage: Scene, dovecot: Dovecot, capsys: pytest.CaptureFixture[str]
) -> None:
    def deliver(name: str) -> None:
        with dovecot.door(IMAP) as door:
            assert door.append("INBOX", None, None, mail(name))[0] == "OK"

    with SmtpSink() as sink:
        measured(stage, connected(stage, dovecot, sink, IMAP), deliver, capsys, "idle")


def test_mailbox_is_heard_again_after_its_listener_was_killed(stage: Scene, dovecot: Dovecot) -> None:
    def deliver(name: str) -> None:
        with dovecot.door(LENA) as door:
            assert door.append("INBOX", None, None, mail(name))[0] == "OK"

    with SmtpSink() as sink:
        connection = connected(stage, dovecot, sink, LENA)
        settled(stage, connection, "idle")
        killed = stage.product.children()["idle"]
        killed.kill()
        psutil.wait_procs([killed], timeout=5)
        stage.wait_until(lambda: stage.product.children().get("idle", killed) != killed, "another listener")
        stage.ask(LISTENER_DIED)
        settled(stage, connection, "the next listener")
        time.sleep(2.5)
        assert arrives(stage, deliver, "after-the-kill") < BAR_SECONDS


@pytest.mark.parametrize(("vendor", "email"), [("google", ADA), ("microsoft", CLEO)])
def test_mail_at_the_simulator_is_in_the_inbox_in_three_seconds(
    stage: Scene, simulator: Simulator, capsys: pytest.CaptureFixture[str], vendor: str, email: str
) -> None:
    connection = stage.visitor.connect(simulator, vendor, email)
    measured(
        stage,
        connection,
        lambda name: simulator.deliver(email, mail(name), labels=["INBOX", "UNREAD"], vendor=vendor),
        capsys,
        vendor,
    )
