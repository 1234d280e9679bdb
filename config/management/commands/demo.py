"""`manage.py demo`: the whole product beside the provider simulator, with three accounts connected, their mail and
calendars syncing, and an integration of each type.

Everything the demo does goes through the HTTP API, as a client would; only the past of its email logs is written
beside it. State lives in `.demo/`, or in `demo/` of a DATA_DIR that is given, made anew each time.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from config import env
from config.management import demo_calendars, demo_integrations
from simulator.process import Simulator, running
from simulator.visitor import Visitor
from workspaces.runtime import product as runtime
from workspaces.runtime.processes import dies_with_parent

OWNER = "owner@demo.example"
PASSWORD = "demo-owner-password"  # noqa: S105 - printed on every start; the demo listens on the loopback only
MAILBOXES = {"ada@demo.example": ("google", 2000), "ben@demo.example": ("google", 500)}
MAILBOXES |= {"cleo@demo.example": ("microsoft", 400)}
NEWS_EVERY_SECONDS = 20
READY_SECONDS = 90


class Command(BaseCommand):
    """Starts simulator and product, connects the accounts, then delivers a new mail now and then."""

    help = "Start the product with the bundled provider simulator and a seeded workspace."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        folder = _folder()
        _refuse_while_it_runs(folder)
        shutil.rmtree(folder, ignore_errors=True)
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does
        with running() as simulator:
            for email, (vendor, messages) in MAILBOXES.items():
                simulator.create_account(vendor, email, messages=messages, until="now")
            vendors = {email: vendor for email, (vendor, _) in MAILBOXES.items()}
            demo_calendars.seed(simulator, vendors, datetime.now(UTC).date())
            surroundings = self._surroundings(simulator, str(folder))
            product = subprocess.Popen(
                [sys.executable, "manage.py", "up"],
                cwd=settings.BASE_DIR,
                env=surroundings,
                start_new_session=True,  # a Ctrl-C is for us alone: a second signal would end its grace
                preexec_fn=dies_with_parent(signal.SIGTERM),
            )
            try:
                self._connect(simulator, surroundings, product)
                self._deliver_news(simulator, product)
            except KeyboardInterrupt:
                self.stdout.write("stopping")
            finally:
                product.terminate()
                product.wait()

    def _surroundings(self, simulator: Simulator, folder: str) -> dict[str, str]:
        """The environment of the product: nothing of the operator's own servers and keys."""
        own = {variable.name for variable in env.VARIABLES} - {"PORT", "LOG_LEVEL"}
        kept = {name: value for name, value in env.surroundings().items() if name.removesuffix("_FILE") not in own}
        made = {"ENV_FILE": "", "DATA_DIR": folder, "OWNER_EMAIL": OWNER, "OWNER_PASSWORD": PASSWORD}
        return kept | simulator.env() | made | {"SYNC_INTERVAL_SECONDS": "30"}

    def _connect(self, simulator: Simulator, surroundings: dict[str, str], product: subprocess.Popen[bytes]) -> None:
        url = f"http://127.0.0.1:{settings.PORT}"
        if not Visitor(url).wait_until_ready(READY_SECONDS) or product.poll() is not None:
            raise CommandError("The product did not become ready; its output above says why.")
        token = subprocess.run(
            [sys.executable, "manage.py", "create_token", "--email", OWNER, "--name", "Demo"],
            cwd=settings.BASE_DIR, env=surroundings, check=True, capture_output=True, text=True,
        ).stdout.strip()  # fmt: skip
        visitor = Visitor(url, token)
        for email, (vendor, _) in MAILBOXES.items():
            visitor.connect(simulator, vendor, email, scopes="email,calendar")
        integrated = demo_integrations.integrate(visitor, simulator, next(iter(MAILBOXES)))
        subprocess.run(
            [sys.executable, "manage.py", "demo_log", "--email", OWNER],
            cwd=settings.BASE_DIR, env=surroundings, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        monday = demo_calendars.monday_of(datetime.now(UTC).date())
        weeks = f"start={monday}&end={monday + timedelta(days=14)}"
        api = f"{url}/api/v1/integrations"
        self.stdout.write(
            f"\nThe demo is up. Mail and calendars are syncing: {', '.join(MAILBOXES)}.\n"
            f"Integrations: {', '.join(name for name, works, _ in integrated if works)}.\n"
            f"  Console    {url}/admin/   {OWNER} / {PASSWORD}\n"
            f"  API docs   {url}/api/docs\n"
            f"  Simulator  {simulator.base_url}/_control/health\n"
            f"  First mail curl -H 'Authorization: Bearer {token}' '{api}/email/inbox?limit=5'\n"
            f"  Two weeks  curl -H 'Authorization: Bearer {token}' '{api}/calendar/events?{weeks}'\n"
        )

    def _deliver_news(self, simulator: Simulator, product: subprocess.Popen[bytes]) -> None:
        """A new mail every now and then, so that there is something to watch."""
        while product.poll() is None:
            try:
                product.wait(NEWS_EVERY_SECONDS)
            except subprocess.TimeoutExpired:
                simulator.deliver(next(iter(MAILBOXES)), _news())


def _folder() -> Path:
    """Its own, never the product's: what is there is taken away."""
    given = env.surroundings().get("DATA_DIR")
    return settings.DATA_DIR / "demo" if given else settings.BASE_DIR / ".demo"


def _refuse_while_it_runs(folder: Path) -> None:
    """Its data would be taken away under it."""
    try:
        with runtime.alone(folder):
            pass
    except runtime.CannotStart as error:
        raise CommandError(str(error)) from error


def _news() -> bytes:
    """A short mail that has just been written."""
    message = EmailMessage()
    message["From"], message["To"] = "Newsroom <news@demo.example>", next(iter(MAILBOXES))
    message["Subject"] = f"It is {datetime.now(UTC):%H:%M:%S}"
    message["Message-ID"], message["Date"] = make_msgid(domain="demo.example"), format_datetime(datetime.now(UTC))
    message.set_content("This mail was delivered by the simulator a moment ago and synced by Patchbay.\n")
    return message.as_bytes()
