"""Pages that say why there is none: in the console's look, without anything of unfold's, and telling nothing inside."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from config.console import dashboard
from config.tests.consoles import console
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db


def look(response: Any, status: int) -> str:
    """Its words; it brings no script and no style of its own, which the policy would refuse."""
    page = response.content.decode()
    assert response.status_code == status
    assert "/static/patchbay/lost.css" in page
    assert not re.search(r"<script|<style| style=", page)
    return " ".join(re.sub(r"<[^>]*>", " ", page).split())


def test_address_that_is_not_there(owner: Actor) -> None:
    assert "There is no such page here" in look(console(owner).get("/admin/nothing/"), 404)


def test_page_that_a_role_does_not_open(member: Actor) -> None:
    assert "Your role in this workspace does not open this page" in look(
        console(member).get("/admin/integrations/integration/add/"), 403
    )


def test_form_that_was_open_for_too_long() -> None:
    client = Client(enforce_csrf_checks=True)
    words = look(client.post("/admin/login/", {"username": "a@b.example", "password": "x"}), 403)
    assert "nothing was changed" in words
    assert "CSRF" not in words


def test_request_that_makes_no_sense() -> None:
    fields = {f"field{number}": "" for number in range(1100)}
    assert "makes no sense here" in look(Client().post("/admin/login/", fields), 400)


def test_defect_of_ours_says_so_and_nothing_of_it(owner: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(request: object) -> None:
        raise RuntimeError("the innermost secret")

    monkeypatch.setattr(dashboard, "shown", breaks)
    client = console(owner)
    client.raise_request_exception = False
    words = look(client.get("/admin/"), 500)
    assert "it has been logged" in words
    assert "secret" not in words


def test_each_of_them_leads_back_to_the_overview() -> None:
    templates = Path(__file__).parents[1] / "templates"
    pages = [templates / f"{name}.html" for name in ("400", "403", "403_csrf", "404", "500")]
    assert all(page.read_text().startswith('{% extends "lost.html" %}') for page in pages)
    assert 'href="/admin/"' in (templates / "lost.html").read_text()
