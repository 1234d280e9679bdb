"""Whether changes of an account's calendars are told before they are asked for: what
`settings.PUSH_STANDINGS["calendar"]` names. Called for the status of a connection."""

from __future__ import annotations

from calendar_sync.models import CalendarChannel
from calendar_sync.providers.doorbells import CALENDAR_DOORBELLS
from calendar_sync.services import doorbells
from integrations.models import Connection
from integrations.models.push import PushStatus
from integrations.services.doorbells import lives
from integrations.services.standing import PushStanding


def of(connection: Connection) -> PushStanding:
    """Over all calendars: active where one is told of, with what is wrong with the others and with their list."""
    if connection.provider not in CALENDAR_DOORBELLS:
        return PushStanding(PushStatus.OFF)
    bell = CALENDAR_DOORBELLS.get(connection.provider)
    via = bell.via
    rows = list(CalendarChannel.objects.filter(connection=connection, via=via).select_related("calendar"))
    told = [row for row in rows if lives(row) and (row.calendar or not bell.per_calendar)]
    ends = min((row.expires_at for row in told if row.expires_at), default=None)
    heard = max((row.last_notified_at for row in rows if row.last_notified_at), default=None)
    if told:
        return PushStanding(PushStatus.ACTIVE, via, ends, heard, _problems(rows))
    failed = any(row.status == PushStatus.FAILED for row in rows)
    status = PushStatus.FAILED if failed else PushStatus.OFF
    return PushStanding(status, via, None, heard, _problems(rows) or doorbells.BELLS.missing(connection.provider))


def _problems(rows: list[CalendarChannel]) -> str:
    """The first in its words, and how many more there are."""
    found = [(row.calendar.name if row.calendar else "", row.message) for row in rows if row.message]
    if not found:
        return ""
    name, words = found[0]
    more = f" ({len(found) - 1} more)" if len(found) > 1 else ""
    return f"{name}: {words}{more}" if name else words
