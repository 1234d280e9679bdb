"""Django's own mail through the workspace's site provider: logged, queued, whole, or refused loudly."""

from __future__ import annotations

import base64
from email.mime.base import MIMEBase
from email.mime.image import MIMEImage
from typing import Any

import pytest
from django.contrib.auth.forms import PasswordResetForm
from django.core import mail
from django.core.mail import EmailMessage, EmailMultiAlternatives, mail_admins, send_mail
from django.db import transaction
from django.test.utils import _TestState  # type: ignore[attr-defined]

from core.errors import InvalidInput, NotConfigured
from email_logs.django_mail import sending_for
from email_logs.models import EmailLogEntry, OutgoingEmail
from email_logs.services import outgoing
from email_logs.tests.postbox import Postbox, entry, provider, time_passes
from workspaces.tests.fixtures import Actor

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("postboxes", "through_the_log")]

TO = ["ada@hub.example"]


@pytest.fixture
def through_the_log(settings: Any) -> None:
    settings.EMAIL_BACKEND = "email_logs.django_mail.EmailBackend"


def left() -> Any:
    """The mail as the provider got it."""
    time_passes()
    ((_, taken),) = Postbox.taken
    return taken


def test_product_sends_djangos_mail_through_the_log() -> None:
    assert _TestState.saved_data.email_backend == "email_logs.django_mail.EmailBackend"  # type: ignore[attr-defined]


def test_send_mail_is_logged_and_queued_and_leaves(admin: Actor) -> None:
    through = provider(admin)
    with sending_for(admin.workspace, "Workflow Automation"):
        assert send_mail("Hello", "Hi", None, TO, html_message="<p>Hi</p>") == 1
    assert (entry().state, entry().source, entry().table.integration_id) == (
        "queued",
        "Workflow Automation",
        through.pk,
    )
    assert Postbox.asked == []
    taken = left()
    assert (taken.to, taken.text, taken.html, taken.sender) == (tuple(TO), "Hi", "<p>Hi</p>", "hub@mail.example")
    assert entry().state == "accepted"


def test_everything_a_message_has_goes_along(admin: Actor) -> None:
    provider(admin)
    part = MIMEBase("application", "pdf")
    part.set_payload(base64.b64encode(b"%PDF"))
    part.add_header("Content-Transfer-Encoding", "base64")
    part.add_header("Content-Disposition", "attachment", filename="b.pdf")
    message = EmailMultiAlternatives(
        "Hello", "Hi", "Sales <sales@mail.example>", ["Ada <ada@hub.example>"], cc=["bob@hub.example"],
        bcc=["eve@hub.example"], reply_to=["re@hub.example"], attachments=[("a.txt", "Text\u00e9", "text/plain"), part],
        headers={"Reply-To": "more@hub.example"},
    )  # fmt: skip
    message.attach_alternative("<p>Hi</p>", "text/html")
    message.send()
    taken = left()
    assert (taken.to, taken.cc, taken.bcc) == (("ada@hub.example",), ("bob@hub.example",), ("eve@hub.example",))
    assert taken.reply_to == ("re@hub.example", "more@hub.example")
    assert (taken.sender, taken.sender_name, taken.html) == ("sales@mail.example", "Sales", "<p>Hi</p>")
    files = [(one.file_name, one.content_type, base64.b64decode(one.content)) for one in taken.attachments]
    assert files == [("a.txt", "text/plain", "Texté".encode()), ("b.pdf", "application/pdf", b"%PDF")]


def test_mail_of_a_transaction_that_is_rolled_back_is_not_sent(admin: Actor) -> None:
    provider(admin)
    with transaction.atomic():
        send_mail("Hello", "Hi", None, TO)
        transaction.set_rollback(True)
    assert (EmailLogEntry.objects.count(), OutgoingEmail.objects.count()) == (0, 0)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"headers": {"X-Campaign": "7"}}, "headers"),
        ({"headers": {"Message-ID": "<a@b.example>"}}, "headers"),
        ({"subject": "Hello\nBcc: eve@else.example"}, "subject"),
        ({"to": ["nobody"]}, "to"),
        ({"from_email": "nobody"}, "fromEmail"),
        ({"attachments": [MIMEImage(b"GIF89a", _subtype="gif")]}, "attachments"),
        ({"body": ""}, "body"),
    ],
    ids=["header", "message-id", "injection", "bad-address", "bad-sender", "inline-image", "nothing-said"],
)
def test_what_cannot_be_sent_as_it_is_meant_is_refused_loudly(
    admin: Actor, changes: dict[str, Any], field: str
) -> None:
    provider(admin)
    if "attachments" in changes:
        changes["attachments"][0]["Content-ID"] = "<logo>"
    given = {"subject": "Hello", "body": "Hi", "to": TO, **changes}
    with pytest.raises(InvalidInput) as refused:
        EmailMessage(**given).send()
    assert list(refused.value.fields) == [field]
    assert EmailMessage(**given).send(fail_silently=True) == 0
    assert EmailLogEntry.objects.count() == 0


def test_other_alternatives_than_html_are_refused(admin: Actor) -> None:
    provider(admin)
    message = EmailMultiAlternatives("Hello", "Hi", None, TO)
    message.attach_alternative("BEGIN:VCALENDAR", "text/calendar")
    with pytest.raises(InvalidInput, match="not valid"):
        message.send()


def test_message_in_html_alone_is_html(admin: Actor) -> None:
    provider(admin)
    message = EmailMessage("Hello", "<p>Hi</p>", None, TO)
    message.content_subtype = "html"
    message.send()
    taken = left()
    assert (taken.text, taken.html) == ("", "<p>Hi</p>")


def test_mail_to_nobody_is_no_mail(admin: Actor) -> None:
    provider(admin)
    assert EmailMessage("Hello", "Hi", None, []).send() == 0


def test_of_several_workspaces_somebody_says_whose_it_is(admin: Actor, outsider: Actor) -> None:
    provider(admin)
    provider(outsider)
    with pytest.raises(NotConfigured, match="sending_for"):
        send_mail("Hello", "Hi", None, TO)
    with sending_for(outsider.workspace), sending_for(admin.workspace):
        send_mail("Hello", "Hi", None, TO)
    message = EmailMessage("Hello", "Hi", None, TO)
    message.workspace = outsider.workspace  # type: ignore[attr-defined]
    with sending_for(admin.workspace):
        message.send()
    owners = list(EmailLogEntry.objects.order_by("id").values_list("workspace", flat=True))
    assert owners == [admin.workspace.pk, outsider.workspace.pk]


def test_password_reset_is_mail_of_the_workspace_its_reader_is_in(admin: Actor, outsider: Actor) -> None:
    provider(admin)
    provider(outsider)
    outsider.user.set_password("a long password of hers")
    outsider.user.save()
    form = PasswordResetForm({"email": outsider.user.email})
    assert form.is_valid()
    words = "registration/password_reset_subject.txt"
    form.send_mail(words, words, {"site_name": "Hub"}, None, outsider.user.email)
    assert (entry().workspace_id, entry().to) == (outsider.workspace.pk, outsider.user.email)
    assert entry().subject == "Password reset on Hub"


def test_mail_to_admins_goes_the_same_way(admin: Actor, settings: Any) -> None:
    settings.ADMINS = [("Ada", "ada@hub.example")]
    provider(admin)
    mail_admins("Trouble", "It broke.")
    assert left().subject == "[Django] Trouble"


def test_without_a_site_provider_it_is_said(admin: Actor) -> None:
    with pytest.raises(NotConfigured):
        send_mail("Hello", "Hi", None, TO)
    assert send_mail("Hello", "Hi", None, TO, fail_silently=True) == 0
    assert (outgoing.waiting(), len(mail.outbox)) == (0, 0)
