"""LocalStack's S3 (Apache-2.0), which enforces what we sign; started from an environment of its own.

`tests.services` and `.ci/run` put it into `.venv/localstack`; LOCALSTACK_PYTHON names another. Where neither is there,
tests that want it are skipped with these words. It listens on the loopback only.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PINS = Path(__file__).with_name("localstack.txt")
PYTHON = Path(__file__).resolve().parents[2] / ".venv" / "localstack" / "bin" / "python"
SECONDS = 90.0


def python() -> str:
    """The interpreter it is installed for; "" where there is none."""
    named = os.environ.get("LOCALSTACK_PYTHON", "")
    return named or (str(PYTHON) if PYTHON.exists() else "")


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """Its address. Objects lie in `folder`."""
    port = _free_port()
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        "SERVICES": "s3",
        "STRICT_SERVICE_LOADING": "1",
        "GATEWAY_LISTEN": f"127.0.0.1:{port}",
        "GATEWAY_SERVER": "hypercorn",  # the other one listens on every address, whatever GATEWAY_LISTEN says
        "DNS_ADDRESS": "0",
        "DISABLE_EVENTS": "1",
        "SKIP_SSL_CERT_DOWNLOAD": "1",
        "S3_SKIP_SIGNATURE_VALIDATION": "0",
        "FILESYSTEM_ROOT": str(folder / "state"),
    }
    with (folder / "localstack.log").open("wb") as log:
        process = subprocess.Popen(
            [python(), "-m", "localstack.runtime.main"], cwd=folder, env=environment, stdout=log, stderr=log
        )
        try:
            _wait(process, f"http://127.0.0.1:{port}", folder / "localstack.log")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    ends = time.monotonic() + SECONDS
    while time.monotonic() < ends and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/_localstack/health", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"LocalStack did not start: {log.read_text()[-2000:]}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])
