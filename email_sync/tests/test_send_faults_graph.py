"""A send through Graph that breaks at each of its points (reference reliability R12): as MIME in one call; from a draft
of the user's; and a large one, which is a draft whose files go up by upload sessions until it is sent. At most one mail
each, never a false word, and what was surely not handed over leaves later.

One send for each point in `make test`; `make chaos` does 25 of each (10 of a large one).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from email_sync.composing import OutgoingAttachment
from email_sync.models import Message, Submission, SubmissionStage
from email_sync.services import draft_saving, drafts
from email_sync.services.sending import Letter
from email_sync.tests.factories import connect
from email_sync.tests.graph_simulator import GraphHarness
from email_sync.tests.send_faults import ADA, BOB, DEATHS, LONG, Fault, break_off, check, hand_in, send
from simulator.process import Simulator, running
from workspaces.tests.fixtures import Actor

LARGE = OutgoingAttachment("plan.bin", "application/octet-stream", b"\x00\x01" * 1_700_000)
"""Above 3 MB: it goes up in two ranges."""
LONG_LARGE = 10
TOOK = ("closes after it took the mail", "fails after it took the mail", "answers garbage")


class GraphScene:
    """Mail of the usual size: one call, as MIME."""

    sends = "graph.sendMail"

    def __init__(self, harness: GraphHarness, member: Actor) -> None:
        self.harness, self.simulator = harness, harness.simulator
        self.connection = connect(member, ADA, provider="microsoft")
        self.connection.credentials = {"access_token": harness.token}
        self.connection.save()
        self.faults = {
            **DEATHS,
            "closes before it takes the mail": self.fault("close"),
            "closes after it took the mail": self.fault("close", effect=True),
            "fails before it takes the mail": self.fault("status", status=503),
            "fails after it took the mail": self.fault("status", status=502, effect=True),
            "answers garbage": self.fault("garbage", effect=True),
            "asks to wait": self.fault("status", status=429, headers={"Retry-After": "30"}),
            "refuses for good": self.fault("status", status=400, reason="ErrorInvalidRecipients"),
        }

    def fault(self, kind: str, *, operation: str = "", **rule: Any) -> Fault:
        @contextmanager
        def faulty() -> Iterator[None]:
            self.simulator.fault(kind, operation=operation or self.sends, **rule)
            yield
            self.simulator.clear_faults()

        return faulty

    def taken(self, subject: str) -> int:
        return len(self.simulator.sent(subject=subject, account=ADA))

    def send(self, subject: str) -> Submission:
        return send(self, subject)

    def left_over(self) -> int:
        """Drafts that stayed behind."""
        return len([item for item in self.harness.messages() if item["folder"] == "drafts"])


class DraftScene(GraphScene):
    """A draft that the user made before."""

    def send(self, subject: str) -> Submission:
        user = self.connection.user
        made = self._before(subject) or self._make(subject)
        return drafts.send(message=made, leaving={}, idempotency_key=subject, by=user)

    def _make(self, subject: str) -> Message:
        user, workspace = self.connection.user, self.connection.workspace
        changes = drafts.Changes({"to": [BOB], "subject": subject, "body": "At one?"})
        return drafts.create(user=user, workspace=workspace, changes=changes, connection_id=self.connection.pk, by=user)

    def _before(self, subject: str) -> Message | None:
        """Asked again by its client, who knows the draft's id."""
        return Message.objects.filter(subject=subject, draft__isnull=False).first()


class LargeScene(GraphScene):
    """A draft of the provider's own making: until its send nothing has left."""

    sends = "graph.messages.send"

    def __init__(self, harness: GraphHarness, member: Actor) -> None:
        super().__init__(harness, member)
        self.faults |= {
            "loses the draft it made": self.fault("close", operation="graph.messages.create", effect=True),
            "makes no upload session": self.fault(
                "status", operation=r"graph\.messages\.attachments\.createUploadSession", status=503
            ),
            "loses the answer to a range": self.fault("close", operation="graph.upload", effect=True),
            "refuses a range": self.fault("status", operation="graph.upload", status=500),
        }

    def send(self, subject: str) -> Submission:
        return hand_in(self, Letter([BOB], subject, "See below.", attachments=[LARGE]))


SCENES = {"mime": GraphScene, "draft": DraftScene, "large": LargeScene}
POINTS = [*DEATHS, "closes before it takes the mail", "closes after it took the mail", "fails before it takes the mail",
          "fails after it took the mail", "answers garbage", "asks to wait", "refuses for good"]  # fmt: skip
BEFORE_THE_SEND = ["loses the draft it made", "makes no upload session", "loses the answer to a range",
                   "refuses a range"]  # fmt: skip


@pytest.fixture(scope="module")
def process() -> Iterator[Simulator]:
    with running() as simulator:
        yield simulator


@pytest.fixture
def scene(process: Simulator, settings: Any, member: Actor, request: pytest.FixtureRequest) -> GraphScene:
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    settings.MAIL_PROVIDER_SETTINGS = {"microsoft": {"graphApiUrl": process.base_url, "quotaUnits": 0}}
    process.reset()
    process.settings(graph_requests_per_ten_minutes=0)
    return SCENES[request.param](GraphHarness(process, ADA, (BOB,)), member)


def break_at(scene: GraphScene, point: str, times: int) -> None:
    check(scene, point, times)
    if point in BEFORE_THE_SEND:
        assert Submission.objects.exclude(stage=SubmissionStage.SENT).count() == 0
        assert scene.left_over() == 0, "a draft of a mail that left stayed behind"


@pytest.mark.django_db
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("scene", ["mime", "draft"], indirect=True)
def test_send_through_graph_that_breaks_is_one_mail_or_none_and_says_which(scene: GraphScene, point: str) -> None:
    break_at(scene, point, 1)


@pytest.mark.django_db
@pytest.mark.parametrize("point", [*POINTS, *BEFORE_THE_SEND])
@pytest.mark.parametrize("scene", ["large"], indirect=True)
def test_large_send_through_graph_that_breaks_is_one_mail_or_none_and_says_which(scene: GraphScene, point: str) -> None:
    break_at(scene, point, 1)


@pytest.mark.django_db
@pytest.mark.parametrize("point", TOOK)
@pytest.mark.parametrize("scene", ["mime", "large"], indirect=True)
def test_send_that_graph_took_is_found_in_sent_under_the_id_exchange_gave_it(scene: GraphScene, point: str) -> None:
    scene.simulator.settings(graph_rewrites_message_id=True)
    assert break_off(scene, point, "Lunch").stage == SubmissionStage.SENT
    assert scene.taken("Lunch") == 1


@pytest.mark.django_db
@pytest.mark.parametrize("point", ["asks to wait", "dies before the answer"])
@pytest.mark.parametrize("scene", ["draft"], indirect=True)
def test_draft_whose_send_broke_and_left_in_the_end_is_no_draft_any_more(scene: GraphScene, point: str) -> None:
    assert break_off(scene, point, "Lunch").stage == SubmissionStage.SENT
    for draft_id in draft_saving.take_due():
        draft_saving.settle(draft_id)
    assert scene.left_over() == 0


@pytest.mark.chaos
@pytest.mark.django_db
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("scene", ["mime", "draft"], indirect=True)
def test_sends_through_graph_that_break_are_one_mail_or_none_each(scene: GraphScene, point: str) -> None:
    break_at(scene, point, LONG)


@pytest.mark.chaos
@pytest.mark.django_db
@pytest.mark.parametrize("point", [*POINTS, *BEFORE_THE_SEND])
@pytest.mark.parametrize("scene", ["large"], indirect=True)
def test_large_sends_through_graph_that_break_are_one_mail_or_none_each(scene: GraphScene, point: str) -> None:
    break_at(scene, point, LONG_LARGE)
