"""Addresses of the pages behind a figure. "" where there is no such page or the caller may not open it."""

from __future__ import annotations

from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.db import models
from django.http import HttpRequest
from django.urls import reverse


def to_list(request: HttpRequest, model: type[models.Model], **query: object) -> str:
    """A model's list, narrowed by `query`."""
    url = _address(request, model, "changelist")
    return f"{url}?{urlencode(query)}" if url and query else url


def to_row(request: HttpRequest, row: models.Model) -> str:
    """One row's own page."""
    return _address(request, type(row), "change", quote(row.pk))


def to_new(request: HttpRequest, model: type[models.Model]) -> str:
    """The form that makes one; the list where rows are not made by a form."""
    page = admin.site._registry.get(model)
    if page is None or not page.has_add_permission(request):
        return to_list(request, model)
    return _address(request, model, "add")


def _address(request: HttpRequest, model: type[models.Model], page: str, *arguments: object) -> str:
    shown = admin.site._registry.get(model)
    if shown is None or not shown.has_view_permission(request):
        return ""
    return reverse(f"{admin.site.name}:{model._meta.app_label}_{model._meta.model_name}_{page}", args=arguments)
