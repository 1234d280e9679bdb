"""Drive's files without their bytes going up: about, list, get (metadata or content), export, ids, changes, delete."""

from __future__ import annotations

import re
from typing import Any

from simulator.drive.access import Call, Handler, insufficient, invalid, not_found
from simulator.drive.methods import CONTENT
from simulator.drive.query import compile_query
from simulator.drive.store import EXPORTS, File
from simulator.errors import google_error
from simulator.google_access import check_scopes, flag, opaque, reveal
from simulator.wire import Request, Response

RANGE = re.compile(r"bytes=(\d*)-(\d*)")
WRITABLE = {"name": "name", "mimeType": "mime_type", "description": "description", "starred": "starred",
    "trashed": "trashed"}  # fmt: skip
"""Fields of a File that a request may set → ours."""


def about(call: Call) -> dict[str, Any]:
    """`fields` is mandatory here and nowhere else."""
    if not call.request.argument("fields"):
        raise invalid("The 'fields' parameter is required for this method.", "fields", "required")
    account = call.world.account("google", call.email)
    usage = str(call.state.usage(call.email))
    return {
        "kind": "drive#about",
        "user": {
            "kind": "drive#user",
            "displayName": account.name if account else "",
            "me": True,
            "permissionId": account.subject if account else "",
            "emailAddress": call.email,
        },
        "storageQuota": {
            "limit": str(call.state.limit(call.email)),
            "usage": usage,
            "usageInDrive": usage,
            "usageInDriveTrash": "0",
        },
        "maxUploadSize": str(5 * 1024**4),
        "exportFormats": {kind: list(types) for kind, types in EXPORTS.items()},
        "appInstalled": True,
        "canCreateDrives": True,
    }


def list_files(call: Call) -> dict[str, Any]:
    """Filtered, ordered and paged. A page token is good only for the query it was given to."""
    request = call.request
    matches = compile_query(call, request.argument("q"))
    reached = _reached(call)
    found = [item for item in call.state.files.values() if item.parent and reached(item) and matches(item)]
    found = [item for item in found if call.sees(item)]
    for key in reversed([part.strip() for part in request.argument("orderBy").split(",") if part.strip()]):
        found.sort(key=_order(key.removesuffix(" desc")), reverse=key.endswith(" desc"))
    size, start = _page_size(request), 0
    asked = [request.argument(name) for name in ("q", "orderBy", "corpora", "driveId")]
    if token := request.argument("pageToken"):
        start, same = _page(token)
        if same != asked:
            raise invalid("Invalid Value", "pageToken")
    answer: dict[str, Any] = {"kind": "drive#fileList", "incompleteSearch": False}
    answer["files"] = [call.show(item) for item in found[start : start + size]]
    if start + size < len(found):
        answer["nextPageToken"] = opaque([start + size, asked])
    return answer


def _reached(call: Call) -> Any:
    """Which drives a list covers: one's own files, those of every shared drive too, or of one of them."""
    request = call.request
    corpora, drive = request.argument("corpora", "user"), request.argument("driveId")
    everywhere = flag(request, "includeItemsFromAllDrives")
    if (corpora == "drive") != bool(drive):
        raise invalid("The driveId parameter must be specified if and only if corpora is set to drive.", "driveId")
    if everywhere and not call.all_drives():
        raise google_error(403, "The supportsAllDrives parameter must be true.", "teamDrivesNotSupported")
    if drive:
        if not everywhere or drive not in call.state.drives or call.email not in call.state.drives[drive].members:
            raise google_error(404, f"Shared drive not found: {drive}", "notFound", parameter="driveId")
        return lambda item: item.drive == drive
    return lambda item: everywhere or not item.drive


def _page(token: str) -> tuple[int, list[str]]:
    value = reveal(token)
    if not (isinstance(value, list) and len(value) == 2 and isinstance(value[0], int)):
        raise invalid("Invalid Value", "pageToken")
    return value[0], value[1]


def _order(key: str) -> Any:
    orders: dict[str, Any] = {
        "folder": lambda item: not item.is_folder,
        "name": lambda item: item.name,
        "name_natural": lambda item: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", item.name)],
        "createdTime": lambda item: item.created,
        "modifiedTime": lambda item: item.modified,
        "recency": lambda item: item.modified,
        "quotaBytesUsed": lambda item: len(item.content),
        "starred": lambda item: not item.starred,
    }
    if key not in orders:
        raise invalid("Invalid Value", "orderBy")
    return orders[key]


def _page_size(request: Request) -> int:
    text = request.argument("pageSize", "100")
    if not text.isdigit() or not 1 <= int(text) <= 1000:
        words = f"Invalid value '{text}'. Values must be within the range: [1, 1000]"
        raise invalid(words, "pageSize", "invalidParameter")
    return int(text)


def get(call: Call) -> object:
    """The resource, or with alt=media the content."""
    item = call.file()
    if call.request.argument("alt") != "media":
        return call.show(item)
    token = call.world.authority.access[call.request.bearer()]
    check_scopes(token, CONTENT, "drive.files.get")
    if not item.binary:
        words = "Only files with binary content can be downloaded. Use Export with Docs Editors files."
        raise google_error(403, words, "fileNotDownloadable", parameter="alt")
    if item.abusive and not flag(call.request, "acknowledgeAbuse"):
        words = "This file has been identified as malware or spam and cannot be downloaded."
        raise google_error(403, words, "cannotDownloadAbusiveFile")
    return _content(call.request, item)


def _content(request: Request, item: File) -> Response:
    """All of it, or the range asked for: no range of an empty file can be satisfied."""
    size = len(item.content)
    match = RANGE.fullmatch(request.headers.get("range", ""))
    if match is None or match.groups() == ("", ""):
        return Response(200, item.content, {"Accept-Ranges": "bytes"}, item.mime_type)
    first, last = match.groups()
    start = int(first) if first else max(0, size - int(last))
    end = min(int(last), size - 1) if first and last else size - 1
    if start >= size or end < start:
        refusal = google_error(
            416, "Request range not satisfiable", "requestedRangeNotSatisfiable", parameter="Range",
            headers={"Content-Range": f"bytes */{size}"},
        )  # fmt: skip
        raise refusal
    headers = {"Accept-Ranges": "bytes", "Content-Range": f"bytes {start}-{end}/{size}"}
    return Response(206, item.content[start : end + 1], headers, item.mime_type)


def export(call: Call) -> Response:
    item, wanted = call.file(), call.request.argument("mimeType")
    if not wanted:
        raise invalid("Required parameter: mimeType", "mimeType", "required")
    if item.binary or item.is_folder:
        raise google_error(403, "Export only supports Docs Editors files.", "fileNotExportable")
    content = item.export(wanted)
    if content is None:
        raise invalid("The requested conversion is not supported.", "convertTo", "badRequest")
    if len(content) > call.world.settings.drive_export_bytes:
        raise google_error(403, "This file is too large to be exported.", "exportSizeLimitExceeded")
    return Response(200, content, {}, wanted)


def generate_ids(call: Call) -> dict[str, Any]:
    """Ids that a create may bring along, so that its repetition is refused instead of doubled."""
    text = call.request.argument("count", "10")
    if not text.isdigit() or not 1 <= int(text) <= 1000:
        words = f"Invalid value '{text}'. Values must be within the range: [1, 1000]"
        raise invalid(words, "count", "invalidParameter")
    ids = [call.state.new_id(call.world.seed) for _ in range(int(text))]
    call.state.generated.setdefault(call.email, set()).update(ids)
    return {"kind": "drive#generatedIds", "space": "drive", "ids": ids}


def change_metadata(call: Call, item: File, body: dict[str, Any]) -> None:
    """Applies what a body sets; `parents` and `id` cannot be set there."""
    for name in ("parents", "id"):
        if name in body:
            words = f"The {name} field is not directly writable in update requests."
            raise google_error(403, words, "fieldNotWritable")
    for name, ours in WRITABLE.items():
        if name in body:
            setattr(item, ours, body[name])
    for name, bag in (("properties", item.properties), ("appProperties", item.app_properties)):
        for key, value in (body.get(name) or {}).items():
            bag.pop(key, None) if value is None else bag.__setitem__(key, str(value))
    item.modified, item.version = call.world.now(), item.version + 1


def move(call: Call, item: File) -> None:
    """addParents and removeParents: after both there is exactly one parent."""
    added = [part for part in call.request.argument("addParents").split(",") if part]
    removed = {part for part in call.request.argument("removeParents").split(",") if part}
    if not added and not removed:
        return
    parents = [identity for identity in [item.parent] if identity and identity not in removed]
    parents += [folder(call, identity).id for identity in added]
    if len(set(parents)) > 1:
        raise google_error(403, "Increasing the number of parents is not allowed", "cannotAddParent")
    item.parent = parents[0] if parents else ""


def folder(call: Call, identity: str) -> File:
    """A folder that something may be put into."""
    found = call.root() if identity == "root" else call.find(identity)
    if found is None or (found.drive and not call.all_drives()):
        raise not_found(identity)
    if not found.is_folder:
        raise google_error(403, "The specified parent is not a folder.", "parentNotAFolder")
    if found.read_only:
        raise insufficient(found.id)
    return found


def new_file(call: Call, body: dict[str, Any], *, mime_type: str, content: bytes) -> File:
    """A file as a create makes it; a given id must be one that generateIds gave out and nobody used."""
    parents = [str(parent) for parent in body.get("parents") or ["root"]]
    if len(parents) > 1:
        raise google_error(403, "A file cannot have more than one parent.", "cannotAddParent")
    parent = folder(call, parents[0])
    identity = given_id(call, body)
    check_space(call, parent, len(content))
    call.state.generated.get(call.email, set()).discard(identity)
    now = call.world.now()
    item = File(
        id=identity or call.state.new_id(call.world.seed),
        name=str(body.get("name") or "Untitled"),
        mime_type=str(body.get("mimeType") or mime_type or "application/octet-stream"),
        parent=parent.id,
        owner="" if parent.drive else call.email,
        drive=parent.drive,
        created=now,
        modified=now,
        client=call.client,
        content=content,
        description=str(body.get("description") or ""),
        properties=dict(body.get("properties") or {}),
        app_properties=dict(body.get("appProperties") or {}),
    )
    call.state.files[item.id] = item
    return item


def given_id(call: Call, body: dict[str, Any]) -> str:
    """409 when a file has it already: that is what makes a create repeatable."""
    identity = str(body.get("id") or "")
    if identity in call.state.files:
        raise google_error(409, "A file already exists with the provided ID.", "fileIdInUse")
    if identity and identity not in call.state.generated.get(call.email, set()):
        raise google_error(400, "The provided file ID is not usable.", "invalid", parameter="file.id")
    return identity


def check_space(call: Call, parent: File, size: int) -> None:
    """Shared drives do not count against anybody's storage."""
    if not parent.drive and call.state.usage(call.email) + size > call.state.limit(call.email):
        raise google_error(403, "The user's Drive storage quota has been exceeded.", "storageQuotaExceeded")


def delete(call: Call) -> None:
    """For good, the trash passed by; a folder takes along what is inside."""
    item = call.file()
    if item.read_only or (not item.drive and item.owner != call.email) or item.id == call.state.roots.get(call.email):
        raise insufficient(item.id)
    call.changed("drive.file.deleted", id=item.id, name=item.name, files=call.state.remove(item))


HANDLERS: dict[str, Handler] = {
    "drive.about.get": about,
    "drive.files.list": list_files,
    "drive.files.get": get,
    "drive.files.export": export,
    "drive.files.generateIds": generate_ids,
    "drive.files.delete": delete,
}
