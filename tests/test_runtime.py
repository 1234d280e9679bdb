"""`manage.py up` as an operator runs it: first start, refusals, a killed child, a stop, a second start.

One product for the whole module, because a start takes seconds; the tests stand in the order of its life.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path

import psutil
import psycopg
import pytest

from core.ids import uuid7
from tests.running import Product
from workspaces.runtime.embedded import EmbeddedServer

STOP_SECONDS = 15


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    running = Product(tmp_path_factory.mktemp("up") / "data", from_nothing=True)
    running.start()
    yield running
    if running.process.poll() is None:
        running.stop()


@pytest.fixture(scope="module")
def token(product: Product) -> str:
    """Of the box that the first start prints."""
    product.wait_until_ready()
    found = re.search(r"API token\s+(\S+)", product.output)
    assert found, product.output
    return found.group(1)


def test_up_first_start_becomes_ready_and_names_each_part(product: Product) -> None:
    answer = product.wait_until_ready()
    assert set(answer["checks"]) == {"database", "migrations", "heartbeat", "broker"}
    assert product.get("/healthz") == (200, '{"status": "ok"}')


def test_up_first_start_prints_addresses_and_secrets_once(product: Product, token: str) -> None:
    for label in ("Console", "API docs", "Log-in", "Password", "API token"):
        assert len(re.findall(rf"│ {label}\s+\S+", product.output)) == 1
    assert product.get("/api/v1/integrations/connections", token)[0] == 200
    assert product.get("/api/v1/integrations/connections", token + "x")[0] == 401


def test_up_serves_documentation_console_and_figures(product: Product, token: str) -> None:
    assert "swagger" in product.get("/api/docs")[1]
    assert product.get("/static/drf_spectacular_sidecar/swagger-ui-dist/swagger-ui.css")[0] == 200
    assert "openapi: 3.1" in product.get("/api/schema")[1]
    assert product.get("/admin/login/")[0] == 200
    assert "\npatchbay_sync_lag_seconds 0\n" in product.get("/metrics")[1]


def test_up_second_start_on_the_same_data_is_refused_with_the_pid(product: Product, token: str) -> None:
    second = product.command("up")
    output = second.communicate(timeout=30)[0]
    assert second.returncode == 1
    assert f"already runs on {product.environment['DATA_DIR']} (process {product.process.pid})" in output
    assert product.get("/readyz")[0] == 200


def test_up_on_a_busy_port_is_refused_before_anything_starts(product: Product, token: str, tmp_path: Path) -> None:
    other = Product(tmp_path / "data", from_nothing=True)
    other.environment["PORT"] = str(product.port)
    second = other.command("up")
    output = second.communicate(timeout=30)[0]
    assert second.returncode == 1
    assert output.strip().endswith(f"Port {product.port} is in use by another program. Set PORT to a free one.")
    assert not (tmp_path / "data" / "postgres").exists()


def test_command_beside_a_running_product_uses_its_database(product: Product, token: str) -> None:
    doctor = product.command("doctor", "--json")
    findings = json.loads(doctor.communicate(timeout=30)[0])
    assert doctor.returncode == 0
    assert {finding["level"] for finding in findings} == {"ok"}
    assert {"subject": "database", "level": "ok", "what": "PostgreSQL 18, embedded", "mend": ""} in findings
    assert product.get("/readyz")[0] == 200


def test_up_tells_a_stream_within_a_second_and_serves_others_meanwhile(product: Product, token: str) -> None:
    """More streams than one process had threads before; the event is a row that somebody else commits."""
    streams = [product.stream(STREAM, token) for _ in range(5)]
    assert {stream.status for stream in streams} == {200}
    for stream in streams:
        _line_with(stream, b"event: counts")
    began = time.monotonic()
    assert product.get("/api/v1/integrations/connections", token)[0] == 200
    assert time.monotonic() - began < 10, "the streams have the threads of others"
    with psycopg.connect(EmbeddedServer(Path(product.environment["DATA_DIR"])).url, autocommit=True) as database:
        assert min(_told(database, streams) for _ in range(3)) < 1  # the best is the product's, the rest the machine's
    for stream in streams:
        stream.close()


STREAM = "/api/v1/integrations/email/stream"
HAPPENS = """
    INSERT INTO integrations_event (id, type, workspace_id, user_id, payload)
    SELECT %s, 'sync.failed', workspace_id, user_id, '{}' FROM workspaces_membership
"""


def _told(database: psycopg.Connection, streams: list[HTTPResponse]) -> float:
    """How long after it happened the last of them knew."""
    database.execute(HAPPENS, [uuid7()])
    began = time.monotonic()
    for stream in streams:
        _line_with(stream, b"event: sync.failed")
    return time.monotonic() - began


def _line_with(stream: HTTPResponse, words: bytes) -> None:
    while words not in (line := stream.readline()):
        assert line, "the stream ended"


@pytest.mark.parametrize("name", ["quick", "web", "postgres"])
def test_up_killed_child_is_started_again(product: Product, token: str, name: str) -> None:
    before = product.children()[name]
    before.kill()
    psutil.wait_procs([before], timeout=10)
    assert product.wait_until(lambda: product.children().get(name, before) != before)
    product.wait_until_ready()


def test_up_sigterm_stops_everything_in_time(product: Product, token: str) -> None:
    family = psutil.Process(product.process.pid).children(recursive=True)
    stream = product.stream(STREAM, token)
    assert product.stop() < STOP_SECONDS
    assert stream.read().endswith(b"\n\n")  # it ended as it should: no chunk is missing
    assert product.process.returncode == 0
    assert psutil.wait_procs(family, timeout=20)[1] == []
    assert "did not stop in time" not in product.output


def test_up_second_start_keeps_the_data_and_prints_no_secret(product: Product, token: str) -> None:
    product.start()
    product.wait_until_ready()
    assert "API token" not in product.output
    assert "Password" not in product.output
    assert product.get("/api/v1/integrations/connections", token)[0] == 200


def test_up_killed_leaves_no_orphan_and_no_lock(product: Product, token: str) -> None:
    family = psutil.Process(product.process.pid).children(recursive=True)
    product.process.kill()
    product.process.wait()
    assert psutil.wait_procs(family, timeout=STOP_SECONDS)[1] == []
    product.start()
    product.wait_until_ready()
    assert product.get("/api/v1/integrations/connections", token)[0] == 200
