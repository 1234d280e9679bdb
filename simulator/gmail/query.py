"""The part of Gmail's search language that the stand-in understands: `rfc822msgid:`, `in:`, `label:`, `is:`, `from:`,
`to:`, `cc:`, `subject:`, `has:attachment`, `after:`, `before:`, `-not`, `{one or the other}`, quotes, and plain words,
which are looked for in subject and addresses only."""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from simulator.mailbox import HIDDEN, Mailbox, StoredMessage
from simulator.mime import Part, parse

GROUP = re.compile(r"\{([^{}]*)\}")
TERM = re.compile(r'(-?)(?:(\w+):)?("[^"]*"|[^\s"]+)')
PLACES = {"inbox": "INBOX", "sent": "SENT", "draft": "DRAFT", "drafts": "DRAFT", "trash": "TRASH", "spam": "SPAM"}
STATES = {"unread": "UNREAD", "starred": "STARRED", "important": "IMPORTANT"}

Test = Callable[[StoredMessage], bool]


@dataclass
class Query:
    tests: list[Test]
    hidden_too: bool
    """Whether the query itself asks for spam or trash."""
    message_id: str = ""
    """Set when one Message-ID is wanted, which spares the walk through the mailbox."""

    def accepts(self, message: StoredMessage) -> bool:
        return all(test(message) for test in self.tests)


def read_query(text: str, mailbox: Mailbox) -> Query:
    query = Query([], False)
    for group in GROUP.findall(text):
        either = [_test(operator.lower(), quoted.strip('"'), mailbox) for _, operator, quoted in TERM.findall(group)]
        query.tests.append(_any(either))
    for minus, operator, quoted in TERM.findall(GROUP.sub(" ", text)):
        value = quoted.strip('"')
        test = _test(operator.lower(), value, mailbox)
        query.tests.append(_negated(test) if minus else test)
        if operator.lower() == "in" and value.lower() in ("anywhere", "trash", "spam"):
            query.hidden_too = True
        if operator.lower() == "rfc822msgid" and not minus:
            query.message_id = value.strip("<>")
    return query


def _any(tests: list[Test]) -> Test:
    return lambda message: any(test(message) for test in tests)


def _negated(test: Test) -> Test:
    return lambda message: not test(message)


def _test(operator: str, value: str, mailbox: Mailbox) -> Test:
    lowered = value.casefold()
    if operator in ("in", "label", "is"):
        return _label_test(lowered, mailbox)
    if operator == "rfc822msgid":
        return lambda message: message.facts.message_id.strip("<> ") == value.strip("<>")
    if operator == "has":
        return lambda message: _has_attachment(parse(message.raw))
    if operator in ("after", "before"):
        moment = _moment(value) * 1000
        later = operator == "after"
        return lambda message: (message.internal_date >= moment) == later
    return _text_test(operator, lowered if operator in ("", "from", "to", "cc", "subject") else f"{operator}:{lowered}")


def _text_test(operator: str, wanted: str) -> Test:
    if operator == "from":
        return lambda message: wanted in message.facts.sender.casefold()
    if operator in ("to", "cc"):
        return lambda message: wanted in message.facts.recipients.casefold()
    if operator == "subject":
        return lambda message: wanted in message.facts.subject.casefold()
    return lambda message: (
        wanted in (f"{message.facts.subject} {message.facts.sender} {message.facts.recipients}".casefold())
    )


def _label_test(name: str, mailbox: Mailbox) -> Test:
    if name == "anywhere":
        return lambda message: True
    if name == "read":
        return lambda message: "UNREAD" not in message.labels
    label = mailbox.label_named(name)
    identity = PLACES.get(name) or STATES.get(name) or (label.id if label else name)
    return lambda message: identity in message.labels


def _moment(value: str) -> int:
    """Seconds since 1970 from `1700000000`, `2024/01/31` or `2024-01-31`."""
    if value.isdigit():
        return int(value)
    for form in ("%Y/%m/%d", "%Y-%m-%d"):
        try:
            return calendar.timegm(time.strptime(value, form))
        except ValueError:
            continue
    return 0


def _has_attachment(part: Part) -> bool:
    return bool(part.filename) or any(_has_attachment(child) for child in part.parts)


def visible(message: StoredMessage, hidden_too: bool) -> bool:
    return hidden_too or not message.labels & HIDDEN
