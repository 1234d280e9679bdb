"""Microsoft Graph v1.0 mail (reference 3.2–3.6), behind `base.MailProvider`.

`provider.Graph` is the adapter, the rest serves it: `api` makes the calls, `batch` packs up to 20 of them into one,
`errors` says what refusals mean, `answers` reads the JSON without trusting it, `folders` walks the tree, `listing` and
`delta` say what is in a folder and what changed, `messages` turns both into records, `sending` and `outgoing` take mail
out. Requests leave through `core.http` only.
"""

from email_sync.providers.graph.provider import Graph

__all__ = ["Graph"]
