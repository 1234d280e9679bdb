"""The Gmail methods that exist here: HTTP method, path, the scopes of which one is needed, and the price in quota
units. Method, path and scopes are those of Google's discovery document (a test compares them); prices are those of
a project created since May 2026."""

from __future__ import annotations

from dataclasses import dataclass

PREFIX = "https://www.googleapis.com/auth/"
FULL = "https://mail.google.com/"
MODIFY = PREFIX + "gmail.modify"
READONLY = PREFIX + "gmail.readonly"
METADATA = PREFIX + "gmail.metadata"
COMPOSE = PREFIX + "gmail.compose"
SEND = PREFIX + "gmail.send"
LABELS = PREFIX + "gmail.labels"
SETTINGS = PREFIX + "gmail.settings.basic"

READ = (FULL, METADATA, MODIFY, READONLY)
READ_CONTENT = (FULL, MODIFY, READONLY)
CHANGE = (FULL, MODIFY)
DRAFT_READ = (FULL, COMPOSE, MODIFY, READONLY)
DRAFT_WRITE = (FULL, COMPOSE, MODIFY)
LABEL_READ = (FULL, LABELS, METADATA, MODIFY, READONLY)
LABEL_WRITE = (FULL, LABELS, MODIFY)


@dataclass(frozen=True)
class Method:
    http: str
    path: str
    scopes: tuple[str, ...]
    units: int


def _method(http: str, path: str, scopes: tuple[str, ...], units: int) -> Method:
    return Method(http, f"/gmail/v1/users/{{userId}}/{path}", scopes, units)


METHODS = {
    "gmail.users.getProfile": _method("GET", "profile", (FULL, COMPOSE, METADATA, MODIFY, READONLY), 1),
    "gmail.users.messages.list": _method("GET", "messages", READ, 5),
    "gmail.users.messages.get": _method("GET", "messages/{id}", READ, 20),
    "gmail.users.messages.attachments.get": _method("GET", "messages/{messageId}/attachments/{id}", READ_CONTENT, 20),
    "gmail.users.messages.modify": _method("POST", "messages/{id}/modify", CHANGE, 5),
    "gmail.users.messages.batchModify": _method("POST", "messages/batchModify", CHANGE, 50),
    "gmail.users.messages.trash": _method("POST", "messages/{id}/trash", CHANGE, 20),
    "gmail.users.messages.untrash": _method("POST", "messages/{id}/untrash", CHANGE, 5),
    "gmail.users.messages.delete": _method("DELETE", "messages/{id}", (FULL,), 10),
    "gmail.users.messages.batchDelete": _method("POST", "messages/batchDelete", (FULL,), 50),
    "gmail.users.messages.send": _method("POST", "messages/send", (FULL, COMPOSE, MODIFY, SEND), 100),
    "gmail.users.threads.list": _method("GET", "threads", READ, 10),
    "gmail.users.threads.get": _method("GET", "threads/{id}", READ, 40),
    "gmail.users.threads.modify": _method("POST", "threads/{id}/modify", CHANGE, 10),
    "gmail.users.labels.list": _method("GET", "labels", LABEL_READ, 1),
    "gmail.users.labels.get": _method("GET", "labels/{id}", LABEL_READ, 1),
    "gmail.users.labels.create": _method("POST", "labels", LABEL_WRITE, 5),
    "gmail.users.labels.patch": _method("PATCH", "labels/{id}", LABEL_WRITE, 5),
    "gmail.users.labels.delete": _method("DELETE", "labels/{id}", LABEL_WRITE, 5),
    "gmail.users.drafts.list": _method("GET", "drafts", DRAFT_READ, 5),
    "gmail.users.drafts.create": _method("POST", "drafts", DRAFT_WRITE, 10),
    "gmail.users.drafts.get": _method("GET", "drafts/{id}", DRAFT_READ, 5),
    "gmail.users.drafts.update": _method("PUT", "drafts/{id}", DRAFT_WRITE, 15),
    "gmail.users.drafts.delete": _method("DELETE", "drafts/{id}", DRAFT_WRITE, 10),
    "gmail.users.drafts.send": _method("POST", "drafts/send", DRAFT_WRITE, 100),
    "gmail.users.history.list": _method("GET", "history", READ, 2),
    "gmail.users.watch": _method("POST", "watch", READ, 100),
    "gmail.users.stop": _method("POST", "stop", READ, 50),
    "gmail.users.settings.sendAs.list": _method("GET", "settings/sendAs", (*READ_CONTENT, SETTINGS), 1),
}
# Methods that also take the message itself as the body, under /upload.
UPLOADS = ("gmail.users.messages.send", "gmail.users.drafts.create", "gmail.users.drafts.update")
