"""What the text of an environment variable means, by its kind. ValueError where it means nothing: `config.env` says so
in words."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import environ

_TENANT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*")
"""A word, an id or a domain: it becomes a step of a path."""


def _natural(text: str) -> int:
    value = int(text)
    if value < 0:
        raise ValueError("negative")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError("nothing")
    return value


def _days(text: str) -> int:
    value = _natural(text)
    if value > 36_500:
        raise ValueError("longer than a calendar goes back")
    return value


def _seconds(text: str) -> int:
    value = _count(text)
    if value > 366 * 24 * 3600:
        raise ValueError("never")
    return value


def _port(text: str) -> int:
    value = _count(text)
    if value > 65535:
        raise ValueError("no port")
    return value


def _yes_or_no(text: str) -> bool:
    lowered = text.lower()
    if lowered in environ.Env.BOOLEAN_TRUE_STRINGS:
        return True
    if lowered in ("false", "off", "no", "n", "0", ""):
        return False
    raise ValueError("neither yes nor no")


def _web_address(text: str) -> str:
    if not text:
        return text
    parts = urlsplit(text)
    if parts.scheme not in ("https", "http") or not parts.hostname or "@" in parts.netloc or parts.port == 0:
        raise ValueError("not a web address, or one with a password in it")
    return text.rstrip("/")


def _origin(text: str) -> str:
    address = _web_address(text)
    if urlsplit(address)[2:] != ("", "", "") or "?" in address or "#" in address:
        raise ValueError("more than an origin")
    return address


def is_redis(url: str) -> bool:
    """Whether this is the address of a Redis."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("redis", "rediss") and parts.port != 0
    except ValueError:  # the port is no number, or the host no address
        return False


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _origins(text: str) -> list[str]:
    return [_origin(item) for item in _items(text)]


def _networks(text: str) -> list[str]:
    return [str(ipaddress.ip_network(item)) for item in _items(text)]


def _level(text: str) -> str:
    if text.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise ValueError("no level")
    return text.upper()


def _tenant(text: str) -> str:
    if not _TENANT.fullmatch(text):
        raise ValueError("no tenant is called so")
    return text


CONVERSIONS: dict[str, Callable[[str], Any]] = {
    "int": _natural,
    "count": _count,
    "days": _days,
    "seconds": _seconds,
    "port": _port,
    "bool": _yes_or_no,
    "list": _items,
    "origins": _origins,
    "networks": _networks,
    "level": _level,
    "url": _web_address,
    "origin": _origin,
    "tenant": _tenant,
}
