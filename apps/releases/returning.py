"""Bringing one wave of a rollout back while the others stay, and giving a rollout that stands still another version."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from apps.access.choices import Permission
from apps.access.scoping import require
from apps.access.services import system_actor
from apps.core.choices import Tone
from apps.core.context import acting
from apps.core.events import event, record
from apps.operations.services import Refused

from .asking import BACK, ask, room_for
from .choices import MOVING, TOUCHED, NoticeState, RolloutState, TargetState, WaveState
from .guarding import why_not_deployable
from .models import CustomerNotice, Release, Rollout, Wave
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
        why = f"Wave {number} goes back: {reason}"[:500]
        if locked.state == RolloutState.RUNNING:
            move_rollout(locked, RolloutState.PAUSED, actor=actor, reason=why, since=[RolloutState.RUNNING])
        else:
            Rollout.objects.filter(pk=locked.pk).update(why=why)
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
        room = room_for(rollout, way, freed)
        rows = list(mine.filter(state=TargetState.DONE).order_by("position")[: max(0, room)])
        for version in sorted({target.from_version for target in rows}):
            ask(rollout, [t for t in rows if t.from_version == version], way, version=version)
        if not mine.filter(state__in=[*TOUCHED, *MOVING]).exists():
            _keep_returned(rollout, wave)


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
