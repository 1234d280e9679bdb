"""Names and times on the wire, and input that nobody declared."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.http import QueryDict
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from core.api.serializers import CamelModelSerializer, CamelSerializer, camel, valid, wire_time
from core.tests.api_urls import Thing


def errors_of(kind: Any, data: Any, **options: Any) -> Any:
    with pytest.raises(ValidationError) as caught:
        valid(kind, data, **options)
    return caught.value.detail


@pytest.mark.parametrize(
    ("name", "wire"),
    [
        ("id", "id"),
        ("sent_at", "sentAt"),
        ("a_b_c", "aBC"),
        ("reply_to_id", "replyToId"),
        ("entity_type", "entityType"),
        ("is_2fa", "is2fa"),
    ],
)
def test_camel_names(name: str, wire: str) -> None:
    assert camel(name) == wire


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 1, 15, 8, tzinfo=UTC), "2026-01-15T08:00:00.000Z"),
        (datetime(2026, 1, 15, 8, 0, 0, 123999, tzinfo=UTC), "2026-01-15T08:00:00.123Z"),
        (datetime(2026, 1, 15, 1, tzinfo=timezone(timedelta(hours=-5, minutes=-30))), "2026-01-15T06:30:00.000Z"),
    ],
)
def test_wire_time_is_utc_with_milliseconds(moment: datetime, text: str) -> None:
    assert wire_time(moment) == text


def test_camel_serializer_shows_camel_names_and_leaves_json_alone() -> None:
    shown = Thing(
        {
            "id": None,
            "full_name": "ada l",
            "sent_at": datetime(2026, 1, 1, tzinfo=UTC),
            "config": {"base_url": 1, "a": {"b_c": 2}},
            "mail_server": {"host_name": "h", "port": 1},
            "spare_servers": [{"host_name": "s"}],
        }
    ).data
    assert shown == {
        "id": None,
        "fullName": "ada l",
        "sentAt": "2026-01-01T00:00:00.000Z",
        "config": {"base_url": 1, "a": {"b_c": 2}},
        "mailServer": {"hostName": "h", "port": 1},
        "spareServers": [{"hostName": "s"}],
        "shout": "ADA L",
        "firstWord": "ada",
    }


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ({"fullName": 5}, {"fullName"}),
        ({"fullName": True}, {"fullName"}),
        ({"fullName": "ada", "mailServer": {"hostName": 5, "port": "25"}}, {"mailServer"}),
        ({"fullName": "ada", "spareServers": [{"hostName": "h", "port": "25"}]}, {"spareServers"}),
        ({"fullName": "ada", "mailServer": {"hostName": "h", "port": True}}, {"mailServer"}),
        ({"fullName": 5, "nope": 1}, {"fullName", "nope"}),
    ],
)
def test_body_takes_only_the_json_type_of_a_field(data: Any, named: set[str]) -> None:
    assert set(errors_of(Thing, data)) == named


class Typed(CamelSerializer):
    yes = serializers.BooleanField(required=False)
    number = serializers.IntegerField(required=False)
    words = serializers.ListField(child=serializers.CharField(), required=False)
    key = serializers.UUIDField(required=False)


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ({"yes": "true"}, "yes"),
        ({"yes": 1}, "yes"),
        ({"number": "5"}, "number"),
        ({"number": False}, "number"),
        ({"words": ["a", 5]}, "words"),
        ({"key": 5}, "key"),
    ],
)
def test_body_reads_no_type_from_another(data: Any, named: str) -> None:
    assert set(errors_of(Typed, data)) == {named}


def test_body_takes_a_whole_number_however_it_is_written() -> None:
    assert valid(Typed, {"number": 5.0}).validated_data == {"number": 5}


def test_query_is_read_from_text() -> None:
    checked = valid(Typed, QueryDict("yes=true&number=5&words=5")).validated_data
    assert checked == {"yes": True, "number": 5, "words": ["5"]}


def test_camel_serializer_reads_camel_names_into_snake_case() -> None:
    checked = valid(
        Thing,
        {
            "fullName": "ada",
            "sentAt": "2026-01-01T02:00:00+02:00",
            "config": {"base_url": 1},
            "mailServer": {"hostName": "h"},
        },
    ).validated_data
    assert checked == {
        "full_name": "ada",
        "sent_at": datetime(2026, 1, 1, tzinfo=UTC),
        "config": {"base_url": 1},
        "mail_server": {"host_name": "h"},
    }


def test_camel_serializer_snake_case_input_is_unknown() -> None:
    assert errors_of(Thing, {"full_name": "ada"}) == {
        "fullName": ["This field is required."],
        "full_name": ["This field is not known."],
    }


def test_camel_serializer_field_and_object_checks_come_out_under_wire_names() -> None:
    assert errors_of(Thing, {"fullName": "nobody"}) == {"fullName": ["Nobody is no name."]}
    assert errors_of(Thing, {"fullName": "late", "sentAt": None}) == {"sentAt": ["Late has no time."]}


def test_strict_fields_names_everything_wrong_at_once() -> None:
    found = errors_of(
        Thing, {"fullName": "x" * 11, "id": "1", "role": "OWNER", "mailServer": {"hostName": "h", "extra": 1}}
    )
    assert set(found) == {"fullName", "id", "role", "mailServer"}
    assert found["id"] == ["This field cannot be set."]
    assert found["role"] == ["This field is not known."]
    assert found["mailServer"] == {"extra": ["This field is not known."]}


@pytest.mark.parametrize("data", [None, [], "text", 1, [{}]])
def test_strict_fields_body_that_is_no_object_is_refused(data: Any) -> None:
    assert errors_of(Thing, data)


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-01T00:00:00",
        "2026-01-01",
        "yesterday",
        "",
        5,
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "2026-13-01T00:00:00Z",
        {"a": 1},
    ],
)
def test_iso_date_time_field_other_forms_are_refused(text: Any) -> None:
    assert set(errors_of(Thing, {"fullName": "a", "sentAt": text})) == {"sentAt"}


def test_valid_only_keeps_the_named_fields() -> None:
    assert valid(Thing, {"fullName": "a"}, only=("full_name",)).validated_data == {"full_name": "a"}
    assert errors_of(Thing, {"config": {}}, only=("full_name",))["config"] == ["This field is not known."]
    assert valid(Thing, {}, only=()).validated_data == {}


class Filters(CamelSerializer):
    is_unread = serializers.BooleanField(default=None, allow_null=True)
    folder_ids = serializers.ListField(child=serializers.CharField(), default=list)
    max_size = serializers.IntegerField(default=7)
    owner_id = serializers.UUIDField(default=None, allow_null=True)
    entity_id = serializers.CharField(default="")


def test_valid_query_absent_and_empty_parameters_are_left_out() -> None:
    expected = {"is_unread": None, "folder_ids": [], "max_size": 7, "owner_id": None, "entity_id": ""}
    assert valid(Filters, QueryDict("")).validated_data == expected
    assert valid(Filters, QueryDict("isUnread=&maxSize=&other=1")).validated_data == expected


def test_valid_query_ids_that_are_empty_are_wrong_and_not_left_out() -> None:
    assert set(errors_of(Filters, QueryDict("ownerId=&entityId=&maxSize="))) == {"ownerId", "entityId"}


def test_valid_query_values_are_read_and_checked() -> None:
    checked = valid(Filters, QueryDict("isUnread=true&folderIds=a&folderIds=b&maxSize=3&entityId=7")).validated_data
    assert checked == {"is_unread": True, "folder_ids": ["a", "b"], "max_size": 3, "owner_id": None, "entity_id": "7"}
    assert set(errors_of(Filters, QueryDict("isUnread=perhaps&maxSize=x"))) == {"isUnread", "maxSize"}


class TypeSerializer(CamelModelSerializer):
    class Meta:
        model = ContentType
        fields = ("id", "app_label", "model")
        read_only_fields = ("id",)
        extra_kwargs = {"app_label": {"max_length": 5}}
        validators: list[Any] = []


def test_camel_model_serializer_renames_model_fields_both_ways() -> None:
    assert TypeSerializer(ContentType(pk=3, app_label="core", model="x")).data == {
        "id": 3,
        "appLabel": "core",
        "model": "x",
    }
    assert valid(TypeSerializer, {"appLabel": "core", "model": "x"}).validated_data == {
        "app_label": "core",
        "model": "x",
    }
    assert set(errors_of(TypeSerializer, {"appLabel": "too long", "model": "x", "id": 1})) == {"appLabel", "id"}


def test_camel_model_serializer_times_are_on_the_wire_form() -> None:
    kind = CamelModelSerializer.serializer_field_mapping[models.DateTimeField]
    assert kind().to_representation(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01T00:00:00.000Z"
