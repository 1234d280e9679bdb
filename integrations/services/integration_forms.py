"""What a caller gives for an integration, checked by its type's declared fields and parted into what is shown and what
is sealed.

Called by `services.integrations`. Promised: nothing is stored or called where anything is wrong, every wrong field is
named at once as "config.x" or "credentials.y", and an address that may not be reached is refused when it is saved (it
is judged again at every connection).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from core import egress
from core.errors import EgressRefused, InvalidInput, ProviderUnavailable
from integrations.fields import Field, check, read
from integrations.models.event import SUBSCRIBABLE
from integrations.providers.base import EVENTS, EVENTS_FIELD, IntegrationProvider

FINGERPRINT = "apiKeyFingerprint"
"""Shown in `config`; given back unchanged it is ignored, so that a client can send what it got."""
NOT_WRITABLE = "This field cannot be set."
MASKED = re.compile(r"\.\.\.\*{4}$")
"""How a masked value ends (`services.integrations.mask`)."""
LOOKUP_SECONDS = 3.0
DEFAULT_PORTS = {"https": 443, "http": 80}

Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Filled:
    """A checked form. `config` holds the secret settings too."""

    config: Values
    credentials: Values


def read_new(
    provider: type[IntegrationProvider], *, config: Mapping[str, Any], credentials: Mapping[str, Any]
) -> Filled:
    """A whole form. InvalidInput naming all that is wrong."""
    filled = _both(
        lambda: read(provider.all_config_fields(), config, prefix="config."),
        lambda: read(provider.credential_fields, credentials, prefix="credentials."),
    )
    _check_events(provider, filled.config)
    provider.validate(config=filled.config, credentials=filled.credentials)
    return filled


def read_changes(
    provider: type[IntegrationProvider],
    *,
    config: Mapping[str, Any] | None,
    credentials: Mapping[str, Any] | None,
    before: Filled,
    shown: Mapping[str, Any],
    new_credentials: Mapping[str, Any] | None = None,
) -> Filled:
    """What it will be: settings given are laid over those before (null takes one away), `credentials` replaces all of
    them, `new_credentials` is laid over them. `shown` is what the caller was shown of `config`: masked values given
    back mean no change."""
    given = {name: value for name, value in (config or {}).items() if not _given_back(provider, name, value, shown)}
    filled = _both(
        lambda: read(provider.all_config_fields(), given, prefix="config.", partial=True),
        lambda: (
            read(provider.credential_fields, new_credentials or {}, prefix="credentials.", partial=True)
            if credentials is None
            else read(provider.credential_fields, credentials, prefix="credentials.")
        ),
    )
    merged = {name: value for name, value in {**before.config, **filled.config}.items() if value is not None}
    kept = filled.credentials
    if credentials is None:
        stay = {} if leads_elsewhere(provider, before.config, merged) else before.credentials
        kept = {name: value for name, value in {**stay, **kept}.items() if value is not None}
    _check_events(provider, merged)
    if kept or not any(field.required for field in provider.credential_fields):
        provider.validate(config=merged, credentials=kept)
    return Filled(merged, kept)


def refuse_addresses(provider: type[IntegrationProvider], config: Mapping[str, Any]) -> None:
    """InvalidInput where a setting names an address that may not be reached from here. A name that is not found may
    come to be. Asks the name server: call it outside any transaction."""
    problems: dict[str, list[str]] = {}
    for field in provider.config_fields:
        url = config.get(field.name)
        if field.kind == "url" and isinstance(url, str) and url and not MASKED.search(url):
            problems |= _refused(field, url)
    if problems:
        raise InvalidInput(fields=problems)


def leads_elsewhere(provider: type[IntegrationProvider], before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether credentials would be sent to another address than before."""
    names = [field.name for field in provider.config_fields if field.destination]
    return any(str(before.get(name) or "") != str(after.get(name) or "") for name in names)


def _given_back(provider: type[IntegrationProvider], name: str, value: object, shown: Mapping[str, Any]) -> bool:
    masked = {field.name for field in provider.config_fields if field.secret} | {FINGERPRINT}
    return name in masked and name in shown and shown[name] == value


def _both(config: Any, credentials: Any) -> Filled:
    """Both halves read, the errors of both told at once."""
    problems: dict[str, list[str]] = {}
    values: list[Values] = []
    for half in (config, credentials):
        try:
            values.append(half())
        except InvalidInput as error:
            problems |= {name: list(words) for name, words in error.fields.items()}
    if f"config.{FINGERPRINT}" in problems:
        problems[f"config.{FINGERPRINT}"] = [NOT_WRITABLE]
    if problems:
        raise InvalidInput(fields=problems)
    return Filled(*values)


def _check_events(provider: type[IntegrationProvider], config: Mapping[str, Any]) -> None:
    unknown = [name for name in config.get(EVENTS_FIELD.name, ()) if not _is_event(name)]
    if unknown and EVENTS in provider.capabilities:
        words = f"There is no event {unknown[0][:80]!r}. There are: {', '.join(SUBSCRIBABLE)}; a family is email.*"
        raise InvalidInput(fields={"config.events": [words]})


def _is_event(pattern: str) -> bool:
    families = {f"{name.partition('.')[0]}.*" for name in SUBSCRIBABLE}
    return pattern == "*" or pattern in SUBSCRIBABLE or pattern in families


def _refused(field: Field, url: str) -> dict[str, list[str]]:
    try:
        parts = urlsplit(check(field, url))
        port = parts.port or DEFAULT_PORTS[parts.scheme]
        addresses = egress.resolve(parts.hostname or "", port, timeout=LOOKUP_SECONDS)
    except ValueError as error:
        return {f"config.{field.name}": [str(error)]}
    except EgressRefused as error:
        return {f"config.{field.name}": [error.message]}
    except ProviderUnavailable:
        return {}
    if parts.scheme == "http" and not all(address.opened for address in addresses):
        return {f"config.{field.name}": ["Plain http goes only to networks in EGRESS_ALLOW_CIDRS: use https://."]}
    return {}
