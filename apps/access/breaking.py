"""Breaking glass: access that somebody takes at once, for an hour at most, and answers for afterwards.

It needs the permission to break glass there, and a second factor again (the view asks for it). It alerts the
security address, marks every audit entry made while it lasts, and stays on the bar until it is explained by who
broke it and reviewed by somebody else.
"""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Q, QuerySet
from django.urls import reverse
from django.utils import timezone

from apps.core.choices import Tone
from apps.core.compiled import compiled
from apps.core.context import acting
from apps.core.events import event, record
from apps.core.slots import Notice

from . import asking, explaining, granting, hands, notices, scoping, services
from .choices import NOT_IN_EMERGENCY, Permission, ScopeKind
from .granting import NotGiven
from .models import BreakGlass, Grant, Role
from .scoped import Reader, scoped
from .telling import context_of_scope, link, span

MOST_MINUTES = 60
ROWS = ("person", "role", "scope", "reviewed_by")


def seen_by(user: Any) -> QuerySet[BreakGlass]:
    """One's own, and those on what one manages the access of."""
    return _seen_by(user, user.pk)


def _seen_by(reader: Any, person: Any) -> QuerySet[BreakGlass]:
    rows = BreakGlass.objects.select_related(*ROWS)
    if scoping.scopes_of(reader, Permission.MANAGE_ACCESS).everything:
        return rows
    return rows.filter(Q(person_id=person) | granting.scopes_managed(reader))


def for_review(user: Any) -> QuerySet[BreakGlass]:
    """What waits for the review of somebody like `user`."""
    return _for_review(user, user.pk)


def _for_review(reader: Any, person: Any) -> QuerySet[BreakGlass]:
    if not scoping.holds(reader, Permission.MANAGE_ACCESS):
        return BreakGlass.objects.none()
    return _seen_by(reader, person).filter(reviewed_at__isnull=True).exclude(person_id=person)


def unexplained(user: Any) -> QuerySet[BreakGlass]:
    """What `user` broke and has not explained."""
    return _unexplained(user.pk)


def _unexplained(person: Any) -> QuerySet[BreakGlass]:
    return BreakGlass.objects.filter(person_id=person, reviewed_at__isnull=True, explained_at__isnull=True)


def under(user: Any) -> int | None:
    """The id of the grant that `user` took in an emergency and that stands; kept for the request."""
    if not user.is_authenticated:
        return None
    if not hasattr(user, "_under"):
        rows = BreakGlass.objects.filter(person_id=user.pk, ended_at__isnull=True, until__gt=timezone.now())
        user._under = rows.order_by("-id").values_list("grant_ref", flat=True).first()
    found: int | None = user._under
    return found


def break_glass(*, person: Any, role: Role, kind: str, name: str, minutes: int, reason: str) -> BreakGlass:
    """Take a role on a scope now. Raises PermissionDenied without the permission there, NotGiven for anything else."""
    obj = asking.find_scope(person, kind, name.strip())
    may = (
        scoping.scopes_of(person, Permission.BREAK_GLASS).everything
        if kind == ScopeKind.EVERYTHING
        else scoping.allowed(person, Permission.BREAK_GLASS, obj)
    )
    if not may:
        raise PermissionDenied(f"You need the permission “{Permission.BREAK_GLASS.label}” there.")
    if not 1 <= minutes <= MOST_MINUTES:
        raise NotGiven(f"{MOST_MINUTES} minutes are the most.")
    if barred := [Permission(p).label for p in role.permissions if p in NOT_IN_EMERGENCY]:
        raise NotGiven(f"{role} carries what no emergency needs: {', '.join(barred)}.")
    reason = " ".join(reason.split())[:500]
    if len(reason) < asking.MIN_REASON:
        raise NotGiven("Say what is on fire, in a few words.")
    now = timezone.now()
    with transaction.atomic(durable=True), acting(person, reason=reason):
        scope = services.scope_for(kind, obj)
        held = Grant.objects.filter(user=person, role=role, scope=scope)
        if held.filter(Q(until__isnull=True) | Q(until__gt=now)).exists():
            raise NotGiven(f"You are {role} on {scope} already; there is no glass to break.")
        if unexplained(person).filter(role=role, scope=scope).exists():
            # An hour after the other would be no hour at most.
            raise NotGiven(
                f"You broke glass for {role} on {scope} before: explain that first, in a sentence."
            )
        until = now + timedelta(minutes=minutes)
        grant = services.give_grant(
            to=person, role=role, scope=scope, until=until, actor=person, reason=reason
        )
        glass = BreakGlass.objects.create(
            person=person, role=role, scope=scope, reason=reason, started_at=now, until=until, grant_ref=grant.pk
        )  # fmt: skip
        person._under = grant.pk
        _alert(glass, minutes)
    return glass


def _alert(glass: BreakGlass, minutes: int) -> None:
    words = f"{glass.person} broke glass: {glass.role} on {glass.scope} for {span(minutes)}"
    record([event("access.broken_glass", words, tone=Tone.BAD, **context_of_scope(glass.scope))])
    obj = granting.object_of(glass.scope)
    managers = [one for one in explaining.holders(Permission.MANAGE_ACCESS, obj) if one.pk != glass.person_id]
    body = f"Reason: {glass.reason}\nUntil {glass.until:%Y-%m-%d %H:%M:%S} UTC.\n\n{link('access:glass', glass.pk)}"
    notices.write(managers, f"ALERT: {words}", body, address=settings.SECURITY_EMAIL)


def end(glass: BreakGlass, *, person: Any) -> None:
    """End it before its time: who broke it, or who manages access there. Raises NotGiven when it has ended."""
    if glass.person_id != person.pk and not _may_review(person, glass):
        raise PermissionDenied("Only who broke it, or who manages access there, ends it.")
    with transaction.atomic(durable=True), acting(person, reason="ends the emergency access"):
        locked = BreakGlass.objects.select_for_update().get(pk=glass.pk)
        grant = Grant.objects.filter(pk=glass.grant_ref).first()
        if grant is None or locked.ended_at is not None:
            raise NotGiven("It has ended already.")
        services.take_grant(grant, actor=person, reason="ends the emergency access")
        words = f"{glass.role} on {glass.scope}, taken by {glass.person}, ended early"
        record([event("access.broken_glass_ended", words, **context_of_scope(glass.scope))])


def explain(glass: BreakGlass, *, person: Any, text: str) -> None:
    """Say afterwards what was done and why it could not wait. Raises PermissionDenied for another's, NotGiven without words."""
    if glass.person_id != person.pk:
        raise PermissionDenied(f"{glass.person} has to explain it.")
    if len(text.strip()) < 10:
        raise NotGiven("Say what you did and why it could not wait, in a sentence or more.")
    with transaction.atomic(durable=True), acting(person, reason="explains the emergency access"):
        locked = BreakGlass.objects.select_for_update().get(pk=glass.pk)
        if locked.reviewed_at:
            raise NotGiven("It has been reviewed already.")
        locked.explanation, locked.explained_at = text.strip()[:4_000], timezone.now()
        locked.save()


def _may_review(user: Any, glass: BreakGlass) -> bool:
    if glass.scope.kind == ScopeKind.EVERYTHING:
        return scoping.scopes_of(user, Permission.MANAGE_ACCESS).everything
    obj = granting.object_of(glass.scope)
    return obj is not None and scoping.allowed(user, Permission.MANAGE_ACCESS, obj)


def why_not_review(glass: BreakGlass, user: Any) -> str:
    """Why `user` may not review it now; empty when they may."""
    if glass.reviewed_at:
        return "It has been reviewed."
    if glass.person_id == user.pk:
        return "Somebody else has to review it."
    if not _may_review(user, glass):
        return "Somebody who manages access there has to review it."
    if why := hands.objection(user, glass.person, Permission.MANAGE_ACCESS, granting.object_of(glass.scope)):
        return why
    if glass.ended_at is None and glass.until > timezone.now():
        return "It has not ended."
    return "" if glass.explained_at else f"{glass.person} has to explain it first."


def review(glass: BreakGlass, *, actor: Any, verdict: str, review: str) -> None:
    """Say of another's emergency whether it was right. Raises NotGiven as `why_not_review` says."""
    if why := why_not_review(glass, actor):
        raise NotGiven(why)
    with transaction.atomic(durable=True), acting(actor, reason=review[:500]):
        locked = BreakGlass.objects.select_for_update().get(pk=glass.pk)
        if locked.reviewed_at:
            raise NotGiven("It has been reviewed.")
        locked.reviewed_by, locked.reviewed_at = actor, timezone.now()
        locked.verdict, locked.review = verdict, review
        locked.save()
        words = (
            f"{actor} reviewed the glass that {locked.person} broke: {locked.get_verdict_display().lower()}"
        )
        record([event("access.broken_glass_reviewed", words, **context_of_scope(locked.scope))])


#: Lines of emergencies above the overview; the list has all.
SHOWN = 3


@compiled
def _any_open() -> QuerySet[BreakGlass, Any]:
    """Whether there is one at all, whoever reads: mostly there is none, and then nobody's need be looked for."""
    return BreakGlass.objects.filter(reviewed_at__isnull=True).order_by().values_list("pk")[:1]


@scoped
def _open_emergencies(reader: Reader, *, person: Any) -> QuerySet[BreakGlass]:
    rows = _unexplained(person)
    if scoping.holds(reader, Permission.MANAGE_ACCESS):
        rows |= _for_review(reader, person)
    return rows.select_related(*ROWS).order_by("-id")[:SHOWN]


def emergencies(user: Any) -> list[Notice]:
    """What nobody has reviewed yet, above the overview: for who has to explain it or may review it; two queries, one while there is none."""
    found = []
    for glass in _open_emergencies(user, person=user.pk) if _any_open() else ():
        what = "waits for your explanation" if glass.person_id == user.pk else "has not been reviewed"
        words = f"{glass.person} broke glass: {glass.role} on {glass.scope}, and it {what}"
        found.append(
            Notice(words, reverse("access:glass", args=[glass.pk]), Tone.BAD, since=glass.started_at)
        )
    return found
