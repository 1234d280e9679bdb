"""How a provider tells of changes in calendars before it is asked: all that `integrations.doorbells` says, and whether
it takes one for each calendar."""

from __future__ import annotations

from typing import ClassVar

from integrations.doorbells import Doorbell


class CalendarDoorbell(Doorbell):
    """Subscriptions of one provider, for the account it is made with."""

    per_calendar: ClassVar[bool]
    """True where one tells of a single calendar, which `subscribe` names, and one that names none tells that calendars
    came or went; False where one tells of what is in all of them."""
