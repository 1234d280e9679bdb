"""Connections as their user handles them: connect by form, change, sync now. `disconnecting` ends them.

Called by the views, the console and `manage.py demo`. Every change is one transaction with its line in the audit trail;
no transaction is open while a provider is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from django.utils.module_loading import import_string

from core.errors import (
    Conflict,
    EgressRefused,
    InvalidInput,
    ProviderAuthError,
    ProviderError,
    ProviderRejected,
)
from integrations.models import Connection, EventType, SyncRun, SyncState
from integrations.oauth.imap import MailLogin, read_form
from integrations.services import capabilities, incidents, sync_runs
from workspaces.models import User, Workspace
from workspaces.services import audit

CHANGEABLE = ("visibility", "paused", "sync_email", "sync_calendar")


class Check(Protocol):
    """What `settings.CONNECTION_CHECKS` names: it logs in and returns, or raises core.errors."""

    def __call__(self, *, email: str, settings: Mapping[str, object], secrets: Mapping[str, str]) -> None: ...


def connect_imap(
    *,
    user: User,
    workspace: Workspace,
    email: object,
    imap: object,
    smtp: object,
    by: User,
    caldav: object = None,
) -> tuple[Connection, bool, list[SyncRun]]:
    """Connect a mail account by its log-in, or renew it: the connection, whether it is new, and the runs to ring.

    With `caldav` its calendars too. InvalidInput naming the fields; 422 `credentials_rejected`, `connection_failed` or
    `address_not_allowed` where a log-in does not work. Nothing is saved before all worked.
    """
    login = read_form({"email": email, "imap": imap, "smtp": smtp, "caldav": caldav})
    _check_login(login)
    with transaction.atomic():
        connection, created = Connection.objects.select_for_update(no_key=True).get_or_create(
            workspace=workspace,
            user=user,
            provider="imap",
            account_id=login.account_id,
            defaults={"account_email": login.email},
        )
        connection.account_email = login.email
        connection.options = dict(login.options)
        connection.credentials = dict(login.secrets)
        runs = save_connected(connection, by=by, created=created)
        audit.record(
            by=by,
            workspace=workspace,
            action="connection.connected" if created else "connection.reconnected",
            target=connection,
            changes={"provider": "imap", "account": login.email, **login.options},
        )
    return connection, created, runs


def _check_login(login: MailLogin) -> None:
    """Log in once. Whatever keeps us from it is the caller's to mend, so it is a 422 and not a 502; the fields name the
    side: "imap", "smtp" or "caldav"."""
    _try_login(settings.CONNECTION_CHECKS["imap"], login, side="")
    if "caldav" in login.options:
        _try_login(settings.CALENDAR_CHECKS["imap"], login, side="caldav")


def _try_login(path: str, login: MailLogin, *, side: str) -> None:
    check: Check = import_string(path)
    try:
        check(email=login.email, settings=login.options, secrets=login.secrets)
    except ProviderAuthError as error:
        fields = {side: [error.message]} if side else error.fields
        raise ProviderRejected(error.message, code="credentials_rejected", fields=fields) from error
    except ProviderError as error:
        fields = {side: [error.message]} if side else error.fields
        raise ProviderRejected(error.message, code="connection_failed", fields=fields) from error
    except (EgressRefused, InvalidInput) as error:
        if side:
            error.fields = {f"{side}.url": [error.message]}
        raise


def save_connected(connection: Connection, *, by: User, created: bool) -> list[SyncRun]:
    """Inside the caller's transaction: save a row whose credential has just proved good, and start its first runs."""
    was_wrong = connection.needs_reauth or bool(connection.last_error_code)
    connection.needs_reauth = False
    connection.disconnected_at = None
    connection.last_error_code, connection.last_error_message, connection.last_error_at = "", "", None
    connection.save()
    connection.refresh_from_db()
    if was_wrong:
        incidents.tell(connection, EventType.CONNECTION_RECOVERED)
    can = capabilities.of_connection(connection)
    states = SyncState.objects.filter(connection=connection)
    states.exclude(type__in=can).delete()
    states.update(failures=0, next_sync_at=Now())
    return _start(connection, [type for type in can if type in sync_runs.enabled_types(connection)], "connect")


def _start(connection: Connection, types: Sequence[str], trigger: str) -> list[SyncRun]:
    if connection.paused and trigger == "connect":
        return []
    return [sync_runs.start(connection=connection, type=type, trigger=trigger) for type in types]


def sync_now(
    connection: Connection, *, type: str, by: User, trigger: str = "user", check: bool = False
) -> list[SyncRun]:
    """A run of `type`, or of all the connection can ("all"). One under way is given back. With `check` it also compares
    everything with the provider at its end.

    UnsupportedOperation where the provider has no such sync, Conflict `missing_scope` where it was not granted.
    Agreeing to a removal that was held back (`sync_runs.ACCEPT_REMOVALS`) leaves its line in the audit trail.
    """
    _refuse_disconnected(connection)
    with transaction.atomic():
        runs = _start_asked(connection, type, trigger)
        if check:
            SyncState.objects.filter(connection=connection, type__in=[r.type for r in runs]).update(next_check_at=Now())
        if trigger == sync_runs.ACCEPT_REMOVALS:
            action, changes = "connection.removal_accepted", {"type": type, "account": connection.account_email}
            audit.record(by=by, workspace=connection.workspace, action=action, target=connection, changes=changes)
    return runs


def _start_asked(connection: Connection, type: str, trigger: str) -> list[SyncRun]:
    if type == "all":
        types = [name for name in capabilities.of_connection(connection) if name in sync_runs.enabled_types(connection)]
        return _start(connection, types, trigger)
    supported = type in sync_runs.types_of(connection)
    if supported and type not in capabilities.of_connection(connection):
        words = f"Access to {type} was not granted. Connect the account again and allow it."
        raise Conflict(words, code="missing_scope")
    return _start(connection, [type], trigger)


def update(connection: Connection, *, changes: Mapping[str, object], by: User) -> list[SyncRun]:
    """Set some of CHANGEABLE. Pausing, or switching a sync off, ends what is under way; the reverse starts it at once.
    The runs to ring."""
    with transaction.atomic():
        row = Connection.objects.select_for_update(no_key=True).get(pk=connection.pk)
        changed = {name: value for name, value in changes.items() if getattr(row, name) != value}
        if not changed:
            return []
        _refuse_disconnected(row)
        for name in CHANGEABLE:
            if name in changed:
                setattr(row, name, changed[name])
                setattr(connection, name, changed[name])
        row.save(update_fields=[*changed, "updated_at"])
        audit.record(by=by, workspace=row.workspace, action="connection.changed", target=row, changes=changed)
        if changed.get("paused") is True or False in (changed.get("sync_email"), changed.get("sync_calendar")):
            sync_runs.stop(connection=row, reason="The connection was paused or a sync switched off.")
        if row.paused or row.needs_reauth:
            return []
        return sync_now(row, type="all", by=by) if changed.keys() - {"visibility"} else []


def _refuse_disconnected(connection: Connection) -> None:
    if connection.disconnected_at is not None:
        raise Conflict("This account was disconnected. Connect it again first.", code="disconnected")
