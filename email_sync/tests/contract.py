"""The contract suite every mail provider passes: subclass `MailProviderContract` and give it a `harness`.

A harness is a mailbox at a real or stand-in server with a door behind the provider's back: it delivers, moves, flags
and removes as another client would, and tells the truth. `Mirror` is the smallest possible sync engine; after every
step its picture must equal the harness's `truth()`. Nothing here looks at calls, only at outcomes.

    class TestImapContract(MailProviderContract):
        @pytest.fixture
        def harness(self, dovecot): return DovecotHarness(dovecot)
"""

from __future__ import annotations

import random
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage

import pytest

from core.errors import CursorExpired, ProviderOutcomeUnknown, ProviderRejected, RemoteChanged, RemoteMissing
from email_sync.providers.base import MailProvider
from email_sync.records import (
    ARCHIVE,
    DRAFTS,
    INBOX,
    OWN_ID_HEADER,
    SENT,
    SPAM,
    TRASH,
    OutgoingMail,
    RemoteMessage,
    RemoteState,
    Stream,
)

PAGE = 3
"""Listings are read in pages this small, so that paging is always exercised."""


@dataclass(frozen=True, slots=True)
class Truth:
    """One message as the server has it. `message_id` without angle brackets."""

    message_id: str
    roles: frozenset[str]
    read: bool
    starred: bool


class MailHarness(ABC):
    """One mailbox and the door behind the provider's back. Messages are named by their Message-ID without brackets."""

    @abstractmethod
    def provider(self) -> MailProvider:
        """A new provider object for the mailbox; the test closes it."""

    @abstractmethod
    def deliver(self, raw: bytes, role: str = INBOX, *, read: bool = False) -> None:
        """Put a message into the folder of that role."""

    @abstractmethod
    def remove(self, message_id: str) -> None:
        """Delete it for good, not into the trash."""

    @abstractmethod
    def set_flags(self, message_id: str, *, read: bool | None = None, starred: bool | None = None) -> None:
        """Set what is not None."""

    @abstractmethod
    def move(self, message_id: str, role: str) -> None:
        """Into the folder of that role and out of where it is."""

    @abstractmethod
    def rewrite_draft(self, message_id: str, subject: str) -> None:
        """Another client gives a draft this subject, in whatever way that is done there; its Message-ID stays."""

    @abstractmethod
    def lose_cursor(self) -> None:
        """Make the server forget every cursor it gave out (UIDVALIDITY, historyId)."""

    @abstractmethod
    def truth(self) -> set[Truth]:
        """Every message of the mailbox, read past the provider."""

    @abstractmethod
    def outbox(self) -> list[tuple[frozenset[str], bytes]]:
        """What left the mailbox, in order: the envelope's recipients and the bytes."""

    @abstractmethod
    def lose_next_send_answer(self) -> None:
        """The next mail handed over is taken, but the provider gets no answer."""

    @abstractmethod
    def refuse_next_send(self) -> None:
        """The next mail handed over is refused for good."""


class Mirror:
    """The smallest sync engine there is: what a provider's promises must suffice for."""

    def __init__(self, harness: MailHarness) -> None:
        self.harness = harness
        self.cursors: dict[str, str] = {}
        self.states: dict[str, tuple[Stream, RemoteState]] = {}
        self.message_ids: dict[str, str] = {}

    def sync(self) -> None:
        """First sync of streams not seen yet, changes of the others; with a provider of its own, as a run has."""
        with self.harness.provider() as provider:
            for stream in provider.streams(provider.folders()):
                if stream.key in self.cursors:
                    self._follow(provider, stream)
                else:
                    self._begin(provider, stream)

    def view(self) -> set[Truth]:
        """What the mirror believes, to be compared with the harness's truth."""
        return {
            Truth(self.message_ids[remote_id], state.roles, state.is_read, state.is_starred)
            for remote_id, (_, state) in self.states.items()
        }

    def remote_id(self, message_id: str) -> str:
        """The remote id under which the mirror knows a message."""
        return next(known for known in self.states if self.message_ids[known] == message_id)

    def place(self, message_id: str) -> tuple[Stream, RemoteState]:
        """Where it is and its state."""
        return self.states[self.remote_id(message_id)]

    def _begin(self, provider: MailProvider, stream: Stream) -> None:
        cursor = provider.start_cursor(stream)
        token = ""
        while True:
            page = provider.list_ids(stream, token, PAGE)
            self._take(provider, stream, page.remote_ids)
            token = page.next_token
            if not token:
                break
        self.cursors[stream.key] = cursor

    def _follow(self, provider: MailProvider, stream: Stream) -> None:
        more = True
        while more:
            try:
                page = provider.changes(stream, self.cursors[stream.key])
            except CursorExpired:
                self._reconcile(provider, stream)
                return
            unknown = [state.remote_id for state in page.updated if state.remote_id not in self.states]
            self._take(provider, stream, [*page.added, *unknown])
            self.states |= {s.remote_id: (stream, s) for s in page.updated if s.remote_id in self.states}
            for remote_id in page.removed:
                self.states.pop(remote_id, None)
            self.cursors[stream.key], more = page.cursor, page.more

    def _reconcile(self, provider: MailProvider, stream: Stream) -> None:
        cursor = provider.start_cursor(stream)
        found = {state.remote_id: state for chunk in provider.states(stream) for state in chunk}
        gone = [known for known, (where, _) in self.states.items() if where.key == stream.key and known not in found]
        for remote_id in gone:
            del self.states[remote_id]
        self._take(provider, stream, [remote_id for remote_id in found if remote_id not in self.states])
        self.states |= {remote_id: (stream, state) for remote_id, state in found.items() if remote_id in self.states}
        self.cursors[stream.key] = cursor

    def _take(self, provider: MailProvider, stream: Stream, remote_ids: list[str] | tuple[str, ...]) -> None:
        for message in provider.fetch(stream, remote_ids) if remote_ids else ():
            self.states[message.state.remote_id] = (stream, message.state)
            self.message_ids[message.state.remote_id] = message_id_of(message)


def message_id_of(message: RemoteMessage) -> str:
    """The Message-ID a fetched message carries, "" where it has none."""
    if message.parsed is not None:
        return message.parsed.message_id
    found = re.search(rb"(?im)^message-id:\s*<([^>\r\n]*)>", message.raw or b"")
    return found[1].decode("ascii", "replace") if found else ""


def mail(
    name: str,
    *,
    subject: str = "",
    body: str = "Good morning.",
    attachment: bytes = b"",
    sender: str = "Ada <ada@contract.test>",
) -> bytes:
    """A plain mail whose Message-ID is `name`@contract.test."""
    message = EmailMessage()
    message["From"], message["To"] = sender, "Bob <bob@contract.test>"
    message["Subject"] = subject or f"About {name}"
    message["Date"] = "Mon, 05 Jan 2026 10:00:00 +0000"
    message["Message-ID"] = f"<{name}@contract.test>"
    message.set_content(body)
    if attachment:
        message.add_attachment(attachment, maintype="application", subtype="octet-stream", filename=f"{name}.bin")
    return message.as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def outgoing(
    name: str, sender: str, *, to: tuple[str, ...] = ("bob@contract.test",), bcc: tuple[str, ...] = ()
) -> OutgoingMail:
    """A mail ready to leave, named like `mail`, with our id twice as `composing` writes it."""
    mime = f"{OWN_ID_HEADER}: <{ident(name)}>\r\n".encode() + mail(name)
    return OutgoingMail(message_id=ident(name), sender=sender, recipients=(*to, *bcc), mime=mime, bcc=bcc)


def resubjected(raw: bytes, subject: str) -> bytes:
    """The same mail with another subject."""
    return re.sub(rb"(?m)^Subject: [^\r\n]*", b"Subject: " + subject.encode(), raw, count=1)


def ident(name: str) -> str:
    """The Message-ID of `mail(name)`."""
    return f"{name}@contract.test"


class MailProviderContract(ABC):
    """Every promise of `providers.base`, tried against a server. Subclasses are named Test… and give `harness`."""

    sender = "ada@contract.test"
    attachment_part = "2"
    """The part id of the attachment of `mail(…, attachment=…)`."""

    @pytest.fixture
    @abstractmethod
    def harness(self) -> MailHarness:
        """An empty mailbox."""

    @pytest.fixture
    def mirror(self, harness: MailHarness) -> Mirror:
        return Mirror(harness)

    # --- folders and streams ----------------------------------------------------------------------------------

    def test_folders_of_a_fresh_mailbox_name_the_inbox_once(self, harness: MailHarness) -> None:
        with harness.provider() as provider:
            folders = provider.folders()
        assert [folder.role for folder in folders].count(INBOX) == 1
        assert len({folder.remote_id for folder in folders}) == len(folders)

    def test_streams_begin_with_the_inbox_and_end_with_spam(self, harness: MailHarness) -> None:
        with harness.provider() as provider:
            streams = provider.streams(provider.folders())
        roles = [stream.folder.role for stream in streams if stream.folder]
        assert len({stream.key for stream in streams}) == len(streams)
        assert all(0 < len(stream.key) <= 500 for stream in streams)
        if INBOX in roles:
            assert roles[0] == INBOX
            assert set(roles[-2:]) <= {SPAM, TRASH}

    # --- first sync -------------------------------------------------------------------------------------------

    def test_first_sync_of_every_folder_finds_every_message(self, harness: MailHarness, mirror: Mirror) -> None:
        for number in range(2 * PAGE + 1):
            harness.deliver(mail(f"in-{number}"), read=number % 2 == 0)
        for role in (SENT, ARCHIVE, DRAFTS, TRASH, SPAM):
            harness.deliver(mail(f"one-{role}"), role, read=True)
        mirror.sync()
        assert mirror.view() == harness.truth()
        assert len(mirror.view()) == 2 * PAGE + 6

    def test_list_ids_is_newest_first_and_tokens_survive_a_new_provider(self, harness: MailHarness) -> None:
        names = [f"n{number}" for number in range(PAGE + 2)]
        for name in names:
            harness.deliver(mail(name))
        seen: list[str] = []
        token = ""
        while True:
            with harness.provider() as provider:
                stream = provider.streams(provider.folders())[0]
                page = provider.list_ids(stream, token, 2)
                found = {m.state.remote_id: message_id_of(m) for m in provider.fetch(stream, page.remote_ids)}
            assert len(page.remote_ids) <= 2
            seen += [found[remote_id] for remote_id in page.remote_ids]
            token = page.next_token
            if not token:
                break
        assert seen == [ident(name) for name in reversed(names)]

    def test_totals_are_what_the_listing_comes_to(self, harness: MailHarness) -> None:
        for number in range(3):
            harness.deliver(mail(f"m{number}"))
        harness.deliver(mail("sent"), SENT)
        with harness.provider() as provider:
            streams = provider.streams(provider.folders())
            for stream in streams:
                provider.start_cursor(stream)
            totals = provider.totals(streams)
            for stream in streams:
                if stream.key in totals:
                    listed = set()
                    token, more = "", True
                    while more:
                        page = provider.list_ids(stream, token, 2)
                        listed.update(page.remote_ids)
                        token, more = page.next_token, bool(page.next_token)
                    assert totals[stream.key] == len(listed), stream.key

    def test_list_ids_of_an_empty_folder_is_an_empty_last_page(self, harness: MailHarness) -> None:
        with harness.provider() as provider:
            stream = provider.streams(provider.folders())[0]
            page = provider.list_ids(stream, "", 10)
        assert page.remote_ids == ()
        assert page.next_token == ""

    def test_list_ids_since_a_moment_leaves_out_what_is_older(self, harness: MailHarness) -> None:
        for name in ("a", "b"):
            harness.deliver(mail(name))
        with harness.provider() as provider:
            stream = provider.streams(provider.folders())[0]
            now = datetime.now(UTC)
            recent = provider.list_ids(stream, "", 10, since=now - timedelta(days=3))
            future = provider.list_ids(stream, "", 10, since=now + timedelta(days=3))
        assert len(set(recent.remote_ids)) == 2
        assert future.remote_ids == ()
        assert future.next_token == ""

    def test_mail_arriving_between_cursor_and_listing_is_not_lost(self, harness: MailHarness, mirror: Mirror) -> None:
        harness.deliver(mail("before"))
        with harness.provider() as provider:
            stream = provider.streams(provider.folders())[0]
            cursor = provider.start_cursor(stream)
            harness.deliver(mail("between"))
            changes = provider.changes(stream, cursor)
            told = [*changes.added, *(state.remote_id for state in changes.updated)]  # an unknown one is fetched
            named = {message_id_of(message) for message in provider.fetch(stream, told)}
        assert ident("between") in named

    # --- fetching ---------------------------------------------------------------------------------------------

    def test_fetch_gives_the_bytes_as_delivered_with_an_aware_time(self, harness: MailHarness) -> None:
        raw = mail("exact", subject="Grüße", body="A line.\n.\n..dots\nÄ last line.")
        harness.deliver(raw)
        [message] = self.fetch_all(harness)
        assert message.raw == raw
        assert message.received_at.utcoffset() == timedelta(0)
        assert abs(datetime.now(UTC) - message.received_at) < timedelta(days=1)
        assert message.size > 0
        assert not message.truncated

    def test_fetch_of_odd_mail_hides_nothing(self, harness: MailHarness) -> None:
        odd = {
            "bytes": b"Subject: \xff\xfe\r\nMessage-ID: <bytes@contract.test>\r\n\r\n\x80\x81\r\n",
            "bare": b"Message-ID: <bare@contract.test>\r\n\r\n",
            "literal": mail("literal", body="{12345}\n* 1 FETCH (UID 1)\n)\nA1 OK done\n"),
            "long": b"Message-ID: <long@contract.test>\r\nSubject: x\r\n\r\n" + b"y" * 70_000 + b"\r\n",
        }
        for raw in odd.values():
            harness.deliver(raw)
        found = {message_id_of(message): message.raw for message in self.fetch_all(harness)}
        assert found == {ident(name): raw for name, raw in odd.items()}

    def test_fetch_of_ids_gone_meanwhile_yields_the_others(self, harness: MailHarness, mirror: Mirror) -> None:
        for name in ("a", "b", "c"):
            harness.deliver(mail(name))
        mirror.sync()
        stream, _ = mirror.place(ident("a"))
        ids = list(mirror.states)
        harness.remove(ident("b"))
        with harness.provider() as provider:
            found = {message_id_of(message) for message in provider.fetch(stream, ids)}
        assert found == {ident("a"), ident("c")}

    def test_states_of_a_stream_are_its_ground_truth(self, harness: MailHarness, mirror: Mirror) -> None:
        for number in range(PAGE + 1):
            harness.deliver(mail(f"s{number}"), read=number == 1)
        harness.deliver(mail("elsewhere"), SENT, read=True)
        harness.set_flags(ident("s2"), starred=True)
        mirror.sync()
        with harness.provider() as provider:
            for stream in provider.streams(provider.folders()):
                states = {state.remote_id: state for chunk in provider.states(stream) for state in chunk}
                assert states == {i: state for i, (where, state) in mirror.states.items() if where.key == stream.key}
        assert mirror.view() == harness.truth()

    def test_matching_ids_are_the_mail_of_these_people_newest_first(self, harness: MailHarness, mirror: Mirror) -> None:
        for name, people in (("a", "carol@known.test"), ("b", "dan@other.test"), ("c", "Carol <carol@known.test>")):
            harness.deliver(mail(name, sender=people))
        mirror.sync()
        with harness.provider() as provider:
            stream, _ = mirror.place(ident("a"))
            found = provider.matching_ids(stream, ["nobody@known.test", "carol@known.test"], 10)
            newest = provider.matching_ids(stream, ["carol@known.test"], 1)
        assert found == (mirror.remote_id(ident("c")), mirror.remote_id(ident("a")))
        assert newest == found[:1]

    # --- changes ----------------------------------------------------------------------------------------------

    def test_changes_where_nothing_happened_are_empty_and_stay_empty(
        self, harness: MailHarness, mirror: Mirror
    ) -> None:
        harness.deliver(mail("still"))
        mirror.sync()
        with harness.provider() as provider:
            for stream in provider.streams(provider.folders()):
                page = provider.changes(stream, mirror.cursors[stream.key])
                again = provider.changes(stream, page.cursor)
                for quiet in (page, again):
                    assert (quiet.added, quiet.updated, quiet.removed, quiet.more) == ((), (), (), False)

    def test_changes_tell_of_new_mail(self, harness: MailHarness, mirror: Mirror) -> None:
        harness.deliver(mail("old"))
        mirror.sync()
        harness.deliver(mail("new"))
        harness.deliver(mail("elsewhere"), SENT, read=True)
        mirror.sync()
        assert {truth.message_id for truth in mirror.view()} >= {ident("old"), ident("new")}
        assert mirror.view() == harness.truth()

    def test_changes_tell_of_flags_set_elsewhere(self, harness: MailHarness, mirror: Mirror) -> None:
        for name in ("a", "b", "c"):
            harness.deliver(mail(name))
        mirror.sync()
        harness.set_flags(ident("a"), read=True)
        harness.set_flags(ident("b"), starred=True)
        mirror.sync()
        assert mirror.view() == harness.truth()
        harness.set_flags(ident("a"), read=False)
        harness.set_flags(ident("b"), starred=False, read=True)
        mirror.sync()
        assert mirror.view() == harness.truth()

    def test_changes_tell_of_removed_mail(self, harness: MailHarness, mirror: Mirror) -> None:
        for name in ("a", "b", "c"):
            harness.deliver(mail(name))
        mirror.sync()
        harness.remove(ident("b"))
        mirror.sync()
        assert {truth.message_id for truth in mirror.view()} == {ident("a"), ident("c")}
        harness.deliver(mail("d"))
        harness.remove(ident("a"))
        mirror.sync()
        assert mirror.view() == harness.truth()

    def test_changes_tell_of_mail_that_came_and_went_between(self, harness: MailHarness, mirror: Mirror) -> None:
        harness.deliver(mail("stays"))
        mirror.sync()
        harness.deliver(mail("brief"))
        harness.remove(ident("brief"))
        mirror.sync()
        assert mirror.view() == harness.truth()

    def test_changes_tell_of_a_move_and_the_message_can_be_followed(self, harness: MailHarness, mirror: Mirror) -> None:
        harness.deliver(mail("mover"))
        harness.deliver(mail("stays"))
        mirror.sync()
        _, before = mirror.place(ident("mover"))
        harness.move(ident("mover"), TRASH)
        mirror.sync()
        assert mirror.view() == harness.truth()
        _, after = mirror.place(ident("mover"))
        assert after.roles == {TRASH}
        with harness.provider() as provider:
            if not provider.moves_change_ids:
                assert after.remote_id == before.remote_id
                return
        assert before.content_key
        assert after.content_key == before.content_key

    def test_changes_after_a_lost_cursor_ask_for_a_reconcile_that_tells_the_truth(
        self, harness: MailHarness, mirror: Mirror
    ) -> None:
        for name in ("a", "b", "c"):
            harness.deliver(mail(name))
        mirror.sync()
        with harness.provider() as provider:
            stream = provider.streams(provider.folders())[0]
        harness.remove(ident("a"))
        harness.set_flags(ident("b"), starred=True)
        harness.deliver(mail("d"))
        harness.lose_cursor()
        with harness.provider() as provider, pytest.raises(CursorExpired):
            provider.changes(stream, mirror.cursors[stream.key])
        mirror.sync()
        assert mirror.view() == harness.truth()

    def test_changes_with_a_cursor_that_is_no_cursor_expire(self, harness: MailHarness) -> None:
        with harness.provider() as provider:
            stream = provider.streams(provider.folders())[0]
            with pytest.raises(CursorExpired):
                provider.changes(stream, "not a cursor")

    def test_changes_over_a_long_random_life_keep_the_mirror_true(self, harness: MailHarness, mirror: Mirror) -> None:
        chance = random.Random(20260105)
        for step in range(60):
            self.live(harness, chance, step)
            if step % 4 == 3:
                mirror.sync()
                assert mirror.view() == harness.truth(), f"after step {step}"

    # --- changing ---------------------------------------------------------------------------------------------

    def test_set_flags_reaches_the_server_and_ignores_what_is_gone(self, harness: MailHarness, mirror: Mirror) -> None:
        for name in ("a", "b", "c"):
            harness.deliver(mail(name))
        mirror.sync()
        ids = {name: mirror.remote_id(ident(name)) for name in ("a", "b", "c")}
        harness.remove(ident("c"))
        with harness.provider() as provider:
            met = provider.set_flags([ids["a"], ids["c"]], read=True)
            assert ids["a"] in met
            assert met == {ids["a"]} or not provider.moves_change_ids
            assert provider.set_flags([ids["a"], ids["b"]], starred=True) == {ids["a"], ids["b"]}
            provider.set_flags([ids["b"]], starred=False, read=True)
        assert harness.truth() == {
            Truth(ident("a"), frozenset({INBOX}), True, True),
            Truth(ident("b"), frozenset({INBOX}), True, False),
        }
        mirror.sync()
        assert mirror.view() == harness.truth()

    def test_set_archived_moves_out_of_the_inbox_and_back(self, harness: MailHarness, mirror: Mirror) -> None:
        harness.deliver(mail("a"), read=True)
        mirror.sync()
        with harness.provider() as provider:
            there = provider.set_archived(mirror.remote_id(ident("a")), True)
        assert harness.truth() == {Truth(ident("a"), frozenset({ARCHIVE}), True, False)}
        mirror.sync()
        assert mirror.view() == harness.truth()
        if there is not None:
            assert there == mirror.place(ident("a"))[1]
        with harness.provider() as provider:
            provider.set_archived(mirror.remote_id(ident("a")), False)
        assert harness.truth() == {Truth(ident("a"), frozenset({INBOX}), True, False)}
        mirror.sync()
        assert mirror.view() == harness.truth()

    def test_set_archived_twice_changes_nothing_more(self, harness: MailHarness, mirror: Mirror) -> None:
        harness.deliver(mail("a"))
        mirror.sync()
        with harness.provider() as provider:
            provider.set_archived(mirror.remote_id(ident("a")), False)
        assert harness.truth() == {Truth(ident("a"), frozenset({INBOX}), False, False)}

    def test_set_archived_of_a_message_that_is_gone_says_so(self, harness: MailHarness, mirror: Mirror) -> None:
        harness.deliver(mail("a"))
        mirror.sync()
        harness.remove(ident("a"))
        with harness.provider() as provider, pytest.raises(RemoteMissing):
            provider.set_archived(mirror.remote_id(ident("a")), True)

    def test_attachment_is_the_decoded_bytes_of_the_part(self, harness: MailHarness, mirror: Mirror) -> None:
        content = bytes(range(256)) * 40
        harness.deliver(mail("with", attachment=content))
        mirror.sync()
        with harness.provider() as provider:
            assert provider.attachment(mirror.remote_id(ident("with")), self.attachment_part) == content
            with pytest.raises(RemoteMissing):
                provider.attachment(mirror.remote_id(ident("with")), "7")

    def test_attachment_of_a_message_that_is_gone_says_so(self, harness: MailHarness, mirror: Mirror) -> None:
        harness.deliver(mail("with", attachment=b"x"))
        mirror.sync()
        harness.remove(ident("with"))
        with harness.provider() as provider, pytest.raises(RemoteMissing):
            provider.attachment(mirror.remote_id(ident("with")), self.attachment_part)

    # --- the whole message ------------------------------------------------------------------------------------

    def test_raw_is_the_message_as_delivered(self, harness: MailHarness, mirror: Mirror) -> None:
        odd = b"Subject: \xff\xfe\r\nMessage-ID: <odd@contract.test>\r\n\r\nFrom \x80\x81\r\n>From\r\n"
        whole = mail("whole", subject="Gr\u00fc\u00dfe", attachment=bytes(range(256)) * 300)
        for raw in (odd, whole):
            harness.deliver(raw)
        mirror.sync()
        with harness.provider() as provider:
            for name, raw in (("odd", odd), ("whole", whole)):
                assert provider.raw(mirror.remote_id(ident(name))) == raw

    def test_find_knows_every_folder_and_nothing_that_is_not_there(self, harness: MailHarness, mirror: Mirror) -> None:
        for name, role in (("here", INBOX), ("there", ARCHIVE), ("junk", SPAM), ("other", INBOX)):
            harness.deliver(mail(name), role)
        mirror.sync()
        with harness.provider() as provider:
            for name in ("here", "there", "junk"):
                assert provider.find(ident(name)) == (mirror.remote_id(ident(name)),)
            assert provider.find(ident("nowhere")) == ()

    def test_raw_of_a_removed_message_is_missing(self, harness: MailHarness, mirror: Mirror) -> None:
        harness.deliver(mail("gone"))
        mirror.sync()
        harness.remove(ident("gone"))
        with harness.provider() as provider, pytest.raises(RemoteMissing):
            provider.raw(mirror.remote_id(ident("gone")))

    # --- sending ----------------------------------------------------------------------------------------------

    def test_send_hands_the_mail_over_once_and_one_copy_is_filed(self, harness: MailHarness, mirror: Mirror) -> None:
        letter = outgoing("letter", self.sender, bcc=("carol@contract.test",))
        with harness.provider() as provider:
            assert provider.find_sent(letter.message_id) is None
            sent = provider.send(letter)
            for _ in range(2):
                if not sent.filed:
                    assert provider.file_sent(letter).filed
            found = provider.find_sent(letter.message_id)
        assert found is not None
        [(recipients, raw)] = harness.outbox()
        assert recipients == {"bob@contract.test", "carol@contract.test"}
        assert b"carol@" not in raw.lower()
        mirror.sync()
        assert [truth for truth in mirror.view() if SENT in truth.roles] == [
            Truth(ident("letter"), frozenset({SENT}), True, False)
        ]

    def test_send_refused_for_good_says_so_and_leaves_nothing(self, harness: MailHarness) -> None:
        harness.refuse_next_send()
        with harness.provider() as provider:
            with pytest.raises(ProviderRejected) as refusal:
                provider.send(outgoing("refused", self.sender))
            assert provider.find_sent(ident("refused")) is None
        assert refusal.value.message
        assert harness.outbox() == []

    def test_send_without_an_answer_is_unknown_and_never_repeated(self, harness: MailHarness) -> None:
        harness.lose_next_send_answer()
        with harness.provider() as provider, pytest.raises(ProviderOutcomeUnknown):
            provider.send(outgoing("unknown", self.sender))
        assert len(harness.outbox()) == 1

    # --- drafts and senders -----------------------------------------------------------------------------------

    def test_aliases_begin_with_the_accounts_own_address(self, harness: MailHarness) -> None:
        with harness.provider() as provider:
            found = provider.aliases()
            assert found[0].email.lower() == provider.account.email

    def test_draft_saved_is_one_draft_with_its_bcc_and_one_state(self, harness: MailHarness, mirror: Mirror) -> None:
        letter = outgoing("draft", self.sender, bcc=("carol@contract.test",))
        with harness.provider() as provider:
            state = provider.save_draft(letter)
            again = provider.save_draft(letter)
            assert b"carol@contract.test" in provider.raw(state.remote_id)
        assert again.remote_id == state.remote_id
        assert harness.truth() == {Truth(ident("draft"), frozenset({DRAFTS}), True, False)}
        mirror.sync()
        assert mirror.place(ident("draft"))[1] == state
        assert harness.outbox() == []

    def test_draft_replaced_is_the_new_one_alone(self, harness: MailHarness, mirror: Mirror) -> None:
        with harness.provider() as provider:
            first = provider.save_draft(outgoing("first", self.sender))
        mirror.sync()
        with harness.provider() as provider:
            second = provider.save_draft(outgoing("second", self.sender), replaces=first.remote_id)
            assert provider.save_draft(outgoing("second", self.sender), replaces=first.remote_id) == second
        mirror.sync()
        assert {truth.message_id for truth in harness.truth()} == {ident("second")}
        assert mirror.view() == harness.truth()
        assert mirror.remote_id(ident("second")) == second.remote_id

    def test_draft_that_is_gone_is_not_replaced(self, harness: MailHarness) -> None:
        with harness.provider() as provider:
            gone = provider.save_draft(outgoing("gone", self.sender))
        harness.remove(ident("gone"))
        with harness.provider() as provider, pytest.raises(RemoteMissing):
            provider.save_draft(outgoing("late", self.sender), replaces=gone.remote_id)
        assert harness.truth() == set()

    def test_draft_changed_elsewhere_is_never_replaced_nor_deleted(self, harness: MailHarness) -> None:
        with harness.provider() as provider:
            first = provider.save_draft(outgoing("first", self.sender))
        harness.rewrite_draft(ident("first"), "Tea")
        late = outgoing("late", self.sender)
        with harness.provider() as provider:
            with pytest.raises((RemoteChanged, RemoteMissing)):
                provider.save_draft(late, first.remote_id, first.version)
            with pytest.raises((RemoteChanged, RemoteMissing)):
                provider.delete_draft(first.remote_id, first.version)
            [there] = provider.find(ident("first"))
            assert b"Subject: Tea" in provider.raw(there)
            assert provider.draft_versions([there]).get(there, "") != first.version or not first.version
        assert {truth.message_id for truth in harness.truth()} == {ident("first")}

    def test_draft_that_was_only_flagged_elsewhere_is_replaced(self, harness: MailHarness) -> None:
        with harness.provider() as provider:
            first = provider.save_draft(outgoing("first", self.sender))
        harness.set_flags(ident("first"), starred=True)
        with harness.provider() as provider:
            second = provider.save_draft(outgoing("second", self.sender), first.remote_id, first.version)
            assert provider.draft_versions([second.remote_id]).get(second.remote_id, "") == second.version
            provider.delete_draft(second.remote_id, second.version)
        assert harness.truth() == set()

    def test_draft_deleted_is_gone_and_only_it(self, harness: MailHarness) -> None:
        harness.deliver(mail("stays"))
        with harness.provider() as provider:
            doomed, kept = (provider.save_draft(outgoing(name, self.sender)) for name in ("doomed", "kept"))
            provider.delete_draft(doomed.remote_id)
            with pytest.raises(RemoteMissing):
                provider.delete_draft(doomed.remote_id)
        assert {truth.message_id for truth in harness.truth()} == {ident("stays"), ident("kept")}
        assert kept.remote_id

    # --- what the tests share ---------------------------------------------------------------------------------

    @staticmethod
    def fetch_all(harness: MailHarness) -> list[RemoteMessage]:
        """Every message of the first stream."""
        with harness.provider() as provider:
            stream = provider.streams(provider.folders())[0]
            ids = provider.list_ids(stream, "", 100).remote_ids
            return list(provider.fetch(stream, ids))

    @staticmethod
    def live(harness: MailHarness, chance: random.Random, step: int) -> None:
        """One step of somebody else's day: mostly mail comes; sometimes it is read, starred, moved or removed."""
        present = sorted(truth.message_id for truth in harness.truth())
        deed = (
            chance.choice(("deliver", "deliver", "deliver", "read", "star", "move", "remove")) if present else "deliver"
        )
        if deed == "deliver":
            harness.deliver(mail(f"life-{step}"), chance.choice((INBOX, INBOX, SENT, ARCHIVE, SPAM)))
            return
        chosen = chance.choice(present)
        if deed == "read":
            harness.set_flags(chosen, read=chance.random() < 0.6)
        elif deed == "star":
            harness.set_flags(chosen, starred=chance.random() < 0.6)
        elif deed == "move":
            harness.move(chosen, chance.choice((INBOX, ARCHIVE, TRASH, SPAM)))
        else:
            harness.remove(chosen)
