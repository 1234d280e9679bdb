"""The product's settings, with the bare view beside its routes and limits no benchmark reaches (they still count)."""

from config.settings import *  # noqa: F403

ROOT_URLCONF = "benchmarks.bare"
THROTTLE_TOKEN_PER_MINUTE = THROTTLE_WORKSPACE_PER_MINUTE = 10_000_000
