"""Somebody who uses a hub over its HTTP API: for the demo, the journeys and the benchmarks.

visitor = Visitor("http://127.0.0.1:8000", token)
visitor.connect_google(simulator, "ada@hub.example")
"""

from __future__ import annotations

import http.client
import json
import time
from typing import Any
from urllib.parse import urlencode, urlsplit

from simulator.process import Simulator

PREFIX = "/api/v1/integrations"


class Refused(Exception):
    """The hub answered with an error; `status` and `body` as it came."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(f"{status}: {body}")
        self.status = status
        self.body = body


class Visitor:
    """A client of one hub with one token."""

    def __init__(self, base_url: str, token: str = "", *, timeout: float = 30.0) -> None:
        self.base_url = base_url.rstrip("/")
        self.token = token
        self.timeout = timeout

    def call(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """The decoded answer of a call below the user-level prefix; Refused for 4xx and 5xx."""
        target = f"{PREFIX}/{path}" + (f"?{urlencode(query)}" if query else "")
        status, answer = self.request(method, target, body)
        value = json.loads(answer) if answer else None
        if status >= 400:
            raise Refused(status, value)
        return value

    def get(self, path: str, **query: Any) -> Any:
        return self.call("GET", path, **query)

    def post(self, path: str, body: Any = None) -> Any:
        return self.call("POST", path, {} if body is None else body)

    def request(self, method: str, target: str, body: Any = None) -> tuple[int, bytes]:
        """Status and body of any request."""
        parts = urlsplit(self.base_url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=self.timeout)
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        try:
            connection.request(method, target, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def wait_until_ready(self, seconds: float) -> bool:
        """Whether `/readyz` answers 200 within the time."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                if self.request("GET", "/readyz")[0] == 200:
                    return True
            except OSError:
                pass
            time.sleep(0.3)
        return False

    def connect_google(self, simulator: Simulator, email: str) -> str:
        return self.connect(simulator, "google", email)

    def connect_microsoft(self, simulator: Simulator, email: str) -> str:
        return self.connect(simulator, "microsoft", email)

    def connect(self, simulator: Simulator, provider: str, email: str, *, scopes: str = "email") -> str:
        """Walks through the consent flow as `email`; the id of the connection."""
        begun = self.get(f"oauth/{provider}/authorize", scopes=scopes)
        back = urlsplit(simulator.authorize(begun["authorizationUrl"], email))
        status, answer = self.request("GET", f"{back.path}?{back.query}")
        if status >= 400:
            raise Refused(status, answer)
        connections = self.get("connections", limit=100)["data"]
        found = (row for row in connections if (row["provider"], row["accountEmail"]) == (provider, email))
        return str(next(found)["id"])
