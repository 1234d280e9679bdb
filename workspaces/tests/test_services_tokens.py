"""Tokens: their text, what is stored, how they end."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from core.errors import InvalidInput
from workspaces.models import ApiToken, AuditEvent
from workspaces.services import tokens
from workspaces.tests.factories import MembershipFactory

pytestmark = pytest.mark.django_db


def test_issue_text_has_the_documented_form() -> None:
    issued = tokens.issue(by=None, membership=MembershipFactory(), name="CI")
    assert re.fullmatch(r"hub_[0-9a-f]{12}_[A-Za-z0-9_-]{49}", issued.text)
    assert tokens.lookup_of(issued.text) == issued.row.lookup


def test_issue_stores_nothing_that_opens() -> None:
    issued = tokens.issue(by=None, membership=MembershipFactory(), name="CI")
    secret = issued.text.split("_", 2)[2]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT t::text, (SELECT string_agg(e::text, ' ') FROM workspaces_auditevent e) FROM workspaces_apitoken t"
        )
        stored = " ".join(cursor.fetchone())
    assert secret not in stored
    assert secret[:12] not in stored
    assert secret not in repr(issued)


def test_issue_gives_different_texts() -> None:
    membership = MembershipFactory()
    texts = {tokens.issue(by=None, membership=membership, name="x").text for _ in range(50)}
    assert len(texts) == 50


def test_issue_with_an_expiry_in_the_past_is_refused() -> None:
    with pytest.raises(InvalidInput) as caught:
        tokens.issue(
            by=None, membership=MembershipFactory(), name="x", expires_at=timezone.now() - timedelta(seconds=1)
        )
    assert list(caught.value.fields) == ["expiresAt"]


def test_issue_and_revoke_leave_a_trail() -> None:
    membership = MembershipFactory()
    issued = tokens.issue(by=membership.user, membership=membership, name="CI")
    tokens.revoke(by=membership.user, token=issued.row)
    assert list(AuditEvent.objects.order_by("at").values_list("action", "actor_id", "object_id")) == [
        ("token.issued", membership.user_id, str(issued.row.pk)),
        ("token.revoked", membership.user_id, str(issued.row.pk)),
    ]


def test_revoke_twice_keeps_the_first_time_and_one_audit_row() -> None:
    row = tokens.issue(by=None, membership=MembershipFactory(), name="CI").row
    tokens.revoke(by=None, token=row)
    first = row.revoked_at
    tokens.revoke(by=None, token=row)
    assert ApiToken.objects.get().revoked_at == first
    assert AuditEvent.objects.filter(action="token.revoked").count() == 1


def test_live_leaves_out_revoked_and_expired_tokens() -> None:
    membership = MembershipFactory()
    alive, revoked, expired = (tokens.issue(by=None, membership=membership, name=name).row for name in "abc")
    tokens.revoke(by=None, token=revoked)
    ApiToken.objects.filter(pk=expired.pk).update(expires_at=timezone.now() - timedelta(hours=1))
    assert list(ApiToken.objects.live()) == [alive]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "",
        lambda text: text[:-1],
        lambda text: text + "A",
        lambda text: text + "\n",
        lambda text: text.upper(),
        lambda text: text.replace("hub_", "hob_"),
        lambda text: text[:20] + ("A" if text[20] != "A" else "B") + text[21:],
        lambda text: text[:-1] + ("A" if text[-1] != "A" else "B"),
        lambda text: "é" * 66,
    ],
)
def test_lookup_of_a_mistyped_text_is_none(change: object) -> None:
    _, text = tokens.new_text()
    assert tokens.lookup_of(change(text)) is None  # type: ignore[operator]


def test_fingerprint_shows_the_lookup_only() -> None:
    issued = tokens.issue(by=None, membership=MembershipFactory(), name="CI")
    assert issued.row.fingerprint == f"hub_{issued.row.lookup}_****"
    assert issued.text.split("_", 2)[2] not in str(issued.row)
