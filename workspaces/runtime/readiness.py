"""Which parts the product needs to work, and whether each does: for `/readyz`, `doctor` and the supervisor.

Each look is short and bounded: a probe must answer while the thing it asks about hangs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from celery import current_app
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import F
from django.db.models.functions import Now
from kombu.exceptions import OperationalError

from workspaces.models import Heartbeat

HEARTBEAT_LATE = timedelta(seconds=60)
BROKER_SECONDS = 3


@dataclass(frozen=True)
class Part:
    """One part of the product. `message` says what is wrong, or how it is."""

    name: str
    ready: bool
    message: str


def parts() -> list[Part]:
    """All parts. Without a database nothing that lies in it is asked."""
    database = check_database()
    if not database.ready:
        return [database, check_broker()]
    return [database, check_migrations(), check_heartbeat(), check_broker()]


def _part(name: str, look: Callable[[], Part]) -> Part:
    try:
        return look()
    except DatabaseError as error:
        return Part(name, False, f"The database does not answer: {type(error).__name__}.")


def check_database() -> Part:
    """Whether a statement comes back."""
    return _part("database", _look_at_database)


def _look_at_database() -> Part:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return Part("database", True, "answers")


def check_migrations() -> Part:
    """Whether the database is as this version of the code wants it."""
    return _part("migrations", _look_at_migrations)


def _look_at_migrations() -> Part:
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        return Part("migrations", False, f"{len(missing)} migrations are not applied; run `manage.py migrate`.")
    return Part("migrations", True, "all applied")


def check_heartbeat() -> Part:
    """Whether a beat's tick went through a worker lately: proves beat, broker and worker at once."""
    return _part("heartbeat", _look_at_heartbeat)


def _look_at_heartbeat() -> Part:
    beat = Heartbeat.objects.filter(name="beat").annotate(age=Now() - F("at")).first()
    if beat is None:
        return Part("heartbeat", False, "No beat has ticked yet; are a Celery worker and beat running?")
    seconds = int(beat.age.total_seconds())
    if beat.age > HEARTBEAT_LATE:
        return Part("heartbeat", False, f"The last tick is {seconds} s old; are a Celery worker and beat running?")
    return Part("heartbeat", True, f"{seconds} s ago")


def check_broker() -> Part:
    """Whether the broker takes a connection."""
    try:
        with current_app.connection_for_write() as broker:
            broker.ensure_connection(max_retries=1, interval_start=0, interval_step=0, timeout=BROKER_SECONDS)
    except (OperationalError, OSError) as error:
        return Part("broker", False, f"The broker does not answer: {type(error).__name__}.")
    return Part("broker", True, settings.CELERY_BROKER_URL.partition("://")[0])
