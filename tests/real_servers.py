"""Which tests of the database `make test-services` runs once more, on its PostgreSQL and with its Redis, and why.

What wants a real server by itself (`services`) is not meant here. Everything else runs on the embedded PostgreSQL in
`make test`; a second time is worth it only where another version, another cache or a server that others use too can
make a difference. That is every test that commits (`django_db(transaction=True)`: it locks, races or is heard by
another session) unless its module is one of ONCE, and the modules of AGAIN. `test_real_servers` keeps both true; the
root conftest marks by them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from config.env import PROJECT

MARK = "real_servers"
AGAIN: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "search is the server's own: words, ranks, indexes, plans": (
            "email_logs/tests/test_searching.py",
            "email_sync/tests/test_indexing.py",
            "email_sync/tests/test_participants.py",
            "email_sync/tests/test_search.py",
            "email_sync/tests/test_searching.py",
        ),
        "lists of mail: keyset paging, aggregates, joins over large tables": (
            "calendar_sync/tests/test_calendar_api.py",
            "calendar_sync/tests/test_event_links.py",
            "calendar_sync/tests/test_feeds.py",
            "calendar_sync/tests/test_freebusy.py",
            "calendar_sync/tests/test_timelines.py",
            "core/tests/test_api_pagination.py",
            "documents/tests/test_documents_list.py",
            "email_logs/tests/test_rows.py",
            "email_sync/tests/test_counters.py",
            "email_sync/tests/test_email_api.py",
            "email_sync/tests/test_inbox_api.py",
            "email_sync/tests/test_linking.py",
            "email_sync/tests/test_timelines.py",
            "config/tests/test_console_orders.py",
            "entities/tests/test_book.py",
        ),
        "pages are written with COPY, upserts and locks in one order; odd values meet the server's types": (
            "calendar_sync/tests/test_store.py",
            "email_sync/tests/test_bulk.py",
            "email_sync/tests/test_bulk_changes.py",
            "email_sync/tests/test_engine.py",
            "email_sync/tests/test_mutated_mail.py",
            "email_sync/tests/test_poison.py",
            "email_sync/tests/test_reconcile.py",
            "email_sync/tests/test_refilling.py",
            "email_sync/tests/test_removals.py",
            "email_sync/tests/test_scope.py",
            "email_sync/tests/test_store.py",
        ),
        "turns, leases, fences and budgets are the server's clock and row locks": (
            "documents/tests/test_document_states.py",
            "email_logs/tests/test_exports.py",
            "email_logs/tests/test_outgoing.py",
            "email_sync/tests/test_changes.py",
            "email_sync/tests/test_submissions.py",
            "entities/tests/test_shared.py",
            "integrations/tests/test_admission.py",
            "integrations/tests/test_leases.py",
            "integrations/tests/test_quota.py",
            "integrations/tests/test_schedule.py",
            "integrations/tests/test_sync_runs.py",
            "tests/test_doorbell_fences.py",
            "workspaces/tests/test_services_periodic.py",
        ),
        "what happens once: the same key answers the same result": ("workspaces/tests/test_idempotency.py",),
        "what is forgotten goes in parts, with the server's statements": (
            "email_sync/tests/test_housekeeping.py",
            "email_sync/tests/test_purging.py",
            "integrations/tests/test_events.py",
            "integrations/tests/test_keeping.py",
        ),
        "constraints and triggers refuse whoever writes": (
            "integrations/tests/test_models.py",
            "workspaces/tests/test_models.py",
        ),
        "rates and figures come from Redis where there is one": (
            "config/tests/test_cache.py",
            "config/tests/test_health.py",
            "core/tests/test_api_throttling.py",
        ),
    }
)
MODULES = frozenset(module for modules in AGAIN.values() for module in modules)
ONCE: Mapping[str, str] = MappingProxyType(
    {
        "email_logs/tests/test_admin.py": "is about pages",
        "email_logs/tests/test_hook_journey.py": "is about vendors; events as such run again",
        "email_logs/tests/test_mirroring.py": "is about a vendor; following the log runs again with the days",
        "integrations/tests/test_contact_sync.py": "is about a vendor; its runs take turns as those of mail do",
        "integrations/tests/test_deliveries_elsewhere.py": "is about vendors; deliveries as such run again",
        "integrations/tests/test_delivery_api.py": "commits so that a worker sees it; deliveries as such run again",
        "integrations/tests/test_delivery_shares.py": "waits for endpoints that hang; deliveries as such run again",
        "integrations/tests/test_egress_canary.py": "is about addresses",
        "integrations/tests/test_integration_tokens.py": "is the refresh of test_tokens, which runs again",
        "tests/test_calendar_push_journey.py": "the way of mail's, which test_push_services goes there",
        "tests/test_dying_workers.py": "test_kills kills the workers of a whole product there",
        "tests/test_push_journey.py": "test_push_services goes the same way there",
        "workspaces/tests/test_services_rotation.py": "is a command started often; its row locks are those of leases",
    }
)
"""Modules that commit and are not worth a second time, and why."""


def runs_again(module: str, database: Mapping[str, object] | None) -> bool:
    """Of a test in that file (from the project's folder); `database`: the arguments of its `django_db` mark, if any."""
    if database is None or module in ONCE:
        return False
    return module in MODULES or bool(database.get("transaction"))


@cache
def modules() -> frozenset[str]:
    """Where `make test-services` looks for tests: each of its processes would otherwise import all modules and throw
    most of their tests away. The root conftest refuses a test that is marked and lies elsewhere."""
    marked = re.compile(r"mark\.services|transaction=True")
    every = (*PROJECT.glob("*/tests/test_*.py"), *PROJECT.glob("tests/test_*.py"))
    return MODULES | {str(path.relative_to(PROJECT)) for path in every if marked.search(path.read_text())}
