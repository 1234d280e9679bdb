"""The provider contract, held by Imap against a real Dovecot of three grades: QRESYNC, CONDSTORE only, and neither."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from email_sync.tests.contract import MailProviderContract
from email_sync.tests.dovecot import VARIANTS, Dovecot, DovecotHarness, missing
from email_sync.tests.smtp_sink import SmtpSink

pytestmark = pytest.mark.services


@pytest.fixture(autouse=True)
def _loopback_is_open(settings: pytest.FixtureRequest) -> None:
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]


@pytest.fixture(scope="module", params=list(VARIANTS))
def server(request: pytest.FixtureRequest) -> Iterator[Dovecot]:
    if missing():
        pytest.fail(missing())
    running = Dovecot(request.param).start()
    yield running
    running.stop()


class TestImapContract(MailProviderContract):
    """Every account is new, so the tests share a server."""

    @pytest.fixture
    def harness(self, server: Dovecot) -> Iterator[DovecotHarness]:
        with SmtpSink(users={}) as sink:
            yield DovecotHarness(server, sink)
