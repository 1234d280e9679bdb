"""Mail over IMAP and SMTP: any server that speaks them, with a password or an OAuth token.

`provider.Imap` is the provider; `connection` and `session` hold one logged-in IMAP session, `wire` reads what comes
over it, `naming` says what ids and cursors look like, `folders`, `fetching` and `changes` are the parts of a sync,
`moving` changes a mailbox, `smtp` sends.
"""

from email_sync.providers.imap.provider import Checked, Imap

__all__ = ["Checked", "Imap"]
