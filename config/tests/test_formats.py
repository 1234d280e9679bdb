"""Times as the console writes them."""

from __future__ import annotations

from datetime import UTC, datetime

from django.utils import formats, timezone, translation


def test_times_are_sortable_and_name_their_zone() -> None:
    at = timezone.localtime(datetime(2026, 3, 1, 14, 5, tzinfo=UTC))
    with translation.override("en"):
        assert formats.date_format(at, "DATETIME_FORMAT") == "2026-03-01 14:05 UTC"
