"""What a form of a provider asks for, declared once: a field's kind, its limits, and how a value of it is checked.

Providers declare tuples of `Field`; `read` checks what came over the API or a form, `schema` says the same as JSON
Schema. Nothing here knows a provider, a database or a request. Promised: every error names its field by the dotted name
the caller used ("config.fromEmail"), all of them at once, and repeats no secret.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from core.errors import InvalidInput

MAX_TEXT = 255
MAX_SECRET = 1024
MAX_LONG_TEXT = 1_000_000
MAX_URL = 2000
MAX_ITEMS = 100
MAX_DEPTH = 20
HOST = re.compile(r"[A-Za-z0-9.:_\-\[\]\u0080-\U0010ffff]{1,253}")
ONE_LINE = re.compile(r"[^\x00-\x1f\x7f\u0085\u2028\u2029]*")
"""A control character would begin a new command or header (ASVS 1.3.11)."""
KEY = re.compile(r"[!-~]+")
"""Secrets that go into a header: printable ASCII without spaces. A newline that came along with a paste would make
every request fail (reference providers-workspace 15)."""

REQUIRED = "This field is required."
UNKNOWN = "This field is not known."


@dataclass(frozen=True, slots=True)
class Field:
    """One value a form asks for."""

    name: str
    """As on the wire. Dotted where it is nested in a form that is shown flat ("imap.host")."""
    label: str
    kind: str = "text"
    """"text" (one line), "long_text", "email", "url", "host", "port", "number", "boolean", "choice", "base64", "object"
    (its `fields`), "json" (any object), or write-only: "secret" (one line) and "key" (a secret for a header)."""
    choices: tuple[str, ...] = ()
    required: bool = True
    help: str = ""
    many: bool = False
    """A list of such values."""
    fields: tuple[Field, ...] = ()
    secret: bool = False
    """A setting that is a credential in itself (a hook's URL): sealed, and shown masked."""
    destination: bool = False
    """Where credentials are sent: when it changes, they are cleared unless given again."""
    longest: int = 0
    """Of a text in characters, of a list in items, of a number its largest value; 0: what is usual for the kind."""
    least: int = 0
    """The smallest number, or the fewest characters of a text."""
    default: object = None
    made: Callable[[], str] | None = None
    """Makes a good one, of a secret that nobody gives out: a form offers it, and shows it once."""

    @property
    def write_only(self) -> bool:
        """Never shown, not even masked."""
        return self.kind in ("secret", "key")


def read(
    fields: Iterable[Field], given: Mapping[str, Any], *, prefix: str = "", partial: bool = False
) -> dict[str, Any]:
    """The checked values of what was given, defaults filled in; null and "" count as not given.

    `partial`: what is left out stays out, and what was given as null comes back as None (take it away). InvalidInput
    names every field that is missing, malformed or unknown, with `prefix` before its name.
    """
    declared = {field.name: field for field in fields}
    problems: dict[str, list[str]] = {prefix + name: [UNKNOWN] for name in given if name not in declared}
    values: dict[str, Any] = {}
    for name, field in declared.items():
        value = given.get(name)
        if value is None or value == "":
            _leave_out(field, name in given, partial, prefix, values, problems)
            continue
        try:
            values[name] = _checked(field, value, prefix)
        except InvalidInput as error:
            problems |= {name: list(words) for name, words in error.fields.items()}
        except (ValueError, ValidationError) as error:
            problems[prefix + name] = [error.messages[0] if isinstance(error, ValidationError) else str(error)]
    if problems:
        raise InvalidInput(fields=problems)
    return values


def _leave_out(
    field: Field, named: bool, partial: bool, prefix: str, values: dict[str, Any], problems: dict[str, list[str]]
) -> None:
    if field.required and field.default is None and (named or not partial):
        problems[prefix + field.name] = [REQUIRED]
    elif named if partial else field.default is not None:
        values[field.name] = field.default


def check(field: Field, value: object) -> Any:
    """One value of this field's kind; ValueError or ValidationError says in words what it must be."""
    return CHECKS[field.kind](value, field)


def _checked(field: Field, value: Any, prefix: str) -> Any:
    if not field.many:
        return _item(field, value, f"{prefix}{field.name}")
    if not isinstance(value, list):
        raise ValueError("This must be a list.")
    most = field.longest or MAX_ITEMS
    if len(value) > most:
        raise ValueError(f"At most {most} are allowed.")
    return [_item(field, item, f"{prefix}{field.name}.{index}") for index, item in enumerate(value)]


def _item(field: Field, value: Any, name: str) -> Any:
    if field.kind != "object":
        return check(field, value)
    if not isinstance(value, Mapping):
        raise ValueError("This must be an object.")
    return read(field.fields, value, prefix=f"{name}.")


def _text(value: object, field: Field) -> str:
    if not isinstance(value, str):
        raise ValueError("This must be a text.")
    longest = MAX_SECRET if field.write_only else (0 if field.many else field.longest) or MAX_TEXT
    if len(value) > longest or not ONE_LINE.fullmatch(value):
        raise ValueError(f"This must be one line of at most {longest} characters.")
    text = value if field.kind == "secret" else value.strip()
    if len(text) < field.least:
        raise ValueError(f"This must have at least {field.least} characters.")
    return text


def _key(value: object, field: Field) -> str:
    if isinstance(value, str) and not KEY.fullmatch(value):
        raise ValueError("This must hold no spaces, line breaks or other than ASCII characters: paste it again.")
    return _text(value, field)


def _long_text(value: object, field: Field) -> str:
    if not isinstance(value, str):
        raise ValueError("This must be a text.")
    longest = field.longest or MAX_LONG_TEXT
    if len(value) > longest:
        raise ValueError(f"This must have at most {longest} characters.")
    if "\x00" in value:
        raise ValueError("This must not hold a NUL character.")
    return value


def _email(value: object, field: Field) -> str:
    text = _text(value, field)
    validate_email(text)
    return text


def _host(value: object, field: Field) -> str:
    """A name or an address without scheme, path or port; where it may lead, `core.egress` judges."""
    text = _text(value, field).rstrip(".").lower()
    if not HOST.fullmatch(text):
        raise ValueError("This must be the name of a server, such as mail.example.org.")
    return text


def _url(value: object, field: Field) -> str:
    """An https or http URL without user name and fragment; where it may lead, `core.egress` judges."""
    if not isinstance(value, str) or len(value) > MAX_URL or not ONE_LINE.fullmatch(value):
        raise ValueError(f"This must be a URL of at most {MAX_URL} characters.")
    text = value.strip().partition("#")[0]
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError("This is not a valid URL.") from error
    if parts.scheme not in ("http", "https") or not host or " " in text:
        raise ValueError("This must begin with https:// and name a host.")
    if "@" in parts.netloc:
        raise ValueError("This must not hold a user name or password.")
    return text


def _port(value: object, field: Field) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 65536:
        raise ValueError("This must be a number from 1 to 65535.")
    return value


def _number(value: object, field: Field) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("This must be a whole number.")
    if value < field.least or (field.longest and value > field.longest):
        raise ValueError(f"This must be from {field.least}" + (f" to {field.longest}." if field.longest else "."))
    return value


def _boolean(value: object, field: Field) -> bool:
    if not isinstance(value, bool):
        raise ValueError("This must be true or false.")
    return value


def _choice(value: object, field: Field) -> str:
    if value not in field.choices:
        raise ValueError(f"This must be one of {', '.join(field.choices)}.")
    return str(value)


def _base64(value: object, field: Field) -> str:
    """Standard base64, left as it is: who needs the bytes decodes them."""
    if not isinstance(value, str):
        raise ValueError("This must be a text in base64.")
    try:
        size = len(base64.b64decode(value, validate=True))
    except (binascii.Error, ValueError) as error:
        raise ValueError("This is not valid base64.") from error
    if field.longest and size > field.longest:
        raise ValueError(f"This must be at most {field.longest} bytes.")
    return value


def _json(value: object, field: Field) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("This must be an object.")
    if _depth(value) > MAX_DEPTH:
        raise ValueError(f"This must not be nested deeper than {MAX_DEPTH}.")
    return value


def _depth(value: object, so_far: int = 0) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if so_far > MAX_DEPTH:
        return so_far
    return max((_depth(item, so_far + 1) for item in inner), default=so_far)


CHECKS: Mapping[str, Callable[[object, Field], Any]] = {
    "text": _text,
    "long_text": _long_text,
    "secret": _text,
    "key": _key,
    "email": _email,
    "url": _url,
    "host": _host,
    "port": _port,
    "number": _number,
    "boolean": _boolean,
    "choice": _choice,
    "base64": _base64,
    "json": _json,
}

_KINDS: Mapping[str, dict[str, Any]] = {
    "email": {"type": "string", "format": "email"},
    "url": {"type": "string", "format": "uri", "maxLength": MAX_URL},
    "port": {"type": "integer", "minimum": 1, "maximum": 65535},
    "number": {"type": "integer"},
    "boolean": {"type": "boolean"},
    "base64": {"type": "string", "contentEncoding": "base64"},
    "json": {"type": "object"},
}


def schema(fields: Iterable[Field]) -> dict[str, Any]:
    """JSON Schema (2020-12) of an object with these fields."""
    fields = tuple(fields)
    shape: dict[str, Any] = {
        "type": "object",
        "properties": {field.name: _property(field) for field in fields},
        "additionalProperties": False,
    }
    if required := [field.name for field in fields if field.required and field.default is None]:
        shape["required"] = required
    return shape


def _property(field: Field) -> dict[str, Any]:
    one = schema(field.fields) if field.kind == "object" else dict(_KINDS.get(field.kind, {"type": "string"}))
    if field.kind in ("text", "secret", "key", "long_text"):
        one |= {"maxLength": MAX_SECRET if field.write_only else field.longest or MAX_TEXT} if not field.many else {}
        one |= {"minLength": field.least} if field.least else {}
    if field.kind == "number":
        one |= {"minimum": field.least} | ({"maximum": field.longest} if field.longest else {})
    if field.choices:
        one["enum"] = list(field.choices)
    shape = {"type": "array", "items": one, "maxItems": field.longest or MAX_ITEMS} if field.many else one
    shape["title"] = field.label
    if field.help:
        shape["description"] = field.help
    if field.default is not None:
        shape["default"] = field.default
    if field.write_only or field.secret:
        shape["writeOnly"] = True
    return shape
