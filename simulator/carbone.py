"""Carbone: stored templates and documents rendered from them, cloud or on premises.

Its paths are Carbone's below /carbone, as behind a reverse proxy, because another vendor has /templates too. By default
a server of version 5 that asks for a key; `PATCH /_control/carbone` makes it one of version 4, or one without
authentication, as servers on premises are by default. Documents are real: `carbone_documents` writes them from the
template's text and the data (reference workspace 4).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from simulator import control
from simulator.carbone_documents import FORMATS, TemplateFault, fill, is_template, kind_of, produce
from simulator.errors import TYPICAL, Refusal
from simulator.routing import Router
from simulator.state import World
from simulator.wire import Request, Response, json_response, multipart_of

VENDOR = "carbone"
ROOT = "/carbone"
API_KEY, TEST_KEY = "simulator-carbone-key", "simulator-carbone-test-key"
RENDER_SECONDS = 3600
TEST_TEMPLATE_SECONDS = 30 * 86400
FIELD = re.compile(rb'content-disposition:[^\r\n]*?[;\s]name="?([^";\r\n]+)', re.IGNORECASE)
WORDS = {
    400: "Bad request",
    401: 'Unauthorized, please provide a correct API key on the "Authorization" header',
    404: "Template not found",
    413: "Payload too large",
    415: "Template format not supported",
    429: "Too many requests",
    500: "Error while rendering template",
}

OUTAGE = {500: "Internal server error"}
"""What a fault says where `WORDS` are about the request."""


@dataclass(frozen=True)
class Template:
    """`id` is empty where it was uploaded without versioning; then `version_id` alone names it."""

    id: str
    version_id: str
    name: str
    category: str
    tags: list[str]
    origin: int
    created_at: int
    expires_at: int
    """0: kept for ever."""
    content: bytes = field(repr=False)

    def listed(self) -> dict[str, Any]:
        return {
            "id": self.id or None, "versionId": self.version_id, "deployedAt": self.created_at,
            "createdAt": self.created_at, "expireAt": self.expires_at or None, "size": len(self.content),
            "type": kind_of(self.content), "name": self.name, "category": self.category, "comment": "",
            "tags": self.tags, "origin": self.origin,
        }  # fmt: skip


@dataclass(frozen=True)
class Document:
    """A rendered document that waits to be fetched once, until `expires_at`."""

    content: bytes
    media_type: str
    disposition: str
    expires_at: float


@dataclass
class CarboneServer:
    """The part of the world that is kept here."""

    version: int = 5
    authentication: bool = True
    max_template_bytes: int = 60_000_000
    keys: list[str] = field(default_factory=lambda: [API_KEY, TEST_KEY])
    templates: list[Template] = field(default_factory=list)
    documents: dict[str, Document] = field(default_factory=dict)
    renders: list[dict[str, Any]] = field(default_factory=list)
    """What was rendered: template, format, timezone, lang, report_name, data, watermark, sha256."""


def register(router: Router, world: World) -> None:
    carbone = Carbone(world)
    TYPICAL[VENDOR] = lambda operation, status, reason: problem(status, reason or OUTAGE.get(status, "")).response
    for method, path, operation, handler in carbone.routes():
        router.add(method, ROOT + path, VENDOR, f"carbone.{operation}", handler)
    for method, path, call in carbone.calls():
        control.add_call(router, method, f"/carbone{path}", call)


def problem(status: int, words: str = "", **more: Any) -> Refusal:
    body = {"success": False, "error": words or WORDS.get(status, "Internal error")}
    return Refusal(json_response(body | more, status))


class Carbone:
    def __init__(self, world: World) -> None:
        self.world = world

    @property
    def server(self) -> CarboneServer:
        return self.world.part(CarboneServer)

    def routes(self) -> list[tuple[str, str, str, Callable[[Request], Response]]]:
        return [
            ("GET", "/status", "status", self.status),
            ("GET", "/templates", "templates.list", self.list_templates),
            ("POST", "/template", "templates.add", self.add_template),
            ("GET", "/template/{id}", "templates.get", self.get_template),
            ("DELETE", "/template/{id}", "templates.delete", self.delete_template),
            ("POST", "/render/{id}", "render", self.render),
            ("GET", "/render/{id}", "render.fetch", self.fetch),
        ]

    def status(self, request: Request) -> Response:
        """Public: says nothing about the key."""
        version = "5.4.0" if self.server.version >= 5 else "4.26.0"
        return json_response({"success": True, "code": 200, "message": "OK", "version": version})

    # Templates

    def list_templates(self, request: Request) -> Response:
        if self.server.version < 5:
            raise problem(404, "Not found")
        self._key(request)
        limit = request.argument("limit", "100")
        if not limit.isdigit() or not 1 <= int(limit) <= 100:
            raise problem(400, '"limit" must be between 1 and 100')
        found = [item for item in self._living() if _fits(item, request)]
        start = self._start(request.argument("cursor"))
        page, rest = found[start : start + int(limit)], found[start + int(limit) :]
        answer: dict[str, Any] = {"success": True, "data": [item.listed() for item in page], "hasMore": bool(rest)}
        if rest:
            answer["nextCursor"] = base64.urlsafe_b64encode(f"from:{start + int(limit)}".encode()).decode()
        return json_response(answer)

    def _start(self, cursor: str) -> int:
        if not cursor:
            return 0
        try:
            return int(base64.urlsafe_b64decode(cursor).decode().removeprefix("from:"))
        except ValueError as error:
            raise problem(400, "Invalid cursor") from error

    def add_template(self, request: Request) -> Response:
        key = self._key(request)
        content, given = self._upload(request)
        if not content:
            raise problem(422, '"template" field is empty')
        if len(content) > self.server.max_template_bytes:
            raise problem(413)
        if not is_template(content):
            raise problem(415)
        template = self._store(content, given, 0, key == TEST_KEY)
        request.effect = {"kind": "template.stored", "id": template.id, "version": template.version_id}
        data = {"templateId": template.id or template.version_id}
        return json_response(
            {"success": True, "data": data | ({"versionId": template.version_id} if template.id else {})}
        )

    def _upload(self, request: Request) -> tuple[bytes, dict[str, str]]:
        """The file and the fields. What comes after the file in a form is not read any more."""
        kind = request.headers.get("content-type", "").lower()
        if "multipart/form-data" in kind:
            given: dict[str, str] = {}
            for head, part in _parts(request):
                name = FIELD.search(head)
                if name and name[1] == b"template":
                    return part, given
                if name:
                    given[name[1].decode()] = part.decode("utf-8", "replace")
            return b"", given
        if "application/json" not in kind:
            raise problem(400, "Content-Type header should be multipart/form-data or application/json")
        body = self._json(request)
        return _decoded(str(body.pop("template", ""))), {name: str(value) for name, value in body.items()}

    def _store(self, content: bytes, given: dict[str, str], origin: int, brief: bool) -> Template:
        """The same bytes get the same version id; a template uploaded again replaces itself."""
        version = hashlib.sha256(content + given.get("payload", "").encode()).hexdigest()
        versioned = given.get("versioning", "").lower() in ("true", "1") or bool(given.get("id"))
        identity = given.get("id", "")
        if versioned and not identity:
            identity = str(int(hashlib.sha256(f"{self.world.seed}/{version}".encode()).hexdigest()[:15], 16))
        now = int(self.world.now())
        tags = [tag.strip() for tag in given.get("tags", "").strip("[]").replace('"', "").split(",") if tag.strip()]
        template = Template(
            identity, version, given.get("name", ""), given.get("category", ""), tags, origin, now,
            now + TEST_TEMPLATE_SECONDS if brief else 0, content,
        )  # fmt: skip
        kept = [item for item in self.server.templates if (item.id, item.version_id) != (identity, version)]
        self.server.templates = [*kept, template]
        return template

    def get_template(self, request: Request) -> Response:
        self._key(request)
        return Response(200, self._named(request.params["id"]).content, {}, "application/octet-stream")

    def delete_template(self, request: Request) -> Response:
        self._key(request)
        template = self._named(request.params["id"])
        self.server.templates = [item for item in self.server.templates if item is not template]
        request.effect = {"kind": "template.deleted", "id": template.id, "version": template.version_id}
        return json_response({"success": True})

    def _living(self) -> list[Template]:
        """Newest first, expired ones gone."""
        now = self.world.now()
        return [item for item in reversed(self.server.templates) if not item.expires_at or item.expires_at > now]

    def _named(self, identity: str) -> Template:
        """By id (its newest version) or version id."""
        found = next((item for item in self._living() if identity in (item.id, item.version_id)), None)
        if found is None:
            raise problem(404)
        return found

    # Rendering

    def render(self, request: Request) -> Response:
        """By template, or with the template in the body at /render/template; the file itself where version 5 is asked
        with `download=true`, else a render id."""
        key, body = self._key(request), self._json(request)
        identity = request.params["id"]
        inline = identity == "template" and self.server.version >= 5
        content = _decoded(str(body.get("template", ""))) if inline else self._named(identity).content
        if inline and not content:
            raise problem(422, '"template" field is empty')
        if not isinstance(body.get("data"), dict | list):
            raise problem(422, '"data" field is missing')
        document, made = self._document(body, content, key == TEST_KEY)
        self.server.renders.append(made | {"template": identity})
        number = len(self.server.renders)
        request.effect = {"kind": "document.rendered", "template": identity, "number": number, "sha256": made["sha256"]}
        if self.server.version >= 5 and request.argument("download").lower() == "true":
            disposition = document.disposition.replace("inline", "attachment", 1)
            return Response(200, document.content, {"Content-Disposition": disposition}, document.media_type)
        digest = hashlib.sha256(f"{self.world.seed}/{number}/{made['sha256']}".encode()).hexdigest()
        render_id = f"MTAuMjAuMTEuMTE-{digest[:24]}.{made['format']}"
        self.server.documents[render_id] = document
        return json_response({"success": True, "data": {"renderId": render_id}})

    def _document(self, body: dict[str, Any], content: bytes, watermark: bool) -> tuple[Document, dict[str, Any]]:
        wanted = body.get("convertTo") or kind_of(content)
        wanted = str(wanted.get("formatName", "") if isinstance(wanted, dict) else wanted).lower()
        if wanted not in FORMATS:
            raise problem(400, f"Unknown output format {wanted[:20]}")
        data = body["data"]
        try:
            lines = fill(content, data)
            name = " ".join(fill(str(body.get("reportName") or "report").encode(), data))
        except TemplateFault as fault:
            raise problem(500, f"{WORDS[500]}: {fault}", code="w100") from fault
        made = produce(wanted, [*(["TEST - NOT FOR PRODUCTION"] if watermark else []), *lines])
        facts = {
            "format": wanted, "timezone": body.get("timezone") or "Europe/Paris", "lang": body.get("lang") or "en",
            "report_name": name, "data": data, "watermark": watermark, "sha256": hashlib.sha256(made).hexdigest(),
        }  # fmt: skip
        disposition = f'inline; filename="{quote(f"{name}.{wanted}", safe="")}"'
        return Document(made, FORMATS[wanted], disposition, self.world.now() + RENDER_SECONDS), facts

    def fetch(self, request: Request) -> Response:
        """Public, once, for an hour."""
        if not re.fullmatch(r"[\w.-]{20,120}", request.params["id"]):
            raise problem(400, "Invalid renderId")
        document = self.server.documents.pop(request.params["id"], None)
        if document is None or document.expires_at <= self.world.now():
            raise problem(404, "File not found")
        request.effect = {"kind": "document.fetched", "bytes": len(document.content)}
        headers = {"Content-Disposition": document.disposition}
        return Response(200, document.content, headers, document.media_type)

    def _key(self, request: Request) -> str:
        key = request.bearer()
        request.account = f"{key[:24]}"
        if self.server.authentication and key not in self.server.keys:
            raise problem(401)
        return key

    def _json(self, request: Request) -> dict[str, Any]:
        try:
            return request.json()
        except ValueError as error:
            raise problem(400, "Invalid JSON") from error

    # The control API

    def calls(self) -> list[tuple[str, str, Callable[[Request], object]]]:
        return [
            ("GET", "", self.show),
            ("PATCH", "", self.change),
            ("POST", "/templates", self.seed_template),
        ]

    def show(self, request: Request) -> dict[str, Any]:
        """Settings, templates and everything rendered."""
        server = self.server
        facts = {"version": server.version, "authentication": server.authentication, "keys": server.keys}
        return facts | {
            "max_template_bytes": server.max_template_bytes,
            "templates": [item.listed() for item in server.templates],
            "renders": server.renders,
            "waiting": list(server.documents),
        }

    def change(self, request: Request) -> dict[str, Any]:
        """`version` (4 or 5), `authentication`, `keys`, `max_template_bytes`."""
        for name, value in request.json().items():
            if name not in ("version", "authentication", "keys", "max_template_bytes"):
                raise ValueError(f"no such setting: {name}")
            setattr(self.server, name, value)
        return self.show(request)

    def seed_template(self, request: Request) -> dict[str, Any]:
        """`text` or `content` (base64), and `name?, category?, versioning?, id?, tags?`: stored as by the Studio."""
        given = request.json()
        content = str(given.pop("text", "")).encode() or base64.b64decode(given.pop("content", ""))
        if not is_template(content):
            raise ValueError("not a template")
        return self._store(content, {name: str(value) for name, value in given.items()}, 1, False).listed()


def _fits(template: Template, request: Request) -> bool:
    wanted = {name: values[0] for name, values in request.query.items()}
    search = wanted.get("search", "").lower()
    return (
        wanted.get("id", template.id) == template.id
        and wanted.get("versionId", template.version_id) == template.version_id
        and wanted.get("category", template.category) == template.category
        and wanted.get("origin", str(template.origin)) == str(template.origin)
        and (search in template.name.lower() or search in (template.id, template.version_id))
    )


def _parts(request: Request) -> list[tuple[bytes, bytes]]:
    try:
        return multipart_of(request)
    except ValueError as error:
        raise problem(400, "Invalid form") from error


def _decoded(text: str) -> bytes:
    """Base64, alone or in a data URI."""
    packed = text.partition("base64,")[2] if text.startswith("data:") else text
    try:
        return base64.b64decode(packed, validate=True)
    except (binascii.Error, ValueError) as error:
        raise problem(400, "Cannot store template") from error
