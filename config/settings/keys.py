"""SECRET_KEY and VAULT_KEYS: given by the environment, or generated into DATA_DIR on first start."""

from __future__ import annotations

from config import env
from config.settings.paths import DATA_DIR
from workspaces.runtime.keys import generated_or

__all__ = ("SECRET_KEY", "VAULT_KEYS")

SECRET_KEY = generated_or(env.read("SECRET_KEY"), DATA_DIR / "secrets" / "secret_key")
VAULT_KEYS = generated_or(env.read("VAULT_KEYS"), DATA_DIR / "secrets" / "vault_keys", prefix="k1:")
