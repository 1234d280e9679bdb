"""Moving every sealed value to the newest vault key, while the product runs.

Called by `manage.py rotate_keys`. A batch of rows is locked, re-sealed and committed; a killed run continues where it
stopped because rows already moved are not looked for again; writers wait for one batch at most. A value that does not
open is left as it is and reported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from django.db import models, transaction
from django.db.models import Q

from core.crypto import SealBroken, key_id_of, key_ids_in_use, newest_key_id, reseal, sealed_fields
from core.crypto_checks import sealed_models

BATCH = 200


@dataclass
class Moved:
    """What became of one model's rows."""

    rotated: int = 0
    failed: int = 0


def stale_rows(model: type[models.Model]) -> models.QuerySet[models.Model]:
    """Rows with a value under an older key, in the order of their keys."""
    rows = model._base_manager.order_by("pk")
    stale = Q()
    for field in sealed_fields(model):
        rows = rows.alias(**{f"vault_{field.attname}": key_id_of(field.attname)})
        stale |= Q(**{f"{field.attname}__isnull": False}) & ~Q(**{f"vault_{field.attname}": newest_key_id()})
    return rows.filter(stale)


def count_stale() -> int:
    """How many rows there are to move."""
    return sum(stale_rows(model).count() for model in sealed_models())


def rotate(*, progress: Callable[[int], None], failed: Callable[[models.Model, SealBroken], None]) -> Moved:
    """Move everything. `progress` hears of rows done, `failed` of each row that did not open."""
    total = Moved()
    for model in sealed_models():
        for moved in _batches(model, failed):
            total.rotated += moved.rotated
            total.failed += moved.failed
            progress(moved.rotated + moved.failed)
    return total


def remaining() -> dict[str, int]:
    """Values per key id, the newest one's too."""
    counts: dict[str, int] = {}
    for model in sealed_models():
        for key_id, count in key_ids_in_use(model).items():
            counts[key_id] = counts.get(key_id, 0) + count
    return counts


def _batches(model: type[models.Model], failed: Callable[[models.Model, SealBroken], None]) -> Iterator[Moved]:
    ahead = Q()
    while True:
        with transaction.atomic():
            rows = list(stale_rows(model).filter(ahead).select_for_update()[:BATCH])
            moved = _move(rows, failed)
        if not rows:
            return
        yield moved
        ahead = Q(pk__gt=rows[-1].pk)


def _move(rows: list[models.Model], failed: Callable[[models.Model, SealBroken], None]) -> Moved:
    moved = Moved()
    for row in rows:
        try:
            moved.rotated += reseal(row)
        except SealBroken as error:
            moved.failed += 1
            failed(row, error)
    return moved
