"""The parser on whole messages: real ones, broken ones, and the shapes senders give them."""

from __future__ import annotations

import base64
import email
import random
from datetime import UTC, datetime
from pathlib import Path

import pytest
import test.test_email
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import RemoteMissing
from email_sync.parsing import message
from email_sync.parsing.message import PartNode, attachment, from_parts, parse
from email_sync.parsing.structure import MAX_DEPTH, MAX_PARTS
from email_sync.records import Address, ParsedMessage

REAL = sorted((Path(test.test_email.__file__).parent / "data").glob("msg_*.txt"))
"""CPython's own sample mail: it ships with the interpreter."""


def mail(*lines: str) -> ParsedMessage:
    return parse("\r\n".join(lines).encode())


def multipart(kind: str, *parts: str, boundary: str = "B") -> str:
    inner = "".join(f"--{boundary}\r\n{part}\r\n" for part in parts)
    return f'Content-Type: multipart/{kind}; boundary="{boundary}"\r\n\r\n{inner}--{boundary}--\r\n'


def part(content_type: str, body: str, *headers: str) -> str:
    return "\r\n".join([f"Content-Type: {content_type}", *headers, "", body])


PLAIN, RICH = part("text/plain", "plain words"), part("text/html", "<p>rich words</p>")
PICTURE = part("image/png", "AAAA", "Content-Transfer-Encoding: base64", "Content-ID: <pic@x>")
FILE = part(
    "application/pdf", "QUJD", "Content-Transfer-Encoding: base64", 'Content-Disposition: attachment; filename="a.pdf"'
)


def shape(source: str) -> tuple[str, str, list[str]]:
    """Text, HTML and the part ids of the attachments."""
    parsed = parse(source.encode())
    return parsed.text, parsed.html.strip(), [item.part_id for item in parsed.attachments]


def every_text(parsed: ParsedMessage) -> list[str]:
    people = (parsed.sender, *parsed.to, *parsed.cc, *parsed.bcc, *parsed.reply_to)
    return [
        parsed.message_id, *parsed.in_reply_to, *parsed.references, parsed.subject, parsed.text, parsed.html,
        parsed.defect,
        *(text for person in people for text in (person.name, person.email)),
        *(text for part in parsed.attachments for text in (part.part_id, part.file_name, part.content_type)),
        *(part.content_id for part in parsed.attachments),
        *(text for header in parsed.headers for text in header),
    ]  # fmt: skip


def assert_storable(parsed: ParsedMessage) -> None:
    """PostgreSQL takes it: no NUL, no lone surrogate; bounded; times in UTC."""
    for text in every_text(parsed):
        assert "\x00" not in text
        text.encode("utf-8")
    assert len(parsed.subject) <= 998
    assert len(parsed.to) <= 1_000
    assert sum(map(len, parsed.references)) <= 20_000
    assert len(parsed.text) <= message.MAX_TEXT
    assert len(parsed.html) <= message.MAX_HTML
    assert parsed.sent_at is None or parsed.sent_at.tzinfo is UTC


# --- real mail -------------------------------------------------------------------------------------------------------


def test_real_mail_is_there() -> None:
    assert len(REAL) >= 45


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_parse_real_mail_agrees_with_the_standard_library(path: Path) -> None:
    raw = path.read_bytes()
    parsed, peer = parse(raw), email.message_from_bytes(raw)
    assert_storable(parsed)
    assert parsed.defect == ""
    assert parsed.message_id == (peer["message-id"] or "").strip("<> ")
    addresses = [address for _, address in email.utils.getaddresses(peer.get_all("to", [])) if "@" in address]
    assert [person.email for person in parsed.to if person.email] == addresses
    assert [name.lower() for name, _ in parsed.headers] == [name.lower() for name in peer]


def leaves(peer: email.message.Message, part_id: str = "") -> list[tuple[str, bytes]]:
    """The standard library's leaves under their IMAP part numbers; an embedded message is one leaf."""
    if peer.get_content_maintype() == "multipart" and peer.is_multipart():
        found = []
        for number, child in enumerate(peer.get_payload(), start=1):
            assert isinstance(child, email.message.Message)
            found += leaves(child, f"{part_id}.{number}" if part_id else str(number))
        return found
    if peer.get_content_type() == "message/rfc822" or peer.get_content_maintype() == "message":
        return []
    return [(part_id or "1", peer.get_payload(decode=True))]  # type: ignore[list-item]


@pytest.mark.parametrize(
    "path",
    [path for path in REAL if path.stem not in ("msg_35", "msg_37", "msg_40", "msg_47")],
    ids=lambda path: path.stem,
)  # 35, 47: the empty line is missing; 37: empty parts, which IMAP counts; 40: text/html with a boundary
def test_attachment_real_parts_are_byte_for_byte_the_standard_librarys(path: Path) -> None:
    raw = path.read_bytes()
    for part_id, content in leaves(email.message_from_bytes(raw)):
        assert attachment(raw, part_id).rstrip() == content.rstrip()


def test_parse_mutated_real_mail_never_fails() -> None:
    chance = random.Random(20260320)
    sources = [path.read_bytes() for path in REAL]
    for _ in range(3_000):
        raw = bytearray(chance.choice(sources))
        for _ in range(chance.randint(1, 12)):
            at = chance.randrange(len(raw) + 1)
            kind = chance.randrange(4)
            if kind == 0:
                raw[at : at + chance.randint(1, 40)] = b""
            elif kind == 1:
                raw[at:at] = chance.randbytes(chance.randint(1, 20))
            elif kind == 2:
                raw[at:at] = chance.choice(
                    [b"\n", b"\r\n", b"\x00", b'"', b"(", b"<", b"=?utf-8?b?", b"\xff\xfe", b"--", b";", b":"]
                )
            else:
                other = chance.choice(sources)
                start = chance.randrange(len(other))
                raw[at:at] = other[start : start + 200]
        assert_storable(parse(bytes(raw)))


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=400))
def test_parse_any_bytes_give_a_message(raw: bytes) -> None:
    assert_storable(parse(raw))
    assert_storable(parse(b"Content-Type: multipart/mixed; boundary=b\n\n--b\n" + raw))


# --- bodies ----------------------------------------------------------------------------------------------------------


BOTH = multipart("alternative", PLAIN, RICH, boundary="C")
RICH_WITH_PICTURE = multipart("related", RICH, PICTURE, boundary="D")
LOG = part("text/plain", "log", "Content-Disposition: attachment")
FORWARDED = part("message/rfc822", "Subject: inner\r\n\r\ninner words")
INVITE = part("text/calendar; method=REQUEST", "BEGIN:VCALENDAR")
WORDS, HTML = "plain words", "<p>rich words</p>"
SHAPES = {
    "plain": (PLAIN, (WORDS, "", [])),
    "html": (RICH, ("rich words", HTML, [])),
    "alternative": (BOTH, (WORDS, HTML, [])),
    "plain and a file": (multipart("mixed", PLAIN, FILE), (WORDS, "", ["2"])),
    "only a file": (multipart("mixed", FILE), ("", "", ["1"])),
    "html with its picture": (multipart("related", RICH, PICTURE), ("rich words", HTML, ["2"])),
    "alternative and a file": (multipart("mixed", BOTH, FILE), (WORDS, HTML, ["2"])),
    "related in alternative": (multipart("alternative", PLAIN, RICH_WITH_PICTURE), (WORDS, HTML, ["2.2"])),
    "alternative in related": (
        multipart("mixed", multipart("related", BOTH, PICTURE, boundary="E"), FILE), (WORDS, HTML, ["1.2", "2"]),
    ),
    "text, picture, footer": (
        multipart("mixed", PLAIN, PICTURE, part("text/plain", "a footer")), (f"{WORDS}\n\na footer", "", ["2"]),
    ),
    "plain then html": (
        multipart("mixed", PLAIN, RICH), (f"{WORDS}\n\nrich words", f"<pre>{WORDS}</pre>\n{HTML}", []),
    ),
    "signed": (multipart("signed", PLAIN, part("application/pgp-signature", "x")), (WORDS, "", ["2"])),
    "a log attached": (multipart("mixed", PLAIN, LOG), (WORDS, "", ["2"])),
    "a named text": (multipart("mixed", PLAIN, part("text/plain; name=notes.txt", "notes")), (WORDS, "", ["2"])),
    "a forwarded mail": (multipart("mixed", PLAIN, FORWARDED), (WORDS, "", ["2"])),
    "an invitation": (multipart("alternative", PLAIN, INVITE), (WORDS, "", ["2"])),
    "winmail.dat": (part("application/ms-tnef; name=winmail.dat", "x"), ("", "", ["1"])),
    "S/MIME": (part("application/pkcs7-mime; name=smime.p7m", "x"), ("", "", ["1"])),
    "no boundary": (part("multipart/mixed", "no boundary at all"), ("no boundary at all", "", [])),
    "boundary that never comes": (part("multipart/mixed; boundary=zzz", "never comes"), ("never comes", "", [])),
    "never closed": (multipart("mixed", PLAIN).removesuffix("--B--\r\n"), (WORDS, "", [])),
    "longer boundary": (multipart("mixed", PLAIN).replace("--B--", "--BB--"), (f"{WORDS}\n--BB--", "", [])),
    "no subtype": (part("text", "no subtype"), ("no subtype", "", [])),
}  # fmt: skip


@pytest.mark.parametrize(("source", "expected"), SHAPES.values(), ids=SHAPES.keys())
def test_parse_picks_the_bodies_a_reader_shows(source: str, expected: tuple[str, str, list[str]]) -> None:
    assert shape(source) == expected


def test_parse_digest_parts_are_messages() -> None:
    parsed = parse(multipart("digest", "\r\nSubject: one\r\n\r\nhi", "\r\nSubject: two\r\n\r\nhi").encode())
    assert [item.content_type for item in parsed.attachments] == ["message/rfc822", "message/rfc822"]


@pytest.mark.parametrize(
    ("charset", "raw", "text"),
    [
        ("utf-8", "Grüße".encode(), "Grüße"),
        ("iso-8859-1", "Grüße €".encode("cp1252"), "Grüße €"),
        ("us-ascii", "Grüße".encode(), "Grüße"),
        ("koi8-r", "Привет".encode("koi8-r"), "Привет"),
        ("koi8-r", "Привет".encode(), "Привет"),
        ("iso-2022-jp", "日本".encode("iso-2022-jp"), "日本"),
        ("gb2312", "联通".encode("gbk"), "联通"),
        ("shift_jis", "①日本".encode("cp932"), "①日本"),
        ("utf-16", "日本".encode("utf-16"), "日本"),
        ("x-unknown", b"caf\xe9", "café"),
        ("unknown-8bit", "café".encode(), "café"),
        ("", b"caf\xe9", "café"),
        ("punycode", b"abc", "abc"),
        ("utf-8", b"a\xff\x00b", "a\ufffdb"),
        ("../../etc/passwd", b"abc", "abc"),
    ],
)
def test_parse_charset_wrong_or_unknown_is_still_read(charset: str, raw: bytes, text: str) -> None:
    head = f"Content-Type: text/plain; charset={charset}\nContent-Transfer-Encoding: base64\n\n".encode()
    assert parse(head + base64.encodebytes(raw)).text == text


@pytest.mark.parametrize(
    ("encoding", "body", "text"),
    [
        ("base64", "SGVs\nbG8=", "Hello"),
        ("BASE64", "SGVsbG8", "Hello"),
        ("base64", "SGVs!!bG8", "Hello"),
        ("base64", "SGVsbG8gd", "Hello "),
        ("quoted-printable", "Gr=C3=BC=\nn", "Grün"),
        ("quoted-printable", "a=ZZb=", "a=ZZb"),
        ("x-uuencode", "begin 644 x\n%2&5L;&\\\n`\nend", "Hello"),
        ("x-nonsense", "Hello", "Hello"),
        ("8bit", "Hello", "Hello"),
    ],
)
def test_parse_transfer_encoding_broken_or_unknown_is_undone_as_far_as_it_goes(
    encoding: str, body: str, text: str
) -> None:
    assert parse(f"Content-Transfer-Encoding: {encoding}\n\n{body}".encode()).text == text


def test_parse_flowed_text_is_joined() -> None:
    parsed = mail("Content-Type: text/plain; format=flowed", "", "one ", "two", "> quoted ", "> more", "-- ", "name")
    assert parsed.text == "one two\n> quoted more\n-- \nname"


def test_parse_html_alone_becomes_readable_text() -> None:
    source = (
        "<html><head><title>t</title><style>p{}</style></head><body><h1>Title</h1><p>One&nbsp;&amp; two<br>three</p>"
        "<ul><li>x</li><li>y</li></ul><blockquote>old <b>words</b></blockquote><script>no()</script><!-- no -->"
        "<p>End 3 < 4"
    )
    text = parse(b"Content-Type: text/html\n\n" + source.encode()).text
    assert text == "Title\n\nOne & two\nthree\n\n- x\n- y\n\n> old words\n\nEnd 3 < 4"


# --- bounds ----------------------------------------------------------------------------------------------------------


def test_parse_text_over_the_cap_is_cut_and_said() -> None:
    parsed = parse(b"Subject: s\n\n" + b"x" * (message.MAX_TEXT + 10))
    assert len(parsed.text) == message.MAX_TEXT
    assert "cut" in parsed.defect
    assert parse(b"Subject: s\n\n" + b"x" * message.MAX_TEXT).defect == ""


def test_parse_nesting_over_the_cap_ends_in_one_attachment() -> None:
    deep = "".join(f"Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n" for n in range(1_000))
    parsed = parse(f"Subject: deep\n{deep}".encode())
    assert parsed.subject == "deep"
    assert f"{MAX_DEPTH} levels" in parsed.defect
    assert len(parsed.attachments) == 1


def test_parse_parts_over_the_cap_are_left_out() -> None:
    parsed = parse(("Subject: many\nContent-Type: multipart/mixed; boundary=b\n\n" + "--b\n\nx\n" * 100_000).encode())
    assert parsed.subject == "many"
    assert f"{MAX_PARTS} parts" in parsed.defect


def test_parse_truncated_mail_says_so() -> None:
    assert parse(b"Subject: s\n\nhalf", truncated=True).defect == message.TRUNCATED


def test_parse_failure_of_our_own_keeps_the_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> PartNode:
        raise RuntimeError

    monkeypatch.setattr(message, "node", broken)
    parsed = parse(b"Subject: kept\nFrom: a@example.com\n\nhi")
    assert (parsed.subject, parsed.sender.email, parsed.text) == ("kept", "a@example.com", "")
    assert "RuntimeError" in parsed.defect


# --- attachments -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ('Content-Disposition: attachment; filename="a b.pdf"', "a b.pdf"),
        ("Content-Disposition: attachment; filename*=utf-8''%C3%BCber.pdf", "über.pdf"),
        ("Content-Disposition: attachment; filename=\"x.pdf\"; filename*=iso-8859-1'de'%FC.pdf", "ü.pdf"),
        ("Content-Disposition: attachment; filename*0*=utf-8''%C3%BC; filename*1=\"b.pdf\"", "üb.pdf"),
        ('Content-Disposition: attachment; filename="=?utf-8?b?w7xiZXIucGRm?="', "über.pdf"),
        ('Content-Type: application/pdf; name="n.pdf"', "n.pdf"),
        ('Content-Disposition: attachment; filename="../../etc/passwd"', "passwd"),
        ('Content-Disposition: attachment; filename="C:\\\\Users\\\\x.exe"', "x.exe"),
        ('Content-Disposition: attachment; filename="gpj\u202e.exe"', "gpj.exe"),
        ('Content-Disposition: attachment; filename="CON.txt"', "_CON.txt"),
        ('Content-Disposition: attachment; filename="a<b>:c.txt"', "a_b__c.txt"),
        ('Content-Disposition: attachment; filename="..."', "attachment-1.pdf"),
        ("Content-Disposition: attachment", "attachment-1.pdf"),
        (f'Content-Disposition: attachment; filename="{"x" * 500}.pdf"', "x" * 196 + ".pdf"),
    ],
)
def test_parse_attachment_name_is_safe_to_save_under(headers: str, name: str) -> None:
    kind = "" if headers.startswith("Content-Type") else "Content-Type: application/pdf\n"
    [found] = parse(f"{kind}{headers}\n\nx".encode()).attachments
    assert found.file_name == name


def test_parse_attachment_is_described() -> None:
    parsed = parse(multipart("mixed", PLAIN, FILE, PICTURE).encode())
    pdf, picture = parsed.attachments
    assert (pdf.file_name, pdf.content_type, pdf.size, pdf.inline, pdf.content_id) == (
        "a.pdf",
        "application/pdf",
        3,
        False,
        "",
    )
    assert (picture.size, picture.inline, picture.content_id) == (3, True, "pic@x")


def test_attachment_gives_the_bytes_or_says_it_is_missing() -> None:
    raw = multipart("mixed", PLAIN, FILE).encode()
    assert attachment(raw, "2") == b"ABC"
    assert attachment(raw, "1") == b"plain words"
    with pytest.raises(RemoteMissing):
        attachment(raw, "3")
    assert attachment(b"Subject: s\n\nwhole body", "1") == b"whole body"


# --- trees from an API -----------------------------------------------------------------------------------------------


def test_from_parts_reads_the_tree_as_raw_mail_is_read() -> None:
    tree = PartNode("", "multipart/mixed", children=(
        PartNode("0", "multipart/alternative", children=(
            PartNode("0.0", "text/plain", (("Content-Type", "text/plain; charset=koi8-r"),), body="Привет".encode()),
            PartNode("0.1", "text/html", body=b"<p>rich</p>"),
        )),
        PartNode("1", "application/pdf", (("Content-Disposition", "attachment"),), file_name="ü.pdf", size=77),
        PartNode("2", "message/rfc822", size=9, children=(PartNode("2.0", "text/plain", body=b"inner"),)),
    ))  # fmt: skip
    headers = [
        ("Subject", "=?utf-8?q?Gr=C3=BC=C3=9Fe?="),
        ("From", "Änna <a@example.com>"),
        ("Date", "1 Mar 2026 12:00 +0100"),
    ]
    parsed = from_parts(headers, tree)
    assert (parsed.subject, parsed.sender) == ("Grüße", Address("Änna", "a@example.com"))
    assert (parsed.text, parsed.html) == ("Привет", "<p>rich</p>")
    assert [(item.part_id, item.file_name, item.size) for item in parsed.attachments] == [
        ("1", "ü.pdf", 77), ("2", "attachment-2.eml", 9),
    ]  # fmt: skip
    assert parsed.sent_at == datetime(2026, 3, 1, 11, 0, tzinfo=UTC)


def test_from_parts_text_that_was_not_fetched_is_an_attachment() -> None:
    parsed = from_parts([("Subject", "s")], PartNode("", "text/plain", body=None, size=5_000_000))
    assert parsed.text == ""
    assert [item.size for item in parsed.attachments] == [5_000_000]


def test_from_parts_tree_of_any_depth_is_read() -> None:
    tree = PartNode("x", "text/plain", body=b"deep")
    for _ in range(5_000):
        tree = PartNode("", "multipart/mixed", children=(tree,))
    parsed = from_parts([("Subject", "s\x00\ud800")], tree)
    assert parsed.subject == "s \ufffd"
