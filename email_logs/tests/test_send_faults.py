"""A send that breaks at each of twelve points, through both vendors (reference reliability R12): at most one mail for a
request, never a false word, and what was surely not taken leaves later. The vendors' ledger is the truth.

Three sends a point and vendor in `make test`; `make chaos` does 25 of each, 600 in all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import Any

import pytest

from email_logs.models import EmailLogEntry, OutgoingEmail
from email_logs.services import attempts, send_email, sending, settling
from email_logs.tests.postbox import time_passes
from integrations.models import Event, Integration
from simulator.process import Simulator
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db

VENDORS = {"EMAIL_PROVIDER": "resend.emails.send", "EMAIL_PROVIDER_ALT": "sendgrid.mail.send"}
KEYS = {"EMAIL_PROVIDER": "re_key", "EMAIL_PROVIDER_ALT": "SG.key"}
SHORT, LONG = 3, 25
Fault = Callable[[Simulator, str], AbstractContextManager[None]]


def dying(target: Any, name: str, *, after: bool) -> Fault:
    """Our process ends before, or just after, this function."""

    @contextmanager
    def fault(simulator: Simulator, operation: str) -> Iterator[None]:
        original = getattr(target, name)

        def die(*given: Any, **named: Any) -> Any:
            if after:
                original(*given, **named)
            raise KeyboardInterrupt

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(target, name, die)
            yield

    return fault


def breaking(kind: str, **rule: Any) -> Fault:
    """The vendor, or the way there, breaks."""

    @contextmanager
    def fault(simulator: Simulator, operation: str) -> Iterator[None]:
        simulator.fault(kind, operation=operation, **rule)
        yield
        simulator.clear_faults()

    return fault


POINTS: dict[str, Fault] = {
    "dies before the row": dying(sending, "_write", after=False),
    "dies after the row": dying(attempts, "attempt", after=False),
    "dies before the call": dying(OutgoingEmail, "hold", after=False),
    "dies with the call begun": dying(OutgoingEmail, "hold", after=True),
    "dies before the commit": dying(settling, "accepted", after=False),
    "dies before the answer": dying(attempts, "attempt", after=True),
    "closes before it takes the mail": breaking("close"),
    "closes after it took the mail": breaking("close", effect=True),
    "fails after it took the mail": breaking("status", status=502, effect=True),
    "answers garbage": breaking("garbage", effect=True),
    "asks to wait": breaking("status", status=429, headers={"Retry-After": "30"}),
    "refuses for good": breaking("status", status=400, reason="validation_error"),
}
LEAVES = {
    "dies before the row", "dies after the row", "dies before the call", "dies before the answer", "asks to wait",
}  # fmt: skip
"""Points at which it is sure that nothing was taken, or known that it was: the mail leaves in the end."""


class Scene:
    """A workspace whose mail goes through a vendor."""

    def __init__(self, simulator: Simulator, admin: Actor, type: str) -> None:
        self.simulator, self.workspace, self.type = simulator, admin.workspace, type
        simulator.settings(resend_requests_per_second=0, sendgrid_requests_per_minute=0)
        simulator.control("POST", "/resend/keys", {"key": KEYS["EMAIL_PROVIDER"]})
        simulator.control("POST", "/resend/domains", {"name": "mail.example"})
        simulator.control("POST", "/sendgrid/keys", {"key": KEYS["EMAIL_PROVIDER_ALT"]})
        simulator.control("POST", "/sendgrid/senders", {"sender": "mail.example"})
        body = {
            "name": "Mail", "type": type, "config": {"fromEmail": "hub@mail.example"},
            "credentials": {"apiKey": KEYS[type]}, "setAsSiteEmailProvider": True,
        }  # fmt: skip
        assert admin.client.post("/api/integrations", body, format="json").status_code == 201

    def send(self, subject: str) -> EmailLogEntry:
        """Its subject is its key."""
        given = {"to": ["ada@hub.example"], "subject": subject, "body": "Hi"}
        return send_email(workspace=self.workspace, given=given, request_key=subject).entry

    def break_off(self, point: str, subject: str) -> EmailLogEntry:
        """One send that meets the fault; where our process died with it, its client asks again. Then time passes until
        nothing is left to do."""
        with ExitStack() as stack:
            stack.enter_context(POINTS[point](self.simulator, VENDORS[self.type]))
            stack.enter_context(suppress(KeyboardInterrupt))
            self.send(subject)
        entry = self.send(subject)
        for _ in range(4):
            time_passes()
        entry.refresh_from_db()
        return entry

    def taken(self, subject: str) -> list[str]:
        return [str(mail["id"]) for mail in self.simulator.sent(subject=subject)]


@pytest.fixture(params=sorted(VENDORS))
def scene(request: pytest.FixtureRequest, simulator: Simulator, admin: Actor, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr("integrations.services.quota.Budget.spend", lambda self, units: None)
    monkeypatch.setattr("integrations.services.quota.Budget.throttled", lambda self, seconds: None)
    return Scene(simulator, admin, str(request.param))


def check(scene: Scene, point: str, times: int) -> None:
    """At most one mail; `accepted` only where one left and under its id, `failed` only where none did; `unknown` only
    where nobody could know; nothing waits."""
    for number in range(times):
        subject = f"{point} {number}"
        entry = scene.break_off(point, subject)
        taken = scene.taken(subject)
        assert len(taken) <= 1, "sent twice"
        assert entry.state in {0: ("failed", "unknown"), 1: ("accepted", "unknown")}[len(taken)]
        if entry.state == "accepted":
            assert [entry.message_id] == taken
        if point in LEAVES:
            assert entry.state == "accepted"
        if scene.type == "EMAIL_PROVIDER":
            assert entry.state == ("failed" if "for good" in point else "accepted"), "its keys settle everything"
        if "for good" in point:
            assert entry.state == "failed"
        told = Event.objects.filter(payload__emailId=str(entry.pk)).values_list("type", flat=True)
        assert list(told) == {"accepted": ["email.sent"], "failed": ["email.failed"], "unknown": []}[entry.state]
    assert EmailLogEntry.objects.count() == times
    assert not OutgoingEmail.objects.waiting().exists()
    assert not OutgoingEmail.objects.filter(mail__isnull=False).exists()


@pytest.mark.parametrize("point", POINTS)
def test_send_that_breaks_is_one_mail_or_none_and_says_which(scene: Scene, point: str) -> None:
    check(scene, point, SHORT)


@pytest.mark.chaos
@pytest.mark.parametrize("point", POINTS)
def test_sends_that_break_are_one_mail_or_none_each(scene: Scene, point: str) -> None:
    check(scene, point, LONG)


def test_vendor_that_is_not_there_gets_the_mail_when_it_is_back(scene: Scene, settings: Any) -> None:
    away = {"RESEND_API_URL": settings.RESEND_API_URL, "SENDGRID_API_URL": settings.SENDGRID_API_URL}
    for name in away:
        setattr(settings, name, "http://127.0.0.1:9")
    assert scene.send("Hello").state == "queued"
    time_passes()
    assert EmailLogEntry.objects.get().state == "queued"
    for name, url in away.items():
        setattr(settings, name, url)
    time_passes()
    assert (EmailLogEntry.objects.get().state, len(scene.taken("Hello"))) == ("accepted", 1)


def test_mails_event_carries_our_own_id(scene: Scene) -> None:
    entry = scene.send("Hello")
    raw = scene.simulator.sent_raw(scene.simulator.sent()[0]["seq"])
    assert f'"{entry.pk}"'.encode() in raw
    assert Integration.objects.get().health == "ok"
