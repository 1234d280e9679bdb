"""What the simulator was asked to do and what it did: the independent truth for "exactly once". `server` writes one
entry per request (each call inside a batch is one), `gmail.sending` one per mail accepted; the control API reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

MAX_ENTRIES = 500_000


@dataclass(frozen=True)
class Entry:
    """`status` is 0 when the caller got no answer at all; `effect` says what changed, also then."""

    seq: int
    time: float
    vendor: str
    account: str
    operation: str
    method: str
    target: str
    status: int
    effect: dict[str, Any] | None
    fault: str
    units: int
    batch: bool


@dataclass(frozen=True)
class SentMail:
    """A mail a provider accepted for delivery."""

    seq: int
    time: float
    vendor: str
    account: str
    operation: str
    id: str
    thread_id: str
    message_id: str
    sender: str
    to: list[str]
    cc: list[str]
    bcc: list[str]
    subject: str
    size: int
    sha256: str
    raw: bytes = field(repr=False)

    def summary(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "raw"}


class Ledger:
    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.sent: list[SentMail] = []
        self.dropped = 0
        self._seq = 0

    def next_seq(self) -> int:
        self._seq += 1
        return self._seq

    def add(self, entry: Entry) -> None:
        self.entries.append(entry)
        if len(self.entries) > MAX_ENTRIES:
            cut = MAX_ENTRIES // 10
            del self.entries[:cut]
            self.dropped += cut

    def clear(self) -> None:
        """Forgets the entries and the mails; numbers go on."""
        self.entries, self.sent, self.dropped = [], [], 0

    def select(self, wanted: dict[str, str]) -> Iterator[Entry]:
        """Entries whose fields equal `wanted` (`since`: later than this seq; `target`: contained in it)."""
        since = int(wanted.get("since") or 0)
        exact = {name: value for name, value in wanted.items() if name not in ("since", "target")}
        for entry in self.entries:
            if entry.seq <= since or wanted.get("target", "") not in entry.target:
                continue
            if all(str(getattr(entry, name)) == value for name, value in exact.items()):
                yield entry

    def summary(self) -> dict[str, dict[str, int]]:
        """operation → status → how often."""
        counts = Counter((entry.operation, str(entry.status)) for entry in self.entries)
        answer: dict[str, dict[str, int]] = {}
        for (operation, status), count in sorted(counts.items()):
            answer.setdefault(operation, {})[status] = count
        return answer
