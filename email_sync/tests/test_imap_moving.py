"""Flags, the archive and the copy in Sent at servers that can less, or refuse."""

from __future__ import annotations

from typing import Any

import pytest

from core.errors import ProviderRejected, ProviderUnavailable, RemoteMissing
from email_sync.providers.imap import Imap
from email_sync.records import OutgoingMail
from email_sync.tests.scripted import Rule, ScriptedImap, account, facts, fetch_answer

DONE = b"%T OK done\r\n"
LISTED: Rule = ("LIST", b'* LIST () "/" INBOX\r\n* LIST () "/" Archive\r\n* LIST () "/" Sent\r\n' + DONE)
FACTS = b'FLAGS (\\Seen) INTERNALDATE "05-Jan-2026 10:00:00 +0000" RFC822.SIZE 9'
SECTION = b"BODY[HEADER.FIELDS (MESSAGE-ID)]"
THERE: Rule = (
    r"UID FETCH 1 \(UID FLAGS",
    fetch_answer(1, b"Message-ID: <a@x>\r\n\r\n", items=FACTS, section=SECTION) + DONE,
)
GONE_AFTER: Rule = (r"UID FETCH 1 \(UID FLAGS\)", DONE)
"""What a server says of a message that was moved away."""
LETTER = OutgoingMail("letter@x", "ada@x", ("bob@x",), b"Message-ID: <letter@x>\r\n\r\nhi\r\n")


def capable(*names: str) -> Rule:
    return ("CAPABILITY", b"* CAPABILITY IMAP4rev1 AUTH=PLAIN " + " ".join(names).encode() + b"\r\n" + DONE)


@pytest.fixture(autouse=True)
def _loopback_is_open(settings: Any) -> None:
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]


# --- archive --------------------------------------------------------------------------------------------------


def test_set_archived_with_move_and_copyuid_tells_the_new_place() -> None:
    moved = b"* OK [COPYUID 9 1 42] moved\r\n* 1 EXPUNGE\r\n" + DONE
    with (
        ScriptedImap(capable("MOVE", "UIDPLUS"), LISTED, THERE, ('UID MOVE 1 "Archive"', moved)) as server,
        Imap(account(server.port)) as provider,
    ):
        state = provider.set_archived("7/1/INBOX", True)
    assert state is not None
    assert (state.remote_id, state.roles, state.is_read) == ("9/42/Archive", {"archive"}, True)
    assert len(state.content_key) == 64


def test_set_archived_without_uidplus_does_not_know_the_new_place() -> None:
    with ScriptedImap(capable("MOVE"), LISTED, GONE_AFTER, THERE) as server, Imap(account(server.port)) as provider:
        assert provider.set_archived("7/1/INBOX", True) is None


def test_set_archived_said_to_be_done_and_not_done_is_tried_again() -> None:
    with (
        ScriptedImap(capable("MOVE"), LISTED, THERE) as server,
        Imap(account(server.port)) as provider,
        pytest.raises(ProviderUnavailable, match="did not"),
    ):
        provider.set_archived("7/1/INBOX", True)


def test_set_archived_by_a_copy_that_is_nowhere_expunges_nothing() -> None:
    nowhere: Rule = ("UID SEARCH OR HEADER", b"* SEARCH\r\n" + DONE)
    unfound: Rule = (r"UID FETCH \S+ \(UID BODY.PEEK", DONE)
    with ScriptedImap(LISTED, nowhere, unfound, THERE) as server:
        with Imap(account(server.port)) as provider, pytest.raises(ProviderUnavailable, match="copied"):
            provider.set_archived("7/1/INBOX", True)
        assert not [command for command in server.seen if "Deleted" in command or "EXPUNGE" in command]


@pytest.mark.parametrize(("deleted", "expunged"), [(b"1", True), (b"1 2", False)])
def test_set_archived_without_move_expunges_only_its_own_message(deleted: bytes, expunged: bool) -> None:
    in_archive: Rule = (r"UID FETCH \S+ \(UID BODY", fetch_answer(1, b"Message-ID: <a@x>\r\n\r\n") + DONE)
    marked: Rule = ("UID SEARCH DELETED", b"* SEARCH " + deleted + b"\r\n" + DONE)
    with ScriptedImap(LISTED, THERE, in_archive, marked) as server:
        with Imap(account(server.port)) as provider:
            provider.set_archived("7/1/INBOX", True)
        assert 'UID COPY 1 "Archive"' in server.seen
        assert ("EXPUNGE" in server.seen) == expunged


def test_set_archived_with_uidplus_but_no_move_expunges_by_uid() -> None:
    copied: Rule = ("UID COPY", b"%T OK [COPYUID 9 1 42] copied\r\n")
    with ScriptedImap(capable("UIDPLUS"), LISTED, THERE, copied) as server:
        with Imap(account(server.port)) as provider:
            state = provider.set_archived("7/1/INBOX", True)
        assert "UID EXPUNGE 1" in server.seen
        assert "EXPUNGE" not in server.seen
    assert state is not None
    assert state.remote_id == "9/42/Archive"


def test_set_archived_makes_the_archive_where_the_users_folders_are() -> None:
    before, after = b'* LIST () "." INBOX\r\n', b'* LIST () "." INBOX\r\n* LIST (\\Archive) "." INBOX.Archive\r\n'
    listing: Rule = ("LIST", lambda asked: (after if asked else before) + DONE)
    personal: Rule = ("NAMESPACE", b'* NAMESPACE (("INBOX." ".")) NIL NIL\r\n' + DONE)
    with ScriptedImap(
        capable("MOVE", "NAMESPACE", "CREATE-SPECIAL-USE"), listing, personal, GONE_AFTER, THERE
    ) as server:
        with Imap(account(server.port)) as provider:
            provider.set_archived("7/1/INBOX", True)
        commands = server.seen
    assert 'CREATE "INBOX.Archive" (USE (\\Archive))' in commands
    assert 'UID MOVE 1 "INBOX.Archive"' in commands


@pytest.mark.parametrize("remote_id", ["6/1/INBOX", "7/1/Gone", "nonsense"])
def test_set_archived_of_an_id_that_names_nothing_says_so(remote_id: str) -> None:
    gone: Rule = ('SELECT "Gone"', b"%T NO [NONEXISTENT] no\r\n")
    with ScriptedImap(LISTED, THERE, gone) as server, Imap(account(server.port)) as provider:
        with pytest.raises(RemoteMissing):
            provider.set_archived(remote_id, True)
        assert not [command for command in server.seen if "COPY" in command]


def test_set_archived_refused_for_want_of_space_says_so() -> None:
    full: Rule = ("UID COPY", b"%T NO [OVERQUOTA] Your mailbox is full\r\n")
    with ScriptedImap(LISTED, THERE, full) as server:
        with Imap(account(server.port)) as provider, pytest.raises(ProviderRejected, match="mailbox is full"):
            provider.set_archived("7/1/INBOX", True)
        assert not [command for command in server.seen if "Deleted" in command]


def test_set_archived_at_gmail_takes_the_inbox_label_off() -> None:
    listing: Rule = ("LIST", b'* LIST () "/" INBOX\r\n* LIST (\\All) "/" All\r\n' + DONE)
    labelled = facts(1)[:-3] + b" X-GM-LABELS (%s))\r\n"
    answers = [labelled % b'"\\\\Inbox"', labelled % b""]
    with ScriptedImap(
        capable("X-GM-EXT-1", "MOVE"), listing, ("UID FETCH", lambda before: answers[min(before, 1)] + DONE)
    ) as server:
        with Imap(account(server.port)) as provider:
            state = provider.set_archived("7/1/All", True)
        assert "UID STORE 1 -X-GM-LABELS (\\Inbox)" in server.seen
    assert state is not None
    assert (state.remote_id, state.roles) == ("7/1/All", {"archive"})


# --- flags ----------------------------------------------------------------------------------------------------


def test_set_flags_in_a_read_only_folder_is_refused() -> None:
    read_only: Rule = ("SELECT", b"* 3 EXISTS\r\n* OK [UIDVALIDITY 7] v\r\n%T OK [READ-ONLY] done\r\n")
    with (
        ScriptedImap(read_only) as server,
        Imap(account(server.port)) as provider,
        pytest.raises(ProviderRejected, match="read-only"),
    ):
        provider.set_flags(["7/1/INBOX"], read=True)


def test_set_flags_that_the_folder_does_not_keep_is_refused() -> None:
    seen_only: Rule = (
        "SELECT",
        b"* 3 EXISTS\r\n* OK [UIDVALIDITY 7] v\r\n* OK [PERMANENTFLAGS (\\Seen)] f\r\n%T OK [READ-WRITE] done\r\n",
    )
    with ScriptedImap(seen_only) as server, Imap(account(server.port)) as provider:
        provider.set_flags(["7/1/INBOX"], read=True)
        with pytest.raises(ProviderRejected, match="Flagged"):
            provider.set_flags(["7/1/INBOX"], starred=True)


def test_set_flags_of_ids_that_name_nothing_changes_nothing() -> None:
    gone: Rule = ('SELECT "Gone"', b"%T NO [NONEXISTENT] no\r\n")
    with ScriptedImap(gone) as server:
        with Imap(account(server.port)) as provider:
            provider.set_flags(["6/1/INBOX", "7/1/Gone", "nonsense"], read=True)
        assert not [command for command in server.seen if "STORE" in command]


def test_set_flags_of_many_messages_goes_in_few_commands() -> None:
    def half(before: int) -> bytes:
        return (
            b"* SEARCH "
            + b" ".join(b"%d" % uid for uid in range(500 * before + 1, 500 * before + 501))
            + b"\r\n"
            + DONE
        )

    def seen(before: int) -> bytes:
        uids = range(500 * before + 1, 500 * before + 501)
        return b"".join(b"* %d FETCH (UID %d FLAGS (\\Seen))\r\n" % (uid, uid) for uid in uids) + DONE

    with ScriptedImap(("UID SEARCH", half), ("UID FETCH", seen)) as server:
        with Imap(account(server.port)) as provider:
            assert len(provider.set_flags([f"7/{uid}/INBOX" for uid in range(1, 1001)], read=True)) == 1000
        stored = [command for command in server.seen if "STORE" in command]
    assert stored == ["UID STORE 1:500 +FLAGS.SILENT (\\Seen)", "UID STORE 501:1000 +FLAGS.SILENT (\\Seen)"]


def test_set_flags_said_to_be_done_and_not_done_is_tried_again() -> None:
    unread: Rule = ("UID FETCH", b"* 1 FETCH (UID 1 FLAGS (\\Answered))\r\n" + DONE)
    with (
        ScriptedImap(("UID SEARCH", b"* SEARCH 1\r\n" + DONE), unread) as server,
        Imap(account(server.port)) as provider,
        pytest.raises(ProviderUnavailable, match="did not"),
    ):
        provider.set_flags(["7/1/INBOX"], read=True)


def test_set_flags_of_a_message_that_went_meanwhile_does_not_name_it() -> None:
    one_left: Rule = ("UID FETCH", b"* 1 FETCH (UID 1 FLAGS (\\Seen))\r\n" + DONE)
    both: Rule = ("UID SEARCH", b"* SEARCH 1 2\r\n" + DONE)
    with ScriptedImap(both, one_left) as server, Imap(account(server.port)) as provider:
        assert provider.set_flags(["7/1/INBOX", "7/2/INBOX"], read=True) == {"7/1/INBOX"}


# --- the copy in Sent -----------------------------------------------------------------------------------------


def named(uid: int, message_id: bytes) -> bytes:
    return fetch_answer(uid, b"Message-ID: " + message_id + b"\r\n\r\n", section=SECTION)


def test_find_sent_believes_only_the_same_message_id() -> None:
    search: Rule = ('UID SEARCH HEADER Message-ID "letter@x"', b"* SEARCH 1 2 3\r\n" + DONE)
    headers: Rule = (
        "UID FETCH",
        named(1, b"<other-letter@x>") + named(2, b"<letter@x>") + named(3, b"<letter@x.org>") + DONE,
    )
    with ScriptedImap(LISTED, search, headers) as server, Imap(account(server.port)) as provider:
        found = provider.find_sent("letter@x")
    assert found is not None
    assert found.remote_id == "7/2/Sent"


@pytest.mark.parametrize("message_id", ["", "a\r\nb@x", "ä@x"])
def test_find_sent_of_what_cannot_be_a_message_id_asks_nothing(message_id: str) -> None:
    with ScriptedImap(LISTED) as server:
        with Imap(account(server.port)) as provider:
            assert provider.find_sent(message_id) is None
        assert not [command for command in server.seen if "SEARCH" in command]


def test_file_sent_appends_once_and_read_and_tells_the_place() -> None:
    nothing: Rule = ("UID SEARCH", b"* SEARCH\r\n" + DONE)
    with ScriptedImap(LISTED, nothing, ("APPEND", b"%T OK [APPENDUID 9 17] done\r\n")) as server:
        with Imap(account(server.port)) as provider:
            filed = provider.file_sent(LETTER)
        assert f'APPEND "Sent" (\\Seen) {{{len(LETTER.mime)}}}' in server.seen
    assert (filed.remote_id, filed.filed) == ("9/17/Sent", True)


def test_file_sent_of_a_mail_the_server_filed_itself_adds_nothing() -> None:
    search: Rule = ("UID SEARCH", b"* SEARCH 2\r\n" + DONE)
    with ScriptedImap(LISTED, search, ("UID FETCH", named(2, b"<letter@x>") + DONE)) as server:
        with Imap(account(server.port)) as provider:
            assert provider.file_sent(LETTER).remote_id == "7/2/Sent"
        assert not [command for command in server.seen if command.startswith("APPEND")]


def test_file_sent_into_a_full_mailbox_says_so() -> None:
    nothing: Rule = ("UID SEARCH", b"* SEARCH\r\n" + DONE)
    full: Rule = ("APPEND", b"%T NO [OVERQUOTA] Your mailbox is full\r\n")
    with (
        ScriptedImap(LISTED, nothing, full) as server,
        Imap(account(server.port)) as provider,
        pytest.raises(ProviderRejected, match="full"),
    ):
        provider.file_sent(LETTER)
