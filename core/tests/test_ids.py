"""Ids sort by the time they were made and are version 7."""

from __future__ import annotations

import uuid

from core.ids import oldest_kept, uuid7


def test_uuid7_made_later_sorts_later_even_within_a_millisecond() -> None:
    made = []
    for _ in range(200):
        made.append(uuid7())
        while uuid7().int >> 64 == made[-1].int >> 64:  # the next quarter of a microsecond
            pass
    assert made == sorted(made)


def test_uuid7_is_of_version_seven_and_never_twice_the_same() -> None:
    made = {uuid7() for _ in range(10_000)}
    assert len(made) == 10_000
    assert {(value.version, value.variant) for value in made} == {(7, uuid.RFC_4122)}


def test_oldest_kept_of_more_days_than_there_were_is_the_least_id() -> None:
    assert oldest_kept(36_500).int == 0
