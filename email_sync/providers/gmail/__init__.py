"""Gmail over its REST API v1 (reference 2.2–2.5), behind `base.MailProvider`.

`provider.Gmail` is the adapter, the rest serves it: `api` makes the calls, `batch` packs up to 50 of them into one,
`errors` says what refusals mean, `answers` reads the JSON without trusting it, `messages` and `history` turn it into
records. Requests leave through `core.http` only.
"""

from email_sync.providers.gmail.provider import Gmail

__all__ = ["Gmail"]
