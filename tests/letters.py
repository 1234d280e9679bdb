"""Mail to fill mailboxes with: every real message this machine has, and generated ones in all shapes.

The real ones are CPython's own test messages, which ship with the interpreter (collected over twenty years from bug
reports), and any .eml file among the installed packages.
"""

from __future__ import annotations

import random
import sysconfig
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime
from functools import cache
from pathlib import Path

import test.test_email

BEGIN = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
SUBJECTS = (
    "Quarterly figures", "Re: lunch?", "Grüße aus Zürich", "請求書のご送付", "Отчёт за март", "🎉 We shipped it",
    "A subject that is long enough to be folded over more than one line because it simply does not end where it should",
    "", 'He said "no" (twice)', "=?not an encoded word?=", "Ärger mit dem Drucker – schon wieder", "مرحبا بكم",
)  # fmt: skip
NAMES = ("Ada Lovelace", "Müller, Jürgen", "李小龍", "Søren Kierkegaard", "", 'O\'Neill "Shay"')


@cache
def real() -> dict[str, bytes]:
    """Name → bytes of every message found."""
    folder = Path(next(iter(test.test_email.__path__))) / "data"
    files = [path for path in sorted(folder.iterdir()) if path.suffix == ".txt"]
    files += sorted(Path(sysconfig.get_paths()["purelib"]).rglob("*.eml"))
    return {path.name: path.read_bytes() for path in files}


def generated(count: int, *, seed: int, domain: str = "generated.test") -> Iterator[bytes]:
    """`count` different mails: languages, encodings, HTML, attachments, conversations."""
    dice = random.Random(seed)
    earlier: list[str] = []
    for number in range(count):
        message = EmailMessage()
        message["From"] = _person(dice, "sender")
        message["To"] = ", ".join(str(_person(dice, f"to{index}")) for index in range(dice.randint(1, 3)))
        message["Subject"] = f"{dice.choice(SUBJECTS)} {number}"
        message["Date"] = format_datetime(BEGIN + timedelta(minutes=number))
        message["Message-ID"] = ident = f"<{seed}.{number}@{domain}>"
        if earlier and dice.random() < 0.4:
            message["In-Reply-To"] = message["References"] = dice.choice(earlier[-20:])
        earlier.append(ident)
        _fill(message, dice, number)
        yield message.as_bytes()


def _person(dice: random.Random, user: str) -> str:
    message = EmailMessage()
    name = dice.choice(NAMES).replace('"', "'").replace(",", " ")
    message["To"] = f'"{name}" <{user}@example.com>' if name else f"{user}@example.com"
    return message["To"]


def _fill(message: EmailMessage, dice: random.Random, number: int) -> None:
    words = f"Letter {number}.\n\n" + " ".join(dice.choice(SUBJECTS) for _ in range(dice.randint(1, 30))) + "\n"
    message.set_content(words, cte=dice.choice(("base64", "quoted-printable", "8bit")))
    if dice.random() < 0.3:
        message.add_alternative(f"<p>Letter <b>{number}</b></p>", subtype="html")
    for index in range(dice.choice((0, 0, 0, 1, 2))):
        name = dice.choice(("report.pdf", "Übersicht.xlsx", "写真.jpg", "notes.bin"))
        content = dice.randbytes(dice.randint(0, 3000))
        message.add_attachment(content, maintype="application", subtype="octet-stream", filename=f"{index}-{name}")
