"""The one door out over HTTP: every request to a provider or to an address of a user's choosing passes `request`.

Called by providers, OAuth clients and webhook delivery; nothing else in the product speaks HTTP. Promised: the address
checked by `core.egress` is the address connected to, while TLS and Host carry the name; no proxy, cookie or netrc of
the environment; one deadline over everything; caps on headers, on the answer and on what it unpacks to; no redirect
leaves its origin; plain http carries secrets only into EGRESS_ALLOW_CIDRS; failures arrive as `core.errors`, where a
request that left without an answer and may not be repeated is ProviderOutcomeUnknown. Bodies, headers and queries are
never logged.
"""

from core.http.answer import Response, parse_retry_after, raise_for_provider
from core.http.client import TOO_LARGE, request
from core.redaction import RedactSecrets, clean_words

__all__ = [
    "TOO_LARGE",
    "RedactSecrets",
    "Response",
    "clean_words",
    "parse_retry_after",
    "raise_for_provider",
    "request",
]
