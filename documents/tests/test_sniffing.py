"""What a file is said to be, from its first bytes, and which claims pass."""

from __future__ import annotations

import io
import struct
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from documents import sniffing
from documents.sniffing import HTML, OLE, PDF, PROGRAM, SVG, TEXT, UNKNOWN, XML, ZIP, agrees, sniff

DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
PPTX = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
ODT = "application/vnd.oasis.opendocument.text"
JAR = "application/java-archive"
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(20)
OLE_HEAD = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(600)


def zipped(*names: str, stored_first: bytes = b"") -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, name in enumerate(names):
            if stored_first and not number:
                archive.writestr(zipfile.ZipInfo(name), stored_first)
            else:
                archive.writestr(name, "<x/>" * 50)
    return made.getvalue()


def program() -> bytes:
    """The beginning every Windows program has."""
    return b"MZ\x90\x00\x03\x00\x00\x00\x04\x00\x00\x00\xff\xff" + bytes(46) + struct.pack("<I", 128) + bytes(200)


KNOWN = {
    "pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj", PDF),
    "pdf after a blank line": (b"\r\n%PDF-1.4\n", PDF),
    "pdf after what a printer wrote": (b"@PJL\x1b%-12345X\n%PDF-1.4\n\x00\x01", PDF),
    "png": (PNG, "image/png"),
    "jpeg": (b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(20), "image/jpeg"),
    "gif": (b"GIF89a" + bytes(20), "image/gif"),
    "webp": (b"RIFF\x24\x00\x00\x00WEBPVP8 ", "image/webp"),
    "bmp": (b"BM\x46\x00\x00\x00\x00\x00\x00\x00\x36\x00\x00\x00", "image/bmp"),
    "tiff": (b"II*\x00\x08\x00\x00\x00", "image/tiff"),
    "heic": (b"\x00\x00\x00\x18ftypheic" + bytes(10), "image/heic"),
    "mp4": (b"\x00\x00\x00\x18ftypmp42" + bytes(10), "video/mp4"),
    "mp3": (b"ID3\x03" + bytes(20), "audio/mpeg"),
    "wav": (b"RIFF\x24\x00\x00\x00WAVEfmt ", "audio/wav"),
    "docx": (zipped("[Content_Types].xml", "_rels/.rels", "word/document.xml"), DOCX),
    "xlsx": (zipped("[Content_Types].xml", "xl/workbook.xml"), XLSX),
    "pptx": (zipped("[Content_Types].xml", "ppt/presentation.xml"), PPTX),
    "odt": (zipped("mimetype", "content.xml", stored_first=ODT.encode()), ODT),
    "jar": (zipped("META-INF/MANIFEST.MF", "A.class"), JAR),
    "zip": (zipped("letter.txt"), ZIP),
    "doc": (OLE_HEAD, OLE),
    "rtf": (b"{\\rtf1\\ansi", "application/rtf"),
    "gzip": (b"\x1f\x8b\x08\x00" + bytes(10), "application/gzip"),
    "tar": (b"letter.txt".ljust(257, b"\x00") + b"ustar\x00", "application/x-tar"),
    "windows program": (program(), PROGRAM),
    "linux program": (b"\x7fELF\x02\x01\x01" + bytes(40), PROGRAM),
    "mac program": (b"\xcf\xfa\xed\xfe\x07\x00\x00\x01" + bytes(30), PROGRAM),
    "shortcut": (b"L\x00\x00\x00\x01\x14\x02\x00" + bytes(40), PROGRAM),
    "installer": (OLE_HEAD + bytes.fromhex("84100c0000000000c000000000000046"), PROGRAM),
    "script": (b"#!/bin/sh\nrm -rf /\n", "text/x-shellscript"),
    "html": (b"<!DOCTYPE html><html>", HTML),
    "html after blanks and comments": (b"\xef\xbb\xbf \n<!-- a > b --> <ScRiPt>alert(1)</script>", HTML),
    "html in UTF-16": ("\ufeff<html><script>alert(1)</script>".encode("utf-16-le"), HTML),
    "xhtml": (b'<?xml version="1.0"?><x xmlns="http://www.w3.org/1999/xhtml"><script/></x>', HTML),
    "svg": (b'<svg onload="alert(1)">', SVG),
    "svg with a prologue": (
        b'<?xml version="1.0"?>\n<!-- made --><!DOCTYPE svg PUBLIC "-//W3C" "x" [<!ENTITY a "b">]>\n<svg xmlns="http://x">',
        SVG,
    ),
    "svg by a prefix": (b'<?xml version="1.0"?><s:svg xmlns:s="http://www.w3.org/2000/svg">', SVG),
    "xml": (b'<?xml version="1.0"?><invoice/>', XML),
    "text": ("Grüße aus Köln\n".encode(), TEXT),
    "text in latin-1": ("Grüße aus Köln\n".encode("latin-1"), TEXT),
    "text in UTF-16": ("\ufeffGrüße".encode("utf-16-le"), TEXT),
    "a letter that begins MZ": (
        b"MZ is how this letter begins, dear Sir or Madam, and it goes on for quite a while.",
        TEXT,
    ),
    "a letter that begins BM": (b"BM is a shop", TEXT),
    "a letter about PDF": (b"Every such file begins with %PDF- and a version.", TEXT),
    "nothing": (b"", TEXT),
    "octets": (b"\x00\x01\x02\x03" * 10, UNKNOWN),
}


@pytest.mark.parametrize(("head", "kind"), KNOWN.values(), ids=KNOWN)
def test_sniff_a_file_tells_its_type(head: bytes, kind: str) -> None:
    assert sniff(head) == kind


DISGUISES = (
    "image/png",
    "image/jpeg",
    "application/pdf",
    DOCX,
    "application/msword",
    "text/plain",
    "text/csv",
    "video/mp4",
)


@pytest.mark.parametrize("claimed", [*DISGUISES, "application/x-invented", "application/vnd.ms-excel"])
@pytest.mark.parametrize(
    "what",
    ["windows program", "linux program", "installer", "html", "html in UTF-16", "xhtml", "svg", "svg by a prefix"],
)
def test_agrees_a_program_or_page_passes_as_nothing_else(what: str, claimed: str) -> None:
    assert not agrees(claimed, sniff(KNOWN[what][0]))


HONEST = [
    ("image/png", "png"),
    ("image/jpg", "jpeg"),
    ("image/avif", "heic"),
    ("audio/mp4", "mp4"),
    (PDF, "pdf"),
    (PDF, "pdf after what a printer wrote"),
    (DOCX, "docx"),
    (DOCX, "zip"),
    ("application/vnd.ms-word.document.macroEnabled.12", "docx"),
    ("application/vnd.openxmlformats-officedocument.wordprocessingml.template", "docx"),
    (ODT, "odt"),
    ("application/vnd.oasis.opendocument.text-template", "odt"),
    ("application/zip", "docx"),
    ("application/x-zip-compressed", "zip"),
    ("application/msword", "doc"),
    ("application/msword", "rtf"),
    ("application/vnd.ms-excel", "doc"),
    ("application/vnd.ms-excel", "text"),
    ("text/plain", "text"),
    ("text/plain; charset=utf-16", "text in UTF-16"),
    ("text/plain", "a letter that begins MZ"),
    ("text/plain", "script"),
    ("text/csv", "text in latin-1"),
    ("application/json", "text"),
    ("text/plain", "nothing"),
    ("text/markdown", "html"),
    ("text/html", "html"),
    ("text/html", "text"),
    ("image/svg+xml", "svg with a prologue"),
    ("application/xml", "svg"),
    ("application/x-msdownload", "windows program"),
    ("application/octet-stream", "windows program"),
    ("application/x-invented", "octets"),
    ("application/x-invented", "text"),
]


@pytest.mark.parametrize(("claimed", "what"), HONEST, ids=[f"{what} as {claimed}" for claimed, what in HONEST])
def test_agrees_an_honest_claim_passes(claimed: str, what: str) -> None:
    assert agrees(claimed, sniff(KNOWN[what][0]))


WRONG = [
    ("image/png", "jpeg"),
    ("image/png", "text"),
    ("image/png", "octets"),
    ("image/png", "nothing"),
    (PDF, "text"),
    (PDF, "zip"),
    (DOCX, "xlsx"),
    (DOCX, "jar"),
    (DOCX, "doc"),
    (DOCX, "pdf"),
    ("application/msword", "docx"),
    ("application/msword", "text"),
    ("application/zip", "pdf"),
    ("text/plain", "octets"),
    ("text/csv", "png"),
    ("image/svg+xml", "html"),
    ("image/svg+xml", "text"),
]


@pytest.mark.parametrize(("claimed", "what"), WRONG, ids=[f"{what} as {claimed}" for claimed, what in WRONG])
def test_agrees_another_type_does_not_pass(claimed: str, what: str) -> None:
    assert not agrees(claimed, sniff(KNOWN[what][0]))


def test_sniff_only_the_beginning_counts() -> None:
    assert sniff(b"a" * sniffing.HEAD + b"\x00") == TEXT


@given(st.binary(max_size=300))
def test_sniff_whatever_the_bytes_answers_and_agrees_with_itself(head: bytes) -> None:
    found = sniff(head)
    assert found == UNKNOWN or agrees(found, found)


@pytest.mark.parametrize(
    "head",
    [
        b"<!" * 8000,
        b"<!doctype a [" * 1200,
        b"<?" * 8000,
        b"<!--" * 4000,
        b" " * 16000,
        b"PK\x03\x04" * 4000,
        b"<!-- -->" * 2000,
    ],
)
def test_sniff_markup_that_never_ends_takes_no_longer(head: bytes) -> None:
    """Steps are what grows with the square; so many characters are looked at in a blink or never."""
    assert sniff(head) in (TEXT, UNKNOWN, ZIP)
