"""Matches that follow a CRM: what an integration's contacts and companies are called becomes matches and stays so.

Called by `integrations.services.contact_sync`, inside its transaction, with a page of records at a time. Promised: a
match that a person made is never touched; what a record is called no longer stops being a match; a page costs the same
number of queries however many records it has; the same page again changes nothing.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction

from entities import matching
from entities.models import MAX_KEY, SYNCED, AddressMatch, DomainMatch
from entities.services.locking import one_writer

NOT_AN_ADDRESS, NOT_A_DOMAIN, FREE_MAIL = "not_an_address", "not_a_domain", "free_mail"
"""Why a name was skipped."""


@dataclass(frozen=True, slots=True)
class Followed:
    """What a page came to."""

    made: int = 0
    removed: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    """Reason → how many names."""


def follow_addresses(
    *, workspace_id: uuid.UUID, source_id: uuid.UUID, entity_type: str, names: Mapping[str, Iterable[str]]
) -> Followed:
    """Entity id → its addresses; none for one that is gone. Those of other entities stay as they are."""
    return _follow(AddressMatch, _address, workspace_id, source_id, entity_type, names)


def follow_domains(
    *, workspace_id: uuid.UUID, source_id: uuid.UUID, entity_type: str, names: Mapping[str, Iterable[str]]
) -> Followed:
    """Entity id → its domains; none for one that is gone. Domains where anybody can have an address are skipped."""
    return _follow(DomainMatch, _domain, workspace_id, source_id, entity_type, names)


def forget(*, workspace_id: uuid.UUID, source_id: uuid.UUID) -> int:
    """Undo all that follows this integration; how many matches went."""
    kept_by = {"source": SYNCED, "source_id": source_id}
    with transaction.atomic():
        one_writer(workspace_id)
        return sum(model.objects.filter(**kept_by).delete()[0] for model in (AddressMatch, DomainMatch))


Read = Callable[[str], tuple[str, dict[str, str], str]]
"""A name as the CRM has it → its key, the columns of its match, and why it is skipped ("" where it is not)."""


def _address(name: str) -> tuple[str, dict[str, str], str]:
    key = matching.normalise(name)
    return key, {"address": name.strip()[:MAX_KEY], "address_key": key}, "" if key else NOT_AN_ADDRESS


def _domain(name: str) -> tuple[str, dict[str, str], str]:
    key = matching.normalise_domain(name.strip())
    if "." not in key:
        return "", {}, NOT_A_DOMAIN
    return key, {"domain": key}, FREE_MAIL if matching.is_free_mail(key) else ""


def _follow(
    model: type[AddressMatch] | type[DomainMatch],
    read: Read,
    workspace_id: uuid.UUID,
    source_id: uuid.UUID,
    entity_type: str,
    names: Mapping[str, Iterable[str]],
) -> Followed:
    wanted: dict[tuple[str, str], dict[str, str]] = {}
    skipped: Counter[str] = Counter()
    for entity_id, given in names.items():
        for name in given:
            key, columns, reason = read(name)
            if reason:
                skipped[reason] += 1
            else:
                wanted.setdefault((entity_id, key), columns)
    one_writer(workspace_id)
    rows: list[Any] = list(
        model.objects.in_workspace(workspace_id).filter(entity_type=entity_type, entity_id__in=list(names))
    )
    there = {(row.entity_id, _key(row)) for row in rows}
    gone = [row.pk for row in rows if row.source_id == source_id and (row.entity_id, _key(row)) not in wanted]
    if gone:
        model.objects.filter(pk__in=gone, source=SYNCED).delete()
    kept_by = {"workspace_id": workspace_id, "source": SYNCED, "source_id": source_id, "entity_type": entity_type}
    new: list[Any] = [
        model(entity_id=entity_id, **kept_by, **columns)
        for (entity_id, key), columns in wanted.items()
        if (entity_id, key) not in there
    ]
    model.objects.bulk_create(new, ignore_conflicts=True)  # somebody may be making the same one by hand
    return Followed(len(new), len(gone), skipped)


def _key(row: AddressMatch | DomainMatch) -> str:
    return row.address_key if isinstance(row, AddressMatch) else row.domain
