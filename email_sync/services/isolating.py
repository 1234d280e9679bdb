"""One message that the provider never gives must not stop its page for ever (reference 8.50).

Called by the engine where a page came in part, or failed twice. The bad message is found by halving and set aside as an
`Unfetched` row, which is tried again later and later, at most once a day (`refilling`); the rest of the page goes on.
An outage is not mistaken for it: the provider must answer something else in between. A message that came without its
body has such a row too, beside the row that stands for it meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from django.db.models.functions import Now

from core.errors import ProviderError, ProviderRejected, ProviderUnavailable
from email_sync.models import Message, Unfetched
from email_sync.providers.base import MailProvider
from email_sync.records import Stream
from email_sync.services.fetching import REFUSED, bring
from email_sync.services.store import Incoming
from integrations.models import Connection

MAX_BAD = 20
"""More bad messages in one page are the provider's trouble and not theirs."""
RETRIED_TOGETHER = MAX_BAD
DAY = timedelta(days=1)
DENIED = "The provider listed it and then did not have it."
BELIEVED_AT = 3
"""So often a message is denied before it counts as gone: in a minute, in five, in twenty."""


@dataclass(slots=True)
class Isolated:
    """What a page came to: what could be had, and the ids of what could not, with the provider's words."""

    messages: list[Incoming] = field(default_factory=list)
    bad: dict[str, str] = field(default_factory=dict)
    error: ProviderError | None = None
    """Too many were bad: what is neither here nor there has to come another time."""


def isolate(
    mailbox: MailProvider, stream: Stream, remote_ids: Sequence[str], *, between: Callable[[], None] = lambda: None
) -> Isolated:
    """Fetch what can be had. Raises the provider's error where it answers nothing else either."""
    mailbox.folders()
    found = Isolated()
    _halve(mailbox, stream, remote_ids, found, between)
    return found


def _halve(
    mailbox: MailProvider, stream: Stream, remote_ids: Sequence[str], found: Isolated, between: Callable[[], None]
) -> None:
    brought = bring(mailbox, stream, remote_ids, between=between)
    found.messages += brought.messages
    if brought.error is None:
        return
    if not is_isolable(brought.error) or len(found.bad) >= MAX_BAD:
        found.error = brought.error
        return
    rest = missing_of(remote_ids, brought.messages)
    if not rest:
        return
    if len(rest) == 1:
        mailbox.folders()  # it is this message, and not the provider
        found.bad[rest[0]] = brought.error.message
        return
    middle = len(rest) // 2
    for half in (rest[:middle], rest[middle:]):
        if found.error is None:
            _halve(mailbox, stream, half, found, between)


def is_isolable(error: ProviderError) -> bool:
    """Whether it may be one message's fault: not where the provider says wait, or refuses the credential."""
    return isinstance(error, (ProviderUnavailable, ProviderRejected))


def missing_of(remote_ids: Sequence[str], messages: Iterable[Incoming]) -> list[str]:
    """Those of the ids that did not come."""
    came = {item.remote.state.remote_id for item in messages}
    return [remote_id for remote_id in remote_ids if remote_id not in came]


# --- rows ---------------------------------------------------------------------------------------------------------


def set_aside(connection: Connection, stream: str, bad: Mapping[str, str]) -> None:
    """Note what could not be had, inside the caller's transaction; the next try is in a minute, then 4, 16 …."""
    known = {row.remote_id: row for row in Unfetched.objects.filter(connection=connection, remote_id__in=list(bad))}
    for remote_id, words in bad.items():
        attempts = known[remote_id].attempts + 1 if remote_id in known else 1
        wait = min(DAY, timedelta(minutes=4.0 ** min(attempts - 1, 6)))
        Unfetched.objects.update_or_create(
            connection=connection,
            remote_id=remote_id,
            defaults={
                "stream": stream, "reason": words, "attempts": attempts, "next_attempt_at": Now() + wait,
            },
        )  # fmt: skip


def doubted(connection: Connection, remote_ids: Sequence[str]) -> dict[str, str]:
    """Those of these, not given again, that have not been denied often enough to count as gone; with the reason."""
    rows = Unfetched.objects.filter(connection=connection, remote_id__in=remote_ids, reason=DENIED)
    return dict.fromkeys(rows.filter(attempts__lt=BELIEVED_AT).values_list("remote_id", flat=True), DENIED)


def note_refused(connection: Connection, stream: str, messages: Iterable[Incoming]) -> None:
    """Inside the writer's transaction, before it writes these: those without their body are to be asked for again,
    unless they are set aside or stored whole already."""
    ids = [item.remote.state.remote_id for item in messages if item.remote.refused]
    if ids:
        whole = Message.objects.present().filter(connection=connection, remote_id__in=ids, defect="")
        known = {*whole.values_list("remote_id", flat=True), *set_aside_ids(connection, ids)}
        set_aside(connection, stream, {remote_id: REFUSED for remote_id in ids if remote_id not in known})


def note_forgotten(connection: Connection, stream: str) -> None:
    """Inside the caller's transaction: messages without their body that nobody would ask for again, because a move gave
    them another id."""
    rows = Message.objects.present().filter(connection=connection, stream=stream, defect__startswith=REFUSED)
    known = Unfetched.objects.filter(connection=connection).values("remote_id")
    forgotten = rows.exclude(remote_id__in=known).values_list("remote_id", flat=True)
    set_aside(connection, stream, dict.fromkeys(forgotten, REFUSED))


def count(connection: Connection) -> int:
    """How many messages the provider lists and has not given whole: what `settings.INCOMPLETE_COUNTS["email"]` names,
    for the connection's status."""
    return Unfetched.objects.filter(connection=connection).count()


def due(connection: Connection, stream: str) -> list[str]:
    """Ids set aside whose time has come."""
    rows = Unfetched.objects.filter(connection=connection, stream=stream, next_attempt_at__lte=Now())
    return list(rows.order_by("next_attempt_at").values_list("remote_id", flat=True)[:RETRIED_TOGETHER])


def settled(connection: Connection, remote_ids: Sequence[str]) -> None:
    """They came, or are gone, inside the caller's transaction."""
    Unfetched.objects.filter(connection=connection, remote_id__any_of=set(remote_ids)).delete()


def forget_stream(connection: Connection, stream: str) -> None:
    """The folder is gone, inside the caller's transaction."""
    Unfetched.objects.filter(connection=connection, stream=stream).delete()


def set_aside_ids(connection: Connection, remote_ids: Sequence[str]) -> set[str]:
    """Which of these are set aside: not to be asked for with every page."""
    rows = Unfetched.objects.filter(connection=connection, remote_id__any_of=set(remote_ids))
    return set(rows.values_list("remote_id", flat=True))
