"""People giving and taking access on pages: who may, on what, and within what they hold themselves."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db import models
from django.db.models import Q, QuerySet

from . import scoping, services
from .choices import Permission, ScopeKind
from .models import Grant, Role, User


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
    scopes = scoping.scopes_of(user, Permission.MANAGE_ACCESS)
    if scopes.everything:
        return rows
    wanted = Q(pk__in=[])
    for kind, model in scope_models().items():
        within = scoping.visible(user, model, Permission.MANAGE_ACCESS).order_by().values("pk")
        wanted |= Q(scope__kind=kind, scope__object_id__in=within)
    return rows.filter(wanted)


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


def _check_may_give(actor: Any, role: Role, obj: models.Model | None) -> None:
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


def check_holds_everywhere(actor: Any, role: Role, permissions: Iterable[str]) -> None:
    """Nobody puts into a role what they do not hold on everything themselves, or they would have it by that role."""
    lacking = [Permission(c).label for c in permissions if not scoping.scopes_of(actor, c).everything]
    if lacking:
        raise PermissionDenied(
            f"The role {role} would allow what you may not do yourself: {', '.join(lacking)}."
        )


def check_may_give_in_admin(actor: Any, to: User | Group, role: Role) -> None:
    """The pages' two rules, in the admin: not to oneself, nor what one does not hold. A superuser may."""
    if actor.is_superuser:
        return
    mine = to.user_set.filter(pk=actor.pk).exists() if isinstance(to, Group) else to.pk == actor.pk
    if mine:
        raise PermissionDenied("Nobody gives themselves access; ask a colleague who manages access.")
    check_holds_everywhere(actor, role, role.permissions)


def give(
    *, actor: Any, person: User, role: Role, kind: str, name: str, reason: str, until: datetime | None = None
) -> Grant:
    """Give a role to somebody else. Raises NotGiven, or PermissionDenied for a role above one's own."""
    if person.pk == actor.pk:
        raise NotGiven("Nobody gives themselves access; ask a colleague who manages access.")
    obj = find_object(actor, kind, name.strip())
    _check_may_give(actor, role, obj)
    try:
        return services.give_grant(
            to=person, role=role, scope=services.scope_for(kind, obj), actor=actor, reason=reason, until=until
        )
    except ValueError as error:
        raise NotGiven(str(error)) from error


def take(*, actor: Any, grant: Grant, reason: str) -> None:
    """Take a grant back, at once. Raises NotGiven without a reason."""
    if len(reason.split()) == 0 or len(reason.strip()) < 3:
        raise NotGiven("Say why it is taken, in a few words.")
    services.take_grant(grant, actor=actor, reason=" ".join(reason.split())[:500])
