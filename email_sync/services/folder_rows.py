"""The folders of a mailbox as rows. Called by the engine with what the provider listed, inside its transaction."""

from __future__ import annotations

from collections.abc import Sequence

from email_sync.models import Folder
from email_sync.records import RemoteFolder
from integrations.models import Connection


def store(connection: Connection, folders: Sequence[RemoteFolder]) -> set[str]:
    """Make the rows what was listed. Answers the remote ids of those that stand for something else by now: a folder
    that was thrown away lies in the trash, its messages with it, and no change tells that."""
    stored = Folder.objects.filter(connection=connection)
    before = dict(stored.values_list("remote_id", "role"))
    rows = [Folder(connection=connection, remote_id=f.remote_id, name=f.name, role=f.role) for f in folders]
    Folder.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["connection", "remote_id"], update_fields=["name", "role"]
    )
    stored.exclude(remote_id__in=[f.remote_id for f in folders]).delete()
    return {f.remote_id for f in folders if before.get(f.remote_id, f.role) != f.role}
