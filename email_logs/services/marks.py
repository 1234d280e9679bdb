"""What is kept of an erased address: a keyed mark from which nobody finds the address, the same every time."""

from __future__ import annotations

import uuid

from django.utils.crypto import salted_hmac

MARK = "erased:"


def mark_of(workspace_id: uuid.UUID, address: str) -> str:
    """`address` in the form in which addresses are compared (`core.addresses.exact`)."""
    return MARK + salted_hmac("email_logs.erased", f"{workspace_id}\n{address}", algorithm="sha256").hexdigest()
