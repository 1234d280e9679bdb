"""Documents: where their bytes lie, and how many and which are taken (CONTRACT 2)."""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured

from config import env

__all__ = (
    "CLAMAV_TIMEOUT_SECONDS",
    "CLAMAV_URL",
    "DOCUMENT_ALLOWED_TYPES",
    "DOCUMENT_CHECK_AT_ONCE_BYTES",
    "DOCUMENT_MAX_BYTES",
    "DOCUMENT_PARTS_FROM_BYTES",
    "DOCUMENT_PART_BYTES",
    "DOCUMENT_QUOTA_BYTES",
    "DOCUMENT_STORAGE",
    "S3_ACCESS_KEY_ID",
    "S3_BUCKET",
    "S3_ENDPOINT_URL",
    "S3_PUBLIC_ENDPOINT_URL",
    "S3_REGION",
    "S3_SECRET_ACCESS_KEY",
)

DOCUMENT_STORAGE: str = env.read("DOCUMENT_STORAGE")
if DOCUMENT_STORAGE not in ("local", "s3"):
    raise ImproperlyConfigured("DOCUMENT_STORAGE must be local or s3.")
DOCUMENT_MAX_BYTES: int = env.read("DOCUMENT_MAX_BYTES")
DOCUMENT_ALLOWED_TYPES: list[str] = [item.lower() for item in env.read("DOCUMENT_ALLOWED_TYPES")]
"""Patterns of media types; empty: all."""
DOCUMENT_CHECK_AT_ONCE_BYTES: int = env.read("DOCUMENT_CHECK_AT_ONCE_BYTES")
"""Of a larger upload confirming answers before it was looked at."""
DOCUMENT_QUOTA_BYTES: int = env.read("DOCUMENT_QUOTA_BYTES")
"""Of one workspace; 0 or less: none."""
DOCUMENT_PARTS_FROM_BYTES: int = env.read("DOCUMENT_PARTS_FROM_BYTES")
if DOCUMENT_PARTS_FROM_BYTES > 5 * 1024**3:
    raise ImproperlyConfigured("DOCUMENT_PARTS_FROM_BYTES must be at most 5368709120: no request carries more.")
DOCUMENT_PART_BYTES: int = env.read("DOCUMENT_PART_BYTES")
if not 5 * 1024**2 <= DOCUMENT_PART_BYTES <= 5 * 1024**3:
    raise ImproperlyConfigured("DOCUMENT_PART_BYTES must be 5242880 to 5368709120: stores take no other parts.")

S3_BUCKET: str = env.read("S3_BUCKET")
S3_ENDPOINT_URL: str = env.read("S3_ENDPOINT_URL")
S3_PUBLIC_ENDPOINT_URL: str = env.read("S3_PUBLIC_ENDPOINT_URL")
S3_REGION: str = env.read("S3_REGION")
S3_ACCESS_KEY_ID: str = env.read("S3_ACCESS_KEY_ID")
S3_SECRET_ACCESS_KEY: str = env.read("S3_SECRET_ACCESS_KEY")

CLAMAV_URL: str = env.read("CLAMAV_URL")
CLAMAV_TIMEOUT_SECONDS: int = env.read("CLAMAV_TIMEOUT_SECONDS")
