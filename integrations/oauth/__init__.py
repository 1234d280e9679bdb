"""Connection providers: where users have accounts. One file each behind `base.ConnectionProvider`; this table is the
registry: key → dotted path of the class, which carries the key. What they can sync is the sync engines' to say."""

from core.errors import UnsupportedOperation
from core.registry import Registry
from integrations.oauth.base import ConnectionProvider, OAuthProvider

CONNECTION_PROVIDERS: Registry[type[ConnectionProvider]] = Registry(
    "connection provider",
    {
        "google": "integrations.oauth.google.Google",
        "microsoft": "integrations.oauth.microsoft.Microsoft",
        "imap": "integrations.oauth.imap.Imap",
    },
    check_id="patchbay.E102",
)


def oauth_provider(key: str) -> OAuthProvider:
    """The provider with this key, made. NotFound where there is none, UnsupportedOperation where it is no OAuth."""
    provider = CONNECTION_PROVIDERS.get(key)()
    if not isinstance(provider, OAuthProvider):
        raise UnsupportedOperation(f"{provider.name} accounts are connected with a form: POST connections/{key}.")
    return provider
