"""Reading HubSpot's contacts and companies page by page, from wherever the last look ended.

Everything once by the plain list, then by search for what changed since, by the key (time of change, id) and never by
an offset: what changes meanwhile moves to the end and would shift everything behind it, and a search cannot be paged
beyond 10,000. What was archived is told by a list of its own. Search lags behind writes, so each look begins a little
before the last one. A cursor is JSON: {"since"} between two looks; within one also {"began", "kind", "step"} and where
in that step it is. All times are HubSpot's, in milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from core.errors import ProviderUnavailable
from core.http import Response
from integrations.records import CrmKind, CrmPage, CrmRecord

OBJECTS = "/crm/v3/objects"
"""v3 has no end announced; date paths (/crm/objects/2026-03) exist beside it."""
PAGE = 100
OVERLAP = timedelta(minutes=10)
"""More than search lags behind writes."""
MERGED = "hs_merged_object_ids"

Ask = Callable[..., Response]
"""`HubSpot._ask`: a judged request."""
Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of record: what it is to us, where it is, when it was changed, and the properties with its names."""

    kind: CrmKind
    path: str
    changed: str
    names: tuple[str, str]
    setting: str
    """Of the configuration: what the embedding product calls it."""


KINDS = (
    Kind("contact", "contacts", "lastmodifieddate", ("email", "hs_additional_emails"), "contactEntityType"),
    Kind("company", "companies", "hs_lastmodifieddate", ("domain", "hs_additional_domains"), "companyEntityType"),
)


def read_page(ask: Ask, cursor: Json) -> CrmPage:
    """The page after `cursor`."""
    if "step" not in cursor:
        cursor = {"since": cursor.get("since"), "kind": 0, "step": "changed" if cursor.get("since") else "listed"}
    step = {"listed": _listed, "changed": _changed, "archived": _archived}[cursor["step"]]
    return step(ask, KINDS[int(cursor["kind"])], cursor)


def _listed(ask: Ask, kind: Kind, cursor: Json) -> CrmPage:
    # Only a search says how many there are.
    total = None if cursor.get("after") else _total(_search(ask, kind, [], "hs_object_id", limit=1).json_object())
    response = _list(ask, kind, {"after": cursor.get("after")})
    answer = response.json_object()
    records = tuple(_record(kind, item) for item in _results(answer))
    return _page(response, cursor, records, _after(answer), then="archived", total=total)


def _archived(ask: Ask, kind: Kind, cursor: Json) -> CrmPage:
    """Everything archived since; the list knows no other order than ids, so it is walked whole."""
    response = _list(ask, kind, {"archived": "true", "after": cursor.get("after")})
    answer = response.json_object()
    since = int(cursor.get("since") or 0)
    gone = [item for item in _results(answer) if _milliseconds(item.get("archivedAt")) >= since]
    records = tuple(CrmRecord(kind.kind, str(item["id"])) for item in gone)
    return _page(response, cursor, records, _after(answer), then="")


def _changed(ask: Ask, kind: Kind, cursor: Json) -> CrmPage:
    """What changed, oldest first. `at` is where the last page ended; `id` is set where one moment has more records
    than a page (a bulk change): then those go by their ids first."""
    at, last_id = int(cursor.get("at") or cursor["since"]), cursor.get("id")
    filters = [{"propertyName": kind.changed, "operator": "EQ" if last_id else "GTE", "value": str(at)}]
    if last_id:
        filters.append({"propertyName": "hs_object_id", "operator": "GT", "value": str(last_id)})
    response = _search(ask, kind, filters, "hs_object_id" if last_id else kind.changed)
    answer = response.json_object()
    results = _results(answer)
    onward = _onward(kind, results, at, last_id) if _after(answer) or last_id else None
    total = None if cursor.get("at") else _total(answer)
    records = tuple(_record(kind, item) for item in results)
    return _page(response, cursor, records, onward, then="archived", total=total)


def _onward(kind: Kind, results: list[dict[str, Any]], at: int, last_id: object) -> Json:
    """After a page of changes with more to come, or one by ids within a moment: further there, or past the moment."""
    if last_id:
        return {"at": at, "id": results[-1]["id"]} if len(results) == PAGE else {"at": at + 1}
    if not results:
        raise ProviderUnavailable("HubSpot answered with an empty page in the middle.")
    last = _milliseconds((results[-1].get("properties") or {}).get(kind.changed) or results[-1].get("updatedAt"))
    return {"at": last} if last > at else {"at": at, "id": "0"}


def _page(
    response: Response, cursor: Json, records: tuple[CrmRecord, ...], onward: Json | None, *, then: str,
    total: int | None = None,
) -> CrmPage:  # fmt: skip
    """With the cursor of what follows: the same step further on, the next step, the next kind, the next look."""
    began = int(cursor.get("began") or _clock(response))
    whole = {"since": cursor.get("since"), "began": began, "kind": cursor["kind"]}
    if onward is not None:
        return CrmPage(records, {**whole, "step": cursor["step"], **onward}, total=total)
    if then:
        return CrmPage(records, {**whole, "step": then}, total=total)
    if int(cursor["kind"]) + 1 < len(KINDS):
        step = "changed" if cursor.get("since") else "listed"
        return CrmPage(records, {**whole, "kind": int(cursor["kind"]) + 1, "step": step})
    return CrmPage(records, {"since": began - int(OVERLAP.total_seconds() * 1000)}, last=True)


def _list(ask: Ask, kind: Kind, params: Json) -> Response:
    asked = {"limit": PAGE, "properties": ",".join((*kind.names, MERGED)), **params}
    return ask("GET", f"{OBJECTS}/{kind.path}", params=asked)


def _search(ask: Ask, kind: Kind, filters: list[dict[str, str]], order: str, limit: int = PAGE) -> Response:
    body = {
        "filterGroups": [{"filters": filters}] if filters else [],
        "sorts": [{"propertyName": order, "direction": "ASCENDING"}],
        "properties": [*kind.names, MERGED, kind.changed],
        "limit": limit,
    }
    return ask("POST", f"{OBJECTS}/{kind.path}/search", json=body, idempotent=True)


def _results(answer: Json) -> list[dict[str, Any]]:
    """ProviderUnavailable where the answer is no list: nothing must be taken for the end because of it."""
    results = answer.get("results")
    if not isinstance(results, list) or not all(isinstance(item, dict) and item.get("id") for item in results):
        raise ProviderUnavailable("HubSpot answered without results.")
    return results


def _total(answer: Json) -> int:
    total = answer.get("total")
    return total if isinstance(total, int) else 0


def _after(answer: Json) -> dict[str, Any] | None:
    """Where a list goes on; None at its end."""
    following = (answer.get("paging") or {}).get("next") or {}
    return {"after": str(following["after"])} if following.get("after") else None


def _record(kind: Kind, item: Json) -> CrmRecord:
    properties = item.get("properties") or {}
    first, more = (str(properties.get(name) or "") for name in kind.names)
    return CrmRecord(kind.kind, str(item["id"]), _split(f"{first};{more}"), _split(str(properties.get(MERGED) or "")))


def _split(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in text.split(";") if part.strip()))


def _milliseconds(moment: object) -> int:
    try:
        return round(datetime.fromisoformat(str(moment)).timestamp() * 1000)
    except ValueError as error:
        raise ProviderUnavailable("HubSpot answered with a time that is none.") from error


def _clock(response: Response) -> int:
    """HubSpot's own time, as ours may be wrong; ours where it does not say."""
    try:
        moment = parsedate_to_datetime(response.headers["date"])
    except (KeyError, ValueError, TypeError):
        moment = datetime.now(UTC)
    return int(moment.timestamp() * 1000)
