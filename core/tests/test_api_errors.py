"""One error shape, whatever fails and wherever, with nothing of the inside in it."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.test import Client, RequestFactory

from core.api import errors
from core.tests.api_urls import FAILURES

pytestmark = pytest.mark.urls("core.tests.api_urls")


@pytest.fixture
def api() -> Client:
    return Client(raise_request_exception=False)


EXPECTED = {
    "invalid": (400, "validation_error"),
    "missing": (404, "not_found"),
    "refused": (403, "permission_denied"),
    "conflict": (409, "conflict"),
    "unset": (409, "not_configured"),
    "egress": (422, "address_not_allowed"),
    "rejected": (422, "provider_rejected"),
    "away": (502, "provider_unavailable"),
    "limited": (429, "provider_rate_limited"),
    "busy": (503, "unavailable"),
    "drf-validation": (400, "validation_error"),
    "drf-general": (400, "validation_error"),
    "drf-parse": (400, "bad_request"),
    "drf-anonymous": (401, "not_authenticated"),
    "drf-token": (401, "token_expired"),
    "drf-denied": (403, "permission_denied"),
    "drf-missing": (404, "not_found"),
    "drf-throttled": (429, "throttled"),
    "http404": (404, "not_found"),
    "denied": (403, "permission_denied"),
    "database": (503, "unavailable"),
    "interface": (503, "unavailable"),
    "bug": (500, "internal_error"),
}


def test_every_failure_has_an_expectation() -> None:
    assert set(EXPECTED) == set(FAILURES)


@pytest.mark.parametrize("how", EXPECTED)
def test_handle_failure_has_status_code_and_shape(api: Client, how: str) -> None:
    response = api.get(f"/api/fail/{how}")
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == EXPECTED[how]
    assert response["Content-Type"] == "application/json"
    assert error["message"]
    assert error["requestId"] == response["X-Request-Id"]
    assert "secret" not in response.content.decode()


@pytest.mark.parametrize(
    ("how", "seconds"), [("limited", "13"), ("busy", "1"), ("drf-throttled", "4"), ("database", "5")]
)
def test_handle_wait_is_given_in_whole_seconds(api: Client, how: str, seconds: str) -> None:
    assert api.get(f"/api/fail/{how}")["Retry-After"] == seconds


@pytest.mark.parametrize("how", ["drf-anonymous", "drf-token"])
def test_handle_unauthenticated_is_challenged_for_a_bearer_token(api: Client, how: str) -> None:
    assert api.get(f"/api/fail/{how}")["WWW-Authenticate"] == "Bearer"


def test_handle_nested_validation_errors_are_named_by_dotted_path(api: Client) -> None:
    error = api.get("/api/fail/drf-validation").json()["error"]
    assert error["fields"] == {"imap.port": ["Too large."], "to.1.email": ["Bad."]}


def test_handle_error_of_no_field_is_the_message(api: Client) -> None:
    error = api.get("/api/fail/drf-general").json()["error"]
    assert error["message"] == "Nothing to do."
    assert "fields" not in error


def test_handle_extra_members_stand_beside_the_code(api: Client) -> None:
    assert api.get("/api/fail/conflict").json()["error"]["current"] == {"id": "1"}


def test_handle_missing_and_foreign_objects_look_the_same(api: Client) -> None:
    bodies = []
    for how in ("missing", "drf-missing", "http404"):
        error = api.get(f"/api/fail/{how}").json()["error"]
        error.pop("requestId")
        bodies.append(error)
    assert bodies == [{"code": "not_found", "message": "Not found."}] * 3


def test_handle_bug_is_logged_with_its_traceback(api: Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        api.get("/api/fail/bug")
    assert "Traceback" in caplog.text
    assert "KeyError" in caplog.text


def test_handle_bug_surfaces_in_tests() -> None:
    with pytest.raises(KeyError):
        Client().get("/api/fail/bug")


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("get", "/api/nothing/here", 404, "not_found"),
        ("get", "/api", 404, "not_found"),
        ("post", "/api/plain", 405, "method_not_allowed"),
        ("delete", "/api/echo", 405, "method_not_allowed"),
        ("get", "/api/broken", 500, "internal_error"),
        ("get", "/api/plain%00", 400, "bad_request"),
        ("get", "/api/numbers/3?page=1%00", 400, "bad_request"),
    ],
)
def test_middleware_error_that_never_reached_the_api_has_its_shape(
    api: Client, settings: Any, debug: bool, method: str, path: str, status: int, code: str
) -> None:
    settings.DEBUG = debug
    response = getattr(api, method)(path)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (status, code)
    assert error["requestId"] == response["X-Request-Id"]
    assert "secret" not in response.content.decode()


def test_middleware_refused_method_names_the_allowed_ones(api: Client) -> None:
    assert api.post("/api/plain")["Allow"] == "GET"
    assert "POST" in api.delete("/api/echo")["Allow"]


def test_middleware_refused_host_has_the_shape(api: Client) -> None:
    response = api.get("/api/plain", headers={"host": "evil.example"})
    assert (response.status_code, response.json()["error"]["code"]) == (400, "bad_request")


def test_middleware_leaves_pages_outside_of_the_api_alone(api: Client) -> None:
    response = api.get("/nothing")
    assert response.status_code == 404
    assert response["Content-Type"].startswith("text/html")
    assert api.get("/api/plain").content == b"<p>a page</p>"


@pytest.mark.parametrize(
    ("handler", "status"),
    [
        (errors.bad_request, 400),
        (errors.permission_denied, 403),
        (errors.not_found, 404),
        (errors.server_error, 500),
    ],
)
def test_handlers_speak_json_under_the_api_and_html_elsewhere(rf: RequestFactory, handler: Any, status: int) -> None:
    under, outside = handler(rf.get("/api/x")), handler(rf.get("/apis"))
    assert (under.status_code, outside.status_code) == (status, status)
    assert under["Content-Type"] == "application/json"
    assert outside["Content-Type"].startswith("text/html")


def test_database_that_is_away_before_any_view_is_a_pause_and_no_error(api: Client, settings: Any) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "core.tests.api_urls.without_database"]
    response = api.get("/api/plain")
    assert (response.status_code, response.json()["error"]["code"]) == (503, "unavailable")
    assert int(response["Retry-After"]) > 0
    assert "starting up" not in response.content.decode()
