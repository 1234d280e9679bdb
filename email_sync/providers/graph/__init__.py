"""Microsoft Graph v1.0 mail (reference 3.2–3.6), behind `base.MailProvider`.

`provider.Graph` is the adapter, the rest serves it: `api` makes mail's own calls, `folders` walks the tree, `listing`
and `delta` say what is in a folder and what changed, `messages` turns both into records, `sending` and `outgoing` take
mail out. What it shares with calendars is in `integrations.providers.graph`.
"""

from email_sync.providers.graph.provider import Graph

__all__ = ["Graph"]
