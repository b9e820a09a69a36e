"""Roles and groups, changed by people: within what they hold themselves, with a reason, never so that nobody manages access."""

from collections.abc import Collection
from typing import Any

from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Count, QuerySet

from apps.core.choices import Tone
from apps.core.context import acting
from apps.core.events import event, record

from . import granting, hands, lockout, scoping, services
from .choices import SEEDED_ROLES, HandKind, Permission
from .granting import NotGiven
from .models import Role, User


def may_edit(user: Any) -> bool:
    """Whether `user` changes roles and groups: a role is carried to wherever it was given, so it takes everything."""
    return scoping.scopes_of(user, Permission.MANAGE_ACCESS).everything


def require_edit(user: Any) -> None:
    """Pass, or raise PermissionDenied."""
    if not may_edit(user):
        raise PermissionDenied(
            "Roles and groups reach everywhere: you need the permission "
            f"“{Permission.MANAGE_ACCESS.label}” on everything."
        )


def listed() -> QuerySet[Role]:
    """All roles with the number of their grants, by name."""
    return Role.objects.annotate(given=Count("grants")).order_by("name")


def save_role(
    role: Role, *, name: str, description: str, permissions: Collection[str], actor: Any, reason: str
) -> Role:
    """Make or change a role, and carry it at once to everybody who holds it.

    Raises PermissionDenied for a permission that `actor` does not hold on everything, NotGiven for a name that
    is taken, a seeded role's name, or a change after which nobody manages access.
    """
    require_edit(actor)
    wanted = [str(p) for p in Permission if p in permissions]
    added = sorted(set(wanted) - set(role.permissions))
    granting.check_holds_everywhere(actor, role, added)
    if Role.objects.filter(name=name).exclude(pk=role.pk).exists():
        raise NotGiven(f"There is a role {name} already.")
    if role.name in SEEDED_ROLES and name != role.name:
        raise NotGiven(f"The role {role.name} comes with Daytwo and keeps its name; make another one.")
    try:
        with transaction.atomic(durable=True), acting(actor, reason=reason), lockout.somebody_remains():
            role.name, role.description, role.permissions = name, description, wanted
            role.save()
            services.sync_role(role)
            note_added(role, added, actor)
            record([event("role.changed", f"The role {name} allows {_words(wanted)}", tone=Tone.WARN)])
    except lockout.LastManager as error:
        raise NotGiven(str(error)) from error
    return role


def note_added(role: Role, added: Collection[str], actor: Any) -> None:
    """What the two-person rule has to know of a changed role."""
    if added:
        words = f"{actor} added to the role {role}: {_words(sorted(added))}"
        hands.note(by=actor, how=HandKind.ROLE, role=role.pk, permissions=sorted(added), words=words)


def _words(permissions: Collection[str]) -> str:
    return ", ".join(Permission(code).label for code in permissions) or "nothing"


def delete_role(role: Role, *, actor: Any, reason: str) -> None:
    """Delete a role that nobody holds. Raises NotGiven for one that is held, or that comes with Daytwo."""
    require_edit(actor)
    if role.name in SEEDED_ROLES:
        raise NotGiven(f"The role {role.name} comes with Daytwo and stays; take its permissions instead.")
    if role.grants.exists():
        raise NotGiven(f"{role} is given to somebody; take those grants back first.")
    if len(reason.strip()) < 3:
        raise NotGiven("Say why it is deleted, in a few words.")
    with transaction.atomic(durable=True), acting(actor, reason=reason):
        role.delete()


def make_group(*, name: str, actor: Any, reason: str) -> Group:
    """A new group, of nobody. Raises NotGiven for a name that is taken."""
    require_edit(actor)
    if Group.objects.filter(name=name).exists():
        raise NotGiven(f"There is a group {name} already.")
    with transaction.atomic(durable=True), acting(actor, reason=reason):
        return Group.objects.create(name=name)


def put_in_group(group: Group, person: User, *, actor: Any, reason: str) -> None:
    """Put somebody into a group: they hold its grants from their next request on.

    Raises NotGiven for oneself, PermissionDenied where a grant of the group allows more than `actor` holds there.
    """
    require_edit(actor)
    if person.pk == actor.pk:
        raise NotGiven("Nobody puts themselves into a group; ask a colleague who manages access.")
    granting.check_may_join(actor, group)
    with transaction.atomic(durable=True), acting(actor, reason=reason):
        person.groups.add(group)
        words = f"{actor} put {person} into the group {group}"
        hands.note(by=actor, how=HandKind.JOINED, people=[person.pk], group=group.pk, words=words)
        record([event("group.joined", f"{person} is in the group {group}")])


def take_out_of_group(group: Group, person: User, *, actor: Any, reason: str) -> None:
    """Take somebody out of a group, at once. Raises NotGiven without a reason, or for the last who manages access."""
    require_edit(actor)
    if len(reason.strip()) < 3:
        raise NotGiven("Say why, in a few words.")
    try:
        with transaction.atomic(durable=True), acting(actor, reason=reason), lockout.somebody_remains():
            person.groups.remove(group)
            record([event("group.left", f"{person} is no longer in the group {group}")])
    except lockout.LastManager as error:
        raise NotGiven(str(error)) from error
