"""Any mail server by IMAP and SMTP: connected by a form, not by consent. docs/providers/imap.md is the page for users.

The fields are declared once, in `Imap.fields`; `read_form` checks a request's body against them, and the API's schema
and `oauth/providers` are made from them too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from core.errors import InvalidInput
from integrations.oauth.base import ConnectionProvider, Field

SECURITY = ("tls", "starttls", "none")
PORTS = {("imap", "tls"): 993, ("imap", "starttls"): 143, ("imap", "none"): 143}
PORTS |= {("smtp", "tls"): 465, ("smtp", "starttls"): 587, ("smtp", "none"): 25}
MAX_TEXT = 255
MAX_SECRET = 1024
HOST = re.compile(r"[A-Za-z0-9.:_\-\[\]\u0080-\U0010ffff]{1,253}")
NO_LINE_BREAKS = re.compile(r"[^\x00-\x1f\x7f]*")
"""A control character in a user name or password would begin a new command (ASVS 1.3.11)."""


class Imap(ConnectionProvider):
    """No scopes and no settings of the server's: the log-in opens everything."""

    key = "imap"
    name = "IMAP"
    fields: ClassVar[tuple[Field, ...]] = (
        Field("email", "E-mail address", kind="email"),
        Field("imap.host", "IMAP server", kind="host"),
        Field("imap.port", "IMAP port", kind="port", required=False, help="Default by security: 993 or 143."),
        Field("imap.security", "IMAP security", kind="choice", choices=SECURITY, required=False, help="Default tls."),
        Field("imap.username", "User name", required=False, help="Default: the e-mail address."),
        Field("imap.password", "Password", kind="secret", help="Many providers want an app password."),
        Field("smtp.host", "SMTP server", kind="host"),
        Field("smtp.port", "SMTP port", kind="port", required=False, help="Default by security: 465, 587 or 25."),
        Field("smtp.security", "SMTP security", kind="choice", choices=SECURITY, required=False, help="Default tls."),
        Field("smtp.username", "SMTP user name", required=False, help="Default: that of IMAP."),
        Field("smtp.password", "SMTP password", kind="secret", required=False, help="Default: that of IMAP."),
    )


@dataclass(frozen=True, slots=True)
class MailLogin:
    """A checked form. `options` are shown and stored in the clear, `secrets` are sealed."""

    email: str
    options: Mapping[str, dict[str, object]]
    """"imap" and "smtp", each {"host", "port", "security", "username"}."""
    secrets: Mapping[str, str] = field(repr=False)
    """"imapPassword" and "smtpPassword"."""

    @property
    def account_id(self) -> str:
        """Who the server says it is: user name and host, in one case. The same log-in again is a reconnect."""
        server = self.options["imap"]
        return f"{server['username']}@{server['host']}".casefold()[:MAX_TEXT]


def read_form(form: Mapping[str, object]) -> MailLogin:
    """InvalidInput naming every field that is missing or malformed."""
    problems: dict[str, list[str]] = {}
    for server in ("imap", "smtp"):
        if not isinstance(form.get(server), Mapping):
            problems[server] = ["This field is required." if form.get(server) is None else "This must be an object."]
    problems |= {name: ["This field is not known."] for name in _unknown(form)}
    values = {f.name: _value(f, form, problems) for f in Imap.fields if f.name.partition(".")[0] not in problems}
    if problems:
        raise InvalidInput("The account is not described completely.", fields=problems)
    _apply_defaults(values)
    options = {server: dict(_options(server, values)) for server in ("imap", "smtp")}
    secrets = {f"{server}Password": str(values[f"{server}.password"]) for server in ("imap", "smtp")}
    return MailLogin(email=str(values["email"]), options=options, secrets=secrets)


def _unknown(form: Mapping[str, object]) -> list[str]:
    """Dotted names that no field declares: a misspelt `pasword` should not become "wrong password"."""
    declared = {field.name for field in Imap.fields}
    given: list[str] = []
    for outer, value in form.items():
        given += [f"{outer}.{inner}" for inner in value] if isinstance(value, Mapping) else [outer]
    return [name for name in given if name not in declared | {"imap", "smtp"}]


def _value(declared: Field, form: Mapping[str, object], problems: dict[str, list[str]]) -> object:
    outer, _, inner = declared.name.partition(".")
    container: Any = form[outer] if inner else form
    value = container.get(inner or outer)
    if value in (None, ""):
        if declared.required:
            problems[declared.name] = ["This field is required."]
        return None
    try:
        return CHECKS[declared.kind](value, declared)
    except (ValueError, ValidationError) as error:
        problems[declared.name] = [error.messages[0] if isinstance(error, ValidationError) else str(error)]
        return None


def _apply_defaults(values: dict[str, object]) -> None:
    values["imap.username"] = values["imap.username"] or values["email"]
    for name in ("username", "password"):
        values[f"smtp.{name}"] = values[f"smtp.{name}"] or values[f"imap.{name}"]
    for server in ("imap", "smtp"):
        security = str(values[f"{server}.security"] or "tls")
        values[f"{server}.security"] = security
        values[f"{server}.port"] = values[f"{server}.port"] or PORTS[server, security]


def _options(server: str, values: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for name in ("host", "port", "security", "username"):
        yield name, values[f"{server}.{name}"]


def _text(value: object, declared: Field) -> str:
    if not isinstance(value, str):
        raise ValidationError("This must be a text.")
    longest = MAX_SECRET if declared.kind == "secret" else MAX_TEXT
    if len(value) > longest or not NO_LINE_BREAKS.fullmatch(value):
        raise ValueError(f"This must be one line of at most {longest} characters.")
    return value if declared.kind == "secret" else value.strip()


def _email(value: object, declared: Field) -> str:
    text = _text(value, declared)
    validate_email(text)
    return text


def _host(value: object, declared: Field) -> str:
    """A name or an address without scheme, path or port; where it may lead, `core.egress` judges."""
    text = _text(value, declared).rstrip(".").lower()
    if not HOST.fullmatch(text):
        raise ValueError("This must be the name of a server, such as imap.example.org.")
    return text


def _port(value: object, declared: Field) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 65536:
        raise ValueError("This must be a number from 1 to 65535.")
    return value


def _choice(value: object, declared: Field) -> str:
    if value not in declared.choices:
        raise ValueError(f"This must be one of {', '.join(declared.choices)}.")
    return str(value)


CHECKS = {"text": _text, "secret": _text, "email": _email, "host": _host, "port": _port, "choice": _choice}
