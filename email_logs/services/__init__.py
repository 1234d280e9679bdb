"""What crosses a boundary: sending, logging, reading the log, what providers tell of deliveries."""

from __future__ import annotations

from email_logs.services.sending import send_email

__all__ = ("send_email",)
