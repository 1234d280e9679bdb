"""What a workspace's CRM calls things, and which addresses and domains stand for them.

An entity is a type and an id of the CRM's own; nothing of it is stored here but those two words. A match belongs to its
workspace: every lookup starts from `in_workspace`. Mail and events are joined to matches when they are read, so a match
covers old and future ones alike and nothing has to be filled in.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import F, OrderBy, Q
from django.db.models.functions import Now

from core.ids import uuid7
from entities.matching import MAX_KEY
from workspaces.scoping import WorkspaceQuerySet

MAX_TYPE, MAX_ID = 50, 200


class EntityReference(models.Model):
    """A CRM entity, by the CRM's own words: "contact" and "42". Ids are text: numbers come in too and stay readable."""

    entity_type = models.CharField(max_length=MAX_TYPE)
    entity_id = models.CharField(max_length=MAX_ID)

    class Meta:
        abstract = True


SYNCED = "sync"
"""The `source` of a match that follows a CRM. One made by a person has none and is never touched by a sync."""
BY_ADDRESS = ("workspace", "address_key", "entity_type", "entity_id")
BY_DOMAIN = ("workspace", "domain", "entity_type", "entity_id")
WALKED = ("uuid_ops", "varchar_pattern_ops", "varchar_ops", "varchar_ops")
"""Operators of indexes of these: they find beginnings whatever the database's collation, and the address book is walked
in their order (ADR 41)."""


class ByCharacters(OrderBy):
    """The order of `varchar_pattern_ops`. Django looks for the word ASC or DESC in every order."""

    def as_sql(self, compiler: Any, connection: Any, template: str | None = None, **extra: Any) -> Any:
        operator = "~>~ /* DESC */" if self.descending else "~<~ /* ASC */"
        return super().as_sql(compiler, connection, template=f"%(expression)s USING {operator}", **extra)


def walked(key: str, *, down: bool = False) -> list[OrderBy]:
    """The order of the indexes with `WALKED`, of which `key` is the second column; `down`: from their end."""
    between = ByCharacters(F(key), descending=down)
    first, *last = (OrderBy(F(name), descending=down) for name in ("workspace_id", "entity_type", "entity_id"))
    return [first, between, *last]


class Match(EntityReference):
    """What both kinds of match have: whose it is, who made it, and what keeps it."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey("workspaces.Workspace", on_delete=models.CASCADE, related_name="+", db_index=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    source = models.CharField(max_length=10, blank=True, default="")
    """"" where a person made it, `SYNCED` where a CRM is followed."""
    source_id = models.UUIDField(null=True, blank=True)
    """The integration whose CRM is followed. By id only: integrations stand above entities."""
    shared = models.BooleanField(db_default=False, editable=False)
    """Whether the same address or domain stands for another entity of this type too: somebody is to decide. Kept by
    triggers (migration 0004, ADR 41); what a match is of never changes."""

    class Meta:
        abstract = True
        constraints = (
            models.CheckConstraint(
                condition=Q(source="", source_id__isnull=True) | Q(source=SYNCED, source_id__isnull=False),
                name="%(class)s_source_is_known",
            ),
        )


class AddressMatch(Match):
    """An address that stands for an entity. Several entities may share one: all of them are shown."""

    address = models.CharField(max_length=MAX_KEY)
    """As it was given."""
    address_key = models.CharField(max_length=MAX_KEY)
    """`matching.normalise` of it: what mail is compared with."""

    objects = WorkspaceQuerySet["AddressMatch"].as_manager()

    class Meta:
        verbose_name_plural = "address matches"
        constraints = (
            *Match.Meta.constraints,
            models.UniqueConstraint(fields=BY_ADDRESS, opclasses=WALKED, name="addressmatch_once"),
        )
        indexes = (
            models.Index(fields=("workspace", "entity_type", "entity_id"), name="addressmatch_of_entity"),
            models.Index(fields=("source_id",), condition=Q(source=SYNCED), name="addressmatch_of_source"),
            models.Index(fields=BY_ADDRESS, opclasses=WALKED, name="addressmatch_to_decide", condition=Q(shared=True)),
            models.Index(fields=BY_ADDRESS, opclasses=WALKED, name="addressmatch_by_hand", condition=Q(source="")),
        )

    def __str__(self) -> str:
        return f"{self.address} → {self.entity_type} {self.entity_id}"


class DomainMatch(Match):
    """A domain all of whose addresses stand for an entity; subdomains are domains of their own."""

    domain = models.CharField(max_length=255)
    """In its compared form (`matching.normalise_domain`)."""

    objects = WorkspaceQuerySet["DomainMatch"].as_manager()

    class Meta:
        verbose_name_plural = "domain matches"
        constraints = (
            *Match.Meta.constraints,
            models.UniqueConstraint(fields=BY_DOMAIN, opclasses=WALKED, name="domainmatch_once"),
        )
        indexes = (
            models.Index(fields=("workspace", "entity_type", "entity_id"), name="domainmatch_of_entity"),
            models.Index(fields=("source_id",), condition=Q(source=SYNCED), name="domainmatch_of_source"),
            models.Index(fields=BY_DOMAIN, opclasses=WALKED, name="domainmatch_to_decide", condition=Q(shared=True)),
            models.Index(fields=BY_DOMAIN, opclasses=WALKED, name="domainmatch_by_hand", condition=Q(source="")),
        )

    def __str__(self) -> str:
        return f"{self.domain} → {self.entity_type} {self.entity_id}"
