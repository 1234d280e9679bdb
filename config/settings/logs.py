"""Plain lines on stderr with the request's id; secrets are taken out by a filter on the way."""

from __future__ import annotations

from typing import Any

from config import env

__all__ = ("LOGGING", "LOGGING_CONFIG")

LOGGING_CONFIG = "logging.config.dictConfig"
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {
        "request id": {"()": "core.api.middleware.RequestIdFilter"},
        "redact": {"()": "core.redaction.RedactSecrets"},
    },
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s"}},
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["request id", "redact"]}
    },
    "root": {"handlers": ["stderr"], "level": env.read("LOG_LEVEL").upper()},
    "loggers": {
        "httpx": {"level": "WARNING"},
        "httpcore": {"level": "WARNING"},
        "celery.beat": {"level": "WARNING"},
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.app.trace": {"level": "WARNING"},
        "axes": {"level": "WARNING"},
    },
}
