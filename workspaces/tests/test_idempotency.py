"""The same key and body answer the same result, whatever goes wrong in between."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test import override_settings
from django.urls import path
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.errors import Conflict, ProviderRateLimited, ProviderUnavailable
from workspaces import idempotency
from workspaces.idempotency import idempotent
from workspaces.models import ApiToken, IdempotencyRecord, Membership
from workspaces.tests.fixtures import Actor, make_actor

pytestmark = pytest.mark.django_db

work: Callable[[Request], Response]
done: list[Any]


class Things(APIView):
    """A view whose work each test decides."""

    @idempotent
    def post(self, request: Request, **_: Any) -> Response:
        done.append(request.data)
        return work(request)


urlpatterns = [path("api/things", Things.as_view()), path("api/things/<str:thing>/run", Things.as_view())]


@pytest.fixture(autouse=True)
def routes() -> Iterator[None]:
    global work, done
    work, done = lambda request: Response({"number": len(done)}, status=201), []
    with override_settings(ROOT_URLCONF=__name__):
        yield


def post(actor: Actor, body: Any = None, *, key: str | None = "key-1", to: str = "/api/things") -> Any:
    headers = {} if key is None else {"Idempotency-Key": key}
    return actor.client.post(to, {"a": 1} if body is None else body, format="json", headers=headers)


def code(response: Any) -> str:
    return str(response.json()["error"]["code"])


def test_same_key_and_body_gives_the_same_answer_without_doing_it_again(member: Actor) -> None:
    first, second = post(member), post(member)
    assert (first.status_code, first.content) == (second.status_code, second.content) == (201, b'{"number":1}')
    assert first.headers.get("Idempotency-Replayed") is None
    assert second["Idempotency-Replayed"] == "true"
    assert len(done) == 1


def test_without_a_key_it_is_done_each_time(member: Actor) -> None:
    assert post(member, key=None).json() != post(member, key=None).json()
    assert not IdempotencyRecord.objects.exists()


def test_order_of_the_bodys_members_does_not_matter(member: Actor) -> None:
    post(member, {"a": 1, "b": 2})
    assert post(member, {"b": 2, "a": 1})["Idempotency-Replayed"] == "true"


def test_same_key_with_another_body_is_409(member: Actor) -> None:
    post(member, {"a": 1})
    response = post(member, {"a": 2})
    assert (response.status_code, code(response)) == (409, "idempotency_key_reused")
    assert len(done) == 1


def test_same_key_on_another_object_is_409(member: Actor) -> None:
    post(member, to="/api/things/1/run")
    assert code(post(member, to="/api/things/2/run")) == "idempotency_key_reused"


def test_same_key_on_another_route_is_its_own(member: Actor) -> None:
    post(member)
    assert post(member, to="/api/things/1/run").status_code == 201
    assert len(done) == 2


def test_same_key_of_another_user_or_in_another_workspace_is_its_own(member: Actor, admin: Actor) -> None:
    elsewhere = make_actor(user=member.user)
    assert [post(actor).json()["number"] for actor in (member, admin, elsewhere)] == [1, 2, 3]


def test_same_key_with_another_token_of_the_same_member_is_replayed(member: Actor) -> None:
    other = make_actor_again(member)
    post(member)
    assert post(other)["Idempotency-Replayed"] == "true"


def make_actor_again(actor: Actor) -> Actor:
    from workspaces.services import tokens
    from workspaces.tests.fixtures import client_for

    text = tokens.issue(by=None, membership=actor.membership, name="Second").text
    return Actor(membership=actor.membership, token=text, client=client_for(text))


def test_refusal_below_500_is_kept(member: Actor) -> None:
    global work

    def refuse(request: Request) -> Response:
        raise Conflict("Not now.", code="busy_thing")

    work = refuse
    first, second = post(member), post(member)
    assert (first.status_code, code(first)) == (409, "busy_thing")
    assert first.content == second.content
    assert second["Idempotency-Replayed"] == "true"
    assert len(done) == 1


@pytest.mark.parametrize("error", [ProviderUnavailable(), ProviderRateLimited()])
def test_answer_that_says_try_again_is_not_kept(member: Actor, error: Exception) -> None:
    global work

    def fail(request: Request) -> Response:
        if len(done) == 1:
            raise error
        return Response({"ok": True})

    work = fail
    assert post(member).status_code in (429, 502)
    assert post(member).json() == {"ok": True}


def test_bug_leaves_the_key_free(member: Actor) -> None:
    global work

    def fail(request: Request) -> Response:
        if len(done) == 1:
            raise ZeroDivisionError
        return Response({"ok": True})

    work = fail
    member.client.raise_request_exception = False
    assert post(member).status_code == 500
    assert post(member).json() == {"ok": True}


def test_crash_leaves_a_lease_that_runs_out(member: Actor) -> None:
    global work

    def killed(request: Request) -> Response:
        raise KeyboardInterrupt

    work = killed
    with pytest.raises(KeyboardInterrupt):
        post(member)
    work = lambda request: Response({"ok": True})  # noqa: E731
    response = post(member)
    assert (response.status_code, code(response)) == (409, "idempotency_in_progress")
    assert int(response["Retry-After"]) > 0
    IdempotencyRecord.objects.update(lease_until=Now() - timedelta(seconds=1))
    assert post(member).json() == {"ok": True}
    assert post(member)["Idempotency-Replayed"] == "true"


def test_key_is_forgotten_after_24_hours(member: Actor) -> None:
    post(member)
    IdempotencyRecord.objects.update(created_at=Now() - timedelta(hours=24, seconds=1))
    assert post(member, {"another": "body"}).json() == {"number": 2}


def test_forget_old_records_keeps_the_young(member: Actor) -> None:
    post(member, key="old")
    IdempotencyRecord.objects.update(created_at=Now() - timedelta(hours=25))
    post(member, key="young")
    assert idempotency.forget_old_records() == 1
    assert IdempotencyRecord.objects.get().key == "young"


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there", "ümlaut", "nul\x00"])
def test_key_that_is_no_key_is_400(member: Actor, key: str) -> None:
    response = post(member, key=key)
    assert response.status_code == 400
    assert list(response.json()["error"]["fields"]) == ["Idempotency-Key"]
    assert done == []


@pytest.mark.parametrize("key", ["x", "x" * 255, "with space", "~!@#$%^&*()"])
def test_key_of_printable_characters_is_taken(member: Actor, key: str) -> None:
    assert post(member, key=key).status_code == 201
    assert post(member, key=key)["Idempotency-Replayed"] == "true"


def test_malformed_body_is_400_and_leaves_the_key_free(member: Actor) -> None:
    headers = {"Idempotency-Key": "key-1"}
    broken = member.client.post("/api/things", "{", content_type="application/json", headers=headers)
    assert broken.status_code == 400
    assert post(member).status_code == 201


def test_answer_without_a_body_is_replayed_without_one(member: Actor) -> None:
    global work
    work = lambda request: Response(status=204)  # noqa: E731
    assert (post(member).status_code, post(member).content) == (204, b"")


def test_kept_answer_is_sealed(member: Actor) -> None:
    global work
    work = lambda request: Response({"token": "plain-marker"})  # noqa: E731
    post(member)
    with connection.cursor() as cursor:
        cursor.execute("SELECT r::text, r.body FROM workspaces_idempotencyrecord r")
        text, body = cursor.fetchone()
    assert "marker" not in text
    assert b"marker" not in bytes(body)
    assert post(member).json() == {"token": "plain-marker"}


def test_removed_member_finds_no_kept_answer(member: Actor) -> None:
    post(member)
    Membership.objects.filter(pk=member.membership.pk).delete()
    assert not ApiToken.objects.exists()
    assert post(member).status_code == 401


@pytest.mark.django_db(transaction=True)
def test_twins_at_the_same_moment_do_it_once(member: Actor) -> None:
    global work
    began, go_on = threading.Event(), threading.Event()

    def slow(request: Request) -> Response:
        began.set()
        assert go_on.wait(20)
        return Response({"number": len(done)}, status=201)

    work = slow

    def in_thread() -> Any:
        try:
            return post(member)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(in_thread)
        assert began.wait(20)
        twins = [post(member) for _ in range(3)]
        go_on.set()
        answered = first.result(20)
    assert {(twin.status_code, code(twin)) for twin in twins} == {(409, "idempotency_in_progress")}
    assert answered.status_code == 201
    assert len(done) == 1
    assert post(member)["Idempotency-Replayed"] == "true"


@pytest.mark.django_db(transaction=True)
def test_eight_twins_in_a_race_do_it_once(member: Actor) -> None:
    barrier = threading.Barrier(8)

    def in_thread(_: int) -> int:
        try:
            barrier.wait(20)
            return int(post(member).status_code)
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(in_thread, range(8)))
    assert len(done) == 1
    assert set(statuses) <= {201, 409}
    assert 201 in statuses
