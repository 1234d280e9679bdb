"""SECRET_KEY and VAULT_KEYS: given by the environment, or generated into DATA_DIR on first start."""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured

from config import env
from config.settings.paths import DATA_DIR
from workspaces.runtime.keys import generated_or, is_weak

__all__ = ("SECRET_KEY", "VAULT_KEYS")

SECRET_KEY = generated_or(env.read("SECRET_KEY"), DATA_DIR / "secrets" / "secret_key")
VAULT_KEYS = generated_or(env.read("VAULT_KEYS"), DATA_DIR / "secrets" / "vault_keys", prefix="k1:")

if is_weak(SECRET_KEY) and not env.read("DEBUG"):
    raise ImproperlyConfigured(
        "SECRET_KEY is weak or an example: sessions could be forged. Set 50 random characters, "
        "or remove it and one is made in DATA_DIR."
    )
# The vault's keys are judged by core.crypto_checks, which knows their form.
