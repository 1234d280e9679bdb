"""Since when a key of the vault seals."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from workspaces import tasks
from workspaces.models import VaultKey
from workspaces.services import key_ages

pytestmark = pytest.mark.django_db

OLD, NEW = "old:" + "k3yMater1al" * 5, "new:" + "0therMater1al" * 5


def test_key_keeps_the_day_it_was_first_seen(settings: Any) -> None:
    settings.VAULT_KEYS = OLD
    assert key_ages.newest_since() is None
    tasks.clean()
    first = timezone.now() - timedelta(days=40)
    VaultKey.objects.update(first_seen_at=first)
    tasks.clean()
    assert key_ages.newest_since() == first


def test_age_counts_anew_with_a_new_key_and_says_nothing_of_it(settings: Any) -> None:
    settings.VAULT_KEYS = OLD
    key_ages.note()
    VaultKey.objects.update(first_seen_at=timezone.now() - timedelta(days=40))
    settings.VAULT_KEYS = f"{NEW},{OLD}"
    key_ages.note()
    since = key_ages.newest_since()
    assert since is not None
    assert timezone.now() - since < timedelta(days=1)
    assert set(VaultKey.objects.values_list("key_id", flat=True)) == {"old", "new"}
