"""The console's look, as far as it can be computed: contrast, own fonts and icons, a menu without dead ends."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.staticfiles import finders
from django.test import Client

from config.console.navigation import PAGES
from config.tests.consoles import console, console_of
from email_logs.admin.looks import SHADES
from email_logs.states import State
from workspaces.models import User
from workspaces.tests.factories import PASSWORD
from workspaces.tests.fixtures import Actor

BASE, PRIMARY = settings.UNFOLD["COLORS"]["base"], settings.UNFOLD["COLORS"]["primary"]
LIGHT = ("#ffffff", BASE["50"], BASE["100"])
DARK = (BASE["900"], BASE["800"])
ON_LIGHT = (BASE["500"], BASE["600"], BASE["700"], BASE["900"], PRIMARY["600"], PRIMARY["700"])
ON_DARK = (BASE["100"], BASE["200"], BASE["300"], BASE["400"], PRIMARY["500"])
"""The shades unfold writes with: subtle, default and important words, and links."""
AA = 4.5


def luminance(colour: str) -> float:
    """WCAG 2.2, "relative luminance"."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def pairs() -> Iterator[tuple[str, str]]:
    yield from ((ink, paper) for paper in LIGHT for ink in ON_LIGHT)
    yield from ((ink, paper) for paper in DARK for ink in ON_DARK)
    yield from (("#ffffff", PRIMARY[shade]) for shade in ("600", "700"))  # buttons


def css() -> str:
    return Path(str(finders.find("patchbay/console.css"))).read_text()


def of_block(selector: str) -> dict[str, str]:
    block = re.search(rf"^{re.escape(selector)} {{(.*?)^}}", css(), re.DOTALL | re.MULTILINE)
    assert block is not None
    return dict(re.findall(r"--console-(good|warn|bad): (#[0-9a-f]{6});", block[1]))


@pytest.mark.parametrize(("ink", "paper"), sorted(set(pairs())))
def test_words_and_links_hold_aa(ink: str, paper: str) -> None:
    assert contrast(ink, paper) >= AA


@pytest.mark.parametrize(("selector", "papers"), [(":root", LIGHT), (".dark", DARK)])
def test_colours_of_states_hold_aa(selector: str, papers: tuple[str, ...]) -> None:
    colours = of_block(selector)
    assert set(colours) == {"good", "warn", "bad"}
    for name, colour in colours.items():
        assert min(contrast(colour, paper) for paper in papers) >= AA, name


def test_bars_of_every_state_can_be_seen_in_light_and_dark() -> None:
    """WCAG 2.2, 1.4.11."""
    assert set(SHADES) == set(State)
    for state, colour in SHADES.items():
        assert min(contrast(colour, paper) for paper in ("#ffffff", BASE["900"])) >= 3, state


def test_every_class_a_page_is_written_with_has_a_style() -> None:
    """unfold ships the classes that it uses itself and no others: what looks right in its documentation may do nothing
    here."""
    known = re.sub(r"\\(.)", r"\1", css() + Path(str(finders.find("unfold/css/styles.css"))).read_text())
    known_names = set(re.findall(r"\.([^\s.{},>+~()]+)", known))
    lost = set()
    for page in settings.BASE_DIR.glob("*/templates/**/*.html"):
        text = page.read_text()
        if "<style>" in text or "integrations/result.html" in text or "unfold" in page.parts[:-1]:
            continue  # with a style of its own, or unfold's own words
        for words in re.findall(r'class="([^"]*)"', text):
            plain = re.sub(r"{%.*?%}|{{.*?}}", "\0", words).split()
            lost |= {f"{page.name}: {name}" for name in plain if "\0" not in name and not styled(name, known_names)}
    assert sorted(lost) == []


def styled(name: str, known: set[str]) -> bool:
    return any(one == name or one.startswith((f"{name}:", f"{name}\\")) for one in known)


@pytest.mark.django_db
def test_page_loads_nothing_from_elsewhere_and_everything_it_names_is_there(owner: Actor) -> None:
    for client, address in ((Client(), "/admin/login/"), (console(owner), "/admin/")):
        page = client.get(address).content.decode()
        named = re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="([^"]+)"', page)
        assert named
        for url in named:
            assert url.startswith("/"), url
            if url.startswith("/static/"):
                assert finders.find(url.removeprefix("/static/")), url
        assert "<script>" not in page


@pytest.mark.django_db
def test_menu_names_every_page_once_and_none_that_may_not_be_opened(owner: Actor) -> None:
    operator = console_of(User.objects.create_superuser("root@example.com", PASSWORD))
    seen = {}
    for name, client in (("owner", console(owner)), ("operator", operator)):
        groups = client.get("/admin/").context["sidebar_navigation"]
        links = [item["link"] for group in groups for item in group["items"]]
        assert len(links) == len(set(links))
        for link in links:
            assert client.get(link).status_code == 200, link
        seen[name] = set(links)
    assert seen["operator"] - seen["owner"] == {"/admin/workspaces/user/"}


def test_menu_names_no_page_twice() -> None:
    labels = [label for _, pages in PAGES for label, _, _ in pages]
    assert len(labels) == len(set(labels))
