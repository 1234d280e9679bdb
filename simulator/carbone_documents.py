"""Documents as bytes: a template's text with its tags replaced, written as PDF, DOCX, XLSX, HTML, CSV or text. Used by
`carbone` alone. Small but valid: readers open them and find the text."""

from __future__ import annotations

import csv
import html
import io
import re
import zipfile
from collections.abc import Callable
from typing import Any

FORMATS = {
    "pdf": "application/pdf",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "html": "text/html",
    "txt": "text/plain",
    "csv": "text/csv",
}
TAG = re.compile(r"\{d((?:\.\w+|\[\d+\])*)((?::\w+)*)\}")
FORMATTERS: dict[str, Callable[[str], str]] = {"upperCase": str.upper, "lowerCase": str.lower}
ZIP = b"PK\x03\x04"
WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
LINES_PER_PAGE = 50


class TemplateFault(Exception):
    """The template cannot be rendered, however often it is tried; the text says where."""


def is_template(content: bytes) -> bool:
    """A DOCX, or text in UTF-8."""
    if content.startswith(ZIP):
        return kind_of(content) == "docx"
    try:
        return "\x00" not in content.decode()
    except UnicodeDecodeError:
        return False


def kind_of(content: bytes) -> str:
    if content.startswith(ZIP):
        try:
            return "docx" if "word/document.xml" in zipfile.ZipFile(io.BytesIO(content)).namelist() else "zip"
        except zipfile.BadZipFile:
            return "zip"
    return "html" if re.match(rb"\s*<(!doctype|html)", content, re.IGNORECASE) else "txt"


def fill(content: bytes, data: Any) -> list[str]:
    """The template's lines with `{d.name}`, `{d.items[0].price}` and `{d.name:upperCase}` replaced; what is missing is
    empty, a formatter nobody knows is TemplateFault."""
    return [TAG.sub(lambda tag: _value(tag, data), line) for line in _lines(content)]


def _lines(content: bytes) -> list[str]:
    if content.startswith(ZIP):
        document = zipfile.ZipFile(io.BytesIO(content)).read("word/document.xml").decode()
        paragraphs = re.findall(r"<w:p[ >].*?</w:p>", document, re.DOTALL)
        return ["".join(map(html.unescape, re.findall(r"<w:t(?: [^>]*)?>([^<]*)</w:t>", part))) for part in paragraphs]
    return content.decode("utf-8", "replace").splitlines()


def _value(tag: re.Match[str], data: Any) -> str:
    value = data
    for name, index in re.findall(r"\.(\w+)|\[(\d+)\]", tag[1]):
        if name:
            value = value.get(name) if isinstance(value, dict) else None
        else:
            value = value[int(index)] if isinstance(value, list) and int(index) < len(value) else None
    text = "" if value is None else str(value)
    for formatter in filter(None, tag[2].split(":")):
        if formatter not in FORMATTERS:
            raise TemplateFault(f'Formatter "{formatter}" does not exist.')
        text = FORMATTERS[formatter](text)
    return text


def produce(wanted: str, lines: list[str]) -> bytes:
    """A document of one of `FORMATS`."""
    if wanted == "pdf":
        return pdf(lines)
    if wanted == "docx":
        return docx(lines)
    if wanted == "csv":
        rows = io.StringIO()
        csv.writer(rows).writerows([line] for line in lines)
        return rows.getvalue().encode()
    return "\n".join(lines).encode()


def pdf(lines: list[str]) -> bytes:
    """PDF 1.4 in one of the fonts every reader has, a page for every fifty lines."""
    pages = [lines[start : start + LINES_PER_PAGE] for start in range(0, len(lines), LINES_PER_PAGE)] or [[]]
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    font = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode(),
        font,
    ]
    for number, page in enumerate(pages):
        resources = "/MediaBox [0 0 595 842] /Resources << /Font << /F1 3 0 R >> >>"
        objects.append(f"<< /Type /Page /Parent 2 0 R {resources} /Contents {5 + 2 * number} 0 R >>".encode())
        stream = (
            b"BT /F1 11 Tf 50 790 Td 15 TL\n" + b"".join(b"(" + _escaped(line) + b") Tj T*\n" for line in page) + b"ET"
        )
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream))
    return _assembled(objects)


def _assembled(objects: list[bytes]) -> bytes:
    out = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    offsets = []
    for number, content in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    return bytes(out + b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start))


def _escaped(line: str) -> bytes:
    return re.sub(rb"([\\()])", rb"\\\1", line.encode("cp1252", "replace"))


def docx(lines: list[str]) -> bytes:
    """A word processor's document of one paragraph per line; the same lines give the same bytes."""
    text = "".join(
        f'<w:p><w:r><w:t xml:space="preserve">{html.escape(line, quote=False)}</w:t></w:r></w:p>' for line in lines
    )
    files = {
        "[Content_Types].xml": f'<Types xmlns="{PACKAGE}/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/word/document.xml" ContentType="{FORMATS["docx"]}.main+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{PACKAGE}/relationships">'
        f'<Relationship Id="rId1" Type="{OFFICE}" Target="word/document.xml"/></Relationships>',
        "word/document.xml": f'<w:document xmlns:w="{WORD}"><w:body>{text}</w:body></w:document>',
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            head = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
            archive.writestr(zipfile.ZipInfo(name), head + content)
    return packed.getvalue()
