"""The server and its surroundings: addresses, middleware order, time and language."""

from __future__ import annotations

from urllib.parse import urlsplit

from config import env

__all__ = (
    "ALLOWED_HOSTS",
    "APPEND_SLASH",
    "CORS_ALLOWED_ORIGINS",
    "DEBUG",
    "DELIVERY_CONCURRENCY",
    "DOCTOR_CHECKS",
    "EVENT_STREAMS",
    "FORMAT_MODULE_PATH",
    "LANGUAGE_CODE",
    "MIDDLEWARE",
    "PORT",
    "PUBLIC_URL",
    "ROOT_URLCONF",
    "TEMPLATES",
    "TIME_ZONE",
    "USE_I18N",
    "USE_TZ",
    "WEB_WORKERS",
    "WORKER_CONCURRENCY",
    "WSGI_APPLICATION",
)

DEBUG: bool = env.read("DEBUG")
PORT: int = env.read("PORT")
PUBLIC_URL: str = env.read("PUBLIC_URL") or f"http://127.0.0.1:{PORT}"
WEB_WORKERS: int = env.read("WEB_WORKERS")
EVENT_STREAMS: int = env.read("EVENT_STREAMS")
WORKER_CONCURRENCY: int = env.read("WORKER_CONCURRENCY")
DELIVERY_CONCURRENCY: int = env.read("DELIVERY_CONCURRENCY")
ALLOWED_HOSTS = sorted(
    {"127.0.0.1", "localhost", "[::1]", str(urlsplit(PUBLIC_URL).hostname), *env.read("ALLOWED_HOSTS")}
)
CORS_ALLOWED_ORIGINS: list[str] = env.read("CORS_ALLOWED_ORIGINS")

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
APPEND_SLASH = False

MIDDLEWARE = [
    "core.api.middleware.RequestIdMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "core.api.middleware.ContentSecurityPolicyMiddleware",
    "config.cors.CorsMiddleware",
    "core.api.errors.ApiErrorMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
FORMAT_MODULE_PATH = "config.formats"
USE_I18N = True

DOCTOR_CHECKS = (
    "workspaces.runtime.checks.check_keys",
    "workspaces.runtime.checks.check_database",
    "workspaces.runtime.checks.check_broker",
    "workspaces.runtime.checks.check_heartbeat",
    "workspaces.runtime.checks.check_public_url",
    "config.doctor.check_providers",
    "config.doctor.check_provider_addresses",
    "config.doctor.check_listening",
    "config.doctor.check_integrations",
    "config.doctor.check_mail",
)
"""Callables that return `workspaces.runtime.findings.Finding`s, in the order `manage.py doctor` prints them."""
