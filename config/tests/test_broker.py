"""The broker in a folder: no reader may meet half a message."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from queue import Empty
from typing import Any

import pytest
from django.conf import settings
from kombu import Connection

from config.broker import Channel, Transport
from config.celery import app


@pytest.fixture
def channel(tmp_path: Path) -> Iterator[Channel]:
    folders: dict[str, Any] = {name: str(tmp_path) for name in ("data_folder_in", "data_folder_out")}
    with Connection("filesystem://", transport=Transport, transport_options=folders) as broker:
        yield broker.channel()


def test_put_shows_a_message_only_when_it_is_whole(channel: Channel) -> None:
    class Observed:
        """Looks into the queue while it is being written."""

        def __json__(self) -> str:
            seen.append(channel._size("quick"))
            return "whole"

    seen: list[int] = []
    channel._put("quick", {"body": Observed()})
    assert seen == [0]
    assert channel._get("quick") == {"body": "whole"}


def test_get_ignores_what_a_killed_writer_left(channel: Channel, tmp_path: Path) -> None:
    (tmp_path / "1_a.quick.msg.unfinished").write_text('{"bo')
    with pytest.raises(Empty):
        channel._get("quick")


def test_get_gives_messages_in_their_order_and_to_their_queue(channel: Channel) -> None:
    for number in range(3):
        channel._put("quick", {"n": number})
        channel._put("sync", {"n": -number})
    assert [channel._get("quick")["n"] for _ in range(3)] == [0, 1, 2]


def test_settings_use_it_where_no_broker_is_given() -> None:
    in_folder = settings.CELERY_BROKER_URL.startswith("filesystem:")
    assert issubclass(app.connection_for_write().get_transport_cls(), Transport) == in_folder
