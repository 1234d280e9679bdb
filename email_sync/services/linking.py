"""Which CRM entities a conversation is about: by its people's addresses and domains, or because somebody said so.

A decision made by hand wins over every match and is never changed by a sync. Everything else is a join of who takes
part with the workspace's matches, made when it is read, so a new match covers old mail at once. Only the workspace of
the reader matters.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db import connection as database
from django.db import transaction
from django.db.models.functions import Now

from email_sync.models import LinkKind, Thread, ThreadLink
from email_sync.services.locking import one_writer
from entities.matching import normalise
from integrations.models import Connection
from workspaces.services import audit

if TYPE_CHECKING:
    from workspaces.models import User

MANUAL, ADDRESS, DOMAIN = "manual", "address", "domain"
"""How a conversation comes to an entity; the first that applies is told."""
Place = tuple[uuid.UUID, str, str]
"""A thread and the type and id of an entity."""
_RANK = {MANUAL: 0, ADDRESS: 1, DOMAIN: 2}


@dataclass(frozen=True, slots=True, order=True)
class LinkedEntity:
    """An entity and how it was found."""

    entity_type: str
    entity_id: str
    how: str


# --- decisions ----------------------------------------------------------------------------------------------------


def link_thread(*, thread: Thread, entity_type: str, entity_id: str, by: User) -> tuple[ThreadLink, bool]:
    """This conversation is about that entity, whatever its addresses say. The decision, and whether it is a new one."""
    return _decide(thread, LinkKind.LINKED, entity_type, entity_id, by)


def unlink_thread(*, thread: Thread, entity_type: str, entity_id: str, by: User) -> tuple[ThreadLink, bool]:
    """This conversation is not about that entity, whatever its addresses say. As `link_thread`."""
    return _decide(thread, LinkKind.UNLINKED, entity_type, entity_id, by)


def _decide(thread: Thread, kind: LinkKind, entity_type: str, entity_id: str, by: User) -> tuple[ThreadLink, bool]:
    entity = {"entity_type": entity_type, "entity_id": entity_id}
    with transaction.atomic():
        one_writer(thread.connection_id)  # a merge may be moving the thread's decisions
        thread = Thread.objects.select_related("merged_into", "connection__workspace").get(pk=thread.pk)
        standing = thread.merged_into or thread
        link, created = ThreadLink.objects.get_or_create(
            thread=standing,
            **entity,
            defaults={"connection": thread.connection, "kind": kind, "decided_by": by},
        )
        if not created and link.kind == kind:
            return link, False
        ThreadLink.objects.filter(pk=link.pk).update(kind=kind, decided_by=by, decided_at=Now())
        link.refresh_from_db()
        audit.record(
            by=by,
            workspace=thread.connection.workspace,
            action=f"thread.{kind}",
            target=standing,
            changes={"entityType": entity_type, "entityId": entity_id},
        )
    return link, True


def follow_merge(oldest: uuid.UUID, others: Sequence[uuid.UUID]) -> None:
    """Threads became one: of several decisions about one entity the newest stands. Inside the writer's transaction."""
    links = ThreadLink.objects.filter(thread__in=[oldest, *others]).order_by("-decided_at", "-id")
    seen: set[tuple[str, str]] = set()
    surplus = []
    for link in links:
        entity = (link.entity_type, link.entity_id)
        if entity in seen:
            surplus.append(link.pk)
        seen.add(entity)
    ThreadLink.objects.filter(pk__in=surplus).delete()
    ThreadLink.objects.filter(thread__in=others).update(thread=oldest)


# --- reading ------------------------------------------------------------------------------------------------------


def own_addresses(workspace_id: uuid.UUID) -> dict[uuid.UUID, frozenset[str]]:
    """The keys of each mailbox's own addresses (account and aliases), of all mailboxes of the workspace.
    In its own mailbox an address is nobody one talks to; and none of them is linked by a domain: colleagues are no
    customers. One query."""
    rows = Connection.objects.filter(workspace=workspace_id).values_list("pk", "account_email", "aliases__email")
    own: defaultdict[uuid.UUID, set[str]] = defaultdict(set)
    for connection, *addresses in rows:
        own[connection] |= {normalise(address) for address in addresses if address}
    return {connection: frozenset(keys) for connection, keys in own.items()}


_ENTITIES = """
    SELECT person.thread_id, person.connection_id, person.address_key, match.entity_type, match.entity_id, 'address'
    FROM email_sync_threadparticipant AS person
    JOIN entities_addressmatch AS match
      ON match.workspace_id = %(workspace)s AND match.address_key = person.address_key
    WHERE person.thread_id = ANY(%(threads)s::uuid[])
    UNION ALL
    SELECT person.thread_id, person.connection_id, person.address_key, match.entity_type, match.entity_id, 'domain'
    FROM email_sync_threadparticipant AS person
    JOIN entities_domainmatch AS match
      ON match.workspace_id = %(workspace)s AND match.domain = person.domain
    WHERE person.thread_id = ANY(%(threads)s::uuid[])
    UNION ALL
    SELECT thread_id, connection_id, '', entity_type, entity_id, kind
    FROM email_sync_threadlink
    WHERE thread_id = ANY(%(threads)s::uuid[])
"""


def entities_of(*, workspace_id: uuid.UUID, thread_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, list[LinkedEntity]]:
    """The entities of these threads of the workspace, every one that applies: which of them is meant is not ours to
    guess. One query, a second one where anything matched, however many threads."""
    wanted = set(thread_ids)
    if not wanted:
        return {}
    with database.cursor() as cursor:
        cursor.execute(_ENTITIES, {"workspace": workspace_id, "threads": list(wanted)})
        rows = cursor.fetchall()
    derived = [row for row in rows if row[5] in (ADDRESS, DOMAIN)]
    own = own_addresses(workspace_id) if derived else {}
    everybody = frozenset().union(*own.values())
    found: dict[Place, str] = {}
    for thread, connection, key, entity_type, entity_id, how in derived:
        if key not in (everybody if how == DOMAIN else own.get(connection, ())):
            place = (thread, entity_type, entity_id)
            found[place] = min(found.get(place, how), how, key=_RANK.__getitem__)
    _overrule(found, rows)
    return _by_thread(found)


def _overrule(found: dict[Place, str], rows: Sequence[tuple[Any, ...]]) -> None:
    """Decisions over what was derived."""
    for thread, _, _, entity_type, entity_id, kind in rows:
        place = (thread, entity_type, entity_id)
        if kind == LinkKind.LINKED:
            found[place] = MANUAL
        elif kind == LinkKind.UNLINKED:
            found.pop(place, None)


def _by_thread(found: Mapping[Place, str]) -> dict[uuid.UUID, list[LinkedEntity]]:
    entities: dict[uuid.UUID, list[LinkedEntity]] = {}
    for (thread, entity_type, entity_id), how in found.items():
        entities.setdefault(thread, []).append(LinkedEntity(entity_type, entity_id, how))
    return {thread: sorted(some) for thread, some in entities.items()}
