"""The console's page of one's own mail: read-only, and for its user alone, whatever their role (threat 18).

The list and the search are those of the API. A letter's HTML is sanitised as there and stands in a frame that runs
nothing and loads nothing from elsewhere.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.http import urlencode
from django.views.decorators.clickjacking import xframe_options_sameorigin
from django.views.decorators.http import require_GET

from core.admin import member_workspace_ids
from core.api.pagination import PageQuery
from core.errors import HubError
from email_sync.models import FOLDERS, Message
from email_sync.records import INBOX
from email_sync.sanitising import sanitise
from email_sync.services import attachments, reading
from email_sync.services.reading import InboxQuery
from workspaces.admin.looks import ReadOnlyAdmin, by
from workspaces.models import Workspace

TITLE = "My mail"
PER_PAGE = 50
LONGEST_SEARCH = 500
FOLDER_WORDS = {
    "inbox": "Inbox", "starred": "Starred", "sent": "Sent", "drafts": "Drafts", "archive": "Archive", "spam": "Spam",
    "trash": "Trash", "all": "All mail",
}  # fmt: skip
LETTER_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"
"""Of the frame: no script, no form, nothing from anywhere."""


@admin.register(Message)
class MailAdmin(ReadOnlyAdmin):
    """Whoever is signed in sees the mail of their own connections."""

    workspace_path = "connection__workspace"
    owner_path = "connection__user"
    sortable_by = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Message]:
        """Not even an operator of the installation reads another's mail here."""
        workspace = _workspace(request)
        if workspace is None:
            return Message.objects.none()
        mine: QuerySet[Message] = Message.objects.of(user=by(request), workspace=workspace).present()
        return mine.select_related("connection")

    def in_scope(self, request: HttpRequest, obj: object) -> bool:
        return self._find(request, obj.pk if isinstance(obj, Message) else obj) is not None

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path("<uuid:object_id>/letter", wrap(self.letter_view), name="email_sync_message_letter"),
            path("<uuid:object_id>/files/<str:file_id>", wrap(self.file_view), name="email_sync_message_file"),
            *super().get_urls(),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """A folder or a search, newest first, from a place on."""
        workspace = _workspace(request)
        if not self.has_view_permission(request):
            raise PermissionDenied
        if workspace is None:
            return self._page(request, "mail", {"title": TITLE})
        folder, words = request.GET.get("folder", INBOX), request.GET.get("q", "").strip()[:LONGEST_SEARCH]
        folder = folder if folder in FOLDERS else INBOX
        paging = PageQuery(limit=PER_PAGE, cursor=request.GET.get("cursor", ""))
        query, problem = InboxQuery(folder=folder, q=words, paging=paging), ""
        try:
            page = reading.inbox(user=by(request), workspace=workspace, query=query)
            rows, older = page.rows, page.next_cursor
        except HubError as error:
            rows, older, problem = [], None, _words(error)
        asked = {"folder": folder, "q": words, "workspace": str(workspace.pk)}
        context = {
            "title": TITLE,
            "rows": rows,
            "folders": self._folders(request, workspace, folder),
            "folder": folder,
            "q": words,
            "problem": problem,
            "workspace": workspace,
            "older": f"?{urlencode(asked | {'cursor': older})}" if older else "",
            "newest": f"?{urlencode(asked)}" if paging.cursor else "",
            "complete": bool(problem) or reading.search_is_complete(user=by(request), workspace=workspace, query=query),
        }
        return self._page(request, "mail", context, status=400 if problem else 200)

    def _folders(self, request: HttpRequest, workspace: Workspace, current: str) -> list[dict[str, Any]]:
        counts = reading.folder_counts(user=by(request), workspace=workspace)
        return [
            {
                "words": words,
                "url": f"?{urlencode({'folder': name, 'workspace': str(workspace.pk)})}",
                "unread": counts.get(name, {}).get("unread", 0),
                "current": name == current,
            }
            for name, words in FOLDER_WORDS.items()
            if name in FOLDERS
        ]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """One mail."""
        message: Message = self.object_for_action(request, object_id)
        detail = reading.email_detail(message)
        clean = sanitise(detail.body.html)
        context = {
            "title": message.subject or "(no subject)",
            "row": detail.row,
            "text": "" if clean.html else detail.body.text,
            "letter": reverse(f"{self.admin_site.name}:email_sync_message_letter", args=(message.pk,))
            if clean.html
            else "",
            "blocked": clean.blocked_remote,
            "files": detail.attachments,
            "bounces": detail.bounces,
            "message": message,
        }
        return self._page(request, "letter", context)

    @method_decorator(require_GET)
    @method_decorator(xframe_options_sameorigin)
    def letter_view(self, request: HttpRequest, object_id: object) -> HttpResponse:
        """What the frame shows."""
        message: Message = self.object_for_action(request, object_id)
        html = sanitise(reading.email_detail(message).body.html).html
        response = TemplateResponse(request, "email_sync/console/frame.html", {"html": html})
        response.headers["Content-Security-Policy"] = LETTER_POLICY
        return response

    @method_decorator(require_GET)
    def file_view(self, request: HttpRequest, object_id: object, file_id: str) -> HttpResponse:
        """An attachment, fetched from the provider now; always a download."""
        message: Message = self.object_for_action(request, object_id)
        try:
            part, content = attachments.fetch(message=message, attachment_id=file_id)
        except HubError as error:
            context = {"title": "This attachment cannot be had", "problem": error.message, "message": message}
            return self._page(request, "problem", context, status=error.status)
        return attachments.as_download(part, content)

    def _page(self, request: HttpRequest, name: str, context: dict[str, Any], *, status: int = 200) -> HttpResponse:
        shown = {**self.admin_site.each_context(request), "opts": self.model._meta, **context}
        return TemplateResponse(request, f"email_sync/console/{name}.html", shown, status=status)


def _workspace(request: HttpRequest) -> Workspace | None:
    """Whose mail is shown: the workspace asked for, else the first the caller is a member of; where the console is
    narrowed to one, that one."""
    mine = Workspace.objects.filter(pk__in=member_workspace_ids(request)).order_by("name", "pk")
    found = {str(workspace.pk): workspace for workspace in mine}
    return found.get(request.GET.get("workspace", "")) or next(iter(found.values()), None)


def _words(error: HubError) -> str:
    """Of a search that cannot be understood."""
    return " ".join(word for words in error.fields.values() for word in words) or error.message
