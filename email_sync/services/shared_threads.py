"""One conversation by its id: the reader's own, or a colleague's that an entity's timeline shows them.

Called by `email/thread/:threadId` and by downloads of what it lists. What is not to be seen answers exactly as what is
not there.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from django.db import transaction

from core.errors import NotFound
from email_sync.models import Message, MessageBody, Thread, ThreadLink
from email_sync.records import ROLES
from email_sync.services.conversations import look
from email_sync.services.linking import entities_of
from email_sync.services.participants import is_shown
from email_sync.services.reading import Detail, thread_details
from email_sync.services.visibility import Access, Mailbox, mailboxes
from integrations.models import Connection
from workspaces.scoping import fetch

if TYPE_CHECKING:
    from workspaces.models import User, Workspace


def find(*, user: User, workspace: Workspace, thread_id: object) -> tuple[Thread, Mailbox]:
    """The thread, following merges, and whose mailbox it is in. NotFound where it is foreign, malformed or missing; of
    a colleague's also where it is linked to no entity or holds nothing to be shown."""
    seen = Connection.objects.seen_by(user=user, workspace=workspace)
    threads = Thread.objects.filter(connection__in=seen).select_related("merged_into", "connection")
    thread = fetch(threads, pk=thread_id)
    while thread.merged_into is not None:
        thread = thread.merged_into
    mailbox = mailboxes(user=user, workspace=workspace, only=[thread.connection_id])[thread.connection_id]
    if mailbox.access != Access.OWN and not _is_shared(thread):
        raise NotFound
    return thread, mailbox


def find_email(*, user: User, workspace: Workspace, email_id: object) -> Message:
    """An email whose attachments somebody may have: their own, or one of a colleague's thread that they see whole."""
    seen = Connection.objects.seen_by(user=user, workspace=workspace)
    email = fetch(Message.objects.filter(connection__in=seen).select_related("connection"), pk=email_id)
    if email.connection.user_id == user.pk:
        return email
    _, mailbox = find(user=user, workspace=workspace, thread_id=email.thread_id)
    if mailbox.access != Access.FULL or not is_shown(email):
        raise NotFound
    return email


def _is_shared(thread: Thread) -> bool:
    linked = entities_of(workspace_id=thread.connection.workspace_id, thread_ids=[thread.pk])
    return thread.shown_at is not None and bool(linked.get(thread.pk))


def details(thread: Thread, mailbox: Mailbox) -> list[Detail]:
    """The messages of a thread, oldest first, as far as its mailbox lets the reader see them."""
    found = thread_details(thread, is_own=mailbox.access == Access.OWN)
    return [_metadata(detail) for detail in found] if mailbox.access == Access.METADATA else found


def _metadata(detail: Detail) -> Detail:
    """Who, when and what about."""
    content = {"snippet": "", "has_attachments": False, "defect": "", "body_withheld": True}
    state = {"is_read": True, "is_starred": False, "pending": []}
    places = {"folder_ids": [], "folder_name": "", **{f"in_{role}": False for role in ROLES}}
    recipients = {**detail.row["recipients"], "bcc": []}
    row = {**detail.row, **content, **state, **places, "recipients": recipients}
    return replace(detail, row=row, body=MessageBody(message_id=row["id"]), attachments=[])


class Decide(Protocol):
    """`linking.link_thread` or `unlink_thread`."""

    def __call__(self, *, thread: Thread, entity_type: str, entity_id: str, by: User) -> tuple[ThreadLink, bool]: ...


def decide(
    *, thread: Thread, how: Decide, workspace: Workspace, entity_type: str, entity_id: str, by: User
) -> tuple[ThreadLink, bool]:
    """Link or unlink a conversation, in every mailbox of it that `by` sees: it is one item to them. The decision about
    this thread, and whether it is a new one."""
    seen = mailboxes(user=by, workspace=workspace)
    [together] = [group for group in look([thread.pk], seen).groups() if thread.pk in group]
    answer = None
    with transaction.atomic():
        for copy in Thread.objects.filter(pk__in=together).order_by("connection_id", "pk"):  # each locks its mailbox
            made = how(thread=copy, entity_type=entity_type, entity_id=entity_id, by=by)
            answer = made if copy.pk == thread.pk else answer
    if answer is None:
        raise NotFound  # it went a moment ago
    return answer
