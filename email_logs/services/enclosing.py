"""Documents that go along with a workspace's mail: found and weighed before anything else is looked at, read last.

Called by `sending`. What goes along is frozen with the mail, so what becomes of the document later changes no mail. In
memory is what the provider takes in a mail, and no byte of more than that is read.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.errors import InvalidInput
from integrations.providers.mail import refuse_attached
from integrations.services.files import StoredFile, files

if TYPE_CHECKING:
    from workspaces.models import Workspace

ALONE = "Give documentId alone, or a file."
NO_ID = "This is not the id of a document."
STANDS_FOR_IT = "AAAA"
"""Where the content will be: a mail is checked before any document is read."""


@dataclass(frozen=True, slots=True)
class Enclosed:
    """The input of `send` in which documents are files by name and type, and the documents, by their place."""

    given: Mapping[str, Any]
    documents: Mapping[int, StoredFile]

    def filled(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """The checked input with the documents' content. DocumentUnusable where one was deleted since, ServiceBusy
        while the store is down."""
        if not self.documents:
            return values
        return {**values, "attachments": [self._filled(*each) for each in enumerate(values["attachments"])]}

    def _filled(self, place: int, item: Mapping[str, Any]) -> Mapping[str, Any]:
        document = self.documents.get(place)
        return item if document is None else {**item, "contentBase64": _base64(document.read(0, None))}


def find(given: Mapping[str, Any], *, workspace: Workspace, limit: int) -> Enclosed:
    """InvalidInput for what is no id, and where all attachments are more than `limit` bytes of base64; DocumentUnusable
    (422) for a foreign or missing document alike and for one that is not ready. Both name the field."""
    items = given.get("attachments")
    if not isinstance(items, list) or not (named := _named(items)):
        return Enclosed(given, {})
    documents = {
        place: files().find(workspace=workspace, document_id=pk, field=_field(place)) for place, pk in named.items()
    }
    refuse_attached(sum(_weights(items, documents)), limit)
    shown = [_shown(documents[place]) if place in documents else item for place, item in enumerate(items)]
    return Enclosed({**given, "attachments": shown}, documents)


def _named(items: Sequence[object]) -> dict[int, uuid.UUID]:
    """Place → document."""
    found, problems = dict[int, uuid.UUID](), dict[str, list[str]]()
    for place, item in enumerate(items):
        if not isinstance(item, Mapping) or "documentId" not in item:
            continue
        try:
            found[place] = uuid.UUID(item["documentId"])
        except (ValueError, TypeError, AttributeError):
            problems[_field(place)] = [NO_ID]
        if len(item) > 1:
            problems[_field(place)] = [ALONE]
    if problems:
        raise InvalidInput(fields=problems)
    return found


def _field(place: int) -> str:
    return f"attachments.{place}.documentId"


def _weights(items: Sequence[Any], documents: Mapping[int, StoredFile]) -> Iterable[int]:
    """Of each, in bytes of base64; what is no file weighs nothing here and is refused elsewhere."""
    for place, item in enumerate(items):
        if place in documents:
            yield -(-documents[place].size // 3) * 4
        elif isinstance(item, Mapping) and isinstance(item.get("contentBase64"), str):
            yield len(item["contentBase64"])


def _shown(document: StoredFile) -> dict[str, str]:
    return {
        "fileName": document.file_name, "contentType": document.content_type, "contentBase64": STANDS_FOR_IT,
    }  # fmt: skip


def _base64(chunks: Iterable[bytes]) -> str:
    """Of all of them, encoded as they come."""
    text, rest = bytearray(), b""
    for chunk in chunks:
        whole = rest + chunk
        cut = len(whole) - len(whole) % 3
        text += base64.b64encode(whole[:cut])
        rest = whole[cut:]
    return (text + base64.b64encode(rest)).decode()
