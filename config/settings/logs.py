"""Plain lines on stderr with the request's id; secrets are taken out by a filter on the way."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from config import env

__all__ = ("LOGGING", "LOGGING_CONFIG")


def _is_no_503(record: logging.LogRecord) -> bool:
    """A 503 is an answer ("not ready", "wait"), not a failure; whoever gives it says why where it matters."""
    return getattr(record, "status_code", 0) != HTTPStatus.SERVICE_UNAVAILABLE


LOGGING_CONFIG = "logging.config.dictConfig"
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {
        "request id": {"()": "core.api.middleware.RequestIdFilter"},
        "not 503": {"()": "django.utils.log.CallbackFilter", "callback": _is_no_503},
        "redact": {"()": "core.redaction.RedactSecrets"},
    },
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s"}},
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["request id", "redact"]}
    },
    "root": {"handlers": ["stderr"], "level": env.read("LOG_LEVEL")},
    "loggers": {
        "httpx": {"level": "WARNING"},
        "httpcore": {"level": "WARNING"},
        "botocore": {"level": "WARNING"},
        "boto3": {"level": "WARNING"},
        "django.request": {"filters": ["not 503"]},
        "celery.beat": {"level": "WARNING"},
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.app.trace": {"level": "WARNING"},
        "axes": {"level": "WARNING"},
    },
}
