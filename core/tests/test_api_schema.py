"""OpenAPI: names, lists and errors as clients will read them."""

from __future__ import annotations

from typing import Any

import pytest
from drf_spectacular.generators import SchemaGenerator

from core.api.schema import describe_errors
from core.tests import api_urls


@pytest.fixture(scope="module")
def schema() -> Any:
    generator = SchemaGenerator(patterns=api_urls.urlpatterns)
    return describe_errors(generator.get_schema(request=None, public=True), generator, None, True)


def test_schema_is_openapi_3_1(schema: Any) -> None:
    assert schema["openapi"].startswith("3.1")


def test_schema_names_are_camel_case(schema: Any) -> None:
    components = schema["components"]["schemas"]
    assert {"fullName", "sentAt", "mailServer", "firstWord"} <= set(components["Thing"]["properties"])
    assert set(components["ServerRequest"]["properties"]) == {"hostName", "port"}


def test_schema_list_has_data_and_pagination(schema: Any) -> None:
    operation = schema["paths"]["/api/numbers/{until}"]["get"]
    name = operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    shape = schema["components"]["schemas"][name]["properties"]
    assert shape["data"]["type"] == "array"
    assert set(schema["components"]["schemas"]["PaginationShape"]["properties"]) == {
        "page",
        "limit",
        "total",
        "totalIsExact",
        "totalPages",
        "nextCursor",
    }
    assert {parameter["name"] for parameter in operation["parameters"]} == {"until", "page", "limit", "cursor"}


def test_schema_every_operation_says_how_it_fails(schema: Any) -> None:
    for item in schema["paths"].values():
        for operation in item.values():
            assert "default" in operation["responses"]
            content = operation["responses"]["503"]["content"]["application/json"]
            assert content["schema"] == {"$ref": "#/components/schemas/Error"}
    assert "404" in schema["paths"]["/api/numbers/{until}"]["get"]["responses"]
    assert "400" in schema["paths"]["/api/echo"]["post"]["responses"]


def test_schema_operation_behind_a_token_names_its_refusals() -> None:
    result = {"paths": {"/x": {"get": {"security": [{"bearer": []}], "responses": {"401": {"description": "own"}}}}}}
    described = describe_errors(result, None, None, True)["paths"]["/x"]["get"]["responses"]
    assert described["401"] == {"description": "own"}
    assert "Retry-After" in described["429"]["headers"]


def _described(**operation: Any) -> dict[str, Any]:
    given = {"paths": {"/x": {"post": {"responses": {}, **operation}}}}
    answers: dict[str, Any] = describe_errors(given, None, None, True)["paths"]["/x"]["post"]["responses"]
    return answers


def test_schema_operation_lists_the_refusals_its_words_name() -> None:
    answers = _described(description="409 `not_ready` until it is done, 422 of others. An XLSX sheet holds 1,048,576.")
    assert {"409", "422"} <= set(answers)
    assert set(answers) <= {"409", "422", "503", "default"}


def test_schema_operation_that_takes_a_body_refuses_a_large_one() -> None:
    assert "413" in _described(requestBody={"content": {}})
    assert "413" not in _described()


def test_schema_operation_with_an_idempotency_key_may_meet_its_twin() -> None:
    answer = _described(parameters=[{"name": "Idempotency-Key", "in": "header"}])["409"]
    assert "idempotency_in_progress" in answer["description"]
