"""Giving and taking roles; the system's own actors."""

from datetime import datetime
from typing import Any

from django.contrib.auth.models import Group
from django.contrib.auth.models import Permission as AuthPermission
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from apps.core.context import acting

from . import lockout
from .choices import SEEDED_ROLES, RequestState, ScopeKind, UserKind
from .models import (
    AccessRequest,
    BreakGlass,
    Grant,
    Role,
    Scope,
    ScopeGroupPermission,
    ScopeUserPermission,
    User,
)

_system: dict[str, int] = {}


def system_actor(name: str) -> User:
    """The named part of the system that acts by itself (`scheduler`, `engine`, `probe`, `command`, `visitor`).

    Made on first use. Never signs in; holds only what it was granted.
    """
    username = f"system:{name}"
    if pk := _system.get(name):
        return User(pk=pk, username=username, kind=UserKind.SYSTEM, first_name=name)
    found: User | None = User.objects.filter(username=username).first()
    if found is None:
        new = User(username=username, kind=UserKind.SYSTEM, first_name=name, is_active=True)
        new.set_unusable_password()
        with transaction.atomic():
            User.objects.create_unrecorded([new], ignore_conflicts=True)
        found = User.objects.get(username=username)
    if not transaction.get_connection().in_atomic_block:
        # Inside a transaction the row may yet be rolled back, and a kept id would then name nobody.
        _system[name] = found.pk
    return found


def scope_for(kind: str, obj: Any = None) -> Scope:
    """The scope row of an account, cell or tenant (or of everything), made on first use."""
    if kind == ScopeKind.EVERYTHING:
        return Scope.objects.get_or_create(kind=kind, object_id=0)[0]
    return Scope.objects.get_or_create(kind=kind, object_id=obj.pk, defaults={"label": str(obj)})[0]


def seed_roles() -> None:
    """Make the seeded roles where they lack; roles that exist are left as people made them."""
    for name, (description, permissions) in SEEDED_ROLES.items():
        Role.objects.get_or_create(
            name=name, defaults={"description": description, "permissions": [str(p) for p in permissions]}
        )


def give_grant(
    *,
    to: User | Group,
    role: Role,
    scope: Scope,
    actor: User,
    reason: str,
    until: datetime | None = None,
) -> Grant:
    """Give a role on a scope; the same grant again only moves its end. Effective at the holder's next request.

    Raises ValueError without a reason or with an end that has passed.
    """
    if not reason.strip():
        raise ValueError("A grant needs a reason: who asked, and what for.")
    if until is not None and until <= timezone.now():
        raise ValueError(f"The grant would end at {until:%Y-%m-%d %H:%M} UTC, which has passed.")
    holder = {"group": to} if isinstance(to, Group) else {"user": to}
    with transaction.atomic(), acting(actor, reason=reason), lockout.somebody_remains():
        grant, made = Grant.objects.get_or_create(
            **holder, role=role, scope=scope, defaults={"until": until, "given_by": actor, "reason": reason}
        )
        if not made:
            grant.until, grant.given_by, grant.reason = until, actor, reason
            grant.save()
            # What was taken in an emergency and is given now is an emergency no more: ending that would take this.
            BreakGlass.objects.filter(grant_ref=grant.pk, ended_at__isnull=True).update(
                ended_at=timezone.now()
            )
        sync_permissions(to, scope)
    return grant


def take_grant(grant: Grant, *, actor: User, reason: str) -> None:
    """Take a role back, at once. Raises lockout.LastManager for the last who manages access on everything."""
    holder = grant.user or grant.group
    assert holder is not None  # noqa: S101 - the constraint grant_to_one_holder says so
    with transaction.atomic(), acting(actor, reason=reason), lockout.somebody_remains():
        scope, reference = grant.scope, grant.pk
        grant.delete()
        AccessRequest.objects.filter(grant_ref=reference, state=RequestState.GRANTED).update(
            state=RequestState.TAKEN, ended_at=timezone.now()
        )
        BreakGlass.objects.filter(grant_ref=reference, ended_at__isnull=True).update(ended_at=timezone.now())
        sync_permissions(holder, scope)


def sync_permissions(holder: User | Group, scope: Scope) -> None:
    """Make guardian's rows of this holder on this scope say what the grants say.

    Two grants may carry the same permission; it then lasts until the later end. One at a time for each scope: of
    two that take the last two grants at once, each would else find the other's, and leave the permission.
    """
    Scope.objects.select_for_update(of=("self",)).get(pk=scope.pk)
    table: Any = ScopeGroupPermission if isinstance(holder, Group) else ScopeUserPermission
    key = {"group": holder} if isinstance(holder, Group) else {"user": holder}
    ends: dict[str, datetime | None] = {}
    for grant in Grant.objects.filter(scope=scope, **key).select_related("role"):
        for codename in grant.role.permissions:
            known = codename in ends
            ends[codename] = (
                None
                if grant.until is None or (known and ends[codename] is None)
                else (max(grant.until, ends[codename] or grant.until) if known else grant.until)
            )
    rows = table.objects.filter(content_object=scope, **key).select_related("permission")
    there = {row.permission.codename: row for row in rows}
    if gone := [row.pk for codename, row in there.items() if codename not in ends]:
        table.objects.filter(pk__in=gone).delete()
    moved = [row for codename, row in there.items() if codename in ends and row.until != ends[codename]]
    for row in moved:
        row.until = ends[row.permission.codename]
    if moved:
        table.objects.bulk_update(moved, ["until"])
    if new := ends.keys() - there.keys():
        of_scopes = AuthPermission.objects.filter(
            content_type__app_label="access", content_type__model="scope", codename__in=new
        )
        by_name = {p.codename: p for p in of_scopes}
        table.objects.bulk_create(
            [table(permission=by_name[name], content_object=scope, until=ends[name], **key) for name in new]
        )


def sync_role(role: Role) -> None:
    """Carry a changed role to everyone who holds it."""
    with transaction.atomic():
        for grant in Grant.objects.filter(role=role).select_related("user", "group", "scope"):
            sync_permissions(grant.user or grant.group, grant.scope)  # type: ignore[arg-type]


def people() -> Any:
    """Users who are people, for choosers."""
    return User.objects.filter(~Q(kind=UserKind.SYSTEM), is_active=True)
