"""Clients of the stand-in's own APIs as a hub would be one, and small messages."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from simulator.process import Simulator

CALLBACK = "http://hub.example/callback"
VERIFIER = "v" * 64
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
FULL_MAIL = "https://mail.google.com/"
MODIFY = "https://www.googleapis.com/auth/gmail.modify"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def reason(self) -> str:
        return str(self.json["error"]["errors"][0]["reason"])


def send(simulator: Simulator, method: str, target: str, *, token: str = "", **more: Any) -> Answer:
    """`json=` or `form=` or `body=` with `headers=`."""
    headers = dict(more.get("headers", {}))
    body = more.get("body", b"")
    if token:
        headers["Authorization"] = f"Bearer {token}"
    if "json" in more:
        headers["Content-Type"], body = "application/json", json.dumps(more["json"]).encode()
    if "form" in more:
        headers["Content-Type"], body = "application/x-www-form-urlencoded", urlencode(more["form"]).encode()
    return Answer(*simulator.request(method, target, headers=headers, body=body))


@dataclass
class GmailApi:
    simulator: Simulator
    email: str
    token: str
    tokens: dict[str, Any]

    def call(self, method: str, path: str, **more: Any) -> Answer:
        """`path` under /gmail/v1/users/me; `query=` a list of pairs or a dict."""
        query = more.pop("query", None)
        suffix = f"?{urlencode(query)}" if query else ""
        return send(self.simulator, method, f"/gmail/v1/users/me{path}{suffix}", token=self.token, **more)

    def get(self, path: str, **query: Any) -> Any:
        answer = self.call("GET", path, query=query)
        assert answer.status == 200, answer.body
        return answer.json

    def post(self, path: str, body: dict[str, Any]) -> Any:
        answer = self.call("POST", path, json=body)
        assert answer.status == 200, answer.body
        return answer.json

    def deliver(self, subject: str = "Hello", **headers: str) -> dict[str, Any]:
        return self.simulator.deliver(self.email, message(subject, **headers))


@dataclass
class GraphApi:
    """A caller of Graph with one token; with `immutable`, every request prefers immutable ids."""

    simulator: Simulator
    email: str
    token: str
    immutable: bool = True

    def call(self, method: str, path: str, *, prefer: str = "", **more: Any) -> Answer:
        """`path` under /v1.0, or a whole address as Graph gave it; `query=` a dict."""
        query = more.pop("query", None)
        target = path.removeprefix(self.simulator.base_url) if path.startswith("http") else f"/v1.0{path}"
        if query:
            target += f"?{urlencode(query)}"
        wishes = [wish for wish in ('IdType="ImmutableId"' if self.immutable else "", prefer) if wish]
        headers = dict(more.pop("headers", {})) | ({"Prefer": ", ".join(wishes)} if wishes else {})
        return send(self.simulator, method, target, token=self.token, headers=headers, **more)

    def get(self, path: str, *, prefer: str = "", **query: Any) -> Any:
        """`select="id"` is $select."""
        named = {name if name == "includeHiddenFolders" else f"${name}": value for name, value in query.items()}
        answer = self.call("GET", path, prefer=prefer, query=named)
        assert answer.status == 200, answer.body
        return answer.json

    def post(self, path: str, body: dict[str, Any], status: int = 201) -> Any:
        answer = self.call("POST", path, json=body)
        assert answer.status == status, answer.body
        return answer.json if answer.body else None

    def code(self, method: str, path: str, **more: Any) -> tuple[int, str]:
        """Status and error code of a call that is refused."""
        answer = self.call(method, path, **more)
        return answer.status, str(answer.json["error"]["code"])

    def deliver(self, subject: str = "Hello", **headers: str) -> dict[str, Any]:
        return self.simulator.deliver(self.email, message(subject, **headers), vendor="microsoft")

    def round(self, link: str, *, size: int = 0) -> tuple[list[dict[str, Any]], str]:
        """All entries of a delta round and the delta link it ends with."""
        entries: list[dict[str, Any]] = []
        while True:
            page = self.get(link, prefer=f"odata.maxpagesize={size}" if size else "")
            entries += page["value"]
            if "@odata.deltaLink" in page:
                return entries, str(page["@odata.deltaLink"])
            link = page["@odata.nextLink"]


def message(subject: str = "Hello", body: str = "Text\r\n", **headers: str) -> bytes:
    """A small message; keyword `message_id` becomes Message-Id, an empty value leaves the header out."""
    fields = {"From": "Bob <bob@else.example>", "To": "ada@hub.example", "Subject": subject}
    fields |= {name.replace("_", "-").title(): value for name, value in headers.items()}
    lines = [f"{name}: {value}" for name, value in fields.items() if value]
    return "\r\n".join([*lines, "", body]).encode()


def raw_field(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def authorize_url(simulator: Simulator, vendor: str, **changes: str) -> str:
    """The path and query of a complete authorize request; an empty value leaves a parameter out."""
    env = simulator.env()
    name = vendor.upper()
    scopes = {"google": f"openid email profile {MODIFY}", "microsoft": "openid email offline_access User.Read"}
    query = {
        "client_id": env[f"{name}_CLIENT_ID"],
        "redirect_uri": CALLBACK,
        "response_type": "code",
        "scope": scopes[vendor],
        "state": "state-1",
        "access_type": "offline",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    query |= changes
    query = {key: value for key, value in query.items() if value}
    return f"{env[f'{name}_AUTHORIZE_URL']}?{urlencode(query)}"


def callback_of(location: str) -> dict[str, str]:
    """The parameters the browser brings back."""
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


def trade(simulator: Simulator, vendor: str, **changes: str) -> Answer:
    """A token request, complete but for `code=` or `refresh_token=`; an empty value leaves a field out."""
    env = simulator.env()
    name = vendor.upper()
    form = {"client_id": env[f"{name}_CLIENT_ID"], "client_secret": env[f"{name}_CLIENT_SECRET"]}
    if "refresh_token" in changes:
        form["grant_type"] = "refresh_token"
    else:
        form |= {"grant_type": "authorization_code", "redirect_uri": CALLBACK, "code_verifier": VERIFIER}
    form |= changes
    path = urlsplit(env[f"{name}_TOKEN_URL"]).path
    return send(simulator, "POST", path, form={key: value for key, value in form.items() if value})


def connect(simulator: Simulator, vendor: str, email: str, **changes: str) -> dict[str, Any]:
    """The whole flow; the token response."""
    location = simulator.authorize(authorize_url(simulator, vendor, **changes), email)
    answer = trade(simulator, vendor, code=callback_of(location)["code"])
    assert answer.status == 200, answer.body
    tokens: dict[str, Any] = answer.json
    return tokens


GRAPH_SCOPES = "openid email offline_access User.Read Mail.ReadWrite Mail.Send"


def connect_graph(simulator: Simulator, email: str, scope: str = GRAPH_SCOPES, *, immutable: bool = True) -> GraphApi:
    return GraphApi(simulator, email, connect(simulator, "microsoft", email, scope=scope)["access_token"], immutable)


def connect_google(simulator: Simulator, email: str, scope: str = f"openid email profile {FULL_MAIL}") -> GmailApi:
    tokens = connect(simulator, "google", email, scope=scope)
    return GmailApi(simulator, email, tokens["access_token"], tokens)
