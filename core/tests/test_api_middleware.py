"""Request ids and browser policies."""

from __future__ import annotations

import io
import logging

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory

from core.api.middleware import (
    ContentSecurityPolicyMiddleware,
    RequestIdFilter,
    RequestIdMiddleware,
    current_request_id,
)

pytestmark = pytest.mark.urls("core.tests.api_urls")


@pytest.mark.parametrize("given", ["a", "req-1", "A.b_c-9", "x" * 64])
def test_request_id_sane_one_is_kept(client: Client, given: str) -> None:
    assert client.get("/api/numbers/1", headers={"x-request-id": given})["X-Request-Id"] == given


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "a\tb", "ü", "a/b", "<script>", "a:b", "${jndi}"])
def test_request_id_other_one_is_replaced(client: Client, given: str) -> None:
    answered = client.get("/api/numbers/1", headers={"x-request-id": given})["X-Request-Id"]
    assert answered != given
    assert len(answered) == 32


def test_request_id_differs_between_requests(client: Client) -> None:
    assert client.get("/page")["X-Request-Id"] != client.get("/page")["X-Request-Id"]


def test_request_id_is_known_inside_the_request_and_forgotten_after(rf: RequestFactory) -> None:
    seen: list[str] = []

    def view(request: HttpRequest) -> HttpResponse:
        seen.append(current_request_id())
        return HttpResponse()

    response = RequestIdMiddleware(view)(rf.get("/", headers={"x-request-id": "r1"}))
    assert seen == ["r1"]
    assert response["X-Request-Id"] == "r1"
    assert current_request_id() == ""


def test_request_id_filter_marks_every_record(rf: RequestFactory) -> None:
    def mark() -> str:
        record = logging.LogRecord("x", logging.INFO, __file__, 1, "words", (), None)
        assert RequestIdFilter().filter(record)
        return str(record.request_id)  # type: ignore[attr-defined]

    inside: list[str] = []
    middleware = RequestIdMiddleware(lambda _: inside.append(mark()) or HttpResponse())  # type: ignore[func-returns-value]
    middleware(rf.get("/", headers={"x-request-id": "r2"}))
    assert inside == ["r2"]
    assert mark() == "-"


def test_request_id_is_in_the_line_that_django_writes_after_the_answer(client: Client) -> None:
    lines = io.StringIO()
    handler = logging.StreamHandler(lines)
    handler.addFilter(RequestIdFilter())
    handler.setFormatter(logging.Formatter("%(request_id)s %(message)s"))
    logger = logging.getLogger("django.request")
    logger.addHandler(handler)
    try:
        client.get("/api/nothing", headers={"x-request-id": "r3"})
    finally:
        logger.removeHandler(handler)
    assert lines.getvalue().startswith("r3 Not Found")


def test_policy_data_may_do_nothing(client: Client) -> None:
    response = client.get("/api/numbers/1")
    assert "default-src 'none'" in response["Content-Security-Policy"]
    assert "unsafe" not in response["Content-Security-Policy"]
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Cache-Control"] == "private, no-store"


def test_policy_pages_may_use_their_own_site_only(client: Client) -> None:
    for path in ("/page", "/api/plain"):
        policy = client.get(path)["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "script-src" not in policy
        assert "unsafe-eval" not in policy
        assert "frame-ancestors 'none'" in policy


def test_policy_console_is_relaxed_only_under_its_path(client: Client) -> None:
    policy = client.get("/admin/page")["Content-Security-Policy"]
    assert "script-src 'self' 'unsafe-eval'" in policy
    assert "form-action" not in policy
    assert "http:" not in policy


def test_policy_of_a_view_is_kept(rf: RequestFactory) -> None:
    own = HttpResponse(headers={"Content-Security-Policy": "sandbox", "Cache-Control": "max-age=9"})
    response = ContentSecurityPolicyMiddleware(lambda _: own)(rf.get("/api/x"))
    assert response["Content-Security-Policy"] == "sandbox"
    assert response["Cache-Control"] == "max-age=9"
