"""The email API, relative to /api/v1/integrations/ (CONTRACT 4, Email)."""

from django.urls import path

from email_sync import views
from email_sync.views import drafts, outgoing, push, scope, timelines, tracing, transfers

urlpatterns = [
    path("email/inbox", views.Inbox.as_view(), name="email-inbox"),
    path("email/folders/counts", views.FolderCounts.as_view(), name="email-folder-counts"),
    path("email/bulk", views.Bulk.as_view(), name="email-bulk"),
    path("email/send", outgoing.Send.as_view(), name="email-send"),
    path("email/submissions", outgoing.SubmissionList.as_view(), name="email-submissions"),
    path("email/stream", views.Stream.as_view(), name="email-stream"),
    path("email/sync", views.Sync.as_view(), name="email-sync"),
    path("email/export/<str:connection_id>", transfers.StartExport.as_view(), name="email-export"),
    path("email/exports", transfers.Exports.as_view(), name="email-exports"),
    path("email/exports/<str:export_id>", transfers.ExportDetail.as_view(), name="email-export-detail"),
    path("email/exports/<str:export_id>/file", transfers.ExportFile.as_view(), name="email-export-file"),
    path("email/import/<str:connection_id>", transfers.StartImport.as_view(), name="email-import"),
    path("email/imports", transfers.Imports.as_view(), name="email-imports"),
    path("email/imports/<str:import_id>", transfers.ImportDetail.as_view(), name="email-import-detail"),
    path("email/trace", tracing.Trace.as_view(), name="email-trace"),
    path("email/push/<str:provider>", push.Push.as_view(), name="email-push"),
    path("email/push/<str:provider>/lifecycle", push.PushLifecycle.as_view(), name="email-push-lifecycle"),
    path("email/scope/<str:connection_id>", scope.ScopeDetail.as_view(), name="email-scope"),
    path("email/scope/<str:connection_id>/preview", scope.ScopePreview.as_view(), name="email-scope-preview"),
    path("email/thread/<str:thread_id>", timelines.ThreadDetail.as_view(), name="email-thread"),
    path("email/thread/<str:thread_id>/links", timelines.ThreadLinks.as_view(), name="email-thread-links"),
    path(
        "email/threads/<str:entity_type>/<str:entity_id>",
        timelines.EntityThreads.as_view(),
        name="email-entity-threads",
    ),
    path("email/submissions/<str:submission_id>", outgoing.SubmissionDetail.as_view(), name="email-submission"),
    path("email/drafts", drafts.DraftList.as_view(), name="email-drafts"),
    path("email/drafts/<str:draft_id>", drafts.DraftDetail.as_view(), name="email-draft"),
    path("email/drafts/<str:draft_id>/send", drafts.DraftSend.as_view(), name="email-draft-send"),
    path("email/aliases", outgoing.AliasList.as_view(), name="email-aliases"),
    path("email/aliases/<str:connection_id>", outgoing.ConnectionAliases.as_view(), name="email-aliases-set"),
    path("email/<str:email_id>", views.EmailDetail.as_view(), name="email-detail"),
    path("email/<str:email_id>/read", views.Read.as_view(), name="email-read"),
    path("email/<str:email_id>/star", views.Star.as_view(), name="email-star"),
    path("email/<str:email_id>/archive", views.Archive.as_view(), name="email-archive"),
    path(
        "email/<str:email_id>/attachments/<str:attachment_id>",
        views.AttachmentDownload.as_view(),
        name="email-attachment",
    ),
    path(
        "email/<str:email_id>/attachments/<str:attachment_id>/save",
        views.AttachmentSave.as_view(),
        name="email-attachment-save",
    ),
]
