"""The client of an S3-compatible store, from the settings alone.

django-storages holds the client and signs downloads. Nothing else of this machine has a say: not its AWS profile, its
environment, its instance's role or its proxies, so that the same settings reach the same bucket everywhere.
"""

from __future__ import annotations

import os
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.session import Session
from django.conf import settings
from storages.backends.s3 import S3Storage

from core.errors import NotConfigured

CONNECT_SECONDS = 3.0
READ_SECONDS = 20.0
ATTEMPTS = 2
NEEDED = ("S3_BUCKET", "S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY")
_AMAZON = (".amazonaws.com", ".amazonaws.com.cn")
_NOT_OF_THE_MACHINE = {
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
}
"""botocore's variables: name → (in a profile, in the environment, default, conversion)."""


class Connection(S3Storage):
    """A client for one endpoint. Its calls may come from several threads."""

    def _create_session(self) -> boto3.Session:
        return boto3.Session(
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            botocore_session=Session(session_vars=_NOT_OF_THE_MACHINE),
        )


def missing() -> list[str]:
    """The settings without which there is no store."""
    return [name for name in NEEDED if not getattr(settings, name)]


def connection(*, public: bool = False, read_seconds: float = READ_SECONDS, attempts: int = ATTEMPTS) -> Connection:
    """To the endpoint the product uses or, `public`, to the one browsers use. NotConfigured where a setting is missing.

    Makes no call. An endpoint is the operator's word, so EGRESS_ALLOW_CIDRS has no say: no user can set one.
    """
    if absent := missing():
        raise NotConfigured(f"Documents are to be stored in S3, but {_listed(absent)} not set.")
    endpoint = (public and settings.S3_PUBLIC_ENDPOINT_URL) or settings.S3_ENDPOINT_URL
    return Connection(
        bucket_name=settings.S3_BUCKET,
        access_key=settings.S3_ACCESS_KEY_ID,
        secret_key=settings.S3_SECRET_ACCESS_KEY,
        security_token=None,
        session_profile=None,
        endpoint_url=endpoint or None,
        region_name=settings.S3_REGION,
        client_config=_config(endpoint, read_seconds, attempts),
    )


def _config(endpoint: str, read_seconds: float, attempts: int) -> Config:
    return Config(
        # Without it URLs are signed by version 2, which buckets made since 2020 refuse:
        # docs.aws.amazon.com/AmazonS3/latest/API/sigv4-authentication-HTTPRequest.html
        signature_version="s3v4",
        s3={"addressing_style": _addressing_style(endpoint)},
        connect_timeout=CONNECT_SECONDS,
        read_timeout=read_seconds,
        retries={"total_max_attempts": attempts, "mode": "standard"},
        proxies={},
        ignore_configured_endpoint_urls=True,
        # Not every compatible store knows the CRC32 that the SDK adds since 2025:
        # github.com/boto/boto3/issues/4392
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )


def _addressing_style(endpoint: str) -> str:
    """Amazon's certificates cover one label before the host, so no bucket with a dot in its name; others' hosts rarely
    have a name for each bucket. "auto" would put Amazon's global host into URLs, which redirects other regions' away
    and so fails a browser's preflight."""
    host = urlsplit(endpoint).hostname or ""
    amazon = not endpoint or host.endswith(_AMAZON)
    return "virtual" if amazon and "." not in settings.S3_BUCKET else "path"


def _listed(names: list[str]) -> str:
    return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'}"
