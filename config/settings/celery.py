"""Celery: Redis where CELERY_BROKER_URL names one, else kombu's filesystem transport inside DATA_DIR.

Rows are the truth and a tick re-rings (DESIGN 2), so what a broker loses costs one tick.
"""

from __future__ import annotations

from typing import Any

from config import env
from config.settings.paths import DATA_DIR

__all__ = (
    "CELERY_ACCEPT_CONTENT",
    "CELERY_BEAT_SCHEDULE",
    "CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP",
    "CELERY_BROKER_TRANSPORT_OPTIONS",
    "CELERY_BROKER_URL",
    "CELERY_ENABLE_UTC",
    "CELERY_RESULT_SERIALIZER",
    "CELERY_TASK_ACKS_LATE",
    "CELERY_TASK_IGNORE_RESULT",
    "CELERY_TASK_PUBLISH_RETRY_POLICY",
    "CELERY_TASK_REJECT_ON_WORKER_LOST",
    "CELERY_TASK_SERIALIZER",
    "CELERY_TIMEZONE",
    "CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS",
    "CELERY_WORKER_HIJACK_ROOT_LOGGER",
    "CELERY_WORKER_MAX_TASKS_PER_CHILD",
    "CELERY_WORKER_PREFETCH_MULTIPLIER",
    "CELERY_WORKER_SEND_TASK_EVENTS",
    "SYNC_TICK_SECONDS",
)

SYNC_TICK_SECONDS = 5
"""How often due runs are started and silent ones rung again."""

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


CELERY_BROKER_URL = env.read("CELERY_BROKER_URL") or "filesystem://localhost"
CELERY_BROKER_TRANSPORT_OPTIONS = _in_redis() if env.read("CELERY_BROKER_URL") else _in_folder()
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
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True
CELERY_TIMEZONE = "UTC"
CELERY_ENABLE_UTC = True

CELERY_BEAT_SCHEDULE = {
    "sync tick": {
        "task": "integrations.tasks.tick",
        "schedule": SYNC_TICK_SECONDS,
        "options": {"expires": 3 * SYNC_TICK_SECONDS},
    },
    "integrations daily": {"task": "integrations.tasks.daily", "schedule": 3600, "options": {"expires": 3600}},
    "heartbeat": {"task": "workspaces.tasks.heartbeat", "schedule": 10, "options": {"expires": 30}},
}
