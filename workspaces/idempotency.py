"""`Idempotency-Key` on POSTs that create or send: the same key and body answer the same result for 24 hours.

`@idempotent` goes on a view's `post`. The record is committed before the work begins, so a twin that arrives meanwhile
is refused (409, Retry-After) and a crash leaves a record whose lease runs out, after which a retry does the work again.
Answers below 500 are kept, other than 429: what failed or was told to wait may be tried again with the same key.
Keys belong to one user in one workspace on one route; the same key with another body or path is 409.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any, cast

from django.db import IntegrityError, transaction
from django.utils.crypto import salted_hmac
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.crypto import seal_for
from core.errors import Conflict, InvalidInput
from workspaces.authentication import caller
from workspaces.models import ClockTimestamp, IdempotencyRecord, IdempotencyState

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
KEEP = timedelta(hours=24)
LEASE = timedelta(seconds=120)
"""Longer than any request may take; the web server ends one after that."""
RETRY_AFTER_SECONDS = 2
KEY = re.compile(r"[\x20-\x7e]{1,255}")
PARAMETER = OpenApiParameter(
    HEADER,
    str,
    OpenApiParameter.HEADER,
    description="Any text of at most 255 printable characters. The same key and body give the same answer for 24 h.",
)

Handler = Callable[..., Response]


class TwinUnderWay(Conflict):
    """409: the first request with this key has not answered yet."""

    default_code = "idempotency_in_progress"
    default_message = "A request with this Idempotency-Key is still under way."
    retry_after = RETRY_AFTER_SECONDS


def idempotent(handler: Handler) -> Handler:
    """Decorate `post(self, request, …)` of a DRF view whose caller came with a token."""

    @functools.wraps(handler)
    def wrapper(view: APIView, request: Request, *args: Any, **kwargs: Any) -> Response:
        key = request.headers.get(HEADER)
        if key is None:
            return handler(view, request, *args, **kwargs)
        record, fresh = _begin(request, key)
        if not fresh:
            return _replay(record)
        return _finish(record, _run(record, view, functools.partial(handler, view, request, *args, **kwargs)))

    return cast(Handler, extend_schema(parameters=[PARAMETER])(wrapper))


def _run(record: IdempotencyRecord, view: APIView, work: Callable[[], Response]) -> Response:
    """The handler's answer, refusals included; what is a bug or a kill goes on up and leaves the key free."""
    try:
        return work()
    except Exception as error:  # noqa: BLE001 - the boundary where DRF itself would turn the error into an answer
        try:
            return view.handle_exception(error)
        except BaseException:
            _forget(record)
            raise


def _begin(request: Request, key: str) -> tuple[IdempotencyRecord, bool]:
    """The record of this key, and whether the work is ours to do."""
    if not KEY.fullmatch(key):
        raise InvalidInput(fields={HEADER: ["Use 1 to 255 printable ASCII characters."]})
    wanted = _wanted(request, key)
    try:
        with transaction.atomic():
            wanted.save(force_insert=True)
        return wanted, True
    except IntegrityError:
        with transaction.atomic():
            return _meet(wanted)


def _wanted(request: Request, key: str) -> IdempotencyRecord:
    token = caller(request)
    body = json.dumps(request.data, sort_keys=True, default=str)
    match = request.resolver_match
    return IdempotencyRecord(
        workspace_id=token.workspace_id,
        user_id=token.membership.user_id,
        route=f"{request.method} {match.route if match else request.path}"[:200],
        key=key,
        # Keyed: a body may hold a password, and a plain digest of it could be guessed from a stolen table.
        fingerprint=salted_hmac(__name__, f"{request.get_full_path()}\n{body}", algorithm="sha256").hexdigest(),
        lease_until=ClockTimestamp() + LEASE,
    )


def _meet(wanted: IdempotencyRecord) -> tuple[IdempotencyRecord, bool]:
    """There was a record already: replay it, refuse, or take over what is too old or was left by a crash."""
    same = IdempotencyRecord.objects.filter(
        workspace=wanted.workspace_id, user=wanted.user_id, route=wanted.route, key=wanted.key
    )
    found = same.select_for_update().annotate(now=ClockTimestamp()).first()
    if found is None:  # removed a moment ago by the request that held the key
        raise TwinUnderWay
    if found.created_at <= found.now - KEEP:
        same.delete()
        wanted.save(force_insert=True)
        return wanted, True
    if found.fingerprint != wanted.fingerprint:
        raise Conflict("This Idempotency-Key was used for another request.", code="idempotency_key_reused")
    if found.state == IdempotencyState.DONE:
        return found, False
    if found.lease_until > found.now:
        raise TwinUnderWay
    same.update(lease_until=ClockTimestamp() + LEASE)
    return found, True


def _replay(record: IdempotencyRecord) -> Response:
    data = json.loads(record.body) if record.body else None
    return Response(data, status=record.status, headers={REPLAYED: "true"})


def _finish(record: IdempotencyRecord, response: Response) -> Response:
    if response.status_code >= 500 or response.status_code == 429:
        _forget(record)
        return response
    body = "" if response.data is None else JSONRenderer().render(response.data).decode()
    IdempotencyRecord.objects.filter(pk=record.pk, state=IdempotencyState.RUNNING).update(
        state=IdempotencyState.DONE, status=response.status_code, body=seal_for(record, "body", body)
    )
    return response


def _forget(record: IdempotencyRecord) -> None:
    IdempotencyRecord.objects.filter(pk=record.pk).delete()


def forget_old_records() -> int:
    """Remove what is older than 24 hours; how many. Called by a periodic task."""
    return IdempotencyRecord.objects.filter(created_at__lte=ClockTimestamp() - KEEP).delete()[0]
