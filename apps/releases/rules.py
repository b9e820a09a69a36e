"""What changes the rules: holds and pins of tenants, freezes, the blast radius. What loosens one takes two people."""

from datetime import datetime
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from apps.access import hands
from apps.access.choices import Permission
from apps.access.scoping import require, scopes_of
from apps.accounts.models import Account, Region
from apps.core.choices import Tone
from apps.core.context import acting
from apps.core.events import event, record
from apps.fleet.models import Cell
from apps.operations.services import Refused
from apps.tenants.models import Plan, Tenant

from .choices import Measure, PolicyScope
from .customers import tell_overridden
from .measures import scope_words
from .models import BlastPolicy, Freeze, Hold, Window
from .services import given_reason, require_everywhere
from .windows import words_of


def set_hold(tenant: Tenant, *, until: datetime, reason: str, actor: Any, version: str = "") -> Hold:
    """Keep rollouts away from a tenant until then, or pin it to a version. Raises Refused for an end that has passed."""
    require(actor, Permission.ROLL_OUT, tenant)
    reason = given_reason(reason)
    if until <= timezone.now():
        raise Refused("A hold ends in the future; say when.")
    hold = Hold(tenant=tenant, until=until, reason=reason, version=version, set_by=actor)
    hold.full_clean()
    what = f"is pinned to {version}" if version else "is on hold"
    with transaction.atomic(durable=True), acting(actor, reason=reason):
        hold.save()
        record([event("hold.set", f"{tenant} {what} until {until:%Y-%m-%d %H:%M} UTC", tenant_id=tenant.pk)])
    return hold


def end_hold(hold: Hold, *, actor: Any, reason: str) -> None:
    """End a hold now: for who set it. Anybody else asks to override it, and another agrees; then the tenant is told."""
    require(actor, Permission.ROLL_OUT, hold.tenant)
    reason = given_reason(reason)
    with transaction.atomic(durable=True), acting(actor, reason=reason):
        locked = Hold.objects.select_for_update(of=("self",)).select_related("tenant").get(pk=hold.pk)
        if not locked.is_on:
            raise Refused("It has ended already.")
        if locked.set_by_id == actor.pk:
            locked.until, words = timezone.now(), "is ended"
        elif locked.override_asked_by_id in (None, actor.pk):
            locked.override_asked_by, locked.override_reason, words = actor, reason, "shall be overridden"
        else:
            if why := hands.objection(actor, locked.override_asked_by, Permission.ROLL_OUT, locked.tenant):
                raise PermissionDenied(why)
            locked.overridden_by, words = actor, "is overridden"
        locked.save()
        if locked.overridden_by_id:
            tell_overridden(locked, actor=actor)
        record(
            [
                event(
                    "hold.ended",
                    f"Hold of {locked.tenant} {words}",
                    tone=Tone.WARN,
                    tenant_id=locked.tenant_id,
                )
            ]
        )


def add_window(window: Window, *, actor: Any) -> Window:
    """Let rollouts change a tenant only in a weekly window of its own time zone.

    The first one narrows, and counts at once. A further one widens: it waits until a second person agrees (`agree_window`).
    """
    require(actor, Permission.ROLL_OUT, window.tenant)
    window.days = sorted(set(window.days))
    window.full_clean()
    words = words_of((window.days, window.opens_at, window.minutes))
    title = f"Maintenance window of {window.tenant}: {words} {window.tenant.zone}"
    with transaction.atomic(durable=True), acting(actor, reason=title):
        if _others(window).exists():
            window.is_on, window.asked_by, window.asked_reason = False, actor, "a further window"
        window.save()
        waits = "" if window.is_on else ", waits for a second person"
        record([event("window.added", f"{title}{waits}", tenant_id=window.tenant_id)])
    return window


def agree_window(window: Window, *, actor: Any) -> Window:
    """Let a further window count. Never for who asked for it, nor for a second account of theirs."""
    require(actor, Permission.ROLL_OUT, window.tenant)
    with transaction.atomic(durable=True), acting(actor, reason=f"agrees: {window.asked_reason}"):
        locked = _locked_window(window)
        if locked.is_on or locked.asked_by is None:
            raise Refused("It counts already.")
        _require_second(actor, locked.asked_by, Permission.ROLL_OUT, locked.tenant, "adds a further window")
        locked.is_on, locked.asked_by, locked.asked_reason = True, None, ""
        locked.save()
        title = f"A further maintenance window of {locked.tenant} counts from now on, by two people"
        record([event("window.agreed", title, tone=Tone.WARN, tenant_id=locked.tenant_id)])
    return locked


def remove_window(window: Window, *, actor: Any, reason: str) -> None:
    """Take a window away. The last one (or the last that security releases wait for) goes when a second person agrees.

    With others left, or before anybody agreed to it, its going narrows or changes nothing: it goes at once.
    """
    require(actor, Permission.ROLL_OUT, window.tenant)
    reason = given_reason(reason)
    with transaction.atomic(durable=True), acting(actor, reason=reason):
        locked = _locked_window(window)
        if _is_needed(locked):
            if locked.asked_by is None or locked.asked_by_id == actor.pk:
                locked.asked_by, locked.asked_reason = actor, reason
                locked.save()
                title = f"The maintenance window of {locked.tenant} shall go, and waits for a second person"
                record([event("window.asked", title, tone=Tone.WARN, tenant_id=locked.tenant_id)])
                return
            _require_second(actor, locked.asked_by, Permission.ROLL_OUT, locked.tenant, "removes a window")
        title = f"A maintenance window of {locked.tenant} was taken away"
        record([event("window.removed", title, tone=Tone.WARN, tenant_id=locked.tenant_id)])
        locked.delete()


def _others(window: Window) -> QuerySet[Window]:
    """The other windows of its tenant that count; the tenant is locked, so that two requests see each other."""
    list(Tenant.objects.select_for_update(of=("self",)).filter(pk=window.tenant_id).values_list("pk"))
    return Window.objects.filter(tenant_id=window.tenant_id, is_on=True).exclude(pk=window.pk)


def _is_needed(window: Window) -> bool:
    """Whether without it something could be done at a time at which it cannot be done now."""
    others = _others(window)
    last_of_all = not others.exists()
    last_for_security = (
        not window.lets_security_through and not others.filter(lets_security_through=False).exists()
    )
    return window.is_on and (last_of_all or last_for_security)


def _locked_window(window: Window) -> Window:
    rows = Window.objects.select_for_update(of=("self",)).select_related("tenant", "asked_by")
    found = rows.filter(pk=window.pk).first()
    if found is None:
        raise Refused("It is gone already.")
    return found


def _require_second(actor: Any, first: Any, permission: Permission, obj: Any, what: str) -> None:
    """Pass for a second person beside `first`, or raise PermissionDenied."""
    if actor.pk == first.pk:
        raise PermissionDenied(f"Nobody {what} alone; ask a colleague who may.")
    if why := hands.objection(actor, first, permission, obj):
        raise PermissionDenied(why)


def add_freeze(freeze: Freeze, *, actor: Any) -> Freeze:
    """Keep rollouts from starting anything for a time."""
    if freeze.account is not None:
        require(actor, Permission.ROLL_OUT, freeze.account)
    else:
        require_everywhere(actor, Permission.ROLL_OUT)
    reason = given_reason(freeze.reason)
    freeze.full_clean()
    with transaction.atomic(durable=True), acting(actor, reason=reason):
        freeze.save()
        record([event("freeze.added", f"Freeze “{freeze.name}” was announced", account_id=freeze.account_id)])
    return freeze


def end_freeze(freeze: Freeze, *, actor: Any, reason: str) -> Freeze | None:
    """End a freeze now, or take one back that has not begun: asked for by one, done when another agrees.

    Gives the freeze as it is then; None where it had not begun and is gone.
    """
    require_everywhere(actor, Permission.MANAGE_RELEASES)
    reason = given_reason(reason)
    with transaction.atomic(durable=True), acting(actor, reason=reason):
        rows = Freeze.objects.select_for_update(of=("self",)).select_related("end_asked_by")
        locked, now = rows.filter(pk=freeze.pk).first(), timezone.now()
        if locked is None or locked.ends_at <= now:
            raise Refused("It has ended already.")
        if locked.end_asked_by is None or locked.end_asked_by_id == actor.pk:
            locked.end_asked_by, locked.end_reason, words = (
                actor,
                reason,
                "shall be ended, and waits for a second person",
            )
            locked.save()
        else:
            _require_second(actor, locked.end_asked_by, Permission.MANAGE_RELEASES, None, "ends a freeze")
            words = "was ended, by two people"
            if locked.starts_at >= now:
                locked.delete()
            else:
                locked.ends_at = now
                locked.save()
        title = f"Freeze “{locked.name}” {words}"
        record([event("freeze.ended", title, tone=Tone.WARN, account_id=locked.account_id)])
    return locked if locked.pk else None


# --- Blast radius -------------------------------------------------------------------------------

#: What a policy's `object_id` is an id of.
SCOPE_MODELS: dict[PolicyScope, Any] = {
    PolicyScope.ACCOUNT: Account, PolicyScope.REGION: Region, PolicyScope.PLAN: Plan, PolicyScope.CELL: Cell,
}  # fmt: skip


def set_policy(
    *,
    scope: str,
    object_id: int,
    max_count: int | None,
    max_percent: int | None,
    actor: Any,
    reason: str,
    measure: str = Measure.INSTANCES,
    currency: str = "",
) -> BlastPolicy:
    """Set a limit. A new or a lower one counts at once; a higher one waits for a second person (`approve_policy`)."""
    require_everywhere(actor, Permission.MANAGE_RELEASES)
    reason = given_reason(reason)
    if max_count is None and max_percent is None:
        raise Refused("Say at most how many, or what share.")
    object_id = 0 if scope == PolicyScope.FLEET else object_id
    key = {"scope": scope, "object_id": object_id, "measure": measure, "currency": currency}
    label = _label(scope, object_id)
    with transaction.atomic(durable=True), acting(actor, reason=reason):
        known = BlastPolicy.objects.select_for_update().filter(**key).first()
        policy = known or BlastPolicy(**key)
        is_raised = known is not None and _is_looser(known, max_count, max_percent)
        if is_raised:
            policy.wanted_count, policy.wanted_percent = max_count, max_percent
            policy.wanted_by, policy.wanted_reason = actor, reason
        else:
            policy.max_count, policy.max_percent = max_count, max_percent
            _forget_wish(policy)
        policy.label = label
        policy.full_clean()
        policy.save()
        words = "shall be raised, and waits for a second person" if is_raised else "was set"
        record([event("blast_radius.set", f"Blast radius of {_name(policy)} {words}", tone=Tone.WARN)])
    return policy


def approve_policy(policy: BlastPolicy, *, actor: Any) -> BlastPolicy:
    """Let a raised limit count, as `policy` says it is wanted: who agrees agrees to what they saw. Never for who asked for it."""
    if policy.wanted_by_id == actor.pk:
        raise PermissionDenied("Nobody raises a limit alone; ask a colleague who may approve.")
    if not scopes_of(actor, Permission.APPROVE).everything:
        raise PermissionDenied("Raising a limit needs “Approve others' operations” on everything.")
    with transaction.atomic(durable=True), acting(actor, reason=f"approves: {policy.wanted_reason}"):
        locked = BlastPolicy.objects.select_for_update().get(pk=policy.pk)
        if locked.wanted_by_id in (None, actor.pk):
            raise Refused("Nobody asks for a higher limit (any more).")
        if why := hands.objection(actor, locked.wanted_by, Permission.APPROVE, None):
            raise PermissionDenied(why)
        if (locked.wanted_count, locked.wanted_percent) != (policy.wanted_count, policy.wanted_percent):
            raise Refused(f"{locked.wanted_by} asks for something else by now; look again before you agree.")
        locked.max_count, locked.max_percent, locked.raised_by = (
            locked.wanted_count,
            locked.wanted_percent,
            actor,
        )
        _forget_wish(locked)
        locked.save()
        record([event("blast_radius.raised", f"Blast radius of {_name(locked)} was raised", tone=Tone.WARN)])
    return locked


def _label(scope: str, object_id: int) -> str:
    if scope == PolicyScope.FLEET:
        return ""
    model = SCOPE_MODELS[PolicyScope(scope)]
    found = model.objects.filter(pk=object_id).first()
    if found is None:
        raise Refused(f"There is no such {scope}.")
    return str(found)


def _name(policy: BlastPolicy) -> str:
    counted = policy.get_measure_display().lower() + (f" in {policy.currency}" if policy.currency else "")
    return f"{scope_words(policy)}, {counted},"


def _forget_wish(policy: BlastPolicy) -> None:
    policy.wanted_count = policy.wanted_percent = policy.wanted_by = None
    policy.wanted_reason = ""


def _is_looser(policy: BlastPolicy, max_count: int | None, max_percent: int | None) -> bool:
    """Whether either limit would be higher, or gone."""
    return any(
        before is not None and (after is None or after > before)
        for before, after in ((policy.max_count, max_count), (policy.max_percent, max_percent))
    )
