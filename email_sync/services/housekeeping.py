"""What goes after its grace period: messages the provider no longer has, settled changes.

Called once a day by a task. A removed message stays for thirty days, so that a provider's or our own mistake can be
seen and undone by the next sync (the row is taken up again where its content comes back).
"""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from core.ids import oldest_kept
from email_sync.models import ChangeStatus, LocalChange, Message, Thread
from email_sync.services import threads

GRACE_DAYS = 30
CHUNK = 1000


def purge_removed(grace_days: int = GRACE_DAYS) -> int:
    """Delete messages removed longer ago than the grace period, in chunks; how many went."""
    removed = 0
    while chunk := _purge_chunk(grace_days):
        removed += chunk
    return removed


def _purge_chunk(grace_days: int) -> int:
    """Under lock: a sync may take one of them up again at this moment, and then it stays."""
    old = Message.objects.filter(removed_at__lt=Now() - timedelta(days=grace_days))
    with transaction.atomic():
        chunk = list(old.select_for_update(of=("self",)).order_by("id").values_list("pk", "thread_id")[:CHUNK])
        Message.objects.filter(pk__in=[pk for pk, _ in chunk]).delete()
    threads.recount({thread_id for _, thread_id in chunk})
    return len(chunk)


def forget_settled_changes(keep_days: int = 7) -> int:
    """Changes the provider has had for a week."""
    old = LocalChange.objects.exclude(status=ChangeStatus.PENDING).filter(
        settled_at__lt=Now() - timedelta(days=keep_days)
    )
    return old.delete()[0]


def forget_empty_threads(keep_days: int = GRACE_DAYS) -> int:
    """Threads that never got, or no longer have, a message and that nothing was merged into. One that somebody linked
    by hand stays: its mails may come back, and the decision stands."""
    empty = Thread.objects.filter(messages__isnull=True, merged_into__isnull=True, message_count=0, links__isnull=True)
    emptied = Q(last_message_at__lt=Now() - timedelta(days=keep_days))
    never_filled = Q(last_message_at__isnull=True, id__lt=oldest_kept(keep_days))
    return empty.filter(emptied | never_filled).delete()[0]
