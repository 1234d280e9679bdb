"""Attachments on their way to being documents: in flat memory where a provider gives them in pieces, else a few large
ones at a time, and never held while the store takes them."""

from __future__ import annotations

import base64
import threading
import tracemalloc
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from documents.models import Document
from documents.storage.local import LocalStore
from email_sync.models import Attachment, ImportedSource, Message
from email_sync.providers import MAIL_PROVIDERS
from email_sync.scope import IMPORT_PREFIX
from email_sync.services import attachments
from email_sync.tests.conftest import Account
from email_sync.tests.contract import mail
from email_sync.tests.factories import connect
from email_sync.tests.memory import Memory
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db

MIB = 1024 * 1024


@pytest.fixture(autouse=True)
def _own_store(settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path


@pytest.fixture
def account(member: Actor, monkeypatch: pytest.MonkeyPatch) -> Account:
    """The member's mailbox, in memory."""
    made = Account(connect(member, "ada@contract.test"))
    monkeypatch.setitem(MAIL_PROVIDERS._loaded, Memory.key, Memory)
    monkeypatch.setattr(Memory, "mailboxes", {made.connection.account_email: made.box})
    return made


class Streaming(Memory):
    """A mailbox whose attachments come in pieces, of a size that nobody holds."""

    attachments_in_pieces = True
    pieces = 1

    def attachment_pieces(self, remote_id: str, part_id: str) -> Iterator[bytes]:
        for number in range(self.pieces):
            yield bytes([number % 256]) * MIB


def saving(account: Account, size: int) -> str:
    """Where the attachment of a synced mail is saved; the mail says that it is so large."""
    account.box.append(mail("file", attachment=b"x" * 100), "inbox")
    account.sync()
    Attachment.objects.update(size=size, content_type="application/x-bench")
    part = Attachment.objects.get()
    return f"/api/v1/integrations/email/{part.message_id}/attachments/{part.pk}/save"


@pytest.fixture
def streaming(account: Account, monkeypatch: pytest.MonkeyPatch) -> Account:
    monkeypatch.setitem(MAIL_PROVIDERS._loaded, Memory.key, Streaming)
    return account


def test_attachment_is_saved_in_flat_memory(streaming: Account, member: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    address, peaks = saving(streaming, MIB), []
    member.client.post(address, {"entityType": "warm", "entityId": "0"})
    for count in (4, 40):
        monkeypatch.setattr(Streaming, "pieces", count)
        tracemalloc.start()
        answer = member.client.post(address, {"entityType": "contact", "entityId": str(count)})
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert (answer.status_code, answer.json()["size"]) == (201, count * MIB), answer.content
    whole = sha256(b"".join(bytes([number]) * MIB for number in range(40))).hexdigest()
    assert Document.objects.get(entity_id="40").sha256 == whole
    assert peaks[1] < peaks[0] * 1.2 + MIB


def test_attachment_that_comes_whole_is_not_held_while_the_store_takes_it(
    account: Account, member: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Memory, "attachment", lambda *_: b"x" * (20 * MIB))
    held, write = [], LocalStore.write

    def watched(self: LocalStore, key: str, chunks: Iterator[bytes], **how: Any) -> None:
        def passing() -> Iterator[bytes]:
            for chunk in chunks:
                held.append(tracemalloc.get_traced_memory()[0])
                yield chunk

        write(self, key, passing(), **how)

    monkeypatch.setattr(LocalStore, "write", watched)
    address = saving(account, 20 * MIB)
    tracemalloc.start()
    answer = member.client.post(address, {"entityType": "contact", "entityId": "1"})
    tracemalloc.stop()
    assert answer.status_code == 201, answer.content
    assert max(held) < 10 * MIB


def test_attachment_of_imported_mail_is_saved_in_flat_memory(account: Account, member: Actor) -> None:
    address, peaks = saving(account, 1), []
    Message.objects.update(remote_id=f"{IMPORT_PREFIX}one")
    for size in (1, 8, 40):
        content = bytes([size]) * (size * MIB)
        ImportedSource.objects.update_or_create(message=Message.objects.get(), defaults={"raw": _mail_of(content)})
        tracemalloc.start()
        answer = member.client.post(address, {"entityType": "contact", "entityId": str(size)})
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert answer.status_code == 201, answer.content
        assert answer.json()["sha256"] == sha256(content).hexdigest()
    assert peaks[2] < peaks[1] + MIB, peaks
    assert peaks[2] < 16 * MIB, peaks


def _mail_of(content: bytes) -> bytes:
    """Shaped like the one that was synced."""
    head, _, rest = mail("file", attachment=b"mark").partition(base64.b64encode(b"mark"))
    return head + base64.encodebytes(content).replace(b"\n", b"\r\n") + rest


@pytest.mark.django_db(transaction=True)
def test_large_attachments_that_come_whole_come_a_few_at_a_time(
    account: Account, member: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    under_way, most, lock = 0, list[int](), threading.Lock()
    two = threading.Event()

    def slowly(*_: object) -> bytes:
        nonlocal under_way
        with lock:
            under_way += 1
            most.append(under_way)
            if under_way == attachments.AT_ONCE:
                two.set()
        two.wait(20)
        with lock:
            under_way -= 1
        return b"x" * 100

    monkeypatch.setattr(Memory, "attachment", slowly)
    address, answers = saving(account, 20 * MIB), list[int]()

    def save(entity: int) -> None:
        answers.append(member.client.post(address, {"entityType": "contact", "entityId": entity}).status_code)
        connections.close_all()

    threads = [threading.Thread(target=save, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert answers == [201] * 5
    assert max(most) == attachments.AT_ONCE


def test_large_attachment_whose_turn_does_not_come_is_503_and_leaves_nothing(
    account: Account, member: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attachments, "TURN_SECONDS", 0.01)
    address = saving(account, 20 * MIB)
    for _ in range(attachments.AT_ONCE):
        attachments._turns.acquire()
    try:
        answer = member.client.post(address, {"entityType": "contact", "entityId": "1"})
    finally:
        attachments._turns.release(attachments.AT_ONCE)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
    assert answer.headers["Retry-After"]
    assert not Document.objects.exists()
