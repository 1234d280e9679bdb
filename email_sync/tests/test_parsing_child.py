"""The bounded child: whatever a message does to it, every message gets its answer, in order."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import select
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from email_sync.parsing import bounded, message, wire
from email_sync.parsing.bounded import TOO_HARD, TOO_LONG, BoundedParser, child_command, shared
from email_sync.records import ParsedMessage


@pytest.fixture
def parser() -> Iterator[BoundedParser]:
    with BoundedParser() as made:
        yield made


@pytest.fixture
def faulty() -> Iterator[BoundedParser]:
    """A parser whose child fails on command (`faulty_child`), with 0.3 s of CPU a message."""
    with BoundedParser(child_command("email_sync.tests.faulty_child"), wall_seconds=2.0) as made:
        yield made


def mail(subject: str, body: str = "hi") -> bytes:
    return f"Subject: {subject}\nFrom: Anna <anna@example.com>\n\n{body}".encode()


def subjects(parsed: list[ParsedMessage]) -> list[str]:
    return [item.subject for item in parsed]


def children_of(pid: int) -> list[int]:
    """The parsing children of a process; the suite's PostgreSQL is one of its children too."""
    children = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return [child for child in children if "email_sync." in Path(f"/proc/{child}/cmdline").read_text()]


def gone(pid: int) -> bool:
    """Whether a process ends within 5 s."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    poller = select.poll()
    poller.register(handle, select.POLLIN)
    ended = bool(poller.poll(5_000))
    os.close(handle)
    return ended


# --- ordinary work ---------------------------------------------------------------------------------------------------


def test_parse_many_answers_as_the_parser_itself_would(parser: BoundedParser) -> None:
    raws = [mail(str(n), "x" * n * 997) for n in range(200)]
    assert parser.parse_many(raws) == [message.parse(raw) for raw in raws]


@pytest.fixture(autouse=True)
def _no_other_child() -> None:
    """Tests that ran before may have left the shared parser's child; it starts again where it is wanted."""
    shared().close()


def test_parse_many_of_nothing_starts_nothing(parser: BoundedParser) -> None:
    before = children_of(os.getpid())
    assert parser.parse_many([]) == []
    assert children_of(os.getpid()) == before


def test_parse_many_large_messages_both_ways_do_not_lock_up(parser: BoundedParser) -> None:
    raws = [b"Content-Type: text/html\n\n" + b"<p>word</p>" * 80_000 for _ in range(4)]
    assert [len(item.html) for item in parser.parse_many(raws)] == [11 * 80_000] * 4


def test_parse_many_more_than_one_call_can_send_keeps_the_order(parser: BoundedParser) -> None:
    raws = [mail(str(n)) if n % 3 else b"" for n in range(1_500)]
    assert subjects(parser.parse_many(raws)) == [str(n) if n % 3 else "" for n in range(1_500)]


def test_parse_many_truncated_flags_go_along(parser: BoundedParser) -> None:
    whole, cut = parser.parse_many([mail("a"), mail("b")], [False, True])
    assert (whole.defect, cut.defect) == ("", message.TRUNCATED)
    with pytest.raises(ValueError, match="argument"):
        parser.parse_many([mail("a")], [True, False])


def test_parse_message_over_the_size_cap_is_cut(parser: BoundedParser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "MAX_RAW", 1_000)
    parsed = parser.parse(mail("big", "x" * 5_000))
    assert parsed.defect == message.TRUNCATED
    assert 900 < len(parsed.text) < 1_000


def test_parse_after_close_starts_a_new_child(parser: BoundedParser) -> None:
    parser.parse(mail("a"))
    [first] = children_of(os.getpid())
    parser.close()
    assert gone(first)
    assert parser.parse(mail("b")).subject == "b"


def test_child_sees_no_secret_and_no_site_packages() -> None:
    script = "import json,os,sys; print(json.dumps([dict(os.environ), sys.path, list(sys.modules)]))"
    command = child_command()
    environment = {"PATH": os.environ["PATH"]}
    answer = subprocess.run([*command[:4], "-c", script], capture_output=True, check=True, env=environment)
    _, paths, modules = json.loads(answer.stdout)
    assert not [path for path in paths if "site-packages" in path]
    assert "django" not in modules


# --- faults ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "defect"),
    [("spin", TOO_LONG), ("sleep", TOO_LONG), ("die", TOO_HARD), ("garble", TOO_HARD)],
)
def test_parse_many_message_that_ends_the_child_is_kept_by_its_headers(
    faulty: BoundedParser, fault: str, defect: str
) -> None:
    parsed = faulty.parse_many([mail("a"), mail("b"), mail(fault), mail("c"), mail(fault), mail("d")])
    assert subjects(parsed) == ["a", "b", fault, "c", fault, "d"]
    assert [item.defect for item in parsed] == ["", "", defect, "", defect, ""]
    assert parsed[2].sender.email == "anna@example.com"
    assert parsed[2].text == ""


@pytest.mark.parametrize("fault", ["spin", "die", "garble"])
def test_parse_message_whose_headers_end_the_child_too_is_kept_as_unreadable(faulty: BoundedParser, fault: str) -> None:
    parsed = faulty.parse_many([mail(fault, "always"), mail("after")])
    assert subjects(parsed) == ["", "after"]
    assert parsed[0].defect in (TOO_LONG, TOO_HARD)


def test_start_waits_for_nothing_that_is_being_parsed(faulty: BoundedParser) -> None:
    """A fetch asks for the parser before each portion: it must not wait for the one before."""
    faulty.start()
    with ThreadPoolExecutor(1) as thread:
        parsing = thread.submit(faulty.parse, mail("sleep"))
        while not faulty._lock.locked():
            assert not parsing.done()
        faulty.start()
        assert not parsing.done()
        parsing.result()


def test_parse_message_that_wants_too_much_memory_is_kept(faulty: BoundedParser) -> None:
    parsed = faulty.parse_many([mail("grow"), mail("after")])
    assert subjects(parsed) == ["grow", "after"]
    assert parsed[0].defect == TOO_HARD


def test_parse_many_child_killed_from_outside_blames_nobody(faulty: BoundedParser, tmp_path: Path) -> None:
    parsed = faulty.parse_many([mail("a"), mail("once", str(tmp_path / "killed")), mail("b")])
    assert (tmp_path / "killed").exists()
    assert [(item.subject, item.defect) for item in parsed] == [("a", ""), ("once", ""), ("b", "")]


def test_parse_child_that_died_between_calls_is_replaced(parser: BoundedParser) -> None:
    parser.parse(mail("a"))
    [child] = children_of(os.getpid())
    os.kill(child, 9)
    assert gone(child)
    assert [item.defect for item in parser.parse_many([mail("b"), mail("c")])] == ["", ""]


def test_parse_faults_leave_no_process_and_no_descriptor(faulty: BoundedParser) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for fault in ("spin", "die", "garble", "sleep"):
        faulty.parse(mail(fault))
    faulty.close()
    assert children_of(os.getpid()) == []
    assert len(os.listdir("/proc/self/fd")) <= before


# --- bombs -----------------------------------------------------------------------------------------------------------

M = 1024 * 1024
HEAD = b"Subject: kept\nFrom: a@example.com\n"
TREE = HEAD + b"Content-Type: multipart/mixed; boundary=b\n\n"
HTML = HEAD + b"Content-Type: text/html\n\n"
LEVEL = b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n"
QUOTED = b"Content-Type: a/b\nContent-Transfer-Encoding: quoted-printable\n\n"
BOMBS = {
    "subject of words": b"Subject: " + b"ab " * (M // 3) + b"\n\n",
    "recipients of quotes": HEAD + b"To: " + b'"' * M + b"\n\n",
    "recipients of comments": HEAD + b"To: " + b"(" * M + b"\n\n",
    "50,000 recipients": HEAD + b"To: " + b"a@b.c, " * 50_000 + b"\n\n",
    "100,000 headers": HEAD + b"X-A: b\n" * 100_000 + b"\nhi",
    "one header of 1 MB": HEAD + b"X: " + b"a" * M + b"\n\nhi",
    "references": HEAD + b"References: " + b"<a@b>\n " * 100_000 + b"\n\n",
    "encoded words": HEAD + b"To: " + b"=?utf-8?q?=41?= " * 60_000 + b"\n\n",
    "1,000,000 parts": TREE + b"--b\n\nx\n" * M,
    "10,000 levels": HEAD + b"".join(LEVEL % (n, n) for n in range(10_000)),
    "5,000 forwards": HEAD + b"Content-Type: message/rfc822\n\n" * 5_000,
    "60 MB of text": HEAD + b"\n" + b"hello world\n" * (5 * M),
    "60 MB of base64": HEAD + b"Content-Transfer-Encoding: base64\n\n" + b"A" * (60 * M),
    "60 MB of quoted-printable": HEAD + QUOTED + b"=41" * (20 * M),
    "60 MB file": HEAD + b"Content-Type: a/b; name=x\nContent-Transfer-Encoding: base64\n\n" + b"A" * (60 * M),
    "false boundaries": TREE + (b"--b" + b" " * 1_000 + b"x\n") * 10_000,
    "open tags": HTML + b"<a '" * M,
    "open comments": HTML + b"<!--" * M,
    "only <": HTML + b"<" * (4 * M),
    "nested quotes": HTML + b"<blockquote>a" * 200_000,
    "digits": HTML + b"&#" + b"9" * M,
    "NUL": b"\x00" * M,
    "nothing": b"",
}  # fmt: skip


@pytest.mark.parametrize("raw", BOMBS.values(), ids=BOMBS.keys())
def test_parse_bomb_stays_within_5_seconds_and_256_megabytes(raw: bytes) -> None:
    with BoundedParser() as parser:
        began = resource.getrusage(resource.RUSAGE_CHILDREN)
        parsed = parser.parse(raw)
        [child] = children_of(os.getpid())
        peak = int(Path(f"/proc/{child}/status").read_text().split("VmHWM:")[1].split()[0])
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert parsed.subject == ("kept" if b"kept" in raw else parsed.subject)
    assert TOO_LONG not in parsed.defect
    assert peak < 256 * 1024
    assert ended.ru_utime - began.ru_utime + ended.ru_stime - began.ru_stime < 5


# --- processes -------------------------------------------------------------------------------------------------------


def _fork_and_parse(pipe: multiprocessing.connection.Connection) -> None:
    """In a forked process: its own shared parser, then the news to the parent."""
    parsed = shared().parse(mail("forked"))
    pipe.send((parsed.subject, children_of(os.getpid())))
    pipe.recv()
    os._exit(0)


def test_shared_parser_is_one_per_process_and_survives_a_fork() -> None:
    assert shared() is shared()
    assert shared().parse(mail("parent")).subject == "parent"
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=_fork_and_parse, args=(theirs,), daemon=True)
    process.start()
    subject, [grandchild] = ours.recv()
    assert subject == "forked"
    assert shared().parse(mail("parent again")).subject == "parent again"
    ours.send("end")
    process.join(10)
    assert gone(grandchild)
    shared().close()


def test_child_dies_with_a_parent_that_was_killed() -> None:
    script = (
        "import os, sys\nfrom email_sync.parsing.bounded import shared\nshared().parse(b'')\n"
        "print(open(f'/proc/{os.getpid()}/task/{os.getpid()}/children').read(), flush=True)\nsys.stdin.read()"
    )
    project = Path(bounded.__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=project
    ) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        parent.kill()
        parent.wait()
        assert gone(child)


def test_wire_carries_every_field() -> None:
    raw = (
        "Message-ID: <a@x>\nIn-Reply-To: <b@x>\nReferences: <c@x> <b@x>\nSubject: ü\nFrom: Ä <a@x.y>\nTo: b@x.y\n"
        "Cc: c@x.y\nBcc: d@x.y\nReply-To: e@x.y\nDate: 1 Mar 2026 12:00:01 +0130\n"
        "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html\n\n<p>x</p>\n--b\n"
        "Content-Type: image/png; name=p.png\nContent-ID: <i@x>\n\nx\n--b--"
    )
    parsed = message.parse(raw.encode(), truncated=True)
    assert all(getattr(parsed, name) for name in ParsedMessage.__slots__ if name != "report")  # test_bounces has it
    assert wire.decode(wire.encode(parsed)) == parsed
