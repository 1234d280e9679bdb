"""A small IMAP server for idle connections: log-in, EXAMINE, IDLE, and what a test has it say.

In a thread (`IdleServer`) for tests, or as a process for the benchmark (`python -m email_sync.tests.idle_server
FOLDER`, which prints the port and then says `* 1 EXISTS` to a random connection for every line it reads).
"""

from __future__ import annotations

import asyncio
import base64
import random
import ssl
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

from email_sync.tests.certificates import certificate

CAPABILITIES = b"IMAP4rev1 AUTH=PLAIN SASL-IR IDLE"


class Session:
    """One connection as the server sees it."""

    def __init__(self, server: IdleServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server, self.reader, self.writer = server, reader, writer
        self.user = ""
        self.idling = b""
        """The tag of the IDLE under way."""
        self.idles = 0

    async def serve(self) -> None:
        self.say(b"* OK [CAPABILITY %s] here" % self.server.capabilities)
        while line := await self.reader.readline():
            await self._answer(line.strip())

    def say(self, line: bytes) -> None:
        self.writer.write(line + b"\r\n")

    async def _answer(self, line: bytes) -> None:
        if line.upper() == b"DONE":
            if self.server.answers_done:
                self.say(b"%s OK idled" % self.idling)
            self.idling = b""
            return
        tag, _, command = line.partition(b" ")
        verb = command.split(b" ", 1)[0].upper()
        if verb == b"AUTHENTICATE":
            self.say(b"+ ")
            await self._log_in(tag, base64.b64decode(await self.reader.readline()))
        elif verb == b"CAPABILITY":
            self.say(b"* CAPABILITY %s" % self.server.capabilities)
            self.say(b"%s OK done" % tag)
        elif verb == b"IDLE":
            self._idle(tag)
        else:
            self.say(b"%s OK done" % tag)

    async def _log_in(self, tag: bytes, response: bytes) -> None:
        _, user, password = response.split(b"\0")
        self.server.log_ins += 1
        if password != b"secret":
            self.say(b"%s NO [AUTHENTICATIONFAILED] no" % tag)
            return
        self.user = user.decode()
        self.say(b"%s OK in" % tag)

    def _idle(self, tag: bytes) -> None:
        if self.server.refuses_idle:
            self.say(b"%s BAD no idling" % tag)
            return
        self.idling = tag
        self.idles += 1
        self.say(b"+ idling")


class IdleServer:
    """Serves until the end of the block. What tests set or ask is touched by both threads; each is one assignment."""

    def __init__(self, *, tls: tuple[Path, Path] | None = None) -> None:
        self.capabilities = CAPABILITIES
        self.refuses_idle = False
        self.answers_done = True
        self.log_ins = 0
        self.sessions: set[Session] = set()
        self.port = 0
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="idle server", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def do(self, work: Callable[[Session], None], user: str = "") -> int:
        """In the server's thread, for every idle connection (of a user); how many."""

        async def every() -> int:
            found = [session for session in self.sessions if session.idling and user in ("", session.user)]
            for session in found:
                work(session)
            return len(found)

        return asyncio.run_coroutine_threadsafe(every(), self._loop).result(10)

    def tell(self, line: bytes, user: str = "") -> int:
        """Say a line to every idle connection."""
        return self.do(lambda session: session.say(line), user)

    def hang_up(self, user: str = "") -> int:
        return self.do(lambda session: session.writer.transport.abort(), user)

    def idle(self, user: str = "") -> int:
        """How many connections are idle."""
        return self.do(lambda session: None, user)

    async def listen(self) -> None:
        context = None
        if self._tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self._tls)
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=context, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = Session(self, reader, writer)
        self.sessions.add(session)
        try:
            await session.serve()
        except (OSError, ValueError):
            pass
        finally:
            self.sessions.discard(session)
            writer.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self.listen())
        self._ready.set()
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()


def main(folder: Path) -> None:
    """As a process: the port, then one line said for each line read, until the end of the input."""
    with IdleServer(tls=certificate(folder, "127.0.0.1")) as server:
        _print(str(server.port))
        for _ in sys.stdin:
            idle = [session for session in server.sessions if session.idling]
            chosen = random.choice(idle) if idle else None
            if chosen is not None:
                server.tell(b"* 1 EXISTS", chosen.user)
            _print(f"{chosen.user if chosen else '-'} {len(idle)}")


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
