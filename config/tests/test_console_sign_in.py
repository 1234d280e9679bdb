"""Signing in to the console with an account at a provider, against the simulator's consent pages: who gets in, and who
does not however they come.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from config.console import signing_in
from integrations.models import Connection, OAuthState
from integrations.oauth.google import GoogleBackend
from integrations.oauth.microsoft import MicrosoftBackend
from simulator.process import Simulator, running
from workspaces.models import Membership, User
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db

ADA, STRANGER = "ada@hub.example", "eve@hub.example"
VENDORS = ["google", "microsoft"]


@pytest.fixture(scope="module")
def process() -> Iterator[Simulator]:
    with running() as simulator:
        yield simulator


@pytest.fixture
def simulator(process: Simulator, settings: Any) -> Simulator:
    """Ada and a stranger have accounts at both vendors."""
    process.reset(seed=1)
    for name, value in process.env().items():
        setattr(settings, name, value.split(",") if name == "EGRESS_ALLOW_CIDRS" else value)
    for vendor in VENDORS:
        for address in (ADA, STRANGER):
            process.create_account(vendor, address)
    return process


@pytest.fixture
def ada(owner: Actor) -> User:
    """An owner here, under the address she has there."""
    owner.user.email = ADA
    owner.user.save()
    User.objects.filter(pk=owner.user.pk).update(is_staff=True)
    return owner.user


def begin(browser: Client, vendor: str, next: str = "/admin/setup") -> str:
    response = browser.post(f"/admin/login/{vendor}", {"next": next})
    assert response.status_code == 302
    return str(response["Location"])


def consent(simulator: Simulator, url: str, address: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(simulator.authorize(url, address)).query))


def come_back(browser: Client, vendor: str, answer: dict[str, str]) -> Any:
    return browser.get(f"/admin/login/{vendor}/complete", answer)


def who(browser: Client) -> str | None:
    return browser.session.get("_auth_user_id")


@pytest.mark.parametrize("vendor", VENDORS)
def test_invited_address_gets_in_and_nothing_is_made_or_kept(simulator: Simulator, ada: User, vendor: str) -> None:
    before = (User.objects.count(), Membership.objects.count())
    browser = Client()
    url = begin(browser, vendor)
    asked = dict(parse_qsl(urlsplit(url).query))
    assert "offline" not in url
    assert (asked["code_challenge_method"], asked["prompt"]) == ("S256", "select_account")
    assert asked["redirect_uri"] == signing_in.redirect_uri(vendor)
    response = come_back(browser, vendor, consent(simulator, url, ADA))
    assert (response.status_code, response["Location"]) == (302, "/admin/setup")
    assert who(browser) == str(ada.pk)
    assert browser.get("/admin/").status_code == 200
    assert (User.objects.count(), Membership.objects.count()) == before
    assert Connection.objects.count() == OAuthState.objects.count() == 0
    assert signing_in.SESSION not in browser.session


@pytest.mark.parametrize("vendor", VENDORS)
def test_stranger_is_told_to_ask_for_an_invitation_and_no_account_is_made(
    simulator: Simulator, ada: User, vendor: str
) -> None:
    browser = Client()
    response = come_back(browser, vendor, consent(simulator, begin(browser, vendor), STRANGER))
    assert response["Location"] == "/admin/login/"
    assert who(browser) is None
    assert f"Nobody here has the address {STRANGER}." in browser.get("/admin/login/").content.decode()
    assert not User.objects.filter(email=STRANGER).exists()


def test_user_who_was_deactivated_does_not_get_in_and_does_not_stay_in(simulator: Simulator, ada: User) -> None:
    browser, second = Client(), Client()
    come_back(browser, "google", consent(simulator, begin(browser, "google"), ADA))
    User.objects.filter(pk=ada.pk).update(is_active=False)
    assert browser.get("/admin/").status_code == 302
    come_back(second, "google", consent(simulator, begin(second, "google"), ADA))
    assert who(second) is None


def test_answer_is_good_once_and_in_its_own_browser_only(simulator: Simulator, ada: User) -> None:
    browser, thief = Client(), Client()
    answer = consent(simulator, begin(browser, "google"), ADA)
    assert come_back(thief, "google", answer)["Location"] == "/admin/login/"
    assert who(thief) is None
    begin(thief, "google")  # a sign-in of the thief's own does not help
    come_back(thief, "google", answer)
    assert who(thief) is None
    come_back(browser, "google", answer)
    assert who(browser) == str(ada.pk)
    browser.logout()
    come_back(browser, "google", answer)
    assert who(browser) is None


def test_victim_cannot_be_signed_in_as_somebody_else(simulator: Simulator, ada: User) -> None:
    """Log-in CSRF: the attacker's own answer, brought to a victim's browser."""
    attacker, victim = Client(), Client()
    answer = consent(simulator, begin(attacker, "google"), ADA)
    begin(victim, "google")
    come_back(victim, "google", answer)
    assert who(victim) is None


def test_answer_for_another_provider_or_after_ten_minutes_is_refused(
    simulator: Simulator, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = Client()
    answer = consent(simulator, begin(browser, "google"), ADA)
    come_back(browser, "microsoft", answer)
    assert who(browser) is None
    answer = consent(simulator, begin(browser, "google"), ADA)
    monkeypatch.setattr(signing_in, "SECONDS", -1)
    come_back(browser, "google", answer)
    assert who(browser) is None


def test_refusal_at_the_provider_is_told_on_the_login_page(simulator: Simulator, ada: User) -> None:
    browser = Client()
    state = dict(parse_qsl(urlsplit(begin(browser, "google")).query))["state"]
    response = come_back(browser, "google", {"error": "access_denied", "state": state})
    assert response["Location"] == "/admin/login/"
    assert "Access was not allowed. Google refused (access_denied)." in browser.get("/admin/login/").content.decode()
    assert who(browser) is None


@pytest.mark.parametrize(
    "next", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", ""]
)
def test_way_back_never_leaves_this_site(simulator: Simulator, ada: User, next: str) -> None:
    browser = Client()
    response = come_back(browser, "google", consent(simulator, begin(browser, "google", next), ADA))
    assert response["Location"] == "/admin/"
    assert who(browser) == str(ada.pk)


def test_sign_in_begins_with_a_post_and_its_token_only(simulator: Simulator) -> None:
    assert Client().get("/admin/login/google").status_code == 405
    assert Client(enforce_csrf_checks=True).post("/admin/login/google").status_code == 403


@pytest.mark.parametrize("vendor", ["imap", "yahoo"])
def test_provider_without_sign_in_leads_back(simulator: Simulator, vendor: str) -> None:
    assert begin(Client(), vendor) == "/admin/login/"


def test_buttons_stand_there_for_what_is_set_up_only(simulator: Simulator, settings: Any) -> None:
    page = Client().get("/admin/login/?next=/admin/setup").content.decode()
    assert page.count("Sign in with") == 2
    assert 'name="next" value="/admin/setup"' in page
    settings.GOOGLE_CLIENT_SECRET = ""
    page = Client().get("/admin/login/").content.decode()
    assert "Sign in with Microsoft" in page
    assert "Sign in with Google" not in page
    assert begin(Client(), "google") == "/admin/login/"


def test_lock_after_wrong_passwords_says_how_long_it_lasts(owner: Actor) -> None:
    browser = Client()
    for _ in range(5):
        response = browser.post("/admin/login/", {"username": owner.user.email, "password": "wrong"})
    assert (response.status_code, response["Retry-After"]) == (429, "900")
    assert "Try again in 15 minutes." in response.content.decode()
    assert "unsafe-eval" in response["Content-Security-Policy"]


def test_nothing_of_the_sign_in_outlives_it(simulator: Simulator, ada: User) -> None:
    """Neither tokens nor the verifier are in the session of whoever is in."""
    browser = Client()
    come_back(browser, "google", consent(simulator, begin(browser, "google"), ADA))
    rows = Session.objects.filter(expire_date__gt=timezone.now())
    held = [key for row in rows for key in row.get_decoded()]
    assert {key for key in held if not key.startswith("_auth_")} <= {"_messages"}


@pytest.mark.parametrize(
    ("profile", "address"),
    [
        ({"email": ADA, "email_verified": True}, ADA),
        ({"email": ADA, "email_verified": False}, ""),
        ({"email": ADA, "email_verified": "true"}, ""),
        ({"email": ADA}, ""),
    ],
)
def test_google_vouches_for_verified_addresses_only(profile: dict[str, object], address: str) -> None:
    assert GoogleBackend.verified_address(None, profile) == address  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("profile", "address"),
    [
        ({"userPrincipalName": ADA, "mail": "other@hub.example"}, ADA),
        ({"userPrincipalName": "eve@evil.example", "mail": ADA}, "eve@evil.example"),
        ({"userPrincipalName": "ada_hub.example#EXT#@evil.onmicrosoft.com", "mail": ADA}, ""),
        ({"mail": ADA}, ""),
    ],
)
def test_microsoft_vouches_for_the_sign_in_name_and_not_for_what_an_admin_wrote(
    profile: dict[str, object], address: str
) -> None:
    assert MicrosoftBackend.verified_address(None, profile) == address  # type: ignore[arg-type]
