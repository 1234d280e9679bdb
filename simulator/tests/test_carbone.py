"""Carbone: the public status, keys, templates in pages, uploads with the file last, documents that open, one-shot
downloads, the older version, and templates that cannot be rendered."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import zipfile
from typing import Any
from xml.etree import ElementTree

import pytest

from simulator.carbone import API_KEY, TEST_KEY
from simulator.carbone_documents import docx
from simulator.process import Simulator
from simulator.tests.factories import Answer, send

INVOICE = b"Invoice {d.number}\nFor {d.customer.name:upperCase}\n{d.items[1].label}{d.missing}"
DATA = {"number": 17, "customer": {"name": "Zo\u00eb (Ltd)"}, "items": [{"label": "a"}, {"label": "b"}]}


def ask(simulator: Simulator, method: str, path: str, key: str = API_KEY, **more: Any) -> Answer:
    return send(simulator, method, f"/carbone{path}", token=key, **more)


def form(*parts: tuple[str, bytes, str]) -> dict[str, Any]:
    """(name, content, file name) in this order."""
    lines = []
    for name, content, filename in parts:
        extra = f'; filename="{filename}"' if filename else ""
        lines.append(
            f'--cut\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n\r\n'.encode() + content + b"\r\n"
        )
    headers = {"Content-Type": "multipart/form-data; boundary=cut"}
    return {"headers": headers, "body": b"".join(lines) + b"--cut--\r\n"}


def upload(simulator: Simulator, content: bytes = INVOICE, key: str = API_KEY, **fields: str) -> Any:
    parts = [(name, value.encode(), "") for name, value in fields.items()]
    answer = ask(simulator, "POST", "/template", key, **form(*parts, ("template", content, "invoice.txt")))
    assert answer.status == 200, answer.body
    return answer.json["data"]


def render(
    simulator: Simulator, identity: str, query: str = "?download=true", key: str = API_KEY, **body: Any
) -> Answer:
    return ask(simulator, "POST", f"/render/{identity}{query}", key, json={"data": DATA} | body)


def texts(document: bytes) -> list[str]:
    """The lines of a PDF that this writer made, after checking that its table of objects is true."""
    start = int(re.findall(rb"startxref\n(\d+)", document)[0])
    offsets = [int(offset) for offset in re.findall(rb"(\d{10}) 00000 n", document[start:])]
    assert [document[offset:].split(b" ")[0] for offset in offsets] == [b"%d" % n for n in range(1, len(offsets) + 1)]
    found = re.findall(rb"\((.*)\) Tj", document)
    return [re.sub(rb"\\(.)", rb"\1", line).decode("cp1252") for line in found]


def shown(simulator: Simulator) -> dict[str, Any]:
    return dict(simulator.control("GET", "/carbone"))


def test_status_is_public_and_everything_else_asks_for_the_key(simulator: Simulator) -> None:
    assert ask(simulator, "GET", "/status", "").json["message"] == "OK"
    for method, path in [("GET", "/templates"), ("GET", f"/template/{'0' * 64}"), ("POST", "/render/1")]:
        answer = ask(simulator, method, path, "wrong")
        assert (answer.status, answer.json["success"]) == (401, False)
    assert ask(simulator, "GET", f"/template/{'0' * 64}").status == 404


def test_server_without_authentication_takes_any_key(simulator: Simulator) -> None:
    simulator.control("PATCH", "/carbone", {"authentication": False})
    assert ask(simulator, "GET", "/templates", "wrong").json == {"success": True, "data": [], "hasMore": False}


def test_templates_come_in_pages_newest_first(simulator: Simulator) -> None:
    for number in range(5):
        simulator.control("POST", "/carbone/templates", {"text": f"Template {number}", "name": f"T{number}"})
    names, cursor = [], ""
    while True:
        page = ask(simulator, "GET", f"/templates?limit=2&cursor={cursor}").json
        names.append([item["name"] for item in page["data"]])
        assert page["hasMore"] == ("nextCursor" in page)
        if not page["hasMore"]:
            break
        cursor = page["nextCursor"]
    assert names == [["T4", "T3"], ["T2", "T1"], ["T0"]]
    assert [item["name"] for item in ask(simulator, "GET", "/templates?search=t3").json["data"]] == ["T3"]
    assert ask(simulator, "GET", "/templates?limit=101").status == 400


def test_upload_without_versioning_is_named_by_its_hash(simulator: Simulator) -> None:
    stored = upload(simulator, name="Invoice", category="sales")
    assert stored == {"templateId": hashlib.sha256(INVOICE).hexdigest()}
    assert upload(simulator, name="Again") == stored
    [listed] = shown(simulator)["templates"]
    assert (listed["id"], listed["versionId"], listed["name"]) == (None, stored["templateId"], "Again")
    assert ask(simulator, "GET", f"/template/{stored['templateId']}").body == INVOICE


def test_upload_with_versioning_keeps_one_id_over_its_versions(simulator: Simulator) -> None:
    first = upload(simulator, versioning="true")
    second = upload(simulator, b"Second {d.number}", id=first["templateId"])
    assert first["templateId"] == second["templateId"]
    assert first["versionId"] != second["versionId"]
    assert texts(render(simulator, first["templateId"], convertTo="pdf").body) == ["Second 17"]
    assert texts(render(simulator, first["versionId"], convertTo="pdf").body)[0] == "Invoice 17"


def test_upload_reads_nothing_after_the_file(simulator: Simulator) -> None:
    parts = form(("template", INVOICE, "a.txt"), ("name", b"Too late", ""))
    assert ask(simulator, "POST", "/template", **parts).status == 200
    assert shown(simulator)["templates"][0]["name"] == ""


@pytest.mark.parametrize("prefix", ["", "data:text/plain;base64,"], ids=["plain", "data-uri"])
def test_upload_as_json_takes_base64(simulator: Simulator, prefix: str) -> None:
    body = {"template": prefix + base64.b64encode(INVOICE).decode()}
    answer = ask(simulator, "POST", "/template", json=body)
    assert answer.json["data"]["templateId"] == hashlib.sha256(INVOICE).hexdigest()


@pytest.mark.parametrize(
    ("status", "request_"),
    [
        (400, {"headers": {"Content-Type": "text/plain"}, "body": b"x"}),
        (422, form(("name", b"x", ""))),
        (415, form(("template", b"\x00\x01\x02", "a.bin"))),
        (413, form(("template", b"x" * 200, "a.txt"))),
    ],
    ids=["type", "empty", "format", "size"],
)
def test_upload_refused(simulator: Simulator, status: int, request_: dict[str, Any]) -> None:
    simulator.control("PATCH", "/carbone", {"max_template_bytes": 100})
    answer = ask(simulator, "POST", "/template", **request_)
    assert (answer.status, answer.json["success"]) == (status, False)


def test_render_gives_a_pdf_with_the_texts(simulator: Simulator) -> None:
    answer = render(simulator, upload(simulator)["templateId"], convertTo="pdf", reportName="Invoice {d.number}/\u00e9")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/pdf")
    assert answer.headers["content-disposition"] == 'attachment; filename="Invoice%2017%2F%C3%A9.pdf"'
    assert answer.body.startswith(b"%PDF-1.4")
    assert texts(answer.body) == ["Invoice 17", "For ZO\u00cb (LTD)", "b"]


def test_render_gives_a_docx_that_can_be_a_template_again(simulator: Simulator) -> None:
    template = docx(["Hello {d.customer.name}", "<&>"])
    answer = render(simulator, upload(simulator, template)["templateId"])
    archive = zipfile.ZipFile(io.BytesIO(answer.body))
    assert archive.testzip() is None
    tree = ElementTree.fromstring(archive.read("word/document.xml"))
    assert [node.text for node in tree.iter() if node.tag.endswith("}t")] == ["Hello Zo\u00eb (Ltd)", "<&>"]


def test_render_notes_the_time_zone_of_paris_unless_told(simulator: Simulator) -> None:
    identity = upload(simulator)["templateId"]
    render(simulator, identity)
    render(simulator, identity, timezone="UTC", lang="de-de")
    assert [(item["timezone"], item["lang"]) for item in shown(simulator)["renders"]] == [
        ("Europe/Paris", "en"), ("UTC", "de-de")]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"data": None}, 422, '"data" field is missing'),
        ({"convertTo": "exe"}, 400, "Unknown output format exe"),
    ],
    ids=["data", "format"],
)
def test_render_refused(simulator: Simulator, body: dict[str, Any], status: int, words: str) -> None:
    answer = render(simulator, upload(simulator)["templateId"], **body)
    assert (answer.status, answer.json["error"]) == (status, words)
    assert render(simulator, "1234").status == 404


def test_render_of_a_broken_template_is_500_every_time(simulator: Simulator) -> None:
    identity = upload(simulator, b"{d.number:explode}")["templateId"]
    for _ in range(2):
        answer = render(simulator, identity)
        assert answer.status == 500
        assert answer.json["error"].startswith("Error while rendering template")


def test_render_id_is_public_and_good_for_one_download(simulator: Simulator) -> None:
    identity = upload(simulator)["templateId"]
    render_id = render(simulator, identity, "", convertTo="txt").json["data"]["renderId"]
    answer = ask(simulator, "GET", f"/render/{render_id}", "")
    assert (answer.status, answer.body) == (200, "Invoice 17\nFor ZO\u00cb (LTD)\nb".encode())
    assert ask(simulator, "GET", f"/render/{render_id}", "").status == 404
    assert ask(simulator, "GET", "/render/x", "").status == 400


def test_render_id_ends_after_an_hour(simulator: Simulator) -> None:
    render_id = render(simulator, upload(simulator)["templateId"], "").json["data"]["renderId"]
    simulator.advance(3601)
    assert ask(simulator, "GET", f"/render/{render_id}").status == 404


def test_render_of_an_inline_template_stores_nothing(simulator: Simulator) -> None:
    answer = render(simulator, "template", template=base64.b64encode(INVOICE).decode(), convertTo="html")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html")
    assert shown(simulator)["templates"] == []


def test_version_4_has_no_list_and_no_direct_download(simulator: Simulator) -> None:
    simulator.control("PATCH", "/carbone", {"version": 4})
    assert ask(simulator, "GET", "/templates").status == 404
    answer = render(simulator, upload(simulator)["templateId"])
    assert set(answer.json["data"]) == {"renderId"}


def test_test_key_marks_documents_and_forgets_templates(simulator: Simulator) -> None:
    identity = upload(simulator, key=TEST_KEY)["templateId"]
    answer = render(simulator, identity, key=TEST_KEY, convertTo="pdf")
    assert texts(answer.body)[0] == "TEST - NOT FOR PRODUCTION"
    simulator.advance(31 * 86400)
    assert render(simulator, identity, key=TEST_KEY).status == 404


def test_template_deleted_is_gone_and_in_the_ledger(simulator: Simulator) -> None:
    identity = upload(simulator)["templateId"]
    assert ask(simulator, "DELETE", f"/template/{identity}").json == {"success": True}
    assert render(simulator, identity).status == 404
    kinds = [entry["effect"]["kind"] for entry in simulator.ledger(vendor="carbone") if entry["effect"]]
    assert kinds == ["template.stored", "template.deleted"]
