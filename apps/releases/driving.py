"""Driving rollouts: from what is to what is wanted, step by safe step.

`advance` takes a lease by one conditional UPDATE and then:

1. `follow`: takes over what became of the operations it had asked for.
2. `fill`: asks the engine for more, as many as concurrency and blast radius allow. It looks for an operation of
   its own key first; the key (`rollout:id:wave:attempt:instance`) lets the engine accept each only once. So a
   worker that dies after the engine accepted and before the target says so costs nothing.
3. `decide`: asks the gate, and moves the wave and the rollout by conditional UPDATEs.

A worker may die between any two statements, and two may drive at once when a lease ran out: each step looks at rows,
acts, and is the same when done twice. The engine's transactions are durable and stand alone, so a rollout's own
states are never written in one transaction with a submission.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import connection, transaction
from django.db.models import Count, Exists, OuterRef, Q
from django.http import Http404
from django.utils import timezone

from apps.access.services import system_actor
from apps.core.choices import Tone
from apps.core.context import acting
from apps.core.events import event, record
from apps.operations import services as engine
from apps.operations.choices import Via
from apps.operations.models import Operation
from apps.operations.services import Refused

from .choices import BEHIND, MOVING, TOUCHED, OnFail, RolloutState, TargetState, Verdict, WaveState
from .evidence import evidence_of
from .gates import judge
from .guarding import BLAST
from .leaving import leave_shut
from .models import Rollout, RolloutTarget, Wave
from .returning import return_waves, send_back
from .rollouts import cancel_waiting, move_rollout
from .scheduling import start_due
from .standing import frozen_until, held_instances

logger = logging.getLogger(__name__)

#: Seconds that one worker may drive a rollout before another may try.
LEASE = 30.0
#: Operations asked for in one request to the engine.
CHUNK = 500

FOLLOW = """
UPDATE releases_rollouttarget t
   SET state = CASE WHEN o.state = 'succeeded' THEN 'done'
                    WHEN o.state = 'cancelled' THEN CASE WHEN %(stopped)s THEN 'waiting' ELSE 'skipped' END
                    WHEN o.error LIKE %(blast)s AND NOT o.is_undoing THEN 'waiting' ELSE 'failed' END,
       attempt = t.attempt + (o.state <> 'succeeded')::int,
       operation_id = CASE WHEN o.state = 'failed' AND o.error LIKE %(blast)s THEN NULL ELSE t.operation_id END,
       why = left(o.error, 300), changed_at = now()
  FROM operations_operation o
 WHERE o.id = t.operation_id AND t.rollout_id = %(rollout)s AND t.state = 'changing'
   AND o.state IN ('succeeded', 'failed', 'cancelled')
"""
FOLLOW_BACK = """
UPDATE releases_rollouttarget t
   SET state = CASE WHEN o.state = 'succeeded' THEN 'returned'
                    WHEN o.error LIKE %(blast)s AND NOT o.is_undoing THEN 'done' ELSE 'stayed' END,
       undo_attempt = t.undo_attempt + (o.state <> 'succeeded')::int,
       why = left(o.error, 300), changed_at = now()
  FROM operations_operation o
 WHERE o.id = t.undo_operation_id AND t.rollout_id = %(rollout)s AND t.state = 'returning'
   AND o.state IN ('succeeded', 'failed', 'cancelled')
"""
ATTACH = """
UPDATE releases_rollouttarget t
   SET {column} = v.operation_id, state = %(state)s, why = '', changed_at = now()
  FROM unnest(%(targets)s::bigint[], %(operations)s::bigint[]) AS v(target_id, operation_id)
 WHERE t.id = v.target_id AND t.state = %(since)s
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
    """Drive every rollout a step, again and again for `shift` seconds; gives how many steps were taken.

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


def advance(rollout_id: int) -> bool:
    """Drive one rollout a step, unless another worker does; gives whether it was driven."""
    lease = _claim(rollout_id)
    if lease is None:
        return False
    try:
        _drive(Rollout.objects.select_related("release", "started_by").get(pk=rollout_id))
    finally:
        Rollout.objects.filter(pk=rollout_id, claimed_until=lease).unrecorded_update(claimed_until=None)
    return True


def _claim(rollout_id: int) -> datetime | None:
    now = timezone.now()
    lease = now + timedelta(seconds=LEASE)
    free = Rollout.objects.filter(pk=rollout_id).filter(
        Q(claimed_until__isnull=True) | Q(claimed_until__lt=now)
    )
    return lease if free.unrecorded_update(claimed_until=lease) else None


def _drive(rollout: Rollout) -> None:
    follow(rollout)
    return_waves(rollout, _ask)
    if rollout.state == RolloutState.RUNNING:
        wave = _current_wave(rollout)
        if wave is None:
            _finish(rollout)
            return
        fill(rollout, wave)
        decide(rollout, wave)
    elif rollout.state == RolloutState.ROLLING_BACK:
        _roll_back(rollout)


def follow(rollout: Rollout) -> None:
    """Take over what became of the operations asked for."""
    stopped = rollout.state in (RolloutState.ABORTED, RolloutState.ROLLING_BACK)
    values: dict[str, Any] = {"rollout": rollout.pk, "stopped": stopped, "blast": f"{BLAST}%"}
    with connection.cursor() as cursor:
        cursor.execute(FOLLOW, values)
        cursor.execute(FOLLOW_BACK, values)


def _current_wave(rollout: Rollout) -> Wave | None:
    wave = rollout.waves.exclude(state__in=BEHIND).order_by("number").first()
    if wave is not None and wave.state == WaveState.PLANNED:
        Wave.objects.filter(pk=wave.pk, state=WaveState.PLANNED).update(
            state=WaveState.RUNNING, started_at=timezone.now()
        )
        wave.refresh_from_db()
    return wave


# --- Asking for more ----------------------------------------------------------------------------


def fill(rollout: Rollout, wave: Wave) -> None:
    """Ask for as many changes of this wave as concurrency, holds, freezes and blast radius allow now."""
    room = rollout.concurrency - rollout.targets.filter(state=TargetState.CHANGING).count()
    if room <= 0:
        return
    waiting = leave_shut(rollout, wave)
    # Those that were refused before come last, so that they do not keep the others from their turn.
    rows = list(
        waiting.select_related("instance__cell__region").order_by("why", "position")[: min(room, CHUNK)]
    )
    rows = _leave_held(rollout, rows)
    rows = _leave_frozen(rollout, rows)
    rows = _leave_arrived(rollout, rows)
    for attempt in sorted({target.attempt for target in rows}):
        mine = [target for target in rows if target.attempt == attempt]
        key = f"rollout:{rollout.pk}:{wave.number}:{attempt}"
        _ask(rollout, mine, key=key, version=rollout.release.version, is_back=False)


def _leave_held(rollout: Rollout, rows: list[RolloutTarget]) -> list[RolloutTarget]:
    held = held_instances([target.instance_id for target in rows], rollout.release.version)
    for target in rows:
        if why := held.get(target.instance_id):
            RolloutTarget.objects.filter(pk=target.pk, state=TargetState.WAITING).update(
                state=TargetState.HELD, why=why[:300], changed_at=timezone.now()
            )
    return [target for target in rows if target.instance_id not in held]


def _leave_frozen(rollout: Rollout, rows: list[RolloutTarget]) -> list[RolloutTarget]:
    frozen = frozen_until(rollout.release)
    if not frozen:
        return rows
    why = frozen.get(None) or next(iter(frozen.values()))
    free = [t for t in rows if None not in frozen and t.instance.cell.region.account_id not in frozen]
    if len(free) < len(rows):
        _note(rollout, why)
    return free


def _leave_arrived(rollout: Rollout, rows: list[RolloutTarget]) -> list[RolloutTarget]:
    """Who was brought to the version by somebody else meanwhile is done."""
    version = rollout.release.version
    there = [t for t in rows if t.instance.wanted_version == version == t.instance.version and t.attempt == 1]
    open_there = set(_own_operations(rollout, there).values()) if there else set()
    if there and not open_there:
        RolloutTarget.objects.filter(pk__in=[t.pk for t in there], state=TargetState.WAITING).update(
            state=TargetState.DONE, why="it ran this version already", changed_at=timezone.now()
        )
        return [t for t in rows if t not in there]
    return rows


def _own_operations(rollout: Rollout, rows: Sequence[RolloutTarget]) -> dict[int, int]:
    keys = {f"rollout:{rollout.pk}:{t.wave}:{t.attempt}:{t.instance_id}": t.pk for t in rows}
    found = Operation.objects.filter(idempotency_key__in=list(keys)).values_list("idempotency_key", "pk")
    return {keys[key]: pk for key, pk in found}


def _ask(rollout: Rollout, rows: Sequence[RolloutTarget], *, key: str, version: str, is_back: bool) -> None:
    """Look for operations of this key, ask for those that lack, and note on each target what came of it."""
    known = dict(
        Operation.objects.filter(idempotency_key__in=[f"{key}:{t.instance_id}" for t in rows]).values_list(
            "target_id", "pk"
        )
    )
    left = [target for target in rows if target.instance_id not in known]
    refused: dict[int, str] = {}
    if left:
        made, refused = _submit(rollout, [t.instance_id for t in left], key, version)
        known |= made
    _attach(rows, known, is_back=is_back)
    _tell_refused(rollout, rows, refused, is_back=is_back)


def _submit(
    rollout: Rollout, ids: Sequence[int], key: str, version: str
) -> tuple[dict[int, int], dict[int, str]]:
    """Operation ids by instance, and why not by instance."""
    try:
        done = engine.submit_many(
            kind="deploy",
            target_ids=ids,
            params={"version": version},
            actor=rollout.started_by,
            reason=f"rollout #{rollout.pk}: {rollout.reason}"[:500],
            idempotency_key=key,
            via=Via.SYSTEM,
            with_batch=False,
        )
    except (Refused, PermissionDenied, Http404) as error:
        return {}, dict.fromkeys(ids, str(error))
    return {o.target_id: o.pk for o in done.operations}, {r.target_id: r.why for r in done.refused}


def _attach(rows: Sequence[RolloutTarget], operations: Mapping[int, int], *, is_back: bool) -> None:
    pairs = [(t.pk, operations[t.instance_id]) for t in rows if t.instance_id in operations]
    if not pairs:
        return
    values: dict[str, Any] = {
        "targets": [pk for pk, _ in pairs],
        "operations": [pk for _, pk in pairs],
        "state": TargetState.RETURNING if is_back else TargetState.CHANGING,
        "since": TargetState.DONE if is_back else TargetState.WAITING,
    }
    with connection.cursor() as cursor:
        cursor.execute(ATTACH.format(column="undo_operation_id" if is_back else "operation_id"), values)


def _tell_refused(
    rollout: Rollout, rows: Sequence[RolloutTarget], refused: Mapping[int, str], *, is_back: bool
) -> None:
    """What the blast radius refuses is asked again; anything else is written on its target."""
    if blasted := next((why for why in refused.values() if why.startswith(BLAST)), ""):
        _note(rollout, blasted)
    elif rollout.note:
        _note(rollout, "")
    for target in rows:
        why = refused.get(target.instance_id, "")
        if why and not why.startswith(BLAST) and target.why != why[:300]:
            changed: dict[str, Any] = {"state": TargetState.STAYED} if is_back else {}
            RolloutTarget.objects.filter(pk=target.pk, state=target.state).update(why=why[:300], **changed)


def _note(rollout: Rollout, text: str) -> None:
    if rollout.note != text[:300]:
        rollout.note = text[:300]
        Rollout.objects.filter(pk=rollout.pk).unrecorded_update(note=rollout.note)


# --- Deciding -----------------------------------------------------------------------------------


def decide(rollout: Rollout, wave: Wave) -> None:
    """Ask the gate about a wave, and do what it says."""
    states = dict(
        rollout.targets.filter(wave=wave.number).order_by().values_list("state").annotate(number=Count("pk"))
    )
    is_moving = bool(states.get(TargetState.WAITING) or states.get(TargetState.CHANGING))
    if not is_moving and wave.state == WaveState.RUNNING:
        Wave.objects.filter(pk=wave.pk, state=WaveState.RUNNING).update(
            state=WaveState.BAKING, baking_since=timezone.now()
        )
        wave.refresh_from_db()
    judgement = judge(evidence_of(rollout, wave))
    reasons = [list(reason) for reason in judgement.reasons]
    if judgement.verdict == Verdict.FAIL:
        _fail(rollout, wave, reasons)
    elif judgement.verdict == Verdict.PASS and wave.state == WaveState.BAKING:
        _pass(rollout, wave, reasons)
    elif (wave.verdict, wave.reasons) != (judgement.verdict, reasons):
        Wave.objects.filter(pk=wave.pk, state=wave.state).update(verdict=judgement.verdict, reasons=reasons)


def _pass(rollout: Rollout, wave: Wave, reasons: list[list[str]]) -> None:
    with transaction.atomic(durable=True), acting(system_actor("rollout"), reason=reasons[0][1]):
        moved = Wave.objects.filter(pk=wave.pk, state=WaveState.BAKING).update(
            state=WaveState.PASSED, verdict=Verdict.PASS, reasons=reasons, finished_at=timezone.now()
        )
        if moved:
            title = f"Rollout #{rollout.pk}: the gate let wave {wave.number} pass"
            record([event("rollout.gate_passed", title, tone=Tone.OK)])


def _fail(rollout: Rollout, wave: Wave, reasons: list[list[str]]) -> None:
    """The wave failed: the rollout ends, and by policy what it touched goes back. What has not begun is cancelled."""
    why = " ".join(text for verdict, text in reasons if verdict == Verdict.FAIL)
    to = RolloutState.ROLLING_BACK if rollout.on_fail == OnFail.ROLL_BACK else RolloutState.ABORTED
    ended = {"finished_at": timezone.now()} if to == RolloutState.ABORTED else {}
    with transaction.atomic(durable=True):
        actor = system_actor("rollout")
        said = f"The gate of wave {wave.number} failed: {why}"
        if move_rollout(rollout, to, actor=actor, reason=said, since=[RolloutState.RUNNING], **ended):
            Wave.objects.filter(pk=wave.pk).update(
                state=WaveState.FAILED, verdict=Verdict.FAIL, reasons=reasons, finished_at=timezone.now()
            )
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


def _roll_back(rollout: Rollout) -> None:
    """Bring what the rollout touched back to the version it had, as many at once as its concurrency says."""
    # Who decided may have died before the operations that had not begun were cancelled.
    cancel_waiting(rollout, actor=rollout.started_by, reason="the rollout goes back")
    room = rollout.concurrency - rollout.targets.filter(state=TargetState.RETURNING).count()
    if room > 0:
        rows = list(
            rollout.targets.filter(state=TargetState.DONE).order_by("-wave", "position")[: min(room, CHUNK)]
        )
        send_back(rollout, rows, _ask)
    if not rollout.targets.filter(state__in=[*TOUCHED, *MOVING]).exists():
        stayed = rollout.targets.filter(state=TargetState.STAYED).count()
        with transaction.atomic(durable=True):
            move_rollout(
                rollout, RolloutState.ROLLED_BACK, actor=system_actor("rollout"),
                reason=f"{rollout.why} All that was touched went back" + (f" but {stayed:,}." if stayed else "."),
                finished_at=timezone.now(), note="",
            )  # fmt: skip
