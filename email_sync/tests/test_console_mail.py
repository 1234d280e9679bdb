"""The console's page of one's own mail: nobody else's is ever there, and a stranger's HTML does nothing."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from core.errors import Conflict
from email_sync.models import Attachment, Message, MessageBody
from email_sync.services import attachments
from email_sync.tests.factories import MessageFactory, ThreadFactory
from integrations.models import Connection
from integrations.tests.factories import ConnectionFactory
from workspaces.models import Role, User
from workspaces.tests.factories import MembershipFactory, WorkspaceFactory
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db
HTML = '<p>Dear <b>Ada</b></p><script>alert(1)</script><img src="https://tracker.example/x.png"><form action="/x">'


def console(user: User) -> Client:
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def page(name: str, *args: object) -> str:
    return reverse(f"admin:email_sync_message_{name}", args=args)


def mailbox(actor: Actor, **columns: Any) -> Connection:
    return ConnectionFactory(user=actor.user, workspace=actor.workspace, **columns)


def mail(connection: Connection, html: str = "", text: str = "", **columns: Any) -> Message:
    thread = ThreadFactory(connection=connection)
    message = MessageFactory(connection=connection, thread=thread, in_inbox=True, **columns)
    MessageBody.objects.update_or_create(message=message, defaults={"html": html, "text": text})
    return message


def test_own_mail_is_listed_searched_and_read(owner: Actor) -> None:
    box = mailbox(owner)
    message = mail(box, HTML, subject="Offer for the <roof>")
    mail(box, subject="Another")
    client = console(owner.user)
    html = client.get(page("changelist")).content.decode()
    assert "Offer for the &lt;roof&gt;" in html
    assert "Another" in html
    assert page("change", message.pk) in html
    letter = client.get(page("change", message.pk)).content.decode()
    assert f'<iframe src="{page("letter", message.pk)}" sandbox ' in letter
    assert "Offer for the &lt;roof&gt;</h2>" in letter
    assert "Dear" not in letter
    assert "1 remote image" in letter


def test_frame_runs_nothing_and_loads_nothing(owner: Actor) -> None:
    message = mail(mailbox(owner), HTML)
    answer = console(owner.user).get(page("letter", message.pk))
    html = answer.content.decode()
    assert "Dear <b>Ada</b>" in html
    assert not any(word in html for word in ("<script", "tracker.example", "<form"))
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("sandbox; default-src 'none'")
    assert "script-src" not in policy
    assert answer.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert "no-store" in answer.headers["Cache-Control"]


def test_mail_without_html_is_shown_as_the_text_it_is(owner: Actor) -> None:
    message = mail(mailbox(owner), text="Dear <Ada>,\n  hello")
    html = console(owner.user).get(page("change", message.pk)).content.decode()
    assert "Dear &lt;Ada&gt;,\n  hello</pre>" in html
    assert "<iframe" not in html


def test_nobody_reads_anothers_mail(owner: Actor, admin: Actor, member: Actor, outsider: Actor) -> None:
    """Not the workspace's owner, not a superuser."""
    theirs = mail(mailbox(member), HTML, subject="Between us")
    file = Attachment.objects.create(message=theirs, part_id="2", content_type="text/plain", file_name="a.txt")
    operator = User.objects.create_superuser(email="root@example.org", password="a long pass phrase")
    MembershipFactory(user=operator, workspace=owner.workspace, role=Role.OWNER)
    for user in (owner.user, admin.user, outsider.user, operator):
        client = console(user)
        listed = client.get(page("changelist"), {"workspace": str(member.workspace.pk), "folder": "all"})
        assert "Between us" not in listed.content.decode()
        for address in (page("change", theirs.pk), page("letter", theirs.pk), page("file", theirs.pk, file.pk)):
            assert client.get(address).status_code in (302, 404)
            assert client.get(address, {"workspace": str(member.workspace.pk)}).status_code in (302, 404)


def test_mail_of_another_workspace_is_shown_where_it_is_asked_for(owner: Actor) -> None:
    other = WorkspaceFactory()
    MembershipFactory(user=owner.user, workspace=other, role=Role.MEMBER)
    mail(mailbox(owner), subject="Of the first")
    message = mail(ConnectionFactory(user=owner.user, workspace=other), subject="Of the other")
    client = console(owner.user)
    html = client.get(page("changelist"), {"workspace": str(other.pk)}).content.decode()
    assert "Of the other" in html
    assert "Of the first" not in html
    assert f"{page('change', message.pk)}?workspace={other.pk}" in html


def test_page_walks_on_and_says_what_it_does_not_understand(owner: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("email_sync.admin.PER_PAGE", 2)
    box = mailbox(owner)
    for number in range(3):
        mail(box, subject=f"Letter {number}")
    client = console(owner.user)
    first = client.get(page("changelist"), {"folder": "all"})
    second = client.get(page("changelist") + first.context["older"])
    assert [len(first.context["rows"]), len(second.context["rows"])] == [2, 1]
    assert second.context["older"] == ""
    assert second.context["newest"]
    wrong = client.get(page("changelist"), {"q": "before:yesterday"})
    assert wrong.status_code == 400
    assert "before" in wrong.context["problem"]
    assert client.get(page("changelist"), {"cursor": "nonsense"}).status_code == 400


def test_list_costs_the_same_for_one_and_for_many(owner: Actor) -> None:
    box = mailbox(owner)
    client = console(owner.user)

    def queries() -> int:
        with CaptureQueriesContext(database) as captured:
            client.get(page("changelist"))
        return len(captured)

    mail(box)
    queries()
    for_one = queries()
    for _ in range(10):
        mail(box)
    assert queries() == for_one


def test_file_is_a_download_and_says_why_where_it_cannot_be_had(owner: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    message = mail(mailbox(owner), HTML)
    file = Attachment.objects.create(message=message, part_id="2", content_type="text/html", file_name="a.html")
    address = page("file", message.pk, file.pk)
    client = console(owner.user)
    assert address in client.get(page("change", message.pk)).content.decode()
    monkeypatch.setattr(attachments, "fetch", lambda **_: (file, b"<script>"))
    given = client.get(address)
    assert given.headers["Content-Disposition"].startswith("attachment")
    assert given.headers["Content-Type"] == "application/octet-stream"

    def gone(**_: Any) -> None:
        raise Conflict("The provider no longer has this attachment.", code="removed")

    monkeypatch.setattr(attachments, "fetch", gone)
    refused = client.get(address)
    assert refused.status_code == 409
    assert "no longer has this attachment" in refused.content.decode()


def test_nothing_is_added_changed_or_deleted(owner: Actor) -> None:
    message = mail(mailbox(owner), HTML)
    client = console(owner.user)
    assert client.get(page("add")).status_code == 403
    assert client.post(page("delete", message.pk), {"post": "yes"}).status_code in (403, 404)
    assert Message.objects.filter(pk=message.pk).exists()
