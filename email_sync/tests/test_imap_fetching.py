"""Fetching in bulk from servers that misbehave."""

from __future__ import annotations

from typing import Any

import pytest

from core.errors import ProviderRateLimited, ProviderRejected, ProviderUnavailable, RemoteMissing
from email_sync.providers.imap import Imap, fetching
from email_sync.records import RemoteFolder, RemoteMessage, Stream
from email_sync.tests.scripted import HANG_UP, Response, Rule, ScriptedImap, account, facts, fetch_answer

INBOX = Stream("INBOX", RemoteFolder("INBOX", "INBOX", "inbox"))
ALL = ("7/1/INBOX", "7/2/INBOX", "7/3/INBOX")
FACTS: Rule = (r"UID FETCH \S+ \(UID FLAGS I", facts(1) + facts(2, flags=b"\\Seen") + facts(3) + b"%T OK done\r\n")
DONE = b"%T OK done\r\n"


def raw(uid: int) -> bytes:
    return b"Message-ID: <%d@x>\r\n\r\nbody %d\r\n" % (uid, uid)


@pytest.fixture(autouse=True)
def _loopback_is_open(settings: Any) -> None:
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]


def fetched(*rules: Rule, ids: tuple[str, ...] = ALL) -> dict[str, RemoteMessage]:
    with ScriptedImap(*rules) as server, Imap(account(server.port)) as provider:
        return {message.state.remote_id: message for message in provider.fetch(INBOX, ids)}


def bodies(found: dict[str, RemoteMessage]) -> list[tuple[bytes | None, bool]]:
    return [(message.raw, message.truncated) for _, message in sorted(found.items())]


def alone(uid: int, answer: Response) -> Rule:
    return (rf"UID FETCH {uid} \(UID BODY.PEEK\[\]", answer)


def test_fetch_with_unsolicited_responses_between_gives_every_message() -> None:
    noise = b"* 4 EXISTS\r\n* 3 FETCH (FLAGS (\\Deleted))\r\n* OK still here {5}x\r\n* 9 EXPUNGE\r\n* VANISHED 800\r\n"
    answer = noise + fetch_answer(3, raw(3)) + noise + fetch_answer(1, raw(1)) + fetch_answer(2, raw(2)) + noise + DONE
    found = fetched(FACTS, (r"UID FETCH 1:3 \(UID BODY", answer))
    assert bodies(found) == [(raw(1), False), (raw(2), False), (raw(3), False)]
    assert [message.state.is_read for _, message in sorted(found.items())] == [False, True, False]


def test_fetch_of_a_message_whose_body_looks_like_imap_is_not_fooled() -> None:
    tricky = b"Subject: x\r\n\r\n)\r\n* 2 FETCH (UID 2 BODY[] {3}\r\nbad)\r\nA1 OK done\r\n{7}\r\n"
    answer = fetch_answer(1, tricky) + fetch_answer(2, raw(2)) + fetch_answer(3, raw(3)) + DONE
    assert bodies(fetched(FACTS, (r"UID FETCH 1:3 \(UID BODY", answer))) == [
        (tricky, False), (raw(2), False), (raw(3), False),
    ]  # fmt: skip


def test_fetch_of_messages_gone_since_yields_the_others() -> None:
    found = fetched(
        (r"UID FETCH \S+ \(UID FLAGS I", facts(1) + facts(3) + DONE),
        (r"UID FETCH 1,3 \(UID BODY", fetch_answer(1, raw(1)) + DONE),
        alone(3, DONE),
        (r"UID FETCH 3 \(UID BODY.PEEK\[HEADER", DONE),
        ("UID SEARCH UID [23]", b"* SEARCH\r\n%T OK done\r\n"),
    )
    assert list(found) == ["7/1/INBOX"]


def test_fetch_that_the_server_refuses_as_a_whole_goes_on_without_the_bad_message() -> None:
    found = fetched(
        FACTS,
        alone(1, fetch_answer(1, raw(1)) + DONE),
        alone(2, b"%T NO [PARSE] cannot\r\n"),
        alone(3, fetch_answer(3, raw(3)) + DONE),
        (
            r"UID FETCH 2 \(UID BODY.PEEK\[HEADER\]",
            fetch_answer(2, b"Subject: h\r\n\r\n", section=b"BODY[HEADER]") + DONE,
        ),
        (r"UID FETCH \S+ \(UID BODY", b"%T NO Some messages could not be read\r\n"),
    )
    assert bodies(found) == [(raw(1), False), (b"Subject: h\r\n\r\n", True), (raw(3), False)]


def test_fetch_with_one_garbled_response_asks_for_that_message_again() -> None:
    broken = b"* 2 FETCH (UID 2 BODY[] (\r\n"
    found = fetched(
        FACTS,
        (r"UID FETCH 1:3 \(UID BODY", fetch_answer(1, raw(1)) + broken + fetch_answer(3, raw(3)) + DONE),
        alone(2, fetch_answer(2, raw(2)) + DONE),
    )
    assert bodies(found) == [(raw(1), False), (raw(2), False), (raw(3), False)]


def test_fetch_of_a_message_that_is_nil_gives_its_header_or_nothing_but_never_drops_it() -> None:
    nil = fetch_answer(1, raw(1)) + fetch_answer(2, None) + fetch_answer(3, None) + DONE
    found = fetched(
        FACTS,
        (
            r"UID FETCH 2 \(UID BODY.PEEK\[HEADER\]",
            fetch_answer(2, b"Subject: h\r\n\r\n", section=b"BODY[HEADER]") + DONE,
        ),
        (r"UID FETCH 3 \(UID BODY.PEEK\[HEADER\]", b"%T BAD broken\r\n"),
        (r"UID FETCH \S+ \(UID BODY", nil),
        ("UID SEARCH UID 3", b"* SEARCH 3\r\n%T OK done\r\n"),
    )
    assert bodies(found) == [(raw(1), False), (b"Subject: h\r\n\r\n", True), (b"", True)]
    assert [message.refused for _, message in sorted(found.items())] == [False, True, True]


def test_fetch_where_one_message_kills_the_connection_still_brings_the_others() -> None:
    found = fetched(
        FACTS,
        alone(1, fetch_answer(1, raw(1)) + DONE),
        alone(2, b"* BYE internal error\r\n" + HANG_UP),
        alone(3, fetch_answer(3, raw(3)) + DONE),
        (
            r"UID FETCH 2 \(UID BODY.PEEK\[HEADER\]",
            fetch_answer(2, b"Subject: h\r\n\r\n", section=b"BODY[HEADER]") + DONE,
        ),
        (r"UID FETCH \S+ \(UID BODY", fetch_answer(1, raw(1)) + HANG_UP),
    )
    assert bodies(found) == [(raw(1), False), (b"Subject: h\r\n\r\n", True), (raw(3), False)]


def test_fetch_over_a_line_that_broke_once_truncates_nothing() -> None:
    def answer(before: int) -> bytes:
        return HANG_UP if not before else DONE

    found = fetched(
        FACTS,
        *(alone(uid, fetch_answer(uid, raw(uid)) + DONE) for uid in (1, 2, 3)),
        (r"UID FETCH \S+ \(UID BODY", answer),
    )
    assert bodies(found) == [(raw(1), False), (raw(2), False), (raw(3), False)]


def test_fetch_from_a_server_that_always_hangs_up_is_unavailable() -> None:
    with pytest.raises(ProviderUnavailable):
        fetched(FACTS, (r"UID FETCH \S+ \(UID BODY", HANG_UP))


def test_fetch_refused_for_now_is_unavailable_and_marks_nothing() -> None:
    with pytest.raises(ProviderUnavailable, match="backend"):
        fetched(FACTS, (r"UID FETCH \S+ \(UID BODY", b"%T NO [UNAVAILABLE] The backend is down\r\n"))


def test_fetch_refused_for_its_pace_waits_and_marks_nothing() -> None:
    with pytest.raises(ProviderRateLimited, match="Too many"):
        fetched(FACTS, (r"UID FETCH \S+ \(UID BODY", b"%T NO Too many requests\r\n"))


def test_fetch_of_a_huge_message_brings_its_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "BEGINNING", 20)
    found = fetched(
        (r"UID FETCH \S+ \(UID FLAGS I", facts(1, size=60_000_000) + DONE),
        (r"UID FETCH 1 \(UID BODY.PEEK\[\]<0.20>", fetch_answer(1, raw(1)[:20], section=b"BODY[]<0>") + DONE),
        ids=("7/1/INBOX",),
    )
    assert bodies(found) == [(raw(1)[:20], True)]
    assert not found["7/1/INBOX"].refused
    assert found["7/1/INBOX"].size == 60_000_000


def test_fetch_of_large_messages_asks_for_each_alone() -> None:
    found = fetched(
        (r"UID FETCH \S+ \(UID FLAGS I", b"".join(facts(uid, size=300_000) for uid in (1, 2, 3)) + DONE),
        *(alone(uid, fetch_answer(uid, raw(uid)) + DONE) for uid in (1, 2, 3)),
        (r"UID FETCH \S+ \(UID BODY", b"%T BAD together\r\n"),
    )
    assert len(found) == 3


def test_fetch_without_facts_still_brings_the_message() -> None:
    found = fetched(
        (r"UID FETCH \S+ \(UID FLAGS I", b"%T BAD RFC822.SIZE is broken here\r\n"),
        (r"UID FETCH 1 \(UID FLAGS\)", b"* 1 FETCH (UID 1 FLAGS (\\Seen))\r\n%T OK done\r\n"),
        alone(1, fetch_answer(1, raw(1)) + DONE),
        ids=("7/1/INBOX",),
    )
    assert bodies(found) == [(raw(1), False)]
    assert found["7/1/INBOX"].size == len(raw(1))


def test_fetch_of_a_message_that_is_listed_and_never_told_of_brings_the_others_and_says_so() -> None:
    came: list[str] = []
    with (
        ScriptedImap(
            (r"UID FETCH 1:3 \(UID FLAGS I", facts(1) + facts(3) + DONE),
            (r"UID FETCH 2 \(UID FLAGS", b"%T NO cannot\r\n"),
            (r"UID FETCH 1,3 \(UID BODY", fetch_answer(1, raw(1)) + fetch_answer(3, raw(3)) + DONE),
            (r"UID SEARCH UID 2", b"* SEARCH 2\r\n%T OK done\r\n"),
        ) as server,
        Imap(account(server.port)) as provider,
        pytest.raises(ProviderRejected),
    ):
        came.extend(message.state.remote_id for message in provider.fetch(INBOX, ALL))
    assert came == ["7/1/INBOX", "7/3/INBOX"]


def test_fetch_of_ids_of_another_uidvalidity_yields_nothing() -> None:
    assert fetched(FACTS, ids=("6/1/INBOX", "not an id", "7/1/Elsewhere")) == {}


def test_fetch_from_a_folder_that_is_gone_yields_nothing() -> None:
    gone = Stream("Gone", RemoteFolder("Gone", "Gone"))
    with ScriptedImap(("EXAMINE", b"%T NO [NONEXISTENT] no\r\n")) as server, Imap(account(server.port)) as provider:
        assert list(provider.fetch(gone, ["7/1/Gone"])) == []


def test_states_with_a_header_that_cannot_be_read_still_tell_of_the_message() -> None:
    with (
        ScriptedImap(
            (r"UID FETCH \S+ \(UID FLAGS \S+ \S+ BODY", b"%T NO one is broken\r\n"),
            (r"UID FETCH 1:3 \(UID FLAGS \S+ \S+\)", facts(1) + facts(2, flags=b"\\Seen") + facts(3) + DONE),
        ) as server,
        Imap(account(server.port)) as provider,
    ):
        [states] = list(provider.states(INBOX))
    assert [(state.remote_id, state.is_read, state.content_key) for state in states] == [
        ("7/1/INBOX", False, ""), ("7/2/INBOX", True, ""), ("7/3/INBOX", False, ""),
    ]  # fmt: skip


def test_states_that_break_off_raise_and_do_not_end_as_if_complete() -> None:
    with (
        ScriptedImap((r"UID FETCH", facts(1) + HANG_UP)) as server,
        Imap(account(server.port)) as provider,
        pytest.raises(ProviderUnavailable),
    ):
        list(provider.states(INBOX))


def test_list_ids_finds_pages_in_a_thin_folder() -> None:
    present = [5, 40_000, 90_000, 99_999]

    def search(command: str) -> bytes:
        low, high = (int(number) for number in command.rsplit(" ", 1)[1].split(":"))
        return b"* SEARCH" + b"".join(b" %d" % uid for uid in present if low <= uid <= high) + b"\r\n%T OK done\r\n"

    select = b"* 4 EXISTS\r\n* OK [UIDVALIDITY 7] v\r\n* OK [UIDNEXT 100000] n\r\n%T OK done\r\n"
    server = ScriptedImap(("EXAMINE", select))
    server.rules.insert(0, ("UID SEARCH", lambda _: search(server.seen[-1])))
    with server, Imap(account(server.port)) as provider:
        first = provider.list_ids(INBOX, "", 2)
        second = provider.list_ids(INBOX, first.next_token, 2)
    assert first.remote_ids == ("7/99999/INBOX", "7/90000/INBOX")
    assert second.remote_ids == ("7/40000/INBOX", "7/5/INBOX")
    assert first.total == 4


@pytest.mark.parametrize("answer", [b"* SEARCH\r\n%T OK done\r\n", b"%T OK done\r\n", b"* SEARCH x\r\n%T OK done\r\n"])
def test_folder_that_holds_messages_and_lists_none_is_not_believed(answer: bytes) -> None:
    with ScriptedImap(("UID SEARCH", answer)) as server, Imap(account(server.port)) as provider:
        with pytest.raises(ProviderUnavailable, match="lists none"):
            provider.list_ids(INBOX, "", 10)
        with pytest.raises(ProviderUnavailable, match="lists none"):
            provider.start_cursor(INBOX)
        with pytest.raises(ProviderUnavailable, match="lists none"):
            list(provider.states(INBOX))


def test_totals_ask_for_no_figures_that_came_with_a_folders_selection() -> None:
    with ScriptedImap(("STATUS", b'* STATUS "Other" (MESSAGES 12 UIDNEXT 99 UIDVALIDITY 7)\r\n' + DONE)) as server:
        with Imap(account(server.port)) as provider:
            provider.start_cursor(INBOX)
            totals = provider.totals([INBOX, Stream("Other", RemoteFolder("Other", "Other"))])
        assert [command for command in server.seen if command.startswith("STATUS")] == [
            'STATUS "Other" (MESSAGES UIDNEXT UIDVALIDITY)'
        ]
    assert totals == {"INBOX": 3, "Other": 12}


def test_totals_leave_out_a_folder_that_refuses() -> None:
    with ScriptedImap(("STATUS", b"%T NO [NOPERM] no\r\n")) as server, Imap(account(server.port)) as provider:
        assert provider.totals([INBOX]) == {}


def test_attachment_of_a_very_large_message_fetches_only_the_part() -> None:
    header = b"Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    with (
        ScriptedImap(
            (r"UID FETCH 1 \(UID RFC822.SIZE\)", b"* 1 FETCH (UID 1 RFC822.SIZE 90000000)\r\n%T OK done\r\n"),
            (r"UID FETCH 1 \(UID BODY.PEEK\[2.MIME\]", fetch_answer(1, header, section=b"BODY[2.MIME]") + DONE),
            (r"UID FETCH 1 \(UID BODY.PEEK\[2\]", fetch_answer(1, b"AAEC\r\n", section=b"BODY[2]") + DONE),
            (r"UID FETCH 1 \(UID BODY.PEEK\[3", fetch_answer(1, None, section=b"BODY[3]") + DONE),
        ) as server,
        Imap(account(server.port)) as provider,
    ):
        assert provider.attachment("7/1/INBOX", "2") == b"\x00\x01\x02"
        for part_id in ("3", "2] BODY[", ""):
            with pytest.raises(RemoteMissing):
                provider.attachment("7/1/INBOX", part_id)
