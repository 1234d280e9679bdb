"""Users, workspaces, memberships, API tokens, the audit trail, and the small rows the whole product leans on.

Used by every app above. Promises: an e-mail names one user whatever its case; a user is in a workspace once; a token is
stored as a hash; an audit event is never changed or removed, which the database enforces too.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.db import models
from django.db.models import Func, Q
from django.db.models.functions import Lower

from core.crypto import SealedTextField
from core.ids import uuid7
from workspaces.scoping import WorkspaceQuerySet

if TYPE_CHECKING:
    _EmailField = models.EmailField[str, str]
else:
    _EmailField = models.EmailField

LAST_USED_EVERY = timedelta(minutes=5)


class ClockTimestamp(Func):
    """PostgreSQL's own wall clock, also inside a long transaction (unlike Now): a web server's wrong clock changes
    neither an expiry nor a lease."""

    function = "clock_timestamp"
    output_field = models.DateTimeField()


class LowerEmailField(_EmailField):
    """An address kept and looked up in lower case, so that `Ann@x.com` and `ann@x.com` are one log-in."""

    def to_python(self, value: Any) -> Any:
        value = super().to_python(value)
        return value.strip().lower() if isinstance(value, str) else value

    def get_prep_value(self, value: Any) -> Any:
        return self.to_python(super().get_prep_value(value))

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        value = self.to_python(getattr(model_instance, self.attname))
        setattr(model_instance, self.attname, value)
        return value


class UserManager(BaseUserManager["User"]):
    """Makes users; a missing password is an unusable one."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:
        """A user who may sign in, without any workspace yet."""
        if not email:
            raise ValueError("A user needs an e-mail address.")
        user = self.model(email=email, **fields)
        user.password = make_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> User:
        """For `manage.py createsuperuser`: sees every workspace in the console."""
        return self.create_user(email, password, **{**fields, "is_staff": True, "is_superuser": True})


class User(AbstractBaseUser, PermissionsMixin):
    """A person who signs in by e-mail. What a user may do is decided by memberships, not by Django's permissions."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    email = LowerEmailField("e-mail", max_length=254, unique=True)
    name = models.CharField(max_length=150, blank=True, default="")
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(default=False, help_text="May open the console; follows from OWNER and ADMIN roles.")
    date_joined = models.DateTimeField(auto_now_add=True)

    objects = UserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        ordering = ("email",)
        constraints = (models.CheckConstraint(condition=Q(email=Lower("email")), name="user_email_lower_case"),)

    def __str__(self) -> str:
        return self.email

    def get_full_name(self) -> str:
        return self.name or self.email

    def get_short_name(self) -> str:
        return self.name.split(" ")[0] if self.name else self.email

    def console_workspace_ids(self) -> frozenset[uuid.UUID]:
        """The workspaces whose console this user may open; `core.admin.ScopedAdmin` shows nothing else."""
        return frozenset(Membership.objects.filter(user_id=self.pk).console().values_list("workspace_id", flat=True))

    def member_workspace_ids(self) -> frozenset[uuid.UUID]:
        """The workspaces this user is in, whatever their role: what is their own there they see in the console too."""
        return frozenset(Membership.objects.filter(user_id=self.pk).values_list("workspace_id", flat=True))

    def owned_workspace_ids(self) -> frozenset[uuid.UUID]:
        """The workspaces whose audit trail this user may read: an operator reads all."""
        if self.is_superuser:
            return frozenset(Workspace.objects.values_list("pk", flat=True))
        owned = Membership.objects.filter(user_id=self.pk, role=Role.OWNER)
        return frozenset(owned.values_list("workspace_id", flat=True))


class Workspace(models.Model):
    """The tenant: everything but users belongs to exactly one."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=255)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name", "id")
        constraints = (models.CheckConstraint(condition=~Q(name=""), name="workspace_name_not_empty"),)

    def __str__(self) -> str:
        return self.name


class Role(models.TextChoices):
    """OWNER: everything, audit too. ADMIN: members and integrations. MEMBER: own connections, shared reading."""

    OWNER = "OWNER"
    ADMIN = "ADMIN"
    MEMBER = "MEMBER"


CONSOLE_ROLES = (Role.OWNER, Role.ADMIN)


class MembershipQuerySet(WorkspaceQuerySet["Membership"]):
    """Set rules of memberships."""

    def console(self) -> Self:
        """Those whose role opens the console."""
        return self.filter(role__in=CONSOLE_ROLES)

    def owners(self) -> Self:
        """Those who own their workspace and can still sign in."""
        return self.filter(role=Role.OWNER, user__is_active=True)


class Membership(models.Model):
    """A user's place in a workspace. API tokens hang on it, so removing a member ends the member's tokens."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.MEMBER)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = MembershipQuerySet.as_manager()

    class Meta:
        ordering = ("id",)
        constraints = (
            models.UniqueConstraint(fields=("workspace", "user"), name="membership_once_per_workspace"),
            models.CheckConstraint(condition=Q(role__in=Role.values), name="membership_role_known"),
        )

    def __str__(self) -> str:
        return f"{self.user.email} ({self.get_role_display()})"


class ApiTokenQuerySet(WorkspaceQuerySet["ApiToken"]):
    """Set rules of tokens."""

    workspace_path = "membership__workspace"

    def live(self) -> Self:
        """Neither revoked nor expired."""
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=ClockTimestamp()), revoked_at=None)


class ApiToken(models.Model):
    """A Bearer token of one member. `lookup` is public; of the secret only a hash is kept (see services/tokens.py)."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    membership = models.ForeignKey(Membership, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=100)
    lookup = models.CharField(max_length=12, unique=True)
    digest = models.CharField(max_length=64)
    """SHA-256, hex, of the whole token: it holds 256 random bits, so a slow hash would add nothing."""
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    objects = ApiTokenQuerySet.as_manager()

    class Meta:
        verbose_name = "API token"
        ordering = ("-id",)
        constraints = (
            models.CheckConstraint(condition=Q(lookup__regex="^[0-9a-f]{12}$"), name="apitoken_lookup_format"),
            models.CheckConstraint(condition=Q(digest__regex="^[0-9a-f]{64}$"), name="apitoken_digest_format"),
            models.CheckConstraint(condition=~Q(name=""), name="apitoken_name_not_empty"),
        )

    def __str__(self) -> str:
        return f"{self.name} ({self.fingerprint})"

    @property
    def fingerprint(self) -> str:
        """What lists show: it tells tokens apart and opens nothing."""
        return f"hub_{self.lookup}_****"

    @property
    def workspace(self) -> Workspace:
        """The tenant of a request made with this token."""
        return self.membership.workspace

    @property
    def workspace_id(self) -> uuid.UUID:
        return self.membership.workspace_id

    @property
    def user(self) -> User:
        return self.membership.user

    @property
    def role(self) -> str:
        """The member's role as the authentication query read it, so a lowered role counts from the next request."""
        return self.membership.role

    def touch(self) -> None:
        """Note that the token was used, at most once in LAST_USED_EVERY, however many servers see it."""
        now = ClockTimestamp()
        unseen = Q(last_used_at=None) | Q(last_used_at__lt=now - LAST_USED_EVERY)
        type(self).objects.filter(unseen, pk=self.pk).update(last_used_at=now)


class TrailIsAppendOnly(TypeError):
    """Someone tried to change or remove what has been recorded."""


def _refuse() -> NoReturn:
    raise TrailIsAppendOnly("Audit events are never changed or removed.")


class AuditQuerySet(WorkspaceQuerySet["AuditEvent"]):
    """A trail that can be read and appended to."""

    def update(self, **kwargs: Any) -> NoReturn:
        _refuse()

    def delete(self) -> NoReturn:
        _refuse()

    def bulk_update(self, objs: Iterable[AuditEvent], fields: Iterable[str], batch_size: int | None = None) -> NoReturn:
        _refuse()


class AuditEvent(models.Model):
    """Who did what to what. `changes` holds field names and values that are safe to read; never a secret.

    The actor is kept by id and address without a foreign key in the database: the trail outlives the account. Migration
    0002 adds the trigger that refuses UPDATE and DELETE to whoever comes past the model.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, related_name="audit_events")
    actor = models.ForeignKey(
        User, null=True, blank=True, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+"
    )
    actor_email = models.CharField(max_length=254, blank=True, default="")
    action = models.CharField(max_length=64)
    object_type = models.CharField(max_length=64, blank=True, default="")
    object_id = models.CharField(max_length=64, blank=True, default="")
    changes = models.JSONField(default=dict, blank=True)
    request_id = models.CharField(max_length=64, blank=True, default="")
    at = models.DateTimeField(auto_now_add=True)

    objects = AuditQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        indexes = (models.Index(fields=("workspace", "-id"), name="auditevent_workspace_newest"),)
        constraints = (models.CheckConstraint(condition=~Q(action=""), name="auditevent_action_not_empty"),)

    def __str__(self) -> str:
        return f"{self.action}, {self.at:%Y-%m-%d %H:%M}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            _refuse()
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse()


class IdempotencyState(models.TextChoices):
    """RUNNING holds a lease; DONE holds the answer."""

    RUNNING = "running"
    DONE = "done"


class IdempotencyRecord(models.Model):
    """What was answered to a POST with an Idempotency-Key (see idempotency.py). Removed after 24 hours.

    The body is sealed: an answer may hold a token that is shown once.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="+")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    route = models.CharField(max_length=200)
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64)
    """SHA-256 of the request's path and body."""
    state = models.CharField(max_length=10, choices=IdempotencyState.choices, default=IdempotencyState.RUNNING)
    lease_until = models.DateTimeField()
    """Until then a twin is refused; afterwards the first attempt counts as crashed."""
    status = models.PositiveSmallIntegerField(null=True, blank=True)
    body = SealedTextField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=ClockTimestamp(), editable=False)

    objects = WorkspaceQuerySet["IdempotencyRecord"].as_manager()

    class Meta:
        indexes = (models.Index(fields=("created_at",), name="idempotencyrecord_age"),)
        constraints = (
            models.UniqueConstraint(fields=("user", "workspace", "route", "key"), name="idempotencyrecord_once"),
            models.CheckConstraint(
                condition=Q(state=IdempotencyState.RUNNING, status__isnull=True, body__isnull=True)
                | Q(state=IdempotencyState.DONE, status__isnull=False, body__isnull=False),
                name="idempotencyrecord_done_has_answer",
            ),
        )

    def __str__(self) -> str:
        return f"{self.route} {self.state}"


class PeriodicSlot(models.Model):
    """One turn of one periodic task. Whoever inserts the row has the turn, so any number of beats may run."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    task = models.CharField(max_length=120)
    slot = models.BigIntegerField()
    """The database's clock divided by the period."""
    taken_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("task", "slot"), name="periodicslot_once"),)

    def __str__(self) -> str:
        return f"{self.task} #{self.slot}"


class VaultKey(models.Model):
    """When a key of the vault was first seen by the product; never the key. See `services.key_ages`."""

    key_id = models.CharField(max_length=64, primary_key=True)
    first_seen_at = models.DateTimeField(db_default=ClockTimestamp(), editable=False)

    def __str__(self) -> str:
        return self.key_id


class Heartbeat(models.Model):
    """When a part of the product last said that it lives; `doctor` and `/readyz` read it."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=64, unique=True)
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name} at {self.at:%Y-%m-%d %H:%M:%S}"
