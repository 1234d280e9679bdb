"""How gunicorn serves the product, wherever it is started: `gunicorn --config python:config.web config.wsgi`.

Read by gunicorn's master process before any of our settings, so it knows only the environment. Every open event stream
keeps a thread (ADR 0012): there is one for each that may be open, and as many as ever beside them for everything else.
"""

from __future__ import annotations

from typing import Any

from django.utils.module_loading import import_string
from gunicorn import util

from config import env

env.load_env_file()

THREADS = 4
"""For requests that are no streams."""

threads = THREADS + env.read("EVENT_STREAMS")
graceful_timeout = 10
limit_request_line = 8190
"""The most gunicorn has. Its default of 4,094 is shorter than a search of 500 characters in percent signs."""


def post_worker_init(worker: Any) -> None:
    """Streams end as soon as the worker is told to stop, instead of when its grace is over. What gunicorn refuses
    itself (an address or headers over its limits) is answered in the API's shape: it has no other place to say so."""
    util.write_error = import_string("core.api.refusals.write")
    import_string("email_sync.services.followers.FOLLOWERS").end_with(lambda: bool(worker.alive))
