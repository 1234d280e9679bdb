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
