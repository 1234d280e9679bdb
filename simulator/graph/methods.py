"""The Graph calls that exist here: HTTP method, path below `/v1.0/me` and `/v1.0/users/{user}`, and the delegated
scopes of which one is needed (least privileged first, as Microsoft's permission tables list them)."""

from __future__ import annotations

from dataclasses import dataclass

BASIC = "Mail.ReadBasic"
READ = "Mail.Read"
WRITE = "Mail.ReadWrite"
SEND = "Mail.Send"

READ_BASIC = (BASIC, READ, WRITE)
READ_MAIL = (READ, WRITE)
CHANGE = (WRITE,)


@dataclass(frozen=True)
class Method:
    http: str
    path: str
    scopes: tuple[str, ...]


FOLDER = "mailFolders/{folder}"
MESSAGE = "messages/{id}"

METHODS = {
    "graph.mailFolders.list": Method("GET", "mailFolders", READ_BASIC),
    "graph.mailFolders.create": Method("POST", "mailFolders", CHANGE),
    "graph.mailFolders.delta": Method("GET", "mailFolders/delta", READ_BASIC),
    "graph.mailFolders.get": Method("GET", FOLDER, READ_BASIC),
    "graph.mailFolders.update": Method("PATCH", FOLDER, CHANGE),
    "graph.mailFolders.delete": Method("DELETE", FOLDER, CHANGE),
    "graph.mailFolders.childFolders.list": Method("GET", f"{FOLDER}/childFolders", READ_BASIC),
    "graph.mailFolders.childFolders.create": Method("POST", f"{FOLDER}/childFolders", CHANGE),
    "graph.mailFolders.messages.list": Method("GET", f"{FOLDER}/messages", READ_BASIC),
    "graph.mailFolders.messages.count": Method("GET", f"{FOLDER}/messages/$count", READ_BASIC),
    "graph.mailFolders.messages.create": Method("POST", f"{FOLDER}/messages", CHANGE),
    "graph.mailFolders.messages.delta": Method("GET", f"{FOLDER}/messages/delta", READ_BASIC),
    "graph.messages.list": Method("GET", "messages", READ_BASIC),
    "graph.messages.count": Method("GET", "messages/$count", READ_BASIC),
    "graph.messages.create": Method("POST", "messages", CHANGE),
    "graph.messages.get": Method("GET", MESSAGE, READ_BASIC),
    "graph.messages.value": Method("GET", f"{MESSAGE}/$value", READ_MAIL),
    "graph.messages.update": Method("PATCH", MESSAGE, CHANGE),
    "graph.messages.delete": Method("DELETE", MESSAGE, CHANGE),
    "graph.messages.permanentDelete": Method("POST", f"{MESSAGE}/permanentDelete", CHANGE),
    "graph.messages.move": Method("POST", f"{MESSAGE}/move", CHANGE),
    "graph.messages.copy": Method("POST", f"{MESSAGE}/copy", CHANGE),
    "graph.messages.createReply": Method("POST", f"{MESSAGE}/createReply", CHANGE),
    "graph.messages.createReplyAll": Method("POST", f"{MESSAGE}/createReplyAll", CHANGE),
    "graph.messages.createForward": Method("POST", f"{MESSAGE}/createForward", CHANGE),
    "graph.messages.reply": Method("POST", f"{MESSAGE}/reply", (SEND,)),
    "graph.messages.replyAll": Method("POST", f"{MESSAGE}/replyAll", (SEND,)),
    "graph.messages.forward": Method("POST", f"{MESSAGE}/forward", (SEND,)),
    "graph.messages.send": Method("POST", f"{MESSAGE}/send", (SEND,)),
    "graph.messages.attachments.list": Method("GET", f"{MESSAGE}/attachments", READ_MAIL),
    "graph.messages.attachments.create": Method("POST", f"{MESSAGE}/attachments", CHANGE),
    "graph.messages.attachments.createUploadSession": Method(
        "POST", f"{MESSAGE}/attachments/createUploadSession", CHANGE
    ),
    "graph.messages.attachments.get": Method("GET", f"{MESSAGE}/attachments/{{attachment}}", READ_MAIL),
    "graph.messages.attachments.value": Method("GET", f"{MESSAGE}/attachments/{{attachment}}/$value", READ_MAIL),
    "graph.messages.attachments.delete": Method("DELETE", f"{MESSAGE}/attachments/{{attachment}}", CHANGE),
    "graph.sendMail": Method("POST", "sendMail", (SEND,)),
    "graph.translateExchangeIds": Method("POST", "translateExchangeIds", ("User.ReadBasic", "User.Read", *READ_BASIC)),
}
