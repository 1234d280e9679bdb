"""How many emails a match links: what `settings.MATCH_COUNTERS["emails"]` names.

Counted are the emails of the conversations it brings onto timelines, of mailboxes the asker sees, a message that
several mailboxes hold once. Bounded, because one address may be in every mail there is.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from django.db import connection as database

from email_sync.services.linking import own_addresses
from email_sync.services.visibility import mailboxes
from entities.models import AddressMatch, DomainMatch
from entities.services.matches import AnyMatch, Matched

if TYPE_CHECKING:
    from workspaces.models import User, Workspace

CAP = 1000
"""Counting stops here."""

_COUNT = """
    SELECT wanted.number, counted.emails
    FROM generate_series(0, %(matches)s - 1) AS wanted (number) CROSS JOIN LATERAL (
        SELECT count(*) AS emails FROM (
            SELECT DISTINCT coalesce(message.fingerprint, message.id)
            FROM (
                SELECT DISTINCT person.thread_id
                FROM unnest(%(numbers)s::int[], %(boxes)s::uuid[], %(keys)s::text[]) AS pair (number, box, key)
                JOIN email_sync_threadparticipant AS person
                  ON person.connection_id = pair.box AND person.{column} = pair.key
                WHERE pair.number = wanted.number AND person.shown_at IS NOT NULL
                  AND person.address_key <> ALL(%(apart)s::text[])
                LIMIT %(cap)s + 1
            ) AS linked
            JOIN email_sync_message AS message ON message.thread_id = linked.thread_id
            WHERE message.removed_at IS NULL AND NOT (message.in_drafts OR message.in_trash OR message.in_spam)
            LIMIT %(cap)s + 1
        ) AS email
    ) AS counted
"""


def count_emails(*, user: User, workspace: Workspace, matches: Sequence[AnyMatch]) -> dict[uuid.UUID, Matched]:
    """See `entities.services.matches.Counter`. At most four queries."""
    own = own_addresses(workspace.pk)
    boxes = list(mailboxes(user=user, workspace=workspace))
    addresses = [match for match in matches if isinstance(match, AddressMatch)]
    domains = [match for match in matches if isinstance(match, DomainMatch)]
    by_address = [
        (number, box, match.address_key)
        for number, match in enumerate(addresses)
        for box in boxes
        if match.address_key not in own.get(box, ())
    ]
    by_domain = [(number, box, match.domain) for number, match in enumerate(domains) for box in boxes]
    everybody = frozenset().union(*own.values())
    return _counted(addresses, "address_key", by_address, ()) | _counted(domains, "domain", by_domain, everybody)


def _counted(
    matches: Sequence[AnyMatch], column: str, pairs: Sequence[tuple[int, uuid.UUID, str]], apart: Collection[str]
) -> dict[uuid.UUID, Matched]:
    if not pairs:
        return {}
    numbers, boxes, keys = (list(values) for values in zip(*pairs, strict=True))
    values: dict[str, Any] = {
        "matches": len(matches), "numbers": numbers, "boxes": boxes, "keys": keys, "apart": list(apart), "cap": CAP,
    }  # fmt: skip
    with database.cursor() as cursor:
        cursor.execute(_COUNT.format(column=column), values)
        rows = cursor.fetchall()
    return {matches[number].pk: Matched(min(emails, CAP), emails <= CAP) for number, emails in rows}
