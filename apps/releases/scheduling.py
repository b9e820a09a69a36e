"""A rollout that starts later, and newcomers that are taken in."""

from datetime import datetime
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Max, QuerySet
from django.http import Http404, QueryDict
from django.utils import timezone

from apps.access.choices import Permission
from apps.access.scoping import require, visible
from apps.access.services import system_actor
from apps.core.choices import Tone
from apps.core.context import acting
from apps.core.events import event, record
from apps.fleet.models import Instance
from apps.operations import selections
from apps.operations.services import Refused

from .choices import RolloutState
from .crossing import lock, taken
from .excluding import excluded_instances
from .guarding import why_not_deployable
from .models import Ring, Rollout, RolloutTarget, Wave
from .planning import candidates_of, cells_of, tenants_of
from .rings import in_later_rings, marks_of, rings_of, up_to
from .rollouts import steer
from .services import given_reason
from .targets import write_waves
from .waves import plan_waves

#: States in which a rollout still takes newcomers in.
TAKES_IN = (RolloutState.DRAFT, RolloutState.RUNNING, RolloutState.PAUSED)


def schedule_start(rollout: Rollout, *, at: datetime | None, actor: Any, reason: str) -> None:
    """Let a prepared rollout start by itself at a time, with the rights that `actor` has then; None: no longer."""
    require(actor, Permission.ROLL_OUT, rollout)
    reason = given_reason(reason)
    if at is not None and at <= timezone.now():
        raise Refused("A rollout is scheduled for the future; start it to begin now.")
    if at is not None and (why := why_not_deployable(rollout.release)):
        raise Refused(why)
    with transaction.atomic(durable=True), acting(actor, reason=reason):
        rows = Rollout.objects.filter(pk=rollout.pk, state=RolloutState.DRAFT)
        if not rows.update(start_at=at, started_by=actor if at else None):
            raise Refused("It is no longer prepared: somebody has started or discarded it.")
        words = f"starts at {at:%Y-%m-%d %H:%M} UTC" if at else "no longer starts by itself"
        record(
            [event("rollout.scheduled", f"Rollout #{rollout.pk} to {rollout.release} {words}", why=reason)]
        )
    rollout.refresh_from_db()


def start_due() -> int:
    """Start what is due, in the name of who scheduled it; gives how many. One that may not start is told and not tried again."""
    due = Rollout.objects.filter(state=RolloutState.DRAFT, start_at__lte=timezone.now())
    started = 0
    for rollout in due.select_related("release", "started_by").order_by("start_at")[:50]:
        try:
            steer(rollout, "start", actor=rollout.started_by, reason="its time has come")
            started += 1
        except (Refused, PermissionDenied, Http404) as refusal:
            _tell_not_started(rollout, str(refusal) or "who scheduled it may not start it any more")
    return started


def _tell_not_started(rollout: Rollout, why: str) -> None:
    with transaction.atomic(durable=True), acting(system_actor("rollout"), reason=why):
        rows = Rollout.objects.filter(pk=rollout.pk, state=RolloutState.DRAFT, start_at__isnull=False)
        if rows.update(start_at=None, why=f"It did not start by itself: {why}"[:500]):
            title = f"Rollout #{rollout.pk} to {rollout.release} did not start by itself"
            record([event("rollout.not_started", title, why=why, tone=Tone.BAD)])


# --- Newcomers -----------------------------------------------------------------------------------


def newcomers(rollout: Rollout, actor: Any) -> QuerySet[Instance]:
    """Instances that the rollout's filter selects and that were made after its set was frozen, as `actor` sees them.

    None that its exclusions name, that another rollout changes, or that are in a later ring than it goes to. Read by one statement, and one more
    where it goes up to a ring.
    """
    chosen = selections.select("instance", actor, QueryDict(rollout.query))
    rows = visible(actor, Instance.objects.filter(pk__in=chosen.order_by().values("pk")), Permission.ROLL_OUT)
    known = RolloutTarget.objects.filter(rollout=rollout).order_by()
    rows = (
        rows.filter(created_at__gt=rollout.created_at)
        .exclude(pk__in=known.values("instance_id"))
        .exclude(pk__in=taken().values("instance_id"))
        .exclude(wanted_version=rollout.release.version)
        .exclude(excluded_instances(rollout))
        .order_by("pk")
    )
    try:
        last = up_to(rollout.up_to_ring)
    except Refused:
        # Its ring is gone: nobody can say who is within it, so nobody new is.
        return rows.none()
    return rows if last is None else rows.exclude(in_later_rings(last))


def why_no_newcomers(rollout: Rollout) -> str:
    """Why nobody new is taken in any more, though the rollout goes on; empty where that is not so."""
    if rollout.state not in TAKES_IN or not rollout.up_to_ring:
        return ""
    if Ring.objects.filter(name=rollout.up_to_ring).exists():
        return ""
    return (
        f"It was to go up to ring “{rollout.up_to_ring}”, which was renamed or taken away since: its set stays as it is, "
        "and instances made after that are not taken in. Prepare another rollout for them."
    )


def take_in_newcomers(rollout: Rollout, *, actor: Any, reason: str) -> int:
    """Add newcomers in waves of their own, after the others; gives how many. Twice at once adds them once."""
    require(actor, Permission.ROLL_OUT, rollout)
    reason = given_reason(reason)
    with transaction.atomic(durable=True), acting(actor, reason=reason):
        lock()
        locked = Rollout.objects.select_for_update(of=("self",)).select_related("release").get(pk=rollout.pk)
        if locked.state not in TAKES_IN:
            raise Refused(
                f"The rollout is {locked.get_state_display().lower()}; prepare another one for them."
            )
        rows = dict(
            visible(actor, newcomers(locked, actor), Permission.DEPLOY).values_list("pk", "wanted_version")
        )
        if not rows:
            raise Refused(why_no_newcomers(locked) or "Nobody new is left to be taken in.")
        tenants, cells = tenants_of(rows), cells_of(rows)
        rings = rings_of(tenants, rows)
        waves = plan_waves(candidates_of(list(rows), tenants, cells, rings), canary="100%", growth=1)
        last: int = Wave.objects.filter(rollout=locked).aggregate(last=Max("number"))["last"] or 0
        marks = marks_of(waves, rings, locked.release)
        write_waves(locked, waves, rows, marks=marks, after=last)
        title = f"Rollout #{locked.pk}: {len(rows):,} newcomers were taken in"
        record([event("rollout.newcomers", title, why=reason)])
    return len(rows)
