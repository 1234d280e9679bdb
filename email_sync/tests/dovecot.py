"""A private Dovecot on free loopback ports, with accounts of its own, and the contract's harness over it.

Started as root (then it serves as an ordinary user) or as an ordinary user; state in a folder under /tmp; stopped by
pid. The door behind the provider's back is `imaplib`, not the provider's own code.
"""

from __future__ import annotations

import getpass
import grp
import imaplib
import json
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.parser import BytesHeaderParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

from email_sync.providers.base import MailAccount
from email_sync.providers.imap import Imap
from email_sync.records import ARCHIVE, DRAFTS, INBOX, SENT, SPAM, TRASH
from email_sync.tests.contract import MailHarness, Truth, resubjected
from email_sync.tests.smtp_sink import SmtpSink, free_port

PASSWORD = 'pässword with "quotes"'
FOLDERS = {INBOX: "INBOX", SENT: "Sent", ARCHIVE: "Archive", DRAFTS: "Drafts", TRASH: "Trash", SPAM: "Junk"}
_USES = {"Sent": "\\Sent", "Archive": "\\Archive", "Drafts": "\\Drafts", "Trash": "\\Trash", "Junk": "\\Junk"}

_COMMON = "IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+ NAMESPACE UNSELECT CHILDREN"
VARIANTS = {
    "qresync": "",
    "condstore": f"{_COMMON} SPECIAL-USE LIST-EXTENDED ESEARCH UIDPLUS MOVE CONDSTORE",
    "plain": "IMAP4rev1",
}
"""What the server says it can do: everything, changed flags but not expunges, or nothing beyond RFC 3501."""


def missing() -> str:
    """ "" where Dovecot is installed, else what to do."""
    remedy = "dovecot is not installed: apt-get install dovecot-imapd dovecot-submissiond"
    return "" if shutil.which("dovecot") else remedy


class Dovecot:
    """One server. Every account has the same password."""

    def __init__(self, variant: str = "qresync", *, tls: tuple[Path, Path] | None = None, relay_port: int = 0) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="patchbay-dovecot-"))
        self.root.chmod(0o755)
        self.variant, self.tls, self.relay_port = variant, tls, relay_port
        self.imap_port, self.imaps_port, self.submission_port = free_port(), free_port(), free_port()
        self.tokens = Introspection()
        self._process: subprocess.Popen[bytes] | None = None

    # --- life -------------------------------------------------------------------------------------------------

    def start(self) -> Dovecot:
        self.tokens.start()
        # One line for whoever asks: Dovecot notices changes of this file only once a second.
        (self.root / "users").write_text(f"everyone:{{PLAIN}}{PASSWORD}\n")
        (self.root / "home").mkdir(exist_ok=True)
        self._own(self.root / "home")
        (self.root / "oauth2.conf").write_text(self._oauth_config())
        (self.root / "dovecot.conf").write_text(self._config())
        self.resume()
        return self

    def resume(self) -> None:
        """Start the process; waits until it answers."""
        command = [shutil.which("dovecot") or "dovecot", "-F", "-c", str(self.root / "dovecot.conf")]
        with (self.root / "stderr").open("wb") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
        deadline = time.monotonic() + 60
        while not _answers(self.imap_port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"dovecot did not start: {(self.root / 'stderr').read_text()} {self.log()}")
            time.sleep(0.02)

    @property
    def pid(self) -> int:
        """Of the running server."""
        assert self._process is not None
        return self._process.pid

    def halt(self) -> None:
        """End the server with all its processes; what is on disk stays."""
        if self._process is None:
            return
        self._process.terminate()
        self._process.wait(timeout=15)
        patience = time.monotonic() + 1  # processes with a client's connection would stay a while
        while _lives(self._process.pid):
            if time.monotonic() > patience:
                os.killpg(self._process.pid, signal.SIGKILL)
            time.sleep(0.02)
        self._process = None

    def stop(self) -> None:
        self.halt()
        self.tokens.stop()
        shutil.rmtree(self.root, ignore_errors=True)

    def log(self) -> str:
        path = self.root / "log"
        return path.read_text()[-4000:] if path.exists() else ""

    # --- accounts ---------------------------------------------------------------------------------------------

    def add_user(self, name: str = "") -> str:
        """A new, empty account, made by its first log-in; its name is also its address."""
        return name or f"user-{secrets.token_hex(6)}@contract.test"

    def account(self, user: str, *, sink: SmtpSink | None = None, token: str = "", auth: str = "") -> MailAccount:
        """What the provider is given for an account."""
        smtp_port = sink.port if sink else self.submission_port
        imap: dict[str, object] = {"host": "127.0.0.1", "port": self.imap_port, "security": "none", "username": user}
        smtp = {**imap, "port": smtp_port}
        if token:
            imap["auth"] = smtp["auth"] = auth
            return MailAccount(user, token, {"imap": imap, "smtp": smtp})
        return MailAccount(user, "", {"imap": imap, "smtp": smtp}, {"imapPassword": PASSWORD, "smtpPassword": PASSWORD})

    @contextmanager
    def door(self, user: str) -> Iterator[imaplib.IMAP4]:
        """A logged-in client that knows nothing of ours."""
        client = imaplib.IMAP4("127.0.0.1", self.imap_port, timeout=30)
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            client.authenticate("PLAIN", lambda _: f"\0{user}\0{PASSWORD}".encode())
            yield client
        finally:
            client.logout()

    def admin(self, *arguments: str) -> None:
        """doveadm."""
        doveadm = shutil.which("doveadm") or "doveadm"
        subprocess.run([doveadm, "-c", str(self.root / "dovecot.conf"), *arguments], check=True, capture_output=True)

    # --- configuration ----------------------------------------------------------------------------------------

    def _own(self, path: Path) -> None:
        if os.getuid() == 0:
            shutil.chown(path, *_mail_owner())

    def _oauth_config(self) -> str:
        return (
            f"introspection_mode = post\nintrospection_url = http://127.0.0.1:{self.tokens.port}/introspect\n"
            "username_attribute = email\nactive_attribute = active\nactive_value = true\n"
        )

    def _config(self) -> str:
        owner, group = _mail_owner()
        root = os.getuid() == 0
        login, internal = ("dovenull", "dovecot") if root else (owner, owner)
        internal_group = "dovecot" if root else group
        submission = self.relay_port != 0
        boxes = "\n".join(
            f"  mailbox {name} {{\n    special_use = {use}\n    auto = subscribe\n  }}" for name, use in _USES.items()
        )
        capability = f"imap_capability = {VARIANTS[self.variant]}" if VARIANTS[self.variant] else ""
        return f"""
base_dir = {self.root}/run
state_dir = {self.root}/run
log_path = {self.root}/log
listen = 127.0.0.1
protocols = imap{" submission" if submission else ""}
{self._tls_config()}
disable_plaintext_auth = no
auth_mechanisms = plain login xoauth2 oauthbearer
auth_failure_delay = 0
default_login_user = {login}
default_internal_user = {internal}
default_internal_group = {internal_group}
mail_uid = {owner}
mail_gid = {group}
first_valid_uid = 1
first_valid_gid = 1
mail_max_userip_connections = 100
mail_fsync = never
mail_location = maildir:{self.root}/home/%u/Maildir
{capability}
hostname = dovecot.contract.test
submission_relay_host = 127.0.0.1
submission_relay_port = {self.relay_port or 25}
submission_relay_trusted = no
passdb {{
  driver = passwd-file
  args = username_format=everyone {self.root}/users
}}
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {self.root}/oauth2.conf
}}
userdb {{
  driver = static
  args = uid={owner} gid={group} home={self.root}/home/%u
}}
namespace inbox {{
  inbox = yes
  separator = /
{boxes}
}}
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service imap-login {{
  chroot =
  service_count = 0
  process_min_avail = 1
  inet_listener imap {{
    address = 127.0.0.1
    port = {self.imap_port}
  }}
  inet_listener imaps {{
    address = 127.0.0.1
    port = {self.imaps_port if self.tls else 0}
    ssl = yes
  }}
}}
service imap {{
  service_count = 200
  process_min_avail = 2
}}
service submission-login {{
  chroot =
  inet_listener submission {{
    address = 127.0.0.1
    port = {self.submission_port}
  }}
  inet_listener submissions {{
    port = 0
  }}
}}
"""

    def _tls_config(self) -> str:
        if self.tls is None:
            return "ssl = no"
        certificate, key = self.tls
        return f"ssl = yes\nssl_cert = <{certificate}\nssl_key = <{key}"


def _mail_owner() -> tuple[str, str]:
    """Whom the mail belongs to: never root."""
    name = "nobody" if os.getuid() == 0 else getpass.getuser()
    return name, grp.getgrgid(pwd.getpwnam(name).pw_gid).gr_name


def _lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as found:
            return found.recv(4) == b"* OK"
    except OSError:
        return False


class Introspection:
    """The OAuth server Dovecot asks about a token (RFC 7662): `grants` maps tokens to users."""

    def __init__(self) -> None:
        self.grants: dict[str, str] = {}
        grants = self.grants

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                user = grants.get(form.get("token", [""])[0])
                body = json.dumps({"active": True, "email": user} if user else {"active": False}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                return None

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def port(self) -> int:
        return self._server.server_port

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class DovecotHarness(MailHarness):
    """The contract's mailbox at a Dovecot and a sink."""

    def __init__(self, server: Dovecot, sink: SmtpSink) -> None:
        self.server, self.sink = server, sink
        self.user = server.add_user()

    def provider(self) -> Imap:
        return Imap(self.server.account(self.user, sink=self.sink))

    def deliver(self, raw: bytes, role: str = INBOX, *, read: bool = False) -> None:
        with self.server.door(self.user) as door:
            _checked(door.append(FOLDERS[role], "(\\Seen)" if read else None, None, raw))

    def remove(self, message_id: str) -> None:
        with self._at(message_id) as (door, uid):
            _checked(door.uid("STORE", uid, "+FLAGS.SILENT", "(\\Deleted)"))
            _checked(door.expunge())

    def set_flags(self, message_id: str, *, read: bool | None = None, starred: bool | None = None) -> None:
        with self._at(message_id) as (door, uid):
            for flag, value in (("\\Seen", read), ("\\Flagged", starred)):
                if value is not None:
                    _checked(door.uid("STORE", uid, "+FLAGS.SILENT" if value else "-FLAGS.SILENT", f"({flag})"))

    def move(self, message_id: str, role: str) -> None:
        with self._at(message_id) as (door, uid):
            _checked(door.uid("COPY", uid, FOLDERS[role]))
            _checked(door.uid("STORE", uid, "+FLAGS.SILENT", "(\\Deleted)"))
            _checked(door.expunge())

    def rewrite_draft(self, message_id: str, subject: str) -> None:
        with self._at(message_id) as (door, uid):
            [found, *_] = _checked(door.uid("FETCH", uid, "(BODY.PEEK[])"))
            _checked(door.append(FOLDERS[DRAFTS], "(\\Draft \\Seen)", None, resubjected(found[1], subject)))
            _checked(door.uid("STORE", uid, "+FLAGS.SILENT", "(\\Deleted)"))
            _checked(door.expunge())

    def lose_cursor(self) -> None:
        for folder in FOLDERS.values():
            value = str(time.time_ns() % 2**31)
            self.server.admin("mailbox", "update", "-u", self.user, "--uid-validity", value, folder)

    def truth(self) -> set[Truth]:
        with self.server.door(self.user) as door:
            return {found for role, folder in FOLDERS.items() for found in self._in_folder(door, role, folder)}

    def outbox(self) -> list[tuple[frozenset[str], bytes]]:
        return self.sink.received

    def lose_next_send_answer(self) -> None:
        self.sink.drop_at = "DATA"

    def refuse_next_send(self) -> None:
        self.sink.refusals["DATA"] = "554 5.7.1 We do not want this"

    @staticmethod
    def _in_folder(door: imaplib.IMAP4, role: str, folder: str) -> Iterator[Truth]:
        _checked(door.select(folder, readonly=True))
        answers = _checked(door.uid("FETCH", "1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])"))
        for line, header in (answer for answer in answers if isinstance(answer, tuple)):
            found = BytesHeaderParser().parsebytes(header).get("Message-ID", "").strip().strip("<>")
            yield Truth(found, frozenset({role}), b"\\Seen" in line, b"\\Flagged" in line)

    @contextmanager
    def _at(self, message_id: str) -> Iterator[tuple[imaplib.IMAP4, str]]:
        """The door with the message's folder selected, and its UID."""
        with self.server.door(self.user) as door:
            for folder in FOLDERS.values():
                _checked(door.select(folder))
                [found] = _checked(door.uid("SEARCH", "HEADER", "Message-ID", f'"<{message_id}>"'))
                if found:
                    yield door, re.split(r"\s+", found.decode())[0]
                    return
        raise LookupError(message_id)


def _checked(answer: tuple[str, list]) -> list:  # type: ignore[type-arg]
    status, data = answer
    if status != "OK":
        raise RuntimeError(f"the door was refused: {data}")
    return data
