"""Probes and figures, asked as a monitor asks."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client
from django.utils import timezone

from workspaces.models import Heartbeat
from workspaces.services import periodic


@pytest.mark.parametrize("path", ["/", "/admin"])
def test_console_is_found_without_its_slash(client: Client, path: str) -> None:
    assert client.get(path)["Location"] == "/admin/"


def test_icon_is_served_where_browsers_look(client: Client) -> None:
    icon = client.get("/favicon.ico", follow=True)
    assert icon.status_code == 200
    assert icon["Content-Type"] == "image/svg+xml"


def test_healthz_answers_without_a_database(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}


@pytest.mark.django_db
def test_readyz_without_a_heartbeat_is_503_and_says_so(client: Client) -> None:
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer["Retry-After"] == "5"
    checks = answer.json()["checks"]
    assert not checks["heartbeat"]["ready"]
    assert "beat" in checks["heartbeat"]["message"]
    assert {name for name, check in checks.items() if check["ready"]} == {"database", "migrations", "broker"}


@pytest.mark.django_db
def test_readyz_with_a_fresh_heartbeat_is_200(client: Client) -> None:
    periodic.beat(name="beat")
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["status"] == "ready"


@pytest.mark.django_db
def test_readyz_with_an_old_heartbeat_is_503_with_its_age(client: Client) -> None:
    Heartbeat.objects.create(name="beat", at=timezone.now() - timedelta(minutes=5))
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert "300 s old" in answer.json()["checks"]["heartbeat"]["message"]


def test_readyz_without_a_database_names_it_and_asks_no_further(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise OperationalError("password of postgres refused")

    monkeypatch.setattr("django.db.backends.base.base.BaseDatabaseWrapper.cursor", away)
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"]["database"] == {
        "ready": False,
        "message": "The database does not answer: OperationalError.",
    }
    assert "heartbeat" not in answer.json()["checks"]
    assert client.get("/metrics").content == b"# TYPE patchbay_up gauge\npatchbay_up 0\n"


@pytest.mark.django_db
def test_metrics_costs_one_query_per_figure(client: Client, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(13):
        answer = client.get("/metrics")
    assert answer["Content-Type"].startswith("text/plain; version=0.0.4")
    lines = answer.content.decode().splitlines()
    assert "patchbay_up 1" in lines
    assert "patchbay_sync_lag_seconds 0" in lines
    assert {"patchbay_deliveries_due 0", "patchbay_delivery_lag_seconds 0"} <= set(lines)
    assert {"patchbay_mail_waiting 0", "patchbay_mail_lag_seconds 0"} <= set(lines)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_probes_refuse_what_is_no_reading_in_the_api_s_shape(path: str) -> None:
    answer = Client(enforce_csrf_checks=True).post(path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_allowed")
    assert answer.headers["Allow"] == "GET, HEAD"


def test_unknown_api_path_is_404_in_the_api_s_shape(client: Client) -> None:
    answer = client.get("/api/v1/nothing")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"
    assert answer["X-Request-Id"] == answer.json()["error"]["requestId"]


def test_root_leads_to_the_console(client: Client) -> None:
    assert client.get("/")["Location"] == "/admin/"
