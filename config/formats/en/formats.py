"""Sortable, short, and with the zone: an operator compares these with log lines."""

from __future__ import annotations

DATE_FORMAT = "Y-m-d"
DATETIME_FORMAT = "Y-m-d H:i e"
