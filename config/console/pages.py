"""The views of the console's own pages; what they say comes from `dashboard`, `setup`, `choosing` and `signing_in`."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_GET, require_POST

from config.console import choosing, dashboard, setup, signing_in
from core.admin import is_operator
from core.errors import HubError, NotFound


def _page(request: HttpRequest, template: str, title: str, context: dict[str, Any]) -> HttpResponse:
    return TemplateResponse(request, template, {**admin.site.each_context(request), "title": title, **context})


@require_GET
def overview(request: HttpRequest) -> HttpResponse:
    """The middle of the first page, for the script that keeps it fresh."""
    return render(request, "console/overview.html", dashboard.shown(request))


@require_POST
def choose(request: HttpRequest) -> HttpResponse:
    """Show one workspace, or all."""
    return HttpResponseRedirect(choosing.choose(request))


@require_GET
def setup_page(request: HttpRequest) -> HttpResponse:
    """What is still to be done, and each provider's page."""
    context = {"checklists": setup.checklists(request), "guides": setup.guides()}
    return _page(request, "console/setup.html", "Set-up", context)


@require_GET
def provider(request: HttpRequest, provider: str) -> HttpResponse:
    """What to register with one provider."""
    try:
        guide = setup.guide(provider)
    except NotFound:
        raise Http404 from None
    return _page(request, "console/provider.html", f"{guide.name} accounts", {"guide": guide})


@require_GET
def checks(request: HttpRequest) -> HttpResponse:
    """What the doctor finds."""
    context = {"findings": setup.findings(request), "whole": is_operator(request)}
    return _page(request, "console/checks.html", "System checks", context)


@never_cache
@require_POST
@csrf_protect
def sign_in(request: HttpRequest, provider: str) -> HttpResponse:
    """To the provider, which asks who is there."""
    try:
        return HttpResponseRedirect(signing_in.begin(request, provider))
    except HubError as error:
        return _refused(request, error)


@never_cache
@require_GET
def signed_in(request: HttpRequest, provider: str) -> HttpResponse:
    """Back from the provider."""
    try:
        return HttpResponseRedirect(signing_in.finish(request, provider))
    except HubError as error:
        return _refused(request, error)


def locked(request: HttpRequest, answer: HttpResponse | None, credentials: Any) -> HttpResponse:
    """Too many wrong passwords (django-axes asks for this page); how long to wait is said."""
    wait = settings.AXES_COOLOFF_TIME
    context = {**admin.site.each_context(request), "title": "Log in", "minutes": int(wait.total_seconds() / 60)}
    response = render(request, "console/locked.html", context, status=429)
    response.headers["Retry-After"] = str(int(wait.total_seconds()))
    return response


def _refused(request: HttpRequest, error: HubError) -> HttpResponse:
    messages.error(request, error.message)
    return HttpResponseRedirect(reverse("admin:login"))
