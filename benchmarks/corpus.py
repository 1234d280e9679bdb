"""Made-up mail, the same on every machine: message i depends on the seed and on i alone.

Called by `imap_sync`. The shape is that of a business mailbox: median about 6 KB, half with an HTML alternative, a
tenth with attachments of 20 to 300 KB, threads of one to many, a dozen charsets, replies with quotes, five years.
"""

from __future__ import annotations

import base64
import bisect
import email.utils
import itertools
import math
import os
import quopri
import random
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.header import Header
from functools import cache
from pathlib import Path

OWNER = "Olivia Owner <owner@bench.example>"
EPOCH = 1_609_459_200
"""2021-01-01: the oldest mail."""
SPAN = 5 * 365 * 86_400
FOLDERS = (("INBOX", 0.55), ("Sent", 0.2), ("Archive", 0.2), ("Junk", 0.05))
_ONSETS = [*"bdfgklmnprstv", "st", "tr", "pl", "gr", "sh"]
_SYLLABLES = [onset + vowel for onset in _ONSETS for vowel in "aeiou"]
_FOREIGN = (
    (
        ("iso-8859-1", "windows-1252", "utf-8"),
        "für Grüße Änderung größer Straße Übersicht nächste Prüfung Lösung bitte",
    ),
    (("iso-8859-1", "utf-8"), "réunion facture déjà équipe problème livraison société numéro téléphone après"),
    (("iso-8859-2", "utf-8"), "proszę zamówienie płatność dzień wiadomość spółka usługa więcej źródło umowa"),
    (("koi8-r", "windows-1251", "utf-8"), "отчёт встреча договор оплата заказ проект вопрос ответ срок доставка"),
    (("iso-2022-jp", "shift_jis", "utf-8"), "会議 資料 請求書 確認 契約 納期 製品 注文 報告 予定"),
    (("gb2312", "utf-8"), "合同 文件 工作 公司 中心 方法 日期 主要 付款 报告"),
)
_FILES = (("application/pdf", "pdf"), ("image/png", "png"), ("application/zip", "zip"), ("text/csv", "csv"))


@dataclass(frozen=True, slots=True)
class Mail:
    """One message, where it lies and what flags it has (in Maildir's letters)."""

    folder: str
    flags: str
    received: int
    """Unix time."""
    raw: bytes
    """With line feeds, as a Maildir holds it."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a message stands in its thread."""

    received: int
    thread: int
    position: int


@cache
def vocabulary(size: int = 30_000) -> tuple[str, ...]:
    """Made-up words, the most frequent (and shortest) first."""
    chance = random.Random("vocabulary")
    words: dict[str, None] = {}
    while len(words) < size:
        syllables = min(1 + len(words) // 30, chance.choice((2, 3, 3, 4)))
        words["".join(chance.choices(_SYLLABLES, k=max(1, syllables)))] = None
    return tuple(words)


@cache
def _weights() -> list[float]:
    return list(itertools.accumulate(1 / (rank + 2.7) ** 1.05 for rank in range(len(vocabulary()))))


def words(chance: random.Random, count: int) -> list[str]:
    """Running text: frequencies after Zipf."""
    weights, known = _weights(), vocabulary()
    return [known[bisect.bisect(weights, chance.random() * weights[-1], 0, len(known) - 1)] for _ in range(count)]


def mails(count: int, seed: int = 1) -> Iterator[Mail]:
    """`count` messages, oldest first."""
    for index, place in enumerate(_plan(count, seed)):
        yield _mail(random.Random(f"{seed}/{index}"), place, seed)


def _plan(count: int, seed: int) -> list[_Place]:
    """Threads first (most of one message, a few long), then all messages by time."""
    chance = random.Random(f"plan/{seed}")
    places: list[_Place] = []
    for thread in itertools.count():
        if len(places) >= count:
            break
        moment = EPOCH + chance.random() * SPAN
        for position in range(min(int(chance.paretovariate(1.3)), 200, count - len(places))):
            places.append(_Place(int(moment), thread, position))
            moment += chance.expovariate(1 / 20_000)
    return sorted(places, key=lambda place: (place.received, place.thread, place.position))


def _mail(chance: random.Random, place: _Place, seed: int) -> Mail:
    topic = random.Random(f"topic/{seed}/{place.thread}")
    foreign = topic.choice(_FOREIGN) if topic.random() < 0.12 else None
    subject = " ".join(topic.choices(foreign[1].split(), k=4) if foreign else words(topic, topic.randint(2, 8)))
    peer = f"{' '.join(words(topic, 2)).title()} <{words(topic, 1)[0]}@{words(topic, 1)[0]}.example>"
    mine = chance.random() < 0.2
    folder = "Sent" if mine else chance.choices(*zip(*(f for f in FOLDERS if f[0] != "Sent"), strict=True))[0]
    entity = _attached(chance, _body(chance, foreign, reply=place.position > 0))
    head = _head(chance, place, seed, subject, *((OWNER, peer) if mine else (peer, OWNER)))
    flags = ("F" if chance.random() < 0.03 else "") + ("S" if mine or chance.random() < 0.86 else "")
    return Mail(folder, flags, place.received, head.encode() + entity)


# --- headers ------------------------------------------------------------------------------------------------------


def _head(chance: random.Random, place: _Place, seed: int, subject: str, sender: str, to: str) -> str:
    lines = [_hop(chance, place.received - hop) for hop in range(chance.randint(1, 4))]
    if chance.random() < 0.7:
        lines.append(_signature(chance))
    lines += [f"From: {sender}", f"To: {to}"]
    if chance.random() < 0.25:
        others = (f"{w.title()} <{w}@{w}.example>" for w in words(chance, chance.randint(1, 5)))
        lines.append("Cc: " + ",\n ".join(others))
    lines.append("Subject: " + Header(("Re: " if place.position else "") + subject, "utf-8", 70, "Subject").encode())
    lines.append("Date: " + email.utils.formatdate(place.received))
    lines.append(f"Message-ID: {_message_id(seed, place.thread, place.position)}")
    if place.position:
        earlier = range(max(0, place.position - 10), place.position)
        references = [_message_id(seed, place.thread, position) for position in earlier]
        lines += [f"In-Reply-To: {references[-1]}", "References: " + "\n ".join(references)]
    return "\n".join([*lines, "MIME-Version: 1.0", ""])


def _message_id(seed: int, thread: int, position: int) -> str:
    return f"<{seed}.{thread}.{position}.{(thread * 2_654_435_761 + position) % 2**32:08x}@mail.bench.example>"


def _hop(chance: random.Random, moment: float) -> str:
    host = f"mx{chance.randrange(9)}.bench.example"
    stamp = f"ESMTPS id {chance.getrandbits(40):010X}\n\tfor <owner@bench.example>; {email.utils.formatdate(moment)}"
    return f"Received: from {host} ({host} [192.0.2.{chance.randint(1, 254)}])\n\tby mail.bench.example with {stamp}"


def _signature(chance: random.Random) -> str:
    signed = "\n\t ".join(textwrap.wrap(base64.b64encode(chance.randbytes(256)).decode(), 70))
    return f"DKIM-Signature: v=1; a=rsa-sha256; d=bench.example; s=one;\n\th=from:to:subject:date;\n\tb={signed}"


# --- bodies -------------------------------------------------------------------------------------------------------


def _body(chance: random.Random, foreign: tuple[Sequence[str], str] | None, *, reply: bool) -> bytes:
    """The text as plain, as HTML, or most often as both."""
    paragraphs = _paragraphs(chance, foreign)
    text = "\n\n".join(paragraphs)
    if reply and chance.random() < 0.6:
        text += "\n\nOn Monday somebody wrote:\n" + "\n".join(f"> {line}" for line in _paragraphs(chance, None))
    charset = chance.choice(foreign[0]) if foreign else chance.choice(("us-ascii", "utf-8"))
    plain = _part(chance, "text/plain", charset, text)
    form = chance.random()
    if form < 0.42:
        return plain
    html = _part(chance, "text/html", charset, _html(chance, paragraphs))
    return html if form < 0.5 else _multipart(chance, "alternative", [plain, html])


def _paragraphs(chance: random.Random, foreign: tuple[Sequence[str], str] | None) -> list[str]:
    left = max(8, min(int(chance.lognormvariate(math.log(235), 0.85)), 2_600))
    paragraphs: list[str] = []
    while left > 0:
        count = min(left, chance.randint(10, 90))
        sentence = " ".join(words(chance, count)).capitalize() + "."
        if foreign:
            sentence = " ".join(chance.choices(foreign[1].split(), k=6)) + ". " + sentence
        paragraphs.append(sentence)
        left -= count
    return paragraphs


def _html(chance: random.Random, paragraphs: Sequence[str]) -> str:
    style = "p{margin:0 0 1em;font-family:Arial,sans-serif}td{padding:4px 8px;border-bottom:1px solid #ddd}"
    blocks = []
    for text in paragraphs:
        link = f'<a href="https://track.example/c/{chance.getrandbits(96):024x}">more</a>'
        block = f'<p style="margin:0 0 12px 0;line-height:1.4;color:#{chance.getrandbits(24):06x}">{text} {link}</p>'
        blocks.append(f'<table width="600"><tr><td>{block}</td></tr></table>' if chance.random() < 0.15 else block)
    return f"<!DOCTYPE html><html><head><style>{style}</style></head><body>\n" + "\n".join(blocks) + "\n</body></html>"


def _part(chance: random.Random, content_type: str, charset: str, text: str) -> bytes:
    raw = text.encode(charset, "replace")
    if charset in ("us-ascii", "iso-2022-jp"):
        encoding, lines = "7bit", [wrapped for line in raw.split(b"\n") for wrapped in _wrapped(line)]
        encoded = b"\n".join(lines) + b"\n"
    elif chance.random() < 0.6:
        encoding, encoded = "quoted-printable", quopri.encodestring(raw) + b"\n"
    else:
        encoding, encoded = "base64", base64.encodebytes(raw)
    head = f"Content-Type: {content_type}; charset={charset}\nContent-Transfer-Encoding: {encoding}\n\n"
    return head.encode() + encoded


def _wrapped(line: bytes) -> list[bytes]:
    return (
        [part.encode() for part in textwrap.wrap(line.decode(), 76)]
        if line.isascii() and b"\x1b" not in line
        else [line]
    )


def _attached(chance: random.Random, body: bytes) -> bytes:
    """A tenth has one or two attachments."""
    if chance.random() >= 0.1:
        return body
    return _multipart(chance, "mixed", [body, *(_attachment(chance) for _ in range(chance.choice((1, 1, 1, 2))))])


def _attachment(chance: random.Random) -> bytes:
    content_type, ending = chance.choice(_FILES)
    name = f"{'_'.join(words(chance, 2))}.{ending}"
    size = int(math.exp(chance.uniform(math.log(20_000), math.log(300_000))))
    head = (
        f'Content-Type: {content_type}; name="{name}"\nContent-Disposition: attachment; filename="{name}"\n'
        "Content-Transfer-Encoding: base64\n\n"
    )
    return head.encode() + base64.encodebytes(chance.randbytes(size))


def _multipart(chance: random.Random, subtype: str, parts: Sequence[bytes]) -> bytes:
    boundary = f"=_{chance.getrandbits(80):020x}".encode()
    head = b'Content-Type: multipart/%s; boundary="%s"\n\n' % (subtype.encode(), boundary)
    return head + b"".join(b"--%s\n%s\n" % (boundary, part) for part in parts) + b"--%s--\n" % boundary


# --- on disk ------------------------------------------------------------------------------------------------------


def fill(maildir: Path, found: Iterator[Mail]) -> list[int]:
    """Write messages into a Maildir++ tree; their sizes. File names carry both sizes, as a server's own delivery
    writes them; INTERNALDATE is the file's time."""
    sizes = []
    for index, mail in enumerate(found):
        folder = maildir if mail.folder == "INBOX" else maildir / f".{mail.folder}"
        for name in ("cur", "new", "tmp"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        size, on_the_wire = len(mail.raw), len(mail.raw) + mail.raw.count(b"\n")
        path = folder / "cur" / f"{mail.received}.M{index:07d}.bench,S={size},W={on_the_wire}:2,{mail.flags}"
        path.write_bytes(mail.raw)
        os.utime(path, (mail.received, mail.received))
        sizes.append(size)
    return sizes
