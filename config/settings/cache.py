"""The cache, shared by all processes so that throttles and login locks hold across them."""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured

from config import env
from config.env_values import is_redis

__all__ = ("CACHES", "CACHE_TABLE")

CACHE_TABLE = "cache_entries"
"""Made by `createcachetable`, which `up` runs after `migrate`."""

_url = env.read("REDIS_URL")
if _url and not is_redis(_url) and not _url.startswith("unix://"):
    raise ImproperlyConfigured("REDIS_URL must be redis://host:6379/1 or rediss://….")
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": _url, "KEY_PREFIX": "patchbay"}
    if _url
    else {
        "BACKEND": "config.cache.PostgresCache",
        "LOCATION": CACHE_TABLE,
        "OPTIONS": {"MAX_ENTRIES": 50_000},
    }
}
