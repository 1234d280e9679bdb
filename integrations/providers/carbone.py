"""DOCUMENT_ENGINE: documents from templates and data, by Carbone, in its cloud or on a server of one's own
(carbone.io/documentation/developer/http-api). docs/providers/carbone.md is the page for users.

Written for version 5 of the API; what a version 4 can do works too. Rendering is not idempotent but harmless (it costs
a credit), so it is repeated twice at most where the server did not answer. What the server calls a file is never a
path.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import time
import zoneinfo
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.parse import quote, unquote, urlsplit

from core.errors import (
    InvalidInput,
    ProviderRejected,
    ProviderUnavailable,
    UnsupportedOperation,
)
from core.http import TOO_LARGE, Response, clean_words
from integrations.fields import Field
from integrations.providers.base import Action, Checked, IntegrationProvider

CLOUD = "https://api.carbone.io"
VERSION = {"carbone-version": "5"}
NO_TEMPLATE = "0" * 64
"""An id no template has: an old server answers 401 or 404 to it, by the key."""
PAGE = 100
MAX_PAGES = 50
MAX_TEMPLATE = 20 * 1024 * 1024
MAX_DOCUMENT = 20 * 1024 * 1024
RENDER_SECONDS = 65.0
"""Carbone gives up on a document after 60."""
RENDER_SECONDS_IN_ALL = 90.0
MOST_REPEATS = 2
WORTH_ANOTHER = frozenset({502, 503, 504})
LEAST_SECONDS = 5.0
FORMATS = (
    "pdf", "docx", "xlsx", "pptx", "odt", "ods", "odp", "html", "png", "jpg", "csv", "txt", "xml", "rtf", "epub",
)  # fmt: skip
FAULTY_TEMPLATE = "error while rendering template"
FILE_NAME = re.compile(r'filename="?([^";]+)')
RENDER_ID = re.compile(r"[\w\-][\w.\-]{1,250}")
NOT_IN_A_NAME = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|\u202a-\u202e\u2066-\u2069]+')


class Carbone(IntegrationProvider):
    """One Carbone."""

    key = "DOCUMENT_ENGINE"
    name = "Carbone"
    description = "Documents (PDF, Word, Excel, …) from templates and data."
    config_fields: ClassVar[tuple[Field, ...]] = (
        Field(
            "baseUrl", "Server", kind="url", required=False, default=CLOUD, destination=True,
            help="Carbone's cloud, or where your own server is, e.g. https://carbone.example.org.",
        ),
    )  # fmt: skip
    credential_fields: ClassVar[tuple[Field, ...]] = (
        Field("apiKey", "API key", kind="key", help="A production or test token. A test token marks every PDF."),
    )
    actions: ClassVar[tuple[Action, ...]] = (
        Action(
            "list_templates",
            "List templates",
            (
                Field("search", "Search", required=False, help="In names, or an exact id."),
                Field("category", "Category", required=False),
            ),
            idempotent=True,
        ),
        Action(
            "upload_template",
            "Upload a template",
            (
                Field("content", "File", kind="base64", longest=MAX_TEMPLATE),
                Field("fileName", "File name", required=False, default="template"),
                Field("name", "Name", required=False),
                Field("category", "Category", required=False),
                Field("comment", "Comment", required=False),
                Field("tags", "Tags", many=True, required=False, longest=20),
                Field("versioning", "Keep versions", kind="boolean", required=False, default=False),
                Field("templateId", "Template", required=False, help="The template to add a version to."),
            ),
            help="Without versions the same file gets the same id, however often it is uploaded.",
        ),
        Action(
            "render",
            "Render a document",
            (
                Field("templateId", "Template", help="The id of a template, or of one version of it."),
                Field("data", "Data", kind="json", help="What {d.…} in the template stands for."),
                Field(
                    "convertTo", "Format", kind="choice", choices=FORMATS, required=False, help="Else the template's."
                ),
                Field("timezone", "Time zone", required=False, default="UTC", help="Of dates, e.g. Europe/Berlin."),
                Field("lang", "Language", required=False, longest=20, help="Of numbers and dates, e.g. en-us."),
                Field("reportName", "File name", required=False, help="May hold tags: Invoice {d.number}."),
            ),
            help="Costs a credit. What is rendered becomes a document of an entity.",
            brings=True,
        ),
    )

    @classmethod
    def validate(cls, *, config: Mapping[str, Any], credentials: Mapping[str, Any]) -> None:
        """Paths are appended to the address."""
        if urlsplit(str(config.get("baseUrl", ""))).query:
            raise InvalidInput(fields={"config.baseUrl": ["This must not have a query."]})

    def check(self) -> Checked:
        """The list of templates: `/status` answers without a key, so it proves nothing."""
        response = self.ask_raw("GET", self._url("/templates"), params={"limit": 1}, **self._known())
        if response.status == 404:
            return self._check_old()
        _data(self.judged(response))
        if self._is_cloud() or not self._open_to_all():
            return Checked("The key is good.", details={"apiVersion": 5})
        return Checked("The server works. It takes any key: its authentication is off.", details={
            "apiVersion": 5, "authentication": False})  # fmt: skip

    def perform_list_templates(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """{"templates": [{"id", "versionId", "name", "type", "category", "tags", "size", "createdAt", "deployedAt",
        "expiresAt"}], "complete"}, all pages, 5,000 at most."""
        wanted = {name: given[name] for name in ("search", "category") if given.get(name)}
        templates: list[Mapping[str, Any]] = []
        for page, last in self._pages(wanted):
            templates += page
            if last:
                return {"templates": templates, "complete": True}
        return {"templates": templates, "complete": False}

    def perform_upload_template(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """{"templateId", "versionId"}; the second is None where no versions are kept."""
        versioned = bool(given.get("versioning") or given.get("templateId"))
        boundary = f"patchbay{secrets.token_hex(16)}"
        headers = {**VERSION, "content-type": f"multipart/form-data; boundary={boundary}"}
        response = self.ask(
            "POST", self._url("/template"), bearer=self.need("apiKey"), headers=headers,
            content=_form(boundary, given), idempotent=not versioned, timeout=RENDER_SECONDS,
        )  # fmt: skip
        data = _data(response)
        identity = data.get("templateId") or data.get("id") or data.get("versionId")
        if not identity:
            raise ProviderUnavailable("Carbone took the template but named no id for it.")
        version = data.get("versionId")
        return {"templateId": str(identity), "versionId": str(version) if version else None}

    def perform_render(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """{"content" (base64), "contentType", "fileName", "size"}."""
        body = {
            name: given[name] for name in ("data", "convertTo", "lang", "reportName") if given.get(name) is not None
        }
        # Carbone's own default is Europe/Paris.
        body["timezone"] = given.get("timezone") or "UTC"
        if body["timezone"] not in zoneinfo.available_timezones():
            raise InvalidInput(fields={"timezone": ["There is no such time zone."]})
        response = self._rendered(str(given["templateId"]), body)
        kind = response.headers.get("content-type", "application/octet-stream").partition(";")[0].strip().lower()
        wanted = str(given.get("convertTo") or "")
        if kind == "text/html" and wanted not in ("", "html"):
            raise ProviderUnavailable(f"Something before Carbone answered with a page instead of {wanted}.")
        return {
            "content": base64.b64encode(response.content).decode(), "contentType": kind,
            "fileName": _file_name(response, wanted), "size": len(response.content),
        }  # fmt: skip

    def refusal(self, response: Response) -> None:
        """`success: false`, whatever the status; a template that cannot be rendered is a 500 that lasts."""
        answer = _own(response)
        if answer is None or answer["success"] or response.status in (401, 429):
            return
        words = clean_words(str(answer.get("error") or ""))
        if response.status < 500 or FAULTY_TEMPLATE in words.lower():
            raise ProviderRejected(f"Carbone: {words or 'refused without a reason'}")

    # Asking

    def _url(self, path: str) -> str:
        return f"{self.need('baseUrl').rstrip('/')}{path}"

    def _known(self) -> dict[str, Any]:
        return {"bearer": self.need("apiKey"), "headers": VERSION}

    def _is_cloud(self) -> bool:
        return (urlsplit(self.need("baseUrl")).hostname or "").endswith(".carbone.io")

    def _open_to_all(self) -> bool:
        """Whether the same question without a key is answered, as by one's own servers unless told otherwise."""
        return self.ask_raw("GET", self._url("/templates"), params={"limit": 1}, headers=VERSION).ok

    def _check_old(self) -> Checked:
        """Servers before version 5 have no list; asking for a template that cannot be there tells a good key by 404."""
        response = self.ask_raw("GET", self._url(f"/template/{NO_TEMPLATE}"), **self._known())
        if response.status != 404 or _own(response) is None:
            if response.status != 404:
                self.judged(response)
            raise ProviderRejected("What answers at this address is not Carbone.")
        words = "The key is good. The server is older than version 5: it cannot list templates."
        return Checked(words, limited=True, details={"apiVersion": 4})

    def _pages(self, wanted: Mapping[str, Any]) -> Iterator[tuple[list[Mapping[str, Any]], bool]]:
        """Each page, and whether it is the last."""
        cursor = ""
        for _ in range(MAX_PAGES):
            query = {"limit": PAGE, **wanted, **({"cursor": cursor} if cursor else {})}
            response = self.ask_raw("GET", self._url("/templates"), params=query, **self._known())
            if response.status == 404:
                raise UnsupportedOperation("This Carbone is older than version 5: it cannot list templates.")
            answer = _success(self.judged(response))
            found = answer.get("data") or []
            if not isinstance(found, list):
                raise ProviderUnavailable("Carbone answered with a list of another form than expected.")
            following = str(answer.get("nextCursor") or "") if answer.get("hasMore") else ""
            yield [_template(item) for item in found if isinstance(item, dict)], not following
            if not following or following == cursor:
                return
            cursor = following

    def _rendered(self, template_id: str, body: Mapping[str, Any]) -> Response:
        """The document. An old server answers with an id under which it lies, once and for whoever asks."""
        url = self._url(f"/render/{quote(template_id, safe='')}?download=true")
        response = self._judged_document(self._ask_patiently(url, json.dumps(body, ensure_ascii=False).encode()))
        if not _is_json(response):
            return response
        render_id = str(_data(response).get("renderId", ""))
        if not RENDER_ID.fullmatch(render_id):
            raise ProviderUnavailable("Carbone rendered the document but did not say where it is.")
        # It is gone after the first byte was read: never asked for twice, and without the key.
        return self._judged_document(self._document("GET", self._url(f"/render/{render_id}"), headers=VERSION))

    def _ask_patiently(self, url: str, body: bytes) -> Response:
        """The answer, asked for again at once where none came or a proxy had none, within one span of time."""
        ends = time.monotonic() + RENDER_SECONDS_IN_ALL
        for _ in range(MOST_REPEATS):
            try:
                response = self._ask_to_render(url, body, ends)
            except ProviderUnavailable:
                if ends - time.monotonic() < LEAST_SECONDS:
                    raise
                continue
            again = response.status in WORTH_ANOTHER and "retry-after" not in response.headers
            if not again or ends - time.monotonic() < LEAST_SECONDS:
                return response
        return self._ask_to_render(url, body, ends)

    def _ask_to_render(self, url: str, body: bytes, ends: float) -> Response:
        seconds = min(RENDER_SECONDS, ends - time.monotonic())
        headers = {**VERSION, "content-type": "application/json"}
        return self._document("POST", url, bearer=self.need("apiKey"), headers=headers, content=body, timeout=seconds)

    def _document(self, method: str, url: str, **how: Any) -> Response:
        """One request, never repeated by itself, whose answer may be a file of `MAX_DOCUMENT` bytes."""
        try:
            response = self.ask_raw(method, url, max_bytes=MAX_DOCUMENT, idempotent=False, **how)
        except ProviderUnavailable as error:
            if error.code == TOO_LARGE:
                raise ProviderRejected(f"The document is larger than {MAX_DOCUMENT} bytes.") from error
            raise ProviderUnavailable(error.message) from error
        # Whether it was rendered is of no interest without the document: no failure is an "unknown outcome".
        return replace(response, idempotent=True)

    def _judged_document(self, response: Response) -> Response:
        judged = self.judged(response)
        if not judged.content:
            raise ProviderUnavailable("Carbone answered with an empty document.")
        return judged


def _own(response: Response) -> Mapping[str, Any] | None:
    """An answer of Carbone's own, which says whether it succeeded; None where this is a file or something else's."""
    if not _is_json(response):
        return None
    try:
        answer = response.json()
    except ProviderUnavailable:
        return None
    return answer if isinstance(answer, dict) and isinstance(answer.get("success"), bool) else None


def _is_json(response: Response) -> bool:
    return "json" in response.headers.get("content-type", "")


def _success(response: Response) -> dict[str, Any]:
    """An answer that says it succeeded."""
    answer = response.json_object()
    if answer.get("success") is not True:
        raise ProviderUnavailable("The server's answer is not one of Carbone's.")
    return answer


def _data(response: Response) -> dict[str, Any]:
    data = _success(response).get("data")
    return data if isinstance(data, dict) else {}


def _template(item: Mapping[str, Any]) -> Mapping[str, Any]:
    """One template as we show it. Without versions it has no id and goes by its version's."""
    tags = item.get("tags")
    return {
        "id": str(item.get("id") or item.get("versionId") or ""),
        "versionId": str(item["versionId"]) if item.get("versionId") else None,
        "name": str(item.get("name") or ""),
        "type": str(item.get("type") or ""),
        "category": str(item.get("category") or ""),
        "tags": [str(tag) for tag in tags] if isinstance(tags, list) else [],
        "size": item.get("size") if isinstance(item.get("size"), int) else None,
        "createdAt": _moment(item.get("createdAt")),
        "deployedAt": _moment(item.get("deployedAt")),
        "expiresAt": _moment(item.get("expireAt")),
    }


def _moment(seconds: object) -> str | None:
    if isinstance(seconds, bool) or not isinstance(seconds, int) or not 0 < seconds < 42_000_000_000:
        return None  # 42000000000 stands for "now" in what is sent
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _form(boundary: str, given: Mapping[str, Any]) -> bytes:
    """The upload's form. The file comes last: what follows it is not read."""
    values = {
        "versioning": "true" if given.get("versioning") or given.get("templateId") else "",
        "id": given.get("templateId"),
        "name": given.get("name"),
        "comment": given.get("comment"),
        "category": given.get("category"),
        "tags": json.dumps(given["tags"]) if given.get("tags") else "",
    }
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in values.items()
        if value
    ]
    file_name = NOT_IN_A_NAME.sub("_", str(given.get("fileName") or "template"))
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="template"; filename="{file_name}"\r\n'
    parts.append(f"{head}Content-Type: application/octet-stream\r\n\r\n".encode())
    return b"".join(parts) + base64.b64decode(given["content"]) + f"\r\n--{boundary}--\r\n".encode()


def _file_name(response: Response, wanted: str) -> str:
    """What the document is called, fit to be shown and stored: a name, never a path."""
    found = FILE_NAME.search(response.headers.get("content-disposition", ""))
    name = NOT_IN_A_NAME.sub("_", unquote(found[1]) if found else "").strip(" .")[:150]
    return name or f"document.{wanted or 'bin'}"
