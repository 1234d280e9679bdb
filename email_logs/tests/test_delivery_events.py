"""Keeping delivery events: once, also under a race; in any order; thousands a post in few statements."""

from __future__ import annotations

import random
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from email_logs.models import DeliveryEvent, EmailLogEntry, EmailLogTable, Suppression
from email_logs.services import delivery_events, tables
from email_logs.states import State
from email_logs.tests.factories import email_provider, entry_in
from email_logs.tests.posts import VENDORS, Happened, Vendor
from integrations.models import Event, Integration
from integrations.providers.delivery import Notice, Told, Unwanted
from workspaces.models import Role
from workspaces.tests.factories import WorkspaceFactory
from workspaces.tests.fixtures import Actor, make_actor

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)


def notice(kind: Told, *, key: str = "", minutes: int = 0, who: str = "", words: str = "", **more: Any) -> Notice:
    return Notice(
        key=key or f"{kind}-{minutes}-{who}",
        kind=kind,
        at=NOON + timedelta(minutes=minutes),
        message_id=more.pop("message_id", "mail-1"),
        recipients=(who,) if who else (),
        words=words,
        **more,
    )


def provider(actor: Actor) -> Integration:
    return email_provider(actor, VENDORS[1].type, VENDORS[1].credentials())


@pytest.fixture
def table(owner: Actor) -> EmailLogTable:
    return tables.of_integration(provider(owner))


@pytest.mark.django_db
@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_any_order_ends_the_same(table: EmailLogTable, order: tuple[int, ...]) -> None:
    """Each event in a post of its own, whichever comes first."""
    mail = entry_in(table)
    told = [
        notice(Told.ACCEPTED),
        notice(Told.DEFERRED, minutes=1, words="Try later."),
        notice(Told.DELIVERED, minutes=2, words="250 OK"),
        notice(Told.BOUNCED, minutes=3, words="No such user.", unwanted=Unwanted.BOUNCED),
    ]
    for index in order:
        assert delivery_events.take(table=table, notices=[told[index]]) == 1
    mail.refresh_from_db()
    assert (mail.state, mail.error, mail.state_at) == (State.BOUNCED, "No such user.", told[3].at)
    assert DeliveryEvent.objects.filter(entry_id=mail.pk).count() == 4
    assert Suppression.objects.count() == 1


@pytest.mark.django_db
def test_one_post_with_the_whole_story_tells_each_step(table: EmailLogTable) -> None:
    mail = entry_in(table)
    told = [notice(Told.BOUNCED, minutes=2), notice(Told.DELIVERED, minutes=1), notice(Told.OPENED, minutes=3)]
    assert delivery_events.take(table=table, notices=told) == 3
    mail.refresh_from_db()
    assert mail.state == State.BOUNCED
    assert list(Event.objects.filter(type__startswith="email.").values_list("type", flat=True)) == [
        "email.delivered",
        "email.bounced",
    ]


@pytest.mark.django_db
def test_delivery_after_a_deferral_takes_the_error_away(table: EmailLogTable) -> None:
    mail = entry_in(table)
    delivery_events.take(table=table, notices=[notice(Told.DEFERRED, words="Mailbox busy.")])
    mail.refresh_from_db()
    assert mail.error == "Mailbox busy."
    delivery_events.take(table=table, notices=[notice(Told.DELIVERED, minutes=1, words="250 OK")])
    mail.refresh_from_db()
    assert (mail.state, mail.error) == (State.DELIVERED, "")


@pytest.mark.django_db
def test_what_was_left_out_of_the_send_stays_said(table: EmailLogTable) -> None:
    mail = entry_in(table, error="Not sent to bob@hub.example: suppressed.")
    delivery_events.take(table=table, notices=[notice(Told.DELIVERED)])
    mail.refresh_from_db()
    assert (mail.state, mail.error) == (State.DELIVERED, "Not sent to bob@hub.example: suppressed.")
    delivery_events.take(table=table, notices=[notice(Told.BOUNCED, minutes=1, words="No such user.")])
    mail.refresh_from_db()
    assert mail.error == "Not sent to bob@hub.example: suppressed.; No such user."


@pytest.mark.django_db
@pytest.mark.parametrize("turned", [False, True], ids=["drop_first", "delivery_first"])
def test_of_several_recipients_the_error_says_who_got_nothing(table: EmailLogTable, turned: bool) -> None:
    mail = entry_in(table, to="ada@hub.example, bob@hub.example")
    told = [
        notice(Told.FAILED, who="ada@hub.example", words="Bounced Address"),
        notice(Told.DELIVERED, who="bob@hub.example", minutes=1),
    ]
    for one in reversed(told) if turned else told:
        delivery_events.take(table=table, notices=[one])
    mail.refresh_from_db()
    assert (mail.state, mail.error) == (State.DELIVERED, "ada@hub.example: Bounced Address")


@pytest.mark.django_db
def test_every_bounce_of_several_is_in_the_error(table: EmailLogTable) -> None:
    mail = entry_in(table, to="ada@hub.example, bob@hub.example")
    people = ("ada@hub.example", "bob@hub.example")
    told = [notice(Told.BOUNCED, who=who, words="No.", unwanted=Unwanted.BOUNCED) for who in people]
    delivery_events.take(table=table, notices=told)
    mail.refresh_from_db()
    assert mail.error == "ada@hub.example: No.; bob@hub.example: No."
    assert {row.address for row in Suppression.objects.all()} == set(people)


@pytest.mark.django_db
def test_removed_suppression_is_not_brought_back_by_the_same_event(table: EmailLogTable) -> None:
    entry_in(table)
    told = [notice(Told.BOUNCED, unwanted=Unwanted.BOUNCED)]
    delivery_events.take(table=table, notices=told)
    Suppression.objects.all().delete()
    assert delivery_events.take(table=table, notices=told) == 0
    assert not Suppression.objects.exists()


@pytest.mark.django_db
def test_same_address_with_another_event_keeps_its_first_reason(table: EmailLogTable) -> None:
    entry_in(table)
    delivery_events.take(table=table, notices=[notice(Told.BOUNCED, unwanted=Unwanted.BOUNCED)])
    delivery_events.take(table=table, notices=[notice(Told.COMPLAINED, unwanted=Unwanted.COMPLAINED)])
    assert Suppression.objects.get().reason == "bounced"


@pytest.mark.django_db
def test_event_of_another_integration_of_the_same_workspace_moves_nothing(table: EmailLogTable, owner: Actor) -> None:
    mail = entry_in(table)
    other = tables.of_integration(provider(owner))
    told = notice(Told.BOUNCED, reference=str(mail.pk), unwanted=Unwanted.BOUNCED)
    assert delivery_events.take(table=other, notices=[told]) == 1
    mail.refresh_from_db()
    assert mail.state == State.ACCEPTED
    assert DeliveryEvent.objects.get().entry_id is None
    assert not Suppression.objects.exists()


@pytest.mark.django_db
def test_thousands_of_events_cost_as_many_statements_as_a_few(table: EmailLogTable) -> None:
    def post(count: int, name: str) -> int:
        mails = [entry_in(table, message_id=f"{name}-{number}") for number in range(count)]
        told = [
            notice(Told.BOUNCED, key=mail.message_id, message_id=mail.message_id, unwanted=Unwanted.BOUNCED)
            for mail in mails
        ]
        random.Random(1).shuffle(told)
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert delivery_events.take(table=table, notices=told) == count
        assert EmailLogEntry.objects.filter(message_id__startswith=name, state=State.BOUNCED).count() == count
        return len(queries)

    assert post(1500, "many") == post(3, "few") <= 10


# --- at once ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def standing(transactional_db: None) -> tuple[Integration, EmailLogTable]:
    """An integration that other threads see."""
    integration = provider(make_actor(workspace=WorkspaceFactory(), role=Role.OWNER))
    return integration, tables.of_integration(integration)


def at_once(count: int, work: Any) -> list[Any]:
    def one(index: int) -> Any:
        try:
            return work(index)
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


@pytest.mark.django_db(transaction=True)
def test_ten_posts_of_the_same_event_change_once(standing: tuple[Integration, EmailLogTable]) -> None:
    integration, table = standing
    vendor: Vendor = VENDORS[1]
    mail = entry_in(table)
    answers = at_once(10, lambda index: vendor.post(integration, Happened("bounced")))
    assert [answer.status_code for answer in answers] == [200] * 10
    assert sum(answer.json()["new"] for answer in answers) == 1
    mail.refresh_from_db()
    assert mail.state == State.BOUNCED
    counted = [DeliveryEvent, Suppression, Event.objects.filter(type="email.bounced")]
    assert [(rows.objects if isinstance(rows, type) else rows).count() for rows in counted] == [1, 1, 1]


@pytest.mark.django_db(transaction=True)
def test_posts_that_overlap_in_any_order_wait_for_one_another(standing: tuple[Integration, EmailLogTable]) -> None:
    """The same thirty mails in eight shuffled posts, half by our id and half by the provider's: nobody is a victim of a
    deadlock, and every event counts once."""
    _, table = standing
    mails = [entry_in(table, message_id=f"mail-{number}", to=f"p{number}@hub.example") for number in range(30)]

    def post(index: int) -> int:
        told = [
            notice(
                Told.BOUNCED,
                key=f"event-{number}",
                message_id=mail.message_id,
                reference=str(mail.pk) if (number + index) % 2 else "",
                unwanted=Unwanted.BOUNCED,
            )
            for number, mail in enumerate(mails)
        ]
        random.Random(index).shuffle(told)
        return delivery_events.take(table=table, notices=told)

    assert sum(at_once(8, post)) == 30
    assert Suppression.objects.count() == Event.objects.filter(type="email.bounced").count() == 30


@pytest.mark.django_db(transaction=True)
def test_event_and_answer_at_once_meet_at_the_next_tick(
    standing: tuple[Integration, EmailLogTable],
) -> None:
    """Whoever is first, the event ends up at its mail."""
    _, table = standing
    mails = [entry_in(table, state=State.QUEUED, message_id="") for _ in range(20)]

    def answer(mail: EmailLogEntry) -> None:
        EmailLogEntry.objects.filter(pk=mail.pk).update(state=State.ACCEPTED, message_id=f"mail-{mail.pk}")

    def work(index: int) -> None:
        mail: EmailLogEntry = mails[index // 2]
        told = notice(Told.DELIVERED, key=str(mail.pk), message_id=f"mail-{uuid.UUID(str(mail.pk))}")
        if index % 2:
            answer(mail)
        else:
            delivery_events.take(table=table, notices=[told])

    at_once(8, lambda lane: [work(index) for index in range(lane, 40, 8)])
    delivery_events.join_left()
    assert EmailLogEntry.objects.filter(state=State.DELIVERED).count() == 20
    assert not DeliveryEvent.objects.filter(entry_id__isnull=True).exists()
