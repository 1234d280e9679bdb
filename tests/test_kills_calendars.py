"""Calendars under `kill -9` (promise 1; reference reliability R1): Celery workers of a running product die in first
syncs from Radicale and in syncs of changes. Nothing is missing, nothing is there or told twice, and what was deleted
does not return.

Three kills in `make test-services`, twenty in `make chaos`. The truth is what the test put on the server.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from calendar_sync.tests.servers import PASSWORD, USER, Radicale, Server
from email_sync.tests import dovecot as servers
from email_sync.tests.smtp_sink import SmtpSink
from tests.killing import Run, Scene, scene
from tests.running import Product
from tests.slow_line import SlowLine

KILLS = 20
SECONDS = 0.08
"""How late the server hears a request: time to be killed in."""
LATEST = """
    SELECT id::text, status, fence, attempts, holder, error_code FROM integrations_syncrun
    WHERE connection_id = %s AND type = 'calendar' ORDER BY created_at DESC LIMIT 1
"""
THERE = """
    SELECT remote_id, recurrence_key, title, etag, starts_at,
           (SELECT count(*) FROM calendar_sync_attendee p WHERE p.event_id = e.id),
           (SELECT array_agg(o.key || o.starts_at ORDER BY o.key)
            FROM calendar_sync_occurrence o WHERE o.event_id = e.id)
    FROM calendar_sync_calendarevent e WHERE connection_id = %s AND removed_at IS NULL AND leaving_at IS NULL
"""
GONE = """
    SELECT remote_id FROM calendar_sync_calendarevent WHERE connection_id = %s AND removed_at IS NOT NULL
    AND recurrence_key = ''
"""
TOLD = """
    SELECT type, payload->>'eventId' FROM integrations_event
    WHERE connection_id = %s AND type LIKE 'calendar.event.%%'
"""
FORGED = """
    UPDATE integrations_synccursor SET cursor = 'sync:http://radicale.org/ns/sync/' || repeat('0', 64)
    WHERE connection_id = %s AND type = 'calendar'
"""

pytestmark = pytest.mark.services


class CalendarScene(Scene):
    """As `Scene`, looking at the runs and rows of calendars."""

    def run(self, connection: str) -> Run:
        """The newest of calendars."""
        self.wait_until(lambda: bool(self.ask(LATEST, connection)), "a run")
        return Run(*self.ask(LATEST, connection)[0])

    def rows(self, connection: str) -> dict[str, list[str]]:
        """What is shown."""
        return {"events": sorted(map(str, self.ask(THERE, connection)))}


@dataclass
class Truth:
    """A calendar at the server, and what the test knows to be in it."""

    server: Server
    path: str
    dice: random.Random
    titles: dict[str, str] = field(default_factory=dict)
    """Path → title."""
    deleted: list[str] = field(default_factory=list)

    def put(self, number: int, words: str = "first") -> None:
        """Every third one is a series with an occurrence that was moved."""
        start = datetime(2026, 11, 2, 9) + timedelta(minutes=number)
        lines = [*_event(number, start, f"{words} {number}", "RRULE:FREQ=DAILY;COUNT=9" if number % 3 == 0 else "")]
        if number % 3 == 0:
            third = start + timedelta(days=2)
            moved = f"RECURRENCE-ID;TZID=Europe/Berlin:{third:%Y%m%dT%H%M%S}"
            lines += _event(number, third + timedelta(hours=4), f"{words} {number}", moved)
        text = "\r\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//t//EN", *lines, "END:VCALENDAR", ""])
        self.titles[self.server.put(self.path, text, str(number))] = f"{words} {number}"

    def change(self, words: str, *, changed: int, added: int, deleted: int) -> None:
        known = sorted(self.titles)
        chosen = self.dice.sample(known, changed + deleted)
        for path in chosen[:changed]:
            self.put(int(path.rpartition("/")[2].removesuffix(".ics")), words)
        for path in chosen[changed:]:
            self.server.delete(path)
            del self.titles[path]
            self.deleted.append(path)
        start = 1 + max(int(path.rpartition("/")[2].removesuffix(".ics")) for path in (*known, *self.deleted))
        for number in range(start, start + added):
            self.put(number, words)


def _event(number: int, start: datetime, title: str, more: str) -> list[str]:
    when = [f"{name};TZID=Europe/Berlin:{moment:%Y%m%dT%H%M%S}" for name, moment in (
        ("DTSTART", start), ("DTEND", start + timedelta(hours=1)))]  # fmt: skip
    person = "ATTENDEE:mailto:bob@example.com"
    lines = ["BEGIN:VEVENT", f"UID:{number}@kills", "DTSTAMP:20260101T000000Z", *when, f"SUMMARY:{title}", person, more]
    return [*filter(None, lines), "END:VEVENT"]


@pytest.fixture(scope="module")
def stage(database_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CalendarScene]:
    """The product on the real PostgreSQL and Redis."""
    given = {"DATABASE_URL": database_url, "CELERY_BROKER_URL": redis_url, "REDIS_URL": redis_url}
    settings = {"SYNC_INTERVAL_SECONDS": "86400", "EGRESS_ALLOW_CIDRS": "127.0.0.0/8"}
    product = Product(tmp_path_factory.mktemp("kills") / "data", **settings, **given)
    product.start()
    found = scene(product, database_url)
    yield CalendarScene(found.product, found.database_url, found.visitor)
    product.stop()


@pytest.fixture(scope="module")
def post() -> Iterator[tuple[servers.Dovecot, SmtpSink]]:
    """A calendar server is connected together with a mailbox."""
    if servers.missing():
        pytest.fail(servers.missing())
    server = servers.Dovecot().start()
    try:
        with SmtpSink() as sink:
            yield server, sink
    finally:
        server.stop()


@pytest.fixture
def radicale(tmp_path: Path) -> Iterator[Server]:
    with Radicale(tmp_path / "radicale") as server:
        yield server


def _connect(stage: Scene, post: tuple[servers.Dovecot, SmtpSink], user: str, line: SlowLine) -> str:
    server, sink = post
    login = {"host": "127.0.0.1", "security": "none", "username": user, "password": servers.PASSWORD}
    body: dict[str, Any] = {
        "email": user, "imap": {**login, "port": server.imap_port}, "smtp": {**login, "port": sink.port},
        "caldav": {"url": f"http://127.0.0.1:{line.port}/", "username": USER, "password": PASSWORD},
    }  # fmt: skip
    return str(stage.visitor.post("connections/imap", body)["id"])


def _killed(stage: CalendarScene, connection: str, kills: int) -> int:
    """So many workers die in the run under way, unless it ends before. How many."""
    for number in range(kills):
        if not stage.kill_during(connection, within=0.5, whole_worker=number % 3 == 2):
            return number
        stage.visitor.post(f"connections/{connection}/sync", {"type": "calendar"})  # sooner than the tick would
    return kills


def _is_true(stage: CalendarScene, connection: str, truth: Truth) -> None:
    """Nothing missing, nothing twice, nothing that was deleted."""
    rows = stage.ask(THERE, connection)
    assert len({(path, key) for path, key, *_ in rows}) == len(rows)
    assert {path: title for path, key, title, *_ in rows if not key} == truth.titles
    changed = {path for path, key, *_ in rows if key}
    assert changed == {path for path in truth.titles if int(path.rpartition("/")[2].removesuffix(".ics")) % 3 == 0}
    assert {path for (path,) in stage.ask(GONE, connection)} <= set(truth.deleted)


def _told(stage: Scene, connection: str) -> Counter[tuple[str, str]]:
    return Counter((str(type), str(event)) for type, event in stage.ask(TOLD, connection))


def _kill_calendars(
    stage: CalendarScene, post: tuple[servers.Dovecot, SmtpSink], radicale: Server, name: str,
    *, events: int, first: int, later: int, forged: bool,
) -> int:  # fmt: skip
    """Kills in a first sync and in syncs of changes of one calendar; how many there were."""
    user = post[0].add_user(f"{name}@kills.example")
    truth = Truth(radicale, radicale.make_calendar("Work"), random.Random(name))
    for number in range(events):
        truth.put(number)
    stage.killed.clear()
    with SlowLine(radicale.port, seconds=SECONDS) as line:
        quiet = stage.undisturbed(_connect(stage, post, user, line))
        connection = _connect(stage, post, user, line)
        killed = _killed(stage, connection, first)
        stage.wait_until(lambda: stage.ended(connection), "the end of a disturbed first sync")
        assert stage.rows(connection) == quiet
        _is_true(stage, connection, truth)
        assert _told(stage, connection) == {}, "what was there before is no news"
        for turn in range(2 if forged else 1):
            before = _told(stage, connection)
            truth.change(f"turn {turn}", changed=events // 3, added=events // 3, deleted=events // 8)
            if turn:  # the token is lost as well: everything is compared
                stage.ask(FORGED, connection)
            stage.visitor.post(f"connections/{connection}/sync", {"type": "calendar"})
            killed += _killed(stage, connection, later)
            stage.wait_until(lambda: stage.ended(connection), "the end of a disturbed sync of changes")
            _is_true(stage, connection, truth)
            _told_once(_told(stage, connection) - before, events)
        stage.check_kills_hit()
        end = stage.rows(connection)
        stage.visitor.call("DELETE", "oauth/imap", connectionId=connection, purge="true")
        stage.wait_until(lambda: not any(stage.rows(connection).values()), "the end of its purge")
        assert stage.undisturbed(_connect(stage, post, user, line)) == end
    return killed


def _told_once(told: Counter[tuple[str, str]], events: int) -> None:
    assert set(told.values()) == {1}, [what for what, times in told.items() if times > 1][:3]
    kinds = Counter(type.rpartition(".")[2] for type, _ in told)
    assert kinds == {"created": events // 3, "updated": events // 3, "deleted": events // 8}


def test_worker_killed_in_syncs_of_calendars_loses_and_doubles_nothing(
    stage: CalendarScene, post: tuple[servers.Dovecot, SmtpSink], radicale: Server
) -> None:
    assert _kill_calendars(stage, post, radicale, "few", events=300, first=2, later=1, forged=False) == 3


@pytest.mark.chaos
def test_worker_killed_twenty_times_in_syncs_of_calendars_loses_and_doubles_nothing(
    stage: CalendarScene, post: tuple[servers.Dovecot, SmtpSink], radicale: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    began, killed, rounds = time.monotonic(), Counter[str](), 0
    while killed.total() < KILLS:
        rounds += 1
        assert rounds <= 5, f"the syncs ended too soon: {killed}"
        _kill_calendars(stage, post, radicale, f"round{rounds}", events=600, first=3, later=2, forged=True)
        killed.update(kill.what for kill in stage.killed)
    with capsys.disabled():
        print(
            f"\nCalDAV, {rounds} calendars of 600: {dict(killed)} killed in {time.monotonic() - began:.0f} s, same rows"
        )
