"""Users, scopes, roles, grants; guardian keeps the permissions, on scopes and only there."""

from typing import Any

from django.contrib.auth.models import AbstractUser, Group, UserManager
from django.contrib.postgres.fields import ArrayField
from django.db import models
from guardian.models import GroupObjectPermissionBase, UserObjectPermissionBase

from apps.core.compiled import compiled
from apps.core.models import BaseModel, Recorded
from apps.core.querysets import RecordedQuerySet

from ..choices import Permission, ScopeKind, UserKind


class RecordedUserManager(UserManager.from_queryset(RecordedQuerySet)):  # type: ignore[misc]
    """Django's user manager over a queryset whose bulk writes are recorded."""

    def get(self, *args: Any, **kwargs: Any) -> "User":
        """As Django's. By the key alone, as each request asks who is signed in, its statement is compiled once.

        Not in a manager that Django derives from this one, such as a group's members: those narrow. Nor in one of
        another class, such as a migration's of the time: its users are no `User`, and lack columns.
        """
        pk = kwargs.get("pk")
        is_own = type(self) is RecordedUserManager and self.model is User
        is_plain = is_own and not (self._db or self._hints or args)
        if is_plain and len(kwargs) == 1 and type(pk) is int and (rows := _user(pk=pk)):
            return rows[0]
        found: User = super().get(*args, **kwargs)
        return found


class User(Recorded, AbstractUser):
    """A person, or a named part of the system that acts by itself."""

    kind = models.CharField(max_length=8, choices=UserKind.choices, default=UserKind.PERSON)
    zone = models.CharField(max_length=64, blank=True, help_text="IANA time zone; empty: the browser's")
    external_id = models.CharField(
        max_length=254, blank=True, default="", help_text="what the company's directory (SCIM) knows them by"
    )
    is_emergency = models.BooleanField(
        "emergency account",
        default=False,
        help_text="for when the identity provider is away: the directory neither sees nor changes it",
    )

    AUDIT_EXCLUDE = ("password", "last_login")
    AUDIT_EXEMPT = ""

    objects = RecordedUserManager()  # type: ignore[misc]

    class Meta(AbstractUser.Meta):
        swappable = "AUTH_USER_MODEL"
        constraints = [
            models.UniqueConstraint(
                fields=["external_id"], condition=~models.Q(external_id=""), name="user_external_id_once"
            )
        ]

    def __str__(self) -> str:
        return self.get_full_name() or self.username


@compiled
def _user(*, pk: Any) -> "models.QuerySet[User]":
    rows: models.QuerySet[User] = User.objects.filter(pk=pk)
    return rows


class Scope(BaseModel):
    """What permissions are given on: everything, or one account, cell or tenant (by its id)."""

    kind = models.CharField(max_length=12, choices=ScopeKind.choices)
    object_id = models.BigIntegerField(
        default=0, help_text="id of the account, cell or tenant; 0 for everything"
    )
    label = models.CharField(max_length=200, blank=True)

    class Meta:
        default_permissions = ()
        permissions = [(value, label) for value, label in Permission.choices]
        constraints = [
            models.UniqueConstraint(fields=["kind", "object_id"], name="scope_once"),
            models.CheckConstraint(
                condition=models.Q(kind=ScopeKind.EVERYTHING, object_id=0)
                | (~models.Q(kind=ScopeKind.EVERYTHING) & models.Q(object_id__gt=0)),
                name="scope_names_its_object",
            ),
        ]

    def __str__(self) -> str:
        return (
            "everything"
            if self.kind == ScopeKind.EVERYTHING
            else f"{self.get_kind_display().lower()} {self.label}"
        )


class ScopeUserPermission(UserObjectPermissionBase):
    """A user's permission on a scope (guardian, by foreign key), and until when."""

    AUDIT_EXEMPT = "written from Grant, which is recorded"

    content_object = models.ForeignKey(Scope, on_delete=models.CASCADE)
    until = models.DateTimeField(null=True, blank=True)

    class Meta(UserObjectPermissionBase.Meta):
        abstract = False
        indexes = [models.Index(fields=["user", "permission"], name="scopeuser_user_permission")]


class ScopeGroupPermission(GroupObjectPermissionBase):
    """A group's permission on a scope (guardian, by foreign key), and until when."""

    AUDIT_EXEMPT = "written from Grant, which is recorded"

    content_object = models.ForeignKey(Scope, on_delete=models.CASCADE)
    until = models.DateTimeField(null=True, blank=True)

    class Meta(GroupObjectPermissionBase.Meta):
        abstract = False


class Role(BaseModel):
    """A named set of permissions."""

    name = models.SlugField(unique=True)
    description = models.CharField(max_length=200, blank=True)
    permissions = ArrayField(models.CharField(max_length=40, choices=Permission.choices), default=list)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Grant(BaseModel):
    """A role on a scope, for a user or a group, until a time or for good."""

    user = models.ForeignKey(User, null=True, blank=True, on_delete=models.CASCADE, related_name="grants")
    group = models.ForeignKey(Group, null=True, blank=True, on_delete=models.CASCADE, related_name="grants")
    role = models.ForeignKey(Role, on_delete=models.PROTECT, related_name="grants")
    scope = models.ForeignKey(Scope, on_delete=models.PROTECT, related_name="grants")
    until = models.DateTimeField(null=True, blank=True)
    given_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    reason = models.CharField(max_length=500)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(user__isnull=False, group__isnull=True)
                | models.Q(user__isnull=True, group__isnull=False),
                name="grant_to_one_holder",
            ),
            models.UniqueConstraint(fields=["user", "role", "scope"], name="grant_user_once"),
            models.UniqueConstraint(fields=["group", "role", "scope"], name="grant_group_once"),
        ]

    def __str__(self) -> str:
        return f"{self.role} on {self.scope} to {self.user or self.group}"
