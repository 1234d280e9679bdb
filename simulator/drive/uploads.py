"""Content going up: create and update, plain, as `media`, as `multipart` and `resumable`.

A resumable upload begins like any call and then lives at an address of its own, which needs no token. Chunks are
multiples of 256 KiB but for the last; 308 says how much is there (no Range: nothing); an empty PUT with `bytes */n`
asks. What was sent twice is taken once; a gap is refused."""

from __future__ import annotations

import json
import re
from typing import Any

from simulator.drive.access import Access, Call, Handler, answer, parse_error
from simulator.drive.files import change_metadata, check_space, folder, given_id, move, new_file
from simulator.drive.methods import METHODS, UPLOADS
from simulator.drive.store import DriveState, File, Session
from simulator.errors import Refusal, google_error
from simulator.routing import Router
from simulator.state import World
from simulator.wire import Request, Response, multipart_of

STEP = 256 * 1024
CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")
SESSION = "drive.upload"


def create(call: Call) -> object:
    """A new file: metadata alone, or with content by one of the three protocols."""
    if not _uploads(call):
        item = new_file(call, call.body(), mime_type="application/octet-stream", content=b"")
        return _created(call, item)
    kind = call.request.argument("uploadType")
    if kind == "resumable":
        return begin(call, None)
    metadata, mime_type, content = _whole(call, kind)
    return _created(call, new_file(call, metadata, mime_type=mime_type, content=content))


def update(call: Call) -> object:
    """Metadata, parents, and content where it comes along."""
    item = call.writable()
    if not _uploads(call):
        return _updated(call, item, call.body(), None)
    kind = call.request.argument("uploadType")
    if kind == "resumable":
        return begin(call, item)
    metadata, _, content = _whole(call, kind)
    return _updated(call, item, metadata, content)


def _uploads(call: Call) -> bool:
    return call.request.path.startswith("/upload/")


def _created(call: Call, item: File) -> dict[str, Any]:
    shown = call.show(item)
    size, digest = len(item.content), shown.get("md5Checksum", "")
    call.changed("drive.file.created", id=item.id, name=item.name, parent=item.parent, size=size, md5=digest)
    return shown


def _updated(call: Call, item: File, metadata: dict[str, Any], content: bytes | None) -> dict[str, Any]:
    move(call, item)
    change_metadata(call, item, metadata)
    if content is not None:
        item.content = content
    kind = "drive.file.trashed" if metadata.get("trashed") is True else "drive.file.updated"
    call.changed(kind, id=item.id, name=item.name, parent=item.parent, size=len(item.content))
    return call.show(item)


def _whole(call: Call, kind: str) -> tuple[dict[str, Any], str, bytes]:
    """Metadata, type and content of an upload in one request."""
    request = call.request
    metadata: dict[str, Any] = {}
    if kind == "media":
        mime_type, content = request.headers.get("content-type", ""), request.body
    elif kind == "multipart":
        metadata, mime_type, content = _parts(request)
    else:
        raise google_error(400, f"Invalid upload type: {kind}", "badRequest", parameter="uploadType")
    if len(content) > call.world.settings.drive_small_upload_bytes:
        raise google_error(413, "Request Too Large", "uploadTooLarge")
    return metadata, mime_type, content


def _parts(request: Request) -> tuple[dict[str, Any], str, bytes]:
    """multipart/related: the JSON first, then the content."""
    try:
        (_, first), (head, content) = multipart_of(request)
        metadata = json.loads(first or b"{}")
    except ValueError as error:
        raise google_error(400, "Bad content. Malformed multipart body.", "badContent") from error
    if not isinstance(metadata, dict):
        raise parse_error()
    kind = re.search(rb"(?i)^content-type:\s*([^\r\n;]+)", head, re.MULTILINE)
    return metadata, kind[1].decode("latin-1").strip() if kind else "", content


# Resumable


def begin(call: Call, item: File | None) -> Response:
    """A session: its address is a secret that stands for the token. What can be refused now is refused now."""
    request, now = call.request, call.world.now()
    metadata = call.body()
    length = request.headers.get("x-upload-content-length", "")
    total = int(length) if length.isdigit() else -1
    if item is None:
        given_id(call, metadata)
        check_space(call, folder(call, str((metadata.get("parents") or ["root"])[0])), max(total, 0))
    identity = call.world.authority.secret_text("ABPnzm", 100)
    call.state.sessions[identity] = Session(
        id=identity,
        account=call.email,
        client=call.client,
        target=request.target,
        metadata=metadata,
        mime_type=request.headers.get("x-upload-content-type", ""),
        total=total,
        expires_at=now + call.world.settings.drive_session_seconds,
        file_id=item.id if item else "",
    )
    call.changed("drive.upload.begun", name=str(metadata.get("name") or ""), total=total)
    origin = f"http://{request.headers.get('host', '')}"
    joint = "&" if "?" in request.target else "?"
    location = f"{origin}{request.target}{joint}upload_id={identity}"
    return Response(200, b"", {"Location": location, "X-GUploader-UploadID": identity})


class Resume:
    """A PUT to a session."""

    def __init__(self, world: World) -> None:
        self.world = world

    def __call__(self, request: Request) -> Response:
        session = self.world.part(DriveState).sessions.get(request.argument("upload_id"))
        if session is None or session.expires_at <= self.world.now():
            raise plain(404, "Not Found")
        request.account = session.account
        if session.done:
            return self._finished(request, session)
        start, end, total = _range(request)
        if start is None:
            return _so_far(session)
        _check(session, request, start, end, total)
        last = (total == -1 and "content-range" not in request.headers) or end + 1 == total
        self._keep(session, request.body, start, last=last)
        request.effect = {"kind": "drive.upload.chunk", "stored": len(session.data), "total": total}
        if not last:
            return _so_far(session)
        return self._finish(request, session)

    def _keep(self, session: Session, body: bytes, start: int, *, last: bool) -> None:
        fresh = body[len(session.data) - start :]
        if not last:
            limit = self.world.settings.drive_chunk_keeps_bytes or len(fresh)
            kept = min(limit, len(fresh))
            fresh = fresh[: kept - (len(session.data) + kept) % STEP] if kept else b""
        session.data += fresh

    def _finish(self, request: Request, session: Session) -> Response:
        """All is there: the file comes to be. What changed since the beginning may still refuse it."""
        call = Call(self.world, request, session.account, session.client, narrow=False)
        content = bytes(session.data)
        if session.file_id:
            item = call.find(session.file_id)
            if item is None:
                raise plain(404, "Not Found")
            shown = _updated(call, item, session.metadata, content)
        else:
            item = new_file(call, session.metadata, mime_type=session.mime_type, content=content)
            shown = _created(call, item)
        session.done, session.data = item.id, bytearray()
        return answer(request, shown)

    def _finished(self, request: Request, session: Session) -> Response:
        call = Call(self.world, request, session.account, session.client, narrow=False)
        item = call.find(session.done)
        if item is None:
            raise plain(404, "Not Found")
        return answer(request, call.show(item))


def _range(request: Request) -> tuple[int | None, int, int]:
    """(first, last, total): first None when only the state is asked, total -1 when unknown. No header: all at once."""
    header = request.headers.get("content-range")
    if header is None:
        return 0, len(request.body) - 1, -1
    match = CONTENT_RANGE.fullmatch(header.strip())
    if match is None:
        raise plain(400, "Failed to parse Content-Range header.")
    first, last, total = match.groups()
    known = -1 if total == "*" else int(total)
    return (int(first), int(last), known) if first else (None, -1, known)


def _check(session: Session, request: Request, start: int, end: int, total: int) -> None:
    stored, came = len(session.data), len(request.body)
    if came != end - start + 1:
        raise plain(400, f"Invalid request.  There were {came} byte(s) in the request body.  There should have been "
            f"{end - start + 1} byte(s) (starting at offset {start} and ending at offset {end}) according to the "
            "Content-Range header.")  # fmt: skip
    if start > stored:
        raise plain(400, f"Invalid request.  According to the Content-Range header, the upload offset is {start} "
            f"byte(s), which exceeds already uploaded size of {stored} byte(s).")  # fmt: skip
    whole = total if total >= 0 else session.total
    if session.total >= 0 and total >= 0 and total != session.total:
        raise plain(400, "Invalid request.  The total size differs from the one the upload was begun with.")
    if 0 <= whole < end + 1:
        raise plain(400, "Invalid request.  The range goes beyond the total size.")
    if "content-range" in request.headers and end + 1 != total and came < STEP:
        raise plain(400, "Invalid request.  The number of bytes uploaded is required to be equal or greater than "
            f"{STEP}, except for the final request (it's recommended to be the exact multiple of {STEP}).  The "
            f"received request contained {came} bytes, which does not meet this requirement.")  # fmt: skip


def _so_far(session: Session) -> Response:
    """308: no Range header while nothing is stored."""
    stored = len(session.data)
    headers = {"X-GUploader-UploadID": session.id}
    return Response(308, b"", headers | ({"Range": f"bytes=0-{stored - 1}"} if stored else {}))


def plain(status: int, words: str) -> Refusal:
    """The upload server answers in plain text, not in the API's JSON."""
    return Refusal(Response(status, words.encode(), {}, "text/plain; charset=utf-8"))


def register_uploads(router: Router, world: World) -> None:
    for operation in UPLOADS:
        method = METHODS[operation]
        router.add(
            method.http,
            f"/upload{method.path}",
            "google",
            operation,
            Access(world, operation, method, HANDLERS[operation]),
        )
        router.add("PUT", f"/upload{method.path}", "google", SESSION, Resume(world))


HANDLERS: dict[str, Handler] = {"drive.files.create": create, "drive.files.update": update}
