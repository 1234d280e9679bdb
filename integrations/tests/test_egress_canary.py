"""A canary sits on this machine's loopback, IPv4 and IPv6: integrations never reach it, however its address is spelt,
at save, check, action or delivery; not by a redirect, not by a name that changes its mind (reference workspace 12).

That the canary hears is known from `test_canary_hears_what_was_opened`: the same calls with the network open.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from core import egress
from core.errors import HubError
from integrations.models import Delivery, DeliveryAttempt, Integration
from integrations.providers import INTEGRATION_PROVIDERS
from integrations.providers.base import EVENTS, Announcement
from integrations.services import integration_use
from integrations.tests import deliveries
from integrations.tests.ears import Ear, listening, onward
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db

API = "/api/integrations"
OPENED = "127.0.0.2"
"""Another address of this machine, which the operator allowed; the canary's are not."""
PUBLIC = "93.184.216.34"

SPELLINGS = (
    "127.0.0.1",
    "localhost",
    "127.1",
    "127.0.1",
    "0177.0.0.1",
    "0177.0.0.01",
    "017700000001",
    "2130706433",
    "0x7f000001",
    "0x7F.0x0.0x0.0x1",
    "0x7f.1",
    "0",
    "0.0.0.0",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[::1%lo]",
    "１２７．０．０．１",
    "①②⑦.⓪.⓪.①",
    "127。0。0。1",
    "ｌｏｃａｌｈｏｓｔ",
    "%31%32%37.0.0.1",
)
NAMES = ("LOCALHOST.", "localhost.localdomain", "ip6-localhost", "ip6-loopback")
"""Loopback on some machines and unknown on others. A name that nobody knows may be saved: it may come to be."""


@dataclass(frozen=True)
class Target:
    """A type whose settings name an address, and an action that goes there."""

    type: str
    setting: str
    credentials: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, str] = field(default_factory=dict)
    action: str = ""
    given: Mapping[str, Any] = field(default_factory=dict)
    checks: bool = True
    """Whether its check asks that address."""

    @property
    def subscribes(self) -> bool:
        """Whether it is told of events."""
        return EVENTS in INTEGRATION_PROVIDERS.get(self.type).capabilities

    def config(self, url: str) -> dict[str, str]:
        return {**self.more, self.setting: url}


TARGETS = (
    Target("WEBHOOK", "url", {"secret": "whsec_c2VjcmV0IG9mIHRoaXJ0eS10d28gYnl0ZXMsIG9r"}),
    Target("DOCUMENT_ENGINE", "baseUrl", {"apiKey": "test_key_of_an_engine"}, action="list_templates"),
    Target("SLACK", "webhookUrl", action="post_message", given={"text": "Hello"}),
    Target(
        "WEBHOOK_PLATFORM", "webhookUrl", action="trigger", given={"payload": {"a": 1}},
        checks=False,
    ),
    Target(
        "EXTERNAL_DATABASE", "baseUrl", {"apiToken": "patAAAAAAAAAAAAAA.canary"}, {"baseId": "appAAAAAAAAAAAAAA"},
        "list_tables",
    ),
)  # fmt: skip


@pytest.fixture
def canary() -> Iterator[Ear]:
    with listening() as ear:
        yield ear


@pytest.fixture(params=TARGETS, ids=lambda item: item.type)
def target(request: pytest.FixtureRequest) -> Target:
    found: Target = request.param
    return found


@pytest.fixture(params=[item for item in TARGETS if item.subscribes], ids=lambda item: item.type)
def subscriber(request: pytest.FixtureRequest) -> Target:
    found: Target = request.param
    return found


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vendors' budgets are no part of this, and would stop what has to be tried."""
    for type in INTEGRATION_PROVIDERS:
        monkeypatch.setattr(INTEGRATION_PROVIDERS.get(type), "pace", None)
    monkeypatch.setattr(integration_use, "TESTS_PER_MINUTE", 10_000)


@pytest.fixture
def closed(settings: Any) -> None:
    settings.EGRESS_ALLOW_CIDRS = []


@pytest.fixture
def one_opened(settings: Any) -> None:
    settings.EGRESS_ALLOW_CIDRS = [f"{OPENED}/32"]


def says(monkeypatch: pytest.MonkeyPatch, *answers: tuple[str, ...]) -> list[str]:
    """Every name resolves to the next of these answers, and from then on to the last; the names asked for."""
    asked: list[str] = []

    def resolver(host: str, port: int) -> Any:
        asked.append(host)
        found = answers[min(len(asked), len(answers)) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(egress, "system_resolver", resolver)
    return asked


def create(admin: Actor, target: Target, url: str) -> Any:
    config: dict[str, Any] = {**target.config(url), **({"events": ["email.*"]} if target.subscribes else {})}
    body = {"name": "Out", "type": target.type, "config": config, "credentials": dict(target.credentials)}
    return admin.client.post(API, body, format="json")


def stored(
    admin: Actor, target: Target, monkeypatch: pytest.MonkeyPatch, url: str = "https://public.example/hook"
) -> Integration:
    """Saved while its name led to a public address, told of every event where it can be."""
    with monkeypatch.context() as patch:
        says(patch, (PUBLIC,))
        answer = create(admin, target, "https://public.example/hook")
    assert answer.status_code == 201, answer.content
    return Integration.objects.get(pk=answer.json()["id"])


def named(answer: Any) -> list[str]:
    """The fields an answer finds wrong."""
    return list(answer.json().get("error", {}).get("fields", {}))


def lead_to(row: Integration, target: Target, url: str) -> None:
    """As if it had been saved while the network was open."""
    if target.setting in row.config:
        row.config = {**row.config, target.setting: url}
    else:
        secrets = dict(row.secrets)
        row.credentials = {**secrets, "config": {**secrets["config"], target.setting: url}}
    row.save(update_fields=("config", "credentials"))


def delivered(admin: Actor) -> list[str]:
    """Something happens, and what is due is sent: why each attempt was no success."""
    Delivery.objects.all().delete()
    deliveries.happen(admin.workspace)
    deliveries.told(admin.workspace)
    deliveries.pass_time(3600)
    deliveries.send_due()
    return list(DeliveryAttempt.objects.values_list("error", flat=True))


def check(admin: Actor, row: Integration, target: Target) -> None:
    assert admin.client.post(f"{API}/{row.pk}/test").status_code == 200


def act(admin: Actor, row: Integration, target: Target) -> None:
    if target.action:
        answer = admin.client.post(f"{API}/{row.pk}/actions/{target.action}", dict(target.given), format="json")
        assert answer.status_code < 600


def announce(admin: Actor, row: Integration, target: Target) -> None:
    """One attempt of a delivery, past its queue."""
    if not target.subscribes:
        return
    told = Announcement("msg_1", "email.sent", datetime.now(UTC), b'{"type":"email.sent","data":{}}', {})
    try:
        integration_use.provider_for(row).announce(told)
    except HubError:
        return


USES: tuple[Callable[[Actor, Integration, Target], None], ...] = (check, act, announce)


def use(admin: Actor, row: Integration, target: Target) -> None:
    """Everything that goes out."""
    for way in USES:
        way(admin, Integration.objects.get(pk=row.pk), target)


# The instrument


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_canary_hears_what_was_opened(
    admin: Actor, target: Target, canary: Ear, monkeypatch: pytest.MonkeyPatch, settings: Any, host: str
) -> None:
    row = stored(admin, target, monkeypatch)
    lead_to(row, target, f"http://{host}:{canary.port}/hook")
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8", "::1/128"]
    for way, goes_there in (
        (check, target.checks),
        (act, bool(target.action)),
        (announce, target.subscribes),
    ):
        before = canary.heard()
        way(admin, row, target)
        assert (canary.heard() > before) == goes_there, way.__name__


@pytest.mark.parametrize("type", list(INTEGRATION_PROVIDERS))
def test_every_setting_that_names_an_address_is_tried(type: str) -> None:
    settings = [(type, item.name) for item in INTEGRATION_PROVIDERS.get(type).config_fields if item.kind == "url"]
    assert set(settings) <= {(item.type, item.setting) for item in TARGETS}


# Spellings


def test_save_of_loopback_is_refused_however_it_is_spelt(
    admin: Actor, target: Target, canary: Ear, closed: None
) -> None:
    taken = {}
    for spelling in SPELLINGS:
        for scheme in ("http", "https"):
            answer = create(admin, target, f"{scheme}://{spelling}:{canary.port}/hook")
            if (answer.status_code, named(answer)) != (400, [f"config.{target.setting}"]):
                taken[scheme, spelling] = answer.content
    assert taken == {}
    assert not Integration.objects.exists()
    assert canary.heard() == 0


def test_change_to_loopback_is_refused_however_it_is_spelt(
    admin: Actor, target: Target, canary: Ear, closed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = stored(admin, target, monkeypatch)
    for spelling in SPELLINGS:
        config = {target.setting: f"http://{spelling}:{canary.port}/hook"}
        answer = admin.client.patch(f"{API}/{row.pk}", {"config": config}, format="json")
        assert answer.status_code == 400, (spelling, answer.content)
    after = Integration.objects.get(pk=row.pk)
    assert (after.config, after.secrets) == (row.config, row.secrets)
    assert canary.heard() == 0


def test_use_of_a_stored_loopback_goes_nowhere_however_it_is_spelt(
    admin: Actor, target: Target, canary: Ear, closed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = stored(admin, target, monkeypatch)
    for spelling in (*SPELLINGS, *NAMES):
        lead_to(row, target, f"http://{spelling}:{canary.port}/hook")
        use(admin, row, target)
        assert canary.heard() == 0, spelling


@pytest.mark.django_db(transaction=True)
def test_delivery_to_a_stored_loopback_goes_nowhere(
    admin: Actor, subscriber: Target, canary: Ear, closed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the queue, what `announce` tries with every spelling."""
    row = stored(admin, subscriber, monkeypatch)
    for spelling in SPELLINGS[::4]:
        lead_to(row, subscriber, f"http://{spelling}:{canary.port}/hook")
        tried = delivered(admin)
        assert tried, spelling
        assert all(tried), spelling
        assert canary.heard() == 0, spelling


@pytest.mark.django_db(transaction=True)
def test_delivery_that_is_redirected_or_whose_name_moved_goes_nowhere(
    admin: Actor, subscriber: Target, canary: Ear, one_opened: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = stored(admin, subscriber, monkeypatch)
    with listening((OPENED,), port=canary.port) as opened:
        lead_to(row, subscriber, f"http://moving.example:{opened.port}/hook")
        for status in (301, 302, 303, 307, 308):
            opened.reply = onward(status, f"http://127.0.0.1:{canary.port}/")
            says(monkeypatch, (OPENED,), ("127.0.0.1",))
            assert all(delivered(admin))
        assert opened.heard() >= 5
        says(monkeypatch, ("127.0.0.1",))
        assert all(delivered(admin))
    assert canary.heard() == 0


@pytest.mark.django_db(transaction=True)
def test_delivery_to_what_was_opened_is_heard(
    admin: Actor, subscriber: Target, canary: Ear, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    row = stored(admin, subscriber, monkeypatch)
    lead_to(row, subscriber, f"http://127.0.0.1:{canary.port}/hook")
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    assert len(delivered(admin)) == 1
    assert canary.heard() == 1


# Redirects


def test_use_that_is_redirected_to_loopback_does_not_follow(
    admin: Actor, target: Target, canary: Ear, one_opened: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = stored(admin, target, monkeypatch)
    places = {
        301: "http://127.0.0.1:{0}/",
        302: "//127.0.0.1:{0}/",
        303: "http://[::1]:{0}/",
        307: "http://localhost:{0}/",
        308: "http://0x7f.1:{0}/",
    }
    with listening((OPENED,)) as opened:
        lead_to(row, target, f"http://{OPENED}:{opened.port}/hook")
        for status, place in places.items():
            opened.reply = onward(status, place.format(canary.port))
            use(admin, row, target)
        assert opened.heard() >= len(places)
    assert canary.heard() == 0


def test_use_that_is_redirected_within_a_name_that_moved_does_not_follow(
    admin: Actor, target: Target, canary: Ear, one_opened: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The only redirects that are followed stay at their origin; the name is judged again when it is asked again."""
    row = stored(admin, target, monkeypatch)
    with listening((OPENED,), port=canary.port, reply=onward(302, "/again")) as opened:
        lead_to(row, target, f"http://moving.example:{opened.port}/hook")
        for way in USES:
            says(monkeypatch, (OPENED,), ("127.0.0.1",))
            way(admin, row, target)
        assert opened.heard() > 0
    assert canary.heard() == 0


# Rebinding


def test_use_of_a_name_that_was_public_when_it_was_saved_goes_nowhere(
    admin: Actor, target: Target, canary: Ear, closed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = says(monkeypatch, (PUBLIC,), ("127.0.0.1",))
    answer = create(admin, target, f"https://rebound.example:{canary.port}/hook")
    assert answer.status_code == 201, answer.content
    use(admin, Integration.objects.get(), target)
    assert asked.count("rebound.example") > 1
    assert canary.heard() == 0


def test_use_connects_to_the_address_that_was_judged(
    admin: Actor, target: Target, canary: Ear, one_opened: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that answers with the opened address first and with the canary's from then on."""
    row = stored(admin, target, monkeypatch)
    with listening((OPENED,), port=canary.port) as opened:
        lead_to(row, target, f"http://flip.example:{opened.port}/hook")
        for way in USES:
            says(monkeypatch, (OPENED,), ("127.0.0.1",))
            way(admin, row, target)
        assert opened.heard() > 0
    assert canary.heard() == 0


def test_use_of_a_name_with_a_good_and_a_bad_address_reaches_neither(
    admin: Actor, target: Target, canary: Ear, one_opened: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = stored(admin, target, monkeypatch)
    with listening((OPENED,), port=canary.port) as opened:
        lead_to(row, target, f"http://mixed.example:{opened.port}/hook")
        for answer in ((OPENED, "127.0.0.1"), ("127.0.0.1", OPENED)):
            says(monkeypatch, answer)
            use(admin, row, target)
        assert opened.heard() == 0
    assert canary.heard() == 0


# The environment


def test_use_passes_no_proxy_of_the_environment(
    admin: Actor, target: Target, canary: Ear, one_opened: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = stored(admin, target, monkeypatch)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{canary.port}")
    with listening((OPENED,)) as opened:
        lead_to(row, target, f"http://{OPENED}:{opened.port}/hook")
        use(admin, row, target)
        assert opened.heard() > 0
    assert canary.heard() == 0
