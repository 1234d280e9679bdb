"""A world to look at from outside: somebody's mailbox with one of everything, each row carrying the owner's mark.

Used by the tests that ask who sees what (`test_tenancy`), what leaks (`test_secrets`) and whether answers have the
documented shape (`test_email_openapi`). A mark that turns up in an answer to somebody else is a leak.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any

from django.db import connection as database
from django.db import transaction
from django.utils import timezone
from rest_framework.test import APIClient

from calendar_sync.models import Calendar, CalendarEvent
from calendar_sync.records import Invited, RemoteResource
from calendar_sync.services import feeds, store
from calendar_sync.tests.factories import make_calendar, remote, write
from core.ids import uuid7
from core.work import WorkStatus
from documents.models import Document, DocumentCopy
from documents.tests.factories import make_document
from email_logs.models import (
    EmailLogEntry,
    EmailLogExport,
    EmailLogMirror,
    EmailLogTable,
    ExportChunk,
    OutgoingEmail,
    PersonalDataErasure,
    Suppression,
)
from email_sync.models import (
    Attachment,
    Folder,
    LocalChange,
    MailTransfer,
    Message,
    Submission,
    Thread,
    TransferChunk,
)
from email_sync.tests.factories import MessageFactory, connect
from email_sync.tests.memory import Mailbox, Memory
from entities.models import AddressMatch, DomainMatch
from integrations.models import (
    Connection,
    Delivery,
    DeliveryAttempt,
    Event,
    Integration,
    OAuthState,
    Purge,
    SyncCursor,
    SyncRun,
)
from integrations.services import subscriptions
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
    draft: Message
    run: SyncRun
    membership: Membership
    token: ApiToken
    match: AddressMatch
    domain_match: DomainMatch
    happening: Event
    export: MailTransfer
    imported: MailTransfer
    calendar: Calendar
    event: CalendarEvent
    unreadable_event: CalendarEvent
    integration: Integration
    delivery: Delivery
    suppression: Suppression
    log_table: EmailLogTable
    log_entry: EmailLogEntry
    log_export: EmailLogExport
    outgoing: OutgoingEmail
    mirror: EmailLogMirror
    erasure: PersonalDataErasure
    document: Document
    copy: DocumentCopy

    def ids(self) -> set[str]:
        """Ids of rows nobody else may be shown. A membership's is no secret of its member's."""
        rows = (
            self.connection,
            self.message,
            self.thread,
            self.attachment,
            self.submission,
            self.draft,
            self.calendar,
            self.event,
            self.unreadable_event,
            self.run,
            self.token,
            self.match,
            self.domain_match,
            self.happening,
            self.export,
            self.imported,
            self.integration,
            self.delivery,
            self.suppression,
            self.log_table,
            self.log_entry,
            self.log_export,
            self.mirror,
            self.erasure,
            self.document,
            self.copy,
        )
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
    Purge.objects.create(  # as if the connection were going
        connection_id=connection.pk, workspace=actor.workspace, user=actor.user, provider=mark, before={mark: 1}
    )
    integration = _integration(actor, mark)
    log_entry = _log_entry(integration, mark)
    calendar, event, unreadable_event = _event(connection, mark)
    feeds.make(membership=actor.membership, shows_private=False, by=actor.user)
    return World(
        actor=actor,
        mark=mark,
        connection=connection,
        message=message,
        thread=message.thread,
        attachment=attachment,
        submission=_submission(connection, mark),
        draft=_draft(connection, box, mark),
        run=_run(connection, mark),
        membership=actor.membership,
        token=tokens.issue(by=None, membership=actor.membership, name=mark).row,
        match=_match(actor, mark),
        domain_match=DomainMatch.objects.create(
            workspace=actor.workspace,
            domain=f"{mark}.example",
            entity_type="company",
            entity_id=mark,
            created_by=actor.user,
        ),
        happening=Event.objects.create(
            workspace=actor.workspace, type="email.sent", connection=connection, user=actor.user, payload={"mark": mark}
        ),
        export=_transfer(connection, "export", mark),
        imported=_transfer(connection, "import", mark),
        integration=integration,
        calendar=calendar,
        event=event,
        unreadable_event=unreadable_event,
        delivery=_delivery(integration, mark),
        log_table=log_entry.table,
        log_entry=log_entry,
        log_export=_log_export(log_entry.table, actor, mark),
        suppression=Suppression.objects.create(
            workspace=actor.workspace, address=f"{mark}@people.example", reason="manual", words=mark
        ),
        outgoing=OutgoingEmail.objects.create(
            entry_id=log_entry.pk, workspace=actor.workspace, table=log_entry.table, error_code=mark
        ),
        mirror=EmailLogMirror.objects.create(integration=integration, trigger="manual", error_message=mark),
        erasure=PersonalDataErasure.objects.create(
            workspace=actor.workspace, created_by=actor.user, mark=mark, status=WorkStatus.DONE
        ),
        document=make_document(
            actor, file_name=f"{mark}.txt", reason=mark, reason_text=mark, entity_type="contact", entity_id="42"
        ),
        copy=DocumentCopy.objects.create(
            integration=integration,
            started_by=actor.user,
            action="copy_document",
            status=WorkStatus.FAILED,
            given={"documentId": mark},
            result={"name": mark},
            error_message=mark,
        ),
    )


def _event(connection: Connection, mark: str) -> tuple[Calendar, CalendarEvent, CalendarEvent]:
    """A calendar; an event with somebody every other owner meets too; and one that nobody could read."""
    calendar = make_calendar(connection, mark, remote_id=f"/{mark}/")
    person = Invited(f"{mark}@example.com", mark)
    made = remote(mark, uid=f"{mark}@contract.test", description=mark, location=mark, attendees=(person,))
    write(calendar, made)
    store.write(calendar=calendar, resources=[RemoteResource(f"/{mark}.ics", mark, mark, problem=mark)])
    events = CalendarEvent.objects.filter(calendar=calendar)
    return calendar, events.get(problem=""), events.get(problem=mark)


def _integration(actor: Actor, mark: str) -> Integration:
    """To an address that may not be reached."""
    return Integration.objects.create(
        workspace=actor.workspace,
        name=mark,
        type="WEBHOOK",
        config={"url": "https://127.0.0.1:1/"},
        credentials={"credentials": {"secret": f"{mark}-secret"}},
        has_credentials=True,
        credentials_changed_at=timezone.now(),
    )


def _log_entry(integration: Integration, mark: str) -> EmailLogEntry:
    table = EmailLogTable.objects.create(workspace=integration.workspace, integration=integration, provider=mark)
    return EmailLogEntry.objects.create(
        workspace=integration.workspace, table=table, to=f"{mark}@example.com", sender=mark, subject=mark, error=mark
    )


def _log_export(table: EmailLogTable, actor: Actor, mark: str) -> EmailLogExport:
    """One that is done."""
    made = EmailLogExport.objects.create(
        table=table, created_by=actor.user, format="csv", filters={"q": mark}, until=timezone.now(), chunks=1,
        size=len(mark), status=WorkStatus.DONE, expires_at=timezone.now() + timedelta(days=1), total=1, done=1,
    )  # fmt: skip
    ExportChunk.objects.create(export=made, number=0, data=mark.encode())
    return made


def _delivery(integration: Integration, mark: str) -> Delivery:
    """One that was given up after one attempt."""
    subscriptions.begin(integration)
    made = Delivery.objects.create(
        workspace_id=integration.workspace_id, integration=integration, event_id=uuid7(), event_type="email.sent",
        event_at=timezone.now(), body=mark, status=WorkStatus.FAILED, attempt_count=1, finished_at=timezone.now(),
    )  # fmt: skip
    DeliveryAttempt.objects.create(delivery=made, number=1, error=mark, excerpt=mark)
    return made


def _match(actor: Actor, mark: str) -> AddressMatch:
    address = f"{mark}@people.example"
    return AddressMatch.objects.create(
        workspace=actor.workspace, address=address, address_key=address, entity_type="contact", entity_id=mark,
        created_by=actor.user,
    )  # fmt: skip


def _transfer(connection: Connection, kind: str, mark: str) -> MailTransfer:
    made = MailTransfer.objects.create(
        connection=connection, kind=kind, status=WorkStatus.DONE, chunks=1, size=len(mark), problems=[[1, mark]]
    )
    TransferChunk.objects.create(transfer=made, number=0, data=mark.encode())
    return made


def _submission(connection: Connection, mark: str) -> Submission:
    return Submission.objects.create(
        connection=connection,
        stage="sent",
        message_id=f"{mark}-sent@contract.test",
        sender=mark,
        recipients=[f"{mark}@example.com"],
        subject=mark,
    )


def _draft(connection: Connection, box: Mailbox, mark: str) -> Message:
    """One that was written elsewhere."""
    raw = (
        f"From: {mark} <{connection.account_email}>\r\nTo: {mark}@example.com\r\nSubject: {mark}\r\n"
        f"Message-ID: <{mark}-draft@contract.test>\r\n\r\n{mark}\r\n"
    )
    stored = box.append(raw.encode(), "drafts", read=True)
    return MessageFactory(
        connection=connection, remote_id=stored.remote_id, stream="drafts", folder_ids=["drafts"], subject=mark,
        in_inbox=False, in_drafts=True, from_email=connection.account_email, from_name=mark, snippet=mark,
        recipients={"to": [["", f"{mark}@example.com"]], "cc": [], "bcc": []},
        thread__subject=mark, message_id=f"{mark}-draft@contract.test", body={"text": mark},
    )  # fmt: skip


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
    database.ensure_connection()
    # Asked thousands of times, and planning it takes longer than the answer: the server keeps the plan.
    rows = database.connection.execute(_fingerprints(without), prepare=True)
    return {name: (count, digest) for name, count, digest in rows}


@cache
def _fingerprints(without: tuple[str, ...]) -> str:
    selects = [
        f"SELECT '{name}', count(*), sum(hashtextextended(row::text, 0)::numeric) FROM \"{name}\" AS row"
        for name in tables(without=without)
    ]
    return " UNION ALL ".join(selects)


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
