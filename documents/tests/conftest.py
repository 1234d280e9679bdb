"""A store of its own for each test, and LocalStack's S3 for those that ask for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from core.errors import ProviderUnavailable
from documents.storage.local import LocalStore
from documents.storage.s3 import S3Store
from documents.tests import localstack
from documents.tests.test_scanning import daemon  # noqa: F401 - a fixture

BUCKET = "patchbay-documents"
ORIGIN = "https://crm.example.org"


@pytest.fixture(autouse=True)
def _own_store(settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Have these operations of the store fail; called without any, it works again."""
    whole = {name: getattr(LocalStore, name) for name in ("promote", "stat", "read", "delete")}

    def fail(*_: object, **__: object) -> Any:
        raise ProviderUnavailable("The disk is away.")

    def broken(*names: str) -> None:
        for name, method in whole.items():
            monkeypatch.setattr(LocalStore, name, fail if name in names else method)

    return broken


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if not localstack.python():
        pytest.skip("LocalStack is not installed: run `make test-services`, which puts it into .venv/localstack")
    with localstack.running(tmp_path_factory.mktemp("localstack")) as url:
        yield url


@pytest.fixture
def store(server: str, settings: Any) -> S3Store:
    settings.S3_ENDPOINT_URL, settings.S3_PUBLIC_ENDPOINT_URL = server, ""
    settings.S3_BUCKET, settings.S3_REGION = BUCKET, "us-east-1"
    settings.S3_ACCESS_KEY_ID = settings.S3_SECRET_ACCESS_KEY = "test"
    made = S3Store()
    made._client.create_bucket(Bucket=BUCKET)  # in its own region, doing it again is nothing
    for key in made.keys("", older_than=timezone.now() + timedelta(days=1)):
        made.delete(key)
    made._client.put_bucket_cors(
        Bucket=BUCKET,
        CORSConfiguration={
            "CORSRules": [
                {"AllowedOrigins": [ORIGIN], "AllowedMethods": ["GET", "PUT", "POST"], "AllowedHeaders": ["*"]}
            ]
        },
    )
    return made
