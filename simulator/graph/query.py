"""The part of OData and KQL that mail lists need: $filter (comparisons joined by `and`), $orderby, $search, $top, $skip
and next links."""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any
from urllib.parse import urlencode

from simulator.exchange import Item
from simulator.graph.access import Call, bad_request
from simulator.graph.content import read_content, sent_at
from simulator.wire import Request

DEFAULT_TOP = 10
MAX_TOP = 1000
MAX_FOUND = 1000
TERM = re.compile(r"^\s*([\w/]+)\s+(eq|ne|ge|gt|le|lt)\s+('(?:[^']|'')*'|\S+)\s*$")
FUNCTION = re.compile(r"^\s*(startswith|contains)\(\s*([\w/]+)\s*,\s*'((?:[^']|'')*)'\s*\)\s*$", re.IGNORECASE)
AND = re.compile(r"\s+and\s+(?=(?:[^']*'[^']*')*[^']*$)", re.IGNORECASE)
KEYWORD = re.compile(r'(?:(\w+):)?("[^"]*"|\\"[^"]*\\"|[^\s()]+)')
COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda left, right: left == right,
    "ne": lambda left, right: left != right,
    "ge": lambda left, right: left >= right,
    "gt": lambda left, right: left > right,
    "le": lambda left, right: left <= right,
    "lt": lambda left, right: left < right,
}
TIMES: dict[str, Callable[[Item], int]] = {
    "receivedDateTime": lambda item: item.received,
    "sentDateTime": lambda item: sent_at(read_content(item.raw), item.received),
    "createdDateTime": lambda item: item.created,
    "lastModifiedDateTime": lambda item: item.modified,
}
VALUES: dict[str, Callable[[Item], Any]] = {
    "internetMessageId": lambda item: item.facts.message_id,
    "conversationId": lambda item: item.conversation_id,
    "isRead": lambda item: item.is_read,
    "isDraft": lambda item: item.is_draft,
    "hasAttachments": lambda item: read_content(item.raw).has_attachments(),
    "importance": lambda item: item.importance,
    "subject": lambda item: item.facts.subject,
    "flag/flagStatus": lambda item: item.flag["flagStatus"],
    "from/emailAddress/address": lambda item: _address(item),
}

Test = Callable[[Item], bool]


def _address(item: Item) -> str:
    found = read_content(item.raw).recipients("from")
    return str(found[0]["emailAddress"]["address"]).lower() if found else ""


def integer(request: Request, name: str, default: int, most: int) -> int:
    text = request.argument(name)
    if not text:
        return default
    if not text.isdigit() or (name == "$top" and not 1 <= int(text) <= most):
        raise bad_request(f"Invalid value for the query parameter {name}.", "ErrorInvalidUrlQuery")
    return int(text)


def read_filter(text: str) -> list[tuple[str, Test]]:
    """Each condition with the property it is about; raises 400 for what is not understood."""
    return [_condition(piece) for piece in AND.split(text)] if text.strip() else []


def _condition(text: str) -> tuple[str, Test]:
    text = text.strip()
    if text.startswith("(") and text.endswith(")"):
        text = text[1:-1]
    called = FUNCTION.match(text)
    if called and called[2] in VALUES:
        value, read, prefix = _unquoted(called[3]).lower(), VALUES[called[2]], called[1].lower() == "startswith"
        return called[2], lambda item: _found_in(value, str(read(item)).lower(), prefix)
    term = TERM.match(text)
    if term is None:
        raise bad_request(f"Invalid filter clause: {text}", "ErrorInvalidUrlQueryFilter")
    name, operator, literal = term.groups()
    compare = COMPARE[operator]
    if name in TIMES:
        moment, when = read_moment(literal), TIMES[name]
        return name, lambda item: compare(when(item), moment)
    if name not in VALUES:
        raise bad_request(f"Could not find a property named '{name}'.", "RequestBroker--ParseUri")
    wanted, of = _literal(literal, name), VALUES[name]
    return name, lambda item: compare(of(item), wanted)


def _found_in(wanted: str, text: str, prefix: bool) -> bool:
    return text.startswith(wanted) if prefix else wanted in text


def _unquoted(text: str) -> str:
    return text.removeprefix("'").removesuffix("'").replace("''", "'")


def _literal(text: str, name: str) -> object:
    if text in ("true", "false"):
        return text == "true"
    value = _unquoted(text)
    return value.lower() if name == "from/emailAddress/address" else value


def read_moment(text: str) -> float:
    """Seconds since 1970 from 2026-11-21T12:00:00Z, with or without fractions, or a bare date."""
    text = text.strip("'")
    head, _, fraction = text.removesuffix("Z").partition(".")
    for form in ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d"):
        try:
            return calendar.timegm(time.strptime(head, form)) + float(f"0.{fraction or 0}")
        except ValueError:
            continue
    raise bad_request(f"The DateTimeOffset text '{text}' should be in format 'yyyy-mm-ddThh:mm:ss'.")


def check_order(text: str, conditions: list[tuple[str, Test]]) -> tuple[str, bool]:
    """The property to sort by, and whether oldest first. What is sorted by must also come first in the filter, if
    there is one (Microsoft's page on listing messages says so; Exchange answers InefficientFilter otherwise)."""
    if not text:
        return "receivedDateTime", False
    name, _, direction = text.strip().partition(" ")
    if name not in TIMES or direction.strip().lower() not in ("", "asc", "desc") or "," in text:
        raise bad_request(f"Invalid sort clause: {text}", "ErrorInvalidUrlQuery")
    if conditions and conditions[0][0] != name:
        message = "The restriction or sort order is too complex for this operation."
        raise bad_request(message, "InefficientFilter")
    return name, direction.strip().lower() != "desc"


def read_search(text: str) -> Test:
    """KQL: words and `from: to: cc: bcc: participants: subject: body:` terms, joined by AND or OR."""
    text = text.strip()
    bad = re.search(r"[^\w\s]", text) if not text.startswith('"') else None
    if bad:
        raise bad_request(f"Syntax error: character '{bad[0]}' is not valid at position {bad.start()} in '{text}'.")
    text = text.removeprefix('"').removesuffix('"').replace('\\"', '"')
    choices = [
        [_keyword(name.lower(), value.strip('"')) for name, value in KEYWORD.findall(choice) if value != "AND"]
        for choice in re.split(r"\s+OR\s+", text)
    ]
    return lambda item: any(all(test(item) for test in choice) for choice in choices if choice)


def _keyword(name: str, value: str) -> Test:
    wanted = value.lower()
    fields = {
        "from": ("from",),
        "to": ("to",),
        "cc": ("cc",),
        "bcc": ("bcc",),
        "recipients": ("to", "cc", "bcc"),
        "participants": ("from", "to", "cc", "bcc"),
        "subject": ("subject",),
    }.get(name)
    if fields:
        return lambda item: any(wanted in read_content(item.raw).first(field).lower() for field in fields)
    return lambda item: wanted in f"{item.facts.subject} {item.facts.sender} {_text(item)}".lower()


def _text(item: Item) -> str:
    return read_content(item.raw).body("text")["content"]


def listing(call: Call, folder_id: str, show: Callable[[Item], Any]) -> dict[str, Any]:
    """One page of messages and, if there are more, the absolute address of the next."""
    request = call.request
    conditions = read_filter(request.argument("$filter"))
    name, oldest_first = check_order(request.argument("$orderby"), conditions)
    search = request.argument("$search")
    if search and (conditions or request.argument("$orderby")):
        raise bad_request("The query parameter '$search' does not go with '$filter' or '$orderby'.", "SearchWithFilter")
    items: Iterable[Item] = call.mailbox.newest_first(folder_id)
    if oldest_first or name != "receivedDateTime":
        items = sorted(items, key=TIMES[name], reverse=not oldest_first)
    if conditions:
        items = (item for item in items if all(test(item) for _, test in conditions))
    if search:
        items = islice(filter(read_search(search), items), MAX_FOUND)
    return page(call, items, show, total=lambda: _total(call, folder_id, bool(conditions or search)))


def _total(call: Call, folder_id: str, narrowed: bool) -> int:
    if not narrowed:
        return call.mailbox.count(folder_id)
    conditions = read_filter(call.request.argument("$filter"))
    search = call.request.argument("$search")
    items = (item for item in call.mailbox.newest_first(folder_id) if all(test(item) for _, test in conditions))
    return sum(1 for _ in (filter(read_search(search), items) if search else items))


def page(call: Call, items: Iterable[Any], show: Callable[[Any], Any], total: Callable[[], int]) -> dict[str, Any]:
    """$top and $skip over anything; $count adds how many there are. The next link counts from the front, so what
    arrives or goes meanwhile shifts it, as with Graph."""
    request = call.request
    top, skip = integer(request, "$top", DEFAULT_TOP, MAX_TOP), integer(request, "$skip", 0, 0)
    found = list(islice(items, skip, skip + top + 1))
    answer: dict[str, Any] = {}
    if request.argument("$count").lower() == "true":
        answer["@odata.count"] = total()
    answer["value"] = [show(item) for item in found[:top]]
    if len(found) > top:
        answer["@odata.nextLink"] = link(call, {"$skip": str(skip + top)})
    return answer


def link(call: Call, changes: dict[str, str]) -> str:
    """This request's address with these parameters instead."""
    query = {name: values[0] for name, values in call.request.query.items()} | changes
    return f"{call.origin}{call.request.path}?{urlencode(query)}"
