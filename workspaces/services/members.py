"""Who is in a workspace and as what. Used by the API, the console and the commands.

Rules: an ADMIN neither makes nor touches an OWNER; a workspace always keeps an OWNER who can sign in; adding somebody
who has an account leaves that account as it is (threat 22: no name and no password is set on an existing account, and
a new one gets no password here, so nobody can prepare an account for somebody else's address).
Every change locks the workspace's row first, so two owners cannot leave at the same moment.
"""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction

from core.errors import Conflict, InvalidInput, PermissionRefused
from workspaces.models import Membership, Role, User, Workspace
from workspaces.services import audit


@transaction.atomic
def create_workspace(
    *, by: User | None, name: str, owner_email: str, owner_password: str | None = None, owner_name: str = ""
) -> Membership:
    """A new workspace and its owner's membership. A password is only for a new account: Conflict otherwise."""
    name = audit.readable(name).strip()
    if not 0 < len(name) <= 255:
        raise InvalidInput(fields={"name": ["A name has 1 to 255 characters."]})
    user, created = _account(email=owner_email, name=owner_name)
    if owner_password is not None and not created:
        raise Conflict("This account exists already; its password is not changed here.", code="account_exists")
    if owner_password is not None:
        user.set_password(owner_password)
        user.save(update_fields=["password"])
    workspace = Workspace.objects.create(name=name)
    membership = Membership.objects.create(workspace=workspace, user=user, role=Role.OWNER)
    audit.record(by=by, workspace=workspace, action="workspace.created", target=workspace, changes={"name": name})
    _record(by=by, membership=membership, action="member.added", role=Role.OWNER)
    return membership


@transaction.atomic
def add(*, by: User | None, workspace: Workspace, email: str, role: str = Role.MEMBER, name: str = "") -> Membership:
    """Attach the account with this address, made if there is none. Conflict where it is a member already."""
    _lock(workspace)
    check_ceiling(by=by, workspace=workspace, roles=(role,))
    user, _ = _account(email=email, name=name)
    membership, created = Membership.objects.get_or_create(workspace=workspace, user=user, defaults={"role": role})
    if not created:
        raise Conflict("This person is a member already.", code="already_member")
    _record(by=by, membership=membership, action="member.added", role=role)
    return membership


@transaction.atomic
def change_role(*, by: User | None, membership: Membership, role: str) -> Membership:
    """Conflict `last_owner` where nobody would own the workspace any more."""
    membership = _held(membership)
    if membership.role == role:
        return membership
    check_ceiling(by=by, workspace=membership.workspace, roles=(role, membership.role))
    _check_owner_stays(membership)
    before, membership.role = membership.role, Role(role)
    membership.save(update_fields=["role"])
    _record(by=by, membership=membership, action="member.role_changed", role=[before, role])
    return membership


@transaction.atomic
def remove(*, by: User | None, membership: Membership) -> None:
    """End the membership and, with it, its API tokens. Conflict `last_owner` as above."""
    membership = _held(membership)
    check_ceiling(by=by, workspace=membership.workspace, roles=(membership.role,))
    _check_owner_stays(membership)
    _record(by=by, membership=membership, action="member.removed", role=membership.role)
    membership.delete()


def _lock(workspace: Workspace) -> None:
    Workspace.objects.select_for_update().get(pk=workspace.pk)


def _held(membership: Membership) -> Membership:
    """The row as it is now, under its workspace's lock; NotFound where it went meanwhile."""
    _lock(membership.workspace)
    return Membership.objects.select_related("workspace", "user").fetch(membership.pk)


def check_ceiling(*, by: User | None, workspace: Workspace, roles: tuple[str, ...]) -> None:
    """Only an OWNER, a superuser or the system itself gives, takes or touches OWNER; a MEMBER touches nobody."""
    if by is None or by.is_superuser:
        return
    own = Membership.objects.in_workspace(workspace).filter(user=by).values_list("role", flat=True).first()
    if own == Role.OWNER or (own == Role.ADMIN and Role.OWNER not in roles):
        return
    raise PermissionRefused


def _check_owner_stays(membership: Membership) -> None:
    others = Membership.objects.in_workspace(membership.workspace_id).owners().exclude(pk=membership.pk)
    if membership.role == Role.OWNER and not others.exists():
        raise Conflict("A workspace needs an owner. Make somebody else an owner first.", code="last_owner")


def _account(*, email: str, name: str) -> tuple[User, bool]:
    """The account with this address, and whether it is new; an existing one is returned untouched."""
    email = email.strip().lower()
    try:
        validate_email(email)
    except ValidationError as error:
        raise InvalidInput(fields={"email": [str(message) for message in error.messages]}) from None
    try:
        with transaction.atomic():
            found = User.objects.filter(email=email).first()
            return (found, False) if found else (User.objects.create_user(email, name=audit.readable(name)), True)
    except IntegrityError:  # somebody else made it between the two statements
        return User.objects.get(email=email), False


def _record(*, by: User | None, membership: Membership, action: str, role: object) -> None:
    audit.record(
        by=by,
        workspace=membership.workspace,
        action=action,
        target=membership,
        changes={"email": membership.user.email, "role": role},
    )
