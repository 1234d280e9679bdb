"""The dry run of a scope: what a wish would do to the newest stored mails. Called by the view; changes nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

from email_sync.models import LIVE, MailScope, Message
from email_sync.scope import AGE, BLOCKED, FOLDER
from email_sync.services import scope_changes, scoping
from integrations.models import Connection

LOOKED_AT = 500
EXAMPLES = 10


@dataclass(slots=True)
class RuleOutcome:
    """What one rule would take away of the mails looked at."""

    reason: str
    rule: str
    count: int = 0
    examples: list[Message] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Preview:
    """What a wish would do to the newest mails. Nothing was changed."""

    examined: int
    rules: list[RuleOutcome]
    reduced: int
    """Of those that stay: how many would lose their text."""
    returning: dict[str, int]
    """Mails kept out now that would be looked at again, by the reason that keeps them out."""

    @property
    def go(self) -> int:
        return sum(rule.count for rule in self.rules)

    @property
    def stay(self) -> int:
        return self.examined - self.go


def preview(connection: Connection, row: MailScope) -> Preview:
    """Look at the newest stored mails with the wish, as the writer would."""
    scope = scoping.from_row(connection, row)
    rows = Message.objects.filter(LIVE, connection=connection).order_by("-received_at", "-id")[:LOOKED_AT]
    found: dict[tuple[str, str], RuleOutcome] = {}
    reduced = examined = 0
    for message in rows:
        examined += 1
        verdict = scope.verdict(scoping.outside_of_row(message))
        if verdict is None:
            reduced += scope.metadata_only and not message.body_withheld
            continue
        outcome = found.setdefault((verdict.reason, verdict.rule), RuleOutcome(verdict.reason, verdict.rule))
        outcome.count += 1
        if len(outcome.examples) < EXAMPLES:
            outcome.examples.append(message)
    coming = scope_changes.coming_back(connection, scoping.of(connection), scope)
    returning = {reason: coming.filter(reason=reason).count() for reason in (FOLDER, AGE, BLOCKED)}
    ordered = sorted(found.values(), key=lambda outcome: -outcome.count)
    return Preview(examined, ordered, reduced, returning)
