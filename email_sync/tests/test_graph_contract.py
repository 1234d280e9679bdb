"""Graph against the contract of mail providers and against the simulator's truth: ledger, faults, the odd ways of its
deltas."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.errors import (
    CursorExpired,
    ProviderAuthError,
    ProviderOutcomeUnknown,
    ProviderRateLimited,
    ProviderRejected,
    ProviderUnavailable,
    RemoteMissing,
)
from email_sync import composing
from email_sync.parsing.message import attachment, parse
from email_sync.providers.graph import Graph
from email_sync.records import SENT, TRASH, Address, OutgoingMail, Stream
from email_sync.tests.contract import MailProviderContract, Mirror, Truth, ident, mail, message_id_of, outgoing
from email_sync.tests.graph_simulator import GraphHarness, access_token, graph_at
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
def harness(simulator: Simulator) -> GraphHarness:
    return GraphHarness(simulator, ADA, (BOB, CAROL))


@pytest.fixture
def mirror(harness: GraphHarness) -> Mirror:
    return Mirror(harness)


class TestGraphContract(MailProviderContract):
    @pytest.fixture
    def harness(self, simulator: Simulator) -> GraphHarness:
        return GraphHarness(simulator, ADA, (BOB, CAROL))

    def test_fetch_gives_the_bytes_as_delivered_with_an_aware_time(self, harness: GraphHarness) -> None:
        """Exchange makes the mail anew: what it says stays the same."""
        body = "A line.\n.\n..dots\nÄ last line."
        harness.deliver(mail("exact", subject="Grüße", body=body))
        [message] = self.fetch_all(harness)
        parsed = parse(message.raw or b"")
        assert (parsed.subject, parsed.text.strip(), parsed.defect) == ("Grüße", body, "")
        assert (parsed.sender.email, [it.email for it in parsed.to]) == ("ada@contract.test", ["bob@contract.test"])
        assert message.received_at.utcoffset() == timedelta(0)
        assert abs(datetime.now(UTC) - message.received_at) < timedelta(days=1)
        assert message.size > 0
        assert not message.truncated

    def test_fetch_of_odd_mail_hides_nothing(self, harness: GraphHarness) -> None:
        odd = {
            "bytes": b"Subject: \xff\xfe\r\nMessage-ID: <bytes@contract.test>\r\n\r\n\x80\x81\r\n",
            "bare": b"Message-ID: <bare@contract.test>\r\n\r\n",
            "literal": mail("literal", body="{12345}\n* 1 FETCH (UID 1)\n)\nA1 OK done\n"),
            "long": b"Message-ID: <long@contract.test>\r\nSubject: x\r\n\r\n" + b"y" * 70_000 + b"\r\n",
        }
        for raw in odd.values():
            harness.deliver(raw)
        found = {message_id_of(message): parse(message.raw or b"") for message in self.fetch_all(harness)}
        assert set(found) == {ident(name) for name in odd}
        assert found[ident("long")].text == "y" * 70_000
        assert "* 1 FETCH (UID 1)" in found[ident("literal")].text

    def test_raw_is_the_message_as_delivered(self, harness: GraphHarness, mirror: Mirror) -> None:
        """The same words and files in a mail that Exchange made anew; a mail that is gone is missing."""
        content = bytes(range(256)) * 300
        harness.deliver(mail("whole", subject="Grüße", attachment=content))
        mirror.sync()
        with harness.provider() as provider:
            raw = provider.raw(mirror.remote_id(ident("whole")))
            assert parse(raw).subject == "Grüße"
            assert attachment(raw, self.attachment_part) == content
            harness.remove(ident("whole"))
            with pytest.raises(RemoteMissing):
                provider.raw(mirror.remote_id(ident("whole")))


def inbox(provider: Graph) -> Stream:
    return provider.streams(provider.folders())[0]


def collect(provider: Graph, remote_ids: Sequence[str], got: list[str]) -> None:
    """Fetches; what came before an error stays in `got`."""
    for message in provider.fetch(inbox(provider), remote_ids):
        got.append(message.state.remote_id)


# --- the odd ways of deltas ------------------------------------------------------------------------------------------

ODD_WAYS: dict[str, dict[str, Any]] = {
    "kind": {"graph_lost_item_bug": False, "graph_delta_partial": False},
    "repeated": {"graph_delta_repeats": True},
    "replayed": {"graph_delta_replays": 7},
    "empty pages": {"graph_delta_empty_pages": 2},
    "all": {"graph_delta_repeats": True, "graph_delta_replays": 5, "graph_delta_empty_pages": 1},
}


@pytest.mark.parametrize("way", ODD_WAYS)
def test_changes_told_in_odd_ways_keep_the_mirror_true(harness: GraphHarness, mirror: Mirror, way: str) -> None:
    harness.simulator.settings(**ODD_WAYS[way])
    chance = random.Random(20260106)
    for step in range(48):
        MailProviderContract.live(harness, chance, step)
        if step % 4 == 3:
            mirror.sync()
            assert mirror.view() == harness.truth(), f"after step {step}"


def test_changes_told_late_arrive_in_the_end(harness: GraphHarness, mirror: Mirror) -> None:
    harness.deliver(mail("before"))
    mirror.sync()
    harness.simulator.settings(graph_delta_lag_seconds=30.0)
    harness.deliver(mail("after"))
    harness.set_flags(ident("before"), read=True)
    mirror.sync()
    harness.simulator.advance(31)
    mirror.sync()
    assert mirror.view() == harness.truth()


def test_message_that_left_and_came_back_between_two_syncs_is_kept(harness: GraphHarness, mirror: Mirror) -> None:
    """The trap of immutable ids: its folder tells that it was removed, and nothing more for ever (reference 8.33)."""
    for name in ("traveller", "other"):
        harness.deliver(mail(name))
    mirror.sync()
    remote_id = mirror.remote_id(ident("traveller"))
    harness.move(ident("traveller"), TRASH)
    harness.move(ident("traveller"), "inbox")
    for _ in range(3):
        mirror.sync()
        assert mirror.view() == harness.truth()
    assert mirror.remote_id(ident("traveller")) == remote_id


def test_a_lost_cursor_of_one_folder_leaves_the_others_theirs(harness: GraphHarness, mirror: Mirror) -> None:
    harness.deliver(mail("a"))
    harness.deliver(mail("b"), SENT, read=True)
    mirror.sync()
    harness.simulator.expire_delta(harness.email, folder="inbox", status=400, code="syncStateInvalid")
    with harness.provider() as provider:
        first, second = provider.streams(provider.folders())[:2]
        with pytest.raises(CursorExpired):
            provider.changes(first, mirror.cursors[first.key])
        assert provider.changes(second, mirror.cursors[second.key]).updated == ()
    harness.deliver(mail("c"))
    mirror.sync()
    assert mirror.view() == harness.truth()


def test_changes_of_a_full_mailbox_are_found_by_comparing(harness: GraphHarness, mirror: Mirror) -> None:
    harness.deliver(mail("a"))
    mirror.sync()
    for full in ([harness.email], []):
        harness.simulator.settings(graph_full_mailboxes=full)
        harness.deliver(mail(f"b{len(full)}"))
        harness.set_flags(ident("a"), starred=bool(full))
        mirror.sync()
        mirror.sync()
        assert mirror.view() == harness.truth()


# --- folders and listing ---------------------------------------------------------------------------------------------


def test_folders_of_a_mailbox_in_another_language_have_their_roles(simulator: Simulator) -> None:
    names = {"inbox": "Posteingang", "sentitems": "Gesendete Elemente", "deleteditems": "Gelöschte Elemente"}
    harness = GraphHarness(simulator, ADA, (), folder_names=names)
    simulator.create_folder(ADA, "Inbox")
    roles = {folder.name: folder.role for folder in harness.provider().folders()}
    assert {name: roles[name] for name in names.values()} == {
        "Posteingang": "inbox",
        "Gesendete Elemente": "sent",
        "Gelöschte Elemente": "trash",
    }
    assert roles["Inbox"] == ""


def test_folders_of_every_depth_are_streams_and_hidden_ones_are_not(harness: GraphHarness, mirror: Mirror) -> None:
    parent = harness.simulator.create_folder(ADA, "Clients")
    child = harness.simulator.create_folder(ADA, "Ünal", parent=parent["id"])
    harness.simulator.create_folder(ADA, "Secret", hidden=True)
    for number in range(25):
        harness.simulator.create_folder(ADA, f"F{number}", parent=child["id"])
    harness.deliver(mail("deep"), "F7")
    folders = {folder.name for folder in harness.provider().folders()}
    assert {"Clients", "Clients/Ünal", "Clients/Ünal/F24"} <= folders
    assert not [name for name in folders if "Secret" in name]
    mirror.sync()
    assert mirror.view() == harness.truth() == {Truth(ident("deep"), frozenset(), False, False)}


def test_first_sync_of_a_seeded_mailbox_asks_once_per_message(harness: GraphHarness) -> None:
    harness.simulator.seed(ADA, 120, vendor="microsoft")
    with harness.provider() as provider:
        stream = inbox(provider)
        ids = provider.list_ids(stream, "", 100).remote_ids
        harness.simulator.clear_ledger()
        found = list(provider.fetch(stream, ids))
    assert {message.state.remote_id for message in found} == set(ids)
    asked = harness.simulator.summary()
    assert sum(sum(counts.values()) for counts in asked.values()) == len(ids) + -(-len(ids) // 20)


def test_matching_ids_are_those_of_the_people(harness: GraphHarness) -> None:
    harness.deliver(mail("a").replace(b"ada@contract.test", b"eve@crm.test"))
    harness.deliver(mail("b"))
    harness.deliver(mail("c").replace(b"bob@contract.test", b"eve@crm.test"))
    with harness.provider() as provider:
        stream = inbox(provider)
        ids = provider.matching_ids(stream, ["eve@crm.test", "nobody@crm.test"], 10)
        found = {m.state.remote_id: message_id_of(m) for m in provider.fetch(stream, ids)}
        assert [found[remote_id] for remote_id in ids] == [ident("c"), ident("a")]
        assert provider.matching_ids(stream, [], 10) == ()


# --- throttling and refusals -----------------------------------------------------------------------------------------


def test_fetch_throttled_inside_a_batch_yields_the_rest_first(harness: GraphHarness) -> None:
    for number in range(15):
        harness.deliver(mail(f"m{number}"))
    with harness.provider() as provider:
        ids = provider.list_ids(inbox(provider), "", 50).remote_ids
        fault = {"status": 429, "headers": {"Retry-After": "7"}, "skip": 3, "count": 5}
        harness.simulator.fault("status", path=r"/\$value", **fault)
        got: list[str] = []
        with pytest.raises(ProviderRateLimited) as limit:
            collect(provider, ids, got)
        assert limit.value.retry_after == 7
        assert len(got) == 10
        collect(provider, [remote_id for remote_id in ids if remote_id not in got], got)
    assert set(got) == set(ids)


def test_mailbox_over_its_requests_says_how_long(harness: GraphHarness) -> None:
    harness.simulator.settings(graph_requests_per_ten_minutes=3)
    with harness.provider() as provider, pytest.raises(ProviderRateLimited) as limit:
        provider.folders()
    assert limit.value.retry_after >= 1


def test_account_without_a_mailbox_says_so(harness: GraphHarness) -> None:
    harness.simulator.settings(graph_disabled_mailboxes=[ADA])
    with harness.provider() as provider, pytest.raises(ProviderRejected) as rejected:
        provider.folders()
    assert rejected.value.code == "mailbox_unavailable"
    assert "request-id" in rejected.value.message


def test_token_that_is_no_longer_good_says_so(harness: GraphHarness) -> None:
    harness.simulator.expire_tokens(vendor="microsoft")
    with harness.provider() as provider, pytest.raises(ProviderAuthError):
        provider.folders()


def test_permission_that_is_missing_is_named(harness: GraphHarness) -> None:
    token = access_token(harness.simulator, ADA, "openid User.Read Mail.Read")
    harness.deliver(mail("a"))
    with graph_at(harness.simulator, ADA, token) as provider:
        [remote_id] = provider.list_ids(inbox(provider), "", 5).remote_ids
        with pytest.raises(ProviderRejected) as rejected:
            provider.set_flags([remote_id], read=True)
    assert rejected.value.code == "missing_scope"


# --- sending ---------------------------------------------------------------------------------------------------------


def large(*sizes: int) -> OutgoingMail:
    files = [
        composing.OutgoingAttachment(f"file {n}.bin", "application/octet-stream", bytes([n + 1]) * size)
        for n, size in enumerate(sizes)
    ]
    return composing.compose(
        sender=Address("Ada", ADA), to=[BOB], bcc=[CAROL], subject="Large", text="See below.", attachments=files,
        in_reply_to="parent@contract.test",
    )  # fmt: skip


def test_send_of_a_large_mail_arrives_whole_and_keeps_its_headers(harness: GraphHarness, mirror: Mirror) -> None:
    letter = large(1_000, 4_000_000, 2_500_000)
    with harness.provider() as provider:
        sent = provider.send(letter)
        assert provider.find_sent(letter.message_id) == sent
    [(recipients, raw)] = harness.outbox()
    assert recipients == {BOB, CAROL}
    parsed = parse(raw)
    assert (parsed.message_id, parsed.in_reply_to) == (letter.message_id, ("parent@contract.test",))
    assert {attachment(raw, part.part_id) for part in parsed.attachments} == {
        b"\x01" * 1_000,
        b"\x02" * 4_000_000,
        b"\x03" * 2_500_000,
    }
    assert CAROL.encode() not in raw
    mirror.sync()
    assert mirror.remote_id(letter.message_id) == sent.remote_id
    assert [truth.roles for truth in mirror.view()] == [{SENT}]


@pytest.mark.parametrize(
    ("path", "left"),
    [("/me/messages", 0), ("createUploadSession", 0), ("/upload", 0), ("/send", 1)],
)
def test_send_of_a_large_mail_cut_off_at_any_call_leaves_at_most_once(
    harness: GraphHarness, path: str, left: int
) -> None:
    letter = large(4_000_000)
    rule = {"method": "PUT"} if path == "/upload" else {"method": "POST", "path": path}
    harness.simulator.fault("close", effect=True, count=1, **rule)
    with harness.provider() as provider:
        if left:
            with pytest.raises(ProviderOutcomeUnknown):
                provider.send(letter)
        else:
            with pytest.raises(ProviderUnavailable):
                provider.send(letter)
            provider.send(letter)
    assert len(harness.outbox()) == 1
    assert not [item for item in harness.messages() if item["folder"] == "drafts"]


def test_send_whose_copy_comes_late_is_found_then(harness: GraphHarness) -> None:
    harness.simulator.settings(graph_sent_copy_seconds=20.0)
    with harness.provider() as provider:
        sent = provider.send(outgoing("late", ADA))
        assert (sent.filed, sent.remote_id) == (True, "")
        assert provider.find_sent(ident("late")) is None
        harness.simulator.advance(21)
        found = provider.find_sent(ident("late"))
    assert found is not None
    assert found.remote_id


def test_send_whose_message_id_exchange_replaced_is_found_by_ours(harness: GraphHarness) -> None:
    harness.simulator.settings(graph_rewrites_message_id=True)
    with harness.provider() as provider:
        sent = provider.send(outgoing("renamed", ADA))
        assert sent.message_id not in ("", ident("renamed"))
        assert provider.find_sent(ident("renamed")) == sent


def test_draft_with_large_files_is_stored_whole(harness: GraphHarness) -> None:
    with harness.provider() as provider:
        for _ in range(2):
            state = provider.save_draft(large(4_000_000))
        assert len(parse(provider.raw(state.remote_id)).attachments) == 1


def test_aliases_are_the_mailbox_s_own_addresses(simulator: Simulator) -> None:
    harness = GraphHarness(simulator, ADA, (), aliases=["sales@contract.test"])
    assert [address.email for address in harness.provider().aliases()] == [ADA, "sales@contract.test"]
