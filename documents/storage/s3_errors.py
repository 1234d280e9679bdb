"""What an S3-compatible store's refusals mean, in our errors and in sentences for whoever runs the installation.

Only the store's code is quoted, never its words: they hold key ids, bucket policies and signed strings.
Codes: docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    IncompleteReadError,
    SSLError,
)

from core.errors import ProviderError, ProviderUnavailable, RemoteMissing

UNAVAILABLE = frozenset(
    {
        "InternalError",
        "OperationAborted",
        "RequestLimitExceeded",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
    }
)
SENTENCES = {
    "AccessDenied": (
        "The store does not allow this to the access key. It needs s3:GetObject, s3:PutObject, s3:DeleteObject, "
        "s3:AbortMultipartUpload, s3:ListMultipartUploadParts and, on the bucket, s3:ListBucket and "
        "s3:ListBucketMultipartUploads."
    ),
    "AuthorizationHeaderMalformed": "The bucket is in another region than S3_REGION says.",
    "ExpiredToken": "The access key has expired: S3_ACCESS_KEY_ID must be a lasting one.",
    "InvalidAccessKeyId": "The store does not know the access key: S3_ACCESS_KEY_ID is wrong or was removed.",
    "InvalidBucketName": "S3_BUCKET is not the name of a bucket.",
    "NoSuchBucket": "There is no such bucket: create it, or correct S3_BUCKET or S3_ENDPOINT_URL.",
    "PermanentRedirect": "The bucket is in another region than S3_REGION says.",
    "QuotaExceeded": "The store is full.",
    "XMinioStorageFull": "The store is full.",
    "RequestTimeTooSkewed": (
        "The clock here and the store's differ by more than 15 minutes: set the clock of this machine."
    ),
    "SignatureDoesNotMatch": (
        "The store does not accept the signature: S3_SECRET_ACCESS_KEY is wrong, or a proxy changes requests."
    ),
}
_SAME = {
    # A HEAD is answered without a body, so the status is all there is.
    "403": "AccessDenied",
    "301": "PermanentRedirect",
    "AllAccessDisabled": "AccessDenied",
    "Forbidden": "AccessDenied",
    "Unauthorized": "InvalidAccessKeyId",
}
_MISSING = frozenset({"404", "NoSuchKey", "NoSuchUpload", "NotFound"})


@contextmanager
def translated() -> Iterator[None]:
    """Whatever the client raises inside comes out as one of ours."""
    try:
        yield
    except ClientError as error:
        raise of_answer(error) from None
    except BotoCoreError as error:
        raise _of_line(error) from None


def code_of(error: ClientError) -> str:
    """The store's code; the status in words of its own where it gave none."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    return _SAME.get(code, code)


def of_answer(error: ClientError) -> ProviderError:
    """Of an answer that is not a success."""
    code = code_of(error)
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in _MISSING:
        return RemoteMissing()
    if code in UNAVAILABLE or status >= 500 or status == 429:
        return ProviderUnavailable("The store of documents is busy or down.")
    sentence = SENTENCES.get(code)
    return ProviderError(sentence or f"The store of documents refused this: {_short(code) or status}.")


def _of_line(error: BotoCoreError) -> ProviderError:
    """Of an answer that did not come, or not whole."""
    if isinstance(error, SSLError):
        return ProviderUnavailable("The certificate of the store of documents is not valid.")
    if isinstance(error, EndpointConnectionError | ConnectTimeoutError):
        return ProviderUnavailable("The store of documents could not be reached at S3_ENDPOINT_URL.")
    if isinstance(error, HTTPClientError | IncompleteReadError):
        return ProviderUnavailable("The store of documents did not answer in time, or broke off.")
    # What is left is a value the client itself refuses, such as a bucket's name or an endpoint.
    return ProviderError(f"The settings of the store of documents are not usable ({type(error).__name__}).")


def _short(code: str) -> str:
    """As much of an unknown code as is surely one."""
    return "".join(c for c in code[:60] if c.isalnum() or c in "._-")
