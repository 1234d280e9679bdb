"""Seeded mail that looks like somebody's: conversations with replies and quotes, notices, newsletters, lists, spam;
plain and HTML, attachments, a dozen charsets, a few broken ones; dates over years. The same arguments give the same
bytes. Used by `control` to fill a mailbox; 5,000 messages take about a second."""

from __future__ import annotations

import base64
import binascii
import calendar
import html
import random
import struct
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice

from simulator import phrases

DEFAULT_UNTIL = "2026-11-01T00:00:00Z"
DAY = 86_400
RECENT = 45 * DAY
ZONES = (0, 0, 3600, 7200, -18_000, -28_800, 19_800, 32_400)
# How often each kind of thread comes.
KINDS = {"talk": 52, "notice": 20, "newsletter": 12, "foreign": 9, "list": 5, "spam": 2}
ATTACHING = 0.14
BROKEN = 0.006


@dataclass(frozen=True)
class Person:
    name: str
    address: str
    company: str


@dataclass(frozen=True)
class GeneratedMail:
    raw: bytes
    labels: tuple[str, ...]
    """System label ids and names of user labels."""
    internal_date: int


@dataclass
class Thread:
    """What the messages of a conversation have in common."""

    kind: str
    subject: str
    cast: list[Person]
    words: dict[str, str]
    sentences: tuple[str, ...]
    charset: str = "utf-8"
    ids: list[str] = field(default_factory=list)
    last_text: str = ""
    last_author: Person | None = None


def moment(text: str) -> float:
    """Seconds since 1970 of `2026-11-01T00:00:00Z`."""
    return float(calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ")))


def generate(
    owner_name: str, owner_address: str, count: int, seed: int, end: float, years: float = 3
) -> list[GeneratedMail]:
    """`count` messages of one mailbox, oldest first, the newest shortly before `end`."""
    rng = random.Random(f"mail/{seed}/{owner_address}")
    maker = Maker(rng, Person(owner_name, owner_address, "Northwind"), end)
    mails = list(islice(maker.mails(years * 365 * DAY), count))
    return sorted(mails, key=lambda mail: mail.internal_date)


class Maker:
    def __init__(self, rng: random.Random, owner: Person, end: float) -> None:
        self.rng, self.owner, self.end = rng, owner, end
        self.people = [self._person() for _ in range(140)]
        self.pieces = attachment_pieces()

    def _person(self) -> Person:
        rng = self.rng
        first, last, company = (
            rng.choice(phrases.FIRST_NAMES), rng.choice(phrases.LAST_NAMES), rng.choice(phrases.COMPANIES)
        )  # fmt: skip
        local = f"{first}.{last}".lower().replace("'", "")
        local = "".join(sign for sign in local if sign.isascii()) or "info"
        return Person(f"{first} {last}", f"{local}{rng.randrange(10)}@{company.lower()}.example", company)

    def mails(self, span: float) -> Iterator[GeneratedMail]:
        """Threads without end, each with its messages in order; more of them the nearer to now."""
        while True:
            thread = self._thread()
            when = self.end - span * self.rng.random() ** 1.6 - 600
            size = min(int(self.rng.paretovariate(1.1)), 24) if thread.kind in ("talk", "foreign", "list") else 1
            for _ in range(size):
                yield self._mail(thread, when)
                when += self.rng.expovariate(1 / (9 * 3600.0)) + 120
                if when > self.end:
                    break

    def _thread(self) -> Thread:
        rng = self.rng
        kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
        cast = rng.sample(self.people, 1 + min(int(rng.paretovariate(1.8)) - 1, 5))
        words = self._words(cast[0])
        thread = Thread(kind, "", cast, words, phrases.SENTENCES)
        if kind == "foreign":
            thread.charset, subjects, thread.sentences = rng.choice(list(phrases.FOREIGN.values()))
        elif kind == "notice":
            sender, subject, sentence = rng.choice(phrases.NOTICES)
            subjects, thread.sentences = (subject,), (sentence,)
            address = f"{sender}@notify.{cast[0].company.lower()}.example"
            thread.cast = [Person(f"{cast[0].company} {sender.title()}", address, cast[0].company)]
        else:
            choices = {"talk": phrases.SUBJECTS, "list": phrases.LIST_SUBJECTS, "spam": phrases.SPAM_SUBJECTS}
            subjects = choices.get(kind, phrases.NEWSLETTERS)
        thread.subject = rng.choice(subjects).format_map(words)
        return thread

    def _words(self, person: Person) -> dict[str, str]:
        rng = self.rng
        return {
            "first": self.owner.name.partition(" ")[0],
            "person": rng.choice(self.people).name,
            "company": person.company,
            "project": rng.choice(phrases.PROJECTS),
            "product": rng.choice(phrases.PRODUCTS),
            "day": rng.choice(phrases.DAYS),
            "number": f"{rng.choice('ABCDEFGH')}{rng.randrange(10_000, 99_999)}",
            "amount": f"€{rng.randrange(20, 90_000):,}",
            "year": str(rng.randrange(2023, 2028)),
        }

    # One message

    def _mail(self, thread: Thread, when: float) -> GeneratedMail:
        rng = self.rng
        author = self._author(thread)
        text = self._text(thread, author)
        headers = self._headers(thread, author, when)
        body = self._body(thread, text)
        raw = headers.encode() + body
        if rng.random() < BROKEN:
            raw = self._broken(raw)
        thread.last_text, thread.last_author = text, author
        return GeneratedMail(raw, self._labels(thread, author, when), int(when * 1000))

    def _author(self, thread: Thread) -> Person:
        if thread.kind not in ("talk", "foreign"):
            return self.rng.choice(thread.cast)
        if thread.last_author is None:
            return self.owner if self.rng.random() < 0.3 else thread.cast[0]
        return self.owner if thread.last_author is not self.owner else self.rng.choice(thread.cast)

    def _text(self, thread: Thread, author: Person) -> str:
        rng = self.rng
        if thread.kind == "notice":
            return thread.sentences[0].format_map(thread.words)
        chosen = rng.sample(thread.sentences, min(len(thread.sentences), rng.randint(2, 9)))
        lines = [sentence.format_map(thread.words) for sentence in chosen]
        paragraphs = [" ".join(lines[start : start + 3]) for start in range(0, len(lines), 3)]
        first = (thread.cast[0].name if author is self.owner else self.owner.name).partition(" ")[0]
        opening = rng.choice(phrases.OPENINGS).format(first=first)
        text = "\n\n".join([opening, *paragraphs, f"{rng.choice(phrases.CLOSINGS)}\n{author.name}"])
        if thread.last_author is None:
            return text
        quoted = "\n".join(f"> {line}" for line in thread.last_text.splitlines()[:30])
        return f"{text}\n\nOn {thread.words['day']}, {thread.last_author.name} wrote:\n{quoted}"

    def _headers(self, thread: Thread, author: Person, when: float) -> str:
        rng = self.rng
        identity = f"<{rng.getrandbits(96):024x}@{author.address.partition('@')[2]}>"
        everyone = [person for person in [self.owner, *thread.cast] if person is not author]
        lines = [
            f"From: {mailbox(author)}",
            f"To: {mailbox(everyone[0])}",
            f"Subject: {encode_words(('Re: ' if thread.ids else '') + thread.subject, thread.charset, rng)}",
            f"Date: {http_date(when, rng.choice(ZONES))}",
            f"Message-ID: {identity}",
            "MIME-Version: 1.0",
        ]
        if len(everyone) > 1 and thread.kind != "notice":
            lines.append("Cc: " + ",\r\n ".join(mailbox(person) for person in everyone[1:]))
        if thread.ids:
            lines += [f"In-Reply-To: {thread.ids[-1]}", "References: " + "\r\n ".join(thread.ids[-12:])]
        if thread.kind in ("newsletter", "list"):
            name = thread.words["project"].lower()
            lines.append(f"List-Id: <{name}.lists.example>")
            lines.append(f"List-Unsubscribe: <https://lists.example/{name}/leave>")
        if author is not self.owner:
            lines.append(f"Received: from mx.example by mail.example; {http_date(when, 0)}")
        thread.ids.append(identity)
        return "\r\n".join(lines) + "\r\n"

    def _labels(self, thread: Thread, author: Person, when: float) -> tuple[str, ...]:
        rng = self.rng
        if author is self.owner:
            return ("SENT",)
        recent = self.end - when < RECENT
        if thread.kind == "spam":
            return ("SPAM", "UNREAD")
        if rng.random() < 0.02:
            return ("TRASH",)
        labels = [{"newsletter": "CATEGORY_PROMOTIONS", "notice": "CATEGORY_UPDATES", "list": "CATEGORY_FORUMS"}.get(
            thread.kind, "CATEGORY_PERSONAL"
        )]  # fmt: skip
        for label, chance in (
            ("INBOX", 0.9 if recent else 0.3),
            ("UNREAD", 0.35 if recent else 0.02),
            ("STARRED", 0.04),
            ("IMPORTANT", 0.3 if thread.kind in ("talk", "foreign") else 0.02),
            (f"Customers/{thread.cast[0].company}", 0.2 if thread.kind in ("talk", "foreign") else 0.0),
            ("Receipts", 0.8 if thread.kind == "notice" and "nvoice" in thread.subject else 0.0),
        ):
            if rng.random() < chance:
                labels.append(label)
        return tuple(labels)

    # Bodies

    def _body(self, thread: Thread, text: str) -> bytes:
        """Body headers and body."""
        rng = self.rng
        boundary = f"=_{rng.getrandbits(64):016x}"
        plain = text_part("plain", text, thread.charset, rng)
        if rng.random() < 0.3 and thread.kind != "newsletter":
            content = plain
        else:
            image = b'<img src="cid:logo@hub.example" alt="">' if rng.random() < 0.08 else b""
            shown = html_part(text, thread.charset, thread.kind, image.decode(), rng)
            if image:
                shown = multipart("related", f"{boundary}r", [shown, self.pieces["inline"]])
            content = multipart("alternative", f"{boundary}a", [plain, shown])
        if thread.kind in ("talk", "foreign") and rng.random() < ATTACHING:
            names = [name for name in self.pieces if name != "inline"]
            chosen = rng.sample(names, 1 if rng.random() < 0.7 else 2)
            content = multipart("mixed", f"{boundary}m", [content, *(self.pieces[name] for name in chosen)])
        return content

    def _broken(self, raw: bytes) -> bytes:
        """Mail as it also arrives: bare LF, an unknown charset, no Date, no Message-ID, cut short."""
        match self.rng.randrange(5):
            case 0:
                return raw.replace(b"\r\n", b"\n")
            case 1:
                return raw.replace(b"charset=utf-8", b"charset=x-unknown")
            case 2:
                return raw.replace(b"\r\nDate: ", b"\r\nX-Date: ", 1)
            case 3:
                return raw.replace(b"\r\nMessage-ID: ", b"\r\nX-Message-ID: ", 1)
            case _:
                return raw[: len(raw) * 3 // 4]


def mailbox(person: Person) -> str:
    """A From or To value; names outside ASCII as encoded words, names with specials quoted."""
    if not person.name.isascii():
        packed = base64.b64encode(person.name.encode()).decode()
        return f"=?utf-8?b?{packed}?= <{person.address}>"
    name = f'"{person.name}"' if "'" in person.name else person.name
    return f"{name} <{person.address}>"


def encode_words(text: str, charset: str, rng: random.Random) -> str:
    """RFC 2047: one or more encoded words, none longer than 75 characters."""
    if text.isascii():
        return text
    words = []
    for start in range(0, len(text), 12):
        data = text[start : start + 12].encode(charset, "replace")
        packed = base64.b64encode(data).decode()
        if charset in ("utf-8", "iso-8859-1", "windows-1252") and rng.random() < 0.5:
            coded = binascii.b2a_qp(data, quotetabs=True, header=True).decode()
            words.append(f"=?{charset}?Q?{coded.replace('?', '=3F')}?=")
        else:
            words.append(f"=?{charset}?B?{packed}?=")
    return "\r\n ".join(words)


def http_date(when: float, zone: int) -> str:
    """RFC 5322 date in a zone given in seconds east of UTC."""
    shown = time.strftime("%a, %d %b %Y %H:%M:%S", time.gmtime(when + zone))
    minutes = abs(zone) // 60
    return f"{shown} {'-' if zone < 0 else '+'}{minutes // 60:02d}{minutes % 60:02d}"


def text_part(subtype: str, text: str, charset: str, rng: random.Random) -> bytes:
    """A text part with its headers, in one of the encodings that occur."""
    data = text.replace("\n", "\r\n").encode(charset, "replace")
    long = any(len(line) > 900 for line in data.split(b"\r\n"))
    if data.isascii() and not long:
        encoding = "7bit"
    else:
        encoding = rng.choice(("quoted-printable", "quoted-printable", "base64"))
        packed = binascii.b2a_qp(data, istext=True) if encoding[0] == "q" else base64.encodebytes(data)
        data = packed.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    head = f"Content-Type: text/{subtype}; charset={charset}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    return head.encode() + data


def html_part(text: str, charset: str, kind: str, image: str, rng: random.Random) -> bytes:
    paragraphs = "".join(
        f"<p>{html.escape(piece, quote=False).replace(chr(10), '<br>')}</p>\n" for piece in text.split("\n\n")
    )
    banner = ""
    if kind in ("newsletter", "notice"):
        colour = f"#{rng.randrange(1 << 24):06x}"
        banner = (
            f'<table width="600"><tr><td style="background:{colour};padding:24px;color:#fff">Hello</td></tr></table>'
        )
    pixel = '<img src="https://track.example/o.gif" width="1" height="1">' if kind == "newsletter" else ""
    page = (
        f"<html><head><style>p{{font-family:Arial,sans-serif}}</style></head><body>{banner}{paragraphs}{image}{pixel}"
        "</body></html>"
    )
    return text_part("html", page, charset, rng)


def multipart(subtype: str, boundary: str, parts: list[bytes]) -> bytes:
    limit = b"--" + boundary.encode()
    head = f'Content-Type: multipart/{subtype}; boundary="{boundary}"\r\n\r\n'.encode()
    return head + b"".join(limit + b"\r\n" + part + b"\r\n" for part in parts) + limit + b"--\r\n"


@lru_cache(maxsize=1)
def attachment_pieces() -> dict[str, bytes]:
    """Ready-made parts: a PDF, a table, a picture, an invitation, a name outside ASCII, an inline logo."""
    rng = random.Random("attachments")
    pdf = b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\n"
    pdf += b"%" + base64.b64encode(rng.randbytes(30_000)) + b"\ntrailer<</Root 1 0 R>>\n%%EOF\n"
    rows = "".join(f"{number};{rng.randrange(9_999)};{rng.choice(phrases.COMPANIES)}\r\n" for number in range(400))
    event = (
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//simulator//EN\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nUID:1@hub.example"
        "\r\nDTSTAMP:20260101T080000Z\r\nDTSTART:20260105T090000Z\r\nSUMMARY:Review\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    )
    picture = png(48, 48)
    return {
        "pdf": _attachment("application/pdf", 'filename="offer.pdf"', pdf),
        "csv": _attachment("text/csv; charset=utf-8", 'filename="figures.csv"', rows.encode()),
        "png": _attachment("image/png", 'filename="photo.png"', picture),
        "ics": _attachment("text/calendar; method=REQUEST; charset=utf-8", 'filename="invite.ics"', event.encode()),
        "named": _attachment("application/pdf", "filename*=utf-8''Angebot%20f%C3%BCr%20M%C3%BCnchen.pdf", pdf[:9_000]),
        "inline": _attachment(
            "image/png", 'filename="logo.png"', picture, "inline", "Content-ID: <logo@hub.example>\r\n"
        ),
    }


def _attachment(kind: str, name: str, data: bytes, disposition: str = "attachment", more: str = "") -> bytes:
    head = f"Content-Type: {kind}\r\nContent-Disposition: {disposition}; {name}\r\n{more}"
    head += "Content-Transfer-Encoding: base64\r\n\r\n"
    return head.encode() + base64.encodebytes(data).replace(b"\n", b"\r\n")


def png(width: int, height: int) -> bytes:
    """A small picture any reader opens."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    lines = b"".join(b"\0" + bytes(v for x in range(width) for v in (x * 5, y * 5, 160)) for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
