"""Messages no database should see: odd and huge values must not keep a mailbox from syncing (reference R9)."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from core.work import WorkStatus
from email_sync.models import Message
from email_sync.records import Address, AttachmentPart, ParsedMessage, RemoteMessage, RemoteState, Stream
from email_sync.tests.conftest import Account
from email_sync.tests.contract import ident, mail
from email_sync.tests.memory import Memory
from email_sync.tests.test_engine import check_counters

pytestmark = pytest.mark.django_db

LONG = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=5_000))
"""Does not compress: too long for an index row where it is one."""
PLAIN = ParsedMessage(
    message_id="poison@contract.test",
    in_reply_to=(),
    references=(),
    subject="Poison",
    sender=Address("Eve", "eve@example.com"),
    to=(),
    cc=(),
    bcc=(),
    reply_to=(),
    sent_at=None,
    text="",
    html="",
    attachments=(),
    headers=(),
)
PART = AttachmentPart("1", "a.bin", "application/octet-stream", 1, False, "")
STATE = RemoteState("poison", ("inbox",), frozenset({"inbox"}), False, False)
MANY = tuple(Address(f"Name {n}", f"n{n}@example.com") for n in range(100_000))
WORDS = " ".join(f"w{n}" for n in range(300_000))

REMOTES: dict[str, dict[str, Any]] = {
    "huge size": {"size": 10**30},
    "negative size": {"size": -5},
    "year 1": {"received_at": datetime(1, 1, 1, tzinfo=UTC)},
    "year 9999": {"received_at": datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)},
    "long thread id": {"thread_remote_id": LONG},
    "long remote id": {"state": replace(STATE, remote_id=LONG)},
    "long folder id": {"state": replace(STATE, folder_ids=(LONG,))},
    "long content key": {"state": replace(STATE, content_key=LONG)},
    "NUL in an id": {"state": replace(STATE, remote_id="poison\x00", folder_ids=("in\x00box",))},
}
PARSED: dict[str, dict[str, Any]] = {
    "sent in year 1": {"sent_at": datetime(1, 1, 1, tzinfo=UTC)},
    "subject of a megabyte": {"subject": "word " * 200_000, "message_id": LONG},
    "a hundred thousand recipients": {"to": MANY, "cc": MANY[:10], "reply_to": MANY},
    "many words": {"text": WORDS, "html": WORDS * 2},
    "one long word": {"text": LONG * 200, "subject": LONG},
    "NUL": {"subject": "a\x00b", "text": "\x00", "headers": (("X\x00", "\x00"),), "sender": Address("\x00", "\x00")},
    "surrogate": {"subject": "a\ud800b", "text": "\udfff", "headers": (("X", "\ud83d"),), "html": "\udc00"},
    "long part id": {"attachments": (replace(PART, part_id="1." * 300),)},
    "odd part": {"attachments": (replace(PART, size=10**30, content_type="x" * 999, file_name="\x00"),)},
    "negative part": {"attachments": (replace(PART, size=-1), replace(PART, size=3))},
    "many references": {"references": tuple(f"{n}@example.com" for n in range(5_000)), "in_reply_to": ("\x00",)},
}


WITHOUT_AN_ID = ("long remote id", "NUL in an id")
"""Nothing could be asked of the provider about it, nor its page be shown: such a one is left out."""


def poison(name: str) -> RemoteMessage:
    if name in REMOTES:
        whole: dict[str, Any] = {"state": STATE, "received_at": datetime(2026, 1, 1, tzinfo=UTC), "size": 1}
        return RemoteMessage(**{**whole, "parsed": PLAIN, **REMOTES[name]})
    parsed = replace(PLAIN, **PARSED[name])
    return RemoteMessage(STATE, datetime(2026, 1, 1, tzinfo=UTC), 1, parsed=parsed)


@pytest.mark.parametrize("name", [*REMOTES, *PARSED])
def test_poisoned_message_does_not_keep_its_page_from_being_stored(
    account: Account, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    account.box.append(mail("before"), "inbox")
    account.box.append(mail("after"), "inbox")
    original = Memory.fetch
    bad = poison(name)

    def fetch(self: Memory, stream: Stream, remote_ids: Sequence[str]) -> Iterator[RemoteMessage]:
        found = list(original(self, stream, remote_ids))
        yield from (*found[:1], bad, *found[1:]) if stream.key == "inbox" else found

    monkeypatch.setattr(Memory, "fetch", fetch)
    run = account.sync()
    assert run.status == WorkStatus.DONE
    assert {ident("before"), ident("after")} <= set(Message.objects.values_list("message_id", flat=True))
    if name not in WITHOUT_AN_ID:
        kept = Message.objects.get(remote_id="poison")
        assert kept.folders == ["inbox"]
        assert kept.subject
    check_counters(account)
