"""A server that says exactly what a test wants: for what no real server does on request. Runs in a thread."""

from __future__ import annotations

import re
import socketserver
import threading
from collections.abc import Callable

from email_sync.providers.base import MailAccount

HANG_UP = b"\0hang up\0"
"""In a response: the connection ends there, after what stands before it was sent."""

Response = bytes | Callable[[int], bytes]
"""`%T` in it is the command's tag. A callable is given how often its rule has matched before."""
Rule = tuple[str, Response]

_PLAIN_SERVER: tuple[Rule, ...] = (
    ("CAPABILITY", b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n%T OK done\r\n"),
    ("AUTHENTICATE PLAIN", b"+ \r\n"),
    ("LOGOUT", b"* BYE see you\r\n%T OK bye\r\n"),
    ("LIST", b'* LIST (\\HasNoChildren) "/" INBOX\r\n%T OK done\r\n'),
    (
        "EXAMINE|SELECT",
        (
            b"* 3 EXISTS\r\n* FLAGS (\\Seen \\Flagged)\r\n* OK [PERMANENTFLAGS (\\Seen \\Flagged \\*)] yes\r\n"
            b"* OK [UIDVALIDITY 7] valid\r\n* OK [UIDNEXT 4] next\r\n%T OK [READ-WRITE] done\r\n"
        ),
    ),
    ("UID SEARCH", b"* SEARCH 1 2 3\r\n%T OK done\r\n"),
    (".*", b"%T OK done\r\n"),
)


class ScriptedImap:
    """An IMAP server made of rules: the first whose pattern matches the start of a command answers it."""

    def __init__(self, *rules: Rule, greeting: bytes = b"* OK ready\r\n") -> None:
        self.greeting = greeting
        self.rules: list[Rule] = [*rules, *_PLAIN_SERVER]
        self.seen: list[str] = []
        """Commands without their tags."""
        self.connections = 0
        self._matched: dict[str, int] = {}
        self._server = _Threading(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def port(self) -> int:
        port: int = self._server.server_address[1]
        return port

    def __enter__(self) -> ScriptedImap:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, line: str) -> bytes:
        """What the script says to a line `tag command`."""
        tag, _, command = line.partition(" ")
        self.seen.append(command)
        for pattern, response in self.rules:
            if re.match(pattern, command, re.IGNORECASE):
                before = self._matched.get(pattern, 0)
                self._matched[pattern] = before + 1
                said = response(before) if callable(response) else response
                return said.replace(b"%T", tag.encode())
        raise AssertionError("the last rule matches everything")

    def _handler(self) -> type[socketserver.StreamRequestHandler]:
        script = self

        class Handler(_Conversation):
            def setup(self) -> None:
                super().setup()
                self.script = script

        return Handler


class _Conversation(socketserver.StreamRequestHandler):
    """One connection to a ScriptedImap."""

    script: ScriptedImap

    def handle(self) -> None:
        self.script.connections += 1
        goes_on = self.say(self.script.greeting)
        while goes_on and (line := self.rfile.readline()):
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            if literal := re.search(r"\{(\d+)\}$", text):
                self.say(b"+ go on\r\n")
                self.rfile.read(int(literal[1]))
                self.rfile.readline()
            goes_on = self.reply(text)

    def reply(self, text: str) -> bool:
        """Answer a command; after a challenge, the client's answers by the rules for `(answer)`."""
        tag = text.partition(" ")[0]
        said = self.script.answer(text)
        goes_on = self.say(said)
        while goes_on and said.startswith(b"+ "):
            said = self.script.answer(f"{tag} ({self.rfile.readline().decode().strip()})")
            goes_on = self.say(said)
        return goes_on

    def say(self, said: bytes) -> bool:
        """False where the script hangs up."""
        said, hang_up, _ = said.partition(HANG_UP)
        self.wfile.write(said)
        return not hang_up


class ScriptedLines:
    """A server that greets and then answers line for line with the given replies, whatever it is told; then hangs
    up."""

    def __init__(self, *replies: bytes) -> None:
        self.replies = replies
        self.seen: list[bytes] = []
        self._server = _Threading(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def port(self) -> int:
        port: int = self._server.server_address[1]
        return port

    def __enter__(self) -> ScriptedLines:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[socketserver.StreamRequestHandler]:
        script = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                greeting, *rest = script.replies
                self.wfile.write(greeting)
                for reply in rest:
                    script.seen.append(self.rfile.readline())
                    if reply.startswith(b"."):  # a reply to the final dot
                        while script.seen[-1] not in (b".\r\n", b""):
                            script.seen.append(self.rfile.readline())
                        reply = reply[1:]
                    self.wfile.write(reply)

        return Handler


class _Threading(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


def account(port: int, /, *, token: str = "", secret: str = "secret", **imap: object) -> MailAccount:
    """An account whose IMAP and SMTP servers are both at a loopback port."""
    server: dict[str, object] = {"host": "127.0.0.1", "port": port, "security": "none", "username": "ada", **imap}
    secrets = {} if token else {"imapPassword": secret, "smtpPassword": secret}
    return MailAccount("ada@contract.test", token, {"imap": server, "smtp": server}, secrets)


def fetch_answer(uid: int, raw: bytes | None, *, items: bytes = b"FLAGS ()", section: bytes = b"BODY[]") -> bytes:
    """One untagged FETCH with a body as a literal, or NIL."""
    if raw is None:
        return b"* %d FETCH (UID %d %s %s NIL)\r\n" % (uid, uid, items, section)
    return b"* %d FETCH (UID %d %s %s {%d}\r\n%s)\r\n" % (uid, uid, items, section, len(raw), raw)


def facts(uid: int, size: int = 100, flags: bytes = b"") -> bytes:
    """One untagged FETCH with what is asked before a body."""
    date = b'INTERNALDATE "05-Jan-2026 10:00:00 +0000"'
    return b"* %d FETCH (UID %d FLAGS (%s) %s RFC822.SIZE %d)\r\n" % (uid, uid, flags, date, size)
