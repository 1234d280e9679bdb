"""Actions that bring a file: what a vendor gives becomes a document of an entity.

Called by `integration_actions`. What can be refused without the vendor is refused first, so that nothing is rendered,
and paid for, in vain.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from core.api.serializers import valid
from entities.serializers import EntityFields
from integrations import fields
from integrations.models import Integration
from integrations.providers.base import OF_ENTITY, Action
from integrations.services import integration_use
from integrations.services.files import Brought, files

if TYPE_CHECKING:
    from workspaces.models import User

CHUNK = 256 * 1024
_NAMES = frozenset(field.name for field in OF_ENTITY)


def bring(*, integration: Integration, action: Action, given: Mapping[str, Any], by: User) -> Mapping[str, Any]:
    """The document as the API shows it. The vendor's refusals as they are, then those of `Files.keep`."""
    asked, entity = read(action, given)
    files().check(workspace=integration.workspace)
    found = integration_use.perform(integration=integration, action=action.name, given=asked, by=by)
    content = base64.b64decode(found["content"])
    brought = Brought(
        file_name=str(found["fileName"]),
        content_type=str(found["contentType"]),
        chunks=_parts(content),
        size=len(content),
        **entity,
    )
    return files().keep(workspace=integration.workspace, by=by, brought=brought).shown


def read(action: Action, given: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    """The action's own input as it was given, checked, and the entity: {"entity_type", "entity_id"}. InvalidInput."""
    asked = {name: value for name, value in given.items() if name not in _NAMES}
    fields.read(action.fields, asked)
    entity = valid(EntityFields, {name: given[name] for name in given.keys() & _NAMES}).validated_data
    return asked, entity


def _parts(content: bytes) -> Iterator[bytes]:
    for start in range(0, len(content), CHUNK):
        yield content[start : start + CHUNK]
