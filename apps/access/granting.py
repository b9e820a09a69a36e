"""People giving and taking access on pages: who may, on what, and within what they hold themselves."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db import models, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from apps.core.context import acting

from . import explaining, lockout, scoping, services
from .choices import Permission, ScopeKind
from .models import Grant, PreApproval, Role, Scope, User


class NotGiven(Exception):
    """The request was understood and cannot be met; nothing was changed."""


def scope_models() -> dict[str, type[models.Model]]:
    """What can be a scope beside everything, by kind. The floors above registered them under these very names."""
    kinds = {str(kind) for kind in ScopeKind}
    found = {str(model._meta.model_name): model for model in scoping.registered()}
    return {name: model for name, model in found.items() if name in kinds}


def manageable(user: Any) -> QuerySet[Grant]:
    """Grants on what `user` manages the access of."""
    rows = Grant.objects.select_related("user", "group", "role", "scope", "given_by")
    if scoping.scopes_of(user, Permission.MANAGE_ACCESS).everything:
        return rows
    return rows.filter(scopes_managed(user))


def scopes_managed(user: Any) -> Q:
    """Rows with a `scope` on which `user` manages access; not to be asked for who does so on everything."""
    wanted = Q(pk__in=[])
    for kind, model in scope_models().items():
        within = scoping.visible(user, model, Permission.MANAGE_ACCESS).order_by().values("pk")
        wanted |= Q(scope__kind=kind, scope__object_id__in=within)
    return wanted


def object_of(scope: Scope) -> models.Model | None:
    """The account, cell or tenant that a scope is of; None for everything. Raises NotGiven for one that is gone."""
    if scope.kind == ScopeKind.EVERYTHING:
        return None
    found = scope_models()[scope.kind]._default_manager.filter(pk=scope.object_id).first()
    if found is None:
        raise NotGiven(f"The {scope} is not there any more.")
    return found


def find_object(user: Any, kind: str, name: str) -> models.Model | None:
    """The account, cell or tenant of this name (or key), where `user` manages access; None for everything.

    Raises NotGiven when there is none there, as for one that does not exist.
    """
    if kind == ScopeKind.EVERYTHING:
        if not scoping.scopes_of(user, Permission.MANAGE_ACCESS).everything:
            raise NotGiven("You manage access on a part only; choose an account, a cell or a tenant.")
        return None
    model = scope_models()[kind]
    columns = {field.name for field in model._meta.concrete_fields}
    wanted = Q(key=name) if "key" in columns else Q(name=name)
    found = scoping.visible(user, model, Permission.MANAGE_ACCESS).filter(wanted).first()
    if found is None:
        word = "key" if "key" in columns else "name"
        raise NotGiven(f"There is no {kind} with the {word} “{name}” where you manage access.")
    return found


def check_may_give(actor: Any, role: Role, obj: models.Model | None) -> None:
    """Nobody gives what they do not hold there themselves. Raises PermissionDenied that names what lacks."""
    lacking = [
        Permission(code).label
        for code in role.permissions
        if not (
            scoping.scopes_of(actor, code).everything if obj is None else scoping.allowed(actor, code, obj)
        )
    ]
    if lacking:
        raise PermissionDenied(
            f"The role {role} allows what you may not do there yourself: {', '.join(lacking)}."
        )


def check_outlasts(
    actor: Any, permissions: Iterable[str], obj: models.Model | None, until: datetime | None = None
) -> None:
    """What is given ends no later than what it is given by: access for an hour makes none for good. Raises PermissionDenied."""
    end = explaining.ends(actor, {Permission.MANAGE_ACCESS, *permissions}, obj)
    if end is not None and (until is None or until > end):
        raise PermissionDenied(
            f"You may do this there until {end:%Y-%m-%d %H:%M} UTC yourself, and what you give can last no longer."
        )


def check_holds_everywhere(
    actor: Any, role: Role, permissions: Sequence[str], until: datetime | None = None
) -> None:
    """Nobody puts into a role what they do not hold on everything themselves, for as long, or they would have it by that role."""
    lacking = [Permission(c).label for c in permissions if not scoping.scopes_of(actor, c).everything]
    if lacking:
        raise PermissionDenied(
            f"The role {role} would allow what you may not do yourself: {', '.join(lacking)}."
        )
    if permissions:
        check_outlasts(actor, permissions, None, until)


def check_may_join(actor: Any, group: Group) -> None:
    """Nobody lets others into a group that may do more than they do. Raises PermissionDenied that names what lacks."""
    given = group.grants.select_related("role", "scope")
    promised = PreApproval.objects.filter(group=group).select_related("role", "scope")
    for role, scope in [(one.role, one.scope) for one in given] + [(one.role, one.scope) for one in promised]:
        obj = object_of(scope)
        check_may_give(actor, role, obj)
        check_outlasts(actor, role.permissions, obj)  # a membership has no end


def holds_more(person: User, actor: Any, *, counts_ends: bool = False) -> bool:
    """Whether `person` may do something, somewhere, that `actor` may not do there: then they are not the actor's to change.

    `counts_ends`: or may do it for longer, for what would make the actor them.
    """
    if actor.is_superuser:
        return False
    if person.is_superuser:
        return True
    held = Q(user=person) | Q(group__user=person)
    standing = Q(until__isnull=True) | Q(until__gt=timezone.now())
    for grant in Grant.objects.filter(held, standing).select_related("role", "scope").distinct():
        try:
            obj = object_of(grant.scope)
            check_may_give(actor, grant.role, obj)
            if counts_ends:
                check_outlasts(actor, grant.role.permissions, obj, grant.until)
        except PermissionDenied:
            return True
        except NotGiven:  # what it was on is gone
            continue
    return False


def check_may_give_in_admin(actor: Any, to: User | Group, role: Role, until: datetime | None = None) -> None:
    """The pages' two rules, in the admin: not to oneself, nor what one does not hold. A superuser may."""
    if actor.is_superuser:
        return
    mine = to.user_set.filter(pk=actor.pk).exists() if isinstance(to, Group) else to.pk == actor.pk
    if mine:
        raise PermissionDenied("Nobody gives themselves access; ask a colleague who manages access.")
    check_holds_everywhere(actor, role, role.permissions, until)


def give(
    *,
    actor: Any,
    person: User | Group,
    role: Role,
    kind: str,
    name: str,
    reason: str,
    until: datetime | None = None,
) -> Grant:
    """Give a role to somebody else, or to a group. Raises NotGiven, or PermissionDenied for a role above one's own."""
    if isinstance(person, Group):
        if person.user_set.filter(pk=actor.pk).exists():
            raise NotGiven("You are in this group; ask a colleague who manages access and is not.")
    elif person.pk == actor.pk:
        raise NotGiven("Nobody gives themselves access; ask a colleague who manages access.")
    obj = find_object(actor, kind, name.strip())
    check_may_give(actor, role, obj)
    check_outlasts(actor, role.permissions, obj, until)
    try:
        with transaction.atomic(), acting(actor, reason=reason):
            scope = services.scope_for(kind, obj)
            return services.give_grant(
                to=person, role=role, scope=scope, actor=actor, reason=reason, until=until
            )
    except ValueError as error:
        raise NotGiven(str(error)) from error


def take(*, actor: Any, grant: Grant, reason: str) -> None:
    """Take a grant back, at once. Raises PermissionDenied where `actor` does not manage access, NotGiven without a reason."""
    if not manageable(actor).filter(pk=grant.pk).exists():
        raise PermissionDenied(f"You do not manage access on {grant.scope}; ask a colleague who does.")
    if len(reason.split()) == 0 or len(reason.strip()) < 3:
        raise NotGiven("Say why it is taken, in a few words.")
    try:
        services.take_grant(grant, actor=actor, reason=" ".join(reason.split())[:500])
    except lockout.LastManager as error:
        raise NotGiven(str(error)) from error
