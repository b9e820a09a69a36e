"""Hot patches: the road of every rollout with one tenant's instances as its set, an expiry, and reminders.

`watch_hot_patches` is the tick: it looks at rows and is the same when done twice.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Count
from django.utils import timezone

from apps.access import notices as letters
from apps.access.choices import Permission
from apps.access.scoping import require, visible
from apps.access.services import system_actor
from apps.core.choices import Tone
from apps.core.context import acting
from apps.core.events import event, record
from apps.fleet.models import Instance, Placement
from apps.operations.services import Refused
from apps.tenants.models import Tenant

from .choices import RolloutState, TargetState
from .models import Hold, HotPatch, Release, Rollout
from .rollouts import checked_plan, write_rollout
from .services import given_reason

#: How long one may be asked for at once; it can be extended, with a reason each time.
MOST = timedelta(days=90)
#: The first reminder comes so long before its end, the next at its end, and then one each `AGAIN`.
BEFORE, AGAIN = timedelta(days=1), timedelta(days=1)


def prepare_hot_patch(
    tenant: Tenant, *, release: Release, until: datetime, reason: str, actor: Any, **how: Any
) -> HotPatch:
    """Prepare a rollout of one tenant's instances alone; `how` are columns of the rollout (gate, bake_seconds, …).

    It is for who may roll out and deploy on each instance of the tenant, by whichever scope. Raises Refused where an
    instance serves others too, where one is on already, or for an end that is past or too far.
    """
    _require_on_all(actor, tenant)
    _check_end(until)
    _check_alone(tenant)
    values = {"canary": "1", "growth": 1, "concurrency": 1, **how}
    rollout = Rollout(release=release, query=f"tenant={tenant.key}", reason=reason, **values)
    plan = checked_plan(rollout, actor=actor)
    with transaction.atomic(durable=True), acting(actor, reason=rollout.reason):
        Tenant.objects.select_for_update().get(pk=tenant.pk)
        if HotPatch.objects.filter(tenant=tenant, ended_at__isnull=True).exists():
            raise Refused(f"{tenant} has a hot patch already; bring it back to the main line first.")
        write_rollout(rollout, plan)
        patch = HotPatch(rollout=rollout, tenant=tenant, until=until, asked_by=actor)
        patch.full_clean(exclude=["rollout"])
        patch.save()
        title = f"Hot patch {release} of {tenant} was prepared, until {until:%Y-%m-%d %H:%M} UTC"
        record([event("hot_patch.prepared", title, tenant_id=tenant.pk)])
    return patch


def _require_on_all(actor: Any, tenant: Tenant) -> None:
    """Pass for who may change every instance of a tenant: half a tenant on a version of its own is no hot patch."""
    require(actor, Permission.VIEW, tenant)
    mine = Instance.objects.filter(placements__tenant=tenant)
    may = visible(actor, visible(actor, mine, Permission.ROLL_OUT), Permission.DEPLOY)
    if mine.exclude(pk__in=may.order_by().values("pk")).exists():
        raise PermissionDenied(
            f"You need the permissions “{Permission.ROLL_OUT.label}” and “{Permission.DEPLOY.label}” on every instance "
            f"of {tenant}; ask whoever manages access, or somebody who may change all of them."
        )


def _check_end(until: datetime) -> None:
    now = timezone.now()
    if until <= now:
        raise Refused("A hot patch ends in the future; say when the tenant shall be back on the main line.")
    if until > now + MOST:
        raise Refused(f"A hot patch lasts at most {MOST.days} days at once; it can be extended.")


def _check_alone(tenant: Tenant) -> None:
    mine = Instance.objects.filter(placements__tenant=tenant)
    shared = (
        Instance.objects.filter(pk__in=mine.values("pk"))
        .annotate(tenants=Count("placements"))
        .filter(tenants__gt=1)
        .order_by("name")
        .first()
    )
    if shared is not None:
        raise Refused(
            f"{shared} serves {shared.tenants - 1:,} other tenants: a hot patch is for one tenant alone. "
            "Move the tenant to an instance of its own, or roll the release out to all of them."
        )


def extend_hot_patch(patch: HotPatch, *, until: datetime, reason: str, actor: Any) -> None:
    """Give a hot patch a new end; its pin goes with it, and reminders begin anew. For who may steer its rollout."""
    require(actor, Permission.ROLL_OUT, patch.rollout)
    reason = given_reason(reason)
    _check_end(until)
    with transaction.atomic(durable=True), acting(actor, reason=reason):
        locked = HotPatch.objects.select_for_update(of=("self",)).select_related("tenant").get(pk=patch.pk)
        if locked.ended_at is not None:
            raise Refused("It has ended already.")
        locked.until, locked.told = until, min(locked.told, 1)
        locked.save()
        if locked.hold_id:
            Hold.objects.filter(pk=locked.hold_id).update(until=until)
        title = f"Hot patch of {locked.tenant} lasts until {until:%Y-%m-%d %H:%M} UTC"
        record([event("hot_patch.extended", title, tone=Tone.WARN, tenant_id=locked.tenant_id)])


# --- The watch -----------------------------------------------------------------------------------


def watch_hot_patches() -> int:
    """See which came in force, which are over, and remind of those that run on; gives how many moved or were told."""
    moved = 0
    open_ones = HotPatch.objects.filter(ended_at__isnull=True).order_by("until", "pk")
    for pk in open_ones.values_list("pk", flat=True)[:1_000]:
        moved += _watch(pk)
    return moved


def _watch(pk: int) -> bool:
    with transaction.atomic(durable=True), acting(system_actor("rollout"), reason="watches hot patches"):
        rows = HotPatch.objects.select_for_update(of=("self",), skip_locked=True)
        rows = rows.select_related("tenant", "asked_by", "rollout__release")
        patch = rows.filter(pk=pk, ended_at__isnull=True).first()
        if patch is None:
            return False
        return _look(patch)


def _look(patch: HotPatch) -> bool:
    rollout = patch.rollout
    if patch.in_force_since is None:
        if rollout.state in (RolloutState.CANCELLED, RolloutState.ROLLED_BACK):
            return _end(patch, f"its rollout was {rollout.get_state_display().lower()}", is_quiet=True)
        if rollout.state == RolloutState.SUCCEEDED:
            if not rollout.targets.filter(state=TargetState.DONE).exists():
                return _end(patch, "its rollout changed nothing", is_quiet=True)
            return _come_in_force(patch)
        return False
    if not _still_runs(patch):
        return _end(patch, "the tenant is back on the main line")
    return _remind(patch)


def _still_runs(patch: HotPatch) -> bool:
    mine = Instance.objects.filter(placements__tenant_id=patch.tenant_id)
    return mine.filter(wanted_version=patch.rollout.release.version).exists()


def _come_in_force(patch: HotPatch) -> bool:
    version = patch.rollout.release.version
    patch.in_force_since = patch.told_at = timezone.now()
    patch.told = 1
    patch.hold = Hold.objects.create(
        tenant=patch.tenant,
        version=version,
        until=max(patch.until, timezone.now() + timedelta(minutes=1)),
        reason=f"hot patch, off the main line (rollout #{patch.rollout_id})",
        set_by=patch.asked_by,
    )
    patch.save()
    _tell(
        patch,
        "in_force",
        f"{patch.tenant} runs hot patch {version}, off the main line, until {patch.until:%Y-%m-%d %H:%M} UTC",
    )
    return True


def _remind(patch: HotPatch) -> bool:
    """At most one reminder a look: before the end, at the end, and then each day."""
    now = timezone.now()
    is_due: dict[int, Callable[[], bool]] = {
        1: lambda: now >= patch.until - min(BEFORE, (patch.until - (patch.told_at or now)) / 2),
        2: lambda: now >= patch.until,
    }
    if not is_due.get(patch.told, lambda: now >= (patch.told_at or patch.until) + AGAIN)():
        return False
    version, overdue = patch.rollout.release.version, now >= patch.until
    patch.told, patch.told_at = (3 if overdue and patch.told < 3 else patch.told + 1), now
    patch.save()
    words = "should be back on the main line since" if overdue else "is to be back on the main line at"
    _tell(
        patch,
        "overdue" if overdue else "ends_soon",
        f"{patch.tenant} runs hot patch {version} and {words} {patch.until:%Y-%m-%d %H:%M} UTC",
        tone=Tone.BAD if overdue else Tone.WARN,
    )
    return True


def _tell(patch: HotPatch, what: str, title: str, *, tone: str = Tone.WARN) -> None:
    on = Placement.objects.filter(tenant_id=patch.tenant_id).order_by("pk")
    record(
        [
            event(f"hot_patch.{what}", title, tone=tone, tenant_id=patch.tenant_id, instance_id=instance_id)
            for instance_id in on.values_list("instance_id", flat=True)
        ]
        or [event(f"hot_patch.{what}", title, tone=tone, tenant_id=patch.tenant_id)]
    )
    letters.write(
        [patch.asked_by],
        title,
        f"{title}.\n\nYou asked for it by rollout #{patch.rollout_id}: {patch.rollout.reason}\n\n"
        "Roll a release of the main line out to the tenant, or extend the hot patch on the rollout's page.\n",
    )


def _end(patch: HotPatch, why: str, *, is_quiet: bool = False) -> bool:
    now = timezone.now()
    patch.ended_at, patch.ended_why = now, why
    patch.save()
    if patch.hold_id:
        Hold.objects.filter(pk=patch.hold_id, until__gt=now).update(until=now)
    title = f"Hot patch {patch.rollout.release.version} of {patch.tenant} is over: {why}"
    tone = Tone.PLAIN if is_quiet else Tone.OK
    record([event("hot_patch.ended", title, tone=tone, tenant_id=patch.tenant_id)])
    if not is_quiet:
        letters.write([patch.asked_by], title, f"{title}.\n")
    return True
