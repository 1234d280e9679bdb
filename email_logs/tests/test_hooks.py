"""The hook: each vendor's posts, good and bad, by what is answered and what becomes of the mail (issue 5)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from core.ids import uuid7
from email_logs.models import DeliveryEvent, EmailLogEntry, Suppression
from email_logs.services import delivery_events, tables
from email_logs.states import State
from email_logs.tests.factories import email_provider, entry
from email_logs.tests.posts import OTHER, VENDORS, Happened, Vendor, send
from email_logs.views.hooks import Events
from integrations.models import Event, Integration
from integrations.services import integrations
from workspaces.tests.fixtures import Actor, make_actor

pytestmark = pytest.mark.django_db

BOUNCED = Happened("bounced")
DELIVERED = Happened("delivered", key="event-0", ago=5)


@dataclass
class World:
    """An integration with one mail, and whoever posts."""

    actor: Actor
    vendor: Vendor
    integration: Integration
    mail: EmailLogEntry

    def post(self, *happened: Happened, **how: Any) -> Any:
        return self.vendor.post(self.integration, *happened, **how)

    def raw(self, body: bytes, **how: Any) -> Any:
        return send(self.vendor.word, self.integration.pk, body, self.vendor.signed(body, **how))

    @property
    def state(self) -> str:
        self.mail.refresh_from_db()
        return self.mail.state

    def counts(self) -> tuple[int, ...]:
        return tuple(model.objects.count() for model in (DeliveryEvent, Event, Suppression))


@pytest.fixture(params=VENDORS, ids=lambda vendor: vendor.word)
def world(owner: Actor, request: pytest.FixtureRequest) -> World:
    vendor: Vendor = request.param
    integration = email_provider(owner, vendor.type, vendor.credentials())
    return World(owner, vendor, integration, entry(integration))


# --- posts by what is answered and what becomes of the mail --------------------------------------------------------


def forged(world: World) -> Any:
    body = world.vendor.body(BOUNCED)
    headers = world.vendor.signed(world.vendor.body(DELIVERED))
    return send(world.vendor.word, world.integration.pk, body, headers)


def unsigned(world: World) -> Any:
    return send(world.vendor.word, world.integration.pk, world.vendor.body(BOUNCED), {})


def nonsense_signature(world: World) -> Any:
    body = world.vendor.body(BOUNCED)
    headers = dict.fromkeys(world.vendor.signed(body), "v1,~ é , \x7f")
    return send(world.vendor.word, world.integration.pk, body, headers)


def other_integration(world: World) -> Any:
    """Signed well, for another workspace's integration with another key."""
    stranger = email_provider(make_actor(role="OWNER"), world.vendor.type, world.vendor.credentials(OTHER))
    return world.vendor.post(stranger, BOUNCED)


def strangers_mail(world: World) -> Any:
    """Another workspace's integration, by its own good signature, speaks of our mail by both of its ids."""
    stranger = email_provider(make_actor(role="OWNER"), world.vendor.type, world.vendor.credentials(OTHER))
    return world.vendor.post(stranger, replace(BOUNCED, reference=str(world.mail.pk)), key=OTHER)


def disabled(world: World) -> Any:
    integrations.change(integration=world.integration, by=world.actor.user, given={"enabled": False})
    return world.post(BOUNCED)


def deleted(world: World) -> Any:
    integrations.remove(integration=world.integration, by=world.actor.user)
    return world.post(BOUNCED)


def without_secret(world: World) -> Any:
    given = {"credentials": {"apiKey": "re_or_SG.key"}}
    integrations.change(integration=world.integration, by=world.actor.user, given=given)
    return world.post(BOUNCED)


def other_provider(world: World) -> Any:
    (other,) = [vendor for vendor in VENDORS if vendor.word != world.vendor.word]
    body = world.vendor.body(BOUNCED)
    return send(other.word, world.integration.pk, body, world.vendor.signed(body))


def unknown_integration(world: World) -> Any:
    body = world.vendor.body(BOUNCED)
    return send(world.vendor.word, uuid7(), body, world.vendor.signed(body))


def no_id_at_all(world: World) -> Any:
    body = world.vendor.body(BOUNCED)
    return send(world.vendor.word, "none", body, world.vendor.signed(body))


def by_type(world: World) -> Any:
    body = world.vendor.body(BOUNCED)
    word = world.vendor.type.lower().replace("_", "-")
    return send(word, world.integration.pk, body, world.vendor.signed(body))


def huge(world: World) -> Any:
    return world.raw(b" " * (Events.max_bytes + 1))


def duplicate(world: World) -> Any:
    world.post(BOUNCED)
    before = world.counts()
    answer = world.post(BOUNCED)
    assert answer.json()["new"] == 0
    assert world.counts() == before
    return answer


def out_of_order(world: World) -> Any:
    world.post(BOUNCED)
    return world.post(DELIVERED)


def late(world: World) -> Any:
    """Days after the bounce, its deferral comes."""
    world.post(BOUNCED)
    return world.post(Happened("deferred", key="event-2", ago=3 * 86_400))


def before_the_answer(world: World) -> Any:
    """The mail is still being sent: only our own id of it is known."""
    EmailLogEntry.objects.filter(pk=world.mail.pk).update(state=State.QUEUED, message_id="")
    return world.post(replace(BOUNCED, reference=str(world.mail.pk)))


def of_nobody_knows(world: World) -> Any:
    """The send ended without an answer."""
    EmailLogEntry.objects.filter(pk=world.mail.pk).update(state=State.UNKNOWN, message_id="")
    return world.post(replace(BOUNCED, reference=str(world.mail.pk)))


def unknown_mail(world: World) -> Any:
    return world.post(replace(BOUNCED, message_id="another", reference=str(uuid7())))


def of_no_mail(world: World) -> Any:
    """Something that is known to be none of our business."""
    return world.post(Happened("received"))


MATRIX: tuple[tuple[str, Callable[[World], Any], int, State], ...] = (
    ("good", lambda world: world.post(BOUNCED), 200, State.BOUNCED),
    ("delivered", lambda world: world.post(DELIVERED), 200, State.DELIVERED),
    ("blocked", lambda world: world.post(Happened("blocked")), 200, State.BOUNCED),
    ("deferred", lambda world: world.post(Happened("deferred")), 200, State.DEFERRED),
    ("complained", lambda world: world.post(Happened("complained")), 200, State.COMPLAINED),
    ("dropped", lambda world: world.post(Happened("dropped")), 200, State.FAILED),
    ("opened", lambda world: world.post(Happened("opened")), 200, State.ACCEPTED),
    ("nearly_stale", lambda world: world.post(BOUNCED, at=-290), 200, State.BOUNCED),
    ("by_type", by_type, 200, State.BOUNCED),
    ("forged", forged, 401, State.ACCEPTED),
    ("unsigned", unsigned, 401, State.ACCEPTED),
    ("nonsense", nonsense_signature, 401, State.ACCEPTED),
    ("wrong_key", lambda world: world.post(BOUNCED, key=OTHER), 401, State.ACCEPTED),
    ("stale", lambda world: world.post(BOUNCED, at=-310), 401, State.ACCEPTED),
    ("replayed", lambda world: world.post(BOUNCED, at=-86_400), 401, State.ACCEPTED),
    ("future", lambda world: world.post(BOUNCED, at=+310), 401, State.ACCEPTED),
    ("other_integration", other_integration, 401, State.ACCEPTED),
    ("strangers_mail", strangers_mail, 200, State.ACCEPTED),
    ("disabled", disabled, 401, State.ACCEPTED),
    ("deleted", deleted, 401, State.ACCEPTED),
    ("no_secret", without_secret, 401, State.ACCEPTED),
    ("other_provider", other_provider, 401, State.ACCEPTED),
    ("unknown_integration", unknown_integration, 401, State.ACCEPTED),
    ("no_id", no_id_at_all, 401, State.ACCEPTED),
    ("huge", huge, 413, State.ACCEPTED),
    ("garbage", lambda world: world.raw(b"\xff not json"), 400, State.ACCEPTED),
    ("empty", lambda world: world.raw(b""), 400, State.ACCEPTED),
    ("deep", lambda world: world.raw(b"[" * 100_000), 400, State.ACCEPTED),
    ("texts", lambda world: world.raw(b'["text"]'), 400, State.ACCEPTED),
    ("number", lambda world: world.raw(b"7"), 400, State.ACCEPTED),
    ("duplicate", duplicate, 200, State.BOUNCED),
    ("out_of_order", out_of_order, 200, State.BOUNCED),
    ("late", late, 200, State.BOUNCED),
    ("before_the_answer", before_the_answer, 200, State.BOUNCED),
    ("unknown_state", of_nobody_knows, 200, State.BOUNCED),
    ("unknown_mail", unknown_mail, 200, State.ACCEPTED),
    ("of_no_mail", of_no_mail, 200, State.ACCEPTED),
)


@pytest.mark.parametrize(("act", "status", "state"), [row[1:] for row in MATRIX], ids=[row[0] for row in MATRIX])
def test_post_is_answered_and_moves_the_mail(
    world: World, act: Callable[[World], Any], status: int, state: State
) -> None:
    answer = act(world)
    assert (answer.status_code, world.state) == (status, state), answer.content
    if status == 200:
        assert answer.json()["received"] <= 1
    if status in (400, 401, 413):
        assert DeliveryEvent.objects.count() == Suppression.objects.count() == 0
        assert not Event.objects.filter(type__startswith="email.").exists()


def test_every_refusal_is_the_same_to_the_byte(world: World) -> None:
    refused = [act for _, act, status, _ in MATRIX if status == 401 and act not in (disabled, deleted, without_secret)]
    answers = [act(world) for act in (*refused, disabled, without_secret, deleted)]
    bodies = set()
    for answer in answers:
        error = answer.json()["error"]
        bodies.add(answer.content.replace(error.pop("requestId").encode(), b""))
    assert len(bodies) == 1
    assert json.loads(bodies.pop())["error"]["code"] == "hook_refused"


# --- what follows -----------------------------------------------------------------------------------------------------


def test_bounce_is_in_the_row_suppresses_the_address_and_is_told(world: World) -> None:
    EmailLogEntry.objects.update(transaction=1)
    world.post(BOUNCED)
    world.mail.refresh_from_db()
    assert "No such user." in world.mail.error
    assert world.mail.transaction > 1, "whoever follows the table sees it again"
    (kept,) = DeliveryEvent.objects.all()
    assert (kept.entry_id, kept.kind, kept.event_key) == (world.mail.pk, "bounced", "event-1")
    (one,) = Suppression.objects.all()
    assert (one.address, one.reason, one.entry_id) == ("ada@hub.example", "bounced", world.mail.pk)
    (told,) = Event.objects.filter(type="email.bounced")
    assert told.payload["emailId"] == str(world.mail.pk)
    assert "ada@hub.example" not in json.dumps(told.payload)


@pytest.mark.parametrize("what", ["blocked", "deferred", "delivered", "opened"])
def test_what_may_be_over_tomorrow_suppresses_nobody(world: World, what: str) -> None:
    world.post(Happened(what))
    assert not Suppression.objects.exists()


def test_complaint_suppresses(world: World) -> None:
    world.post(Happened("complained"))
    assert Suppression.objects.get().reason == "complained"


def test_what_the_vendor_suppresses_is_failed_and_suppressed_here(world: World) -> None:
    world.post(Happened("dropped"))
    assert world.state == State.FAILED
    assert Suppression.objects.get().reason == "bounced"
    assert Event.objects.filter(type="email.failed").count() == 1


def test_one_event_costs_few_statements(world: World, django_assert_max_num_queries: Any) -> None:
    with django_assert_max_num_queries(14):  # savepoints and the integration's own among them
        world.post(BOUNCED)


def test_mail_to_several_suppresses_only_whom_the_event_names(world: World) -> None:
    EmailLogEntry.objects.filter(pk=world.mail.pk).update(to="ada@hub.example, bob@hub.example", cc="cy@hub.example")
    world.post(Happened("bounced", recipient="bob@hub.example"))
    assert world.state == State.BOUNCED
    addresses = {row.address for row in Suppression.objects.all()}
    assert addresses == ({"bob@hub.example"} if world.vendor.names_recipients else set())


def test_event_about_somebody_the_mail_did_not_go_to_suppresses_nobody(world: World) -> None:
    if world.vendor.names_recipients:
        world.post(Happened("bounced", recipient="eve@hub.example"))
        assert not Suppression.objects.exists()
    assert world.state in (State.BOUNCED, State.ACCEPTED)


def test_event_before_the_mail_has_its_id_is_kept_and_joined_by_the_tick(world: World) -> None:
    EmailLogEntry.objects.filter(pk=world.mail.pk).update(state=State.QUEUED, message_id="")
    world.post(BOUNCED)
    assert delivery_events.join_left() == 0
    assert world.state == State.QUEUED
    assert DeliveryEvent.objects.get().entry_id is None
    EmailLogEntry.objects.filter(pk=world.mail.pk).update(state=State.ACCEPTED, message_id="mail-1")
    assert delivery_events.join_left() == 1
    assert world.state == State.BOUNCED
    assert DeliveryEvent.objects.get().entry_id == world.mail.pk
    assert Suppression.objects.count() == 1
    assert delivery_events.join_left() == 0


def test_event_before_the_mail_has_its_id_is_joined_by_the_sender(
    world: World, django_capture_on_commit_callbacks: Any
) -> None:
    EmailLogEntry.objects.filter(pk=world.mail.pk).update(state=State.QUEUED, message_id="")
    world.post(BOUNCED)
    EmailLogEntry.objects.filter(pk=world.mail.pk).update(state=State.ACCEPTED, message_id="mail-1")
    with django_capture_on_commit_callbacks(execute=True):
        delivery_events.join_waiting(EmailLogEntry.objects.get(pk=world.mail.pk))
    assert world.state == State.BOUNCED


def test_next_event_brings_those_that_wait_along(world: World) -> None:
    EmailLogEntry.objects.filter(pk=world.mail.pk).update(message_id="")
    world.post(BOUNCED)
    EmailLogEntry.objects.filter(pk=world.mail.pk).update(message_id="mail-1")
    assert world.post(BOUNCED).json()["new"] == 0, "the vendor repeats it"
    assert world.state == State.BOUNCED


def test_mail_nobody_was_sure_of_gets_its_id(world: World) -> None:
    EmailLogEntry.objects.filter(pk=world.mail.pk).update(state=State.UNKNOWN, message_id="")
    world.post(Happened("delivered", reference=str(world.mail.pk)))
    world.mail.refresh_from_db()
    assert (world.mail.state, world.mail.message_id, world.mail.error) == (State.DELIVERED, "mail-1", "")


def test_hook_url_is_shown_beside_the_integration(world: World, settings: Any) -> None:
    settings.PUBLIC_URL = "https://hub.example/"
    shown = world.actor.client.get(f"/api/integrations/{world.integration.pk}").json()
    assert shown["hookUrl"] == f"https://hub.example/api/hooks/{world.vendor.word}/{world.integration.pk}"
    assert world.vendor.public("good") not in json.dumps(shown)


def test_secret_that_proves_nothing_is_refused_when_it_is_given(owner: Actor, world: World) -> None:
    body = {
        "name": "Mail",
        "type": world.vendor.type,
        "config": {},
        "credentials": {"apiKey": "re_or_SG.key", world.vendor.field: "whsec_~not~base64"},
    }
    answer = owner.client.post("/api/integrations", body, format="json")
    assert answer.status_code == 400
    assert list(answer.json()["error"]["fields"]) == [f"credentials.{world.vendor.field}"]


def test_flood_at_one_hook_leaves_another_open(world: World, settings: Any) -> None:
    settings.THROTTLE_ADDRESS_PER_MINUTE = 2
    answers = [unsigned(world).status_code for _ in range(4)]
    assert 429 in answers
    other = email_provider(world.actor, world.vendor.type, world.vendor.credentials())
    assert world.vendor.post(other, DELIVERED).status_code == 200


def test_table_of_the_integration_is_made_where_it_is_missing(owner: Actor) -> None:
    vendor = VENDORS[0]
    integration = email_provider(owner, vendor.type, vendor.credentials())
    assert vendor.post(integration, BOUNCED).status_code == 200
    assert DeliveryEvent.objects.get().table == tables.of_integration(integration)
