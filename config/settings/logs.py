"""Plain lines on stderr with the request's id; secrets are taken out by a filter on the way."""

from __future__ import annotations

from typing import Any

from config import env

__all__ = ("LOGGING", "LOGGING_CONFIG")

LOGGING_CONFIG = "logging.config.dictConfig"
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": env.read("LOG_LEVEL").upper()},
    "loggers": {
        "httpx": {"level": "WARNING"},
        "httpcore": {"level": "WARNING"},
        "axes": {"level": "WARNING"},
    },
}
