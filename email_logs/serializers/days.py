"""How counts by day look on the wire."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from core.api.serializers import CamelSerializer
from email_logs.services.days import MAX_DAYS, Counts, Series


class DaysParameters(CamelSerializer):
    """Query of the counts."""

    days = serializers.IntegerField(default=30, min_value=1, max_value=MAX_DAYS, help_text="Today is the last one.")


class CountsShape(CamelSerializer):
    """How many mails, and where they stand."""

    total = serializers.IntegerField()
    by_state = serializers.DictField(child=serializers.IntegerField(), help_text="States without a mail are absent.")


class DayShape(CountsShape):
    """One day, in UTC."""

    day = serializers.DateField()


class TableCountsShape(CountsShape):
    """One table over all the days."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    provider = serializers.CharField()


class DaysShape(CountsShape):
    """The last days."""

    days = DayShape(many=True, help_text="Oldest first; a day without mail is there too.")
    tables = TableCountsShape(many=True)


def shown(series: Series) -> dict[str, Any]:
    """As `DaysShape`."""
    return {
        **_counts(series.states),
        "days": [{"day": day.isoformat(), **_counts(counts)} for day, counts in series.days.items()],
        "tables": [
            {"id": str(table.pk), "name": table.name, "provider": table.provider, **_counts(counts)}
            for table, counts in series.tables.items()
        ],
    }


def _counts(counts: Counts) -> dict[str, Any]:
    return {"total": sum(counts.values()), "byState": dict(counts)}
