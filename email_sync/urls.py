"""The email API, relative to /api/v1/integrations/ (CONTRACT 4, Email)."""

from django.urls import path

from email_sync import views

urlpatterns = [
    path("email/inbox", views.Inbox.as_view(), name="email-inbox"),
    path("email/folders/counts", views.FolderCounts.as_view(), name="email-folder-counts"),
    path("email/send", views.Send.as_view(), name="email-send"),
    path("email/sync", views.Sync.as_view(), name="email-sync"),
    path("email/thread/<str:thread_id>", views.ThreadDetail.as_view(), name="email-thread"),
    path("email/submissions/<str:submission_id>", views.SubmissionDetail.as_view(), name="email-submission"),
    path("email/<str:email_id>", views.EmailDetail.as_view(), name="email-detail"),
    path("email/<str:email_id>/read", views.Read.as_view(), name="email-read"),
    path("email/<str:email_id>/star", views.Star.as_view(), name="email-star"),
    path("email/<str:email_id>/archive", views.Archive.as_view(), name="email-archive"),
    path(
        "email/<str:email_id>/attachments/<str:attachment_id>",
        views.AttachmentDownload.as_view(),
        name="email-attachment",
    ),
]
