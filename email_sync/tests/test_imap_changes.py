"""What changed since a cursor, told by servers of every grade and honesty."""

from __future__ import annotations

from typing import Any

import pytest

from core.errors import CursorExpired, RemoteMissing
from email_sync.providers.imap import Imap, changes
from email_sync.providers.imap.naming import Cursor
from email_sync.records import ChangePage, RemoteFolder, Stream
from email_sync.tests.scripted import Rule, ScriptedImap, account

INBOX = Stream("INBOX", RemoteFolder("INBOX", "INBOX", "inbox"))
DONE = b"%T OK done\r\n"
QRESYNC: Rule = ("CAPABILITY", b"* CAPABILITY IMAP4rev1 AUTH=PLAIN ENABLE CONDSTORE QRESYNC\r\n" + DONE)
ENABLED: Rule = ("ENABLE", b"* ENABLED CONDSTORE QRESYNC\r\n" + DONE)
CONDSTORE: Rule = ("CAPABILITY", b"* CAPABILITY IMAP4rev1 AUTH=PLAIN ENABLE CONDSTORE\r\n" + DONE)
KNOWN = Cursor(7, 4, 3, 50)


@pytest.fixture(autouse=True)
def _loopback_is_open(settings: Any) -> None:
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]


def selected(
    *, uidvalidity: str = "7", uidnext: int = 4, exists: int = 3, modseq: str = "HIGHESTMODSEQ 60", more: bytes = b""
) -> Rule:
    lines = [
        f"* {exists} EXISTS",
        f"* OK [UIDVALIDITY {uidvalidity}] v",
        f"* OK [UIDNEXT {uidnext}] n",
        f"* OK [{modseq}] m",
    ]
    return ("EXAMINE", "\r\n".join(lines).encode() + b"\r\n" + more + b"%T OK [READ-ONLY] done\r\n")


def changed(cursor: Cursor, *rules: Rule) -> ChangePage:
    with ScriptedImap(*rules) as server, Imap(account(server.port)) as provider:
        return provider.changes(INBOX, cursor.dump())


# --- expired cursors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "box",
    [
        selected(uidvalidity="8"),
        selected(uidvalidity="0"),
        selected(uidvalidity="none"),
        selected(uidnext=2, exists=1),
        selected(modseq="HIGHESTMODSEQ 40"),
        selected(modseq="NOMODSEQ"),
    ],
    ids=["another uidvalidity", "zero", "missing", "uidnext went back", "modseq went back", "modseq lost"],
)
def test_changes_of_a_folder_that_began_another_life_expire(box: Rule) -> None:
    with pytest.raises(CursorExpired):
        changed(KNOWN, QRESYNC, ENABLED, box)


def test_changes_at_a_server_whose_uidvalidity_is_always_zero_expire_every_time() -> None:
    with pytest.raises(CursorExpired):
        changed(Cursor(0, 4, 3, 50), QRESYNC, ENABLED, selected(uidvalidity="0"))


def test_changes_with_a_cursor_of_a_server_that_told_more_expire() -> None:
    with pytest.raises(CursorExpired):
        changed(KNOWN, CONDSTORE, selected())
    with pytest.raises(CursorExpired):
        changed(Cursor(7, 4, 3, 0), selected())


def test_changes_of_a_folder_that_is_gone_say_so() -> None:
    gone = Stream("Gone", RemoteFolder("Gone", "Gone"))
    with (
        ScriptedImap(("STATUS|EXAMINE", b"%T NO No such mailbox\r\n")) as server,
        Imap(account(server.port)) as provider,
    ):
        for cursor in (KNOWN, Cursor(7, 4, 3, 0, "1:3", "", "")):
            with pytest.raises(RemoteMissing):
                provider.changes(gone, cursor.dump())


# --- the cheap way --------------------------------------------------------------------------------------------


def test_changes_where_status_shows_the_same_figures_select_nothing() -> None:
    status = b"* STATUS INBOX (MESSAGES 3 UIDNEXT 4 UIDVALIDITY 7 HIGHESTMODSEQ 50)\r\n" + DONE
    with ScriptedImap(QRESYNC, ENABLED, ("STATUS", status)) as server:
        with Imap(account(server.port)) as provider:
            page = provider.changes(INBOX, KNOWN.dump())
        assert not [command for command in server.seen if command.startswith(("EXAMINE", "SELECT"))]
    assert page == ChangePage(KNOWN.dump())


def test_changes_of_a_whole_quiet_mailbox_cost_one_question() -> None:
    capable: Rule = (
        "CAPABILITY",
        b"* CAPABILITY IMAP4rev1 AUTH=PLAIN ENABLE CONDSTORE QRESYNC LIST-EXTENDED LIST-STATUS SPECIAL-USE\r\n" + DONE,
    )
    figures = b"(MESSAGES 3 UIDNEXT 4 UIDVALIDITY 7 HIGHESTMODSEQ 50)\r\n"
    listing = (
        b'* LIST () "/" INBOX\r\n* STATUS INBOX ' + figures + b'* LIST () "/" "A b"\r\n* STATUS "A b" ' + figures + DONE
    )
    with ScriptedImap(capable, ENABLED, ("LIST", listing)) as server:
        with Imap(account(server.port)) as provider:
            streams = provider.streams(provider.folders())
            pages = [provider.changes(stream, KNOWN.dump()) for stream in streams]
        asked = server.seen[server.seen.index("ENABLE CONDSTORE QRESYNC") + 1 :]
    assert pages == [ChangePage(KNOWN.dump())] * 2
    assert [command.partition(" ")[0] for command in asked] == ["LIST", "LOGOUT"]


def test_changes_asked_twice_are_looked_up_anew() -> None:
    capable: Rule = (
        "CAPABILITY",
        b"* CAPABILITY IMAP4rev1 AUTH=PLAIN ENABLE CONDSTORE QRESYNC LIST-EXTENDED LIST-STATUS\r\n" + DONE,
    )
    quiet = b"* STATUS INBOX (MESSAGES 3 UIDNEXT 4 UIDVALIDITY 7 HIGHESTMODSEQ 50)\r\n"
    busy = b"* STATUS INBOX (MESSAGES 2 UIDNEXT 4 UIDVALIDITY 7 HIGHESTMODSEQ 60)\r\n"
    gone = selected(more=b"* VANISHED (EARLIER) 2\r\n")
    rules = (capable, ENABLED, ("LIST", b'* LIST () "/" INBOX\r\n' + quiet + DONE), ("STATUS", busy + DONE), gone)
    with ScriptedImap(*rules) as server, Imap(account(server.port)) as provider:
        provider.folders()
        assert provider.changes(INBOX, KNOWN.dump()).removed == ()
        assert provider.changes(INBOX, KNOWN.dump()).removed == ("7/2/INBOX",)


@pytest.mark.parametrize("status", [b"* STATUS INBOX (MESSAGES 3\r\n", b"* STATUS {5}\r\nINBOX (UIDNEXT 9)\r\n", b""])
def test_changes_where_status_is_no_help_look_properly(status: bytes) -> None:
    page = changed(KNOWN, QRESYNC, ENABLED, ("STATUS", status + DONE), selected(more=b"* VANISHED (EARLIER) 2\r\n"))
    assert page.removed == ("7/2/INBOX",)


# --- QRESYNC --------------------------------------------------------------------------------------------------


def test_changes_with_qresync_tell_new_changed_and_vanished() -> None:
    told = (
        b"* VANISHED (EARLIER) 2,1000:2000\r\n"
        b"* 1 FETCH (UID 1 FLAGS (\\Seen \\Flagged) MODSEQ (55))\r\n* 3 FETCH (UID 9 FLAGS () MODSEQ (60))\r\n"
    )
    page = changed(
        KNOWN, QRESYNC, ENABLED, selected(uidnext=11, more=told), ("UID SEARCH UID 4:10", b"* SEARCH 9 10\r\n" + DONE)
    )
    assert page.added == ("7/10/INBOX", "7/9/INBOX")
    assert [(s.remote_id, s.is_read, s.is_starred) for s in page.updated] == [("7/1/INBOX", True, True)]
    assert page.removed == ("7/2/INBOX",)
    assert Cursor.load(page.cursor) == Cursor(7, 11, 3, 60)


def test_changes_with_an_enormous_vanished_list_expire(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "VANISHED_LIMIT", 1000)
    cursor = Cursor(7, 4_000_000_000, 3, 50)
    box = selected(uidnext=4_000_000_000, more=b"* VANISHED (EARLIER) 1:3999999990\r\n")
    with pytest.raises(CursorExpired):
        changed(cursor, QRESYNC, ENABLED, box)


def test_changes_with_an_answer_that_cannot_be_read_expire() -> None:
    with pytest.raises(CursorExpired):
        changed(KNOWN, QRESYNC, ENABLED, selected(more=b"* 1 FETCH (UID 1 FLAGS (\\Seen\r\n"))


def test_changes_where_enabling_was_refused_use_the_sets() -> None:
    rules = (QRESYNC, ("ENABLE", b"%T NO not now\r\n"), selected(), ("UID SEARCH", b"* SEARCH 1 3\r\n" + DONE))
    page = changed(Cursor(7, 4, 3, 60, "1:3"), *rules)
    assert page.removed == ("7/2/INBOX",)


# --- CONDSTORE ------------------------------------------------------------------------------------------------


def test_changes_with_condstore_ask_since_and_compare_sets() -> None:
    page = changed(
        Cursor(7, 4, 3, 50, "1:3"),
        CONDSTORE,
        selected(uidnext=10),
        ("UID SEARCH UID 1:9", b"* SEARCH 9 3 1\r\n" + DONE),
        (
            r"UID FETCH 1:3 \(UID FLAGS\) \(CHANGEDSINCE 50\)",
            b"* 1 FETCH (UID 1 FLAGS (\\Seen) MODSEQ (51))\r\n" + DONE,
        ),
    )
    assert (page.added, page.removed) == (("7/9/INBOX",), ("7/2/INBOX",))
    assert [(s.remote_id, s.is_read) for s in page.updated] == [("7/1/INBOX", True)]
    assert Cursor.load(page.cursor) == Cursor(7, 10, 3, 60, "1,3,9")


def test_changes_with_condstore_shown_only_when_enabled_enable_it_first() -> None:
    with ScriptedImap(CONDSTORE, ("ENABLE", b"* ENABLED\r\n" + DONE), selected()) as server:
        with Imap(account(server.port)) as provider:
            cursor = provider.start_cursor(INBOX)
        commands = " | ".join(server.seen)
    assert commands.index("ENABLE CONDSTORE") < commands.index('EXAMINE "INBOX" (CONDSTORE)')
    assert Cursor.load(cursor).modseq == 60


# --- neither --------------------------------------------------------------------------------------------------

PLAIN = selected(uidnext=10, modseq="ALERT")


def searched(everything: bytes, unseen: bytes, flagged: bytes) -> tuple[Rule, ...]:
    return (
        ("UID SEARCH UID 1:9 UNSEEN", b"* SEARCH " + unseen + b"\r\n" + DONE),
        ("UID SEARCH UID 1:9 FLAGGED", b"* SEARCH " + flagged + b"\r\n" + DONE),
        ("UID SEARCH UID 1:9", b"* SEARCH " + everything + b"\r\n" + DONE),
    )


def test_changes_without_condstore_compare_flags_too() -> None:
    page = changed(Cursor(7, 4, 3, 0, "1:3", "1,2", "3"), PLAIN, *searched(b"1 3 9", b"9 3", b"1 3"))
    assert (page.added, page.removed) == (("7/9/INBOX",), ("7/2/INBOX",))
    assert [(s.remote_id, s.is_read, s.is_starred) for s in page.updated] == [
        ("7/1/INBOX", True, True), ("7/3/INBOX", False, True),
    ]  # fmt: skip
    assert Cursor.load(page.cursor) == Cursor(7, 10, 3, 0, "1,3,9", "3,9", "1,3")


def test_changes_of_a_folder_without_modseq_at_a_server_with_qresync_compare_sets() -> None:
    box = selected(uidnext=10, modseq="NOMODSEQ")
    page = changed(Cursor(7, 10, 3, 0, "1:3", "", ""), QRESYNC, ENABLED, box, *searched(b"1 2 3", b"2", b""))
    assert [(s.remote_id, s.is_read) for s in page.updated] == [("7/2/INBOX", False)]


def test_changes_are_found_by_esearch_where_the_server_has_it() -> None:
    capable: Rule = ("CAPABILITY", b"* CAPABILITY IMAP4rev1 AUTH=PLAIN ESEARCH\r\n" + DONE)
    rules = (
        (r"UID SEARCH RETURN \(ALL\) UID 1:9 (UNSEEN|FLAGGED)", b'* ESEARCH (TAG "x") UID\r\n' + DONE),
        (r"UID SEARCH RETURN \(ALL\) UID 1:9", b'* ESEARCH (TAG "x") UID ALL 2:3,9\r\n' + DONE),
    )
    page = changed(Cursor(7, 4, 3, 0, "1:3", "", ""), capable, PLAIN, *rules)
    assert (page.added, page.removed, page.updated) == (("7/9/INBOX",), ("7/1/INBOX",), ())


def test_changes_of_an_emptied_folder_remove_everything_without_a_search() -> None:
    page = changed(Cursor(7, 4, 3, 0, "1:3", "", ""), selected(exists=0, modseq="ALERT"), ("UID", b"%T BAD empty\r\n"))
    assert page.removed == ("7/1/INBOX", "7/2/INBOX", "7/3/INBOX")


def test_start_cursor_at_a_server_without_uidnext_counts_from_the_last_uid() -> None:
    select = b"* 3 EXISTS\r\n* OK [UIDVALIDITY 7] v\r\n" + DONE
    with ScriptedImap(("EXAMINE", select)) as server, Imap(account(server.port)) as provider:
        assert Cursor.load(provider.start_cursor(INBOX)) == Cursor(7, 4, 3, 0, "1:3", "1:3", "1:3")


# --- Gmail ----------------------------------------------------------------------------------------------------

GMAIL: Rule = ("CAPABILITY", b"* CAPABILITY IMAP4rev1 AUTH=PLAIN ENABLE CONDSTORE X-GM-EXT-1\r\n" + DONE)
LABELS: Rule = (
    "LIST",
    b'* LIST () "/" INBOX\r\n* LIST (\\All) "/" "[Gmail]/All Mail"\r\n* LIST (\\Sent) "/" "[Gmail]/Sent Mail"\r\n'
    + DONE,
)


def test_changes_at_gmail_tell_roles_by_label() -> None:
    everything = Stream("[Gmail]/All Mail", RemoteFolder("[Gmail]/All Mail", "All Mail"))
    answer = (
        b'* 1 FETCH (UID 1 FLAGS (\\Seen) X-GM-LABELS ("\\\\Inbox" "\\\\Important") MODSEQ (51))\r\n'
        b"* 2 FETCH (UID 2 FLAGS () X-GM-LABELS () MODSEQ (51))\r\n"
        b'* 3 FETCH (UID 3 FLAGS () X-GM-LABELS ("\\\\Sent") MODSEQ (51))\r\n'
    )
    rules = (GMAIL, LABELS, selected(), (r"UID FETCH 1:3 \(UID FLAGS X-GM-LABELS\)", answer + DONE))
    with ScriptedImap(*rules) as server, Imap(account(server.port)) as provider:
        page = provider.changes(everything, Cursor(7, 4, 3, 50, "1:3").dump())
    assert [set(state.roles) for state in page.updated] == [{"inbox"}, {"archive"}, {"sent"}]
    assert page.updated[0].folder_ids == ("[Gmail]/All Mail", "INBOX")
