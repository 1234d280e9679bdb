"""Chromium without a window, on a page of another origin that uploads as a client of the product does."""

from __future__ import annotations

import json
import queue
import shutil
import subprocess
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from documents.storage.base import Upload

SECONDS = 60
PAGE = """<!doctype html><title>upload</title><script>
const uploads = %s, results = [];
async function send({method, url, headers, fields, parts, content}) {
    if (parts) return await inParts(parts, new Blob([content]));
    const file = new Blob([content], {type: headers["Content-Type"] || (fields || {})["Content-Type"]});
    if (method === "PUT") return await fetch(url, {method, headers, body: file});
    const form = new FormData();
    for (const [name, value] of Object.entries(fields)) form.append(name, value);
    form.append("file", file, "letter.pdf");
    return await fetch(url, {method, body: form});
}
async function wholeWay({api, token, body, content}) {
    const headers = {Authorization: `Bearer ${token}`, "Content-Type": "application/json"};
    const ask = async (method, path, given) =>
        await (await fetch(api + path, {method, headers, body: given && JSON.stringify(given)})).json();
    const {document, upload} = await ask("POST", "/upload", body);
    const sent = await send({...upload, content});
    const confirmed = await ask("POST", `/${document.id}/confirm`);
    const file = await fetch((await ask("GET", `/${document.id}/download`)).url);
    return {status: [upload.method, sent.ok, confirmed.status, await file.text() === content]};
}
async function inParts(parts, file) {
    const statuses = await Promise.all(parts.map(async ({method, url, headers, start, size}) =>
        (await fetch(url, {method, headers, body: file.slice(start, start + size)})).status));
    return {status: statuses};
}
(async () => {
    for (const upload of uploads) {
        const goes = upload.api ? wholeWay : send;
        try { results.push((await goes(upload)).status); } catch (error) { results.push(String(error)); }
    }
    await fetch("/results", {method: "POST", body: JSON.stringify(results)});
})();
</script>"""


def program() -> str:
    """ "" where it is not installed."""
    return shutil.which("chromium") or ""


def as_json(upload: Upload, content: bytes) -> dict[str, Any]:
    """As the API shows it, and what is to be sent."""
    return {
        "method": upload.method,
        "url": upload.url,
        "headers": dict(upload.headers),
        "fields": dict(upload.fields) if upload.fields else None,
        "content": content.decode(),
    }


class Pages:
    """A server of one page; `origin` is where it is."""

    def __init__(self) -> None:
        self.page = ""
        self.results: queue.Queue[list[Any]] = queue.Queue()
        pages = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.end_headers()
                self.wfile.write(pages.page.encode())

            def do_POST(self) -> None:
                pages.results.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def run(self, folder: Path, *uploads: Mapping[str, Any]) -> list[Any]:
        """Each upload's status, or what the browser said instead."""
        self.page = PAGE % json.dumps(uploads)
        quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
        command = [
            *(program(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", *quiet),
            *(f"--user-data-dir={folder}/profile", "--remote-debugging-port=0", f"{self.origin}/"),
        ]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                return self.results.get(timeout=SECONDS)
            finally:
                process.kill()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
