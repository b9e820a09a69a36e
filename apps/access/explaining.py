"""Why somebody can do something on something, and who can: the chain of grants, in words.

The answer of `why` is `scoping.allowed`'s answer, taken apart; a test compares the two over a whole world.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.contrib.auth.models import Group
from django.db.models import Prefetch, Q, QuerySet
from django.utils import timezone

from . import scoping
from .choices import Permission, UserKind
from .models import Grant, User
from .scoping import Cover


@dataclass(frozen=True, slots=True)
class Chain:
    """One way from a person to a permission on a row; `grant` is None for a superuser.

    `stops`: where the chain breaks, in words; empty when it holds.
    """

    user: User
    grant: Grant | None
    cover: Cover
    stops: str = ""

    @property
    def group(self) -> Group | None:
        return self.grant.group if self.grant else None

    @property
    def until(self) -> datetime | None:
        return self.grant.until if self.grant else None


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether `user` may, by which chains, and which came near without holding."""

    user: User
    is_allowed: bool
    chains: Sequence[Chain] = field(default_factory=tuple)
    near: Sequence[Chain] = field(default_factory=tuple)


def why(user: User, permission: str, obj: Any) -> Answer:
    """Why `user` holds `permission` on `obj` (None: on everything), or what comes near it. A constant number of queries."""
    chains = _chains(user, permission, scoping.covering(obj))
    if not user.is_active:
        chains = [_stopped(chain, "the account is inactive") for chain in chains]
    holding = [chain for chain in chains if not chain.stops]
    return Answer(user, bool(holding), holding, [chain for chain in chains if chain.stops])


def ends(user: User, permissions: Iterable[str], obj: Any) -> datetime | None:
    """When `user` loses the first of these permissions on `obj` (None: on everything); None where all of them stay.

    Of permissions that they do not hold there it says nothing. One query.
    """
    if user.is_superuser:
        return None
    covers = scoping.covering(obj)
    mine = list(_grants(covers).filter(Q(user=user) | Q(group__user=user)).distinct())
    found = []
    for permission in permissions:
        untils = [one.until for one in mine if not _stops(one, _cover_of(one, covers), permission)]
        if untils and None not in untils:
            found.append(max(until for until in untils if until is not None))
    return min(found, default=None)


def who(permission: str, obj: Any) -> list[Answer]:
    """Everybody who holds `permission` on `obj` (None: on everything) now, by name. Queries do not grow with people."""
    covers = scoping.covering(obj)
    found: dict[int, tuple[User, list[Chain]]] = {}
    for user in User.objects.filter(is_superuser=True, is_active=True):
        found[user.pk] = (user, [Chain(user, None, scoping.EVERYTHING)])
    for grant in _grants(covers):
        cover = _cover_of(grant, covers)
        if _stops(grant, cover, permission):
            continue
        for user in [grant.user] if grant.user else grant.group.members:  # type: ignore[union-attr]
            if user.is_active:
                found.setdefault(user.pk, (user, []))[1].append(Chain(user, grant, cover))
    answers = [Answer(user, True, chains) for user, chains in found.values()]
    return sorted(answers, key=lambda answer: str(answer.user).lower())


def holders(permission: str, obj: Any) -> list[User]:
    """The people who hold `permission` on `obj` now, without the system's own actors."""
    return [answer.user for answer in who(permission, obj) if answer.user.kind == UserKind.PERSON]


def _grants(covers: Sequence[Cover]) -> QuerySet[Grant]:
    wanted = Q(pk__in=[])
    for cover in covers:
        wanted |= Q(scope__kind=cover.kind, scope__object_id=cover.object_id)
    members = Prefetch("group__user_set", User.objects.order_by("username"), to_attr="members")
    return (
        Grant.objects.filter(wanted)
        .select_related("user", "group", "role", "scope", "given_by")
        .prefetch_related(members)
    )


def _chains(user: User, permission: str, covers: Sequence[Cover]) -> list[Chain]:
    found = [Chain(user, None, scoping.EVERYTHING)] if user.is_superuser else []
    for grant in _grants(covers).filter(Q(user=user) | Q(group__user=user)).distinct():
        cover = _cover_of(grant, covers)
        found.append(Chain(user, grant, cover, _stops(grant, cover, permission)))
    order = {(cover.kind, cover.object_id): place for place, cover in enumerate(covers)}
    return sorted(found, key=lambda chain: order[chain.cover.kind, chain.cover.object_id])


def _cover_of(grant: Grant, covers: Sequence[Cover]) -> Cover:
    return next(c for c in covers if (c.kind, c.object_id) == (grant.scope.kind, grant.scope.object_id))


def _stops(grant: Grant, cover: Cover, permission: str) -> str:
    """Where this chain breaks, in words; empty when it holds."""
    label = Permission(permission).label
    if grant.until is not None and grant.until <= timezone.now():
        return f"the grant ended at {grant.until:%Y-%m-%d %H:%M:%S} UTC"
    if permission not in grant.role.permissions:
        return f"the role does not allow “{label}”"
    if not cover.carries(permission):
        return f"this way does not carry “{label}”"
    return ""


def _stopped(chain: Chain, words: str) -> Chain:
    return Chain(chain.user, chain.grant, chain.cover, chain.stops or words)
