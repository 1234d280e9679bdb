"""The virus scanner's socket: what it says is passed on, and nothing it did not say."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import EgressRefused, NotConfigured, ProviderUnavailable, TooLarge
from documents import scanning

EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
"""The file every scanner is to find, agreed on for tests: eicar.org."""


@pytest.fixture
def daemon(tmp_path: Path, settings: Any) -> Iterator[Callable[[bytes, int], list[bytes]]]:
    """`daemon(answer, enough)` listens on a socket, reads until the stream ends or `enough` bytes came, and answers."""
    path = tmp_path / "clamd.ctl"
    settings.CLAMAV_URL = f"unix://{path}"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    threads: list[threading.Thread] = []

    def begin(answer: bytes, enough: int = 10**9) -> list[bytes]:
        heard: list[bytes] = []

        def serve() -> None:
            with listener.accept()[0] as line:
                said = b""
                while not said.endswith(b"\0\0\0\0") and said != b"zVERSION\0" and len(said) < enough:
                    said += (more := line.recv(65536))
                    if not more:
                        break
                heard.append(said)
                line.sendall(answer)

        threads.append(threading.Thread(target=serve, daemon=True))
        threads[-1].start()
        return heard

    yield begin
    listener.close()
    for thread in threads:
        thread.join(5)


def test_scan_a_clean_file_is_sent_whole_and_passes(daemon: Any) -> None:
    heard = daemon(b"stream: OK\0")
    assert scanning.scan([b"ab", b"", b"cde"]) == scanning.Finding(infected=False)
    assert heard == [b"zINSTREAM\0\0\0\0\x02ab\0\0\0\x03cde\0\0\0\0"]


def test_scan_an_infected_file_is_named(daemon: Any) -> None:
    daemon(b"stream: Win.Test.EICAR_HDB-1 FOUND\0")
    assert scanning.scan([EICAR]) == scanning.Finding(infected=True, name="Win.Test.EICAR_HDB-1")


@pytest.mark.parametrize(
    "answer", [b"", b"stream: OK", b"stream: Something strange\0", b"INSTREAM: Can't write to temporary file ERROR\0"]
)
def test_scan_anything_but_a_verdict_is_unavailable(daemon: Any, answer: bytes) -> None:
    daemon(answer)
    with pytest.raises(ProviderUnavailable):
        scanning.scan([b"ab"])


def test_scan_a_verdict_before_the_end_is_not_believed(daemon: Any) -> None:
    daemon(b"stream: OK\0", 100_000)
    with pytest.raises(ProviderUnavailable):
        scanning.scan(b"x" * 65536 for _ in range(1000))


def test_scan_more_than_the_scanner_takes_says_which_setting_to_raise(daemon: Any) -> None:
    daemon(b"INSTREAM size limit exceeded. ERROR\0", 100_000)
    with pytest.raises(TooLarge, match="StreamMaxLength"):
        scanning.scan(b"x" * 65536 for _ in range(1000))


def test_scan_nobody_listening_is_unavailable(settings: Any, tmp_path: Path) -> None:
    settings.CLAMAV_URL = f"unix://{tmp_path}/nobody.ctl"
    with pytest.raises(ProviderUnavailable):
        scanning.scan([b"ab"])
    assert scanning.check() == (False, f"Nothing listens on the virus scanner's socket {tmp_path}/nobody.ctl.")


@pytest.mark.parametrize("url", ["/run/clamd.ctl", "http://127.0.0.1:3310", "unix://", "tcp://"])
def test_scan_an_address_that_is_none_is_said(settings: Any, url: str) -> None:
    settings.CLAMAV_URL = url
    with pytest.raises(NotConfigured, match="CLAMAV_URL"):
        scanning.scan([b"ab"])


def test_scan_a_private_address_needs_its_network_opened(settings: Any) -> None:
    settings.CLAMAV_URL, settings.EGRESS_ALLOW_CIDRS = "tcp://127.0.0.1:3310", []
    with pytest.raises(EgressRefused):
        scanning.scan([b"ab"])
    assert "EGRESS_ALLOW_CIDRS" in scanning.check()[1]


def test_check_a_scanner_that_answers_says_its_version(daemon: Any) -> None:
    daemon(b"ClamAV 1.0.7/27463\0")
    assert scanning.check() == (True, "The virus scanner answers: ClamAV 1.0.7/27463.")


def _clamd() -> str:
    found = shutil.which("clamd", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    if found is None:
        pytest.skip("clamd is not installed (Debian: clamav-daemon)")
    return found


@pytest.fixture
def clamd(tmp_path: Path, settings: Any) -> Iterator[None]:
    """The real daemon, with one signature of our own: its databases are not on this machine."""
    program = _clamd()
    (tmp_path / "db").mkdir()
    signature = EICAR.hex()
    (tmp_path / "db" / "own.ndb").write_text(f"Eicar-Test-Signature:0:*:{signature}\n")
    (tmp_path / "clamd.conf").write_text(
        f"LocalSocket {tmp_path}/clamd.ctl\nDatabaseDirectory {tmp_path}/db\nForeground yes\n"
        "StreamMaxLength 1M\nUser root\n"
    )
    settings.CLAMAV_URL = f"unix://{tmp_path}/clamd.ctl"
    with subprocess.Popen(
        [program, "-c", f"{tmp_path}/clamd.conf"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        try:
            assert process.stdout is not None
            said = []
            for line in process.stdout:
                said.append(line)
                if b"Self checking" in line:  # the last it says before it listens
                    break
            assert process.poll() is None, said
            yield
        finally:
            process.kill()


@pytest.mark.services
def test_scan_the_real_scanner_finds_what_is_infected_wherever_it_lies(clamd: None) -> None:
    clean = [b"Dear Sir or Madam, " * 1000, b"yours sincerely"]
    assert scanning.scan(clean) == scanning.Finding(infected=False)
    assert scanning.scan([b"a" * 100_000, EICAR[:20], EICAR[20:]]).name.startswith("Eicar-Test-Signature")
    with pytest.raises(TooLarge, match="StreamMaxLength"):
        scanning.scan(b"x" * 65536 for _ in range(100))
    assert scanning.check()[0]
