"""Calendars under `kill -9` (promise 1; reference reliability R1): Celery workers of a running product die in first
syncs from Radicale and in syncs of changes, and the processes that answer requests while they write events to it.
Nothing is missing, nothing is there or told twice, and what was deleted does not return.

A few kills in `make test-services`, twenty in `make chaos`. The truth is what the test put on the server, or asked for.
"""

from __future__ import annotations

import http.client
import json
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

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
IDS = """
    SELECT remote_id, id::text FROM calendar_sync_calendarevent
    WHERE connection_id = %s AND removed_at IS NULL AND series_id IS NULL
"""
KEYS_ARE_FREE = """
    UPDATE workspaces_idempotencyrecord SET lease_until = now() - interval '1 second' WHERE state <> 'done'
"""
"""Whoever held them is dead: two minutes go by."""
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
    radicale.delete(truth.path)
    return killed


def _told_once(told: Counter[tuple[str, str]], events: int) -> None:
    assert set(told.values()) == {1}, [what for what, times in told.items() if times > 1][:3]
    kinds = Counter(type.rpartition(".")[2] for type, _ in told)
    assert kinds == {"created": events // 3, "updated": events // 3, "deleted": events // 8}


# --- writes -------------------------------------------------------------------------------------------------------


@dataclass
class Writer:
    """Somebody who writes events, again and again until an answer says how it ended; and what has to be there then."""

    stage: CalendarScene
    connection: str
    titles: dict[str, str]
    """Path → title."""
    killed: Counter[str] = field(default_factory=Counter)
    written: Counter[str] = field(default_factory=Counter)
    touched: set[str] = field(default_factory=set)
    """Each event is written once, so that what is told of it can be counted."""

    def create(self, number: int) -> None:
        title = f"created {number}"
        body = {"title": title, "start": "2026-12-01T09:00:00Z", "end": "2026-12-01T10:00:00Z", "sendUpdates": "none"}
        _, made = self._until_answered(
            "POST", "events", {**body, "connectionId": self.connection}, f"{self.connection} {number}"
        )
        [path] = [path for path, pk in self.stage.ask(IDS, self.connection) if pk == made["id"]]
        self.titles[path] = title
        self.written["created"] += 1

    def change(self, number: int) -> None:
        path, event_id = self._any(series=False)
        title = f"changed {number}"
        status, answer = self._until_answered("PATCH", f"events/{event_id}", {"title": title, "sendUpdates": "none"})
        shown = answer["error"]["current"] if status == 409 else answer  # refused where it had been written already
        assert shown["title"] == title
        self.titles[path] = title
        self.written["updated"] += 1

    def remove(self, number: int) -> None:
        path, event_id = self._any(series=number % 2 == 0)
        self._until_answered("DELETE", f"events/{event_id}?sendUpdates=none", None)
        del self.titles[path]
        self.written["deleted"] += 1

    def _any(self, *, series: bool) -> tuple[str, str]:
        ids = dict(self.stage.ask(IDS, self.connection))
        numbers = {path: path.rpartition("/")[2].removesuffix(".ics") for path in ids}
        fresh = {path: int(one) for path, one in numbers.items() if one.isdigit() and path not in self.touched}
        path = self.stage.dice.choice(sorted(path for path, one in fresh.items() if (one % 3 == 0) == series))
        self.touched.add(path)
        return path, ids[path]

    def _until_answered(self, method: str, path: str, body: Any, key: str = "") -> tuple[int, Any]:
        """The web processes die while the first request is under way; the same is asked until it is answered."""
        answers: list[tuple[int, Any]] = []
        asking = threading.Thread(target=lambda: answers.extend(self._ask(method, path, body, key)))
        asking.start()
        threading.Event().wait(self.stage.dice.uniform(0.05, 0.6))
        if asking.is_alive():
            self.stage.kill_web()
            asking.join(60)
            self.killed[method] += not answers
        deadline = time.monotonic() + 60
        while not answers or not _settled(method, *answers[-1]):
            assert time.monotonic() < deadline, answers[-3:]
            threading.Event().wait(0.2)
            self.stage.ask(KEYS_ARE_FREE)
            answers += self._ask(method, path, body, key)
        return answers[-1]

    def _ask(self, method: str, path: str, body: Any, key: str) -> list[tuple[int, Any]]:
        """Nothing where there was no answer."""
        client = http.client.HTTPConnection("127.0.0.1", self.stage.product.port, timeout=30)
        headers = {"Authorization": f"Bearer {self.stage.visitor.token}", "Content-Type": "application/json"}
        try:
            target = f"/api/v1/integrations/calendar/{path}"
            client.request(method, target, json.dumps(body), headers | ({"Idempotency-Key": key} if key else {}))
            answer = client.getresponse()
            text = answer.read()
            return [(answer.status, json.loads(text) if text else None)]
        except (OSError, http.client.HTTPException):
            return []
        finally:
            client.close()


def _settled(method: str, status: int, answer: Any) -> bool:
    """It is known how it ended; a 409 with the event, and a 404 of what was to be deleted, say that it was written."""
    conflict = status == 409 and answer["error"]["code"] == "conflict"
    return status < 300 or conflict or (method == "DELETE" and status == 404)


def _kill_writes(
    stage: CalendarScene, post: tuple[servers.Dovecot, SmtpSink], radicale: Server, name: str, *, kills: int
) -> Counter[str]:
    """So many kills while events are made, changed and deleted; of which."""
    user = post[0].add_user(f"{name}@kills.example")
    truth = Truth(radicale, radicale.make_calendar("Work"), random.Random(name))
    for number in range(90):
        truth.put(number)
    with SlowLine(radicale.port, seconds=SECONDS) as line:
        connection = _connect(stage, post, user, line)
        stage.wait_until(lambda: stage.ended(connection), "the end of a first sync")
        writer = Writer(stage, connection, dict(truth.titles))
        for number in range(6 * kills):
            (writer.create, writer.change, writer.remove)[number % 3](number)
            if writer.killed.total() >= kills and number % 3 == 2:
                break
        assert writer.killed.total() >= kills, f"the writes ended too soon: {writer.killed}"
        _is_written(stage, connection, writer)
        paths = set(
            re.findall(r"<href>([^<]*[.]ics)</href>", radicale.ask("PROPFIND", truth.path, Depth="1")[1].decode())
        )
        assert {unquote(path) for path in paths} == set(writer.titles)
        stage.ask(FORGED, connection)  # the token is lost: everything is compared
        stage.visitor.post(f"connections/{connection}/sync", {"type": "calendar"})
        stage.wait_until(lambda: stage.ended(connection), "the end of a comparison")
        _is_written(stage, connection, writer)
    radicale.delete(truth.path)
    return writer.killed


def _is_written(stage: CalendarScene, connection: str, writer: Writer) -> None:
    """What was asked for is there, and was told, once."""
    rows = stage.ask(THERE, connection)
    assert len({(path, key) for path, key, *_ in rows}) == len(rows)
    assert {path: title for path, key, title, *_ in rows if not key} == writer.titles
    told = _told(stage, connection)
    assert set(told.values()) == {1}, [what for what, times in told.items() if times > 1][:3]
    assert Counter(type.rpartition(".")[2] for type, _ in told) == writer.written


def test_process_killed_while_it_writes_an_event_loses_and_doubles_nothing(
    stage: CalendarScene, post: tuple[servers.Dovecot, SmtpSink], radicale: Server
) -> None:
    assert _kill_writes(stage, post, radicale, "writes", kills=2).total() >= 2


# --- syncs --------------------------------------------------------------------------------------------------------


def test_worker_killed_in_syncs_of_calendars_loses_and_doubles_nothing(
    stage: CalendarScene, post: tuple[servers.Dovecot, SmtpSink], radicale: Server
) -> None:
    assert _kill_calendars(stage, post, radicale, "few", events=300, first=2, later=1, forged=False) == 3


@pytest.mark.chaos
def test_twenty_kills_in_syncs_and_writes_of_calendars_lose_and_double_nothing(
    stage: CalendarScene, post: tuple[servers.Dovecot, SmtpSink], radicale: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    began, killed, rounds = time.monotonic(), Counter[str](), 0
    while killed.total() < KILLS:
        rounds += 1
        assert rounds <= 5, f"the syncs ended too soon: {killed}"
        _kill_calendars(stage, post, radicale, f"round{rounds}", events=600, first=3, later=2, forged=True)
        killed.update(kill.what for kill in stage.killed)
        writes = _kill_writes(stage, post, radicale, f"writes{rounds}", kills=4)
        killed.update({f"web in {method}": number for method, number in writes.items()})
    with capsys.disabled():
        print(
            f"\nCalDAV, {rounds} calendars of 600: {dict(killed)} killed in {time.monotonic() - began:.0f} s, same rows"
        )
