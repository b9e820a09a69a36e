"""The only doors: `visible` narrows rows, `require` guards a change, `allowed` asks.

A model says once, in its app's `registers.py`, which of its rows lie within given scopes. From
then on every list, count, search, export and live update asks here. A model that never said so
is visible to nobody but who holds the permission on everything.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Any, TypeVar

from django.contrib.postgres.aggregates import ArrayAgg
from django.core.exceptions import PermissionDenied
from django.db import models
from django.db.models import Q
from django.http import Http404
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from apps.core.compiled import compiled

from .choices import WHOLE_INSTANCE, Permission, ScopeKind
from .models import ScopeGroupPermission, ScopeUserPermission

M = TypeVar("M", bound=models.Model)
#: Asked some forty times a page, where `Permission.values` would make its list anew each time.
PERMISSIONS = frozenset(Permission.values)


@dataclass(frozen=True, slots=True)
class Scopes:
    """On what a person holds one permission, right now."""

    permission: str
    everything: bool = False
    accounts: frozenset[int] = frozenset()
    cells: frozenset[int] = frozenset()
    tenants: frozenset[int] = frozenset()

    def __bool__(self) -> bool:
        return self.everything or bool(self.accounts or self.cells or self.tenants)

    @property
    def digest(self) -> str:
        """The same for the same scopes, whoever holds them: what was counted for one may be kept by it for the other."""
        return _digest(self.everything, self.accounts, self.cells, self.tenants)

    def covers(self, others: "Scopes") -> bool:
        """Whether whatever lies within `others` lies within these too, so that no row need be asked about."""
        if self.everything:
            return True
        if others.everything or (others.tenants and self.needs_whole_instance):
            return False
        return (
            self.accounts >= others.accounts and self.cells >= others.cells and self.tenants >= others.tenants
        )

    @property
    def needs_whole_instance(self) -> bool:
        """Whether a tenant's scope counts only where no other tenant is served."""
        return self.permission in WHOLE_INSTANCE


@lru_cache(maxsize=512)
def _digest(everything: bool, *held: frozenset[int]) -> str:
    return sha256(repr((everything, *map(sorted, held))).encode()).hexdigest()


Narrow = Callable[[Scopes], Q]
_narrow: dict[type[models.Model], Narrow] = {}


def register(model: type[models.Model], narrow: Narrow) -> None:
    """Tell which rows of `model` lie within scopes; `narrow` is not asked for `everything`."""
    _narrow[model] = narrow


def registered() -> set[type[models.Model]]:
    """The models that have told."""
    return set(_narrow)


@dataclass(frozen=True, slots=True)
class Cover:
    """A scope that covers a row: `kind` and `object_id` as in `Scope`, and by which `way` the row inherits from it.

    `only`: the permissions that come along that way; None for all of them.
    """

    kind: str
    object_id: int
    label: str
    way: str
    only: frozenset[str] | None = None

    def carries(self, permission: str) -> bool:
        return self.only is None or permission in self.only


Covering = Callable[[Collection[int]], Mapping[int, Sequence[Cover]]]
_covering: dict[type[models.Model], Covering] = {}
EVERYTHING = Cover(ScopeKind.EVERYTHING, 0, "everything", "everything there is")


def register_covering(model: type[models.Model], tell: Covering) -> None:
    """Tell which scopes cover rows of `model`, by id and set-wise; the counterpart of `register`.

    `everything` need not be told. Both answers must agree: tests/access/test_explaining.py compares them.
    """
    _covering[model] = tell


def coverable() -> dict[str, type[models.Model]]:
    """The models whose covers are known, by name, for a chooser."""
    return {str(model._meta.model_name): model for model in _covering}


def covering_many(model: type[models.Model], ids: Collection[int]) -> dict[int, list[Cover]]:
    """The scopes that cover each of these rows, narrowest first; queries do not grow with the rows."""
    tell = _covering.get(model)
    told = tell(ids) if tell is not None and ids else {}
    return {pk: [*told.get(pk, ()), EVERYTHING] for pk in ids}


def covering(obj: models.Model | None) -> list[Cover]:
    """The scopes that cover this row (None: everything), narrowest first."""
    return [EVERYTHING] if obj is None else covering_many(type(obj), [obj.pk])[obj.pk]


def narrow(model: type[models.Model], scopes: Scopes) -> Q:
    """What `model` told: which of its rows lie within scopes. For a floor above that builds its own on it."""
    return Q() if scopes.everything else _narrow[model](scopes)


def any_of(*conditions: Q, **held: Collection[int]) -> Q:
    """Rows that any of these takes, such as `account_id=scopes.accounts`; without a condition and any id, no row.

    What holds no id is left out rather than sent as a condition that takes nothing: Django finds that out again at
    each compilation, by an exception.
    """
    found = Q()
    for condition in (*conditions, *(Q(**{f"{name}__in": ids}) for name, ids in held.items() if ids)):
        found |= condition
    return found or Q(pk__in=())


def plain(user: Any) -> Any:
    """The user behind Django's lazy one, of which each attribute is asked for by a detour; a page asks for hundreds."""
    if type(user) is not SimpleLazyObject:
        return user
    bool(user)  # read by now
    return user._wrapped


def scopes_of(user: Any, permission: str) -> Scopes:
    """The scopes on which `user` holds `permission` at this moment; two queries, kept for the request.

    What is kept lives on the user object, which a request loads anew, so that a grant taken away
    is gone at the very next request.
    """
    user = plain(user)
    if permission not in PERMISSIONS:
        raise ValueError(f"no such permission: {permission!r}; choose one of {', '.join(Permission.values)}")
    if not user.is_authenticated or not user.is_active:
        return Scopes(permission)
    only: frozenset[str] | None = getattr(user, "_only", None)  # who comes with an API token
    if only is not None and permission not in only:
        return Scopes(permission)
    if user.is_superuser:
        return Scopes(permission, everything=True)
    kept: dict[str, Scopes] | None = getattr(user, "_scopes", None)
    if kept is None:
        kept = user._scopes = _load(user)
    return kept.get(permission, Scopes(permission))


@compiled
def _held(*, user: Any, now: Any) -> models.QuerySet[Any, tuple[str, str, list[int]]]:
    """What a user holds at a moment: permission, kind of scope, ids; their own and their groups'."""
    valid = Q(until__isnull=True) | Q(until__gt=now)
    columns = ("permission__codename", "content_object__kind")
    # Gathered in the database: a thousand scopes times a role's permissions are nine rows here, not nine thousand.
    ids = ArrayAgg("content_object__object_id")
    own = ScopeUserPermission.objects.filter(valid, user_id=user).values(*columns).annotate(ids=ids)
    groups = ScopeGroupPermission.objects.filter(valid, group__user=user).values(*columns).annotate(ids=ids)
    held: models.QuerySet[Any, Any] = own.values_list(*columns, "ids")
    return held.union(groups.values_list(*columns, "ids"), all=True)


def _load(user: Any) -> dict[str, Scopes]:
    """All of a user's scopes, by permission. One query."""
    found: dict[str, dict[str, set[int]]] = {}
    for codename, kind, held in _held(user=user.pk, now=timezone.now()):
        found.setdefault(codename, {}).setdefault(kind, set()).update(held)
    return {
        codename: Scopes(
            codename,
            everything=ScopeKind.EVERYTHING in kinds,
            accounts=frozenset(kinds.get(ScopeKind.ACCOUNT, ())),
            cells=frozenset(kinds.get(ScopeKind.CELL, ())),
            tenants=frozenset(kinds.get(ScopeKind.TENANT, ())),
        )
        for codename, kinds in found.items()
    }


def visible(
    user: Any, rows: type[M] | models.QuerySet[M], permission: str = Permission.VIEW
) -> models.QuerySet[M]:
    """The rows on which `user` holds `permission`; none for who holds it nowhere."""
    queryset: models.QuerySet[M] = rows._default_manager.all() if isinstance(rows, type) else rows
    scopes = scopes_of(user, permission)
    if scopes.everything:
        return queryset
    narrow = _narrow.get(queryset.model)
    if not scopes or narrow is None:
        return queryset.none()
    return queryset.filter(narrow(scopes))


def holds(user: Any, permission: str) -> bool:
    """Whether `user` holds `permission` on anything at all."""
    return bool(scopes_of(user, permission))


def allowed(user: Any, permission: str, obj: models.Model) -> bool:
    """Whether `user` holds `permission` on this row."""
    scopes = scopes_of(user, permission)
    if scopes.everything or not scopes:
        return scopes.everything
    return visible(user, type(obj)._default_manager.filter(pk=obj.pk), permission).exists()


def require(user: Any, permission: str, obj: models.Model) -> None:
    """Pass, or raise: Http404 where the row does not exist for this user, PermissionDenied where only the permission lacks."""
    if allowed(user, permission, obj):
        return
    name = obj._meta.verbose_name
    if permission == Permission.VIEW or not allowed(user, Permission.VIEW, obj):
        raise Http404(f"No such {name}.")
    raise PermissionDenied(
        f"You need the permission “{Permission(permission).label}” on this {name}; ask whoever manages access."
    )
