"""Mail that was mutated with a fixed seed, through the bounded parser into the store (reference R9): no worker dies,
each costs at most 5 s and 256 MB in the child, and all are stored at least as headers with a reason.

300 in `make test`, 10,000 in `make chaos`; the bombs are in `test_parsing_child`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

import pytest

from core.work import WorkStatus
from email_sync.models import Message
from email_sync.parsing import bounded
from email_sync.tests.conftest import Account
from tests import letters

SEED = 20_260_105
MOST_MEGABYTES = 256
MARK = b"X-Mutant: %d\r\n"
"""The first header, which no mutation touches: each message is known by it."""
POISON = (
    b"\x00", b"\xff\xfe", b"\r", b"\n\n", b"=?utf-8?q?", b"?=", b"--", b"\x1b$B", b"%00", b"=\r\n", b"\xed\xa0\x80",
    b";" * 300, b'From: <<<>>>,,"\r\n', b"To: " + b"a@b," * 400 + b"\r\n", b"Message-ID: <\r\n",
    b"References: " + b"<x@y> " * 500 + b"\r\n", b"Date: Thu, 99 Foo 99999\r\n", b"Content-Type: message/rfc822\r\n",
    b"Content-Type: multipart/mixed; boundary=\r\n", b"Content-Transfer-Encoding: base64\r\n",
    b"Content-Type: text/html; charset=utf-7\r\n", b"Content-Type: text/plain; charset=idna\r\n",
)  # fmt: skip


# --- mutations -------------------------------------------------------------------------------------------------------


def _flip(raw: bytearray, dice: random.Random) -> None:
    for _ in range(dice.choice((1, 5, 50))):
        raw[dice.randrange(len(raw))] = dice.randrange(256)


def _insert(raw: bytearray, dice: random.Random) -> None:
    place = dice.randrange(len(raw))
    raw[place:place] = dice.choice(POISON) * dice.choice((1, 1, 3, 40))


def _cut_out(raw: bytearray, dice: random.Random) -> None:
    start = dice.randrange(len(raw))
    del raw[start : start + dice.choice((1, 20, 400, len(raw)))]


def _repeat(raw: bytearray, dice: random.Random) -> None:
    start = dice.randrange(len(raw))
    piece = raw[start : start + dice.choice((10, 200, 3000))]
    raw[start:start] = piece * dice.choice((1, 3, 100))


def _swap_lines(raw: bytearray, dice: random.Random) -> None:
    lines = bytes(raw).split(b"\n")
    first, second = dice.randrange(len(lines)), dice.randrange(len(lines))
    lines[first], lines[second] = lines[second], lines[first]
    raw[:] = b"\n".join(lines)


def _headers_onto_lines(raw: bytearray, dice: random.Random) -> None:
    lines = bytes(raw).split(b"\n")
    lines.insert(dice.randrange(len(lines)), dice.choice(POISON))
    raw[:] = b"\n".join(lines)


MUTATIONS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _flip, _insert, _cut_out, _repeat, _swap_lines, _headers_onto_lines,
)  # fmt: skip


def mutants(count: int) -> Iterator[bytes]:
    """`count` of them, each from one or two real or generated messages."""
    dice = random.Random(SEED)
    ancestors = [*letters.real().values(), *letters.generated(150, seed=SEED)]
    for number in range(count):
        raw = bytearray(dice.choice(ancestors))
        if dice.random() < 0.2:  # the beginning of one and the end of another
            other = dice.choice(ancestors)
            raw[dice.randrange(len(raw)) :] = other[dice.randrange(len(other)) :]
        for _ in range(dice.randint(1, 4)):
            if raw:
                dice.choice(MUTATIONS)(raw, dice)
        yield MARK % number + bytes(raw)


# --- through the pipeline --------------------------------------------------------------------------------------------


def store_all(account: Account, count: int) -> None:
    """In syncs of 500, as mail that arrives."""
    coming, stored = mutants(count), 0
    while portion := list(islice(coming, 500)):
        for raw in portion:
            account.box.append(raw, "inbox")
        run = account.sync()
        assert (run.status, run.error_code) == (WorkStatus.DONE, "")
        stored += len(portion)
        assert Message.objects.present().count() == stored
    assert not Message.objects.filter(body__isnull=True).exists()
    empty = Message.objects.filter(defect="", body__headers=[], subject="", body__text="", body__html="")
    assert not empty.exists(), "neither content nor a reason"


@pytest.fixture
def peaks(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The most memory of each parser, in MB. Of one that died by itself the kernel knows no more; its address space has
    a limit (`parsing.child`)."""
    found: list[float] = []
    end = bounded._Child.end

    def told(child: bounded._Child) -> bool:
        with suppress(OSError, IndexError):
            status = Path(f"/proc/{child.process.pid}/status").read_text()
            found.append(int(status.partition("VmHWM:")[2].split()[0]) / 1024)
        return end(child)

    monkeypatch.setattr(bounded._Child, "end", told)
    bounded.shared().close()
    found.clear()
    return found


@pytest.mark.django_db
def test_three_hundred_mutated_messages_are_all_stored(account: Account) -> None:
    store_all(account, 300)


@pytest.mark.chaos
@pytest.mark.django_db
def test_ten_thousand_mutated_messages_are_all_stored(account: Account, peaks: list[float]) -> None:
    store_all(account, 10_000)
    bounded.shared().close()
    assert peaks
    assert max(peaks) < MOST_MEGABYTES
