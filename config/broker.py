"""kombu's transport over a folder, made safe for several readers. Named in settings where no CELERY_BROKER_URL is set.

kombu opens a message's file under its final name and then writes it, so that a reader who comes between takes an empty
message, and the worker ends over it with all it holds. Here a message gets its name when it is whole.
"""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Any

from kombu.transport import filesystem
from kombu.utils.json import dumps


class Channel(filesystem.Channel):
    """Readers take files by the end of their names, `.<queue>.msg`; what is being written ends otherwise."""

    def _put(self, queue: str, payload: Any, **kwargs: Any) -> None:  # type: ignore[override]  # as kombu's own
        """Write aside, then rename. Names sort by time, also over a restart of the machine."""
        name = f"{time.time_ns()}_{uuid.uuid4()}.{queue}.msg"
        folder = Path(self.data_folder_out)
        unfinished = folder / f"{name}.unfinished"
        unfinished.write_text(dumps(payload))
        unfinished.rename(folder / name)


class Transport(filesystem.Transport):
    """kombu's, with our channel."""

    Channel = Channel
