"""What people do to rollouts: prepare, start, pause, resume, abort, roll back, retry, pass a gate, skip an instance."""

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from apps.access.choices import Permission
from apps.access.scoping import require, visible
from apps.core.choices import Tone
from apps.core.context import acting
from apps.core.events import event, record
from apps.fleet.models import Instance, Placement
from apps.operations import batches
from apps.operations import services as engine
from apps.operations.choices import State
from apps.operations.models import Operation
from apps.operations.services import Refused

from .choices import BEHIND, ROLLOUT_TRANSITIONS, RolloutState, TargetState, Verdict, WaveState
from .crossing import BACK, ONWARD, refuse_crossing
from .excluding import Excluded, write_exclusions
from .guarding import why_not_deployable
from .models import Rollout, RolloutTarget, Wave
from .planning import RolloutPlan, plan_rollout
from .resting import end_rest, is_resting
from .services import given_reason
from .targets import write_excluded, write_waves

TONES = {
    RolloutState.SUCCEEDED: Tone.OK, RolloutState.ABORTED: Tone.BAD, RolloutState.ROLLING_BACK: Tone.BAD,
    RolloutState.PAUSED: Tone.WARN, RolloutState.RUNNING: Tone.BUSY,
}  # fmt: skip


def prepare_rollout(rollout: Rollout, *, actor: Any, exclusions: Sequence[Excluded] = ()) -> RolloutPlan:
    """Write a rollout with its waves and its frozen set; nothing is changed in the fleet until it is started.

    Raises Refused (nothing to roll out to, a release that cannot be deployed) and ValidationError.
    """
    plan = checked_plan(rollout, actor=actor, exclusions=exclusions)
    with transaction.atomic(durable=True), acting(actor, reason=rollout.reason):
        write_rollout(rollout, plan)
    return plan


def checked_plan(rollout: Rollout, *, actor: Any, exclusions: Sequence[Excluded] = ()) -> RolloutPlan:
    """The plan of a rollout that may be prepared. Raises as `prepare_rollout`; writes nothing."""
    rollout.reason = given_reason(rollout.reason)
    rollout.full_clean(exclude=["started_by"])
    if why := why_not_deployable(rollout.release):
        raise Refused(why)
    return plan_rollout(
        release=rollout.release,
        query=rollout.query,
        canary=rollout.canary,
        growth=rollout.growth,
        concurrency=rollout.concurrency,
        actor=actor,
        up_to_ring=rollout.up_to_ring,
        exclusions=exclusions,
    )


def write_rollout(rollout: Rollout, plan: RolloutPlan) -> None:
    """Write a rollout as planned, with its event; the caller holds a transaction and acts."""
    rollout.save()
    write_waves(rollout, plan.waves, plan.from_versions, marks=plan.marks)
    write_excluded(rollout, plan.excluded, plan.from_versions)
    write_exclusions(rollout, plan.exclusions, plan.excluded)
    title = f"Rollout of {rollout.release} to {plan.total:,} instances was prepared"
    record([event("rollout.prepared", title)])


def move_rollout(
    rollout: Rollout, to: str, *, actor: Any, reason: str, since: Iterable[str] = (), **columns: Any
) -> bool:
    """Move a rollout by one conditional UPDATE, with its event; False where it was not in a state that leads there.

    The caller holds a transaction. `since` narrows the states it may come from.
    """
    before = [
        state for state, after in ROLLOUT_TRANSITIONS.items() if to in after and (not since or state in since)
    ]
    with acting(actor, reason=reason):
        moved = Rollout.objects.filter(pk=rollout.pk, state__in=before).update(
            state=to, why=reason[:500], **columns
        )
        if moved:
            words = RolloutState(to).label.lower()
            title = f"Rollout #{rollout.pk} to {rollout.release}: {words}"
            record([event(f"rollout.{to}", title, why=reason, tone=TONES.get(RolloutState(to), Tone.PLAIN))])
    return bool(moved)


#: What a person can order, by name: the state it leads to, and from where.
ORDERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "start": (RolloutState.RUNNING, (RolloutState.DRAFT,)),
    "pause": (RolloutState.PAUSED, (RolloutState.RUNNING,)),
    "resume": (RolloutState.RUNNING, (RolloutState.PAUSED,)),
    "abort": (RolloutState.ABORTED, (RolloutState.RUNNING, RolloutState.PAUSED, RolloutState.ROLLING_BACK)),
    "roll_back": (
        RolloutState.ROLLING_BACK,
        (RolloutState.RUNNING, RolloutState.PAUSED, RolloutState.ABORTED, RolloutState.SUCCEEDED),
    ),
    "retry": (RolloutState.RUNNING, (RolloutState.ABORTED,)),
    "cancel": (RolloutState.CANCELLED, (RolloutState.DRAFT,)),
}
#: Why operations of a paused rollout are cancelled begins so: their targets wait until it goes on.
PAUSED = "its rollout is paused: "
#: Orders by which a rollout begins to change instances, and those of which targets.
CROSSES = {"start": ONWARD, "retry": ONWARD, "roll_back": BACK}
LABELS = {
    "start": "Start", "pause": "Pause", "resume": "Resume", "abort": "Abort", "roll_back": "Roll back",
    "retry": "Retry what failed", "cancel": "Discard", "pass_gate": "Pass the gate by hand",
    "end_rest": "Begin the next ring now",
}  # fmt: skip


def orders_of(rollout: Rollout, waves: Iterable[Wave]) -> list[str]:
    """What can be ordered of a rollout with these waves now, by who may roll out to all of it."""
    found = [name for name, (_, since) in ORDERS.items() if rollout.state in since]
    by_hand = ["end_rest"] if is_resting(rollout) else ["pass_gate"] if _waiting_gate(rollout, waves) else []
    return found + by_hand


def _waiting_gate(rollout: Rollout, waves: Iterable[Wave]) -> Wave | None:
    waiting = (wave for wave in waves if wave.state == WaveState.BAKING and wave.verdict == Verdict.WAIT)
    return next(waiting, None) if rollout.state == RolloutState.RUNNING else None


def steer(rollout: Rollout, order: str, *, actor: Any, reason: str) -> None:
    """Carry out an order of ORDERS, `pass_gate` or `end_rest`. Raises Refused where it makes no sense now; audited with its reason."""
    require(actor, Permission.ROLL_OUT, rollout)
    reason = given_reason(reason)
    if order == "pass_gate":
        _pass_gate(rollout, actor, reason)
    elif order == "end_rest":
        end_rest(rollout, actor=actor, reason=reason)
    elif order not in ORDERS:
        raise Refused(f"There is no order “{order}”.")
    else:
        _obey(rollout, order, actor, reason)
    rollout.refresh_from_db()
    if order in ("abort", "roll_back"):
        cancel_waiting(rollout, actor=actor, reason=reason)
    elif order == "pause":
        cancel_waiting(rollout, actor=actor, reason=f"{PAUSED}{reason}", states=[State.PENDING])


def _obey(rollout: Rollout, order: str, actor: Any, reason: str) -> None:
    to, since = ORDERS[order]
    columns: dict[str, Any] = {}
    if order in ("start", "resume", "retry"):
        if why := why_not_deployable(rollout.release):
            raise Refused(why)
        columns = {"started_by": actor, "finished_at": None}
    if order == "roll_back":
        # In the name of who orders it: who started it may be gone, or hold no more than they did for that hour.
        columns = {"started_by": actor}
    if order == "start":
        columns["started_at"] = timezone.now()
        columns["start_at"] = None
    if to in (RolloutState.ABORTED, RolloutState.CANCELLED):
        columns["finished_at"] = timezone.now()
    with transaction.atomic(durable=True):
        if not move_rollout(rollout, to, actor=actor, reason=reason, since=since, **columns):
            rollout.refresh_from_db()
            raise Refused(
                f"A rollout that is {rollout.get_state_display().lower()} cannot do that: {LABELS[order].lower()}."
            )
        if order == "retry":
            _reopen(rollout)
        if order in ("resume", "retry"):
            # What was cancelled when it stopped is due at once.
            rollout.targets.filter(state=TargetState.WAITING).exclude(why="").update(why="")
        if order in CROSSES:
            refuse_crossing(rollout, rollout.targets.filter(state__in=CROSSES[order]))


def _reopen(rollout: Rollout) -> None:
    """What failed is tried anew, by operations of its own: the attempt is part of their keys."""
    rollout.waves.filter(state=WaveState.FAILED).update(
        state=WaveState.RUNNING, verdict="", reasons=[], baking_since=None, finished_at=None
    )
    rollout.targets.filter(state=TargetState.FAILED).update(
        state=TargetState.WAITING, attempt=F("attempt") + 1, operation_id=None, why=""
    )


def _pass_gate(rollout: Rollout, actor: Any, reason: str) -> None:
    with transaction.atomic(durable=True), acting(actor, reason=reason):
        wave = _waiting_gate(rollout, rollout.waves.all())
        now = timezone.now()
        rows = (
            Wave.objects.filter(pk=wave.pk, state=WaveState.BAKING, verdict=Verdict.WAIT)
            if wave
            else Wave.objects.none()
        )
        said = [*wave.reasons, [Verdict.PASS, f"Passed by hand by {actor}: {reason}"]] if wave else []
        moved = rows.update(
            state=WaveState.PASSED, verdict=Verdict.PASS, finished_at=now, passed_by=actor, reasons=said
        )
        if not wave or not moved:
            raise Refused("No gate waits (any more).")
        Rollout.objects.filter(pk=rollout.pk).update(
            why=f"Gate of wave {wave.number} passed by hand: {reason}"[:500]
        )
        title = f"Rollout #{rollout.pk}: gate of wave {wave.number} passed by hand"
        record([event("rollout.gate_passed", title, tone=Tone.WARN)])


def cancel_waiting(
    rollout: Rollout,
    *,
    actor: Any,
    reason: str,
    wave: int | None = None,
    states: Sequence[str] = (State.PENDING, State.AWAITING_APPROVAL),
) -> int:
    """Cancel the rollout's (or one wave's) operations that have not begun; what runs goes on to its end. Gives how many."""
    changing = rollout.targets.filter(state=TargetState.CHANGING, operation_id__isnull=False)
    if wave is not None:
        changing = changing.filter(wave=wave)
    waiting = Operation.objects.filter(
        pk__in=changing.values("operation_id"),
        state__in=states,
        started_at__isnull=True,
        cancel_requested_at__isnull=True,
    ).order_by()
    seen = visible(actor, waiting)
    may = visible(actor, seen, engine.cancel_permission("deploy")).values("pk")
    # What this actor may not cancel does not begin either, once the rollout has stopped: see `stopping`.
    mine = seen.filter(Q(actor_id=actor.pk) | Q(pk__in=may))
    return batches.cancel_those(mine, actor=actor, reason=reason)


def steer_target(target: RolloutTarget, order: str, *, actor: Any, reason: str) -> None:
    """`skip` an instance that waits, or `retry` one that was held or skipped: in its own wave, or the one under way if that has passed."""
    require(actor, Permission.ROLL_OUT, target.rollout)
    reason = given_reason(reason)
    rollout = target.rollout
    if rollout.state not in (RolloutState.DRAFT, RolloutState.RUNNING, RolloutState.PAUSED):
        raise Refused(f"The rollout is {rollout.get_state_display().lower()}.")
    rows = RolloutTarget.objects.filter(pk=target.pk)
    words = f"{target.instance} {'skipped' if order == 'skip' else 'tried again'}: {reason}"
    with transaction.atomic(durable=True), acting(actor, reason=reason):
        if order == "skip":
            moved = rows.filter(state=TargetState.WAITING).update(state=TargetState.SKIPPED, why=reason[:300])
        elif order == "retry":
            moved = _retry_target(target, rows)
        else:
            raise Refused(f"There is no order “{order}”.")
        if not moved:
            raise Refused(
                f"{target.instance} is {target.get_state_display().lower()}; that makes no sense now."
            )
        Rollout.objects.filter(pk=rollout.pk).update(why=words[:500])
        title = f"Rollout #{rollout.pk}: {target.instance} {'is skipped' if order == 'skip' else 'is tried again'}"
        record([event(f"rollout.{order}", title, instance_id=target.instance_id)])


def _retry_target(target: RolloutTarget, rows: Any) -> int:
    """It waits again in its own wave where that is still to come, else in the one under way."""
    waves = target.rollout.waves.exclude(state__in=BEHIND).order_by("number")
    numbers = list(waves.values_list("number", flat=True))
    if not numbers:
        raise Refused("All waves have passed; prepare another rollout for it.")
    number = target.wave if target.wave in numbers else numbers[0]
    # Held until this is committed: the gate lets no wave pass meanwhile that has somebody waiting again.
    wave = waves.select_for_update().filter(number=number).first()
    if wave is None:
        raise Refused(f"Wave {number} has passed at this moment; try again.")
    if number != target.wave:
        _refuse_pair(target, number)
    retried = rows.filter(state__in=[TargetState.HELD, TargetState.SKIPPED])
    moved = retried.update(
        state=TargetState.WAITING, wave=number, attempt=F("attempt") + 1, operation_id=None, why=""
    )
    if moved and wave.state == WaveState.BAKING:
        Wave.objects.filter(pk=wave.pk).update(state=WaveState.RUNNING, baking_since=None)
    return int(moved)


def _refuse_pair(target: RolloutTarget, number: int) -> None:
    """Never two cells of one tenant's failover pair in one wave, by this way either."""
    tenants = Placement.objects.filter(instance=target.instance_id).order_by().values("tenant_id")
    served = Instance.objects.filter(placements__tenant_id__in=tenants).exclude(
        cell_id=target.instance.cell_id
    )
    others = target.rollout.targets.filter(wave=number, instance_id__in=served.order_by().values("pk"))
    left_out = [TargetState.HELD, TargetState.SKIPPED]
    other = others.exclude(state__in=left_out).select_related("instance").first()
    if other is not None:
        raise Refused(
            f"{other.instance} is in wave {number}, the other half of a failover pair; try again when that wave has passed."
        )
