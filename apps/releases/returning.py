"""Bringing one wave of a rollout back while the others stay, and giving a rollout that stands still another version."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from django.db import transaction
from django.db.models import F, OuterRef, QuerySet, Subquery
from django.db.models.fields.json import KT
from django.utils import timezone

from apps.access.choices import Permission
from apps.access.scoping import require
from apps.access.services import system_actor
from apps.core.choices import Tone
from apps.core.context import acting
from apps.core.events import event, record
from apps.operations.choices import State
from apps.operations.models import Operation
from apps.operations.services import Refused

from . import crossing
from .asking import BACK, Way, ask, is_full, let_through, room_for
from .choices import MOVING, TOUCHED, NoticeState, RolloutState, TargetState, WaveState
from .crossing import refuse_crossing
from .guarding import why_not_deployable
from .models import CustomerNotice, Release, Rollout, RolloutTarget, Wave
from .rollouts import cancel_waiting, move_rollout
from .services import given_reason

#: States of a wave that has touched something, and of a rollout one of whose waves may go back.
CAN_RETURN = (WaveState.RUNNING, WaveState.BAKING, WaveState.PASSED, WaveState.FAILED)
LETS_RETURN = (RolloutState.RUNNING, RolloutState.PAUSED, RolloutState.ABORTED, RolloutState.SUCCEEDED)
#: States in which a rollout may be given another version: nothing is started in them.
CAN_RETARGET = (RolloutState.DRAFT, RolloutState.PAUSED, RolloutState.ABORTED)


def roll_back_wave(rollout: Rollout, number: int, *, actor: Any, reason: str) -> None:
    """Bring what one wave touched back to the version it had; a running rollout is paused, the other waves stay.

    Raises Refused for a wave that touched nothing, or goes back already.
    """
    require(actor, Permission.ROLL_OUT, rollout)
    reason = given_reason(reason)
    with transaction.atomic(durable=True), acting(actor, reason=reason):
        locked = Rollout.objects.select_for_update(of=("self",)).select_related("release").get(pk=rollout.pk)
        if locked.state not in LETS_RETURN:
            raise Refused(f"The rollout is {locked.get_state_display().lower()}; no single wave can go back.")
        waves = Wave.objects.filter(rollout=locked, number=number, state__in=CAN_RETURN)
        if not waves.update(state=WaveState.RETURNING, finished_at=None):
            raise Refused(f"Wave {number} has touched nothing, or goes back already.")
        refuse_crossing(locked, locked.targets.filter(wave=number, state__in=crossing.BACK))
        why = f"Wave {number} goes back: {reason}"[:500]
        if locked.state == RolloutState.RUNNING:
            move_rollout(locked, RolloutState.PAUSED, actor=actor, reason=why, since=[RolloutState.RUNNING])
        # In the name of who orders it: who started it may be gone, or hold no more than they did for that hour.
        Rollout.objects.filter(pk=locked.pk).update(why=why, started_by=actor)
        title = f"Rollout #{locked.pk}: wave {number} goes back"
        record([event("rollout.wave_rolling_back", title, tone=Tone.BAD)])
    cancel_waiting(rollout, actor=actor, reason=reason, wave=number)


def return_waves(rollout: Rollout, freed: int) -> None:
    """One step of the driver for waves that go back; the same when done twice. `freed` as in `asking.fill`."""
    # Taken only while the rollout is in the state it was read in: whoever moves it comes before that or after it.
    way = replace(BACK, during=rollout.state)
    for wave in rollout.waves.filter(state=WaveState.RETURNING).order_by("-number"):
        cancel_waiting(
            rollout, actor=rollout.started_by, reason=f"wave {wave.number} goes back", wave=wave.number
        )
        mine = rollout.targets.filter(wave=wave.number)
        ask_back(rollout, mine.order_by("position"), way, freed)
        if not mine.filter(state__in=[*TOUCHED, *MOVING]).exists():
            _keep_returned(rollout, wave)


def ask_back(rollout: Rollout, targets: QuerySet[RolloutTarget], way: Way, freed: int) -> bool:
    """Ask for the ways back of the next of these, as many as there is room for; gives whether more is to be asked for at once."""
    if (room := room_for(rollout, way, freed)) <= 0:
        return False
    brought = (
        Operation.objects.filter(pk=OuterRef("operation_id")).order_by().annotate(to=KT("params__version"))
    )
    done = targets.filter(state=TargetState.DONE).annotate(
        brought=Subquery(brought.values("to")[:1]),
        wants=F("instance__wanted_version"),
        runs=F("instance__version"),
    )
    found: list[Any] = list(done[:room])
    rows = _leave_what_is_not_ours(rollout, found)
    looks_first, refused = is_full(rollout) and not freed, 0
    for version in sorted({target.from_version for target in rows}):
        mine = [target for target in rows if target.from_version == version]
        let = let_through(rollout, mine, version=version) if looks_first else mine
        refused += len(mine) - len(let) + ask(rollout, let, way, version=version)
    return len(found) == room and not refused


def _leave_what_is_not_ours(rollout: Rollout, rows: Sequence[Any]) -> list[Any]:
    """Those that still are as the rollout made them. What came there later stays, and what others had brought there."""
    ours, left = [], RolloutTarget.objects.filter(state=TargetState.DONE)
    for target in rows:
        state, why = _instead(target, rollout.release.version)
        if why:
            left.filter(pk=target.pk).update(state=state, why=why, changed_at=timezone.now())
        else:
            ours.append(target)
    return ours


def _instead(target: Any, version: str) -> tuple[str, str]:
    """What becomes of a target that does not go back, and why; no why: it goes."""
    if target.operation_id is None:
        return TargetState.STAYED, "It ran this version already when its turn came."
    brought = target.brought or version
    if target.wants == brought or (target.wants == target.from_version and target.runs == brought):
        return TargetState.RETURNING, ""
    if target.wants == target.from_version:
        return TargetState.RETURNED, "It had been brought back already."
    return TargetState.STAYED, f"It was given {target.wants} since, which stays."


def take_up_earlier(rollout: Rollout) -> None:
    """What it brought before its version was changed is to go back too, and what failed and still runs it: done, in this sense."""
    stuck = rollout.targets.filter(
        state=TargetState.FAILED, operation_id__isnull=False, instance__version=rollout.release.version
    ).exclude(from_version=rollout.release.version)
    RolloutTarget.objects.filter(pk__in=list(stuck.order_by().values_list("pk", flat=True))).update(
        state=TargetState.DONE, changed_at=timezone.now()
    )
    own = (
        Operation.objects.filter(
            target_type="instance", target_id=OuterRef("instance_id"), kind="deploy", state=State.SUCCEEDED,
            idempotency_key__startswith=f"rollout:{rollout.pk}:",
        )
        .annotate(to=KT("params__version"))
        .filter(to=OuterRef("instance__wanted_version"))
        .order_by("-id")
    )  # fmt: skip
    before = [TargetState.WAITING, TargetState.HELD, TargetState.SKIPPED, TargetState.FAILED]
    rows: Any = rollout.targets.filter(state__in=before, attempt__gt=1).exclude(
        instance__wanted_version=F("from_version")
    )
    for target in rows.annotate(own=Subquery(own.values("pk")[:1])).filter(own__isnull=False):
        RolloutTarget.objects.filter(pk=target.pk, state=target.state).update(
            state=TargetState.DONE, operation_id=target.own, changed_at=timezone.now()
        )


def _keep_returned(rollout: Rollout, wave: Wave) -> None:
    with transaction.atomic(durable=True), acting(system_actor("rollout"), reason="its instances went back"):
        moved = Wave.objects.filter(pk=wave.pk, state=WaveState.RETURNING).update(
            state=WaveState.RETURNED, finished_at=timezone.now()
        )
        if not moved:
            return
        mine = rollout.targets.filter(wave=wave.number)
        mine.filter(state=TargetState.WAITING).update(state=TargetState.SKIPPED, why="its wave went back")
        stayed = mine.filter(state=TargetState.STAYED).count()
        title = f"Rollout #{rollout.pk}: wave {wave.number} went back" + (
            f" but {stayed:,}" if stayed else ""
        )
        record([event("rollout.wave_rolled_back", title, tone=Tone.BAD if stayed else Tone.WARN)])


def retarget(rollout: Rollout, release: Release, *, actor: Any, reason: str) -> None:
    """Give a rollout another version: it begins anew with the same waves, and still goes back to what was before it.

    Raises Refused unless it is prepared, paused or aborted and nothing of it is under way.
    """
    require(actor, Permission.ROLL_OUT, rollout)
    reason = given_reason(reason)
    if why := why_not_deployable(release):
        raise Refused(why)
    with transaction.atomic(durable=True), acting(actor, reason=reason):
        locked = Rollout.objects.select_for_update(of=("self",)).select_related("release").get(pk=rollout.pk)
        _check_still(locked, release)
        before, locked.release = locked.release, release
        locked.why = f"To {release} instead of {before}: {reason}"[:500]
        locked.save()
        CustomerNotice.objects.filter(rollout=locked, state=NoticeState.DRAFT).delete()
        _begin_anew(locked)
        title = f"Rollout #{locked.pk} goes to {release} instead of {before}"
        record([event("rollout.retargeted", title, tone=Tone.WARN)])
    rollout.refresh_from_db()


def _check_still(rollout: Rollout, release: Release) -> None:
    if rollout.state not in CAN_RETARGET:
        raise Refused(
            f"The rollout is {rollout.get_state_display().lower()}; pause or abort it to change its version."
        )
    if rollout.release_id == release.pk:
        raise Refused(f"It goes to {release} already.")
    if rollout.waves.filter(state=WaveState.RETURNING).exists():
        raise Refused("One of its waves goes back; wait until it has.")
    if rollout.targets.filter(state__in=MOVING).exists():
        raise Refused("Some of its instances are being changed; wait until they are through.")


def _begin_anew(rollout: Rollout) -> None:
    rollout.waves.update(
        state=WaveState.PLANNED, verdict="", reasons=[], started_at=None, baking_since=None, finished_at=None,
        passed_by=None,
    )  # fmt: skip
    again: dict[str, Any] = {"state": TargetState.WAITING, "operation_id": None, "why": ""}
    anew: Callable[..., Any] = rollout.targets.filter
    anew(state=TargetState.WAITING).exclude(why="").update(why="")
    anew(state__in=[TargetState.RETURNED, TargetState.STAYED]).update(
        attempt=F("attempt") + 1, undo_attempt=F("undo_attempt") + 1, **again
    )
    anew(state__in=[TargetState.DONE, TargetState.FAILED, TargetState.HELD]).update(
        attempt=F("attempt") + 1, **again
    )
