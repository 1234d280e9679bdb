"""Row `documents`: a file of 1 GiB (`--full`; else 256 MiB) in and out of the local store, beside bare Django views in
the same server, and the server's memory meanwhile; lists of 1,000 and of 1,000,000 documents (else 50,000); and how
much of a file in S3 passes the product: nothing.

Memory is the unique set of gunicorn's processes, looked at while bytes flow. Timed of a list is what the database is
asked for. The bytes that pass are counted by a relay before the product and one between it and the store.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
from django.db import connection as database
from django.test import override_settings

from benchmarks.corpus import vocabulary, words
from benchmarks.inbox import server
from benchmarks.measuring import ROUNDS, Report, StatementClock, percentile, say, seconds
from benchmarks.relay import Relay
from benchmarks.timeline import _blocks, _explain
from core.api.pagination import PageQuery, encode_cursor
from documents.models import Document
from documents.services.reading import DocumentsQuery, Filters, counts, listed
from documents.storage import s3_client
from documents.tests import localstack
from workspaces.models import Workspace
from workspaces.services import members, tokens

MIB = 1024**2
API = "/api/v1/integrations/documents"
GROWTH_MB = 24
"""What the server may grow by while it moves a file, whatever its size: buffers, and what Python keeps."""
PAGES, WARM, LIMIT = 40, 5, 50
DEEP = 0.9
GOAL_MS = 20
BLOCKS_OF_A_PAGE = 6_000
RARE = "zirconium"
ROWS_AT_ONCE = 5_000
PASSING = 64 * MIB
MAY_PASS = 256 * 1024
"""Requests, answers and the first 16 KiB that are looked at; no more of a file of any size."""


def measure(options: argparse.Namespace, folder: Path, report: Report) -> None:
    """The row. AssertionError where memory follows the file, a page the table, or bytes pass that should not."""
    size = (256 if options.small else 1024) * MIB
    _time_transfers(report, folder, size)
    _time_lists(report, (1_000, 50_000 if options.small else 1_000_000), explain=options.explain)
    _count_what_passes(report, folder)


# --- a large file -------------------------------------------------------------------------------------------------


def _time_transfers(report: Report, folder: Path, size: int) -> None:
    os.environ |= {"BENCH_FILE": str(folder / "bare-file"), "DOCUMENT_MAX_BYTES": str(2 * size)}
    token = _owner()[1]
    rates: dict[str, list[float]] = {}
    memory: dict[str, float] = {}
    with server() as port:
        client = Client(port, token)
        for number in range(ROUNDS + 1):
            say(f"{size // MIB:,} MiB in and out, round {number} of {ROUNDS}")
            for name, took, grown in _round(client, size):
                if number:  # the first one warms up
                    rates.setdefault(name, []).append(size / MIB / took)
                    memory[name] = max(memory.get(name, 0.0), grown)
    found = {name: report.add(f"{name}, {size // MIB:,} MiB", "MiB/s", values) for name, values in rates.items()}
    report.ratio("download ÷ bare FileResponse", found["download"], found["bare download"])
    report.ratio("upload ÷ bare view that writes it", found["upload"], found["bare upload"])
    for name in ("upload", "confirm", "download"):
        report.add(f"{name}: the server grew by", "MB", memory[name], f"at most {GROWTH_MB}, whatever the file's size")
        assert memory[name] <= GROWTH_MB, f"{name} of {size:,} bytes took {memory[name]:.0f} MB"


def _round(client: Client, size: int) -> Iterator[tuple[str, float, float]]:
    """Name, seconds, MB the server grew by."""
    yield "bare upload", *_watched(partial(client.put, "/bare/file", size))
    yield "bare download", *_watched(partial(client.drain, "/bare/file", size))
    begun = client.begin(size)
    document = f"{API}/{begun['document']['id']}"
    yield "upload", *_watched(partial(client.put, begun["upload"]["url"], size))
    yield "confirm", *_watched(partial(client.ask, "POST", f"{document}/confirm"))
    link = client.ask("GET", f"{document}/download")["url"]
    yield "download", *_watched(partial(client.drain, link, size))
    client.ask("DELETE", document)


def _watched(work: Callable[[], object]) -> tuple[float, float]:
    ended, seen = threading.Event(), [_memory()]

    def watch() -> None:
        while not ended.wait(0.05):
            seen.append(_memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        took = seconds(work)
    finally:
        ended.set()
        watcher.join()
    return took, max(seen) - seen[0]


def _memory() -> float:
    """Of the server and its workers, in MB: what would be free without them."""
    own = psutil.Process()
    found = [process for process in own.children(recursive=True) if "gunicorn" in " ".join(process.cmdline())]
    return sum(process.memory_full_info().uss for process in found) / 1e6


BLOCK = random.Random("a file").randbytes(MIB)


@dataclass
class Client:
    """Of the product's API, and of the addresses it gives: those are asked without a token."""

    port: int
    token: str
    kind: str = "application/octet-stream"
    timeout: float = 300.0

    def begin(self, size: int, **more: Any) -> dict[str, Any]:
        body = {"fileName": "large.bin", "contentType": self.kind, "entityType": "bench", "entityId": "1", "size": size}
        return self.ask("POST", f"{API}/upload", body | more)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        content = json.dumps(body).encode() if body is not None else None
        with self._line(path) as line:
            line.request(method, _target(path), content, headers)
            text = _checked(line.getresponse()).read()
        return json.loads(text) if text else None

    def put(self, url: str, size: int, **headers: str) -> None:
        sent = {"Content-Length": str(size), "Content-Type": self.kind, **headers}
        with self._line(url) as line:
            line.request("PUT", _target(url), (BLOCK for _ in range(size // MIB)), sent)
            _checked(line.getresponse()).read()

    def drain(self, url: str, size: int) -> None:
        with self._line(url) as line:
            line.request("GET", _target(url))
            answer, got = _checked(line.getresponse()), 0
            buffer = memoryview(bytearray(MIB))
            while more := answer.readinto(buffer):
                got += more
        assert got == size, f"{got:,} of {size:,} bytes came"

    @contextmanager
    def _line(self, url: str) -> Iterator[http.client.HTTPConnection]:
        """To where the address is; the product's own are reached by our port."""
        where = urlsplit(url)
        ours = not where.netloc or where.path.startswith(API)
        line = http.client.HTTPConnection("127.0.0.1", self.port if ours else where.port, timeout=self.timeout)
        try:
            yield line
        finally:
            line.close()


def _target(url: str) -> str:
    where = urlsplit(url)
    return f"{where.path}?{where.query}" if where.query else where.path


def _checked(answer: http.client.HTTPResponse) -> http.client.HTTPResponse:
    if answer.status >= 300:
        raise RuntimeError(f"{answer.status}: {answer.read()[:500]!r}")
    return answer


def _owner() -> tuple[Workspace, str]:
    made = members.create_workspace(
        by=None, name="Bench", owner_email=f"documents-{time.time_ns()}@bench.example",
        owner_password="a password nobody types",
    )  # fmt: skip
    return made.workspace, tokens.issue(by=made.user, membership=made, name="bench").text


# --- lists --------------------------------------------------------------------------------------------------------


def asked() -> list[tuple[str, Filters]]:
    """Name and filters of each list."""
    common, medium = vocabulary()[5], vocabulary()[1_500]
    return [
        ("first page", Filters()),
        ("of an entity with a third", Filters(entity_type="deal", entity_id="big")),
        ("of an entity with a few", Filters(entity_type="contact", entity_id="77")),
        ("archived", Filters(archived=True)),
        ("rejected, rare", Filters(status="rejected")),
        ("rejected of the entity with a third", Filters(entity_type="deal", entity_id="big", status="rejected")),
        ("pictures", Filters(content_type="image/*")),
        ("a rare type", Filters(content_type="application/rtf")),
        ("common word", Filters(q=common)),
        ("medium word", Filters(q=medium)),
        ("rare word", Filters(q=RARE)),
        ("absent word", Filters(q="zzzabsent")),
        ("common word of the entity with a third", Filters(entity_type="deal", entity_id="big", q=common)),
        ("rare word of the entity with a few", Filters(entity_type="contact", entity_id="77", q=RARE)),
        ("two common words", Filters(q=f"{common} {vocabulary()[6]}")),
    ]


def _time_lists(report: Report, sizes: tuple[int, int], *, explain: bool) -> None:
    small, large = (_filled(size) for size in sizes)
    rows = Document.objects.filter(workspace=large).order_by("-id")
    plain = _times(lambda: list(rows.values()[:LIMIT]))
    baseline = report.add(f".values()[:{LIMIT}] of {sizes[1]:,}: p50", "ms", percentile(plain, 0.5))
    for name, work in _lists().items():
        _compare(report, name, [partial(work, one) for one in (small, large)], sizes, explain)
    deep = DocumentsQuery(Filters(), PageQuery(limit=LIMIT, cursor=_deep(large, sizes[1])))
    first = partial(_lists()["first page"], large)
    _compare(report, "far down by cursor", [first, lambda: listed(workspace=large, query=deep)], sizes, explain)
    found = next(figure for figure in report.figures if figure.name.startswith(f"first page, {sizes[1]:,}"))
    report.ratio("first page ÷ .values()", found, baseline)


def _lists() -> dict[str, Callable[[Workspace], object]]:
    """Name → what is asked for of a workspace."""

    def page(filters: Filters) -> Callable[[Workspace], object]:
        query = DocumentsQuery(filters, PageQuery(limit=LIMIT))
        return lambda workspace: listed(workspace=workspace, query=query)

    found = {name: page(filters) for name, filters in asked()}
    found["counts of an entity"] = lambda one: counts(workspace=one, entity_type="deal", entity_id="big")
    return found


def _compare(
    report: Report, name: str, works: list[Callable[[], object]], sizes: tuple[int, int], explain: bool
) -> None:
    """The second beside the first; AssertionError where it reads more than a page may."""
    found = []
    for size, work in zip(sizes, works, strict=True):
        samples = _times(work)
        found.append(report.add(f"{name}, {size:,}: p50", "ms", percentile(samples, 0.5)))
    report.within(f"{name}: p95", report.add(f"{name}, {sizes[1]:,}: p95", "ms", percentile(samples, 0.95)), GOAL_MS)
    report.ratio(f"{name}: large ÷ small", found[1], found[0])
    blocks = _blocks(works[1])
    report.add(f"{name}: blocks read", "", blocks, f"at {sizes[1]:,}; at most {BLOCKS_OF_A_PAGE:,}")
    if explain:
        _explain(works[1])
    assert blocks <= BLOCKS_OF_A_PAGE, f"{name}: {blocks} blocks"


def _times(work: Callable[[], object]) -> list[float]:
    """Milliseconds of the database."""
    found = []
    for _ in range(WARM + PAGES):
        with StatementClock() as clock:
            work()
        found.append(clock.milliseconds)
    return found[WARM:]


def _deep(workspace: Workspace, size: int) -> str:
    rows = Document.objects.filter(workspace=workspace).order_by("-id").values_list("pk", flat=True)
    return encode_cursor([str(rows[int(size * DEEP)])])


COLUMNS = (
    "id, workspace_id, entity_type, entity_id, file_name, content_type, sniffed_type, size, sha256, status, reason, "
    "reason_text, origin, upload_key, upload_id, key, counted, confirmed_at, archived_at"
)
KINDS = ("application/pdf", "image/png", "image/jpeg", "text/plain")


def _filled(size: int) -> Workspace:
    workspace = _owner()[0]
    took = seconds(lambda: _copy(workspace, size))
    say(f"{size:,} documents in {took:.0f} s")
    with database.cursor() as cursor:
        cursor.execute("VACUUM (ANALYZE) documents_document")
    return workspace


def _copy(workspace: Workspace, size: int) -> None:
    lines = _lines(workspace, size)
    with database.cursor() as cursor, cursor.copy(f"COPY documents_document ({COLUMNS}) FROM STDIN") as door:
        while chunk := list(islice(lines, ROWS_AT_ONCE)):
            door.write("".join(chunk))


def _lines(workspace: Workspace, size: int) -> Iterator[str]:
    """Oldest first, evenly over two years. Every third is of one deal, the others of 20,000 contacts; each fiftieth is
    archived, each five-thousandth rejected and as many of a rare type."""
    chance = random.Random("documents")
    titles = ["-".join(words(chance, 4)) for _ in range(5_000)]
    span, end = 730 * 86_400_000, time.time_ns() // 1_000_000
    digest, tail = hashlib.sha256(b"x").hexdigest(), workspace.pk.hex[-4:]
    for n in range(size):
        moment = end - span + span * n // size
        pk = f"{moment:012x}7000{tail}{n:012x}"
        mixed = n * 2_654_435_761 & 0xFFFFFFFF
        entity = "deal\tbig" if n % 3 == 0 else f"contact\t{mixed % 20_000 if n % 9_001 else 77}"
        status = "rejected" if n % 5_000 == 3 else "archived" if n % 50 == 1 else "ready"
        name = titles[mixed % 5_000] + (f" {RARE}" if n % 5_003 == 3 else "")
        kind = "application/rtf" if n % 5_000 == 4 else KINDS[mixed % 4]
        at = time.strftime("%Y-%m-%d %H:%M:%S+00", time.gmtime(moment // 1000))
        key = "" if status == "rejected" else f"{workspace.pk}/doc/{pk}-{mixed:016x}"
        archived = at if status == "archived" else r"\N"
        yield (
            f"{pk}\t{workspace.pk}\t{entity}\t{name}.pdf\t{kind}\t{kind}\t{mixed % 999_983}\t{digest}\t{status}\t\t\t\t"
            f"\t\t{key}\t{mixed % 999_983}\t{at}\t{archived}\n"
        )


# --- S3 -----------------------------------------------------------------------------------------------------------


def _count_what_passes(report: Report, folder: Path) -> None:
    """A file's way to LocalStack and back. Nothing is added where LocalStack is not installed, and that is said."""
    if not localstack.python():
        say("LocalStack is not installed (LOCALSTACK_PYTHON): what passes the product with s3 is not counted")
        return
    home = folder / "localstack"
    home.mkdir()
    with localstack.running(home) as url, Relay(urlsplit(url).port or 0) as inside:
        bucket = {"S3_BUCKET": "bench-documents", "S3_ACCESS_KEY_ID": "test", "S3_SECRET_ACCESS_KEY": "test"}
        places = {"S3_ENDPOINT_URL": f"http://127.0.0.1:{inside.port}", "S3_PUBLIC_ENDPOINT_URL": url}
        os.environ |= {"DOCUMENT_STORAGE": "s3", "DOCUMENT_MAX_BYTES": str(2 * PASSING), **bucket, **places}
        _make_bucket(url, bucket["S3_BUCKET"])
        with server() as port, Relay(port) as outside:
            client = Client(outside.port, _owner()[1])
            begun = client.begin(PASSING)
            document = f"{API}/{begun['document']['id']}"
            client.put(begun["upload"]["url"], PASSING)
            ready = client.ask("POST", f"{document}/confirm")
            client.drain(client.ask("GET", f"{document}/download")["url"], PASSING)
            client.ask("DELETE", document)
            assert (ready["status"], ready["size"]) == ("ready", PASSING)
            digest = hashlib.sha256(b"".join(BLOCK for _ in range(PASSING // MIB))).hexdigest()
            assert ready["sha256"] == digest, "the store hashed it"
    for name, relay in (("between clients and the product", outside), ("between the product and S3", inside)):
        report.add(f"bytes {name}", "KiB", relay.passed / 1024, f"for {PASSING // MIB} MiB up and down")
        assert relay.passed <= MAY_PASS, f"{relay.passed:,} bytes {name}"


def _make_bucket(url: str, name: str) -> None:
    there = {"S3_ENDPOINT_URL": url, "S3_BUCKET": name, "S3_ACCESS_KEY_ID": "test", "S3_SECRET_ACCESS_KEY": "test"}
    with override_settings(**there):
        s3_client.connection().connection.meta.client.create_bucket(Bucket=name)
