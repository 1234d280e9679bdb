"""What Drive's answers say: files as our own answers show them, sizes as numbers, reasons of refusals. Called by the
provider; everything here is a stranger's word, so a missing or mistyped field is an absent one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

from core.errors import ProviderUnavailable
from core.http import Response

FOLDER = "application/vnd.google-apps.folder"


def inner(told: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object inside of an answer, {} where there is none."""
    value = told.get(name)
    return value if isinstance(value, dict) else {}


def files(told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A page of files. ProviderUnavailable where it is none: an empty list must not be read out of it."""
    found = told.get("files")
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise ProviderUnavailable("Google Drive answered with something that is no list of files.")
    return [shown(item) for item in found]


def size(file: Mapping[str, Any]) -> int | None:
    """Bytes, which come as text; None where there are none (folders, Docs)."""
    return _number(file.get("size"))


def _number(value: object) -> int | None:
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20 else None


def shown(file: Mapping[str, Any]) -> dict[str, Any]:
    """A file as our answers show it."""
    return {
        "id": file.get("id"),
        "fileName": file.get("name"),
        "contentType": file.get("mimeType"),
        "size": size(file),
        "modifiedAt": file.get("modifiedTime"),
        "isFolder": file.get("mimeType") == FOLDER,
        "webUrl": file.get("webViewLink"),
    }


def quota(told: Mapping[str, Any]) -> dict[str, int | None]:
    """Bytes; no limit is None. Numbers come as text."""
    return {name: _number(told.get(name)) for name in ("limit", "usage")}


def session_of(response: Response) -> str:
    """Where chunks go, a secret. It has to lie where it was asked for."""
    address = str(response.headers.get("location", ""))
    if urlsplit(address)[:2] != urlsplit(settings.GOOGLE_DRIVE_API_URL)[:2]:
        raise ProviderUnavailable("Google Drive named no address for the upload.")
    return address


def check_whole(md5: str, file: Mapping[str, Any]) -> None:
    """A file that changed between two ranges is neither the old nor the new one."""
    told = file.get("md5Checksum")
    if isinstance(told, str) and md5 != told:
        raise ProviderUnavailable("The file changed while it was downloaded. Try again.")


def error(response: Response) -> Mapping[str, Any]:
    """The `error` of a refusal, {} where it holds none."""
    try:
        body = response.json()
    except ProviderUnavailable:
        return {}
    return inner(body, "error") if isinstance(body, dict) else {}


def reason(response: Response) -> str:
    """Google's own word for a refusal."""
    errors = error(response).get("errors")
    first = errors[0] if isinstance(errors, list) and errors else None
    return str(first.get("reason") or "") if isinstance(first, dict) else ""
