"""A line to a server of this machine on which every request is late: time to be killed in, whatever the server is.

For IMAP, whose Dovecot answers a first sync of thousands in seconds; the simulator has a fault of that kind.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class SlowLine:
    """Listens on `port` and passes all it is sent to the server's, `seconds` late; answers come at once."""

    def __init__(self, server_port: int, *, seconds: float) -> None:
        self.server_port, self.seconds = server_port, seconds
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])

    def __enter__(self) -> SlowLine:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(("127.0.0.1", self.server_port), timeout=10)
                server.settimeout(None)
                for ends in ((client, server, self.seconds), (server, client, 0.0)):
                    threading.Thread(target=_pass_on, args=ends, daemon=True).start()


def _pass_on(source: socket.socket, target: socket.socket, seconds: float) -> None:
    """Until one side is gone; then the other one hears of it."""
    with suppress(OSError):
        while data := source.recv(65536):
            threading.Event().wait(seconds)
            target.sendall(data)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
