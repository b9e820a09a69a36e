"""Access for a while: ask, decide, extend, give back. Each is one transaction with its entries, event and letters.

Who decides is somebody else who manages access there and may do there what the role allows: `manage_access`, not
`approve`. Letting one change of the fleet go says nothing about who may be let in.
"""

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import Http404
from django.utils import timezone

from apps.core.choices import Tone
from apps.core.context import acting
from apps.core.events import event, record

from . import explaining, granting, hands, notices, scoping, services
from .choices import REQUEST_TRANSITIONS, Permission, RequestState, ScopeKind
from .granting import NotGiven
from .models import AccessRequest, Grant, PreApproval, Role, Scope
from .telling import context_of_scope, link, span

MIN_REASON = 3
ROWS = ("person", "role", "scope", "decided_by", "extends")


def seen_by(user: Any) -> QuerySet[AccessRequest]:
    """One's own requests, and those on what one manages the access of."""
    rows = AccessRequest.objects.select_related(*ROWS)
    scopes = scoping.scopes_of(user, Permission.MANAGE_ACCESS)
    if scopes.everything:
        return rows
    return rows.filter(Q(person_id=user.pk) | granting.scopes_managed(user))


def for_decision(user: Any) -> QuerySet[AccessRequest]:
    """The requests that wait for somebody like `user`."""
    if not scoping.holds(user, Permission.MANAGE_ACCESS):
        return AccessRequest.objects.none()
    return seen_by(user).filter(state=RequestState.WAITING).exclude(person_id=user.pk)


def find_scope(user: Any, kind: str, name: str) -> Any:
    """The account, cell or tenant of this name or key that `user` sees; None for everything. Raises NotGiven."""
    if kind == ScopeKind.EVERYTHING:
        return None
    model = granting.scope_models()[kind]
    column = "key" if "key" in {field.name for field in model._meta.concrete_fields} else "name"
    found = scoping.visible(user, model).filter(**{column: name}).first()
    if found is None:
        raise NotGiven(f"You see no {kind} with the {column} “{name}”.")
    return found


def ask(
    *, person: Any, role: Role, kind: str, name: str, minutes: int, reason: str, ticket: str = ""
) -> AccessRequest:
    """Ask for a role on a scope for some minutes. A standing pre-approval grants it at once.

    Raises NotGiven for a bad duration, a missing reason, what one holds already, or asks for already.
    """
    reason = _reason(reason)
    _check_minutes(minutes)
    obj = find_scope(person, kind, name.strip())
    with transaction.atomic(durable=True), acting(person, reason=reason):
        scope = services.scope_for(kind, obj)
        _check_is_new(person, role, scope)
        request = AccessRequest.objects.create(
            person=person, role=role, scope=scope, minutes=minutes, reason=reason, ticket=ticket
        )
        _tell_asked(request)
        if standing := _pre_approval(request):
            request.pre_approval = f"{standing} (up to {span(standing.max_minutes)}): {standing.reason}"[:300]
            _grant(request, given_by=standing.given_by)
        else:
            _write_to_deciders(request)
    return request


def extend(request: AccessRequest, *, person: Any, minutes: int, reason: str) -> AccessRequest:
    """Ask for longer: a request of its own, decided like the first. Raises NotGiven unless one's own grant stands."""
    reason = _reason(reason)
    _check_minutes(minutes)
    _require_own(request, person)
    with transaction.atomic(durable=True), acting(person, reason=reason):
        locked = AccessRequest.objects.select_for_update().get(pk=request.pk)
        if locked.state != RequestState.GRANTED or (locked.until or timezone.now()) <= timezone.now():
            raise NotGiven("It has ended; ask anew.")
        if _waiting(person, locked.role, locked.scope).exists():
            raise NotGiven("An extension is waiting already.")
        more = AccessRequest.objects.create(
            person=person, role=locked.role, scope=locked.scope, minutes=minutes, reason=reason,
            ticket=locked.ticket, extends=locked,
        )  # fmt: skip
        _tell_asked(more)
        standing = _pre_approval(more)
        # Extended again and again, a standing yes would have no end: it counts from the first request.
        begun = locked.decided_at or locked.created_at
        end = (locked.until or timezone.now()) + timedelta(minutes=minutes)
        if standing and end <= begun + timedelta(minutes=standing.max_minutes):
            more.pre_approval = f"{standing} (up to {span(standing.max_minutes)}): {standing.reason}"[:300]
            _grant(more, given_by=standing.given_by)
        else:
            _write_to_deciders(more)
    return more


def decide(request: AccessRequest, *, actor: Any, yes: bool, words: str) -> AccessRequest:
    """Say yes or no to somebody else's request.

    Raises Http404 for who does not manage access there, PermissionDenied for one's own and for a role above
    one's own there or for longer than one holds it oneself, NotGiven when it does not wait (any more), or a no
    without a reason.
    """
    if request.person_id == actor.pk:
        raise PermissionDenied("Nobody decides on their own request; ask a colleague who manages access.")
    obj = granting.object_of(request.scope)
    if not may_decide(actor, request):
        raise Http404("No such request.")
    if why := hands.objection(actor, request.person, Permission.MANAGE_ACCESS, obj) if yes else "":
        raise PermissionDenied(why)
    words = " ".join(words.split())[:500]
    if not yes:
        words = _reason(words)
    with transaction.atomic(durable=True), acting(actor, reason=words or f"approves: {request.reason}"):
        locked = AccessRequest.objects.select_for_update().get(pk=request.pk)
        _check_state(locked, RequestState.GRANTED if yes else RequestState.REFUSED)
        locked.decided_by, locked.decision = actor, words
        if yes:
            granting.check_may_give(actor, locked.role, obj)
            _grant(locked, given_by=actor)
        else:
            locked.state, locked.decided_at = RequestState.REFUSED, timezone.now()
            locked.save()
            _tell(
                locked, "refused", f"{locked.person} does not get {locked.role} on {locked.scope}", Tone.WARN
            )
            notices.write(
                [locked.person], f"Refused: {locked.role} on {locked.scope}",
                f"{actor} refused your request: {words}\n\n{link('access:request', locked.pk)}",
            )  # fmt: skip
    return locked


def may_decide(user: Any, request: AccessRequest) -> bool:
    """Whether `user` manages access on what is asked for."""
    if request.scope.kind == ScopeKind.EVERYTHING:
        return scoping.scopes_of(user, Permission.MANAGE_ACCESS).everything
    obj = granting.object_of(request.scope)
    return obj is not None and scoping.allowed(user, Permission.MANAGE_ACCESS, obj)


def why_not_decide(user: Any, request: AccessRequest) -> str:
    """Why the yes of somebody who may decide does not count as another person's; empty where it does, or they may not."""
    if request.state != RequestState.WAITING or not may_decide(user, request):
        return ""
    return hands.objection(user, request.person, Permission.MANAGE_ACCESS, granting.object_of(request.scope))


def withdraw(request: AccessRequest, *, person: Any) -> None:
    """Take one's own request back before it is decided. Raises NotGiven when it does not wait."""
    _require_own(request, person)
    with transaction.atomic(durable=True), acting(person, reason="withdraws the request"):
        locked = AccessRequest.objects.select_for_update().get(pk=request.pk)
        _check_state(locked, RequestState.WITHDRAWN)
        locked.state, locked.ended_at = RequestState.WITHDRAWN, timezone.now()
        locked.save()
        _tell(locked, "withdrawn", f"{person} no longer asks for {locked.role} on {locked.scope}")


def give_back(request: AccessRequest, *, person: Any) -> None:
    """End one's own access before its time, at once. Raises NotGiven when it has ended already."""
    _require_own(request, person)
    with transaction.atomic(durable=True), acting(person, reason="gives it back early"):
        locked = AccessRequest.objects.select_for_update().get(pk=request.pk)
        _check_state(locked, RequestState.RETURNED)
        # An extension became the same grant: it goes with it.
        for one in AccessRequest.objects.filter(grant_ref=locked.grant_ref, state=RequestState.GRANTED):
            one.state, one.ended_at = RequestState.RETURNED, timezone.now()
            one.save()
        if grant := Grant.objects.filter(pk=locked.grant_ref or 0).first():
            services.take_grant(grant, actor=person, reason="given back early")
        _tell(locked, "returned", f"{person} gives {locked.role} on {locked.scope} back")
        deciders = [locked.decided_by] if locked.decided_by else []
        notices.write(
            deciders, f"Given back: {locked.role} on {locked.scope}",
            f"{person} needs it no longer; it ended early.\n\n{link('access:request', locked.pk)}",
        )  # fmt: skip


def _reason(text: str) -> str:
    reason = " ".join(text.split())[:500]
    if len(reason) < MIN_REASON:
        raise NotGiven("Say why, in a few words: it stands in the audit trail.")
    return reason


def _check_minutes(minutes: int) -> None:
    most = settings.ACCESS_MAX_HOURS * 60
    if not 1 <= minutes <= most:
        raise NotGiven(f"Ask for {span(most)} at most; what is needed for longer is given, not asked for.")


def _check_state(request: AccessRequest, wanted: str) -> None:
    if wanted not in REQUEST_TRANSITIONS[request.state]:
        raise NotGiven(f"It is {request.get_state_display().lower()} already; nothing was changed.")


def _require_own(request: AccessRequest, person: Any) -> None:
    if request.person_id != person.pk:
        raise PermissionDenied(f"It is {request.person}'s; only they can do this.")


def _waiting(person: Any, role: Role, scope: Scope) -> QuerySet[AccessRequest]:
    return AccessRequest.objects.filter(person=person, role=role, scope=scope, state=RequestState.WAITING)


def _check_is_new(person: Any, role: Role, scope: Scope) -> None:
    if _waiting(person, role, scope).exists():
        raise NotGiven("You have asked for this already, and it waits for a decision.")
    held = Grant.objects.filter(user=person, role=role, scope=scope)
    if held.filter(Q(until__isnull=True) | Q(until__gt=timezone.now())).exists():
        raise NotGiven(f"You are {role} on {scope} already; to keep it for longer, extend it.")


def _pre_approval(request: AccessRequest) -> PreApproval | None:
    """The standing yes that covers it, if there is one: same role and scope, a group of the person, long enough."""
    return (
        PreApproval.objects.filter(
            group__user=request.person,
            role=request.role,
            scope=request.scope,
            max_minutes__gte=request.minutes,
        )
        .exclude(given_by__in=hands.accounts_of(request.person_id))  # a standing yes is another person's too
        .select_related("group", "role", "scope", "given_by")
        .order_by("max_minutes")
        .first()
    )


def _grant(request: AccessRequest, *, given_by: Any) -> None:
    """Turn a request into a grant with an end; what is held already is never cut short.

    Raises NotGiven for what is held for good, PermissionDenied where it would outlast who decides. (A standing yes was
    asked about that when it was given.)
    """
    now = timezone.now()
    held = Grant.objects.filter(user=request.person, role=request.role, scope=request.scope).first()
    if held is not None and held.until is None:
        raise NotGiven(f"{request.person} holds it for good already.")
    begins = max(now, held.until) if held and held.until and request.extends_id else now
    until: datetime = begins + timedelta(minutes=request.minutes)
    if held and held.until:
        until = max(until, held.until)
    if not request.pre_approval:
        obj = granting.object_of(request.scope)
        granting.check_outlasts(given_by, request.role.permissions, obj, until)
    grant = services.give_grant(
        to=request.person, role=request.role, scope=request.scope, until=until, actor=given_by,
        reason=request.reason,
    )  # fmt: skip
    request.state, request.until, request.grant_ref, request.decided_at = (
        RequestState.GRANTED, until, grant.pk, now
    )  # fmt: skip
    request.save()
    AccessRequest.objects.filter(grant_ref=grant.pk, state=RequestState.GRANTED).exclude(
        pk=request.pk
    ).update(until=until, updated_at=now)
    words = f"{request.person} is {request.role} on {request.scope} until {until:%H:%M:%S} UTC"
    _tell(request, "granted", words, Tone.WARN)
    by = f"by the standing pre-approval {request.pre_approval}" if request.pre_approval else f"by {given_by}"
    notices.write(
        [request.person, given_by], f"Granted: {request.role} on {request.scope}",
        f"{request.person} has it until {until:%Y-%m-%d %H:%M:%S} UTC, given {by}.\n"
        f"Reason: {request.reason}\n\n{link('access:request', request.pk)}",
    )  # fmt: skip


def _tell(request: AccessRequest, what: str, words: str, tone: str = Tone.PLAIN) -> None:
    record([event(f"access.{what}", words, tone=tone, **context_of_scope(request.scope))])


def _tell_asked(request: AccessRequest) -> None:
    more = " more" if request.extends_id else ""
    words = f"{request.person} asks for {span(request.minutes)}{more} as {request.role} on {request.scope}"
    _tell(request, "asked", words)


def _write_to_deciders(request: AccessRequest) -> None:
    obj = granting.object_of(request.scope)
    deciders = [
        one for one in explaining.holders(Permission.MANAGE_ACCESS, obj) if one.pk != request.person_id
    ]
    notices.write(
        deciders, f"{request.person} asks for {request.role} on {request.scope}",
        f"For {span(request.minutes)}. Reason: {request.reason}\n{request.ticket}\n\n"
        f"Decide: {link('access:request', request.pk)}",
    )  # fmt: skip
