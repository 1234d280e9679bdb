"""Matches: which addresses and domains stand for which entities. Called by the API and by whatever syncs a CRM.

What a match links is counted by the apps that hold mail and events; they register in `settings.MATCH_COUNTERS`.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from django.conf import settings
from django.core import checks
from django.db import transaction
from django.db.models import QuerySet
from django.utils.module_loading import import_string

from core.errors import InvalidInput, NotFound, PermissionRefused
from entities import matching
from entities.models import AddressMatch, DomainMatch
from entities.services.locking import one_writer
from workspaces.models import CONSOLE_ROLES, Membership
from workspaces.services import audit

if TYPE_CHECKING:
    from workspaces.models import User, Workspace

AnyMatch = AddressMatch | DomainMatch


@dataclass(frozen=True, slots=True)
class Matched:
    """How many emails or events a match links. `exact` is False where counting stopped at `count`."""

    count: int
    exact: bool = True


class Counter(Protocol):
    """What `settings.MATCH_COUNTERS` names, by "emails" and "events". It counts only what `user` may see, and asks the
    database as often for a hundred matches as for one."""

    def __call__(
        self, *, user: User, workspace: Workspace, matches: Sequence[AnyMatch]
    ) -> dict[uuid.UUID, Matched]: ...


def match_address(
    *, workspace: Workspace, address: str, entity_type: str, entity_id: str, by: User
) -> tuple[AddressMatch, bool]:
    """The match of an address with an entity, and whether it is new. InvalidInput where it is no address.

    The address of a colleague's mailbox may be matched: it is somebody's explicit wish. It counts in the mail of
    others only (`own_addresses` of the apps that join it).
    """
    key = matching.normalise(address)
    if not key:
        raise InvalidInput(fields={"emailAddress": [f"{address[:100]!r} is not an email address."]})
    with transaction.atomic():
        one_writer(workspace.pk)
        match, created = AddressMatch.objects.get_or_create(
            workspace=workspace,
            address_key=key,
            entity_type=entity_type,
            entity_id=entity_id,
            defaults={"address": address.strip(), "created_by": by},
        )
        if created or _made_theirs(match, by):
            _record(match, "match.created", by)
    return match, created


def match_domain(
    *, workspace: Workspace, domain: str, entity_type: str, entity_id: str, by: User
) -> tuple[DomainMatch, bool]:
    """The match of a domain with an entity, and whether it is new. InvalidInput where it is no domain, or one where
    anybody can have an address."""
    name = matching.normalise_domain(domain)
    if "." not in name:
        raise InvalidInput(fields={"domain": [f"{domain[:100]!r} is not a domain."]})
    if matching.is_free_mail(name):
        words = f"Anybody can have an address at {name}, so it stands for no entity. Match single addresses instead."
        raise InvalidInput(fields={"domain": [words]})
    with transaction.atomic():
        one_writer(workspace.pk)
        match, created = DomainMatch.objects.get_or_create(
            workspace=workspace,
            domain=name,
            entity_type=entity_type,
            entity_id=entity_id,
            defaults={"created_by": by},
        )
        if created or _made_theirs(match, by):
            _record(match, "match.created", by)
    return match, created


def _made_theirs(match: AnyMatch, by: User) -> bool:
    """A match that a sync made becomes the person's who asks for it: no sync takes it away any more."""
    if not match.source:
        return False
    match.source, match.source_id, match.created_by = "", None, by
    match.save(update_fields=("source", "source_id", "created_by"))
    return True


def find(*, workspace: Workspace, match_id: object) -> AnyMatch:
    """One by id; NotFound for a foreign, malformed or missing id alike."""
    try:
        return AddressMatch.objects.in_workspace(workspace).fetch(match_id)
    except NotFound:
        return DomainMatch.objects.in_workspace(workspace).fetch(match_id)


def remove(*, match: AnyMatch, by: User) -> None:
    """Undo a match; what it linked is linked no longer, unless by hand. For who made it, ADMIN and OWNER."""
    if match.created_by_id != by.pk and not _may_undo_others(match.workspace_id, by):
        raise PermissionRefused("Only who made this match, an ADMIN or an OWNER can undo it.")
    with transaction.atomic():
        one_writer(match.workspace_id)
        _record(match, "match.removed", by)
        match.delete()


def decide(*, match: AnyMatch, by: User) -> int:
    """Let an address or domain stand for this entity and no other of its type; how many matches were undone. It is the
    person's own from now on. A match that follows a CRM may come again with the next change there."""
    same = {"address_key": match.address_key} if isinstance(match, AddressMatch) else {"domain": match.domain}
    with transaction.atomic():
        one_writer(match.workspace_id)
        kind = type(match)
        others = kind.objects.in_workspace(match.workspace_id).filter(entity_type=match.entity_type, **same)
        others = others.exclude(pk=match.pk).select_related("workspace").select_for_update(of=("self",))
        undone = 0
        for other in others:
            remove(match=other, by=by)
            undone += 1
        if _made_theirs(match, by):
            _record(match, "match.created", by)
    return undone


def _may_undo_others(workspace_id: uuid.UUID, by: User) -> bool:
    return Membership.objects.in_workspace(workspace_id).filter(user=by, role__in=CONSOLE_ROLES).exists()


def _record(match: AnyMatch, action: str, by: User) -> None:
    what = {"address": match.address} if isinstance(match, AddressMatch) else {"domain": match.domain}
    changes = {**what, "entityType": match.entity_type, "entityId": match.entity_id}
    audit.record(by=by, workspace=match.workspace, action=action, target=match, changes=changes)


def listed(
    *, workspace: Workspace, entity_type: str = "", entity_id: str = "", q: str = ""
) -> QuerySet[AddressMatch, Any]:
    """The ids of matches of both kinds, newest first; `q` is a part of the address or domain."""
    entity = {name: given for name, given in (("entity_type", entity_type), ("entity_id", entity_id)) if given}
    addresses = AddressMatch.objects.in_workspace(workspace).filter(**entity)
    domains = DomainMatch.objects.in_workspace(workspace).filter(**entity)
    if q:
        addresses, domains = addresses.filter(address__icontains=q), domains.filter(domain__icontains=q)
    both = addresses.values("id").union(domains.values("id"), all=True)
    return both.order_by("-id")


def load(ids: Sequence[uuid.UUID]) -> list[AnyMatch]:
    """Matches of both kinds in the order of their ids; two queries."""
    found: dict[uuid.UUID, AnyMatch] = {}
    for model in (AddressMatch, DomainMatch):
        found |= {row.pk: row for row in model.objects.filter(pk__in=ids).select_related("created_by", "workspace")}
    return [found[match_id] for match_id in ids if match_id in found]


def counts(*, kind: str, user: User, workspace: Workspace, matches: Sequence[AnyMatch]) -> dict[uuid.UUID, Matched]:
    """What each match links of this kind ("emails", "events"); nothing where no app has registered for it."""
    path = settings.MATCH_COUNTERS.get(kind)
    if path is None:
        return {}
    count: Counter = import_string(path)
    return count(user=user, workspace=workspace, matches=matches)


def check_counters(**_: object) -> list[checks.CheckMessage]:
    """A system check: every counter loads."""
    found: list[checks.CheckMessage] = []
    for kind, path in settings.MATCH_COUNTERS.items():
        try:
            import_string(path)
        except ImportError as error:
            found.append(checks.Error(f"The counter of matched {kind} does not load: {error}", id="entities.E001"))
    return found
