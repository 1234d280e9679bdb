"""Keys of objects: made by the server, out of ids alone. Nothing a client says is part of one.

`<workspace>/up/<document>-<nonce>` is where a client may upload, `<workspace>/doc/<document>-<nonce>` an object that no
upload URL was made for. A key is used once: each attempt to confirm has its own.
"""

from __future__ import annotations

import re
import secrets
import uuid

_ID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_KEY = re.compile(rf"(?P<workspace>{_ID})/(?P<kind>up|doc)/(?P<document>{_ID})-[0-9a-f]{{16}}")


def upload_key(workspace_id: uuid.UUID, document_id: uuid.UUID) -> str:
    """A place for one upload; a new one each time."""
    return f"{workspace_id}/up/{document_id}-{secrets.token_hex(8)}"


def final_key(workspace_id: uuid.UUID, document_id: uuid.UUID) -> str:
    """Where an upload is looked at, and stays once it is confirmed; a new one each time."""
    return f"{workspace_id}/doc/{document_id}-{secrets.token_hex(8)}"


def document_of(key: str) -> uuid.UUID | None:
    """The document a key was made for; None where it is no key of ours."""
    found = _KEY.fullmatch(key)
    return uuid.UUID(found["document"]) if found else None


def is_upload(key: str) -> bool:
    """Whether a client may have been given a URL to write there."""
    found = _KEY.fullmatch(key)
    return found is not None and found["kind"] == "up"
