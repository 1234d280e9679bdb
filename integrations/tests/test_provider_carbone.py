"""DOCUMENT_ENGINE against the simulator's Carbone: keys, templates, documents, servers of version 4, and what may be
asked again."""

from __future__ import annotations

import base64
from typing import Any, ClassVar

import pytest

from core.errors import (
    CredentialsRejected,
    InvalidInput,
    ProviderRateLimited,
    ProviderRejected,
    ProviderUnavailable,
    UnsupportedOperation,
)
from integrations.fields import read
from integrations.providers.base import IntegrationProvider
from integrations.providers.carbone import CLOUD, Carbone
from integrations.tests.provider_contract import Call, ProviderContract
from simulator.process import Simulator
from workspaces.tests.fixtures import Actor

KEY = "canary-carbone-key"
INVOICE = "Invoice {d.number}"


def carbone(simulator: Simulator, key: str = KEY, **server: Any) -> Carbone:
    simulator.control("PATCH", "/carbone", {"keys": [KEY]} | server)
    return Carbone(config={"baseUrl": f"{simulator.base_url}/carbone/"}, credentials={"apiKey": key})


def do(provider: Carbone, action: str, **given: Any) -> Any:
    """With the input checked and completed as the service does."""
    return provider.perform(action, read(provider.action(action).fields, given))


def stored(simulator: Simulator, text: str = INVOICE, **more: Any) -> str:
    made = simulator.control("POST", "/carbone/templates", {"text": text} | more)
    return str(made["id"] or made["versionId"])


def renders(simulator: Simulator) -> list[dict[str, Any]]:
    return list(simulator.control("GET", "/carbone")["renders"])


class TestContract(ProviderContract):
    calls: ClassVar[tuple[Call, ...]] = (
        Call("check", r"carbone\.templates\.list"),
        Call("list_templates", r"carbone\.templates\.list"),
        Call("upload_template", r"carbone\.templates\.add", {"content": base64.b64encode(b"Hello").decode()}),
        Call("render", r"carbone\.render", {"templateId": "1", "data": {}, "convertTo": "pdf"}),
    )

    def make(self, simulator: Simulator, **credentials: str) -> Carbone:
        stored(simulator, id="1")
        return carbone(simulator)

    def hurry(self, kind: type[IntegrationProvider], monkeypatch: pytest.MonkeyPatch) -> None:
        super().hurry(kind, monkeypatch)
        monkeypatch.setattr("integrations.providers.carbone.RENDER_SECONDS", 0.3)


# --- checks -------------------------------------------------------------------------------------------------------


def test_check_asks_for_the_list_and_not_for_the_public_status(simulator: Simulator) -> None:
    assert carbone(simulator).check().message == "The key is good."
    assert set(simulator.summary()) == {"carbone.templates.list"}
    with pytest.raises(CredentialsRejected):
        carbone(simulator, "canary-wrong").check()


def test_check_of_a_server_that_takes_any_key_says_so(simulator: Simulator) -> None:
    checked = carbone(simulator, authentication=False).check()
    assert "takes any key" in checked.message
    assert checked.details["authentication"] is False


def test_check_of_an_old_server_finds_out_without_the_list(simulator: Simulator) -> None:
    checked = carbone(simulator, version=4).check()
    assert (checked.limited, checked.details) == (True, {"apiVersion": 4})
    with pytest.raises(CredentialsRejected):
        carbone(simulator, "canary-wrong", version=4).check()


def test_check_of_something_else_is_refused(simulator: Simulator) -> None:
    provider = Carbone(config={"baseUrl": f"{simulator.base_url}/nothing"}, credentials={"apiKey": KEY})
    with pytest.raises(ProviderRejected, match="not Carbone"):
        provider.check()


# --- templates ----------------------------------------------------------------------------------------------------


def test_templates_come_from_all_pages_with_an_id_each(simulator: Simulator) -> None:
    for number in range(203):
        stored(simulator, f"Template {number}", name=f"T{number}", versioning=number % 2 == 0)
    provider = carbone(simulator)
    listed = do(provider, "list_templates")
    assert (len(listed["templates"]), listed["complete"]) == (203, True)
    assert len({template["id"] for template in listed["templates"]}) == 203
    assert listed["templates"][1]["id"] == listed["templates"][1]["versionId"]
    assert listed["templates"][0]["createdAt"].endswith("Z")
    assert len(simulator.ledger(operation="carbone.templates.list")) == 3
    assert [template["name"] for template in do(provider, "list_templates", search="t202")["templates"]] == ["T202"]


def test_templates_whose_pages_never_end_are_not_asked_for_for_ever(simulator: Simulator) -> None:
    stored(simulator)
    simulator.fault("merge", operation=r"carbone\.templates\.list", body={"hasMore": True, "nextCursor": "ZnJvbTow"})
    assert do(carbone(simulator), "list_templates")["complete"] is False
    assert len(simulator.ledger(operation="carbone.templates.list")) == 2


def test_templates_of_an_old_server_cannot_be_listed(simulator: Simulator) -> None:
    with pytest.raises(UnsupportedOperation, match="older than version 5"):
        do(carbone(simulator, version=4), "list_templates")


def test_upload_puts_the_file_last_so_that_nothing_is_lost(simulator: Simulator) -> None:
    content = b"{d.name}\r\n--not-the-boundary\r\n\xe2\x82\xac"
    given = {"name": 'Offer "A"', "category": "sales", "tags": ["x", "y"], "fileName": '../../etc/"passwd\r\nX: y'}
    made = do(
        carbone(simulator),
        "upload_template",
        content=base64.b64encode(content).decode(),
        **given | {"fileName": "../a.txt"},
    )
    [template] = simulator.control("GET", "/carbone")["templates"]
    assert made == {"templateId": template["versionId"], "versionId": None}
    assert (template["name"], template["category"], template["tags"]) == ('Offer "A"', "sales", ["x", "y"])
    assert simulator.request(
        "GET", f"/carbone/template/{made['templateId']}", headers={"Authorization": f"Bearer {KEY}"}
    )[2] == content  # fmt: skip


def test_upload_of_a_version_keeps_the_templates_id(simulator: Simulator) -> None:
    provider = carbone(simulator)
    first = do(provider, "upload_template", content=base64.b64encode(b"one").decode(), versioning=True)
    second = do(provider, "upload_template", content=base64.b64encode(b"two").decode(), templateId=first["templateId"])
    assert first["templateId"] == second["templateId"]
    assert first["versionId"] != second["versionId"]


@pytest.mark.parametrize(
    ("content", "words"), [(b"\x00\x01", "Template format not supported"), (b"", "is empty")], ids=["format", "empty"]
)
def test_upload_refused_in_carbones_words(simulator: Simulator, content: bytes, words: str) -> None:
    with pytest.raises(ProviderRejected, match=words):
        carbone(simulator).perform("upload_template", {"content": base64.b64encode(content).decode()})


# --- documents ----------------------------------------------------------------------------------------------------


def test_render_gives_the_documents_bytes_and_says_the_zone(simulator: Simulator) -> None:
    identity = stored(simulator)
    made = do(
        carbone(simulator), "render", templateId=identity, data={"number": 17}, convertTo="pdf",
        reportName="Invoice {d.number}", lang="de-de",
    )  # fmt: skip
    content = base64.b64decode(made["content"])
    assert content.startswith(b"%PDF-1.4")
    assert b"(Invoice 17) Tj" in content
    assert (made["contentType"], made["fileName"], made["size"]) == ("application/pdf", "Invoice 17.pdf", len(content))
    [render] = renders(simulator)
    assert (render["timezone"], render["lang"]) == ("UTC", "de-de")


def test_render_by_an_old_server_fetches_the_document_once(simulator: Simulator) -> None:
    made = do(
        carbone(simulator, version=4), "render", templateId=stored(simulator), data={"number": 4}, convertTo="txt"
    )
    assert base64.b64decode(made["content"]) == b"Invoice 4"
    [fetch] = simulator.ledger(operation="carbone.render.fetch")
    assert fetch["account"] == ""


def test_render_by_an_old_server_whose_download_broke_is_not_fetched_again(simulator: Simulator) -> None:
    provider, identity = carbone(simulator, version=4), stored(simulator)
    simulator.fault("truncate", operation=r"carbone\.render\.fetch", fraction=0.5)
    with pytest.raises(ProviderUnavailable):
        do(provider, "render", templateId=identity, data={})
    assert len(simulator.ledger(operation="carbone.render.fetch")) == 1


@pytest.mark.parametrize("name", ["../../etc/passwd", "..\\..\\x", "a/b\r\nX: y", "\u202egpj.exe", "..."], ids=repr)
def test_render_never_gives_a_path_for_a_name(simulator: Simulator, name: str) -> None:
    identity = stored(simulator)
    provider = carbone(simulator)
    made = provider.perform("render", {"templateId": identity, "data": {}, "convertTo": "txt", "reportName": name})
    assert not set('/\\\r\n:"\u202e') & set(made["fileName"])
    assert not made["fileName"].startswith(".")
    assert made["fileName"].endswith("txt")


@pytest.mark.parametrize(
    "fault",
    [("status", {"status": 502}), ("status", {"status": 503}), ("status", {"status": 504}), ("close", {})],
    ids=["502", "503", "504", "close"],
)
def test_render_is_asked_for_three_times_at_most(simulator: Simulator, fault: tuple[str, dict[str, Any]]) -> None:
    provider, identity = carbone(simulator), stored(simulator)
    simulator.fault(fault[0], operation=r"carbone\.render", count=2, **fault[1])
    assert do(provider, "render", templateId=identity, data={})["size"] > 0
    simulator.clear_faults()
    simulator.clear_ledger()
    simulator.fault(fault[0], operation=r"carbone\.render", **fault[1])
    with pytest.raises(ProviderUnavailable):
        do(provider, "render", templateId=identity, data={})
    assert len(simulator.ledger(operation="carbone.render")) == 3


def test_render_without_an_answer_ends_within_its_span(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {"RENDER_SECONDS": 0.2, "RENDER_SECONDS_IN_ALL": 0.35, "LEAST_SECONDS": 0.1}
    for name, seconds in limits.items():
        monkeypatch.setattr(f"integrations.providers.carbone.{name}", seconds)
    provider, identity = carbone(simulator), stored(simulator)
    simulator.fault("hang", operation=r"carbone\.render", seconds=1)
    with pytest.raises(ProviderUnavailable, match="in time"):
        do(provider, "render", templateId=identity, data={})
    assert len(simulator.ledger(operation="carbone.render")) <= 2


def test_server_that_does_not_answer_in_time_is_unavailable(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Carbone, "timeout", 0.2)
    provider = carbone(simulator)
    simulator.fault("hang", operation=r"carbone\.templates\.list", seconds=1)
    for action in (provider.check, lambda: do(provider, "list_templates")):
        with pytest.raises(ProviderUnavailable, match="in time"):
            action()


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"status": 500}, ProviderUnavailable),
        ({"status": 503, "headers": {"Retry-After": "20"}}, ProviderRateLimited),
        ({"status": 429, "headers": {"Retry-After": "20"}}, ProviderRateLimited),
        ({"status": 200, "body": {"success": False, "error": "No credits left"}}, ProviderRejected),
    ],
    ids=["500", "503-wait", "429", "200-error"],
)
def test_render_that_would_not_help_to_repeat_is_asked_for_once(
    simulator: Simulator, fault: dict[str, Any], kind: type[Exception]
) -> None:
    provider, identity = carbone(simulator), stored(simulator)
    simulator.fault("status", operation=r"carbone\.render", **fault)
    with pytest.raises(kind):
        do(provider, "render", templateId=identity, data={})
    assert len(simulator.ledger(operation="carbone.render")) == 1


def test_render_of_a_faulty_template_is_final_though_it_is_a_500(simulator: Simulator) -> None:
    provider, identity = carbone(simulator), stored(simulator, "{d.x:explode}")
    with pytest.raises(ProviderRejected, match=r'Error while rendering template: Formatter "explode"'):
        do(provider, "render", templateId=identity, data={})
    assert [entry["status"] for entry in simulator.ledger(operation="carbone.render")] == [500]


def test_render_of_a_template_that_is_gone_is_refused(simulator: Simulator) -> None:
    with pytest.raises(ProviderRejected, match="Template not found"):
        do(carbone(simulator), "render", templateId="../../status", data={})


def test_render_answered_by_a_page_is_no_document(simulator: Simulator) -> None:
    provider, identity = carbone(simulator), stored(simulator)
    simulator.fault("status", operation=r"carbone\.render", status=200, body="<h1>Log in</h1>")
    with pytest.raises(ProviderUnavailable, match="a page instead of pdf"):
        do(provider, "render", templateId=identity, data={}, convertTo="pdf")


def test_render_larger_than_can_be_taken_is_refused(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("integrations.providers.carbone.MAX_DOCUMENT", 100)
    provider, identity = carbone(simulator), stored(simulator)
    with pytest.raises(ProviderRejected, match="larger than 100 bytes"):
        do(provider, "render", templateId=identity, data={}, convertTo="pdf")
    assert len(simulator.ledger(operation="carbone.render")) == 1


def test_render_in_no_time_zone_asks_nobody(simulator: Simulator) -> None:
    with pytest.raises(InvalidInput) as caught:
        do(carbone(simulator), "render", templateId="1", data={}, timezone="Europe/Atlantis")
    assert set(caught.value.fields) == {"timezone"}
    assert simulator.ledger() == []


# --- the form -----------------------------------------------------------------------------------------------------


def test_form_takes_the_cloud_where_no_server_is_given() -> None:
    assert read(Carbone.config_fields, {}) == {"baseUrl": CLOUD}
    with pytest.raises(InvalidInput):
        Carbone.validate(config={"baseUrl": "https://carbone.example.org/?x=1"}, credentials={"apiKey": "k"})


@pytest.mark.django_db
def test_api_renders_and_forgets_the_key_when_the_server_changes(simulator: Simulator, admin: Actor) -> None:
    provider, identity = carbone(simulator), stored(simulator)
    body = {"name": "Docs", "type": "DOCUMENT_ENGINE", "config": provider.config, "credentials": provider.credentials}
    made = admin.client.post("/api/integrations", body, format="json")
    assert made.status_code == 201, made.content
    path = f"/api/integrations/{made.json()['id']}"
    given = {"templateId": identity, "data": {"number": 5}, "convertTo": "docx", "entityType": "deal", "entityId": 1}
    answer = admin.client.post(f"{path}/actions/render", given, format="json")
    assert answer.status_code == 200, answer.content
    assert answer.json()["result"]["document"]["contentType"].endswith("wordprocessingml.document")
    wrong = admin.client.post(f"{path}/actions/render", given | {"convertTo": "exe"}, format="json")
    assert (wrong.status_code, set(wrong.json()["error"]["fields"])) == (400, {"convertTo"})
    moved = admin.client.patch(path, {"config": {"baseUrl": f"{simulator.base_url}/elsewhere"}}, format="json")
    assert moved.json()["credentialsConfigured"] is False
    assert KEY not in (made.content + answer.content + moved.content).decode()
