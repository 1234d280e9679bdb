"""users.labels. Counters come with get only; renaming and deleting leave no history of the label itself."""

from __future__ import annotations

from typing import Any

from simulator.errors import google_error
from simulator.gmail.access import Call, Handler, not_found
from simulator.google_access import invalid
from simulator.mailbox import SYSTEM_LABELS, Label

SETTINGS = ("messageListVisibility", "labelListVisibility", "color")
RESERVED = {name.casefold() for name in SYSTEM_LABELS} | {"drafts", "muted", "migrated", "spam"}


def _show(label: Label) -> dict[str, Any]:
    kind = "system" if label.system else "user"
    return {"id": label.id, "name": label.name, "type": kind} | label.settings


def _label(call: Call) -> Label:
    label = call.mailbox.labels.get(call.request.params["id"])
    if label is None:
        raise not_found()
    return label


def _own(call: Call) -> Label:
    label = _label(call)
    if label.system:
        raise invalid("Invalid delete request" if call.request.method == "DELETE" else "Invalid update request")
    return label


def _read(call: Call, current: Label | None = None) -> tuple[str, dict[str, Any]]:
    """Name and settings of the body, the name checked."""
    body = call.body()
    name = str(body.get("name") or (current.name if current else "")).strip()
    if not name or name.casefold() in RESERVED or any(ord(sign) < 32 for sign in name) or len(name) > 225:
        raise invalid("Invalid label name")
    taken = call.mailbox.label_named(name)
    if taken and taken is not current:
        raise google_error(409, "Label name exists or conflicts", "aborted")
    return name, {key: body[key] for key in SETTINGS if key in body}


def list_labels(call: Call) -> dict[str, Any]:
    return {"labels": [_show(label) for label in call.mailbox.labels.values()]}


def get(call: Call) -> dict[str, Any]:
    label = _label(call)
    return _show(label) | call.mailbox.counters(label.id)


def create(call: Call) -> dict[str, Any]:
    name, settings = _read(call)
    label = call.mailbox.add_label(name, **settings)
    call.changed("label.created", id=label.id, name=name)
    return _show(label)


def patch(call: Call) -> dict[str, Any]:
    label = _own(call)
    label.name, settings = _read(call, label)
    label.settings |= settings
    call.changed("label.changed", id=label.id, name=label.name)
    return _show(label)


def delete(call: Call) -> None:
    label = _own(call)
    call.mailbox.remove_label(label)
    call.changed("label.deleted", id=label.id)


HANDLERS: dict[str, Handler] = {
    "gmail.users.labels.list": list_labels,
    "gmail.users.labels.get": get,
    "gmail.users.labels.create": create,
    "gmail.users.labels.patch": patch,
    "gmail.users.labels.delete": delete,
}
