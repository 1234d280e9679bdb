"""Sending what owners are to be told, through the workspace's site email provider, or another of its email providers
where that is the broken one. Called on a schedule.

Without any, a notice waits a day for one to be set up and then says why it was not sent. At most one mail each: it is
handed over once, under a key of its own, and the log of outbound mail says what became of it.
"""

from __future__ import annotations

from core.errors import HubError, NotConfigured, ProviderOutcomeUnknown, ProviderRejected
from core.work import WorkStatus
from integrations.models import Integration, Notice
from integrations.providers.base import EMAIL
from integrations.services import workspace_mail
from integrations.services.integrations import provider_of
from workspaces.models import Membership, Role

LEASE_SECONDS = 120.0
AGAIN_SECONDS = 1800.0
ATTEMPTS = 48
AT_ONCE = 50


def send_due() -> int:
    """Send what is due; how many were tried."""
    due = list(Notice.objects.due().order_by("next_attempt_at").values("pk", "status")[:AT_ONCE])
    for row in due:
        notice = Notice.objects.claim(row["pk"], lease_seconds=LEASE_SECONDS)
        if notice is not None and row["status"] == WorkStatus.RUNNING:
            notice.fail(code="unconfirmed", message="The process that sent it died; it may have been sent.")
        elif notice is not None:
            _send(notice)
    return len(due)


def _send(notice: Notice) -> None:
    try:
        given = {"to": _owners(notice), "subject": notice.subject, "body": notice.text}
        sent = workspace_mail.send(integration=_sender(notice), given=given, request_key=f"notice-{notice.pk}")
        if sent["status"] == workspace_mail.UNKNOWN:
            raise ProviderOutcomeUnknown(str(sent["error"]))
    except (ProviderOutcomeUnknown, ProviderRejected) as error:
        notice.fail(code=error.code, message=error.message)
    except HubError as error:
        if notice.attempts >= ATTEMPTS:
            notice.fail(code=error.code, message=error.message)
        else:
            notice.retry(after_seconds=AGAIN_SECONDS, code=error.code, message=error.message)
    else:
        notice.finish()


def _sender(notice: Notice) -> Integration:
    """The site email provider, else the oldest email provider; never the one the notice says is broken."""
    rows = Integration.objects.in_workspace(notice.workspace_id).enabled().filter(has_credentials=True)
    for row in rows.exclude(failing_since__isnull=False).order_by("-is_site_email_provider", "created_at"):
        if EMAIL in provider_of(row).capabilities:
            return row
    raise NotConfigured("The workspace has no email provider that works, so its owners could not be told by mail.")


def _owners(notice: Notice) -> list[str]:
    owners = Membership.objects.in_workspace(notice.workspace_id).filter(role=Role.OWNER, user__is_active=True)
    return list(owners.order_by("created_at").values_list("user__email", flat=True)[:50])
