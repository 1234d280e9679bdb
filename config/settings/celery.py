"""Celery: Redis where CELERY_BROKER_URL names one, else kombu's filesystem transport inside DATA_DIR.

Rows are the truth and a tick re-rings (DESIGN 2), so what a broker loses costs one tick.
"""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from kombu import Exchange, Queue

from config import env
from config.env_values import is_redis
from config.settings.paths import DATA_DIR

__all__ = (
    "CELERY_ACCEPT_CONTENT",
    "CELERY_BEAT_SCHEDULE",
    "CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP",
    "CELERY_BROKER_TRANSPORT",
    "CELERY_BROKER_TRANSPORT_OPTIONS",
    "CELERY_BROKER_URL",
    "CELERY_ENABLE_UTC",
    "CELERY_RESULT_SERIALIZER",
    "CELERY_TASK_ACKS_LATE",
    "CELERY_TASK_DEFAULT_QUEUE",
    "CELERY_TASK_IGNORE_RESULT",
    "CELERY_TASK_PUBLISH_RETRY_POLICY",
    "CELERY_TASK_QUEUES",
    "CELERY_TASK_REJECT_ON_WORKER_LOST",
    "CELERY_TASK_ROUTES",
    "CELERY_TASK_SERIALIZER",
    "CELERY_TIMEZONE",
    "CELERY_WORKER_HIJACK_ROOT_LOGGER",
    "CELERY_WORKER_MAX_TASKS_PER_CHILD",
    "CELERY_WORKER_PREFETCH_MULTIPLIER",
    "CELERY_WORKER_SEND_TASK_EVENTS",
    "DELIVERY_TICK_SECONDS",
    "SYNC_TICK_SECONDS",
)

SYNC_TICK_SECONDS = 5
"""How often due runs are started and silent ones rung again."""
DELIVERY_TICK_SECONDS = 2
"""How often webhooks and workspaces' mail are looked for that nobody sends."""

_FOLDER = DATA_DIR / "broker"


def _in_folder() -> dict[str, Any]:
    """One folder for all queues; polled often, because a wake-up should wake."""
    queue = str(_FOLDER / "queue")
    for path in (_FOLDER / "queue", _FOLDER / "processed", _FOLDER / "control"):
        path.mkdir(parents=True, exist_ok=True)
    return {
        "data_folder_in": queue,
        "data_folder_out": queue,
        "processed_folder": str(_FOLDER / "processed"),
        "control_folder": str(_FOLDER / "control"),
        "store_processed": False,
        "polling_interval": 0.1,
    }


def _in_redis() -> dict[str, Any]:
    """A killed worker's task is back in seconds, not in the default 100 (reference ecosystem 6.1)."""
    return {
        "visibility_timeout": 600,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        "health_check_interval": 30,
    }


_url = env.read("CELERY_BROKER_URL")
if _url and not is_redis(_url):
    raise ImproperlyConfigured("CELERY_BROKER_URL must be redis://host:6379/0 or rediss://…: no other is supported.")
CELERY_BROKER_URL = _url or "filesystem://localhost"
CELERY_BROKER_TRANSPORT = None if _url else "config.broker:Transport"
CELERY_BROKER_TRANSPORT_OPTIONS = _in_redis() if _url else _in_folder()
CELERY_TASK_DEFAULT_QUEUE = "quick"
CELERY_TASK_QUEUES = tuple(Queue(name, Exchange(name), routing_key=name) for name in ("quick", "sync", "deliver"))
CELERY_TASK_ROUTES = {
    "integrations.tasks.execute_run": {"queue": "sync"},
    "integrations.tasks.deliver": {"queue": "deliver"},
    "integrations.tasks.run_purge": {"queue": "sync"},
    "integrations.tasks.run_contact_sync": {"queue": "sync"},
    "integrations.tasks.check_integrations": {"queue": "sync"},
    "integrations.tasks.forget_old": {"queue": "sync"},
    "documents.tasks.run_confirmation": {"queue": "sync"},
    "documents.tasks.run_copy": {"queue": "sync"},
    "documents.tasks.tick": {"queue": "sync"},
    "email_logs.tasks.follow": {"queue": "sync"},
    "email_logs.tasks.send_mail": {"queue": "deliver"},
    "email_logs.tasks.run_erasure": {"queue": "sync"},
    "email_logs.tasks.run_export": {"queue": "sync"},
    "email_logs.tasks.run_mirror": {"queue": "sync"},
    "email_sync.tasks.apply_scope": {"queue": "sync"},
    "email_sync.tasks.run_transfer": {"queue": "sync"},
}
"""Slices run for a while; ticks, heartbeats and mail that is being sent must not wait behind them, nor webhooks and
workspaces' mail, which wait for whatever answers them and so have a queue of their own."""
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 1, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.2}
CELERY_TASK_SERIALIZER = "json"
CELERY_RESULT_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_MAX_TASKS_PER_CHILD = 1000
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = "UTC"
CELERY_ENABLE_UTC = True


def _every(seconds: float, task: str) -> dict[str, Any]:
    """A wake-up that nobody took before the next two came is worth nothing."""
    return {"task": task, "schedule": seconds, "options": {"expires": 3 * seconds}}


CELERY_BEAT_SCHEDULE = {
    # Twice per slot: a beat that is a little late must not skip one.
    "runs": _every(SYNC_TICK_SECONDS / 2, "integrations.tasks.tick"),
    "webhooks": _every(DELIVERY_TICK_SECONDS / 2, "integrations.tasks.tick_deliveries"),
    "workspaces' mail": _every(DELIVERY_TICK_SECONDS / 2, "email_logs.tasks.tick_mail"),
    "outgoing mail": _every(SYNC_TICK_SECONDS / 2, "email_sync.tasks.tick"),
    "heartbeat": _every(10, "workspaces.tasks.heartbeat"),
    "grants and old events": _every(3600, "integrations.tasks.daily"),
    "old syncs": _every(150, "integrations.tasks.forget_old"),
    "integrations": _every(30, "integrations.tasks.check_integrations"),
    "email logs": _every(30, "email_logs.tasks.follow"),
    "mirrors of email logs": _every(SYNC_TICK_SECONDS, "email_logs.tasks.tick_mirrors"),
    "calendars' doorbells": _every(5, "calendar_sync.tasks.tick"),
    "calendars": _every(600, "calendar_sync.tasks.hourly"),
    "documents": _every(30, "documents.tasks.tick"),
    "mail housekeeping": _every(3600, "email_sync.tasks.daily"),
}
