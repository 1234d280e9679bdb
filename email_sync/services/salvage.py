"""A page whose values the database does not take: the bad message is found and kept as an envelope (reference R9).

Called by the engine for every page. Parser and providers bound and clean what they bring, so this is the second wall: a
gap in the first costs one message its body and not its mailbox the sync.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from django.db import DataError, IntegrityError, OperationalError
from psycopg.errors import ProgramLimitExceeded

from email_sync.parsing.text import one_line
from email_sync.records import Address, ParsedMessage, RemoteState
from email_sync.services.store import Incoming

logger = logging.getLogger("patchbay.sync")

MAX_ID, MAX_KEY, MAX_THREAD, MAX_TEXT = 500, 64, 255, 998
MAX_SIZE = 2**62
DEFECT = "Parts of it cannot be stored, so only its outside is shown."
UNFIT = (DataError, IntegrityError, OperationalError, ValueError)
"""What a value the database does not take may end in; of OperationalError only the one that is about values."""


def write(write_page: Callable[..., None], messages: Sequence[Incoming], **page: Any) -> None:
    """Write the page whole, or where that cannot be: each message by itself, then the rest of the page."""
    try:
        write_page(messages, **page)
    except UNFIT as error:
        if isinstance(error, OperationalError) and not isinstance(error.__cause__, ProgramLimitExceeded):
            raise
        logger.warning("a page cannot be stored as it came (%s): one message at a time", type(error).__name__)
        for item in messages:
            _write_one(write_page, item)
        updated = [storable(state) for state in page.pop("updated", ())]
        write_page([], updated=updated, **page)


def _write_one(write_page: Callable[..., None], item: Incoming) -> None:
    for form in (item, envelope(item)):
        try:
            return write_page([form])
        except UNFIT as error:
            if isinstance(error, OperationalError) and not isinstance(error.__cause__, ProgramLimitExceeded):
                raise
    logger.error("message %.100r cannot be stored in any form", item.remote.state.remote_id)
    return None


def envelope(item: Incoming) -> Incoming:
    """Who, what about and when, cleaned and cut."""
    remote, parsed = item.remote, item.parsed
    outside = ParsedMessage(
        message_id=one_line(parsed.message_id, MAX_TEXT),
        in_reply_to=(),
        references=(),
        subject=one_line(parsed.subject, MAX_TEXT),
        sender=Address(one_line(parsed.sender.name, MAX_TEXT), one_line(parsed.sender.email, MAX_TEXT)),
        to=(),
        cc=(),
        bcc=(),
        reply_to=(),
        sent_at=parsed.sent_at,
        text="",
        html="",
        attachments=(),
        headers=(),
        defect=DEFECT,
    )
    thread = remote.thread_remote_id if len(remote.thread_remote_id) <= MAX_THREAD else ""
    size = min(max(remote.size, 0), MAX_SIZE)
    return Incoming(replace(remote, state=storable(remote.state), thread_remote_id=thread, size=size), outside)


def storable(state: RemoteState) -> RemoteState:
    """A state without what its columns cannot hold; the remote id is what it is."""
    folders = tuple(one_line(folder, MAX_ID) for folder in state.folder_ids)
    return replace(
        state, folder_ids=folders, content_key=state.content_key if len(state.content_key) <= MAX_KEY else ""
    )
