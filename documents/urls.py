"""The document API, relative to /api/v1/integrations/ (CONTRACT 4, Documents)."""

from django.urls import path

from documents.views import content, documents

urlpatterns = [
    path("documents", documents.Documents.as_view(), name="documents"),
    path("documents/config", documents.Config.as_view(), name="documents-config"),
    path("documents/upload", documents.Upload.as_view(), name="documents-upload"),
    path("documents/copies/<str:copy_id>", documents.Copy.as_view(), name="document-copy"),
    path("documents/content/<str:link>", content.Content.as_view(), name="document-content"),
    path("documents/preview/<str:link>", content.PreviewContent.as_view(), name="document-preview-content"),
    path(
        "documents/entity/<str:entity_type>/<str:entity_id>",
        documents.EntityDocuments.as_view(),
        name="documents-entity",
    ),
    path("documents/<str:document_id>", documents.DocumentDetail.as_view(), name="document"),
    path("documents/<str:document_id>/parts", documents.Parts.as_view(), name="document-parts"),
    path("documents/<str:document_id>/confirm", documents.Confirm.as_view(), name="document-confirm"),
    path("documents/<str:document_id>/download", documents.Download.as_view(), name="document-download"),
    path("documents/<str:document_id>/preview", documents.Preview.as_view(), name="document-preview"),
    path("documents/<str:document_id>/archive", documents.Archive.as_view(), name="document-archive"),
]
