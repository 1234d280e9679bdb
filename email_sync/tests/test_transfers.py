"""Export and import of a mailbox: every byte out, nothing in twice, nothing to the provider, and kills cost nothing."""

from __future__ import annotations

import base64
import tracemalloc
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection

from core.errors import ProviderAuthError, ProviderUnavailable
from email_sync import mbox
from email_sync.models import (
    Attachment,
    Excluded,
    ImportedSource,
    LocalChange,
    MailTransfer,
    Message,
    TransferChunk,
)
from email_sync.services import exporting, importing, transfers
from email_sync.tests.conftest import Account
from email_sync.tests.contract import ident, mail
from email_sync.tests.test_engine import check_counters, fill
from email_sync.tests.test_scope import wish
from integrations.models import Connection, Event, SyncCursor
from workspaces.models import AuditEvent
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db

PREFIX = "/api/v1/integrations/email"


def begun(account: Account, actor: Actor) -> MailTransfer:
    response = actor.client.post(f"{PREFIX}/export/{account.connection.pk}")
    assert response.status_code == 201, response.content
    return MailTransfer.objects.get(pk=response.json()["id"])


def finished(transfer: MailTransfer, seconds: float = 30.0) -> MailTransfer:
    """Work until there is nothing to do at once."""
    work = exporting.work if transfer.kind == "export" else importing.work
    while work(transfer.pk, seconds=seconds):
        pass
    transfer.refresh_from_db()
    return transfer


def exported(account: Account, actor: Actor) -> list[bytes]:
    """The messages of an export's file."""
    done = finished(begun(account, actor))
    assert done.status == "done", done.error_message
    response = actor.client.get(f"{PREFIX}/exports/{done.pk}/file")
    assert response.status_code == 200
    data = b"".join(response)
    assert len(data) == int(response.headers["Content-Length"]) == done.size
    return [entry.raw or b"" for entry in mbox.entries(lambda at, size: data[at : at + size])] if data else []


def upload(account: Account, actor: Actor, data: bytes, kind: str = "application/mbox") -> Any:
    return actor.client.post(f"{PREFIX}/import/{account.connection.pk}", data, content_type=kind)


def imported(account: Account, actor: Actor, data: bytes) -> Any:
    """A whole import, as the API shows it at the end."""
    response = upload(account, actor, data)
    assert response.status_code == 201, response.content
    done = finished(MailTransfer.objects.get(pk=response.json()["id"]))
    return actor.client.get(f"{PREFIX}/imports/{done.pk}").json()


def box_of(*raws: bytes) -> bytes:
    return b"".join(mbox.entry(raw, "a@b.test", mbox.datetime(2024, 2, 3, 4, 5, 6, tzinfo=mbox.UTC)) for raw in raws)


# --- export -------------------------------------------------------------------------------------------------------


def test_export_has_every_message_as_the_provider_has_it(account: Account, member: Actor) -> None:
    fill(account.box, 70)
    account.box.append(mail("odd", body="From me at 10:00\n>From you\n"), "archive")
    account.box.append(b"Message-ID: <raw@contract.test>\r\nSubject: \xff\r\n\r\n\x80\x81\r\n", "Clients")
    account.sync()
    found = exported(account, member)
    assert sorted(found) == sorted(mbox.canonical(stored.raw) for stored in account.box.messages.values())


def test_export_while_one_is_under_way_is_that_one(account: Account, member: Actor) -> None:
    fill(account.box, 3)
    account.sync()
    first = begun(account, member)
    again = member.client.post(f"{PREFIX}/export/{account.connection.pk}")
    assert (again.status_code, again.json()["id"]) == (200, str(first.pk))
    assert AuditEvent.objects.filter(action="connection.mail_exported").count() == 1
    finished(first)
    assert begun(account, member).pk != first.pk


def test_export_in_many_slices_with_a_killed_worker_has_each_message_once(
    account: Account, member: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "PIECE_BYTES", 500)
    fill(account.box, 12)
    account.sync()
    transfer = begun(account, member)
    assert exporting.work(transfer.pk, seconds=-1)
    assert MailTransfer.objects.claim(transfer.pk, lease_seconds=-1) is not None  # and dies
    assert finished(transfer, seconds=-1).done == 12
    data = b"".join(transfer.content())
    ids = [entry.raw for entry in mbox.entries(lambda at, size: data[at : at + size])]
    assert len(ids) == len(set(ids)) == 12
    assert transfer.chunks > 3


def test_export_of_what_the_provider_no_longer_has_is_rebuilt_and_says_so(account: Account, member: Actor) -> None:
    account.box.append(mail("gone", subject="Grüße", body="Guten Morgen", attachment=b"x"), "inbox")
    account.sync()
    account.box.messages.clear()
    [raw] = exported(account, member)
    text = raw.decode()
    assert "X-Patchbay: rebuilt from what is stored; the provider no longer gives this message" in text
    assert "X-Patchbay-Missing: gone.bin" in text
    assert "Subject: Grüße" in text
    assert "Guten Morgen" in text
    assert f"Message-ID: <{ident('gone')}>" in text
    assert MailTransfer.objects.get().rebuilt == 1


@pytest.mark.parametrize("why", ["disconnected", "needs sign-in", "refused"])
def test_export_of_an_account_that_lets_us_in_no_more_is_what_is_stored(
    account: Account, member: Actor, why: str
) -> None:
    fill(account.box, 2)
    account.sync()
    if why == "refused":

        def refuse(name: str) -> None:
            raise ProviderAuthError

        account.box.before_call = refuse
    elif why == "disconnected":
        member.client.delete("/api/v1/integrations/oauth/imap")
    else:
        Connection.objects.update(needs_reauth=True)
    found = exported(account, member)
    assert len(found) == 2
    assert all(b"X-Patchbay: rebuilt" in raw and b"could not be asked" in raw for raw in found)


def test_rebuilt_mail_of_a_strangers_words_has_no_header_of_theirs(account: Account, member: Actor) -> None:
    account.box.append(mail("evil"), "inbox")
    account.sync()
    Message.objects.update(subject="a\r\nBcc: x@y", from_name='"\r\nX-Evil: 1', message_id="a\r\nX-More: 2")
    account.box.messages.clear()
    [raw] = exported(account, member)
    head = raw.partition(b"\r\n\r\n")[0].split(b"\r\n")
    assert not [line for line in head if line.startswith((b"Bcc", b"X-Evil", b"X-More"))]


def test_export_while_the_provider_is_away_waits_and_goes_on(account: Account, member: Actor) -> None:
    fill(account.box, 3)
    account.sync()

    def fail(name: str) -> None:
        raise ProviderUnavailable

    account.box.before_call = fail
    transfer = finished(begun(account, member))
    assert (transfer.status, transfer.error_code, transfer.done) == ("queued", "provider_unavailable", 0)
    account.box.before_call = lambda name: None
    MailTransfer.objects.update(next_attempt_at=transfer.created_at)
    assert finished(transfer).done == 3


def test_export_of_a_metadata_only_mailbox_holds_no_text(account: Account, member: Actor) -> None:
    account.box.append(mail("quiet", body="zanzibar"), "inbox")
    wish(account, member, metadataOnly=True)
    account.sync()
    [raw] = exported(account, member)
    assert b"zanzibar" not in raw
    assert b"rebuilt from metadata" in raw


def test_export_before_it_is_done_and_after_it_expired_has_no_file(account: Account, member: Actor) -> None:
    fill(account.box, 2)
    account.sync()
    transfer = begun(account, member)
    path = f"{PREFIX}/exports/{transfer.pk}/file"
    assert member.client.get(path).json()["error"]["code"] == "not_ready"
    finished(transfer)
    MailTransfer.objects.update(expires_at=transfer.created_at)
    transfers.forget_old()
    assert member.client.get(path).json()["error"]["code"] == "expired"
    assert not TransferChunk.objects.exists()


def test_export_that_is_cancelled_stops_and_leaves_no_file(account: Account, member: Actor) -> None:
    fill(account.box, 2)
    account.sync()
    transfer = begun(account, member)
    assert member.client.delete(f"{PREFIX}/exports/{transfer.pk}").status_code == 204
    assert not exporting.work(transfer.pk)
    shown = member.client.get(f"{PREFIX}/exports/{transfer.pk}").json()
    assert (shown["status"], shown["error"]["code"]) == ("failed", "cancelled")
    assert member.client.delete(f"{PREFIX}/exports/{transfer.pk}").status_code == 204
    assert not MailTransfer.objects.exists()


# --- import -------------------------------------------------------------------------------------------------------

LETTER = mail("letter", subject="Plans", body="zanzibar", attachment=b"bytes of it")


def test_import_is_threaded_found_counted_and_read(account: Account, member: Actor) -> None:
    account.box.append(mail("first"), "inbox")
    account.sync()
    reply = LETTER.replace(b"Subject:", f"In-Reply-To: <{ident('first')}>\r\nSubject:".encode())
    own = mail("own").replace(b"Ada <ada@contract.test>", b"ADA@contract.test")
    answer = imported(account, member, box_of(reply, own))
    assert (answer["status"], answer["stored"], answer["skipped"], answer["refused"]) == ("done", 2, 0, 0)
    assert answer["progress"] == {"done": 2, "total": 2}
    [row] = member.client.get(f"{PREFIX}/inbox?folder=all&q=zanzibar").json()["data"]
    assert (row["folders"], row["isRead"], row["receivedAt"]) == (["sent"], True, "2024-02-03T04:05:06.000Z")
    thread = member.client.get(f"{PREFIX}/thread/{row['threadId']}").json()
    assert {email["messageId"] for email in thread["emails"]} == {ident("first"), ident("letter")}
    assert not TransferChunk.objects.exists()
    check_counters(account)


def test_import_takes_memory_by_its_messages_and_not_by_its_file(account: Account, member: Actor) -> None:
    """docs/mail.md says how much: seven times a message, of those that are stored together."""
    head, _, rest = mail("large", attachment=b"mark").partition(base64.b64encode(b"mark"))
    body, peaks = base64.encodebytes(bytes(3 * 1024**2)).replace(b"\n", b"\r\n"), []
    for count in (3, 3, 12):
        letters = [
            head.replace(b"large", f"large{len(peaks)}-{number}".encode()) + body + rest for number in range(count)
        ]
        assert upload(account, member, box_of(*letters)).status_code == 201
        transfer = MailTransfer.objects.latest("id")
        tracemalloc.start()
        done = finished(transfer)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert (done.status, done.stored) == ("done", count)
    together = importing.TOGETHER_BYTES + len(letters[0])
    assert peaks[2] < peaks[1] * 1.2, peaks
    assert peaks[2] < 7 * together, peaks


def test_import_again_stores_nothing_twice(account: Account, member: Actor) -> None:
    for data in (box_of(LETTER, LETTER), LETTER, LETTER.replace(b"\r\n", b"\n")):
        imported(account, member, data)
    assert Message.objects.count() == ImportedSource.objects.count() == 1
    assert list(MailTransfer.objects.order_by("created_at").values_list("stored", "skipped")) == [
        (1, 1),
        (0, 1),
        (0, 1),
    ]


@pytest.mark.parametrize("data", [b'{"subject": "x"}', b"\x00\x01\x02" * 100, b"Dear Ada,\n\nSubject: no header\n"])
def test_import_of_what_is_no_mail_stores_nothing_and_says_why(account: Account, member: Actor, data: bytes) -> None:
    answer = imported(account, member, data)
    assert (answer["stored"], answer["refused"]) == (0, 1)
    assert answer["problems"] == [{"number": 1, "reason": "It is no mail: it has none of a mail's headers."}]
    assert not Message.objects.exists()


def test_import_of_its_own_export_adds_nothing(account: Account, member: Actor) -> None:
    fill(account.box, 20)
    account.sync()
    transfer = finished(begun(account, member))
    answer = imported(account, member, b"".join(transfer.content()))
    assert (answer["stored"], answer["skipped"]) == (0, 20)
    assert Message.objects.count() == 20


def test_import_is_nothing_to_syncs_comparisons_and_the_provider(account: Account, member: Actor) -> None:
    fill(account.box, 3)
    fill(account.box, 3, "import")  # a folder of that name
    account.sync()
    imported(account, member, LETTER)
    message = Message.objects.get(message_id=ident("letter"))
    for path, body in (("star", {"starred": True}), ("read", {"read": False}), ("archive", {"archived": True})):
        answer = member.client.patch(f"{PREFIX}/{message.pk}/{path}", body).json()
        assert answer["pendingChanges"] == []
    bulk = {"ids": [str(message.pk)], "action": "unstar"}
    assert member.client.post(f"{PREFIX}/bulk", bulk).json()["updated"] == 1
    assert not LocalChange.objects.exists()
    calls = set(account.box.calls)
    SyncCursor.objects.update(reconcile=True)
    account.box.renumber()
    account.sync()
    assert not set(account.box.calls) - calls - {"states", "fetch", "changes"}
    message.refresh_from_db()
    assert (message.removed_at, message.in_archive, message.is_read, message.is_starred) == (None, True, False, False)
    account.box.messages = {i: s for i, s in account.box.messages.items() if s.folder != "import"}
    account.sync()
    message.refresh_from_db()
    assert message.removed_at is None


def test_imported_mail_makes_way_for_the_same_one_from_the_provider(account: Account, member: Actor) -> None:
    alone = mail("alone")
    imported(account, member, box_of(LETTER, alone))
    account.box.append(LETTER, "inbox")
    account.sync()
    rows = dict(Message.objects.values_list("message_id", "stream"))
    assert rows == {ident("letter"): "inbox", ident("alone"): "import"}
    assert ImportedSource.objects.count() == 1
    check_counters(account)
    assert imported(account, member, box_of(LETTER, alone))["skipped"] == 2


def test_import_is_no_mail_that_was_received_just_now(account: Account, member: Actor) -> None:
    account.sync()
    imported(account, member, LETTER.replace(b"05 Jan 2026", b"20 Nov 2099"))
    assert not Event.objects.filter(type="email.received").exists()


def test_attachment_of_an_imported_mail_is_served_from_here(account: Account, member: Actor) -> None:
    imported(account, member, LETTER)
    part = Attachment.objects.select_related("message").get()
    response = member.client.get(f"{PREFIX}/{part.message_id}/attachments/{part.pk}")
    assert response.content == b"bytes of it"
    assert "attachment" not in account.box.calls


def test_texts_and_sources_are_stored_so_that_a_range_costs_a_range() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT attrelid::regclass::text, attname FROM pg_attribute WHERE attstorage = 'e' AND NOT attisdropped"
            " AND attrelid::regclass::text LIKE 'email_sync_%' ORDER BY 1, 2"
        )
        assert cursor.fetchall() == [
            ("email_sync_importedsource", "raw"),
            ("email_sync_messagebody", "headers"),
            ("email_sync_messagebody", "html"),
            ("email_sync_messagebody", "text"),
            ("email_sync_messagesearch", "text"),
            ("email_sync_messagesearch", "words"),
        ]


def test_import_is_exported_with_its_own_bytes(account: Account, member: Actor) -> None:
    imported(account, member, LETTER)
    assert exported(account, member) == [mbox.canonical(LETTER)]


def test_import_keeps_to_the_blocklist_and_to_metadata_only(account: Account, member: Actor) -> None:
    wish(
        account, member, blocklist=["spam.test"], metadataOnly=True, days=1, folders={"rule": "include", "list": ["x"]}
    )
    spam = mail("spam").replace(b"ada@contract.test", b"eve@spam.test")
    answer = imported(account, member, box_of(LETTER, spam))
    assert (answer["stored"], answer["refused"]) == (1, 1)
    assert answer["problems"] == [{"number": 2, "reason": importing.BLOCKED}]
    assert Message.objects.get().body_withheld
    assert not ImportedSource.objects.exists()
    assert Excluded.objects.get().reason == "blocked"


def test_import_of_poison_stores_what_can_be_and_says_what_not(
    account: Account, member: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mbox, "MAX_MESSAGE", 20_000)
    poison = [
        b"\x00\x01\x02",
        b"Subject: \x00nul\r\n\r\n\x00",
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\n" + b"--x\r\n" * 500,
        b"From: " + b"a" * 9000 + b"\r\n\r\n",
        b"",
        mail("large", body="y" * 60_000),
        LETTER,
    ]
    answer = imported(account, member, box_of(*poison))
    assert (answer["status"], answer["progress"]["done"], answer["stored"], answer["refused"]) == ("done", 7, 5, 2)
    assert answer["problems"] == [
        {"number": 5, "reason": importing.EMPTY},
        {"number": 6, "reason": importing.TOO_LARGE},
    ]


def test_import_in_slices_with_a_killed_worker_loses_and_doubles_nothing(
    account: Account, member: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "TOGETHER", 4)
    monkeypatch.setattr(transfers, "CHUNK_BYTES", 1000)
    data = box_of(*(mail(f"m{number}") for number in range(23)))
    transfer = MailTransfer.objects.get(pk=upload(account, member, data).json()["id"])
    assert transfer.chunks > 5
    assert importing.work(transfer.pk, seconds=-1)
    assert MailTransfer.objects.claim(transfer.pk, lease_seconds=-1) is not None  # and dies
    finished(transfer, seconds=-1)
    assert (transfer.status, transfer.done, transfer.stored, transfer.skipped) == ("done", 23, 23, 0)
    assert Message.objects.count() == 23


def test_import_that_is_cancelled_keeps_what_came(
    account: Account, member: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "TOGETHER", 4)
    data = box_of(*(mail(f"m{number}") for number in range(10)))
    transfer = MailTransfer.objects.get(pk=upload(account, member, data).json()["id"])
    importing.work(transfer.pk, seconds=-1)
    assert member.client.delete(f"{PREFIX}/imports/{transfer.pk}").status_code == 204
    assert not importing.work(transfer.pk)
    shown = member.client.get(f"{PREFIX}/imports/{transfer.pk}").json()
    assert (shown["error"]["code"], shown["stored"]) == ("cancelled", 4)
    assert Message.objects.count() == 4


def test_import_by_a_form_is_the_same(account: Account, member: Actor) -> None:
    path = f"{PREFIX}/import/{account.connection.pk}"
    form = {"file": SimpleUploadedFile("a.mbox", box_of(LETTER))}
    response = member.client.post(path, form, format="multipart")
    assert finished(MailTransfer.objects.get(pk=response.json()["id"])).stored == 1
    assert member.client.post(path, {"other": "x"}, format="multipart").json()["error"]["fields"].keys() == {"file"}


def test_import_over_the_limit_or_empty_is_refused_and_leaves_nothing(
    account: Account, member: Actor, settings: Any
) -> None:
    settings.MAIL_IMPORT_MAX_BYTES = 500
    assert upload(account, member, box_of(LETTER)).status_code == 413
    assert upload(account, member, b"").status_code == 400
    assert not MailTransfer.objects.exists()
    assert not TransferChunk.objects.exists()


def test_transfers_of_a_colleague_are_not_found(account: Account, member: Actor, owner: Actor) -> None:
    transfer = begun(account, member)
    for path in (f"exports/{transfer.pk}", f"exports/{transfer.pk}/file", f"imports/{transfer.pk}"):
        assert owner.client.get(f"{PREFIX}/{path}").status_code == 404
    assert member.client.get(f"{PREFIX}/imports/{transfer.pk}").status_code == 404
    assert owner.client.get(f"{PREFIX}/exports").json()["data"] == []
