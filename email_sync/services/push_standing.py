"""Whether a mailbox's changes are told before they are asked for: what `settings.PUSH_STANDINGS["email"]` names.

Called for the status of a connection. A row that says "active" is believed only while what it stands for lives: a
subscription until its end, a held connection for as long as its process shows that it holds it.
"""

from __future__ import annotations

from django.utils import timezone

from email_sync.models import PushChannel, PushStatus
from email_sync.providers.doorbells import MAIL_DOORBELLS, MAIL_LISTENERS
from email_sync.services import doorbells
from integrations.models import Connection
from integrations.services.standing import PushStanding


def of(connection: Connection) -> PushStanding:
    """How this mailbox's push stands now."""
    via, why_not = _way(connection.provider)
    channel = PushChannel.objects.filter(connection=connection, via=via).first()
    if channel is None:
        return PushStanding(PushStatus.OFF, via, message=why_not)
    status = PushStatus(channel.status)
    if status == PushStatus.ACTIVE and not _lives(channel):
        status = PushStatus.OFF
    message = channel.message or (why_not if status != PushStatus.ACTIVE else "")
    return PushStanding(status, via, channel.expires_at, channel.last_notified_at, message)


def _way(provider: str) -> tuple[str, str]:
    """How this provider tells, in a word, and why it does not here."""
    if provider in MAIL_DOORBELLS:
        return MAIL_DOORBELLS.get(provider).via, doorbells.BELLS.missing(provider)
    if provider in MAIL_LISTENERS:
        return MAIL_LISTENERS.get(provider).via, ""
    return "", ""


def _lives(channel: PushChannel) -> bool:
    ends = channel.expires_at if channel.holder is None else channel.lease_until
    return ends is not None and ends > timezone.now()
