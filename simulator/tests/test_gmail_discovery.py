"""The stand-in against Google's own description of the Gmail API, as it ships inside google-api-python-client."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import pytest

from simulator.gmail import HANDLERS
from simulator.gmail.methods import METHODS, UPLOADS
from simulator.process import Simulator
from simulator.tests.factories import GmailApi, message, raw_field

DOCUMENT: dict[str, Any] = json.loads(
    files("googleapiclient.discovery_cache").joinpath("documents/gmail.v1.json").read_text()
)
# Query parameters the stand-in acts on, by operation; all must exist.
UNDERSTOOD = {
    "gmail.users.messages.list": {"q", "labelIds", "includeSpamTrash", "maxResults", "pageToken"},
    "gmail.users.messages.get": {"format", "metadataHeaders"},
    "gmail.users.threads.list": {"q", "labelIds", "includeSpamTrash", "maxResults", "pageToken"},
    "gmail.users.threads.get": {"format", "metadataHeaders"},
    "gmail.users.drafts.list": {"q", "includeSpamTrash", "maxResults", "pageToken"},
    "gmail.users.drafts.get": {"format"},
    "gmail.users.history.list": {"startHistoryId", "historyTypes", "labelId", "maxResults", "pageToken"},
}


def described(operation: str) -> dict[str, Any]:
    """The vendor's description of `gmail.users.messages.get`."""
    *path, name = operation.removeprefix("gmail.").split(".")
    resource = DOCUMENT
    for step in path:
        resource = resource["resources"][step]
    method: dict[str, Any] = resource["methods"][name]
    return method


def check_schema(value: Any, schema: dict[str, Any], where: str) -> None:
    """Every key is in the schema and has its type; uint64 and int64 travel as strings."""
    if "$ref" in schema:
        schema = DOCUMENT["schemas"][schema["$ref"]]
    kind = schema.get("type", "object")
    if kind == "object":
        assert isinstance(value, dict), where
        for key, item in value.items():
            assert key in schema["properties"], f"{where}.{key}"
            check_schema(item, schema["properties"][key], f"{where}.{key}")
    elif kind == "array":
        assert isinstance(value, list), where
        for item in value:
            check_schema(item, schema["items"], f"{where}[]")
    else:
        types = {"string": str, "integer": int, "boolean": bool}
        assert type(value) is types[kind], f"{where} is {value!r}"
        if schema.get("format") in ("uint64", "int64"):
            assert str(value).lstrip("-").isdigit(), where


def check(operation: str, value: Any) -> None:
    check_schema(value, described(operation)["response"], operation)


def test_methods_and_handlers_are_the_same_set() -> None:
    assert set(METHODS) == set(HANDLERS)


@pytest.mark.parametrize("operation", sorted(METHODS))
def test_method_path_verb_and_scopes_are_the_vendors(operation: str) -> None:
    ours, theirs = METHODS[operation], described(operation)
    assert ours.path == f"/{theirs['path']}"
    assert ours.http == theirs["httpMethod"]
    ordinary = {scope for scope in theirs["scopes"] if ".addons." not in scope}
    assert set(ours.scopes) == ordinary
    assert UNDERSTOOD.get(operation, set()) <= set(theirs["parameters"])


@pytest.mark.parametrize("operation", UPLOADS)
def test_upload_path_is_the_vendors(operation: str) -> None:
    assert described(operation)["mediaUpload"]["protocols"]["simple"]["path"] == f"/upload{METHODS[operation].path}"


def test_answers_of_reading_methods_fit_the_vendors_schemas(simulator: Simulator, ada: GmailApi) -> None:
    simulator.seed(ada.email, 150)
    listed = ada.get("/messages", maxResults=50)
    check("gmail.users.messages.list", listed)
    for item in listed["messages"]:
        for form in ("full", "raw", "metadata", "minimal"):
            check("gmail.users.messages.get", ada.get(f"/messages/{item['id']}", format=form))
    threads = ada.get("/threads", maxResults=5)
    check("gmail.users.threads.list", threads)
    check("gmail.users.threads.get", ada.get(f"/threads/{threads['threads'][0]['id']}"))
    check("gmail.users.getProfile", ada.get("/profile"))
    check("gmail.users.labels.list", ada.get("/labels"))
    check("gmail.users.labels.get", ada.get("/labels/INBOX"))
    check("gmail.users.settings.sendAs.list", ada.get("/settings/sendAs"))


def test_answers_of_changing_methods_fit_the_vendors_schemas(ada: GmailApi) -> None:
    start = ada.get("/profile")["historyId"]
    label = ada.post("/labels", {"name": "Customers/Acme"})
    check("gmail.users.labels.create", label)
    path = f"/labels/{label['id']}"
    check("gmail.users.labels.patch", ada.call("PATCH", path, json={"name": "Customers/Bluewater"}).json)
    sent = ada.post("/messages/send", {"raw": raw_field(message(To="bob@else.example"))})
    check("gmail.users.messages.send", sent)
    change = {"addLabelIds": [label["id"]], "removeLabelIds": []}
    check("gmail.users.messages.modify", ada.post(f"/messages/{sent['id']}/modify", change))
    check("gmail.users.messages.trash", ada.post(f"/messages/{sent['id']}/trash", {}))
    check("gmail.users.messages.untrash", ada.post(f"/messages/{sent['id']}/untrash", {}))
    thread_change = ada.post(f"/threads/{sent['threadId']}/modify", {"addLabelIds": ["STARRED"]})
    check("gmail.users.threads.modify", thread_change)
    draft = ada.post("/drafts", {"message": {"raw": raw_field(message())}})
    check("gmail.users.drafts.create", draft)
    check("gmail.users.drafts.list", ada.get("/drafts"))
    check("gmail.users.drafts.get", ada.get(f"/drafts/{draft['id']}"))
    body = {"message": {"raw": raw_field(message("Second"))}}
    check("gmail.users.drafts.update", ada.call("PUT", f"/drafts/{draft['id']}", json=body).json)
    check("gmail.users.drafts.send", ada.post("/drafts/send", {"id": draft["id"]}))
    history = ada.get("/history", startHistoryId=start)
    assert history["history"]
    check("gmail.users.history.list", history)
    check("gmail.users.watch", ada.post("/watch", {"topicName": "projects/simulator/topics/gmail"}))
    assert ada.call("POST", "/stop").status == 204


def test_answer_of_attachment_fits_the_vendors_schema(simulator: Simulator, ada: GmailApi) -> None:
    raw = b"Content-Type: application/pdf; name=a.pdf\r\nContent-Disposition: attachment; filename=a.pdf\r\n\r\n%PDF"
    identity = simulator.deliver(ada.email, raw)["id"]
    body = ada.get(f"/messages/{identity}")["payload"]["body"]
    check("gmail.users.messages.attachments.get", ada.get(f"/messages/{identity}/attachments/{body['attachmentId']}"))
