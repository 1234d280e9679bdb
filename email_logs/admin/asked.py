"""What the address of a console's page narrows a log by."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

from django.http import HttpRequest

from email_logs.columns import STATUSES
from email_logs.services.reading import Filters
from email_logs.sources import SOURCES
from email_logs.states import State


def filters_of(request: HttpRequest) -> Filters:
    """What the address of the page asks for; what makes no sense is left out."""
    given = {name: request.GET.get(name, "").strip() for name in ("status", "state", "source", "q")}
    known = {"status": STATUSES, "state": State.values, "source": SOURCES}
    narrowed = {name: given[name] for name, values in known.items() if given[name] in values}
    since, until = (_midnight(request.GET.get(f"sent_at_{end}", "")) for end in ("from", "to"))
    return Filters(**narrowed, since=since, until=until and until + timedelta(days=1), q=given["q"])


def _midnight(text: str) -> datetime | None:
    try:
        return datetime.combine(date.fromisoformat(text), time(), UTC)
    except ValueError:
        return None
