"""The servers beneath the product fail while people use it and mailboxes sync: a real PostgreSQL restarts at once and
forgets what was not on its disk (reference R3), a real Redis loses every wake-up, queue and counter (R2). Nothing is
lost, nothing is doubled, and people get 200, or 503 with when to come back: never 500.

One blow of each kind in `make test-services`, twenty in `make chaos`.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from simulator.process import Simulator, running
from tests.killing import TIME_PASSES, Load, Scene, assert_same, scene
from tests.outages import OwnPostgres, OwnRedis, missing, own_servers
from tests.running import Product

pytestmark = pytest.mark.services
BLOWS = 20
VENDORS = ("google", "microsoft")


@dataclass
class Stage:
    """A product on servers of its own, and who can strike them."""

    scene: Scene
    database: OwnPostgres
    broker: OwnRedis
    simulator: Simulator

    def restart_database(self) -> None:
        self.database.restart()
        self.scene.product.wait_until_ready()
        self.scene.ask(TIME_PASSES)

    def empty_broker(self) -> None:
        self.broker.flush()


BLOW: dict[str, Callable[[Stage], None]] = {
    "restarts of PostgreSQL": Stage.restart_database,
    "FLUSHDBs of Redis": Stage.empty_broker,
}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    if missing():
        pytest.fail(missing())
    with running() as simulator, own_servers() as (database, broker):
        simulator.settings(gmail_quota_units_per_minute=100_000_000, graph_requests_per_ten_minutes=0)
        servers = {"DATABASE_URL": database.url, "CELERY_BROKER_URL": broker.url, "REDIS_URL": broker.url}
        product = Product(tmp_path_factory.mktemp("data"), SYNC_INTERVAL_SECONDS="86400", **simulator.env(), **servers)
        product.start()
        yield Stage(scene(product, database.url), database, broker, simulator)
        product.stop()


def strike(stage: Stage, what: str, *, times: int, messages: int) -> Counter[str]:
    """So many blows during first syncs of both vendors' mailboxes, with people at the API; what these were answered.
    Each sync ends in the rows of one that nobody disturbed."""
    scene, answers, done, begun = stage.scene, Counter[str](), 0, 0
    while done < times:
        vendor = VENDORS[begun % 2]
        email = f"{what.split()[0].lower()}{begun}@outages.example"
        begun += 1
        stage.simulator.create_account(vendor, email, messages=messages, seed=begun)
        quiet = scene.undisturbed(scene.visitor.connect(stage.simulator, vendor, email))
        slowed = stage.simulator.fault("latency", path="batch|/gmail/|/messages", seconds=0.12)
        connection = scene.visitor.connect(stage.simulator, vendor, email)
        with Load(scene, connection) as load:
            while done < times and not scene.ended(connection):
                threading.Event().wait(scene.dice.uniform(0.1, 0.9))
                BLOW[what](stage)
                done += 1
                scene.visitor.post(f"connections/{connection}/sync")  # sooner than the tick would
            stage.simulator.remove_fault(slowed)
            scene.wait_until(lambda connection=connection: scene.ended(connection), "the end of a disturbed sync")
        answers += load.answers
        assert_same(scene.rows(connection), quiet)
    return answers


@pytest.mark.parametrize("what", list(BLOW))
def test_sync_goes_on_through_a_blow_and_people_are_never_answered_500(stage: Stage, what: str) -> None:
    answers = strike(stage, what, times=1, messages=150)
    assert answers["200"] > 0
    assert set(answers) <= {"200", "503 later"}, answers


@pytest.mark.chaos
@pytest.mark.parametrize("what", list(BLOW))
def test_syncs_go_on_through_twenty_blows_and_people_are_never_answered_500(
    stage: Stage, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    answers = strike(stage, what, times=BLOWS, messages=700)
    assert answers["200"] > 0
    assert set(answers) <= {"200", "503 later"}, answers
    with capsys.disabled():
        print(f"\n{BLOWS} {what} in {time.monotonic() - began:.0f} s, same rows; answers {dict(answers)}")


def test_empty_redis_delays_no_sync_longer_than_a_tick(stage: Stage) -> None:
    """Nobody asks again: the row is the truth, and the tick rings what it lost."""
    scene = stage.scene
    email = "alone@outages.example"
    stage.simulator.create_account("google", email, messages=400)
    slowed = stage.simulator.fault("latency", path="batch|/gmail/", seconds=0.12)
    connection = scene.visitor.connect(stage.simulator, "google", email)
    stage.empty_broker()
    stage.simulator.remove_fault(slowed)
    scene.ask("UPDATE integrations_syncrun SET rung_at = rung_at - interval '90 seconds'")
    scene.wait_until(lambda: scene.ended(connection), "the end of the sync")
