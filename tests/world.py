"""A world to look at from outside: somebody's mailbox with one of everything, each row carrying the owner's mark.

Used by the tests that ask who sees what (`test_tenancy`), what leaks (`test_secrets`) and whether answers have the
documented shape (`test_email_openapi`). A mark that turns up in an answer to somebody else is a leak.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import connection as database
from django.db import transaction
from django.utils import timezone
from rest_framework.test import APIClient

from core.work import WorkStatus
from email_sync.models import Attachment, Folder, LocalChange, Message, Submission, Thread
from email_sync.tests.factories import MessageFactory, connect
from email_sync.tests.memory import Mailbox, Memory
from integrations.models import Connection, OAuthState, SyncCursor, SyncRun
from workspaces.models import ApiToken, AuditEvent, Membership, Role
from workspaces.services import tokens
from workspaces.tests.factories import WorkspaceFactory
from workspaces.tests.fixtures import Actor, client_for, make_actor

ATTACHED = """From: {mark} <ada@example.com>
To: bob@example.com
Subject: {mark}
Message-ID: <{mark}@contract.test>
Date: Thu, 01 Jan 2026 10:00:00 +0000
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=x

--x
Content-Type: text/plain

{mark}
--x
Content-Type: text/plain; name="{mark}.txt"
Content-Disposition: attachment; filename="{mark}.txt"

{mark}
--x--
"""


@dataclass(frozen=True)
class World:
    """One of everything that belongs to one actor."""

    actor: Actor
    mark: str
    connection: Connection
    message: Message
    thread: Thread
    attachment: Attachment
    submission: Submission
    run: SyncRun
    membership: Membership
    token: ApiToken

    def ids(self) -> set[str]:
        """Ids of rows nobody else may be shown. A membership's is no secret of its member's."""
        rows = (self.connection, self.message, self.thread, self.attachment, self.submission, self.run, self.token)
        return {str(row.pk) for row in rows}


def make_world(actor: Actor, mark: str) -> World:
    """A mailbox in memory with a mail in it, and rows around it. The `memory` provider must be in place."""
    connection = connect(actor, f"{mark}@contract.test", display_name=mark, last_error_code="")
    box = Memory.mailboxes[connection.account_email] = Mailbox()
    stored = box.append(ATTACHED.format(mark=mark).replace("\n", "\r\n").encode(), "inbox")
    message = MessageFactory(
        connection=connection,
        remote_id=stored.remote_id,
        subject=mark,
        from_name=mark,
        snippet=mark,
        has_attachments=True,
        thread__subject=mark,
        body={"text": mark, "html": f"<p>{mark}</p>", "headers": [["Subject", mark]]},
    )
    attachment = Attachment.objects.create(
        message=message, part_id="2", file_name=f"{mark}.txt", content_type="text/plain", size=len(mark)
    )
    Folder.objects.create(connection=connection, remote_id="inbox", name=mark, role="inbox")
    SyncCursor.objects.create(connection=connection, type="email", stream="inbox", cursor=mark)
    OAuthState.objects.create(
        workspace=actor.workspace, user=actor.user, provider="google", state_digest=f"digest-{mark}",
        session={"state": mark}, expires_at=timezone.now() + timedelta(minutes=5),
    )  # fmt: skip
    LocalChange.objects.create(connection=connection, message=message, kind="read", value=True)
    return World(
        actor=actor,
        mark=mark,
        connection=connection,
        message=message,
        thread=message.thread,
        attachment=attachment,
        submission=_submission(connection, mark),
        run=_run(connection, mark),
        membership=actor.membership,
        token=tokens.issue(by=None, membership=actor.membership, name=mark).row,
    )


def _submission(connection: Connection, mark: str) -> Submission:
    return Submission.objects.create(
        connection=connection,
        stage="sent",
        message_id=f"{mark}-sent@contract.test",
        sender=mark,
        recipients=[f"{mark}@example.com"],
        subject=mark,
    )


def _run(connection: Connection, mark: str) -> SyncRun:
    return SyncRun.objects.create(
        connection=connection, type="email", status=WorkStatus.FAILED, error_code="x", error_message=mark
    )


def tables(*, without: tuple[str, ...] = ()) -> list[str]:
    """Every table of the database."""
    with database.cursor() as cursor:
        names = database.introspection.table_names(cursor)
    return sorted(set(names) - set(without))


def fingerprint(*, without: tuple[str, ...] = ("django_session", "cache_entries")) -> dict[str, Any]:
    """Table → (rows, digest of all rows): two that are equal mean that nothing was written. Sessions and counters of
    requests are left out: being refused may leave a message and counts as a call."""
    selects = [
        f"SELECT '{name}', count(*), md5(coalesce(string_agg(md5(row::text), '' ORDER BY md5(row::text)), ''))"
        f' FROM "{name}" AS row'
        for name in tables(without=without)
    ]
    with database.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(selects))
        return {name: (rows, digest) for name, rows, digest in cursor.fetchall()}


@dataclass(frozen=True)
class People:
    """Everybody who may come by, each with a world of their own."""

    worlds: Mapping[str, World]
    spare: World
    """Of one more member of the workspace, whom nobody calls as."""
    strangers: Mapping[str, APIClient]
    """Those without a token that is good now."""

    def others(self, name: str) -> dict[str, World]:
        return {other: world for other, world in self.worlds.items() if other != name}


def make_people() -> People:
    workspace = WorkspaceFactory()
    actors = {role.lower(): make_actor(workspace=workspace, role=role) for role in Role.values}
    actors["outsider"] = make_actor(role=Role.OWNER)
    actors["elsewhere"] = make_actor(role=Role.OWNER, user=actors["member"].user)
    worlds = {name: make_world(actor, f"mark-of-{name}-") for name, actor in actors.items()}
    for name in ("owner", "outsider"):
        home = actors[name].workspace
        AuditEvent.objects.create(workspace=home, action="x", changes={"of": f"trail-{home.pk}"})
    for actor in actors.values():
        actor.client.get("/api/tokens")  # the first use of a token is noted on it
    return People(worlds, make_world(make_actor(workspace=workspace), "mark-of-spare-"), _strangers(actors["member"]))


def _strangers(member: Actor) -> dict[str, APIClient]:
    expired, revoked = (tokens.issue(by=None, membership=member.membership, name=name) for name in ("old", "gone"))
    type(expired.row).objects.filter(pk=expired.row.pk).update(expires_at=timezone.now())
    type(revoked.row).objects.filter(pk=revoked.row.pk).update(revoked_at=timezone.now())
    removed = make_actor(workspace=member.workspace)
    removed.membership.delete()
    inactive = make_actor(workspace=member.workspace)
    type(inactive.user).objects.filter(pk=inactive.user.pk).update(is_active=False)
    basic = APIClient()
    basic.credentials(HTTP_AUTHORIZATION="Basic b3duZXI6b3duZXI=")
    signed_in = APIClient()
    signed_in.force_login(member.user, backend="django.contrib.auth.backends.ModelBackend")
    return {
        "anonymous": APIClient(),
        "with an expired token": client_for(expired.text),
        "with a revoked token": client_for(revoked.text),
        "removed": removed.client,
        "inactive": inactive.client,
        "with half a token": client_for(member.token[:-1]),
        "with another scheme": basic,
        "with a session of the console": signed_in,
    }


@contextmanager
def tried() -> Iterator[None]:
    """What is done inside is undone."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)
