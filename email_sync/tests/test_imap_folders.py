"""Folders: roles, ids and which of them are synced."""

from __future__ import annotations

import pytest

from core.errors import RemoteMissing
from email_sync.providers.imap import folders
from email_sync.providers.imap.folders import listed
from email_sync.providers.imap.wire import Piece
from email_sync.records import ARCHIVE, DRAFTS, INBOX, SENT, SPAM, TRASH

GMAIL: list[Piece] = [
    b'(\\HasNoChildren) "/" "INBOX"',
    b'(\\HasChildren \\Noselect) "/" "[Gmail]"',
    b'(\\All \\HasNoChildren) "/" "[Gmail]/All Mail"',
    b'(\\HasNoChildren \\Sent) "/" "[Gmail]/Sent Mail"',
    b'(\\HasNoChildren \\Junk) "/" "[Gmail]/Spam"',
    b'(\\HasNoChildren \\Trash) "/" "[Gmail]/Trash"',
    b'(\\HasNoChildren \\Flagged) "/" "[Gmail]/Starred"',
    b'(\\HasNoChildren) "/" "Caf&AOk-"',
]


def roles(lines: list[Piece]) -> dict[str, str]:
    return {entry.folder.remote_id: entry.folder.role for entry in listed(lines)}


def test_listed_takes_roles_from_special_use() -> None:
    assert roles(
        [
            b'(\\Sent) "/" Outgoing',
            b'(\\JUNK) "/" Rubbish',
            b'(\\Trash) "/" Bin',
            b'(\\Drafts) "/" D',
            b'(\\Archive) "/" A',
        ]
    ) == {"Outgoing": SENT, "Rubbish": SPAM, "Bin": TRASH, "D": DRAFTS, "A": ARCHIVE}


def test_listed_without_special_use_goes_by_names_of_many_languages() -> None:
    assert roles(
        [
            b'() "/" INBOX',
            b'() "/" "Gesendete Elemente"',
            b'() "/" Papierkorb',
            b'() "/" "&BCEEPwQwBDw-"',
            b'() "/" Entw&APw-rfe',
        ]
    ) == {"INBOX": INBOX, "Gesendete Elemente": SENT, "Papierkorb": TRASH, "Спам": SPAM, "Entwürfe": DRAFTS}


def test_listed_gives_a_named_role_once_and_not_to_deeper_folders() -> None:
    found = roles(
        [b'(\\Sent) "/" Mine', b'() "/" Sent', b'() "/" Projects/Archive', b'() "/" Trash', b'() "/" Deleted']
    )
    assert found == {"Mine": SENT, "Sent": "", "Projects/Archive": "", "Trash": TRASH, "Deleted": ""}


def test_listed_under_an_inbox_prefix_still_knows_the_names() -> None:
    found = roles([b'() "." INBOX', b'() "." INBOX.Sent', b'() "." INBOX.Sent.2024'])
    assert found == {"INBOX": INBOX, "INBOX.Sent": SENT, "INBOX.Sent.2024": ""}


def test_listed_knows_the_inbox_whatever_its_case() -> None:
    assert roles([b'() "/" Inbox']) == {"INBOX": INBOX}


def test_listed_shows_readable_paths() -> None:
    names = [
        entry.folder.name for entry in listed([b'() "." "Caf&AOk-.Men&APw-"', b"() NIL Flat", b'() "/" "A \\"b\\""'])
    ]
    assert names == ["Café/Menü", "Flat", 'A "b"']


def test_listed_reads_names_that_come_as_literals_and_passes_over_garbage() -> None:
    lines: list[Piece] = [(b'() "/" {5}', b"a (b)"), b"", b"((broken", (b"() NIL {3}", b"a\r\n"), b"", b'() "/" Good']
    assert list(roles(lines)) == ["a (b)", "Good"]


@pytest.mark.parametrize(
    "name",
    [b"Plain", b"Caf&AOk-", b"A &- B", b"raw \xc3\xa9", b"&broken", b"x" * 900, b"#sha256:abc", b"&AAA-nul", b"a\x01b"],
)
def test_wire_name_leads_back_to_exactly_the_listed_folder(name: bytes) -> None:
    entries = listed([(b'() "/" {%d}' % len(name), name), b""])
    [folder] = [entry.folder for entry in entries]
    assert folders.wire_name(folder.remote_id, lambda: entries) == name
    assert len(folder.remote_id) <= folders.FOLDER_ID_LIMIT
    assert folder.name.isprintable()


def test_wire_name_of_a_hashed_id_no_longer_listed_is_missing() -> None:
    with pytest.raises(RemoteMissing):
        folders.wire_name("#sha256:abc", list)


def test_listed_leaves_out_what_belongs_to_others() -> None:
    others = folders.namespaces([b'(("INBOX." ".")) (("user." ".")) (("" ".") ("shared." "."))'])
    lines: list[Piece] = [b'() "." INBOX', b'() "." INBOX.Sent', b'() "." user.bob', b'() "." shared.team']
    assert others.personal == b"INBOX."
    assert [entry.folder.remote_id for entry in listed(lines, foreign=others.foreign)] == ["INBOX", "INBOX.Sent"]


@pytest.mark.parametrize("answer", [[], [b"NIL NIL NIL"], [b"((broken"], [b'(("" "/")) NIL NIL'], [b"x"]])
def test_namespaces_without_any_are_the_root(answer: list[Piece]) -> None:
    assert folders.namespaces(answer) == folders.Namespaces()


def test_streams_are_ordered_and_leave_out_parents_and_views() -> None:
    entries = listed(
        [
            b'(\\Junk) "/" Spam', b'(\\Trash) "/" Bin', b'() "/" zebra', b'() "/" Alpha', b'(\\Archive) "/" Old',
            b'(\\Sent) "/" Out', b'() "/" INBOX', b'(\\Noselect) "/" Parent', b'(\\NonExistent) "/" Ghost',
            b'(\\All) "/" Everything', b'(\\Flagged) "/" Starred',
        ]
    )  # fmt: skip
    found = folders.streams(entries, [entry.folder for entry in entries], gmail=False)
    assert [stream.key for stream in found] == ["INBOX", "Out", "Old", "Alpha", "zebra", "Bin", "Spam"]


def test_streams_at_gmail_hold_every_message_once() -> None:
    entries = listed(GMAIL)
    found = folders.streams(entries, [entry.folder for entry in entries], gmail=True)
    assert [stream.key for stream in found] == ["[Gmail]/All Mail", "[Gmail]/Trash", "[Gmail]/Spam"]


def test_labels_name_the_folders_of_gmail() -> None:
    found = {label: folder.remote_id for label, folder in folders.labels(listed(GMAIL)).items()}
    assert found[b"\\Inbox"] == "INBOX"
    assert found[b"\\Sent"] == "[Gmail]/Sent Mail"
    assert found[b"\\Starred"] == "[Gmail]/Starred"
    assert found[b"Caf&AOk-"] == "Café"
