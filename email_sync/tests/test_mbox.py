"""mbox: what is written is read back byte for byte, in pieces of any size; what others wrote is read too."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from email_sync import mbox

WHEN = datetime(2026, 3, 7, 9, 5, 4, tzinfo=UTC)


def reader(data: bytes) -> Callable[[int, int], bytes]:
    return lambda offset, size: data[offset : offset + size]


def read(data: bytes, offset: int = 0) -> list[mbox.Entry]:
    return list(mbox.entries(reader(data), offset))


TRICKY = [
    b"Subject: a\r\n\r\nFrom here on 12:34 it goes\r\n\r\nFrom me Sat Mar  7 09:05:04 2026\r\n>From x\r\n>>From y\r\n",
    b"Subject: b\r\n\r\n" + b"\r\n" * 5 + b"end\r\n",
    b"Subject: no body\r\n\r\n",
    b"Subject: no end",
    b"From: a\r\nSubject: \xff\xfe\r\n\r\n\x80\x81\r\n",
]


def test_written_messages_are_read_back() -> None:
    data = b"".join(mbox.entry(raw, "ada@example.com", WHEN) for raw in TRICKY)
    found = read(data)
    assert [entry.raw for entry in found] == [mbox.canonical(raw) for raw in TRICKY]
    assert {entry.received_at for entry in found} == {WHEN}
    assert [entry.start for entry in found] == [0, *(entry.end for entry in found[:-1])]
    assert found[-1].end == len(data)


LINE = st.one_of(
    st.sampled_from([b"", b"From a Sat Mar  7 09:05:04 2026", b">From b 10:00", b">>From ", b"From", b"From x"]),
    st.binary(max_size=30).map(lambda text: text.replace(b"\r", b"").replace(b"\n", b"")),
)


@settings(max_examples=150, deadline=None)
@given(
    bodies=st.lists(st.lists(LINE, max_size=8), min_size=1, max_size=5),
    size=st.integers(1, 300),
    resume=st.integers(0, 4),
)
def test_any_messages_survive_in_pieces_of_any_size(bodies: list[list[bytes]], size: int, resume: int) -> None:
    raws = [b"\r\n".join([b"Subject: x", b"", *lines]) for lines in bodies]
    data = b"".join(mbox.entry(raw, "a b\n", WHEN) for raw in raws)
    found = list(mbox.entries(reader(data), piece=size))
    assert [entry.raw for entry in found] == [mbox.canonical(raw) for raw in raws]
    at = found[min(resume, len(found) - 1)]
    assert [entry.raw for entry in read(data, at.start)] == [entry.raw for entry in found if entry.start >= at.start]


def test_canonical_form_is_the_same_whichever_way_a_message_came() -> None:
    crlf = b"Subject: x\r\n\r\nbody\r\n"
    assert mbox.digest(crlf) == mbox.digest(crlf.replace(b"\r\n", b"\n")) == mbox.digest(crlf + b"\r\n")
    [entry] = read(mbox.entry(crlf, "a", WHEN))
    assert entry.raw is not None
    assert mbox.digest(entry.raw) == mbox.digest(crlf)


def test_file_that_is_no_mbox_is_one_message() -> None:
    [entry] = read(b"Subject: x\n\nFrom me at 10:00\n")
    assert entry.raw == b"Subject: x\r\n\r\nFrom me at 10:00\r\n"
    assert entry.received_at is None


@pytest.mark.parametrize(
    ("line", "when"),
    [
        (b"From 1234@xxx Thu Feb 01 10:20:30 +0000 2024", datetime(2024, 2, 1, 10, 20, 30, tzinfo=UTC)),
        (b"From - Thu Feb  1 10:20:30 2024", datetime(2024, 2, 1, 10, 20, 30, tzinfo=UTC)),
        (b"From a@b Thu Feb  1 10:20 UTC 2024", datetime(2024, 2, 1, 10, 20, tzinfo=UTC)),
        (b"From a@b Thu Feb 31 10:20:30 2024", None),
        (b"From a@b", None),
    ],
)
def test_from_lines_of_other_programs_are_read(line: bytes, when: datetime | None) -> None:
    [entry] = read(line + b"\nSubject: x\n\nbody\n")
    assert entry.received_at == when


def test_message_over_the_limit_is_passed_over_without_holding_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mbox, "MAX_MESSAGE", 5000)
    raws = [b"Subject: 1\r\n\r\nx\r\n", b"Subject: 2\r\n\r\n" + b"y" * 40_000 + b"\r\n", b"Subject: 3\r\n\r\nz\r\n"]
    data = b"".join(mbox.entry(raw, "a", WHEN) for raw in raws)
    for piece in (700, 3000, 100_000):
        assert [entry.raw for entry in mbox.entries(reader(data), piece=piece)] == [raws[0], None, raws[2]]


def test_empty_file_has_one_empty_message_and_no_more() -> None:
    assert [entry.raw for entry in read(b"")] == [b"\r\n"]
