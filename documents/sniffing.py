"""What a file is, from its first bytes, and whether that is what its uploader claims.

Our own table: the libraries looked at take "MZ is how this letter begins" for a program and see no HTML or SVG where a
browser would (ADR 28). Called when an upload is confirmed. Promised: a program, HTML or SVG never passes as something
else; a claim of a type in the table passes only with that type's signature. Only the beginning is looked at: what a
file carries further on, or inside an archive, is the scanner's (`documents.scanning`).
"""

from __future__ import annotations

import re

HEAD = 16 * 1024
"""How many of the first bytes are looked at."""

UNKNOWN = ""
TEXT = "text/plain"
HTML = "text/html"
SVG = "image/svg+xml"
XML = "application/xml"
SCRIPT = "text/x-shellscript"
PROGRAM = "application/x-executable"
ZIP = "application/zip"
OLE = "application/x-ole-storage"
PDF = "application/pdf"

_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x7fELF", PROGRAM),
    (0, b"\xfe\xed\xfa\xce", PROGRAM),  # Mach-O, in four forms, and many of them in one
    (0, b"\xfe\xed\xfa\xcf", PROGRAM),
    (0, b"\xce\xfa\xed\xfe", PROGRAM),
    (0, b"\xcf\xfa\xed\xfe", PROGRAM),
    (0, b"\xca\xfe\xba\xbe", PROGRAM),  # a Java class begins so too
    (0, b"\x00asm", PROGRAM),
    (0, b"dex\n0", PROGRAM),
    (0, b"L\x00\x00\x00\x01\x14\x02\x00", PROGRAM),  # a Windows shortcut, which runs what it names
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (0, b"II*\x00", "image/tiff"),
    (0, b"MM\x00*", "image/tiff"),
    (0, b"II+\x00", "image/tiff"),
    (0, b"MM\x00+", "image/tiff"),
    (0, b"\x00\x00\x01\x00", "image/x-icon"),
    (0, b"8BPS\x00", "image/vnd.adobe.photoshop"),
    (0, b"\x1f\x8b\x08", "application/gzip"),
    (0, b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (0, b"Rar!\x1a\x07", "application/vnd.rar"),
    (0, b"\xfd7zXZ\x00", "application/x-xz"),
    (0, b"\x28\xb5\x2f\xfd", "application/zstd"),
    (0, b"\x1a\x45\xdf\xa3", "video/webm"),
    (0, b"OggS\x00", "audio/ogg"),
    (0, b"fLaC\x00", "audio/flac"),
    (0, b"ID3\x02", "audio/mpeg"),
    (0, b"ID3\x03", "audio/mpeg"),
    (0, b"ID3\x04", "audio/mpeg"),
    (0, b"{\\rtf", "application/rtf"),
    (0, b"%!PS-", "application/postscript"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", OLE),
    (257, b"ustar", "application/x-tar"),
)
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}
_MPEG_AUDIO = re.compile(rb"\xff[\xf2\xf3\xfa\xfb]")
_BZIP2 = re.compile(rb"BZh[1-9]1AY&SY")
_BITMAP = re.compile(rb"BM.{4}\x00{4}", re.DOTALL)  # two reserved fields, 0
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"avif", b"avis")

_ZIPPED = b"PK\x03\x04"
_ENTRY = re.compile(rb"PK\x03\x04.{22}(..)..([^\x00-\x1f]{1,200})", re.DOTALL)
_WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
_SHEET = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_SLIDES = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
_OFFICE = {b"word/": _WORD, b"xl/": _SHEET, b"ppt/": _SLIDES}
_OFFICE_WORDS = {
    _WORD: re.compile(r"wordprocessingml|ms-word"),
    _SHEET: re.compile(r"spreadsheetml|ms-excel"),
    _SLIDES: re.compile(r"presentationml|ms-powerpoint"),
}
"""In the names of templates and of files with macros, which look the same from here."""
_DECLARED_TYPE = re.compile(r"application/vnd\.oasis\.opendocument\.[a-z-]+")
_DECLARED = re.compile(rb"mimetype(application/(?:vnd\.oasis\.opendocument\.[a-z-]+|epub\+zip))")
"""Open documents and books begin with an entry that says so, stored as it is."""
_INSTALLER = bytes.fromhex("84100c0000000000c000000000000046")
"""The class of the root of a Windows installer, which is such a storage too."""

_TAG = rb"(?:html|head|body|script|iframe|style|title|meta|link|form|img|object|embed|base|template)"
_HTML = re.compile(rb"<(?:!doctype\s+html|" + _TAG + rb")[\s>/]", re.IGNORECASE)
_SVG = re.compile(rb"<(?:[a-z]+:)?svg[\s>/:]", re.IGNORECASE)
_PROLOGUE = re.compile(rb"(?:\s+|<\?.*?\?>|<!--.*?-->|<!doctype\s+(?!html)[^>\[]*(?:\[.*?\]\s*)?>)", re.DOTALL | re.I)
_XML = re.compile(rb"\s*<\?xml[\s]", re.IGNORECASE)
_XHTML = re.compile(rb"<[a-z]+:(?:html|script)[\s>]|http://www\.w3\.org/1999/xhtml", re.IGNORECASE)
_NOT_IN_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
"""The "binary data bytes" of mimesniff.spec.whatwg.org, section 3, and vertical tab let through."""

_SAME = {
    "application/bzip2": "application/x-bzip2",
    "application/x-bzip": "application/x-bzip2",
    "application/x-gzip": "application/gzip",
    "application/x-tgz": "application/gzip",
    "application/x-pdf": PDF,
    "application/x-rar-compressed": "application/vnd.rar",
    "application/x-rtf": "application/rtf",
    "application/x-zip-compressed": ZIP,
    "application/x-zip": ZIP,
    "text/rtf": "application/rtf",
    "audio/mp3": "audio/mpeg",
    "audio/x-flac": "audio/flac",
    "audio/x-wav": "audio/wav",
    "audio/wave": "audio/wav",
    "audio/vnd.wave": "audio/wav",
    "audio/opus": "audio/ogg",
    "application/ogg": "audio/ogg",
    "video/ogg": "audio/ogg",
    "audio/mp4": "video/mp4",
    "audio/x-m4a": "video/mp4",
    "audio/m4a": "video/mp4",
    "video/quicktime": "video/mp4",
    "video/3gpp": "video/mp4",
    "video/x-m4v": "video/mp4",
    "audio/webm": "video/webm",
    "video/x-matroska": "video/webm",
    "audio/x-matroska": "video/webm",
    "video/avi": "video/x-msvideo",
    "video/msvideo": "video/x-msvideo",
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
    "image/apng": "image/png",
    "image/x-ms-bmp": "image/bmp",
    "image/x-bmp": "image/bmp",
    "image/vnd.microsoft.icon": "image/x-icon",
    "image/heif": "image/heic",
    "image/avif": "image/heic",
    "image/x-psd": "image/vnd.adobe.photoshop",
    "text/xml": XML,
    "application/xhtml+xml": HTML,
    "application/vnd.microsoft.portable-executable": PROGRAM,
    "application/x-msdownload": PROGRAM,
    "application/x-msdos-program": PROGRAM,
    "application/x-dosexec": PROGRAM,
    "application/x-elf": PROGRAM,
    "application/x-sharedlib": PROGRAM,
    "application/x-mach-binary": PROGRAM,
    "application/x-msi": PROGRAM,
    "application/java-vm": PROGRAM,
    "application/wasm": PROGRAM,
}
"""Other names of one kind of file, or of kinds that share a container."""
_OLE_TYPES = re.compile(
    r"application/(?:msword|(?:vnd\.|x-)?ms-?(?:excel|powerpoint|outlook|project|publisher|works)|vnd\.visio)"
)
_ZIP_TYPES = re.compile(
    r"application/(?:vnd\.(?:openxmlformats-officedocument|oasis\.opendocument|ms-[a-z]+\.[a-z.]+\.macroenabled)[a-z.0-9-]*"
    r"|epub\+zip|java-archive|vnd\.android\.package-archive|vnd\.apple\.(?:pages|numbers|keynote)|zip)",
    re.IGNORECASE,
)
_TEXTUAL = re.compile(
    r"text/.+|message/.+|application/(?:json|ld\+json|x-ndjson|x-sh|x-yaml|yaml|toml|sql|javascript|x-javascript|ecmascript"
    r"|x-python|x-php|x-subrip|x-tex|xml|pgp-.+)|.+\+(?:json|xml|yaml)"
)
_MAY_HOLD_HTML = re.compile(r"text/(?:markdown|x-.+|javascript)|application/(?:x-|java|ecma).*|message/.+")
_ANYTHING = ("", "application/octet-stream", "binary/octet-stream")
_NEVER_DISGUISED = (PROGRAM, HTML, SVG)
_SIGNED = frozenset(
    {kind for _, _, kind in _SIGNATURES if kind != OLE}
    | set(_RIFF.values())
    | {"image/bmp", "image/heic", "video/mp4", "application/x-bzip2", PDF, SVG}
)


def sniff(head: bytes) -> str:
    """The type of a file that begins so (HEAD bytes count); UNKNOWN where it looks like nothing in the table."""
    head = head[:HEAD]
    return _by_signature(head) or _markup(head) or _text(head) or _late_pdf(head)


def agrees(claimed: str, found: str) -> bool:
    """Whether a file that looks like `found` (`sniff`) may be called `claimed`."""
    claimed = claimed.partition(";")[0].strip().lower()
    if claimed in _ANYTHING:
        return True
    kind, real = _SAME.get(claimed, claimed), _SAME.get(found, found)
    if kind == real:
        return True
    if _OLE_TYPES.fullmatch(claimed):
        # Word also writes .doc as RTF; a browser on Windows calls a .csv what the program is called that opens it.
        return real in (OLE, "application/rtf") or (real == TEXT and claimed.endswith("excel"))
    if _ZIP_TYPES.fullmatch(claimed):
        return _is_such_archive(kind, real)
    if kind in _SIGNED:
        return False
    if _TEXTUAL.fullmatch(claimed):
        return _is_such_text(claimed, real)
    return real not in _NEVER_DISGUISED


def _is_such_archive(kind: str, real: str) -> bool:
    if kind == ZIP:
        return _ZIP_TYPES.fullmatch(real) is not None
    if real in _OFFICE_WORDS:
        return _OFFICE_WORDS[real].search(kind) is not None
    return real == ZIP or (bool(_DECLARED_TYPE.fullmatch(real)) and kind.startswith(real))  # …text, …text-template


def _is_such_text(claimed: str, real: str) -> bool:
    if real in (HTML, SVG):
        return "xml" in claimed or _MAY_HOLD_HTML.fullmatch(claimed) is not None
    return real in (TEXT, XML, SCRIPT)


def _by_signature(head: bytes) -> str:
    for offset, signature, kind in _SIGNATURES:
        if head.startswith(signature, offset):
            return PROGRAM if kind == OLE and _INSTALLER in head else kind
    if head.startswith(_ZIPPED):
        return _zipped(head)
    if head.startswith(b"MZ") and _NOT_IN_TEXT.search(head[:64]):
        return PROGRAM
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12], UNKNOWN)
    if head[4:8] == b"ftyp":
        return "image/heic" if head[8:12] in _HEIF_BRANDS else "video/mp4"
    if _BITMAP.match(head):
        return "image/bmp"
    if _BZIP2.match(head):
        return "application/x-bzip2"
    return "audio/mpeg" if _MPEG_AUDIO.match(head) else UNKNOWN


def _zipped(head: bytes) -> str:
    """By the names of the entries that begin within the head."""
    if declared := _DECLARED.search(head, 0, 200):
        return declared[1].decode()
    names = [found[2][: int.from_bytes(found[1], "little")] for found in _ENTRY.finditer(head)]
    for folder, kind in _OFFICE.items():
        if any(name.startswith(folder) for name in names):
            return kind
    if any(name in (b"AndroidManifest.xml", b"classes.dex") for name in names):
        return "application/vnd.android.package-archive"
    return "application/java-archive" if any(name.startswith(b"META-INF/MANIFEST") for name in names) else ZIP


def _markup(head: bytes) -> str:
    """As a browser would take it: after blanks, comments and declarations, in UTF-16 too."""
    text = _as_bytes(head)
    is_xml = _XML.match(text) is not None
    position = 0
    while (skipped := _PROLOGUE.match(text, position)) and skipped.end() > position:
        position = skipped.end()
    if _SVG.match(text, position):
        return SVG
    if _HTML.match(text, position) or (is_xml and _XHTML.search(text)):
        return HTML
    return XML if is_xml else UNKNOWN


def _late_pdf(head: bytes) -> str:
    """Readers find the header anywhere in the first 1024 bytes (PDF 1.7, implementation note 13)."""
    return PDF if head.find(b"%PDF-", 0, 1024 + 5) >= 0 else UNKNOWN


def _text(head: bytes) -> str:
    if _as_bytes(head).lstrip().startswith(b"%PDF-"):
        return PDF
    if head.startswith(b"#!"):
        return SCRIPT
    return UNKNOWN if _NOT_IN_TEXT.search(_as_bytes(head)) else TEXT


def _as_bytes(head: bytes) -> bytes:
    """Without a byte order mark; of UTF-16 the same characters in one byte each."""
    for mark, encoding in ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        if head.startswith(mark):
            return head[2:].decode(encoding, "replace").encode("utf-8", "replace")
    return head.removeprefix(b"\xef\xbb\xbf")
