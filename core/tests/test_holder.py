"""Processes by name: alive, dead, somebody else's."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid

import pytest

from core import holder

pytestmark = pytest.mark.skipif(not holder.me(), reason="this system has no /proc")


def test_this_process_is_alive_and_has_a_name_that_fits() -> None:
    assert not holder.is_dead(holder.me())
    assert holder.me().startswith(holder.mine())
    assert len(holder.me()) <= holder.MAX_NAME


def test_process_that_was_killed_is_dead_before_and_after_its_parent_noticed() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    name = holder._name(child.pid)
    assert not holder.is_dead(name)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert holder.is_dead(name)
    child.wait()
    assert holder.is_dead(name)


def test_process_id_that_is_used_again_is_another_process() -> None:
    assert holder.is_dead(f"{holder.me()}0")


@pytest.mark.parametrize("name", ["", "elsewhere/4026531836/1@1", "nonsense"])
def test_process_of_another_machine_is_not_judged(name: str) -> None:
    assert not holder.is_dead(name)


def test_stamp_tells_its_process_as_long_as_that_is_known() -> None:
    """Of a living process nothing is said, of a killed one that it is dead, of another machine's nothing."""
    mine = holder.stamp()
    assert mine != holder.stamp()
    assert not holder.is_of_the_dead(mine)
    child = subprocess.run(
        [sys.executable, "-c", "from core import holder; print(holder.stamp())"],
        capture_output=True,
        text=True,
        check=True,
    )
    dead = uuid.UUID(child.stdout.strip())
    assert holder.is_of_the_dead(dead)
    again = uuid.UUID(bytes=mine.bytes[:8] + b"\x00\x00\x00\x00" + mine.bytes[12:])
    assert holder.is_of_the_dead(again), "its process id is used again"
    assert not holder.is_of_the_dead(uuid.UUID(bytes=b"else" + dead.bytes[4:]))
    assert not holder.is_of_the_dead(uuid.uuid4())
    assert not holder.is_of_the_dead(uuid.UUID(int=0))
