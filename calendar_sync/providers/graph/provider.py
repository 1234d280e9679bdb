"""The Microsoft Graph adapter. A resource is a single event, or a series with its changed and cancelled occurrences:
Exchange keeps those inside the series and changes its etag with them.

Why it compares rather than follows Graph's delta stands in `listing`. The account's settings may name another origin
under `graphApiUrl`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import ClassVar

from calendar_sync.content import clean
from calendar_sync.ics import MAX_TITLE
from calendar_sync.providers.base import CalendarAccount, CalendarProvider
from calendar_sync.providers.graph import listing
from calendar_sync.providers.graph.api import CalendarApi, event
from calendar_sync.providers.graph.events import WHOLE, resource_of
from calendar_sync.providers.graph.writing import Writer
from calendar_sync.records import ChangePage, EventDraft, ListingPage, RemoteCalendar, RemoteResource, Target
from core.errors import ProviderError, ProviderRejected, RemoteMissing
from core.metering import Quota
from integrations.providers.graph import batch
from integrations.providers.graph.answers import Json, identifier, items, text
from integrations.providers.graph.api import query
from integrations.providers.graph.batch import Call
from integrations.providers.graph.errors import UNREADABLE

_COLOR = re.compile(r"#[0-9a-fA-F]{6}")


class GraphCalendar(CalendarProvider):
    """The calendars of a Microsoft 365 or Outlook.com account."""

    key: ClassVar[str] = "microsoft"
    fetch_batch: ClassVar[int] = batch.MAX_CALLS
    quota: ClassVar[Quota | None] = Quota(10_000, 600.0, in_flight=4, budget="email")
    """Per application and mailbox, for mail and calendars together (reference 3.6): both pay from mail's budget."""

    def __init__(self, account: CalendarAccount) -> None:
        super().__init__(account)
        self.api = CalendarApi(account)

    # --- calendars --------------------------------------------------------------------------------------------

    def calendars(self) -> list[RemoteCalendar]:
        """Own ones and those shared with the account."""
        found: dict[str, RemoteCalendar] = {}
        options = query(select="id,name,hexColor,canEdit,isDefaultCalendar", top=100)
        for page in self.api.pages(self.api.json("GET", f"/me/calendars{options}")):
            found |= {identifier(item): _calendar(item) for item in items(page)}
        return list(found.values())

    def start_cursor(self, calendar: RemoteCalendar) -> str:
        return listing.start(self.api, calendar.remote_id)

    def listing(self, calendar: RemoteCalendar, token: str) -> ListingPage:
        """Versions alone: a list does not hold what differs from a series."""
        return listing.page(self.api, calendar.remote_id, token)

    def changes(self, calendar: RemoteCalendar, cursor: str) -> ChangePage:
        return listing.changes(self.api, calendar.remote_id, cursor)

    # --- events -----------------------------------------------------------------------------------------------

    def fetch(self, calendar: RemoteCalendar, remote_ids: Sequence[str]) -> Iterator[RemoteResource]:
        """20 in a batch. What Exchange itself cannot read comes as a problem and hides no other."""
        asked = list(dict.fromkeys(remote_ids))
        refusals: list[ProviderError] = []
        answers = self.api.each([Call(event(remote_id) + query(**WHOLE)) for remote_id in asked])
        for remote_id, answer in zip(asked, answers, strict=True):
            if not isinstance(answer, ProviderError):
                yield resource_of(answer.json_object(), self.account.email, calendar.time_zone)
            elif isinstance(answer, ProviderRejected) and answer.code == UNREADABLE:
                yield RemoteResource(remote_id, "", problem=answer.message)
            elif not isinstance(answer, RemoteMissing):
                refusals.append(answer)
        if refusals:
            raise refusals[0]

    # --- writing ----------------------------------------------------------------------------------------------

    def create(self, calendar: RemoteCalendar, draft: EventDraft, *, key: str, notify: str) -> RemoteResource:
        return self._writer(calendar).create(draft, key=key, notify=notify)

    def update(
        self, calendar: RemoteCalendar, target: Target, draft: EventDraft, changed: frozenset[str], *, notify: str
    ) -> tuple[RemoteResource, ...]:
        return (self._writer(calendar).update(target, draft, changed, notify=notify),)

    def delete(self, calendar: RemoteCalendar, target: Target, *, notify: str) -> tuple[RemoteResource, ...]:
        return self._writer(calendar).delete(target, notify=notify)

    def respond(
        self, calendar: RemoteCalendar, target: Target, response: str, *, notify: str, comment: str = ""
    ) -> tuple[RemoteResource, ...]:
        return self._writer(calendar).respond(target, response, notify=notify, comment=comment)

    def _writer(self, calendar: RemoteCalendar) -> Writer:
        return Writer(self.api, calendar, self.account.email)


def _calendar(item: Json) -> RemoteCalendar:
    color = text(item, "hexColor")
    return RemoteCalendar(
        remote_id=identifier(item),
        name=clean(text(item, "name"), MAX_TITLE)[:500] or "Calendar",
        color=color.lower() if _COLOR.fullmatch(color) else "",
        read_only=item.get("canEdit") is False,
        is_primary=item.get("isDefaultCalendar") is True,
    )
