"""Under which grant somebody acts: the one that carries the permission which the page asked for."""

from collections.abc import Callable
from typing import Any

from django.db.models import Q
from django.utils import timezone

from apps.access.choices import ScopeKind
from apps.access.models import Grant

#: The wider scope first: of several grants that carry a permission, the one that would carry it anywhere is told.
WIDTH = {ScopeKind.EVERYTHING: 0, ScopeKind.ACCOUNT: 1, ScopeKind.CELL: 2, ScopeKind.TENANT: 3}

Carried = tuple[int | None, str]


def carried_by(user: Any, permission: str) -> Carried:
    """Id and words of the grant by which `user` holds `permission` at this moment; one query. (None, "") for nobody's.

    A person with several such grants acts under the widest: which of them a row needed is not asked.
    """
    if not user.is_authenticated:
        return None, ""
    if user.is_superuser:
        return None, "superuser"
    valid = Q(until__isnull=True) | Q(until__gt=timezone.now())
    grants = Grant.objects.filter(
        valid, Q(user_id=user.pk) | Q(group__user=user.pk), role__permissions__contains=[permission]
    ).select_related("role", "scope")
    found = min(grants, key=lambda grant: (WIDTH[ScopeKind(grant.scope.kind)], grant.pk), default=None)
    return (None, "") if found is None else (found.pk, f"{found.role} on {found.scope}"[:200])


def carrier(user: Any, permission: str) -> Callable[[], Carried]:
    """The same, asked at the first entry that is written and kept for the rest of the request."""
    kept: list[Carried] = []

    def ask() -> Carried:
        if not kept:
            kept.append(carried_by(user, permission))
        return kept[0]

    return ask
