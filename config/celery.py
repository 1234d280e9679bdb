"""The Celery app and the beat schedule.

A Celery message is only a wake-up: rows are the truth, and each periodic task takes a `PeriodicSlot` row first, so any
number of beats may run and a lost message costs one tick.
"""

from __future__ import annotations

import os
import warnings

from celery import Celery
from celery.platforms import SecurityWarning
from celery.signals import beat_init

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

# It warns of pickled messages run as root; ours are JSON, and the image runs as a user of its own.
warnings.filterwarnings("ignore", category=SecurityWarning)

app = Celery("patchbay")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@beat_init.connect
def beat_at_once(**_: object) -> None:
    """Beat waits a whole interval before its first ring; a fresh start is ready sooner."""
    app.send_task("workspaces.tasks.heartbeat", expires=60)
