"""Two persons are two: whoever made an account, or let it in, cannot be the other person of a two-person rule by it.

Who holds data fixes and manages access could else make a second account and hold both sides. So for TWO_PERSON_DAYS
after such a hand an approval does not count

1. between two accounts of which one had a hand in the other's account (made it, changed by what it signs in, took its
   second factor away, switched it on again), or of which a third had a hand in both; hands go on from account to account;
2. by a permission to approve that the requester, or an account of theirs as in 1, gave: by a grant, by putting into the
   group, by mapping the group, by changing the role.

The hands are rows of their own (`Hand`), written with the change; the trail has each change too.
"""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from . import scoping
from .choices import HandKind, ScopeKind, UserKind
from .models import Grant, Hand, User
from .scoping import Scopes

#: Hands in an account itself; the others are in what it may.
IN_ACCOUNTS = (HandKind.MADE, HandKind.IDENTITY, HandKind.FACTOR, HandKind.BACK)


def note(
    *,
    by: Any,
    how: str,
    words: str,
    people: Iterable[int] = (),
    group: int | None = None,
    role: int | None = None,
    permissions: Collection[str] = (),
) -> None:
    """Keep that `by` had a hand in these people's accounts, or in who is in a group, or in what a role allows.

    Belongs into the transaction of the change. What the system does by itself, and what people do to themselves, is no hand.
    """
    if by is None or by.kind != UserKind.PERSON:
        return
    common = {
        "by_ref": by.pk,
        "group_ref": group,
        "role_ref": role,
        "how": how,
        "permissions": list(permissions),
    }
    who: list[int | None] = [pk for pk in people if pk != by.pk]
    if not who and (how in IN_ACCOUNTS or how == HandKind.JOINED):
        return
    Hand.objects.bulk_create([Hand(**common, person_ref=pk, words=words[:300]) for pk in who or [None]])


def since() -> datetime | None:
    """Hands before this count no more; None where the rule is off."""
    return timezone.now() - timedelta(days=settings.TWO_PERSON_DAYS) if settings.TWO_PERSON_DAYS > 0 else None


def accounts_of(person_id: int) -> frozenset[int]:
    """Every account that may be the same person as this one: up to whoever had a hand in it, and down to all theirs."""
    begin = since()
    if begin is None:
        return frozenset({person_id})
    rows = Hand.objects.filter(at__gte=begin, how__in=IN_ACCOUNTS, person_ref__isnull=False).order_by()
    found = {person_id}
    for source, target in (("person_ref", "by_ref"), ("by_ref", "person_ref")):
        frontier = set(found)
        while frontier:
            frontier = set(rows.filter(**{f"{source}__in": frontier}).values_list(target, flat=True)) - found
            found |= frontier
    return frozenset(found)


def objection(approver: Any, requester: Any, permission: str, obj: models.Model | None) -> str:
    """Why `approver` is no second person to `requester` on `obj` (None: on everything); empty where they are.

    The permission itself is asked for elsewhere; this says whether it counts.
    """
    theirs = _theirs(requester)
    if theirs is None:
        return ""
    if approver.pk in theirs:
        return _same(approver, requester, theirs)
    scopes, tainted = _standing(approver, permission, theirs)
    if scopes.everything or (obj is not None and _lies_in(obj, scopes)):
        return ""
    if tainted is None:
        return ""  # no grant of theirs is in it: what lacks is the permission, which is said elsewhere
    return (
        f"Your permission to decide here comes by what {_name(tainted.given_by_id, theirs, requester)} did in the last "
        f"{settings.TWO_PERSON_DAYS} days ({tainted}), and that is not a second person's. Ask a colleague who may decide here."
    )


def counting(
    rows: models.QuerySet[Any], approver: Any, requester: Any, permission: str
) -> models.QuerySet[Any]:
    """Of rows that `approver` may decide on, those where their decision counts beside `requester`."""
    theirs = _theirs(requester)
    if theirs is None:
        return rows
    if approver.pk in theirs:
        return rows.none()
    scopes, _ = _standing(approver, permission, theirs)
    return rows.filter(scoping.narrow(rows.model, scopes)) if scopes else rows.none()


def _theirs(requester: Any) -> frozenset[int] | None:
    """The requester's accounts; None where the rule does not ask: it is off, or the system itself requests."""
    if since() is None or requester is None or requester.kind != UserKind.PERSON:
        return None
    return accounts_of(requester.pk)


def _lies_in(obj: models.Model, scopes: Scopes) -> bool:
    return (
        bool(scopes)
        and type(obj)._default_manager.filter(scoping.narrow(type(obj), scopes), pk=obj.pk).exists()
    )


def _standing(approver: Any, permission: str, theirs: frozenset[int]) -> tuple[Scopes, Grant | None]:
    """On what the approver holds the permission without a hand of theirs; and a grant that their hand is in, if there is one."""
    if approver.is_superuser:
        return Scopes(permission, everything=True), None
    valid = Q(until__isnull=True) | Q(until__gt=timezone.now())
    grants = (
        Grant.objects.filter(
            valid, Q(user=approver) | Q(group__user=approver), role__permissions__contains=[permission]
        )
        .select_related("user", "group", "role", "scope")
        .distinct()
    )
    begin = since()
    hands = Hand.objects.filter(at__gte=begin, by_ref__in=theirs).order_by()
    groups = set(
        hands.filter(Q(how=HandKind.MAPPED) | Q(how=HandKind.JOINED, person_ref=approver.pk)).values_list(
            "group_ref", flat=True
        )
    )
    roles = set(
        hands.filter(how=HandKind.ROLE, permissions__contains=[permission]).values_list("role_ref", flat=True)
    )
    kinds: dict[str, set[int]] = {}
    tainted = None
    for grant in grants:
        given = begin is not None and grant.given_by_id in theirs and grant.updated_at >= begin
        if given or grant.role_id in roles or (grant.group_id is not None and grant.group_id in groups):
            tainted = tainted or grant
        else:
            kinds.setdefault(grant.scope.kind, set()).add(grant.scope.object_id)
    scopes = Scopes(
        permission,
        everything=ScopeKind.EVERYTHING in kinds,
        accounts=frozenset(kinds.get(ScopeKind.ACCOUNT, ())),
        cells=frozenset(kinds.get(ScopeKind.CELL, ())),
        tenants=frozenset(kinds.get(ScopeKind.TENANT, ())),
    )
    return scopes, tainted


def _same(approver: Any, requester: Any, theirs: frozenset[int]) -> str:
    """What was done, in words, that makes the two one."""
    begin = since() or timezone.now()
    rows = Hand.objects.filter(at__gte=begin, how__in=IN_ACCOUNTS, by_ref__in=theirs)
    hand = (
        rows.filter(
            Q(person_ref=approver.pk, by_ref=requester.pk) | Q(person_ref=requester.pk, by_ref=approver.pk)
        ).first()
        or rows.filter(person_ref__in=(approver.pk, requester.pk)).first()
    )
    what = f"{hand.words} on {hand.at:%Y-%m-%d}" if hand else "one had a hand in the other's account"
    return (
        f"You and {requester} do not count as two persons: {what}. For {settings.TWO_PERSON_DAYS} days after that, ask a "
        "colleague whose account neither of you, nor the same third, has had a hand in."
    )


def _name(pk: int, theirs: frozenset[int], requester: Any) -> str:
    if pk == requester.pk or pk not in theirs:
        return str(requester)
    found = User.objects.filter(pk=pk).first()
    return f"{found or 'an account'}, which belongs to {requester} in this,"
