"""Forms made of declared fields (`integrations.fields`): settings and credentials of a type, the input of an action.

A form turns what a browser sends into what the API takes; what is right, the service says. Secrets are written and
never shown: an empty box keeps what is there, a box to tick takes it away.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.utils.html import escape
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminEmailInputWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
    UnfoldBooleanWidget,
)

from integrations.fields import ONE_LINE, Field
from integrations.models.event import SUBSCRIBABLE
from integrations.models.integration import MAX_NAME
from integrations.providers.base import EVENTS_FIELD
from workspaces.admin.forms import PageForm, Section

CLEAR = "-clear"
"""Ends the name of the box that takes a secret away."""
MAKE = "-make"
"""Ends the name of the box that has a secret made."""
MAKES = "Where none is given above. The next page shows it, once."
NONE_GIVEN = "Give one, or have one made."
EVERYTHING = "*"
FAMILIES = tuple(dict.fromkeys(f"{name.partition('.')[0]}.*" for name in SUBSCRIBABLE))
ONE_PER_LINE = "One per line."


@dataclass(frozen=True, slots=True)
class Part:
    """Declared fields under one heading."""

    title: str
    fields: Iterable[Field]
    prefix: str = ""
    """Before their names, as the service has them: "config" of "config.url"."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """What they hold now; never a secret."""
    kept: Mapping[str, str] = field(default_factory=dict)
    """Secrets that are there → what may be shown of them, "" for nothing."""
    makes: bool | None = None
    """Whether secrets that can be made are made where none is given, to begin with; None: that is not offered."""

    def name_of(self, declared: Field) -> str:
        return f"{self.prefix}.{declared.name}" if self.prefix else declared.name


class DeclaredForm(PageForm):
    """The fields of its parts."""

    def __init__(self, parts: Sequence[Part], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.parts = parts
        self.made: dict[str, str] = {}
        """Secrets that were made for what was sent: label → text, to be shown once."""
        for part in parts:
            for declared in part.fields:
                name, kept = part.name_of(declared), part.kept.get(declared.name)
                self.fields[name] = _form_field(declared, part.values.get(declared.name), kept)
                if kept is not None and not declared.required:
                    self.fields[name + CLEAR] = forms.BooleanField(
                        label=f"Take away: {declared.label}", required=False, widget=UnfoldBooleanWidget
                    )
                if declared.made is not None and part.makes is not None:
                    self.fields[name].required = False
                    self.fields[name + MAKE] = forms.BooleanField(
                        label=f"Make a {declared.label.lower()} for me", help_text=MAKES, required=False,
                        initial=part.makes, widget=UnfoldBooleanWidget,
                    )  # fmt: skip

    def clean(self) -> dict[str, Any]:
        """With the secrets that are to be made."""
        cleaned = super().clean()
        for part in self.parts:
            for declared in part.fields:
                name = part.name_of(declared)
                if declared.made is None or part.makes is None or cleaned.get(name) or name in self.errors:
                    continue
                if cleaned.get(name + MAKE):
                    cleaned[name] = self.made[declared.label] = declared.made()
                elif declared.required and declared.name not in part.kept:
                    self.add_error(name, NONE_GIVEN)
        return cleaned

    def sections(self) -> list[Section]:
        """Those of no part first."""
        named = {name: part.title for part in self.parts for f in part.fields for name in _all_of(part.name_of(f))}
        shown: dict[str, list[forms.BoundField]] = {"": []}
        for bound in self:
            shown.setdefault(named.get(bound.name, ""), []).append(bound)
        return [Section(title, fields) for title, fields in shown.items() if fields]

    def given(self, prefix: str = "") -> dict[str, Any]:
        """What the service takes of the parts with this prefix: null takes a value away, what is left out stays."""
        values: dict[str, Any] = {}
        for part in (part for part in self.parts if part.prefix == prefix):
            for declared in part.fields:
                self._give(values, part, declared)
        return values

    def _give(self, values: dict[str, Any], part: Part, declared: Field) -> None:
        name, before = declared.name, part.values.get(declared.name)
        value = self.cleaned_data.get(part.name_of(declared))
        if self.cleaned_data.get(part.name_of(declared) + CLEAR):
            values[name] = None
        elif value is False:
            if before or declared.default is not None or declared.required:
                values[name] = False
        elif value not in (None, "", [], {}):
            values[name] = value
        elif before not in (None, "", [], {}):
            values[name] = None


class NamedForm(DeclaredForm):
    """The form of an integration: its name, then its parts."""

    name = forms.CharField(max_length=MAX_NAME, widget=UnfoldAdminTextInputWidget, help_text="As you call it here.")

    def clean_name(self) -> str:
        """A name goes into subjects of mail and lines of logs."""
        name: str = self.cleaned_data["name"]
        if not ONE_LINE.fullmatch(name):
            raise ValidationError("This must be one line, without control characters.")
        return name


def _all_of(name: str) -> tuple[str, ...]:
    return name, name + CLEAR, name + MAKE


# --- one field ----------------------------------------------------------------------------------------------------


class Lines(forms.CharField):
    """A list of texts, one per line; of addresses also with commas between them."""

    def __init__(self, *, commas: bool, **kwargs: Any) -> None:
        super().__init__(widget=UnfoldAdminTextareaWidget({"rows": 3}), **kwargs)
        self.commas = commas

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(map(str, value)) if isinstance(value, list) else value

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        lines = text.replace(",", "\n").splitlines() if self.commas else text.splitlines()
        return [line.strip() for line in lines if line.strip()]


class Encoded(forms.FileField):
    """A file, as base64."""

    def clean(self, data: Any, initial: Any = None) -> Any:
        file = super().clean(data, initial)
        return base64.b64encode(file.read()).decode() if file else ""


class OneFile(forms.FileInput):
    """A file, in a box that looks as the others."""

    def __init__(self) -> None:
        super().__init__({"class": UnfoldAdminTextInputWidget().attrs["class"]})


class Files(OneFile):
    """Any number of files."""

    allow_multiple_selected = True


class Attached(forms.FileField):
    """Files, as a list of objects that have a name, a type and the content in base64, by the declared names."""

    def __init__(self, *, parts: Sequence[Field], **kwargs: Any) -> None:
        super().__init__(widget=Files(), **kwargs)
        self.content = next(part.name for part in parts if part.kind == "base64")
        self.names = {part.name for part in parts}

    def clean(self, data: Any, initial: Any = None) -> Any:
        files = [super(Attached, self).clean(one, initial) for one in data or [] if one] or super().clean([], initial)
        return [self._object(file) for file in files or [] if file]

    def _object(self, file: UploadedFile) -> dict[str, str]:
        facts = {"fileName": file.name or "file", "contentType": file.content_type or ""}
        known = {name: value for name, value in facts.items() if name in self.names and value}
        return {**known, self.content: base64.b64encode(file.read()).decode()}


class Json(forms.JSONField):
    """JSON; nothing at all where there is none."""

    def prepare_value(self, value: Any) -> Any:
        return "" if value is None else super().prepare_value(value)


class Pretty(json.JSONEncoder):
    """JSON as people write it."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "indent": 2, "ensure_ascii": False})


def _form_field(declared: Field, value: Any, kept: str | None) -> forms.Field:
    """How a browser asks for it."""
    shown = declared.default if value is None else value
    common: dict[str, Any] = {
        "label": declared.label,
        "required": declared.required and kept is None and declared.default is None,
        "help_text": escape(_help(declared, kept)),
    }
    if declared.write_only or declared.secret:
        hidden = UnfoldAdminPasswordWidget({"autocomplete": "new-password", "spellcheck": "false"})
        return forms.CharField(strip=declared.kind != "secret", widget=hidden, **common)
    if declared.kind == "boolean":
        return forms.BooleanField(initial=bool(shown), widget=UnfoldBooleanSwitchWidget, **common | {"required": False})
    if declared.kind == "base64":
        return Encoded(widget=OneFile(), **common)
    if declared.kind == "object" and declared.many and any(part.kind == "base64" for part in declared.fields):
        return Attached(parts=declared.fields, **common)
    if declared.kind in ("json", "object"):
        return Json(initial=shown, encoder=Pretty, widget=UnfoldAdminTextareaWidget({"rows": 6}), **common)
    if declared is EVENTS_FIELD:
        return _events(value or [], common)
    if declared.many:
        return Lines(initial=shown, commas=declared.kind == "email", **common)
    return _single(declared, shown, common)


def _single(declared: Field, shown: Any, common: dict[str, Any]) -> forms.Field:
    limit = {"maxlength": str(declared.longest)} if declared.longest else {}
    if declared.kind == "choice":
        choices = [(word, word) for word in declared.choices]
        blank = [] if common["required"] else [("", "–")]
        return forms.ChoiceField(choices=blank + choices, initial=shown, widget=UnfoldAdminSelectWidget, **common)
    if declared.kind in ("number", "port"):
        return forms.IntegerField(initial=shown, widget=UnfoldAdminIntegerFieldWidget, **common)
    if declared.kind == "long_text":
        return forms.CharField(initial=shown, widget=UnfoldAdminTextareaWidget({"rows": 6}), strip=False, **common)
    if declared.kind == "email":
        return forms.CharField(initial=shown, widget=UnfoldAdminEmailInputWidget(limit), **common)
    attributes = {**limit, "inputmode": "url"} if declared.kind == "url" else limit
    return forms.CharField(initial=shown, widget=UnfoldAdminTextInputWidget(attributes), **common)


def _events(chosen: Sequence[str], common: dict[str, Any]) -> forms.Field:
    """Everything, a family, or single ones."""
    families = {}
    for family in FAMILIES:
        word = family.removesuffix(".*")
        names = [(name, name) for name in SUBSCRIBABLE if name.partition(".")[0] == word]
        families[word.capitalize()] = [(family, f"All of {word}"), *names]
    choices = [(EVERYTHING, "Everything"), *families.items()]
    widget = UnfoldAdminCheckboxSelectMultipleWidget()
    widget.template_name = "integrations/console/events.html"
    return forms.MultipleChoiceField(choices=choices, initial=chosen, widget=widget, **common)


def _help(declared: Field, kept: str | None) -> str:
    words = [declared.help] if declared.help else []
    if kept is not None:
        words.append(f"Now {kept}; leave it empty to keep it." if kept else "It is there; leave it empty to keep it.")
    if declared.many and declared.kind not in ("json", "object") and declared is not EVENTS_FIELD:
        words.append(ONE_PER_LINE)
    if declared.kind in ("json", "object") and not any(part.kind == "base64" for part in declared.fields):
        words.append("A JSON list." if declared.many else "JSON.")
    return " ".join(words)
