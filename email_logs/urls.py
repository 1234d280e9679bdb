"""The API of outbound mail and its logs, relative to /api/ (CONTRACT 5)."""

from django.urls import path

from email_logs.views import days, exports, hooks, personal_data, sending, suppressions, tables

app_name = "email-logs"

urlpatterns = [
    path("email/send", sending.Send.as_view(), name="send"),
    path("personal-data", personal_data.PersonalData.as_view(), name="personal-data"),
    path("personal-data/erase", personal_data.Erase.as_view(), name="personal-data-erase"),
    path("personal-data/erasures/<str:erasure_id>", personal_data.Erasure.as_view(), name="personal-data-erasure"),
    path("hooks/<str:provider>/<str:integration_id>", hooks.Hook.as_view(), name="hook"),
    path("suppressions", suppressions.Suppressions.as_view(), name="suppressions"),
    path("suppressions/<str:suppression_id>", suppressions.SuppressionDetail.as_view(), name="suppression"),
    path("tables/stats", days.Days.as_view(), name="days"),
    path("tables/integration/init", tables.Init.as_view(), name="init"),
    path("tables", tables.Tables.as_view(), name="tables"),
    path("tables/<str:table_id>", tables.TableDetail.as_view(), name="table"),
    path("tables/<str:table_id>/rows", tables.Rows.as_view(), name="rows"),
    path("tables/<str:table_id>/rows/<str:row_id>", tables.RowDetail.as_view(), name="row"),
    path("tables/<str:table_id>/export", tables.Export.as_view(), name="export"),
    path("tables/<str:table_id>/exports", exports.Exports.as_view(), name="exports"),
    path("tables/<str:table_id>/exports/<str:log_export_id>", exports.ExportDetail.as_view(), name="export-detail"),
    path("tables/<str:table_id>/exports/<str:log_export_id>/content", exports.ExportContent.as_view(), name="content"),
]
