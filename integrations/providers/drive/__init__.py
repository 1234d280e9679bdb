"""CLOUD_STORAGE: Google Drive API v3 (developers.google.com/workspace/drive/api, discovery revision 20261106).
docs/providers/drive.md is the page for users.

The access token lives an hour; the service refreshes it (`refresh` says how) and hands it out through `self.grant`.
Nothing holds more of a file than one chunk: uploads are resumable, downloads go by ranges. An upload brings an id that
Drive gave out before, so a repetition is refused (409) instead of doubled.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from django.conf import settings

from core.errors import (
    InvalidInput,
    NotConfigured,
    ProviderOutcomeUnknown,
    ProviderRateLimited,
    ProviderRejected,
    ProviderUnavailable,
    TooLarge,
)
from core.http import Response, clean_words, parse_retry_after, request
from integrations.fields import Field
from integrations.providers.base import FILES, Action, Checked, IntegrationProvider, Pace
from integrations.providers.drive import answers, resumable
from integrations.records import RemoteFile
from integrations.token_endpoint import Refusals, TokenAnswer, read_tokens

ROOT = "root"
"""My Drive, to Drive itself."""
APPS = "application/vnd.google-apps."
UNTYPED = "application/octet-stream"
EXPORTS = {
    f"{APPS}document": "application/pdf",
    f"{APPS}presentation": "application/pdf",
    f"{APPS}drawing": "application/pdf",
    f"{APPS}spreadsheet": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
"""Types that have no bytes of their own → what they are fetched as unless told."""
MOST_BYTES = 25 * 1024 * 1024
"""Of a file that travels inside an answer or a request of ours, as base64."""
LIST_UNITS, DOWNLOAD_UNITS, WRITE_UNITS, UNITS = 100, 200, 50, 5
"""Quota units (…/guides/limits, projects since May 2026)."""
THROTTLED = frozenset({"userRateLimitExceeded", "rateLimitExceeded", "sharingRateLimitExceeded"})
"""Reasons of a 403 that pass; every other one stays."""
SHOWN = "id,name,mimeType,size,modifiedTime,webViewLink,md5Checksum"
BOTH: dict[str, Any] = {"supportsAllDrives": "true"}
ID = re.compile(r"[A-Za-z0-9_\-]{1,200}")
MIME_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+\-]{1,100}/[A-Za-z0-9!#$&^_.+\-]{1,100}")

FOLDER_FIELD = Field("folderId", "Folder", required=False, help="Default: the root folder of this integration.")


class Drive(IntegrationProvider):
    """One account's Drive, or the part of it that was opened to the client."""

    key = "CLOUD_STORAGE"
    name = "Google Drive"
    description = "Files in a folder of Google Drive."
    config_fields: ClassVar[tuple[Field, ...]] = (
        Field("rootFolderId", "Root folder", required=False, help="Its id, from its address. Default: My Drive."),
    )
    credential_fields: ClassVar[tuple[Field, ...]] = (
        Field("refreshToken", "Refresh token", kind="key", help="From a consent with access_type=offline."),
        Field("accessToken", "Access token", kind="key", help="Replaced by itself when it expires."),
        Field("clientId", "OAuth client id", kind="key", required=False, help="Default: this server's Google client."),
        Field("clientSecret", "OAuth client secret", kind="key", required=False),
    )
    actions: ClassVar[tuple[Action, ...]] = (
        Action(
            "list_files",
            "List files",
            fields=(
                FOLDER_FIELD,
                Field("q", "Words of the name", required=False, help="Words that names begin with."),
                Field("limit", "Files a page", kind="number", least=1, longest=1000, default=100),
                Field("pageToken", "Page", required=False, longest=2000, help="nextPageToken of the page before."),
            ),
            idempotent=True,
        ),
        Action(
            "upload",
            "Upload a file",
            fields=(
                Field("fileName", "Name"),
                Field("contentType", "Type", required=False, default=UNTYPED),
                Field("contentBase64", "Content", kind="base64", required=False, default="", longest=MOST_BYTES),
                FOLDER_FIELD,
                Field("fileId", "Id", required=False, help="From an upload of unknown outcome: repeats that one."),
            ),
        ),
        Action(
            "download",
            "Download a file",
            fields=(
                Field("fileId", "File"),
                Field("exportAs", "Type to export to", required=False, help="For Docs, Sheets, Slides and drawings."),
            ),
            idempotent=True,
        ),
        Action(
            "copy_document",
            "Copy a document there",
            fields=(Field("documentId", "Document", help="One of this workspace that is ready."), FOLDER_FIELD),
            help="Of any size, in the background, once.",
            queued=True,
        ),
        Action(
            "save_document",
            "Store a file as a document",
            fields=(
                Field("fileId", "File"),
                Field("exportAs", "Type to export to", required=False, help="For Docs, Sheets, Slides and drawings."),
            ),
            help="Of any size, in the background. The file becomes a document of an entity.",
            queued=True,
            brings=True,
        ),
    )
    capabilities: ClassVar[frozenset[str]] = frozenset({FILES})
    pace = Pace(units=325_000, window_seconds=60.0)
    refreshes: ClassVar[bool] = True

    @classmethod
    def validate(cls, *, config: Mapping[str, Any], credentials: Mapping[str, Any]) -> None:
        """A client of one's own is an id and a secret."""
        if bool(credentials.get("clientId")) != bool(credentials.get("clientSecret")):
            missing = "clientSecret" if credentials.get("clientId") else "clientId"
            raise InvalidInput(fields={f"credentials.{missing}": ["Give both clientId and clientSecret, or neither."]})
        _checked_id(config.get("rootFolderId"), "config.rootFolderId")

    @classmethod
    def refresh(cls, credentials: Mapping[str, Any]) -> TokenAnswer:
        """A new access token (developers.google.com/identity/protocols/oauth2/web-server#offline)."""
        client_id = credentials.get("clientId") or settings.GOOGLE_CLIENT_ID
        client_secret = credentials.get("clientSecret") or settings.GOOGLE_CLIENT_SECRET
        if not client_id or not client_secret:
            raise NotConfigured(
                "The token cannot be refreshed: set GOOGLE_CLIENT_ID and GOOGLE_CLIENT_SECRET on this server, or "
                "clientId and clientSecret of this integration."
            )
        form = {
            "grant_type": "refresh_token",
            "refresh_token": str(credentials["refreshToken"]),
            "client_id": str(client_id),
            "client_secret": str(client_secret),
        }
        response = request("POST", settings.GOOGLE_TOKEN_URL, data=form, timeout=20.0, idempotent=True)
        if not response.ok:
            Refusals("Google").raise_for(response, stage="refresh")
        answer = response.json_object()
        if not isinstance(answer.get("access_token"), str):
            raise ProviderUnavailable("Google's answer to a refresh held no access token.")
        return read_tokens(answer)

    # Check

    def check(self) -> Checked:
        """Whose Drive it is, the root folder, and whether the token may write."""
        told = self._get("/about", fields="user(displayName,emailAddress),storageQuota(limit,usage)")
        account = clean_words(str(answers.inner(told, "user").get("emailAddress") or "an account"), 320)
        details: dict[str, Any] = {"account": account, "storage": answers.quota(answers.inner(told, "storageQuota"))}
        missing = self._writes() or ""
        if root := self.config.get("rootFolderId"):
            folder = self._folder(str(root), more=",trashed,capabilities(canAddChildren)")
            details["folder"] = clean_words(str(folder.get("name") or ""), 255)
            if folder.get("trashed"):
                raise ProviderRejected("The root folder is in the trash.", code="root_folder_missing")
            if not answers.inner(folder, "capabilities").get("canAddChildren"):
                missing = missing or f"{account} may not add files to the root folder."
        return Checked(missing or f"Connected to the Drive of {account}.", limited=bool(missing), details=details)

    def _writes(self) -> str:
        """Why uploads will not work, "" where they will: asking for an id needs a scope that may create files."""
        try:
            self.new_file_id()
        except ProviderRejected as error:
            return f"Files can be read but not uploaded: {error.message}"
        return ""

    # Actions

    def perform_list_files(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """One page of a folder, folders first."""
        folder = self._folder(self._folder_id(given))
        words = [f"name contains '{_escaped(word)}'" for word in str(given.get("q") or "").split()]
        where: dict[str, Any] = {"includeItemsFromAllDrives": "true", **BOTH}
        if drive := folder.get("driveId"):
            where |= {"corpora": "drive", "driveId": drive}
        answer = self._get(
            "/files",
            units=LIST_UNITS,
            q=" and ".join([f"'{_escaped(str(folder['id']))}' in parents", "trashed = false", *words]),
            orderBy="folder,name",
            pageSize=given.get("limit") or 100,
            pageToken=given.get("pageToken") or None,
            fields=f"nextPageToken,incompleteSearch,files({SHOWN})",
            **where,
        )
        return {
            "files": answers.files(answer),
            "nextPageToken": answer.get("nextPageToken"),
            "incomplete": bool(answer.get("incompleteSearch")),
        }

    def perform_upload(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """A new file; the same name twice makes two, as always in Drive."""
        content = base64.b64decode(given.get("contentBase64") or "")
        kind = str(given.get("contentType") or UNTYPED)
        if not MIME_TYPE.fullmatch(kind) or kind.startswith(APPS):
            raise InvalidInput(fields={"contentType": ["This must be a type of bytes, such as application/pdf."]})
        file = self.put(
            lambda start, length: content[start : start + length],
            len(content),
            name=str(given["fileName"]),
            kind=kind,
            folder=self._folder_id(given),
            file_id=_checked_id(given.get("fileId"), "fileId"),
        )
        return answers.shown(file)

    def perform_download(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """A file's bytes; a Docs Editors file in the form it is exported to."""
        file = self.open_file(given)
        if (file.size or 0) > MOST_BYTES:
            raise TooLarge(f"The file has {file.size} bytes; at most {MOST_BYTES} can be answered.")
        content = b"".join(file.chunks)
        return {
            "fileName": file.name,
            "contentType": file.content_type,
            "size": len(content),
            "contentBase64": base64.b64encode(content).decode(),
        }

    def open_file(self, given: Mapping[str, Any]) -> RemoteFile:
        """`integrations.records.FileStore`."""
        identity = str(_checked_id(given["fileId"], "fileId"))
        file = self._get(f"/files/{identity}", fields=SHOWN, **BOTH)
        name, kind = clean_words(str(file.get("name") or ""), 255), str(file.get("mimeType") or "")
        if kind.startswith(APPS):
            kind = str(given.get("exportAs") or EXPORTS.get(kind, ""))
            return RemoteFile(name, kind, None, (self._export(identity, kind) for _ in range(1)))
        return RemoteFile(name, kind, answers.size(file) or 0, self._content(identity, file))

    def _content(self, identity: str, file: Mapping[str, Any]) -> Iterator[bytes]:
        digest = hashlib.md5(usedforsecurity=False)
        for piece in self.pieces(identity, answers.size(file) or 0):
            digest.update(piece)
            yield piece
        answers.check_whole(digest.hexdigest(), file)

    def send_file(
        self, read: resumable.Read, size: int, *, name: str, content_type: str, file_id: str, given: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """`integrations.records.FileStore`."""
        kind = UNTYPED if content_type.startswith(APPS) else content_type
        return answers.shown(self.put(read, size, name=name, kind=kind, folder=self._folder_id(given), file_id=file_id))

    # Bytes

    def put(
        self, read: resumable.Read, size: int, *, name: str, kind: str, folder: str, file_id: str | None
    ) -> dict[str, Any]:
        """A content of `size` bytes as a new file, in chunks. ProviderOutcomeUnknown carries `fileId`, with which a
        repetition makes no second file; after every other error there is none."""
        identity = file_id or self.new_file_id()
        metadata = {"id": identity, "name": name, "mimeType": kind, "parents": [folder]}
        for _ in range(2):  # a session that was forgotten is begun anew, once
            response = self._begin(metadata, size)
            if response.ok:
                response = self._send(answers.session_of(response), read, size, identity)
                if response.status == 404:
                    continue
            if response.status == 409 and answers.reason(response) == "fileIdInUse":
                return self._made_before(identity, name, size)
            return self.judged(response).json_object()
        raise ProviderUnavailable("Google Drive forgot the upload twice. Nothing was stored.")

    def _begin(self, metadata: Mapping[str, Any], size: int) -> Response:
        """Ask for an address to send chunks to. Nothing is made by it, so it may be repeated."""
        return self.ask_raw(
            "POST",
            f"{_origin()}/upload/drive/v3/files",
            units=WRITE_UNITS,
            params={"uploadType": "resumable", "fields": SHOWN, **BOTH},
            headers={"X-Upload-Content-Type": str(metadata["mimeType"]), "X-Upload-Content-Length": str(size)},
            json=metadata,
            idempotent=True,
        )

    def _send(self, address: str, read: resumable.Read, size: int, identity: str) -> Response:
        try:
            return resumable.send(address, read, size, timeout=self.timeout)
        except ProviderOutcomeUnknown as error:
            words = f"{error.message} Repeat the upload with fileId {identity}: that makes no second one."
            raise ProviderOutcomeUnknown(words, extra={"fileId": identity}) from error

    def _made_before(self, identity: str, name: str, size: int) -> dict[str, Any]:
        """The file that has the id already: an earlier try of this upload, or the caller took somebody else's id."""
        file = self._get(f"/files/{identity}", fields=SHOWN, **BOTH)
        if (file.get("name"), file.get("size")) != (name, str(size)):
            raise ProviderRejected("Another file has this id already.", code="file_id_in_use")
        return file

    def pieces(self, identity: str, size: int) -> Iterator[bytes]:
        """The content of a file by ranges. An empty one has none: any range of it would be refused (416)."""
        for start in range(0, size, resumable.CHUNK_BYTES):
            end = min(start + resumable.CHUNK_BYTES, size) - 1
            response = self.ask(
                "GET",
                f"{_origin()}/drive/v3/files/{identity}",
                units=DOWNLOAD_UNITS,
                params={"alt": "media", **BOTH},
                headers={"Range": f"bytes={start}-{end}"},
            )
            if len(response.content) != end - start + 1:
                raise ProviderUnavailable("Google Drive gave another part of the file than asked for.")
            yield response.content

    def _export(self, identity: str, kind: str) -> bytes:
        if not kind:
            raise ProviderRejected("This has no content to download: it is a folder or a link.")
        params = {"mimeType": kind}
        url = f"{_origin()}/drive/v3/files/{identity}/export"
        response = self.ask("GET", url, units=DOWNLOAD_UNITS, params=params)
        if response.headers.get("content-type", "").partition(";")[0].strip() != kind:
            raise ProviderUnavailable("Google Drive gave something else than the export asked for.")
        return response.content

    # Requests

    def ask_raw(self, method: str, url: str, *, units: int = UNITS, **how: Any) -> Response:
        """With the token; once more with a fresh one where it is refused."""
        token = self.grant.access_token()
        response = super().ask_raw(method, url, units=units, bearer=token, **how)
        if response.status != 401:
            return response
        fresh = self.grant.access_token(refused=token)
        if fresh == token:
            return response
        return super().ask_raw(method, url, units=units, bearer=fresh, **how)

    def refusal(self, response: Response) -> None:
        """Drive says with 403 that it is asked too often, and with 404 also "not for this client"."""
        if response.status == 403 and answers.reason(response) in THROTTLED:
            wait = parse_retry_after(response.headers.get("retry-after"))
            raise ProviderRateLimited("Google Drive asks to wait.", retry_after=wait)
        if response.status == 404:
            words = clean_words(str(answers.error(response).get("message") or "Not found."))
            raise ProviderRejected(
                f"Google Drive: {words} It is not there, or this client was not given access to it.",
                code="remote_not_found",
            )

    def _get(self, path: str, *, units: int = UNITS, **params: Any) -> dict[str, Any]:
        response = self.ask("GET", f"{_origin()}/drive/v3{path}", units=units, params=params)
        return response.json_object()

    def new_file_id(self) -> str:
        """One that no file has yet; an upload under it is never made twice."""
        ids = self._get("/files/generateIds", count=1, space="drive", type="files").get("ids")
        if not isinstance(ids, list) or not ids or not isinstance(ids[0], str):
            raise ProviderUnavailable("Google Drive gave no id for a new file.")
        return ids[0]

    def _folder_id(self, given: Mapping[str, Any]) -> str:
        return _checked_id(given.get("folderId"), "folderId") or str(self.config.get("rootFolderId") or ROOT)

    def _folder(self, identity: str, more: str = "") -> dict[str, Any]:
        """A folder that is there. My Drive is not asked for: a client with narrow access may use but not see it."""
        if identity == ROOT:
            return {"id": ROOT}
        folder = self._get(f"/files/{identity}", fields=f"id,name,mimeType,driveId{more}", **BOTH)
        if folder.get("mimeType") != answers.FOLDER or not folder.get("id"):
            raise ProviderRejected("That is a file, not a folder.", code="not_a_folder")
        return folder


def _origin() -> str:
    return str(settings.GOOGLE_DRIVE_API_URL).rstrip("/")


def _checked_id(value: object, name: str) -> str | None:
    """An id goes into a path: nothing else may come along."""
    if value and not ID.fullmatch(str(value)):
        raise InvalidInput(fields={name: ["This must be an id as it stands in a file's address."]})
    return str(value) if value else None


def _escaped(text: str) -> str:
    """For a value of `q` (…/guides/ref-search-terms)."""
    return text.replace("\\", "\\\\").replace("'", "\\'")
