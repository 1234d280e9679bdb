"""Gmail against the contract of mail providers and against the simulator's truth: ledger, faults, quota."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from core.errors import ProviderAuthError, ProviderRateLimited, ProviderRejected, ProviderUnavailable
from email_sync.providers.base import MailProvider
from email_sync.providers.gmail import api
from email_sync.providers.gmail.provider import MAILBOX
from email_sync.records import OutgoingMail
from email_sync.tests.contract import PAGE, MailProviderContract, Mirror, ident, mail, message_id_of, outgoing
from email_sync.tests.gmail_simulator import GmailHarness, access_token, gmail_at
from email_sync.tests.reports import REPORTS, report
from simulator.process import Simulator, running

ADA, BOB, CAROL = "ada@contract.test", "bob@contract.test", "carol@contract.test"


@pytest.fixture(scope="module")
def process() -> Iterator[Simulator]:
    with running() as simulator:
        yield simulator


@pytest.fixture
def simulator(process: Simulator, settings: Any) -> Simulator:
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    process.reset()
    return process


@pytest.fixture
def harness(simulator: Simulator) -> GmailHarness:
    return GmailHarness(simulator, ADA, (BOB, CAROL))


@pytest.fixture
def mirror(harness: GmailHarness) -> Mirror:
    return Mirror(harness)


class TestGmailContract(MailProviderContract):
    attachment_part = "1"  # Gmail counts from 0

    @pytest.fixture
    def harness(self, simulator: Simulator) -> GmailHarness:
        return GmailHarness(simulator, ADA, (BOB, CAROL))

    def test_list_ids_is_newest_first_and_tokens_survive_a_new_provider(self, harness: GmailHarness) -> None:
        """As in the contract, but what the inbox gave comes again with the whole mailbox."""
        names = [f"n{number}" for number in range(PAGE + 2)]
        for name in names:
            harness.deliver(mail(name))
        seen: list[str] = []
        token = "inbox:"
        while token:
            with harness.provider() as provider:
                page = provider.list_ids(MAILBOX, token, 2)
                found = {m.state.remote_id: message_id_of(m) for m in provider.fetch(MAILBOX, page.remote_ids)}
            assert len(page.remote_ids) <= 2
            seen += [found[remote_id] for remote_id in page.remote_ids]
            token = page.next_token
        newest_first = [ident(name) for name in reversed(names)]
        assert seen == newest_first * 2

    def test_fetch_gives_the_bytes_as_delivered_with_an_aware_time(self, harness: GmailHarness) -> None:
        """Gmail gives no bytes but the parsed message."""
        harness.deliver(mail("exact", subject="Grüße", body="A line.\n.\n..dots\nÄ last line."))
        [message] = self.fetch_all(harness)
        assert message.parsed is not None
        assert message.parsed.subject == "Grüße"
        assert message.parsed.text.splitlines() == ["A line.", ".", "..dots", "Ä last line."]
        assert message.parsed.defect == ""
        assert message.received_at.tzinfo is not None
        assert message.size > 0

    def test_fetch_of_odd_mail_hides_nothing(self, harness: GmailHarness) -> None:
        odd = {
            "bytes": b"Subject: \xff\xfe\r\nMessage-ID: <bytes@contract.test>\r\n\r\n\x80\x81\r\n",
            "bare": b"Message-ID: <bare@contract.test>\r\n\r\n",
            "long": b"Message-ID: <long@contract.test>\r\nSubject: x\r\n\r\n" + b"y" * 70_000 + b"\r\n",
        }
        for raw in odd.values():
            harness.deliver(raw)
        found = {message_id_of(message): message.parsed for message in self.fetch_all(harness)}
        assert set(found) == {ident(name) for name in odd}
        long = found[ident("long")]
        assert long is not None
        assert long.text == "y" * 70_000


def collect(provider: MailProvider, remote_ids: Sequence[str], got: list[str]) -> None:
    """Fetches; what came before an error stays in `got`."""
    for message in provider.fetch(MAILBOX, remote_ids):
        got.append(message.state.remote_id)


def test_list_ids_walks_inbox_sent_and_then_everything(harness: GmailHarness) -> None:
    for name, role in (("a", "archive"), ("b", "inbox"), ("c", "sent"), ("d", "spam"), ("e", "trash")):
        harness.deliver(mail(name), role)
    provider = harness.provider()
    token, pages = "", []
    while True:
        page = provider.list_ids(MAILBOX, token, 500)
        pages.append([message_id_of(message)[0] for message in provider.fetch(MAILBOX, page.remote_ids)])
        assert page.total == 5
        token = page.next_token
        if not token:
            break
    assert pages == [["b"], ["c"], ["e", "d", "c", "b", "a"]]


def test_fetch_of_fifty_messages_is_one_batch(harness: GmailHarness) -> None:
    harness.simulator.deliver_many(ADA, [{"raw": mail(f"m{number}")} for number in range(120)])
    provider = harness.provider()
    ids = provider.list_ids(MAILBOX, "all:", 500).remote_ids
    harness.simulator.clear_ledger()
    assert len(list(provider.fetch(MAILBOX, ids))) == 120
    assert harness.simulator.summary() == {
        "gmail.batch": {"200": 3},
        "gmail.users.messages.get": {"200": 120},
    }


def test_fetch_refused_within_a_batch_yields_the_rest_first(harness: GmailHarness) -> None:
    harness.simulator.deliver_many(ADA, [{"raw": mail(f"m{number}")} for number in range(20)])
    provider = harness.provider()
    ids = provider.list_ids(MAILBOX, "all:", 500).remote_ids
    harness.simulator.fault(
        "status", operation="gmail.users.messages.get", status=429, headers={"Retry-After": "7"}, skip=3, count=5
    )
    got: list[str] = []
    with pytest.raises(ProviderRateLimited) as refusal:
        collect(provider, ids, got)
    assert refusal.value.retry_after == 7
    assert len(got) == 15
    rest = [remote_id for remote_id in ids if remote_id not in got]
    assert {message.state.remote_id for message in provider.fetch(MAILBOX, rest)} == set(rest)


def test_fetch_over_the_quota_loses_nothing(harness: GmailHarness) -> None:
    harness.simulator.deliver_many(ADA, [{"raw": mail(f"m{number}")} for number in range(50)])
    provider = harness.provider()
    left = list(provider.list_ids(MAILBOX, "all:", 500).remote_ids)
    harness.simulator.settings(gmail_quota_units_per_minute=400)
    waits = 0
    while left:
        try:
            for message in provider.fetch(MAILBOX, list(left)):
                left.remove(message.state.remote_id)
        except ProviderRateLimited as error:
            waits += 1
            harness.simulator.advance(error.retry_after + 1)
    assert waits >= 2


def test_fetch_of_garbage_within_a_batch_asks_to_come_again(harness: GmailHarness) -> None:
    harness.simulator.deliver_many(ADA, [{"raw": mail(f"m{number}")} for number in range(5)])
    provider = harness.provider()
    ids = provider.list_ids(MAILBOX, "all:", 500).remote_ids
    harness.simulator.fault("garbage", operation="gmail.users.messages.get", count=1)
    got: list[str] = []
    with pytest.raises(ProviderUnavailable):
        collect(provider, ids, got)
    assert len(got) == 4


def test_fetch_of_giant_mail_holds_up_no_other(harness: GmailHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"giant": 90_000, **{f"m{number}": 20_000 for number in range(8)}}
    for name, size in sizes.items():
        harness.deliver(mail(name, body="x " * (size // 2)))
    provider = harness.provider()
    ids = provider.list_ids(MAILBOX, "", 50).remote_ids
    monkeypatch.setattr(api, "MAX_ANSWER_BYTES", 100_000)
    found = {message_id_of(message): message.parsed for message in provider.fetch(MAILBOX, ids)}
    assert found.keys() == {ident(name) for name in sizes}
    defects = {message_id: parsed.defect for message_id, parsed in found.items() if parsed and parsed.defect}
    assert defects == {ident("giant"): "Gmail gave no content."}


def test_fetch_of_a_text_kept_apart_brings_it(harness: GmailHarness) -> None:
    body = "A long line of text. " * 60_000
    harness.deliver(b"Message-ID: <big@contract.test>\r\nSubject: big\r\n\r\n" + body.encode())
    [message] = harness.provider().fetch(MAILBOX, harness.provider().list_ids(MAILBOX, "", 10).remote_ids)
    assert message.parsed is not None
    assert message.parsed.text.startswith("A long line of text. A long")
    assert len(message.parsed.text) > 1_000_000


def test_fetch_of_text_in_another_charset_reads_it(harness: GmailHarness) -> None:
    for charset, text in (
        ("iso-2022-jp", "日本語"),
        ("shift_jis", "こんにちは"),
        ("koi8-r", "Привет"),
        ("utf-16", "Ä"),
    ):
        head = f"Message-ID: <{charset}@contract.test>\r\nContent-Type: text/plain; charset={charset}\r\n"
        raw = head.encode() + b"Content-Transfer-Encoding: 8bit\r\n\r\n" + text.encode(charset)
        harness.deliver(raw)
    ids = harness.provider().list_ids(MAILBOX, "", 10).remote_ids
    texts = {message_id_of(m): m.parsed.text for m in harness.provider().fetch(MAILBOX, ids) if m.parsed}
    assert texts[ident("iso-2022-jp")] == "日本語"
    assert texts[ident("shift_jis")] == "こんにちは"
    assert texts[ident("koi8-r")] == "Привет"


def test_folders_name_user_labels(harness: GmailHarness) -> None:
    harness.simulator.deliver(ADA, mail("a"), labels=["INBOX", "Clients/Ünal"])
    folders = {folder.remote_id: folder for folder in harness.provider().folders()}
    [label] = [folder for folder in folders.values() if folder.name == "Clients/Ünal"]
    assert label.role == ""
    assert {"UNREAD", "STARRED"}.isdisjoint(folders)
    ids = harness.provider().list_ids(MAILBOX, "", 10).remote_ids
    [message] = harness.provider().fetch(MAILBOX, ids)
    assert set(message.state.folder_ids) == {"INBOX", label.remote_id}
    [[state]] = harness.provider().states(MAILBOX)
    assert state == message.state


def test_states_ask_for_no_message(harness: GmailHarness) -> None:
    harness.simulator.deliver_many(ADA, [{"raw": mail(f"m{number}")} for number in range(1100)])
    provider = harness.provider()
    harness.simulator.clear_ledger()
    chunks = list(provider.states(MAILBOX))
    assert [len(chunk) for chunk in chunks] == [500, 500, 100]
    assert set(harness.simulator.summary()) == {"gmail.users.labels.list", "gmail.users.messages.list"}


def test_states_cut_off_in_the_middle_say_so(harness: GmailHarness) -> None:
    harness.simulator.deliver_many(ADA, [{"raw": mail(f"m{number}")} for number in range(10)])
    harness.simulator.fault("status", operation="gmail.users.messages.list", status=503, skip=3, count=1)
    with pytest.raises(ProviderUnavailable):
        list(harness.provider().states(MAILBOX))


def test_changes_come_page_by_page_and_a_page_can_be_repeated(harness: GmailHarness, mirror: Mirror) -> None:
    mirror.sync()
    harness.simulator.deliver_many(ADA, [{"raw": mail(f"m{number}")} for number in range(1200)])
    cursor, pages = mirror.cursors["mailbox"], []
    while True:
        page = harness.provider().changes(MAILBOX, cursor)
        assert harness.provider().changes(MAILBOX, cursor).added == page.added
        pages.append(len(page.added))
        cursor = page.cursor
        if not page.more:
            break
    assert pages == [500, 500, 200]
    assert harness.provider().changes(MAILBOX, cursor).added == ()


def test_changes_while_pages_are_read_are_not_missed(harness: GmailHarness, mirror: Mirror) -> None:
    mirror.sync()
    harness.simulator.deliver_many(ADA, [{"raw": mail(f"m{number}")} for number in range(600)])
    first = harness.provider().changes(MAILBOX, mirror.cursors["mailbox"])
    assert first.more
    mirror.cursors["mailbox"] = first.cursor
    mirror._take(harness.provider(), MAILBOX, first.added)
    harness.remove(message_id_of(next(iter(harness.provider().fetch(MAILBOX, first.added[:1])))))
    harness.set_flags(ident("m1"), read=True)
    mirror.sync()
    mirror.sync()
    assert mirror.view() == harness.truth()


def test_set_flags_takes_a_thousand_at_once(harness: GmailHarness) -> None:
    harness.simulator.deliver_many(ADA, [{"raw": mail(f"m{number}")} for number in range(1500)])
    provider = harness.provider()
    ids = [state.remote_id for chunk in provider.states(MAILBOX) for state in chunk]
    harness.simulator.clear_ledger()
    provider.set_flags(ids, read=True, starred=True)
    provider.set_flags(ids)
    provider.set_flags([], read=True)
    assert harness.simulator.summary() == {"gmail.users.messages.batchModify": {"204": 2}}
    assert {(truth.read, truth.starred) for truth in harness.truth()} == {(True, True)}


def test_send_joins_its_thread_and_tells_what_gmail_kept(harness: GmailHarness) -> None:
    harness.deliver(mail("question"))
    harness.simulator.settings(gmail_rewrites_message_id=True)
    [question] = harness.simulator.mailbox(ADA)["messages"]
    mime = (
        b"From: ada@contract.test\r\nTo: bob@contract.test\r\nSubject: Re: About question\r\n"
        b"Message-ID: <answer@contract.test>\r\nX-Patchbay-Message-ID: <answer@contract.test>\r\n"
        b"References: <question@contract.test>\r\n\r\nYes.\r\n"
    )
    sent = harness.provider().send(
        OutgoingMail(ident("answer"), ADA, (BOB,), mime, thread_remote_id=question["thread_id"])
    )
    assert sent.thread_remote_id == question["thread_id"]
    assert sent.message_id.endswith("@mail.gmail.com")
    assert sent.filed
    assert harness.provider().find_sent(sent.message_id) == sent
    assert harness.provider().find_sent(ident("answer")) == sent
    assert harness.provider().find_sent(ident("other")) is None


def test_send_into_a_thread_that_is_gone_goes_without_it(harness: GmailHarness) -> None:
    letter = OutgoingMail(ident("late"), ADA, (BOB,), mail("late"), thread_remote_id="1234abcd")
    sent = harness.provider().send(letter)
    assert sent.thread_remote_id not in ("", "1234abcd")
    assert len(harness.outbox()) == 1


def test_send_of_a_large_mail_goes_by_upload_and_arrives_whole(harness: GmailHarness) -> None:
    raw = mail("large", attachment=bytes(range(256)) * 20_000)
    letter = OutgoingMail(ident("large"), ADA, (BOB, CAROL), raw, bcc=(CAROL,))
    sent = harness.provider().send(letter)
    [entry] = harness.simulator.ledger(operation="gmail.users.messages.send")
    assert entry["target"].startswith("/upload/gmail/v1/")
    [(recipients, arrived)] = harness.outbox()
    assert recipients == {BOB, CAROL}
    assert arrived.endswith(raw)
    assert sent.message_id == ident("large")


def test_send_of_a_mail_too_large_for_gmail_is_refused_here(harness: GmailHarness) -> None:
    with pytest.raises(ProviderRejected) as refusal:
        harness.provider().send(OutgoingMail(ident("huge"), ADA, (BOB,), b"x" * 36_700_161))
    assert refusal.value.code == "message_too_large"
    assert harness.simulator.sent() == []


def test_send_whose_answer_cannot_be_read_again_keeps_our_message_id(harness: GmailHarness) -> None:
    harness.simulator.fault("status", operation="gmail.users.messages.get", status=503)
    sent = harness.provider().send(outgoing("kept", ADA))
    assert sent.message_id == ident("kept")
    assert sent.remote_id


def test_find_sent_that_cannot_be_sure_does_not_say_no(harness: GmailHarness) -> None:
    harness.provider().send(outgoing("first", ADA))
    for kind in ("garbage", "status", "merge"):
        rule = {"body": {"payload": None}} if kind == "merge" else {}
        harness.simulator.fault(kind, operation="gmail.users.messages.get", **rule)
        with pytest.raises(ProviderUnavailable):
            harness.provider().find_sent(ident("second"))
        harness.simulator.clear_faults()


@pytest.mark.parametrize("rewritten", [False, True])
@pytest.mark.parametrize("status", [500, 503])
def test_send_that_was_taken_although_gmail_failed_is_found(
    harness: GmailHarness, status: int, rewritten: bool
) -> None:
    harness.simulator.settings(gmail_rewrites_message_id=rewritten)
    harness.simulator.fault("status", operation="gmail.users.messages.send", status=status, effect=True, count=1)
    provider = harness.provider()
    with pytest.raises(ProviderUnavailable) as failure:
        provider.send(outgoing("taken", ADA))
    assert failure.value.code == "provider_outcome_unknown"
    found = provider.find_sent(ident("taken"))
    assert found is not None
    assert len(harness.simulator.sent()) == 1


def test_attachment_of_a_message_within_the_message_is_cut_out(harness: GmailHarness) -> None:
    inner = b"Subject: inner\r\n\r\nInside.\r\n"
    raw = (
        b'Message-ID: <outer@contract.test>\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n'
        b"--b\r\nContent-Type: text/plain\r\n\r\nSee below.\r\n"
        b"--b\r\nContent-Type: message/rfc822\r\n\r\n" + inner + b"\r\n--b--\r\n"
    )
    harness.deliver(raw)
    provider = harness.provider()
    [message] = provider.fetch(MAILBOX, provider.list_ids(MAILBOX, "", 10).remote_ids)
    assert message.parsed is not None
    [attached] = message.parsed.attachments
    assert b"Inside." in provider.attachment(message.state.remote_id, attached.part_id)


@pytest.mark.parametrize("kind", REPORTS)
def test_fetch_of_a_delivery_report_brings_what_it_says(harness: GmailHarness, kind: str) -> None:
    harness.deliver(report(kind, "lunch@contract.test"))
    ids = harness.provider().list_ids(MAILBOX, "", 10).remote_ids
    [message] = harness.provider().fetch(MAILBOX, ids)
    assert message.parsed is not None
    assert message.parsed.report is not None
    assert "lunch@contract.test" in message.parsed.report.original_ids
    assert "bob@example.com" in {a for failed in message.parsed.report.recipients for a in failed.addresses}


def test_calls_with_a_dead_token_ask_for_the_user(harness: GmailHarness) -> None:
    harness.deliver(mail("a"))
    provider = harness.provider()
    ids = provider.list_ids(MAILBOX, "", 10).remote_ids
    harness.simulator.expire_tokens()
    for call in (
        provider.folders,
        lambda: list(provider.fetch(MAILBOX, ids)),
        lambda: provider.send(outgoing("x", ADA)),
    ):
        with pytest.raises(ProviderAuthError):
            call()


def test_calls_beyond_what_was_granted_say_which_scope_is_missing(harness: GmailHarness) -> None:
    harness.deliver(mail("a"))
    token = access_token(harness.simulator, ADA, "https://www.googleapis.com/auth/gmail.readonly")
    provider = gmail_at(harness.simulator, ADA, token)
    ids = provider.list_ids(MAILBOX, "", 10).remote_ids
    with pytest.raises(ProviderRejected) as refusal:
        provider.set_flags(ids, read=True)
    assert refusal.value.code == "missing_scope"
