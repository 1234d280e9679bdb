"""The stand-in against Google's own description of the Drive API, as it ships inside google-api-python-client."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import pytest

from simulator.drive import HANDLERS
from simulator.drive.methods import METHODS, UPLOADS
from simulator.process import Simulator
from simulator.tests.drive_api import DOCUMENT as DOCS_FILE
from simulator.tests.drive_api import drive_of

DOCUMENT: dict[str, Any] = json.loads(
    files("googleapiclient.discovery_cache").joinpath("documents/drive.v3.json").read_text()
)
UNDERSTOOD = {
    "drive.files.list": {"q", "pageSize", "pageToken", "orderBy", "corpora", "driveId", "includeItemsFromAllDrives"},
    "drive.files.get": {"supportsAllDrives", "acknowledgeAbuse"},
    "drive.files.export": {"mimeType"},
    "drive.files.generateIds": {"count"},
    "drive.files.create": {"supportsAllDrives"},
    "drive.files.update": {"supportsAllDrives", "addParents", "removeParents"},
    "drive.files.delete": {"supportsAllDrives"},
}


def described(operation: str) -> dict[str, Any]:
    """The vendor's description of `drive.files.get`."""
    _, resource, name = operation.split(".")
    method: dict[str, Any] = DOCUMENT["resources"][resource]["methods"][name]
    return method


def check_schema(value: Any, schema: dict[str, Any], where: str) -> None:
    """Every key is in the schema and has its type; int64 travels as a string."""
    if "$ref" in schema:
        schema = DOCUMENT["schemas"][schema["$ref"]]
    kind = schema.get("type", "object")
    if kind == "object":
        assert isinstance(value, dict), where
        for key, item in value.items():
            if "properties" in schema:
                assert key in schema["properties"], f"{where}.{key}"
            inner = schema["properties"][key] if "properties" in schema else schema["additionalProperties"]
            check_schema(item, inner, f"{where}.{key}")
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
    assert ours.path == f"/{DOCUMENT['servicePath']}{theirs['path']}"
    assert ours.http == theirs["httpMethod"]
    assert set(ours.scopes) == set(theirs["scopes"])
    assert UNDERSTOOD.get(operation, set()) <= set(theirs["parameters"])


@pytest.mark.parametrize("operation", UPLOADS)
def test_upload_path_is_the_vendors(operation: str) -> None:
    assert described(operation)["mediaUpload"]["protocols"]["simple"]["path"] == f"/upload{METHODS[operation].path}"


def test_answers_fit_the_vendors_schemas(simulator: Simulator) -> None:
    simulator.create_account("google", "ada@hub.example", name="Ada Lovelace")
    drive = drive_of(simulator, "ada@hub.example")
    check("drive.about.get", drive.get("/about", fields="*"))
    check("drive.files.generateIds", drive.get("/files/generateIds"))
    folder = drive.create({"name": "Folder", "mimeType": "application/vnd.google-apps.folder"}, fields="*")
    check("drive.files.create", folder)
    made = drive.multipart({"name": "notes.txt", "parents": [folder["id"]], "properties": {"a": "b"}}, b"words").json
    drive.truth.put("Plan", mime_type=DOCS_FILE)
    whole = drive.get(f"/files/{made['id']}", fields="*")
    assert whole["size"] == "5"
    check("drive.files.get", whole)
    check("drive.files.list", drive.list(fields="*"))
    check("drive.files.list", drive.list(pageSize=1))
    changed = drive.call("PATCH", f"/files/{made['id']}", json={"starred": True}, query={"fields": "*"})
    check("drive.files.update", changed.json)
