"""The vault: secrets sealed in a column, each bound to its workspace, table, row and column.

`SealedJSONField` and `SealedTextField` are used by models of every app; a model with one has a primary key made before
the insert (`uuid7`) and a `workspace_id`. What is promised: only ciphertext reaches the database; a blob that was moved
to another place, or changed by one bit, does not open; `repr`, `values()`, `dumpdata`, admin forms and pickles never
hold the plaintext; an unknown key fails closed. The primitives are django-cryptography's (AES-CBC, then HMAC-SHA256);
the values are JSON because whoever can write a pickle runs code (reference ecosystem 1.3).

Blob: version byte, length of the key id, key id, Fernet token. Keys: HKDF-SHA256 (RFC 5869) of the master secret per
(key id, workspace, table, row, column). The ring is `settings.VAULT_KEYS`, "id:secret,id:secret", newest first.

Reading `row.field` opens anew each time: to change a value, assign a whole new one. `QuerySet.update` has no row to
bind to, so it takes `seal_for(row, "field", value)` and refuses plaintext, and so does `bulk_update`.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, NoReturn

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signing import BadSignature
from django.db import models
from django.db.models.query_utils import DeferredAttribute
from django.utils.encoding import force_bytes
from django_cryptography.core.signing import FernetSigner
from django_cryptography.utils.crypto import FernetBytes, InvalidToken

from core.errors import HubError

if TYPE_CHECKING:
    _BinaryField = models.BinaryField[Any, Any]
else:
    _BinaryField = models.BinaryField

VERSION = 1
HEADER = 2
"""Bytes before the key id: version, length of the id."""
PURPOSE = "patchbay.vault.v1"
REDACTED = "[sealed]"


class SealBroken(HubError):
    """503: a stored secret does not open here. It was moved or damaged, or its key is gone; an operator must look."""

    status = 503
    default_code = "sealed_value_unreadable"
    default_message = "A stored secret cannot be opened: it was damaged or moved. `manage.py doctor` says more."


class UnknownKey(SealBroken):
    """503: the blob names a key that VAULT_KEYS does not hold: put the key back."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"A stored secret cannot be opened: its key {key_id!r} is not in VAULT_KEYS.")


class SealingImpossible(TypeError):
    """A programming error: a value is to be sealed where there is no row to bind it to, or no key."""


class Sealed:
    """A blob as it lies in the database. It shows nothing, has no JSON form and equals nothing but the same blob."""

    __slots__ = ("blob",)

    def __init__(self, blob: bytes) -> None:
        self.blob = blob

    @property
    def key_id(self) -> str:
        """The id of the key it was sealed with; SealBroken where the header is damaged."""
        header = self.blob[:HEADER]
        if len(header) < HEADER or header[0] != VERSION or len(self.blob) < HEADER + header[1]:
            raise SealBroken
        return self.blob[HEADER : HEADER + header[1]].decode("ascii", "replace")

    @property
    def token(self) -> bytes:
        return self.blob[HEADER + self.blob[1] :]

    def __repr__(self) -> str:
        return REDACTED

    def __eq__(self, other: object) -> bool:
        return self.blob == other.blob if isinstance(other, Sealed) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.blob)


class Plain:
    """A value assigned to a row that is not in the database yet; it is sealed by the insert, and never pickled."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return REDACTED

    def __reduce__(self) -> NoReturn:
        raise SealingImpossible("A row with a secret is pickled only after it was saved.")


# The key ring


def key_ring() -> dict[str, str]:
    """Key id → master secret, newest first, as VAULT_KEYS says now. ImproperlyConfigured where it is malformed."""
    ring: dict[str, str] = {}
    for entry in str(getattr(settings, "VAULT_KEYS", "") or "").split(","):
        if not entry.strip():
            continue
        key_id, _, secret = entry.strip().partition(":")
        if not (key_id.isascii() and 0 < len(key_id) <= 64 and secret) or key_id in ring:
            raise ImproperlyConfigured("VAULT_KEYS must be `id:secret,id:secret` with different ids, newest first.")
        ring[key_id] = secret
    return ring


def newest_key_id() -> str:
    """The id new values are sealed under."""
    for key_id in key_ring():
        return key_id
    raise ImproperlyConfigured("VAULT_KEYS is empty: nothing can be sealed or opened.")


# Sealing and opening


class Place(NamedTuple):
    """Where a secret lives. A blob opens nowhere else."""

    workspace: str
    table: str
    row: str
    column: str


def _cipher(key_id: str, place: Place) -> FernetBytes:
    secret = key_ring().get(key_id)
    if secret is None:
        raise UnknownKey(key_id)
    info = json.dumps([PURPOSE, key_id, *place]).encode()
    derived = HKDF(algorithm=hashes.SHA256(), length=64, salt=None, info=info).derive(secret.encode())
    return FernetBytes(derived[:32], FernetSigner(derived[32:]))


def seal(plaintext: bytes, place: Place) -> Sealed:
    """Under the newest key, for this place only."""
    key_id = newest_key_id()
    return Sealed(bytes((VERSION, len(key_id))) + key_id.encode() + _cipher(key_id, place).encrypt(plaintext))


def unseal(sealed: Sealed, place: Place) -> bytes:
    """The plaintext; UnknownKey where the key is gone, SealBroken where the blob was changed or belongs elsewhere."""
    cipher = _cipher(sealed.key_id, place)
    try:
        return bytes(cipher.decrypt(sealed.token))
    except (BadSignature, InvalidToken) as error:
        raise SealBroken from error


def fingerprint(secret: str, *, workspace_id: object) -> str:
    """`key.a1b2...****`: tells two secrets of a workspace apart, and nothing about either.

    Keyed with SECRET_KEY and not with the vault's newest key, so that it stays the same when the vault's keys rotate.
    """
    key = f"{PURPOSE}.fingerprint:".encode() + force_bytes(settings.SECRET_KEY)
    digest = hmac.new(key, f"{workspace_id}\n{secret}".encode(), sha256).hexdigest()
    return f"key.{digest[:4]}...****"


# Fields


class SealedAttribute(DeferredAttribute):
    """Opens on access, with the row's own place. The row's `__dict__` holds only `Sealed`, `Plain` or None."""

    field: SealedField

    def __get__(self, instance: models.Model | None, cls: type[models.Model] | None = None) -> Any:
        if instance is None:
            return self
        if self.field.attname not in instance.__dict__:
            self._load(instance)
        held = instance.__dict__[self.field.attname]
        if isinstance(held, Sealed):
            return self.field.loads(unseal(held, self.field.place(instance)))
        return held.value if isinstance(held, Plain) else held

    def __set__(self, instance: models.Model, value: Any) -> None:
        instance.__dict__[self.field.attname] = self._hold(instance, value)

    def _load(self, instance: models.Model) -> None:
        """Fetch a deferred blob; Django's own way would open it on a row without its workspace_id."""
        rows = type(instance)._base_manager.using(instance._state.db).filter(pk=instance.pk)
        instance.__dict__[self.field.attname] = rows.values_list(self.field.attname, flat=True).get()

    def _hold(self, instance: models.Model, value: Any) -> Sealed | Plain | None:
        if value is None or isinstance(value, Sealed):
            return value
        if instance._state.adding:
            return Plain(value)  # the place is not known before all columns are set
        return self.field.seal(instance, value)


class SealedField(_BinaryField):
    """Base of the two: what a column of ciphertext does everywhere Django touches it."""

    descriptor_class = SealedAttribute
    empty_strings_allowed = False
    supported_lookups: ClassVar[frozenset[str]] = frozenset({"isnull"})

    def dumps(self, value: Any) -> bytes:
        """The value as bytes to seal."""
        raise NotImplementedError

    def loads(self, plaintext: bytes) -> Any:
        """What `dumps` was given."""
        raise NotImplementedError

    def place(self, instance: models.Model) -> Place:
        """Where this column of this row is; SealingImpossible while the row has no key or no workspace."""
        workspace_id = getattr(instance, "workspace_id", None)
        if workspace_id is None or instance.pk is None:
            raise SealingImpossible(f"{self} needs a row with a primary key and a workspace_id to bind to.")
        return Place(str(workspace_id), self.model._meta.db_table, str(instance.pk), str(self.column))

    def seal(self, instance: models.Model, value: Any) -> Sealed:
        return seal(self.dumps(value), self.place(instance))

    def pre_save(self, model_instance: models.Model, add: bool) -> Sealed | None:
        """The blob to write, under the newest key where we can; the row holds it from now on instead of plaintext."""
        held = model_instance.__dict__.get(self.attname)
        if isinstance(held, Plain):
            held = self.seal(model_instance, held.value)
        elif isinstance(held, Sealed) and (add or self._is_stale(held)):
            held = seal(unseal(held, self.place(model_instance)), self.place(model_instance))
        model_instance.__dict__[self.attname] = held
        return held

    def _is_stale(self, held: Sealed) -> bool:
        """Sealed under an older key that we hold. A lost key leaves the blob alone: the key may come back."""
        return held.key_id != newest_key_id() and held.key_id in key_ring()

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        if value is not None and not isinstance(value, Sealed):
            raise SealingImpossible(
                f"{self} takes no plaintext here, there is no row to bind it to: save the row, or pass "
                f"core.crypto.seal_for(row, {self.name!r}, value)."
            )
        return super().get_db_prep_value(None if value is None else value.blob, connection, prepared)

    def from_db_value(self, value: Any, *_: Any) -> Sealed | None:
        return None if value is None else Sealed(bytes(value))

    def get_lookup(self, lookup_name: str) -> Any:
        return super().get_lookup(lookup_name) if lookup_name in self.supported_lookups else None

    def get_transform(self, lookup_name: str) -> None:
        return None

    def to_python(self, value: Any) -> Any:
        return value

    def value_from_object(self, obj: models.Model) -> None:
        """Serialisers and model forms get nothing, without opening."""

    def value_to_string(self, obj: models.Model) -> str:
        return ""

    def formfield(self, *_: Any, **__: Any) -> None:
        """No form ever shows it or takes it; forms of our own ask for secrets write-only and assign them."""


class SealedJSONField(SealedField):
    """Any JSON value. None is SQL NULL."""

    description = "Sealed JSON"

    def dumps(self, value: Any) -> bytes:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()

    def loads(self, plaintext: bytes) -> Any:
        return json.loads(plaintext)


class SealedTextField(SealedField):
    """A string. None is SQL NULL."""

    description = "Sealed text"

    def dumps(self, value: Any) -> bytes:
        if not isinstance(value, str):
            raise SealingImpossible(f"{self} takes a string, not {type(value).__name__}.")
        return value.encode()

    def loads(self, plaintext: bytes) -> str:
        return plaintext.decode()


# Rows and models


def sealed_fields(model: type[models.Model]) -> list[SealedField]:
    """The sealed columns of a model's own table."""
    return [field for field in model._meta.local_concrete_fields if isinstance(field, SealedField)]


def seal_for(instance: models.Model, field_name: str, value: Any) -> Sealed | None:
    """A value for `QuerySet.update(field=…)`, bound to this row and column."""
    field = instance._meta.get_field(field_name)
    if not isinstance(field, SealedField):
        raise SealingImpossible(f"{field} is not a sealed field.")
    return None if value is None else field.seal(instance, value)


def reseal(instance: models.Model) -> bool:
    """Move the row's secrets to the newest key; whether there was anything to move.

    The caller holds the row's lock. SealBroken where one does not open, and then nothing is written.
    """
    fields = {f.attname: f for f in sealed_fields(type(instance))}
    held = {name: instance.__dict__.get(name) for name in fields}
    stale = {n: s for n, s in held.items() if isinstance(s, Sealed) and s.key_id != newest_key_id()}
    moved: Mapping[str, Sealed] = {
        name: seal(unseal(sealed, fields[name].place(instance)), fields[name].place(instance))
        for name, sealed in stale.items()
    }
    if moved:
        type(instance)._base_manager.filter(pk=instance.pk).update(**moved)
        instance.__dict__.update(moved)
    return bool(moved)


def key_id_of(column: str) -> models.Func:
    """SQL for a blob's key id; NULL stays NULL, a damaged blob gives some id that no ring holds."""
    return models.Func(
        models.F(column),
        template=f"encode(substring(%(expressions)s from {HEADER + 1} for "
        "CASE WHEN length(%(expressions)s) < 2 THEN 0 ELSE get_byte(%(expressions)s, 1) END), 'escape')",
        output_field=models.TextField(),
    )


def key_ids_in_use(model: type[models.Model]) -> dict[str, int]:
    """Key id → how many values of this model are sealed under it."""
    counts: dict[str, int] = {}
    for field in sealed_fields(model):
        rows = model._base_manager.exclude(**{f"{field.attname}__isnull": True}).order_by()
        grouped = rows.annotate(vault_key_id=key_id_of(field.attname)).values("vault_key_id")
        for row in grouped.annotate(vault_count=models.Count("pk")):
            counts[row["vault_key_id"]] = counts.get(row["vault_key_id"], 0) + row["vault_count"]
    return counts
