"""A workspace's people run everything from the console, in a real browser against the running product: from the first
log-in to a synced mailbox; an email provider, a mail through it and its bounce; a webhook that failed and is replayed;
an export; a colleague who signs in by Google and gets no further than their own (DESIGN 9).

One story in order: a fixture that somebody needs is somebody's earlier day.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from simulator.process import Simulator, running
from simulator.receiver_client import Receiver
from simulator.visitor import Visitor
from tests import browsing
from tests.accessibility import barriers
from tests.browsing import PHONE, Person, browser
from tests.running import Product

pytestmark = pytest.mark.services

OWNER_MAIL, COLLEAGUE, STRANGER = "ada@hub.example", "bob@hub.example", "eve@hub.example"
KEY, NEXT_KEY = "re_journey_0123456789abcdef", "re_journey_next_0123456789"
SECRET = "a secret of more than twenty-four bytes"
WRITTEN_TO = "grace@elsewhere.example"
IS_DARK = "return document.documentElement.classList.contains('dark')"
PAGES = (
    "/admin/", "/admin/setup", "/admin/setup/google", "/admin/integrations/connection/",
    "/admin/integrations/integration/", "/admin/integrations/integration/add/", "/admin/email_logs/emaillogtable/",
    "/admin/email_logs/emaillogentry/", "/admin/email_logs/suppression/", "/admin/email_sync/message/",
    "/admin/workspaces/membership/", "/admin/workspaces/membership/add/", "/admin/workspaces/auditevent/",
    "/admin/workspaces/apitoken/add/", "/admin/integrations/integration/add/?type=WEBHOOK",
    "/admin/integrations/connection/log-in/?email=ada%40fastmail.com", "/admin/integrations/delivery/",
    "/admin/entities/addressmatch/", "/admin/entities/addressmatch/add/", "/admin/documents/document/",
)  # fmt: skip
OWNERS_PAGES = tuple(path for path in PAGES if "/integration/" in path or "/emaillog" in path)


@pytest.fixture(scope="module", autouse=True)
def _chromium() -> None:
    missing = [
        name for name, found in zip(("chromium", "chromium-driver"), browsing.programs(), strict=True) if not found
    ]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (Debian's packages)")


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with running() as process:
        process.settings(resend_requests_per_second=0)
        for email in (OWNER_MAIL, COLLEAGUE, STRANGER):
            process.create_account("google", email, messages=40)
        for key in (KEY, NEXT_KEY):
            process.control("POST", "/resend/keys", {"key": key, "owner": OWNER_MAIL})
        process.control("POST", "/resend/templates", {"name": "Welcome aboard"})
        process.control("POST", "/resend/domains", {"name": "mail.example"})
        yield process


@pytest.fixture(scope="module")
def product(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    settings = {**simulator.env(), "OWNER_EMAIL": OWNER_MAIL, "EGRESS_ALLOW_CIDRS": "127.0.0.0/8"}
    product = Product(tmp_path_factory.mktemp("console") / "data", **settings)
    product.environment["PUBLIC_URL"] = f"http://127.0.0.1:{product.port}"
    product.start()
    product.wait_until_ready()
    yield product
    product.stop()


@pytest.fixture(scope="module")
def ask(product: Product) -> Callable[..., Any]:
    """The owner's client of the API: what the browser is compared with, and what a vendor would be told."""
    token = re.search(r"API token\s+(\S+)", product.output)
    assert token, product.output
    visitor = Visitor(f"http://127.0.0.1:{product.port}", token[1])

    def asked(method: str, path: str, body: Any = None) -> Any:
        status, answer = visitor.request(method, f"/api/{path}", body)
        assert status < 300, answer
        return json.loads(answer) if answer else None

    return asked


@pytest.fixture(scope="module")
def owner(product: Product, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """Signed in by password, for the whole story."""
    password = re.search(r"Password\s+(\S+)", product.output)
    assert password, product.output
    with browser(tmp_path_factory.mktemp("owner"), f"http://127.0.0.1:{product.port}") as person:
        person.open("/admin/")
        person.fills(username=OWNER_MAIL, password=password[1])
        person.clicks("Log in")
        person.sees("Overview")
        yield person


@pytest.fixture(scope="module")
def mailbox(owner: Person) -> str:
    """The owner's first quarter of an hour."""
    owner.open("/admin/setup")
    owner.sees("0 of 4 done")
    owner.clicks("Connect")
    owner.clicks("Connect my Google account")
    owner.sees("wants access")
    owner.clicks("Allow")
    owner.sees(OWNER_MAIL)
    owner.follows(OWNER_MAIL)
    return owner.driver.current_url


@pytest.fixture(scope="module")
def email_provider(owner: Person) -> str:
    """The address of its page."""
    owner.open("/admin/integrations/integration/add/")
    owner.follows("Resend")
    owner.fills(name="House mail", config__fromEmail="noreply@mail.example", credentials__apiKey=KEY)
    owner.ticks("setAsSiteEmailProvider")
    owner.clicks("Add")
    owner.sees("House mail is set up")
    return owner.driver.current_url


def test_mailbox_is_connected_by_consent_and_its_sync_is_watched_to_its_end(owner: Person, mailbox: str) -> None:
    owner.sees("up to date")
    owner.sees("40 stored of 40")
    owner.open("/admin/setup")
    owner.sees("1 of 4 done")


def test_own_mail_is_read_in_a_frame_that_runs_nothing(owner: Person, mailbox: str) -> None:
    owner.open("/admin/email_sync/message/?folder=all")
    owner.sees("Only you see this page")
    first = owner.driver.find_element("css selector", "#content-main ul li a")
    first.click()
    owner.sees("Received")
    if owner.driver.find_elements("tag name", "iframe"):
        assert owner.reads_frame().strip()
    assert owner.refused() == []


def test_provider_is_added_tested_and_sends_a_mail_whose_bounce_arrives(
    owner: Person, simulator: Simulator, ask: Callable[..., Any], email_provider: str
) -> None:
    owner.clicks("Test")
    owner.confirms("Test now")
    owner.sees("mail.example")
    integration = re.findall(r"[0-9a-f-]{36}", email_provider)[0]
    hook = ask("GET", f"integrations/{integration}")["hookUrl"]
    made = simulator.control("POST", "/resend/webhook", {"url": hook})
    ask(
        "PATCH",
        f"integrations/{integration}",
        {"credentials": {"apiKey": KEY, "webhookSecret": made["signing_secret"]}},
    )
    ask("POST", "email/send", {"to": [WRITTEN_TO], "subject": "Your key is ready", "body": "Come and fetch it."})
    owner.open("/admin/email_logs/emaillogtable/")
    owner.clicks("Show", within="House mail")
    owner.sees(WRITTEN_TO, again=True)
    owner.sees("delivered", again=True)
    [sent] = [mail for mail in simulator.sent() if WRITTEN_TO in json.dumps(mail)]
    simulator.control("POST", "/resend/events", {"email_id": sent["id"], "type": "bounced"})
    owner.sees("bounced", again=True)
    owner.opens(WRITTEN_TO)
    owner.sees("550 5.1.1 no such user")


def test_webhook_that_failed_is_replayed(owner: Person, simulator: Simulator, ask: Callable[..., Any]) -> None:
    endpoint = Receiver(simulator, "office")
    endpoint.answers({"status": 500}, {"status": 200})
    body = {"name": "Office", "type": "WEBHOOK", "config": {"url": endpoint.url, "events": ["integration.*"]},
            "credentials": {"secret": SECRET}}  # fmt: skip
    ask("POST", "integrations", body)
    owner.open("/admin/integrations/delivery/")
    owner.sees("integration.created", again=True)
    owner.opens("integration.created")
    owner.sees("500", again=True)
    owner.clicks("Replay")
    owner.confirms("Replay")
    owner.sees("Delivered", again=True)
    assert [got.status for got in endpoint.received()][-1] == 200


@pytest.fixture(scope="module")
def mails(owner: Person, ask: Callable[..., Any], email_provider: str) -> set[tuple[str, str]]:
    """To whom and about what was written, once all of it is in the log."""
    written = {(f"reader{number}@elsewhere.example", f"Offer {number}") for number in range(3)}
    for to, subject in written:
        ask("POST", "email/send", {"to": [to], "subject": subject, "body": "Have a look."})
    owner.open("/admin/email_logs/emaillogtable/")
    owner.clicks("Show", within="House mail")
    for to, _ in written:
        owner.sees(to, again=True)
    return written


def rows_of(file: Path) -> set[tuple[str, str]]:
    """What a file of a log tells of each mail: to whom, and about what."""
    with file.open(newline="", encoding="utf-8-sig") as text:
        return {(row["To"], row["Subject"]) for row in csv.DictReader(text)}


def test_log_is_exported_at_once_and_the_file_has_its_mails(owner: Person, mails: set[tuple[str, str]]) -> None:
    owner.open("/admin/email_logs/emaillogtable/")
    owner.clicks("Show", within="House mail")
    file = owner.downloads_by("CSV")
    assert file.suffix == ".csv"
    assert rows_of(file) >= mails


def test_narrowed_export_is_made_in_the_background_and_holds_what_was_searched_for(
    owner: Person, mails: set[tuple[str, str]]
) -> None:
    owner.open("/admin/email_logs/emaillogtable/")
    owner.opens("House mail")
    table = re.findall(r"[0-9a-f-]{36}", owner.driver.current_url)[0]
    owner.open(f"/admin/email_logs/emaillogtable/{table}/exports/new/csv?q=reader1")
    owner.confirms("Export")
    owner.sees("Download", again=True)
    assert rows_of(owner.downloads_by("Download")) == {("reader1@elsewhere.example", "Offer 1")}


@pytest.fixture(scope="module")
def colleague(owner: Person, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """Invited as a member, and signed in by Google."""
    owner.open("/admin/workspaces/membership/add/")
    owner.fills(email=COLLEAGUE, name="Bob")
    owner.clicks("Invite")
    owner.sees(COLLEAGUE)
    with browser(tmp_path_factory.mktemp("colleague"), owner.home) as person:
        sign_in(person, COLLEAGUE)
        person.sees("Connect")
        yield person


def test_colleague_is_invited_signs_in_by_google_and_sees_their_own_only(
    owner: Person, colleague: Person, mailbox: str, email_provider: str
) -> None:
    assert OWNER_MAIL not in colleague.words
    for url in (mailbox, email_provider):
        colleague.driver.get(url)
        assert OWNER_MAIL not in colleague.words
        assert "House mail" not in colleague.words
    for path in OWNERS_PAGES:
        colleague.open(path)
        assert "House mail" not in colleague.words
        assert "noreply@mail.example" not in colleague.words


def test_colleague_runs_the_workspace_as_an_admin_and_is_let_in_nowhere_once_removed(
    owner: Person, colleague: Person, email_provider: str
) -> None:
    owner.open("/admin/workspaces/membership/")
    owner.opens(COLLEAGUE)
    assert f"{COLLEAGUE} (Member)" in owner.driver.title
    owner.clicks("Change role")
    owner.fills(role="Admin")
    owner.confirms("Change")
    owner.sees(f"{COLLEAGUE} is ADMIN now.")
    colleague.driver.get(email_provider)
    colleague.sees("House mail")
    owner.clicks("Remove")
    owner.confirms("Remove")
    owner.sees("is no member any more")
    colleague.driver.get(email_provider)
    colleague.sees("Log in")


def test_mailbox_is_paused_resumed_refreshed_and_connected_again(owner: Person, mailbox: str) -> None:
    owner.driver.get(mailbox)
    owner.clicks("Pause")
    owner.confirms("Pause")
    owner.sees("Resume it to go on.")
    owner.clicks("Resume")
    owner.confirms("Resume")
    owner.sees("Nothing to do.")
    owner.clicks("Refresh access")
    owner.confirms("Refresh")
    owner.sees("The access is good.")
    owner.clicks("Reconnect")
    owner.sees("wants access")
    owner.clicks("Allow")
    owner.sees("Reconnect")
    assert owner.driver.current_url == mailbox
    owner.sees("Nothing to do.")


def test_provider_is_given_a_new_key_switched_off_and_on_and_shows_its_templates(
    owner: Person, email_provider: str
) -> None:
    owner.driver.get(email_provider)
    owner.clicks("Rotate secret")
    owner.fills(credentials__apiKey=NEXT_KEY)
    owner.clicks("Rotate")
    owner.sees("House mail is changed")
    assert NEXT_KEY not in owner.driver.page_source
    owner.clicks("Disable")
    owner.confirms("Disable")
    owner.sees("House mail is disabled.")
    owner.clicks("Enable")
    owner.confirms("Enable")
    owner.sees("House mail is enabled.")
    owner.clicks("Make site email provider")
    owner.confirms("Make it")
    owner.sees("House mail is the site email provider.")
    owner.clicks("Templates")
    owner.sees("Welcome aboard")
    owner.fills(q="nothing like it")
    owner.clicks("Search")
    owner.sees("0 of 1 templates")


def test_address_of_two_contacts_is_decided_about_and_its_link_undone(owner: Person) -> None:
    for contact in ("41", "42"):
        owner.open("/admin/entities/addressmatch/add/")
        owner.fills(what=WRITTEN_TO, entity_id=contact)
        owner.clicks("Link")
        owner.sees("Linked:")
    owner.open("/admin/entities/addressmatch/?confidence=asked")
    owner.sees("2 address matches")
    owner.opens(WRITTEN_TO)
    owner.clicks("Keep this one")
    owner.confirms("Keep this one")
    owner.sees("1 other undone.")
    owner.clicks("Undo")
    owner.confirms("Undo")
    owner.sees("Undone:")
    owner.sees("0 address matches")


def test_stranger_with_a_google_account_is_let_in_nowhere(
    owner: Person, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with browser(tmp_path_factory.mktemp("stranger"), owner.home) as stranger:
        sign_in(stranger, STRANGER)
        stranger.sees("Log in")
        stranger.open("/admin/")
        stranger.sees("Log in")


def sign_in(person: Person, email: str) -> None:
    person.open("/admin/")
    person.clicks("Sign in with Google")
    person.sees("wants access")
    person.driver.find_element("css selector", f'input[value="{email}"]').click()
    person.clicks("Allow")


def test_console_is_narrowed_to_one_of_two_workspaces_and_widened_again(
    owner: Person, product: Product, email_provider: str
) -> None:
    made = product.command("create_workspace", "Second", "--owner-email", OWNER_MAIL)
    assert made.wait(60) == 0
    owner.open("/admin/integrations/integration/")
    owner.fills(workspace="Second")
    owner.clicks("Show")
    owner.sees("0 integrations")
    assert "House mail" not in owner.words
    owner.fills(workspace="All of them")
    owner.clicks("Show")
    owner.sees("House mail")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [browsing.WIDE, PHONE], ids=["wide", "phone"])
def test_pages_fit_their_window_break_no_policy_and_keep_nobody_out(
    owner: Person, mailbox: str, email_provider: str, size: tuple[int, int], theme: str
) -> None:
    """Nobody: words strong enough to be read, names for what is only seen, nothing for a mouse alone."""
    owner.driver.set_window_size(*size)
    owner.prefers(theme)
    try:
        for path in (*PAGES, mailbox.removeprefix(owner.home), email_provider.removeprefix(owner.home)):
            owner.open(path)
            assert owner.driver.execute_script(IS_DARK) is (theme == "dark"), path
            assert owner.overflow() <= 0, path
            assert owner.refused() == [], path
            assert barriers(owner.driver) == [], path
    finally:
        owner.prefers("light")
        owner.driver.set_window_size(*browsing.WIDE)


def test_mailbox_is_disconnected_and_its_mail_deleted_once_that_is_confirmed(owner: Person, mailbox: str) -> None:
    owner.driver.get(mailbox)
    owner.clicks("Disconnect")
    owner.ticks("purge")
    owner.confirms("Disconnect")
    owner.sees("is disconnected, and what was synced is")  # being deleted, or deleted
    owner.open("/admin/email_sync/message/?folder=all")
    owner.sees("There is no mail in this folder.")


def test_what_keeps_people_out_is_found(tmp_path: Path) -> None:
    """The pass above finds what it looks for."""
    page = tmp_path / "page.html"
    page.write_text(
        """<!doctype html><html lang="en"><title>A page</title><body style="background: #fff"><h1>A page</h1>
        <p style="color: #999">Too faint</p><p style="opacity: 0.5">Faint by opacity</p><p style="color: #666">Fine</p>
        <input name="nameless"><label>Named <input name="named"></label><button></button><button>Go</button>
        <span onclick="go()">Mouse only</span><input placeholder="Pale" aria-label="Pale" class="pale">
        <style>.pale::placeholder { color: #bbb }</style>
        <span class="material-symbols-outlined">home</span></body></html>"""
    )
    with browser(tmp_path / "visitor", page.as_uri()) as visitor:
        visitor.open("")
        found = " ".join(barriers(visitor.driver))
    for words in ("Too faint", "Faint by opacity", "Pale", "name nameless", "button <button", "Mouse only", '"home"'):
        assert words in found
    for words in ("Fine", "name named", "Go"):
        assert words not in found
