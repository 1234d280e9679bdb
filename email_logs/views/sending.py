"""Sending a workspace's mail (CONTRACT 5)."""

from __future__ import annotations

import hashlib

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from email_logs.serializers import sending as wire
from email_logs.services import send_email
from integrations.models import Integration
from workspaces.authentication import caller
from workspaces.idempotency import HEADER, idempotent
from workspaces.permissions import IsAdmin


class Send(APIView):
    """Send through the site email provider, or another email provider of the workspace."""

    permission_classes = (IsAdmin,)

    @extend_schema(
        operation_id="workspace_email_send", request=wire.WorkspaceMailBody, responses={201: wire.WorkspaceMailShape}
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """201 with the state it is in: `accepted`, `queued` (the provider was away or asks to wait; tried again for a
        day) or `unknown` (it did not say whether it took the mail; never sent again, a delivery event may tell).
        Refused: 422 with the provider's words, and `emailId` names the log's entry; `suppressed` where nobody is left
        to write to. 409 `not_configured` without a site email provider; 404 where `integrationId` names none."""
        actor = caller(request)
        given, chosen, source = wire.split(request.data)
        integration = None
        if chosen is not None:
            rows = Integration.objects.in_workspace(actor.workspace).existing().select_related("workspace")
            integration = rows.fetch(chosen)
        sent = send_email(
            workspace=actor.workspace,
            given=given,
            integration=integration,
            source=source,
            by=actor.user,
            request_key=_key(request),
        )
        sent.raise_if_refused()
        return Response(sent.answer(), status=status.HTTP_201_CREATED)


def _key(request: Request) -> str:
    """The caller's, among all callers': keys belong to one user."""
    key = request.headers.get(HEADER, "")
    return hashlib.sha256(f"{caller(request).user.pk}\n{key}".encode()).hexdigest() if key else ""
