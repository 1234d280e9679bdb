"""What is said about an attachment: a name that is safe to save under, its type, whether it stands inside the text.

Called by `message`. The bytes stay where they are. winmail.dat, S/MIME and PGP parts are attachments like any other.
"""

from __future__ import annotations

import re

from email_sync.parsing.headers import decode_words, first, value_and_parameters
from email_sync.parsing.parts import PartNode
from email_sync.parsing.text import one_line
from email_sync.records import AttachmentPart, CalendarSummary

MAX_FILE_NAME = 200

_CONTENT_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,100}/[a-z0-9!#$&^_.+-]{1,100}")
_UNSAFE = re.compile("[\x00-\x1f\x7f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
"""Control characters, and those that turn the reading direction to disguise an extension."""
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)")
_EXTENSIONS = {
    "application/pdf": ".pdf",
    "application/ms-tnef": ".dat",
    "application/pkcs7-mime": ".p7m",
    "application/pkcs7-signature": ".p7s",
    "application/pgp-signature": ".asc",
    "application/zip": ".zip",
    "image/gif": ".gif",
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/webp": ".webp",
    "message/delivery-status": ".txt",
    "message/rfc822": ".eml",
    "text/calendar": ".ics",
    "text/csv": ".csv",
    "text/html": ".html",
    "text/plain": ".txt",
    "text/rfc822-headers": ".txt",
}


def disposition(part: PartNode) -> tuple[str, str]:
    """The disposition word ("attachment", "inline", "") and the file name as the sender gave it."""
    word, parameters = value_and_parameters(first(part.headers, "content-disposition"))
    name = part.file_name or parameters.get("filename", "")
    if not name:
        name = content_type_parameter(part, "name")
    return word, name


def content_type_parameter(part: PartNode, name: str) -> str:
    """A parameter of the part's Content-Type, "" where it has none of that name."""
    return value_and_parameters(first(part.headers, "content-type"))[1].get(name, "")


def attachment_part(part: PartNode, calendar: CalendarSummary | None = None) -> AttachmentPart:
    """The record of one attachment."""
    word, name = disposition(part)
    content_type = part.content_type.lower()
    if not _CONTENT_TYPE.fullmatch(content_type):
        content_type = "application/octet-stream"
    content_id = one_line(first(part.headers, "content-id"), 500).strip("<> ")
    return AttachmentPart(
        part_id=part.part_id,
        file_name=safe_file_name(name) or f"attachment-{part.part_id or '1'}{_EXTENSIONS.get(content_type, '')}",
        content_type=content_type,
        size=part.size,
        inline=word != "attachment" and bool(content_id or word == "inline"),
        content_id=content_id,
        calendar=calendar,
    )


def safe_file_name(name: str) -> str:
    """`name` without folders, control and direction marks, and names Windows reserves; "" where nothing is left."""
    name = _UNSAFE.sub("", one_line(decode_words(name[:2_000]), 1_000))
    name = re.split(r"[\\/]", name)[-1].strip(" .")
    name = re.sub(r'[<>:"|?*]', "_", name)
    if len(name) > MAX_FILE_NAME:
        stem, dot, extension = name.rpartition(".")
        keep = f".{extension}" if dot and len(extension) <= 10 else ""
        name = (stem if keep else name)[: MAX_FILE_NAME - len(keep)] + keep
    return f"_{name}" if _RESERVED.match(name) else name
