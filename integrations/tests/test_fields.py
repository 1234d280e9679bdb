"""Declared fields: what is taken, what is refused and under which name; any input at all ends in one of the two."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import InvalidInput
from integrations.fields import Field, read, schema
from integrations.providers import INTEGRATION_PROVIDERS

FORM = (
    Field("title", "Title"),
    Field("note", "Note", kind="long_text", required=False),
    Field("from", "Sender", kind="email", required=False),
    Field("address", "Address", kind="url", required=False),
    Field("port", "Port", kind="port", required=False, default=443),
    Field("count", "Count", kind="number", least=1, longest=10, required=False),
    Field("loud", "Loud", kind="boolean", required=False),
    Field("kind", "Kind", kind="choice", choices=("a", "b"), required=False),
    Field("key", "Key", kind="key", required=False),
    Field("data", "Data", kind="json", required=False),
    Field("file", "File", kind="base64", longest=4, required=False),
    Field("to", "To", kind="email", many=True, longest=2, required=False),
    Field(
        "parts", "Parts", kind="object", many=True, required=False,
        fields=(Field("name", "Name"), Field("size", "Size", kind="number", required=False)),
    ),
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "taken"),
    [
        ("title", "  a title ", "a title"),
        ("note", "two\r\nlines", "two\r\nlines"),
        ("from", "ada@example.com", "ada@example.com"),
        ("address", "https://example.com/a?b=c#d", "https://example.com/a?b=c"),
        ("port", 25, 25),
        ("count", 10, 10),
        ("loud", False, False),
        ("kind", "b", "b"),
        ("key", "re_abc-123", "re_abc-123"),
        ("data", {"a": [1, {"b": None}]}, {"a": [1, {"b": None}]}),
        ("file", "YWJjZA==", "YWJjZA=="),
        ("to", ["a@example.com"], ["a@example.com"]),
        ("parts", [{"name": "x", "size": 0}], [{"name": "x", "size": 0}]),
    ],
)
def test_read_takes_what_its_kind_allows(name: str, value: Any, taken: Any) -> None:
    assert read(FORM, {"title": "t", name: value})[name] == taken


@pytest.mark.parametrize(
    ("given_", "named"),
    [
        ({}, {"title"}),
        ({"title": None}, {"title"}),
        ({"title": "a\nb"}, {"title"}),
        ({"title": "x" * 256}, {"title"}),
        ({"title": "t", "tilte": 1}, {"tilte"}),
        ({"title": "t", "note": "a\x00b"}, {"note"}),
        ({"title": "t", "from": "ada@"}, {"from"}),
        ({"title": "t", "address": "ftp://example.com"}, {"address"}),
        ({"title": "t", "address": "https://"}, {"address"}),
        ({"title": "t", "address": "https://a:99999/"}, {"address"}),
        ({"title": "t", "address": "https://user@example.com/"}, {"address"}),
        ({"title": "t", "port": True}, {"port"}),
        ({"title": "t", "count": 11}, {"count"}),
        ({"title": "t", "count": "3"}, {"count"}),
        ({"title": "t", "loud": "yes"}, {"loud"}),
        ({"title": "t", "kind": "c"}, {"kind"}),
        ({"title": "t", "kind": ["a"]}, {"kind"}),
        ({"title": "t", "key": "a b"}, {"key"}),
        ({"title": "t", "key": "a\n"}, {"key"}),
        ({"title": "t", "data": [1]}, {"data"}),
        ({"title": "t", "file": "not base64!"}, {"file"}),
        ({"title": "t", "file": "YWJjZGU="}, {"file"}),
        ({"title": "t", "to": ["a@example.com"] * 3}, {"to"}),
        ({"title": "t", "to": "a@example.com"}, {"to"}),
        ({"title": "t", "parts": [{"size": 1}, {"name": "x", "colour": "red"}]}, {"parts.0.name"}),
        ({"title": "t", "parts": [{"name": "x", "colour": "red"}]}, {"parts.0.colour"}),
        ({"note": 1, "port": 0}, {"title", "note", "port"}),
    ],
    ids=lambda value: str(sorted(value)) if isinstance(value, set) else None,
)
def test_read_names_every_field_that_is_wrong(given_: dict[str, Any], named: set[str]) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(FORM, given_, prefix="config.")
    assert set(caught.value.fields) == {f"config.{name}" for name in named}


def test_read_fills_in_defaults_but_not_of_a_part() -> None:
    assert read(FORM, {"title": "t"}) == {"title": "t", "port": 443}
    assert read(FORM, {"note": "n"}, partial=True) == {"note": "n"}
    assert read(FORM, {"note": None, "port": None}, partial=True) == {"note": None, "port": 443}
    with pytest.raises(InvalidInput):
        read(FORM, {"title": None}, partial=True)


def test_read_refuses_what_is_nested_too_deep() -> None:
    deep: dict[str, Any] = {}
    for _ in range(2000):
        deep = {"in": deep}
    with pytest.raises(InvalidInput) as caught:
        read(FORM, {"title": "t", "data": deep})
    assert list(caught.value.fields) == ["data"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from([field.name for field in FORM]), JSON))
def test_read_takes_or_refuses_anything(values: dict[str, Any]) -> None:
    try:
        taken = read(FORM, values)
    except InvalidInput as error:
        refused = {name.partition(".")[0] for name in error.fields}
    else:
        refused = set()
        assert set(taken) <= {field.name for field in FORM}
    assert refused <= {field.name for field in FORM}


def test_schema_says_the_same() -> None:
    shape = schema(FORM)
    assert shape["required"] == ["title"]
    assert shape["additionalProperties"] is False
    properties = shape["properties"]
    assert properties["key"]["writeOnly"] is True
    assert properties["kind"]["enum"] == ["a", "b"]
    assert (properties["count"]["minimum"], properties["count"]["maximum"]) == (1, 10)
    assert properties["to"] == {
        "type": "array", "items": {"type": "string", "format": "email"}, "maxItems": 2, "title": "To",
    }  # fmt: skip
    assert properties["parts"]["items"]["required"] == ["name"]


@pytest.mark.parametrize("key", list(INTEGRATION_PROVIDERS))
def test_provider_declares_what_it_can_do(key: str) -> None:
    """A declared action without its method, or a field named twice, would only be found by whoever uses it."""
    provider = INTEGRATION_PROVIDERS.get(key)
    for action in provider.actions:
        assert action.queued or callable(getattr(provider, f"perform_{action.name}"))
        schema(action.fields)
    for fields in (provider.all_config_fields(), provider.credential_fields):
        names = [field.name for field in fields]
        assert len(names) == len({*names})
    assert provider.rotates in {"", *(field.name for field in provider.credential_fields)}
    assert all(field.kind in ("secret", "key") for field in provider.credential_fields)
