"""What follows from a membership whoever changed it: `User.is_staff` (may open the console) mirrors OWNER and ADMIN.

Connected by `WorkspacesConfig.ready`. Signals and not the service, because a cascade or a loaded fixture counts too.
"""

from __future__ import annotations

from typing import Any

from django.db.models.signals import post_delete, post_save

from workspaces.models import Membership, User


def refresh_staff(sender: type[Membership], instance: Membership, **_: Any) -> None:
    """Set the flag in one UPDATE from what the table says now; superusers are staff anyway."""
    runs_something = Membership.objects.filter(user_id=instance.user_id).console().exists()
    stale = User.objects.filter(pk=instance.user_id, is_superuser=False).exclude(is_staff=runs_something)
    stale.update(is_staff=runs_something)


def connect() -> None:
    """Idempotent: the dispatch ids keep a second call from doubling the work."""
    post_save.connect(refresh_staff, sender=Membership, dispatch_uid="workspaces.staff.save")
    post_delete.connect(refresh_staff, sender=Membership, dispatch_uid="workspaces.staff.delete")
