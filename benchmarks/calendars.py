"""Row `calendars`: a month of a calendar of 10,000 and of 100,000 events over HTTP, beside recurring-ical-events over
the same text and Radicale's time-range REPORT over the same collection.

The peers know no pages: beside their answer stand a page of ours, which is what a person waits for, and all pages of
the month, over HTTP and as JSON. That all three found the same events is asserted. What a question reads is held to its
cost class: as many blocks at the larger size, also with 1,000,000 occurrences in the tables.
"""

from __future__ import annotations

import argparse
import http.client
import json
import time
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import recurring_ical_events
from icalendar import Calendar as Parsed

from benchmarks import calendar_plans, dav, diary
from benchmarks.diary import TODAY, Diary
from benchmarks.inbox import Samples, latencies, server
from benchmarks.measuring import ROUNDS, Figure, Report, percentile, say, seconds
from calendar_sync.services import feeds

API = "/api/v1/integrations/calendar"
START, END = TODAY, TODAY + timedelta(days=31)
MONTH = f"start={START:%Y-%m-%d}T00:00:00Z&end={END:%Y-%m-%d}T00:00:00Z"
VIEW = f"{API}/events?{MONTH}&limit=100"
PAGE, NEXT_PAGE = "31 days, a page of 100", "31 days, the next page"
VIEWS, FEEDS = 30, 5
"""Requests a round; a feed's address answers thirty a minute."""
CROWD = 1_000_000
Month = set[tuple[str, str]]
"""UID and start of each occurrence."""


def measure(options: argparse.Namespace, folder: Path, report: Report) -> None:
    """The row. AssertionError where the three do not agree, or a question reads more than its class allows."""
    sizes = (5_000, 10_000) if options.small else (10_000, 100_000)
    began = time.perf_counter()
    small, large = (diary.make(size) for size in sizes)
    report.add("written by the product", "s", time.perf_counter() - began, f"{sum(sizes):,} events")
    for each in (small, large):
        calendar_plans.match(each)
    began = time.perf_counter()
    stored = diary.crowd(large, 0 if options.small else CROWD)
    report.add("occurrences stored", "", stored, f"neighbours copied in {time.perf_counter() - began:.0f} s")
    calendar_plans.check(report, small, large, explain=options.explain)
    with server() as port:
        month = whole_month(port, large)
        found = {key: _measured(port, each) for key, each in (("small", small), ("large", large))}
        times = [seconds(lambda: whole_month(port, large)) for _ in range(ROUNDS)]
    whole = report.add("31 days whole", "s", times, f"{len(month):,} occurrences, pages of 100")
    page = _compare(report, found, small, large)
    for theirs in (_expanded(report, large, month), _reported(report, folder, large, month)):
        report.within(f"a page ÷ {theirs.name}", page, 1000 * theirs.value)
        report.ratio(f"31 days whole ÷ {theirs.name}", whole, theirs)


def whole_month(port: int, each: Diary) -> Month:
    """All pages of the view, by cursor: UID and start of each occurrence."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    found: Month = set()
    cursor = ""
    while True:
        client.request("GET", f"{VIEW}&cursor={cursor}", headers={"Authorization": f"Bearer {each.token}"})
        answer = json.loads(client.getresponse().read())
        found |= {(row["iCalUid"], row["start"]) for row in answer["data"]}
        cursor = answer["pagination"]["nextCursor"]
        if not cursor:
            client.close()
            return found


def _measured(port: int, each: Diary) -> dict[str, Samples]:
    url = feeds.make(membership=each.owner, shows_private=False, by=each.owner.user).url
    paths = {
        PAGE: VIEW,
        NEXT_PAGE: f"{VIEW}&cursor={_next_cursor(port, each)}",
        "free/busy of 31 days": f"{API}/freebusy?{MONTH}",
        "slots of 31 days": f"{API}/slots?{MONTH}&duration=30",
        **{
            f"events of {name}": f"{API}/events/entity/bench/{key}?limit=50"
            for name, key in calendar_plans.ENTITIES.items()
        },
    }
    wanted = {name: Samples(path, each.token, VIEWS) for name, path in paths.items()}
    wanted["feed"] = Samples(url[url.index("/api/") :], "", FEEDS)
    for number in range(ROUNDS):
        say(f"{each.size:,} events, round {number + 1} of {ROUNDS}")
        for samples in wanted.values():
            samples.rounds.append(latencies(port, samples))
    return wanted


def _next_cursor(port: int, each: Diary) -> str:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    client.request("GET", VIEW, headers={"Authorization": f"Bearer {each.token}"})
    return str(json.loads(client.getresponse().read())["pagination"]["nextCursor"])


def _compare(report: Report, found: dict[str, dict[str, Samples]], small: Diary, large: Diary) -> Figure:
    """The median of a page at the larger size."""
    pages = {}
    for name in found["small"]:
        for which, share in (("p50", 0.5), ("p95", 0.95)):
            small_one, large_one = (
                report.add(f"{name}, {each.size:,}: {which}", "ms", [percentile(r, share) for r in samples.rounds])
                for each, samples in ((small, found["small"][name]), (large, found["large"][name]))
            )
            goal = {"at_most": 1.2} if name in (PAGE, NEXT_PAGE) and which == "p50" else {}
            report.ratio(f"{name}: large ÷ small, {which}", large_one, small_one, **goal)
            pages[name, which] = large_one
    return pages[PAGE, "p50"]


# --- the peers ----------------------------------------------------------------------------------------------------


def _expanded(report: Report, each: Diary, month: Month) -> Figure:
    """recurring-ical-events; what it makes of the calendar once is timed apart."""
    say(f"recurring-ical-events reads {each.size:,} events")
    text = _as_one(item.text for item in diary.items(each.size))
    began = time.perf_counter()
    query = recurring_ical_events.of(Parsed.from_ical(text))
    report.add("recurring-ical-events: parsing", "s", time.perf_counter() - began)

    def ask() -> Month:
        events = query.between(START.replace(tzinfo=UTC), END.replace(tzinfo=UTC))
        return {(str(event["UID"]), _wire(event["DTSTART"].dt)) for event in events}

    report.add("recurring-ical-events: its first answer", "s", seconds(ask))
    found = ask()
    assert found == month, f"{len(found ^ month)} occurrences differ: {sorted(found ^ month)[:4]}"
    times = [seconds(ask) for _ in range(ROUNDS)]
    return report.add("recurring-ical-events: 31 days", "s", times, f"{len(found):,} occurrences")


def _as_one(texts: Iterable[str]) -> str:
    """One file of many."""
    events = (text[text.index("BEGIN:VEVENT") : text.index("END:VCALENDAR")] for text in texts)
    return "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//diary//EN\r\n" + "".join(events) + "END:VCALENDAR\r\n"


def _wire(start: date) -> str:
    """As the API writes it."""
    if not isinstance(start, datetime):
        return start.isoformat()
    return f"{start.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.000Z"


def _reported(report: Report, folder: Path, each: Diary, month: Month) -> Figure:
    """Radicale, with its cache of every item. It finds resources; the occurrences are left to the program that asks."""
    say(f"Radicale gets {each.size:,} events")
    wanted = {uid for uid, _ in month}
    with dav.served(folder / "radicale", diary.items(each.size)) as (radicale, path):
        found = set(dav.report(radicale, path, START, END))
        differing = (found ^ wanted) - {dav.uid(item.text) for item in diary.items(each.size) if _only_touches(item)}
        assert not differing, f"{len(differing)} events differ: {sorted(differing)[:4]}"
        times = [seconds(lambda: dav.report(radicale, path, START, END)) for _ in range(ROUNDS)]
    return report.add("Radicale: REPORT of 31 days", "s", times, f"{len(found):,} events, not expanded")


def _only_touches(item: diary.Item) -> bool:
    """It ends when the month begins or the other way round: for Radicale a day without times is in both."""
    return item.end == START or item.begin == END
