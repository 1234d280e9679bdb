"""Gmail against a stand-in that is not ours: `emulate` 0.11.2 from npm, which `make test-services` installs.

What it does otherwise than Gmail (reference 9.1): no profile, no
batch endpoint, history ids of 21 digits that never grow too old, any bearer is taken; its search finds nothing by
rfc822msgid (it compares with the colon), so `find_sent` is not asked here.
"""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import RemoteMissing
from email_sync.providers.base import MailAccount
from email_sync.providers.gmail import Gmail
from email_sync.providers.gmail.provider import MAILBOX
from email_sync.records import ARCHIVE, INBOX, SENT, OutgoingMail, RemoteMessage
from email_sync.tests.contract import ident, mail
from integrations.tests.emulate import program

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(program() is None, reason="emulate is not here; `make test-services` installs it from npm"),
]

ADA = "ada@emulate.test"
MESSAGES = [
    {"id": "msg_one", "label_ids": ["INBOX", "UNREAD"], "date": "2026-01-05T10:00:00Z", "subject": "One"},
    {"id": "msg_two", "label_ids": ["INBOX", "STARRED"], "date": "2026-01-06T10:00:00Z", "subject": "Two: grüße"},
    {"id": "msg_old", "label_ids": [], "date": "2026-01-01T10:00:00Z", "subject": "Old"},
]


@pytest.fixture
def gmail(tmp_path: Path, settings: Any) -> Iterator[Gmail]:
    """A fresh emulator with three messages, and the provider for it."""
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    common = {"user_email": ADA, "from": "bob@x.test", "to": ADA, "body_text": "Hello.\n"}
    seed = {"google": {"users": [{"email": ADA, "name": "Ada"}], "messages": [common | item for item in MESSAGES]}}
    (tmp_path / "seed.yaml").write_text(json.dumps(seed))  # YAML reads JSON
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [str(program()), "start", "--service", "google", "--port", str(port), "--seed", "seed.yaml"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert any(str(port) in line for line in process.stdout), "emulate did not start"
        yield Gmail(MailAccount(ADA, "any", {"gmailApiUrl": f"http://127.0.0.1:{port}"}))
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()  # type: ignore[union-attr]


def walked(gmail: Gmail, limit: int) -> list[str]:
    """The ids of a whole first sync, each once."""
    found: list[str] = []
    token = ""
    while True:
        page = gmail.list_ids(MAILBOX, token, limit)
        found += page.remote_ids
        token = page.next_token
        if not token:
            return list(dict.fromkeys(found))


def fetched(gmail: Gmail, *remote_ids: str) -> dict[str, RemoteMessage]:
    return {found.state.remote_id: found for found in gmail.fetch(MAILBOX, remote_ids)}


def history_now(gmail: Gmail) -> str:
    """A cursor: emulate has no profile, a history of nothing tells it."""
    return gmail.changes(MAILBOX, "9" * 24).cursor


def test_first_sync_finds_every_message_newest_first(gmail: Gmail) -> None:
    assert walked(gmail, 2) == ["msg_two", "msg_one", "msg_old"]
    found = fetched(gmail, *walked(gmail, 2))
    assert {remote_id: (m.state.roles, m.state.is_read, m.state.is_starred) for remote_id, m in found.items()} == {
        "msg_one": ({INBOX}, False, False),
        "msg_two": ({INBOX}, True, True),
        "msg_old": ({ARCHIVE}, True, False),
    }
    two = found["msg_two"].parsed
    assert two is not None
    assert (two.subject, two.sender.email, two.text.strip(), two.defect) == ("Two: grüße", "bob@x.test", "Hello.", "")


def test_states_agree_with_the_messages(gmail: Gmail) -> None:
    states = {state.remote_id: state for chunk in gmail.states(MAILBOX) for state in chunk}
    found = fetched(gmail, *states)
    assert states == {remote_id: message.state for remote_id, message in found.items()}


def test_folders_have_the_roles(gmail: Gmail) -> None:
    assert {folder.role for folder in gmail.folders()} >= {INBOX, SENT}


def test_changes_follow_flags_and_archive(gmail: Gmail) -> None:
    cursor = history_now(gmail)
    gmail.set_flags(["msg_one"], read=True, starred=True)
    state = gmail.set_archived("msg_two", True)
    page = gmail.changes(MAILBOX, cursor)
    touched = {change.remote_id for change in page.updated} | set(page.added)
    assert touched == {"msg_one", "msg_two"}
    found = fetched(gmail, "msg_one", "msg_two")
    assert (found["msg_one"].state.is_read, found["msg_one"].state.is_starred) == (True, True)
    assert found["msg_two"].state == state
    assert all(found[change.remote_id].state == change for change in page.updated)


def test_send_is_filed_and_its_attachment_comes_back(gmail: Gmail) -> None:
    content = bytes(range(256)) * 50
    letter = OutgoingMail(ident("letter"), ADA, ("bob@x.test",), mail("letter", attachment=content))
    sent = gmail.send(letter)
    assert sent.message_id == letter.message_id
    message = fetched(gmail, sent.remote_id)[sent.remote_id]
    assert SENT in message.state.roles
    assert message.parsed is not None
    [attached] = message.parsed.attachments
    assert gmail.attachment(sent.remote_id, attached.part_id) == content


def test_what_is_gone_is_missing(gmail: Gmail) -> None:
    assert fetched(gmail, "msg_none", "msg_one").keys() == {"msg_one"}
    with pytest.raises(RemoteMissing):
        gmail.set_archived("msg_none", True)
    with pytest.raises(RemoteMissing):
        gmail.attachment("msg_none", "1")
