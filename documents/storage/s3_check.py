"""What is wrong with an S3-compatible store, found by trying it, in a sentence that says how to mend it.

Tried: write, read, list and delete a probe object; the store's clock beside ours, because a signature is good for
minutes; and, at the endpoint browsers use, the preflight of an upload from each origin that may call the API. The
probe's key is under `.check/`, where no document's is.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError, HTTPClientError
from botocore.httpsession import URLLib3Session
from django.conf import settings
from django.utils import timezone

from core.errors import HubError, ProviderError
from documents.storage import s3_client
from documents.storage.s3_errors import translated

SECONDS = 5.0
"""For one answer of a check; somebody waits for it."""
MOST_SKEW = 120.0
"""Seconds. The store itself refuses from 15 minutes on, but a URL that is good for five is spent earlier."""
HEADERS = "content-type,x-amz-checksum-sha256"


def check() -> tuple[bool, str]:
    """Whether documents can be stored here, and what to do if not. Never raises."""
    try:
        inside = s3_client.connection(read_seconds=SECONDS, attempts=1)
        answered_at = _probe(inside.connection.meta.client, str(inside.bucket_name))
        with translated():
            url = _upload_url()
        return _verdict(answered_at, url)
    except HubError as error:
        return False, error.message


def _verdict(answered_at: datetime | None, url: str) -> tuple[bool, str]:
    if answered_at is not None and (off := (answered_at - timezone.now()).total_seconds()) and abs(off) > MOST_SKEW:
        way = "ahead of" if off > 0 else "behind"
        return False, f"The store's clock is {abs(off):.0f} seconds {way} ours: set the clock of this machine."
    refused = list(_refused_origins(url))
    if not refused:
        return True, "A probe object could be written, read, listed and deleted, and browsers may upload."
    if settings.CORS_ALLOWED_ORIGINS:
        return False, " ".join(refused)
    return True, f"A probe object could be written, read, listed and deleted. {' '.join(refused)}"


def _probe(client: Any, bucket: str) -> datetime | None:
    """When the store says it answered."""
    place = {"Bucket": bucket, "Key": f".check/{secrets.token_hex(8)}"}
    content = secrets.token_bytes(32)
    with translated():
        written = client.put_object(**place, Body=content, ContentType="application/octet-stream")
    try:
        with translated():
            if client.get_object(**place)["Body"].read() != content:
                raise ProviderError("The store gave back other bytes than were written.")
            client.list_objects_v2(Bucket=bucket, Prefix=place["Key"], MaxKeys=1)
            client.list_multipart_uploads(Bucket=bucket, MaxUploads=1)
            client.delete_object(**place)
    except ProviderError:
        with suppress(ProviderError), translated():
            client.delete_object(**place)
        raise
    with suppress(ValueError, TypeError):
        return parsedate_to_datetime(written["ResponseMetadata"]["HTTPHeaders"].get("date"))
    return None


def _upload_url() -> str:
    outside = s3_client.connection(public=True)
    place = {"Bucket": str(outside.bucket_name), "Key": ".check/preflight"}
    return str(outside.connection.meta.client.generate_presigned_url("put_object", Params=place, ExpiresIn=60))


def _refused_origins(url: str) -> Iterator[str]:
    """A sentence for each origin whose pages could not upload; one for all where the endpoint cannot be asked."""
    endpoint = "{0.scheme}://{0.netloc}".format(urlsplit(url))
    for origin in settings.CORS_ALLOWED_ORIGINS or [_origin(settings.PUBLIC_URL)]:
        try:
            answer = _preflight(url, origin)
        except (BotoCoreError, HTTPClientError):
            yield f"{endpoint} did not answer from here, so whether browsers may upload there is not known."
            return
        if not _allows(answer, origin):
            yield f"Pages of {origin} may not upload to {endpoint}: add a CORS rule to the bucket (docs/documents.md)."


def _preflight(url: str, origin: str) -> Any:
    """As a browser asks before it sends a PUT (fetch.spec.whatwg.org, CORS-preflight fetch)."""
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": HEADERS,
    }
    session = URLLib3Session(timeout=(s3_client.CONNECT_SECONDS, SECONDS), proxies={})
    try:
        return session.send(AWSRequest(method="OPTIONS", url=url, headers=headers).prepare())
    finally:
        session.close()


def _allows(answer: Any, origin: str) -> bool:
    said = {name.lower(): value for name, value in answer.headers.items()}
    methods = {word.strip().upper() for word in said.get("access-control-allow-methods", "").split(",")}
    headers = {word.strip().lower() for word in said.get("access-control-allow-headers", "").split(",")}
    return (
        answer.status_code < 300
        and said.get("access-control-allow-origin") in ("*", origin)
        and bool(methods & {"PUT", "*"})
        and ("*" in headers or set(HEADERS.split(",")) <= headers)
    )


def _origin(url: str) -> str:
    return "{0.scheme}://{0.netloc}".format(urlsplit(url))
