"""The dashboard's figures of outbound mail, from the counts by day that are kept (`email_logs.services.days`).

At most four statements; the only one that reads the log itself takes the newest failures of each log from an index.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from django.db.models import Q, QuerySet, Sum

from config.console.scope import Scope
from config.console.syncing import SHOWN, Reason
from email_logs.models import EmailLogDay, EmailLogEntry, EmailLogTable
from email_logs.states import FAILED_WORD, STATUS_WORDS, State

DAYS = 30
LOGS = 8
READ_FAILURES = 200
"""The newest of each log: enough to say what goes wrong now."""
ADDRESS = re.compile(r"[^\s<>()\[\],;:\"']+@[^\s<>()\[\],;:\"']+")
NUMBER = re.compile(r"\b(?=\w*\d)[\w.\-]{6,}\b")
"""Ids of messages and sessions, with which a server makes every refusal unique. Codes as 550 and 5.1.1 stay."""


@dataclass(slots=True)
class Log:
    """One log in the last days."""

    table: EmailLogTable
    sent: int
    failed: int


@dataclass(slots=True)
class Mailing:
    """All of it."""

    days: dict[date, dict[str, int]]
    logs: list[Log] = field(default_factory=list)
    reasons: list[Reason] = field(default_factory=list)

    @property
    def states(self) -> Mapping[str, int]:
        """Over all days, in the order of a mail's life."""
        found = {state: sum(counts.get(state, 0) for counts in self.days.values()) for state in State}
        return {state: count for state, count in found.items() if count}

    @property
    def total(self) -> int:
        """Mails of all days."""
        return sum(self.states.values())

    @property
    def failed(self) -> int:
        """Those of them that did not arrive."""
        return sum(count for state, count in self.states.items() if state in STATUS_WORDS[FAILED_WORD])


def read(scope: Scope) -> Mailing:
    """The last DAYS days, today included."""
    today = datetime.now(UTC).date()
    since = today - timedelta(days=DAYS - 1)
    found = Mailing({since + timedelta(days=n): {} for n in range(DAYS)})
    cells = scope.of(EmailLogDay.objects.filter(day__gte=since, day__lte=today), "table__workspace").order_by()
    for day, state, count in cells.values_list("day", "state").annotate(count=Sum("count")):
        found.days[day][state] = count
    if found.total:
        found.logs = _logs(cells)
        found.reasons = _reasons([log.table for log in found.logs if log.failed], since) if found.failed else []
    return found


def _logs(cells: QuerySet[EmailLogDay]) -> list[Log]:
    failed = Q(state__in=sorted(STATUS_WORDS[FAILED_WORD]))
    sums = cells.values_list("table_id").annotate(sent=Sum("count"), failed=Sum("count", filter=failed))
    by_table = {pk: (sent, bad or 0) for pk, sent, bad in sums.order_by("-sent", "table_id")[:LOGS]}
    tables = EmailLogTable.objects.select_related("integration", "workspace").defer("integration__credentials")
    logs = [Log(table, *by_table[table.pk]) for table in tables.filter(pk__in=by_table)]
    return sorted(logs, key=lambda log: -log.sent)


def _reasons(tables: list[EmailLogTable], since: date) -> list[Reason]:
    """What the newest failures say, the same words but for addresses and ids together. Users' own mailboxes are left
    out: what a server said of their mail is theirs."""
    begin = datetime(since.year, since.month, since.day, tzinfo=UTC)
    slices = [
        EmailLogEntry.objects.filter(
            table=table, state__in=sorted(STATUS_WORDS[FAILED_WORD]), sent_at__gte=begin
        ).order_by("-sent_at", "-id").values_list("error", flat=True)[:READ_FAILURES]
        for table in tables if table.integration_id is not None
    ]  # fmt: skip
    if not slices:
        return []
    rows = slices[0].union(*slices[1:], all=True) if len(slices) > 1 else slices[0]
    found = Counter(_plain(words) for words in rows)
    return [Reason(words, count) for words, count in found.most_common(SHOWN)]


def _plain(words: str) -> str:
    first = NUMBER.sub("…", ADDRESS.sub("…", words)).strip()
    return first[:160] or "No reason was given."
