"""Secrets with a face: each kind has its own, and they are looked for in every form a leak could give them.

`Hunt` collects what leaves the product on every side: answers, log lines, rows, messages to the broker, dumps, pages.
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import StringIO
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from django.conf import settings
from django.db import connection as database
from django.http import HttpResponseBase
from django.utils.module_loading import import_string
from psycopg import sql

from tests.world import tables


def forms(secret: str) -> set[bytes]:
    """What a secret may look like: plain, backwards, hexadecimal, base64 at any place of a longer text, for URLs, in
    JSON, and in JSON inside JSON."""
    raw = secret.encode()
    found = {raw, raw[::-1], raw.hex().encode(), raw.hex().upper().encode()}
    found |= {quote(secret, safe="").encode(), quote_plus(secret).encode(), repr(secret)[1:-1].encode()}
    once = json.dumps(secret)[1:-1]
    found |= {once.encode(), json.dumps(once)[1:-1].encode()}
    for shift in range(3):
        # The first and last characters depend on the neighbours.
        packed = base64.b64encode(b"\0" * shift + raw)
        inner = packed[4 if shift else 0 : len(packed) - 4]
        found |= {inner, inner.replace(b"+", b"-").replace(b"/", b"_")}
    return {form for form in found if len(form) >= 8}


@dataclass
class Hunt:
    """Where the secrets are looked for."""

    secrets: dict[str, str] = field(default_factory=dict)
    """Secret → what it is."""
    places: list[tuple[str, bytes]] = field(default_factory=list)

    def know(self, what: str, *secrets: object) -> None:
        """From now on these are secrets."""
        for secret in secrets:
            if secret:
                text = str(secret)
                assert len(text) >= 12, f"{what} is too short to be told from chance"
                self.secrets.setdefault(text, what)
                self.secrets.setdefault(text.split(" ")[-1], what)  # half a secret is one

    def add(self, place: str, text: str | bytes) -> None:
        self.places.append((place, text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")))

    def answer(self, response: HttpResponseBase) -> None:
        """Status line, headers, cookies and body."""
        request = response.wsgi_request
        body = b"".join(response.streaming_content) if response.streaming else response.content
        head = f"{dict(response.headers)} {response.cookies.output()}"
        self.add(f"{request.method} {request.path} {response.status_code}", head.encode() + b"\n" + body)

    def found(self) -> set[tuple[str, str]]:
        """(what, where) of everything that leaked."""
        looked_for = [(what, form) for secret, what in self.secrets.items() for form in forms(secret)]
        return {(what, place) for place, text in self.places for what, form in looked_for if form in text}


@contextmanager
def listening() -> Iterator[StringIO]:
    """Every log line as the product would print it at DEBUG, through its own formatter and filters."""
    written = StringIO()
    configured = settings.LOGGING["handlers"]["stderr"]
    handler = logging.StreamHandler(written)
    handler.setFormatter(logging.Formatter(settings.LOGGING["formatters"]["line"]["format"]))
    for name in configured["filters"]:
        handler.addFilter(import_string(settings.LOGGING["filters"][name]["()"])())
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield written
    finally:
        root.removeHandler(handler)
        root.setLevel(before)


def rows() -> Iterator[tuple[str, str]]:
    """(table, text) of every row, bytes as hexadecimal digits. Sealed columns too: sealed is not readable."""
    with database.cursor() as cursor:
        for table in tables():
            cursor.execute(sql.SQL("SELECT t::text FROM {} AS t").format(sql.Identifier(table)).as_string())
            yield from ((table, row) for (row,) in cursor.fetchall())


def messages(body: Any) -> str:
    """A message to the broker, whatever it is packed in."""
    return json.dumps(body, default=repr)


class LastingSettings:
    """Sets settings for as long as a MonkeyPatch lives."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        object.__setattr__(self, "_patch", patch)

    def __setattr__(self, name: str, value: object) -> None:
        self._patch.setattr(settings, name, value)
