"""Driving rollouts: from what is to what is wanted, step by safe step.

`advance` takes a lease by one conditional UPDATE and then:

1. `follow`: takes over what became of the operations it had asked for.
2. `asking.fill`: asks the engine for more, as many as concurrency and blast radius allow.
3. `decide`: asks the gate, and moves the wave and the rollout by conditional UPDATEs.

It goes on for as long as there is news, and is called by the worker in whose hands operations ended (`go_on`), so
that what the blast radius has got free is filled at once; the tick is for what no operation tells of.

A worker may die between any two statements, and two may drive at once when a lease ran out: each step looks at rows,
acts, and is the same when done twice. The engine's transactions are durable and stand alone, so a rollout's own
states are never written in one transaction with a submission.
"""

import logging
import time
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Count, Exists, OuterRef, Q
from django.db.utils import InterfaceError, OperationalError
from django.utils import timezone

from apps.access.services import system_actor
from apps.core.choices import Tone
from apps.core.context import acting
from apps.core.events import event, record
from apps.fleet.choices import Health, Wanted
from apps.operations.choices import ENDED
from apps.operations.models import Operation

from .asking import BACK, fill, note, settle
from .choices import BEHIND, MOVING, TOUCHED, OnFail, RolloutState, TargetState, Verdict, WaveState
from .evidence import evidence_of
from .gates import Evidence, judge
from .guarding import BLAST
from .models import Rollout, RolloutTarget, Wave
from .resting import why_rests
from .returning import ask_back, return_waves, take_up_earlier
from .rollouts import PAUSED, cancel_waiting, move_rollout
from .scheduling import start_due
from .stopping import NOT_BEGUN

logger = logging.getLogger(__name__)

#: Seconds that one worker may drive a rollout before another may try.
LEASE = 30.0
#: The database itself is away: nothing of a rollout is to blame.
AWAY = (OperationalError, InterfaceError)
#: Steps of one call at most: a rollout that always has news leaves its worker to others now and then.
STEPS = 200

#: Whether a rollout has been stopped is read with its operations: whoever stops it cancels them after that.
FOLLOW = """
UPDATE releases_rollouttarget t
   SET state = CASE WHEN o.state = 'succeeded' THEN 'done'
                    WHEN o.state = 'cancelled' AND (o.cancel_reason LIKE %(paused)s
                         OR r.state IN ('aborted', 'rolling_back', 'rolled_back')) THEN 'waiting'
                    WHEN o.state = 'cancelled' THEN 'skipped'
                    WHEN (o.error LIKE %(blast)s OR o.error LIKE %(ended)s) AND NOT o.is_undoing THEN 'waiting'
                    ELSE 'failed' END,
       attempt = t.attempt + (o.state <> 'succeeded')::int,
       operation_id = CASE WHEN o.state = 'failed' AND o.error LIKE %(blast)s THEN NULL ELSE t.operation_id END,
       why = left(o.error, 300), changed_at = now()
  FROM operations_operation o, releases_rollout r
 WHERE o.id = t.operation_id AND r.id = t.rollout_id AND t.rollout_id = %(rollout)s AND t.state = 'changing'
   AND o.state IN ('succeeded', 'failed', 'cancelled')
"""
FOLLOW_BACK = """
UPDATE releases_rollouttarget t
   SET state = CASE WHEN o.state = 'succeeded' THEN 'returned'
                    WHEN (o.error LIKE %(blast)s OR o.error LIKE %(ended)s) AND NOT o.is_undoing THEN 'done'
                    ELSE 'stayed' END,
       undo_attempt = t.undo_attempt + (o.state <> 'succeeded')::int,
       why = left(o.error, 300), changed_at = now()
  FROM operations_operation o
 WHERE o.id = t.undo_operation_id AND t.rollout_id = %(rollout)s AND t.state = 'returning'
   AND o.state IN ('succeeded', 'failed', 'cancelled')
"""


def driven() -> list[int]:
    """The rollouts that have something to do, oldest first."""
    moving = RolloutTarget.objects.filter(rollout=OuterRef("pk"), state__in=MOVING)
    going_back = Wave.objects.filter(rollout=OuterRef("pk"), state=WaveState.RETURNING)
    rows = Rollout.objects.filter(
        Q(state__in=[RolloutState.RUNNING, RolloutState.ROLLING_BACK])
        | Exists(going_back)
        | (Q(state__in=[RolloutState.PAUSED, RolloutState.ABORTED]) & Exists(moving))
    )
    return list(rows.order_by("pk").values_list("pk", flat=True))


def advance_all(*, shift: float = 0.0) -> int:
    """Drive every rollout, again and again for `shift` seconds; gives how many were driven, each time counted.

    Where there is nothing to drive, or others drive it, the worker's thread is given back at once.
    """
    start_due()
    until, steps = time.monotonic() + shift, 0
    while True:
        taken = sum(advance(pk) for pk in driven())
        steps += taken
        if not taken or time.monotonic() >= until:
            return steps
        time.sleep(0.25)


def go_on(kinds: Collection[str]) -> None:
    """Operations ended in this worker: rollouts take over what became of theirs, and ask for more."""
    if "deploy" in kinds:
        for pk in driven():
            advance(pk)


def advance(rollout_id: int) -> bool:
    """Drive one rollout for as long as there is news, unless another worker does; gives whether it was driven.

    Who finds it driven by another leaves its news to that one, which looks once more after it has let go.
    """
    for step in range(STEPS):
        lease = _claim(rollout_id)
        if lease is None:
            return step > 0
        rollout = Rollout.objects.select_related("release", "started_by").get(pk=rollout_id)
        try:
            goes_on = _drive(rollout)
        except AWAY:
            raise
        except Exception as error:  # it must stop no other rollout, whatever is wrong with this one
            logger.exception("rollout %s cannot be driven", rollout_id)
            note(rollout, f"It cannot be driven: {error}")
            return False
        finally:
            Rollout.objects.filter(pk=rollout_id, claimed_until=lease).unrecorded_update(claimed_until=None)
        if not goes_on and not _has_news(rollout_id):
            break
    return True


def _has_news(rollout_id: int) -> bool:
    """Whether an operation of it has ended that it has not followed."""
    ended = Operation.objects.filter(state__in=ENDED).order_by()
    targets = RolloutTarget.objects.filter(rollout=rollout_id).order_by()
    onward = targets.filter(Exists(ended.filter(pk=OuterRef("operation_id"))), state=TargetState.CHANGING)
    back = targets.filter(Exists(ended.filter(pk=OuterRef("undo_operation_id"))), state=TargetState.RETURNING)
    return onward.exists() or back.exists()


def _claim(rollout_id: int) -> datetime | None:
    now = timezone.now()
    lease = now + timedelta(seconds=LEASE)
    free = Rollout.objects.filter(pk=rollout_id).filter(
        Q(claimed_until__isnull=True) | Q(claimed_until__lt=now)
    )
    return lease if free.unrecorded_update(claimed_until=lease) else None


def _drive(rollout: Rollout) -> bool:
    """One step; gives whether another is due at once."""
    settle(rollout)
    freed = follow(rollout)
    return_waves(rollout, freed)
    match rollout.state:
        case RolloutState.RUNNING:
            wave = _current_wave(rollout)
            if wave is None:
                _finish(rollout)
                return False
            if why := why_rests(rollout, wave):
                note(rollout, why)
                return False
            _begin(wave)
            asks_more = fill(rollout, wave, freed=freed)
            return decide(rollout, wave) or asks_more
        case RolloutState.ROLLING_BACK:
            return _roll_back(rollout, freed)
        case RolloutState.ABORTED:
            _cancel_asked(rollout, "the rollout was aborted")
    return False


def follow(rollout: Rollout) -> int:
    """Take over what became of the operations asked for; gives how many have ended."""
    values: dict[str, Any] = {
        "rollout": rollout.pk, "blast": f"{BLAST}%", "ended": f"{NOT_BEGUN}%", "paused": f"{PAUSED}%",
    }  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(FOLLOW, values)
        ended: int = cursor.rowcount
        cursor.execute(FOLLOW_BACK, values)
        return ended + int(cursor.rowcount)


def _current_wave(rollout: Rollout) -> Wave | None:
    return rollout.waves.exclude(state__in=BEHIND).order_by("number").first()


def _begin(wave: Wave) -> None:
    if wave.state == WaveState.PLANNED:
        Wave.objects.filter(pk=wave.pk, state=WaveState.PLANNED).update(
            state=WaveState.RUNNING, started_at=timezone.now()
        )
        wave.refresh_from_db()


# --- Deciding -----------------------------------------------------------------------------------


def decide(rollout: Rollout, wave: Wave) -> bool:
    """Ask the gate about a wave, and do what it says; gives whether the rollout has moved by it."""
    states = dict(
        rollout.targets.filter(wave=wave.number).order_by().values_list("state").annotate(number=Count("pk"))
    )
    moving = states.get(TargetState.WAITING, 0) + states.get(TargetState.CHANGING, 0)
    if not moving and wave.state == WaveState.RUNNING:
        Wave.objects.filter(pk=wave.pk, state=WaveState.RUNNING).update(
            state=WaveState.BAKING, baking_since=timezone.now()
        )
        wave.refresh_from_db()
    if moving and not _is_in_trouble(rollout, wave, states):
        # Most of the looks: nothing to weigh but a number.
        left_out = states.get(TargetState.SKIPPED, 0) + states.get(TargetState.HELD, 0)
        judgement = judge(Evidence(size=sum(states.values()) - left_out, moving=moving))
    else:
        judgement = judge(evidence_of(rollout, wave))
    reasons = [list(reason) for reason in judgement.reasons]
    if judgement.verdict == Verdict.FAIL:
        _fail(rollout, wave, reasons)
        return True
    if judgement.verdict == Verdict.PASS and wave.state == WaveState.BAKING:
        return _pass(rollout, wave, reasons)
    if (wave.verdict, wave.reasons) != (judgement.verdict, reasons):
        Wave.objects.filter(pk=wave.pk, state=wave.state).update(verdict=judgement.verdict, reasons=reasons)
    return False


def _is_in_trouble(rollout: Rollout, wave: Wave, states: Mapping[str, int]) -> bool:
    """Whether something of a wave failed, or what it changed is not well: then the gate looks at it whole."""
    if states.get(TargetState.FAILED):
        return True
    done = rollout.targets.filter(wave=wave.number, state=TargetState.DONE, instance__wanted=Wanted.RUNNING)
    return done.filter(instance__health__in=[Health.FAILING, Health.DEGRADED]).exists()


def _pass(rollout: Rollout, wave: Wave, reasons: list[list[str]]) -> bool:
    """Let a wave pass, unless somebody has put a target (back) into it since the gate looked."""
    still = rollout.targets.filter(wave=wave.number, state__in=[TargetState.WAITING, TargetState.CHANGING])
    with transaction.atomic(durable=True), acting(system_actor("rollout"), reason=reasons[0][1]):
        # Who puts one in holds the wave's row until that is committed.
        Wave.objects.select_for_update().get(pk=wave.pk)
        rows = Wave.objects.filter(pk=wave.pk, state=WaveState.BAKING)
        moved = not still.exists() and rows.update(
            state=WaveState.PASSED, verdict=Verdict.PASS, reasons=reasons, finished_at=timezone.now()
        )
        if moved:
            title = f"Rollout #{rollout.pk}: the gate let wave {wave.number} pass"
            record([event("rollout.gate_passed", title, tone=Tone.OK)])
    return bool(moved)


def _fail(rollout: Rollout, wave: Wave, reasons: list[list[str]]) -> None:
    """The wave failed: the rollout ends, and by policy what it touched goes back. What has not begun is cancelled."""
    why = " ".join(text for verdict, text in reasons if verdict == Verdict.FAIL)
    to = RolloutState.ROLLING_BACK if rollout.on_fail == OnFail.ROLL_BACK else RolloutState.ABORTED
    ended = {"finished_at": timezone.now()} if to == RolloutState.ABORTED else {}
    with transaction.atomic(durable=True):
        actor = system_actor("rollout")
        said = f"The gate of wave {wave.number} failed: {why}"
        moved = move_rollout(rollout, to, actor=actor, reason=said, since=[RolloutState.RUNNING], **ended)
        if moved:
            Wave.objects.filter(pk=wave.pk).update(
                state=WaveState.FAILED, verdict=Verdict.FAIL, reasons=reasons, finished_at=timezone.now()
            )
    if moved:  # else somebody has paused or ended it at this moment, and decides what becomes of the rest
        cancel_waiting(rollout, actor=rollout.started_by, reason=f"the gate of wave {wave.number} failed")


def _finish(rollout: Rollout) -> None:
    """End it, unless somebody took newcomers in since its last wave passed."""
    states = dict(rollout.targets.order_by().values_list("state").annotate(number=Count("pk")))
    left = {state: number for state, number in states.items() if state != TargetState.DONE}
    words = ", ".join(f"{number:,} {TargetState(state).label.lower()}" for state, number in left.items())
    with transaction.atomic(durable=True):
        Rollout.objects.select_for_update().get(pk=rollout.pk)
        if rollout.waves.exclude(state__in=BEHIND).exists():
            return
        why = f"All waves passed: {states.get(TargetState.DONE, 0):,} done" + (
            f"; {words}." if words else "."
        )
        move_rollout(
            rollout, RolloutState.SUCCEEDED, actor=system_actor("rollout"), reason=why,
            since=[RolloutState.RUNNING], finished_at=timezone.now(), note="",
        )  # fmt: skip


def _cancel_asked(rollout: Rollout, why: str) -> None:
    """Cancel what has not begun: who decided may have died before, and a worker may have asked for more since."""
    cancel_waiting(rollout, actor=rollout.started_by, reason=why)


def _roll_back(rollout: Rollout, freed: int) -> bool:
    """Bring what the rollout touched back to the version it had, as many at once as its concurrency says."""
    _cancel_asked(rollout, "the rollout goes back")
    take_up_earlier(rollout)
    asks_more = ask_back(rollout, rollout.targets.order_by("-wave", "position"), BACK, freed)
    if not rollout.targets.filter(state__in=[*TOUCHED, *MOVING]).exists():
        stayed = rollout.targets.filter(state=TargetState.STAYED).count()
        with transaction.atomic(durable=True):
            move_rollout(
                rollout, RolloutState.ROLLED_BACK, actor=system_actor("rollout"),
                reason=f"{rollout.why} All that was touched went back" + (f" but {stayed:,}." if stayed else "."),
                finished_at=timezone.now(), note="",
            )  # fmt: skip
    return asks_more
