"""Microsoft mail under `kill -9` (promise 1; reference reliability R1): real Celery workers of a running product die in
first syncs and while they carry what people clicked to Graph. Rows equal those of a sync nobody disturbed, the mailbox
at Microsoft is what was clicked, and both are the same.

On the real servers: a few kills in `make test-services`, twenty of each kind in `make chaos`; Gmail and IMAP are in
`test_kills`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

import pytest

from simulator.process import Simulator, running
from tests.killing import IN_A_RUN, Kill, Scene, assert_same, scene
from tests.running import Product

KILLS = 20
CLICKED = 30
MESSAGES = 1200
FOLDERS = {
    "inbox": "in_inbox", "sentitems": "in_sent", "archive": "in_archive", "drafts": "in_drafts",
    "deleteditems": "in_trash", "junkemail": "in_spam",
}  # fmt: skip
PENDING = "SELECT count(*) FROM email_sync_localchange WHERE connection_id = %s AND status = 'pending'"
UNDONE = "SELECT count(*) FROM email_sync_localchange WHERE connection_id = %s AND status <> 'done'"
IN_INBOX = """
    SELECT id::text, remote_id FROM email_sync_message
    WHERE connection_id = %s AND in_inbox AND removed_at IS NULL ORDER BY remote_id LIMIT %s
"""
WITHOUT_BUDGET = """
    CREATE FUNCTION generous() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.level = 1e9; RETURN NEW; END';
    CREATE TRIGGER generous BEFORE INSERT ON integrations_quotabudget FOR EACH ROW EXECUTE FUNCTION generous()
"""
"""A worker that dies asks again for what it had: twenty of them would spend Graph's ten minutes, and the rest of a sync
would wait for its budget."""

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    """Graph without limits, on its side (`WITHOUT_BUDGET` is ours)."""
    with running() as process:
        process.settings(graph_requests_per_ten_minutes=0)
        yield process


@pytest.fixture(scope="module")
def stage(
    database_url: str, redis_url: str, simulator: Simulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    """The product on the real PostgreSQL and Redis."""
    servers = {"DATABASE_URL": database_url, "CELERY_BROKER_URL": redis_url, "REDIS_URL": redis_url}
    settings = simulator.env() | {"SYNC_INTERVAL_SECONDS": "86400", "EGRESS_ALLOW_CIDRS": "127.0.0.0/8"}
    product = Product(tmp_path_factory.mktemp("kills") / "data", **settings, **servers)
    product.start()
    found = scene(product, database_url)
    found.ask(WITHOUT_BUDGET)
    yield found
    product.stop()


def _slowed(simulator: Simulator, seconds: float) -> str:
    """So that there is time to be killed in, and not so much that no slice comes past its folders: a run whose workers
    die again and again before a page is written fails, as it should."""
    return simulator.fault("latency", path="batch|/messages", seconds=seconds)


def _kill_first_syncs(stage: Scene, simulator: Simulator, emails: list[str], *, kills: int, within: float) -> list[str]:
    """So many kills in first syncs, each of which ends in the rows of an undisturbed one. The connections."""
    stage.killed.clear()
    begun: list[str] = []
    while len(stage.killed) < kills:
        email = emails[len(begun)]
        quiet = stage.undisturbed(stage.visitor.connect_microsoft(simulator, email))
        slowed = _slowed(simulator, 0.03)
        connection = stage.visitor.connect_microsoft(simulator, email)
        while len(stage.killed) < kills:
            if not stage.kill_during(connection, within=within, whole_worker=len(stage.killed) % 5 == 4):
                break
            stage.visitor.post(f"connections/{connection}/sync")  # sooner than the tick would
        simulator.remove_fault(slowed)
        stage.wait_until(lambda connection=connection: stage.ended(connection), "the end of a disturbed sync")
        assert_same(stage.rows(connection), quiet)
        begun.append(connection)
    stage.check_kills_hit()
    return begun


def _kill_clicks(stage: Scene, simulator: Simulator, connection: str, email: str, *, kills: int, clicked: int) -> None:
    """People read, star and archive; the workers that carry it die; in the end Graph has it all."""
    stage.killed.clear()
    while len(stage.killed) < kills:
        chosen = dict(stage.ask(IN_INBOX, connection, clicked))
        assert len(chosen) >= min(clicked, 10), "the inbox ran out of mail"
        slowed = _slowed(simulator, 0.3)  # some six batches carry it all
        for action in ("star", "read", "archive"):
            stage.visitor.post("email/bulk", {"ids": list(chosen), "action": action})
        upto = min(kills, len(stage.killed) + IN_A_RUN)
        while len(stage.killed) < upto and stage.ask(PENDING, connection) != [(0,)]:
            if stage.kill_during(connection, within=1.5, whole_worker=len(stage.killed) % 5 == 4):
                stage.visitor.post(f"connections/{connection}/sync")
        simulator.remove_fault(slowed)
        stage.visitor.post(f"connections/{connection}/sync")
        stage.wait_until(lambda: stage.ask(PENDING, connection) == [(0,)], "the last change to be carried")
        stage.wait_until(lambda: stage.ended(connection), "the end of the sync")
        assert stage.ask(UNDONE, connection) == [(0,)]
        there = {item["immutable_id"]: item for item in simulator.mailbox(email, vendor="microsoft")["messages"]}
        for remote_id in chosen.values():
            item = there[remote_id]
            assert (item["folder"], item["is_read"], item["flag"]) == ("archive", True, "flagged")
    stage.visitor.post(f"connections/{connection}/sync")
    stage.wait_until(lambda: stage.ended(connection), "one more sync")
    stage.check_kills_hit()


def _holds_what_graph_has(stage: Scene, connection: str, simulator: Simulator, email: str) -> int:
    """None missing, none twice, each in its folder with its flags. How many."""
    stored = stage.ask(
        f"SELECT remote_id, is_read, is_starred, {', '.join(FOLDERS.values())} FROM email_sync_message"
        " WHERE connection_id = %s AND removed_at IS NULL", connection,
    )  # fmt: skip
    there = [
        (m["immutable_id"], m["is_read"], m["flag"] == "flagged", *(m["folder"] == folder for folder in FOLDERS))
        for m in simulator.mailbox(email, vendor="microsoft")["messages"]
    ]
    assert sorted(stored) == sorted(there)
    return len(there)


def _told(killed: list[Kill]) -> dict[str, int]:
    return dict(Counter(kill.what for kill in killed))


def test_worker_killed_in_a_first_sync_and_in_clicks_of_microsoft_leaves_what_a_quiet_one_leaves(
    stage: Scene, simulator: Simulator
) -> None:
    email = "ada@microsoft.example"
    simulator.create_account("microsoft", email, messages=200)
    [connection] = _kill_first_syncs(stage, simulator, [email], kills=2, within=0.4)
    _kill_clicks(stage, simulator, connection, email, kills=1, clicked=15)
    assert _holds_what_graph_has(stage, connection, simulator, email) == 200


@pytest.mark.chaos
def test_workers_killed_forty_times_in_first_syncs_and_clicks_of_microsoft_leave_what_quiet_ones_leave(
    stage: Scene, simulator: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    emails = [f"mailbox{number}@microsoft.example" for number in range(12)]
    for number, email in enumerate(emails):
        simulator.create_account("microsoft", email, messages=MESSAGES, seed=number)
    begun = _kill_first_syncs(stage, simulator, emails, kills=KILLS, within=2.5)
    first = _told(stage.killed)
    _kill_clicks(stage, simulator, begun[0], emails[0], kills=KILLS, clicked=CLICKED)
    for connection, email in zip(begun, emails, strict=False):
        assert _holds_what_graph_has(stage, connection, simulator, email) == MESSAGES
    with capsys.disabled():
        print(
            f"\nMicrosoft: {first} killed in {len(begun)} first syncs, {_told(stage.killed)} in clicks, "
            f"in {time.monotonic() - began:.0f} s: same rows, same mailbox"
        )
