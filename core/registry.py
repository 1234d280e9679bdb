"""A registry is a table of dotted paths that a search finds: key → class, and the class must carry its key.

Used for connection providers (`integrations.oauth`), mail providers (`email_sync.providers`) and sync engines. A broken
entry stops start-up through a numbered system check (see `register_check`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

from django.core import checks
from django.utils.module_loading import import_string

from core.errors import NotFound

T = TypeVar("T", covariant=True)


class Registry(Generic[T]):
    """Loads what `paths` names, once, on first use. `what` is the word for messages ("mail provider")."""

    def __init__(self, what: str, paths: Mapping[str, str], check_id: str) -> None:
        self.what = what
        self.paths = dict(paths)
        self.check_id = check_id
        self._loaded: dict[str, T] = {}

    def __contains__(self, key: str) -> bool:
        return key in self.paths

    def __iter__(self) -> Iterator[str]:
        return iter(self.paths)

    def get(self, key: str) -> T:
        """The class registered as `key`; NotFound where there is none."""
        if key not in self.paths:
            raise NotFound(f"There is no {self.what} named {key!r}.")
        if key not in self._loaded:
            loaded = import_string(self.paths[key])
            if getattr(loaded, "key", None) != key:
                raise ImportError(
                    f"{self.paths[key]} is registered as {key!r} but carries {getattr(loaded, 'key', None)!r}"
                )
            self._loaded[key] = loaded
        return self._loaded[key]

    def register_check(self) -> None:
        """Have `manage.py check` and every start-up load all entries (called from an app's `ready`)."""

        def check(**_: object) -> list[checks.CheckMessage]:
            return self.broken()

        checks.register(check)

    def broken(self) -> list[checks.CheckMessage]:
        """An error for every entry that does not load or does not carry its key."""
        found: list[checks.CheckMessage] = []
        for key, path in self.paths.items():
            try:
                self.get(key)
            except Exception as error:  # noqa: BLE001 - whatever breaks a provider at import stops start-up
                found.append(checks.Error(f"{self.what} {key!r} ({path}) does not load: {error}", id=self.check_id))
        return found
