"""A PATCH that says nothing changes nothing: the row as it is, and nothing is written, not in the trail either. But
where an empty body toggles (CONTRACT 4).

The routes come from the matrix of `test_tenancy`, where a new one must be declared.
"""

from __future__ import annotations

import pytest

from tests.test_tenancy import PROTECTED, V1, address_of, ids_of
from tests.world import People, fingerprint, tried

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("people", "configured", "mailboxes_stay")]

PATCHES = {name for name in PROTECTED if name.startswith("PATCH ")}
TOGGLES = {
    f"PATCH {V1}/email/<email_id>/read",
    f"PATCH {V1}/email/<email_id>/star",
    f"PATCH {V1}/email/<email_id>/archive",
    f"PATCH {V1}/documents/<document_id>/archive",
}


@pytest.mark.parametrize("name", sorted(PATCHES - TOGGLES))
def test_empty_change_answers_the_row_as_it_is_and_writes_nothing(people: People, name: str) -> None:
    owner = people.worlds["owner"]
    client, address = owner.actor.client, address_of(name, ids_of(name, owner))
    before = fingerprint()
    response = client.patch(address, {})
    assert response.status_code == 200, response.content
    assert fingerprint() == before
    if name.replace("PATCH", "GET") in PROTECTED:
        assert response.json() == client.get(address).json()


@pytest.mark.parametrize("name", sorted(TOGGLES))
def test_empty_change_of_a_flag_toggles_it(people: People, name: str) -> None:
    owner = people.worlds["owner"]
    before = fingerprint()
    with tried():
        assert owner.actor.client.patch(address_of(name, ids_of(name, owner)), {}).status_code == 200
        assert fingerprint() != before
