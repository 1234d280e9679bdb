"""A zone's rules from the VTIMEZONE that came with an event: every change of the clocks from 1970 to 2060, once.

Used where nobody knows the zone by its name. The rules of a definition are a stranger's too: they are walked under the
same bounds as an event's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from calendar_sync import content, rules
from calendar_sync.content import BadCalendar, Component
from calendar_sync.records import ZoneRules
from calendar_sync.stepping import Budget, Exhausted, walk
from calendar_sync.zones import EPOCH

FIRST, LAST = datetime(1970, 1, 1), datetime(2060, 1, 1)  # noqa: DTZ001 - wall-clock times
MAX_CHANGES = 500


class Definitions:
    """Those of one text, each worked out when it is first asked for and once: every time of an event asks."""

    def __init__(self, named: Mapping[str, Component], budget: Budget) -> None:
        self.named = named
        self.budget = budget
        self._known: dict[str, ZoneRules] = {}

    def rules(self, name: str) -> ZoneRules:
        """() where nobody defined it; BadCalendar where that makes no sense."""
        if name not in self._known:
            definition = self.named.get(name)
            self._known[name] = rules_of(definition, self.budget) if definition else ()
        return self._known[name]


def rules_of(definition: Component, budget: Budget | None = None) -> ZoneRules:
    """In order, at least one. BadCalendar where it makes no sense."""
    budget = budget or Budget()
    changes: dict[int, int] = {}
    starts: list[tuple[int, int]] = []
    for part in definition.children:
        before, after = _offset(part, "TZOFFSETFROM"), _offset(part, "TZOFFSETTO")
        for wall in _walls(part, budget):
            at = int((wall - EPOCH - timedelta(seconds=before)).total_seconds())
            changes[at] = after
            starts.append((at, before))
            if len(changes) > MAX_CHANGES:
                raise BadCalendar("The time zone's definition changes its clocks too often.")
    if not changes:
        raise BadCalendar("The time zone's definition says nothing.")
    first = min(starts)
    ordered = sorted(changes.items())
    return ((first[0] - 1, first[1]), *ordered)


def _offset(part: Component, name: str) -> int:
    found = part.first(name)
    if found is None:
        raise BadCalendar(f"The time zone's definition lacks {name}.")
    return content.offset(found.value)


def _walls(part: Component, budget: Budget) -> Iterator[datetime]:
    start = part.first("DTSTART")
    if start is None:
        raise BadCalendar("The time zone's definition lacks DTSTART.")
    begin = content.moment(start.value).wall
    yield begin
    for listed in part.all("RDATE"):
        yield from (content.moment(item).wall for item in listed.value.split(","))
    for given in part.all("RRULE"):
        try:
            rule = rules.parse(given.value)
            # UNTIL is in UTC and the walls are not: a day more or less is far from the next change.
            until = min(rule.until, LAST) + timedelta(days=1) if rule.until else LAST
            yield from walk(rule, begin, max(begin, FIRST), until, budget)
        except (rules.BadRule, Exhausted) as error:
            raise BadCalendar(f"The time zone's definition cannot be followed. {error}") from error
