"""Where things lie: the project's folder, and DATA_DIR for all state."""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured

from config import env

__all__ = ("BASE_DIR", "DATA_DIR", "STATIC_URL", "WHITENOISE_USE_FINDERS")

env.load_env_file()

BASE_DIR = env.PROJECT
DATA_DIR = (BASE_DIR / env.read("DATA_DIR")).expanduser().resolve()
try:
    DATA_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
except OSError as error:
    raise ImproperlyConfigured(f"DATA_DIR cannot be made: {error.strerror}: {DATA_DIR}") from error

STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True
"""Static files are served from the packages they come in: no collectstatic, no copy that grows old."""
