"""Celery's settings: what beat rings exists, and what goes where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from config.celery import app


def test_every_task_that_beat_rings_exists() -> None:
    app.loader.import_default_modules()
    rung = {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()}
    assert rung <= set(app.tasks)


def test_slices_of_syncs_have_their_own_queue_and_nothing_is_delivered_twice(tmp_path: Path) -> None:
    folders: dict[str, Any] = {name: str(tmp_path) for name in ("data_folder_in", "data_folder_out")}
    folders |= {"control_folder": str(tmp_path / "control")}
    with app.connection_for_write(url="filesystem://", transport_options=folders) as broker:
        for queue in settings.CELERY_TASK_QUEUES:
            queue(broker.default_channel).declare()
        for task in ("integrations.tasks.execute_run", "integrations.tasks.tick", "workspaces.tasks.heartbeat"):
            app.send_task(task, args=("id",), connection=broker)
    messages = [file for file in tmp_path.iterdir() if file.is_file()]
    assert sorted(file.name.split(".")[1] for file in messages) == ["quick", "quick", "sync"]


@pytest.mark.parametrize("name", ["CELERY_TASK_ACKS_LATE", "CELERY_TASK_REJECT_ON_WORKER_LOST"])
def test_a_killed_workers_task_returns(name: str) -> None:
    assert getattr(settings, name) is True


def test_only_json_is_spoken() -> None:
    assert app.conf.accept_content == ["json"]
    assert app.conf.task_serializer == "json"
