"""The end of a connection: work stops, the credential goes, the provider is told, and with a purge all that was synced.

Called by the DELETE view and the console. Promised (reference reliability S5): after `disconnect` no token or password
is stored here, no running worker can write any more, and a revocation that failed is told in the audit trail.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils.module_loading import import_string

from core.errors import Conflict, HubError, NotFound, RemoteMissing
from integrations.models import Connection, Purge
from integrations.oauth import CONNECTION_PROVIDERS, oauth_provider
from integrations.services import purging, sync_runs
from workspaces.models import User, Workspace
from workspaces.services import audit

logger = logging.getLogger("patchbay.connections")

REVOKE_ATTEMPTS = 2


def disconnect(connection: Connection, *, purge: bool, by: User) -> Purge | None:
    """Forget the credential, end all work, tell the provider, and with `purge` remove what was synced: at once, or for
    a large mailbox by the work that is answered, to be rung.

    The credential goes first and in any case: a provider that cannot be reached does not keep it here. Repeatable.
    """
    held = _shred(connection, purge=purge, by=by)
    if held:
        for path in settings.DISCONNECT_STEPS:
            import_string(path)(connection, held)
        _revoke(connection, held, by=by)
    if not purge:
        return None
    begun = Purge.objects.get(connection_id=connection.pk)
    return begun if purging.work(begun.pk, seconds=purging.INLINE_SECONDS) else None


def disconnect_all(
    *, user: User, workspace: Workspace, provider: str, connection_id: str, purge: bool, every: bool = False
) -> list[Purge]:
    """Disconnect one connection, or all the user has with a provider; the purges to ring. NotFound where there is
    none. What a purge takes is gone for good: of several accounts all are taken only where `every` says so, else
    Conflict names them and nothing has happened."""
    CONNECTION_PROVIDERS.get(provider)
    mine = Connection.objects.of(user=user, workspace=workspace).filter(provider=provider)
    here = mine if purge else mine.connected()
    chosen = [mine.find(connection_id)] if connection_id else list(here.order_by("created_at", "id"))
    if not chosen:
        raise NotFound
    if purge and len(chosen) > 1 and not every:
        raise _several(chosen)
    return [begun for connection in chosen if (begun := disconnect(connection, purge=purge, by=user)) is not None]


def _several(chosen: Sequence[Connection]) -> Conflict:
    named = [{"id": str(row.pk), "accountEmail": row.account_email} for row in chosen]
    return Conflict(
        f"{len(chosen)} accounts of this provider have data here. Name one with connectionId, or say all=true to "
        "delete what was synced of each of them.",
        code="several_connections",
        fields={"connectionId": [row.account_email for row in chosen]},
        extra={"connections": named},
    )


def _shred(connection: Connection, *, purge: bool, by: User) -> dict[str, str]:
    """In one transaction: no credential, no run, no lease. What was held, for the revocation."""
    with transaction.atomic():
        row = Connection.objects.select_for_update(no_key=True).get(pk=connection.pk)
        held = dict(row.credentials or {})
        if row.disconnected_at is not None and not purge:
            return {}
        sync_runs.stop(connection=row, reason="The account was disconnected.")
        Connection.objects.filter(pk=row.pk).update(
            credentials=None,
            token_expires_at=None,
            refresh_lease_until=None,
            refresh_fence=F("refresh_fence") + 1,
            disconnected_at=row.disconnected_at or Now(),
        )
        if purge:
            _hide(row)
        audit.record(
            by=by,
            workspace=row.workspace,
            action="connection.purged" if purge else "connection.disconnected",
            target=row,
            changes={"provider": row.provider, "account": row.account_email},
        )
    return held


def _hide(row: Connection) -> None:
    """Nobody sees it any more, and the account is free to be connected anew while the work goes on."""
    Connection.objects.filter(pk=row.pk).update(purging_at=Now(), account_id=f"purging:{row.pk}")
    Purge.objects.get_or_create(
        connection_id=row.pk,
        defaults={"workspace": row.workspace, "user": row.user, "provider": row.provider},
    )


def _revoke(connection: Connection, held: Mapping[str, str], *, by: User) -> None:
    """Best effort, once more if it fails; a failure is told in the audit trail, because the grant lives on there."""
    token = str(held.get("refresh_token") or held.get("access_token") or "")
    if not token or _is_shared(connection):
        return
    for attempt in range(1, REVOKE_ATTEMPTS + 1):
        try:
            revoked = oauth_provider(connection.provider).revoke(token)
            reason = "" if revoked else "The provider has no call for it; remove the access in the account's settings."
            break
        except RemoteMissing:
            reason = ""
            break
        except HubError as error:
            reason = error.message
            logger.info("revoking connection %s failed, attempt %d: %s", connection.pk, attempt, error.code)
    if reason:
        audit.record(
            by=by,
            workspace=connection.workspace,
            action="connection.revoke_failed",
            target=connection,
            changes={"provider": connection.provider, "account": connection.account_email, "reason": reason},
        )


def _is_shared(connection: Connection) -> bool:
    """Another connection lives on the same grant: revoking a token at Google ends the whole grant of account and
    client (reference mail-calendar 2.1), which would disconnect a colleague or another workspace."""
    same = Connection.objects.connected().filter(provider=connection.provider, account_id=connection.account_id)
    return same.exclude(pk=connection.pk).exists()
