"""Lists (CONTRACT 3): `page`, `limit` and `cursor` in, `{"data", "pagination"}` out.

A service that pages by key returns a `Page` and a view answers `paged(…)`; what is small or rarely walked goes through
`paginate`. Cursors are opaque to clients and hold nothing secret; promised: a forged one is a 400 and never more than
a list of plain values, so it can only ask for another place in the caller's own list.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar

from django.db.models import QuerySet
from django.http import QueryDict
from rest_framework import serializers

from core.api.serializers import CamelSerializer, valid
from core.errors import InvalidInput

T = TypeVar("T")

DEFAULT_LIMIT = 25
MAX_LIMIT = 100
MAX_PAGE = 1_000_000
MAX_CURSOR_LENGTH = 2000
_MAX_INTEGER = 2**63 - 1

Scalar = str | int | float | bool | None


@dataclass(frozen=True)
class Page(Generic[T]):
    """What a service returns: the rows of one page, how many there are in all, and where to go on."""

    rows: Sequence[T]
    total: int
    next_cursor: str | None = None
    total_is_exact: bool = True


@dataclass(frozen=True)
class PageQuery:
    """What a client asked for, checked. With a `cursor`, `page` does not count."""

    page: int = 1
    limit: int = DEFAULT_LIMIT
    cursor: str = ""


class PageParameters(CamelSerializer):
    """The query of a list; derive from it to add filters."""

    page = serializers.IntegerField(default=1, min_value=1, max_value=MAX_PAGE)
    limit = serializers.IntegerField(default=DEFAULT_LIMIT, min_value=1, help_text=f"At most {MAX_LIMIT}.")
    cursor = serializers.CharField(default="", allow_blank=True, max_length=MAX_CURSOR_LENGTH)

    def page_query(self) -> PageQuery:
        """The checked paging values; a larger `limit` counts as 100."""
        given = self.validated_data
        return PageQuery(given["page"], min(given["limit"], MAX_LIMIT), given["cursor"])


class PaginationShape(CamelSerializer):
    """The `pagination` member of every list."""

    page = serializers.IntegerField(allow_null=True, help_text="null where a cursor was followed.")
    limit = serializers.IntegerField()
    total = serializers.IntegerField()
    total_is_exact = serializers.BooleanField(help_text="false where counting stopped at `total`.")
    total_pages = serializers.IntegerField()
    next_cursor = serializers.CharField(allow_null=True)


def read_page(query: QueryDict) -> PageQuery:
    """`page`, `limit` and `cursor` of a request; 400 where page or limit is no positive number."""
    return valid(PageParameters, query).page_query()


def paginate(rows: QuerySet[Any] | Sequence[T], query: PageQuery) -> Page[T]:
    """One page of an ordered query set or a list, counted; its cursor names the following page."""
    number = _page_of(query)
    total = rows.count() if isinstance(rows, QuerySet) else len(rows)
    start = (number - 1) * query.limit
    found: Sequence[T] = list(rows[start : start + query.limit])
    more = start + query.limit < total and number < MAX_PAGE
    return Page(rows=found, total=total, next_cursor=encode_cursor([number + 1]) if more else None)


def paged(page: Page[T], number: int | None, limit: int, show: Callable[[T], Any]) -> dict[str, Any]:
    """The answer of a list. `number` is the page asked for, None where a cursor was followed; `show` makes one item."""
    return {
        "data": [show(row) for row in page.rows],
        "pagination": {
            "page": number,
            "limit": limit,
            "total": page.total,
            "totalIsExact": page.total_is_exact,
            "totalPages": math.ceil(page.total / limit),
            "nextCursor": page.next_cursor,
        },
    }


def paged_query(page: Page[T], query: PageQuery, show: Callable[[T], Any]) -> dict[str, Any]:
    """`paged` for a `PageQuery`."""
    return paged(page, None if query.cursor else query.page, query.limit, show)


@cache
def paged_shape(item: type[serializers.Serializer[Any]]) -> type[serializers.Serializer[Any]]:
    """The OpenAPI shape of a list of `item`s."""
    name = item.__name__.removesuffix("Serializer").removesuffix("Shape")
    members = {"data": item(many=True), "pagination": PaginationShape(), "__doc__": f"A page of {name}."}
    return type(f"{name}PageShape", (CamelSerializer,), {**members, "__module__": item.__module__})


def encode_cursor(values: Sequence[Scalar]) -> str:
    """An opaque place in a list: the ordering values of the last row shown."""
    text = json.dumps(list(values), separators=(",", ":"), allow_nan=False)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(text: str) -> list[Scalar]:
    """The values of `encode_cursor`; a 400 where it is not one of ours. The caller checks what they are."""
    try:
        if not re.fullmatch(r"[A-Za-z0-9_\-]+", text) or len(text) > MAX_CURSOR_LENGTH:
            raise ValueError("not base64url")
        values = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        if not isinstance(values, list) or not values or not all(_is_plain(value) for value in values):
            raise ValueError("not a list of plain values")
    except (ValueError, RecursionError) as error:
        raise InvalidInput(fields={"cursor": ["This cursor is not one of ours."]}) from error
    return values


def _is_plain(value: object) -> bool:
    """A value that a database column may be compared with."""
    if isinstance(value, str):
        return "\x00" not in value and value.isascii() | value.isprintable()
    if isinstance(value, int):
        return abs(value) <= _MAX_INTEGER
    return value is None or (isinstance(value, float) and math.isfinite(value))


def _page_of(query: PageQuery) -> int:
    if not query.cursor:
        return query.page
    [number, *rest] = decode_cursor(query.cursor)
    if rest or type(number) is not int or not 1 <= number <= MAX_PAGE:
        raise InvalidInput(fields={"cursor": ["This cursor is not one of ours."]})
    return number
