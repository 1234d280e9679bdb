"""Any mail server by IMAP and SMTP: connected by a form, not by consent. docs/providers/imap.md is the page for users.

The fields are declared once, in `Imap.fields`; `read_form` checks a request's body against them, and the API's schema
and `oauth/providers` are made from them too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any, ClassVar

from django.core.exceptions import ValidationError

from core.errors import InvalidInput
from integrations.fields import MAX_TEXT, Field, check
from integrations.oauth.base import ConnectionProvider

SECURITY = ("tls", "starttls", "none")
PORTS = {("imap", "tls"): 993, ("imap", "starttls"): 143, ("imap", "none"): 143}
PORTS |= {("smtp", "tls"): 465, ("smtp", "starttls"): 587, ("smtp", "none"): 25}


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
        Field("caldav.url", "CalDAV address", kind="url", required=False, help="Where the calendars are, if anywhere."),
        Field("caldav.username", "CalDAV user name", required=False, help="Default: that of IMAP."),
        Field("caldav.password", "CalDAV password", kind="secret", required=False, help="Default: that of IMAP."),
    )

    @classmethod
    def offers(cls, options: Mapping[str, Any], capability: str) -> bool:
        """Calendars only where a server for them was named."""
        return capability != "calendar" or "caldav" in options

    @classmethod
    def server(cls, options: Mapping[str, Any]) -> str:
        """The IMAP host."""
        server = options.get("imap")
        return str(server.get("host")).casefold() if isinstance(server, dict) else cls.key


@dataclass(frozen=True, slots=True)
class MailLogin:
    """A checked form. `options` are shown and stored in the clear, `secrets` are sealed."""

    email: str
    options: Mapping[str, dict[str, object]]
    """"imap" and "smtp", each {"host", "port", "security", "username"}; "caldav" where there is one: {"url",
    "username"}."""
    secrets: Mapping[str, str] = field(repr=False)
    """"imapPassword", "smtpPassword", "caldavPassword"."""

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
    form, has_calendars = _calendar_form(form, problems)
    problems |= {name: ["This field is not known."] for name in _unknown(form)}
    values = {f.name: _value(f, form, problems) for f in Imap.fields if f.name.partition(".")[0] not in problems}
    if problems:
        raise InvalidInput("The account is not described completely.", fields=problems)
    _apply_defaults(values)
    options = {server: dict(_options(server, values)) for server in ("imap", "smtp")}
    if has_calendars:
        options["caldav"] = {name: values[f"caldav.{name}"] for name in ("url", "username")}
    sides = ("imap", "smtp", "caldav") if has_calendars else ("imap", "smtp")
    secrets = {f"{side}Password": str(values[f"{side}.password"]) for side in sides}
    return MailLogin(email=str(values["email"]), options=options, secrets=secrets)


def _calendar_form(form: Mapping[str, object], problems: dict[str, list[str]]) -> tuple[Mapping[str, object], bool]:
    """The form with a `caldav` object in any case, and whether one was given: it may be left out or null."""
    given = form.get("caldav")
    if given is None:
        return {**form, "caldav": {}}, False
    if not isinstance(given, Mapping):
        problems["caldav"] = ["This must be an object."]
    elif given.get("url") in (None, ""):
        problems["caldav.url"] = ["This field is required."]
    return form, True


def _unknown(form: Mapping[str, object]) -> list[str]:
    """Dotted names that no field declares: a misspelt `pasword` should not become "wrong password"."""
    declared = {field.name for field in Imap.fields}
    given: list[str] = []
    for outer, value in form.items():
        given += [f"{outer}.{inner}" for inner in value] if isinstance(value, Mapping) else [outer]
    return [name for name in given if name not in declared | {"imap", "smtp", "caldav"}]


def _value(declared: Field, form: Mapping[str, object], problems: dict[str, list[str]]) -> object:
    outer, _, inner = declared.name.partition(".")
    container: Any = form[outer] if inner else form
    value = container.get(inner or outer)
    if value in (None, ""):
        if declared.required:
            problems[declared.name] = ["This field is required."]
        return None
    try:
        return check(declared, value)
    except (ValueError, ValidationError) as error:
        problems[declared.name] = [error.messages[0] if isinstance(error, ValidationError) else str(error)]
        return None


def _apply_defaults(values: dict[str, object]) -> None:
    values["imap.username"] = values["imap.username"] or values["email"]
    for side, name in product(("smtp", "caldav"), ("username", "password")):
        values[f"{side}.{name}"] = values[f"{side}.{name}"] or values[f"imap.{name}"]
    for server in ("imap", "smtp"):
        security = str(values[f"{server}.security"] or "tls")
        values[f"{server}.security"] = security
        values[f"{server}.port"] = values[f"{server}.port"] or PORTS[server, security]


def _options(server: str, values: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for name in ("host", "port", "security", "username"):
        yield name, values[f"{server}.{name}"]
