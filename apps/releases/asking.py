"""Asking the engine for more: as many changes of a wave as concurrency, holds, freezes and blast radius allow now.

A target is taken first (`TAKE`), then its operation is asked for, then noted on it. The operation's key
(`rollout:id:wave:attempt:instance`) lets the engine accept each only once, and lets `settle` find what a worker that
died in between had asked for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import connection
from django.db.models import F, Q
from django.http import Http404
from django.utils import timezone

from apps.core.arrays import among_texts
from apps.operations import services as engine
from apps.operations.choices import Via
from apps.operations.models import Operation
from apps.operations.services import Refused, plan

from .choices import RolloutState, TargetState
from .guarding import BLAST
from .leaving import leave_shut
from .models import Rollout, RolloutTarget, Wave
from .standing import frozen_until, held_instances, holds_kept

#: Operations asked for in one request to the engine.
CHUNK = 500
#: Of a rollout that fills the blast radius, how many are asked for at least: room may come from elsewhere than its own.
LEAST = 25

#: Seconds until one that was refused for a reason of its own (a lock, a right that lacks) is asked for again.
AGAIN = 2.0

#: The one statement by which a rollout decides to change instances. It looks at the rollout's own state, so that
#: whoever pauses or ends it, or skips an instance, comes either before it or after it and never in between.
TAKE = """
UPDATE releases_rollouttarget t
   SET state = %(to)s, {column} = NULL, changed_at = now()
  FROM releases_rollout r
 WHERE r.id = t.rollout_id AND r.state = %(while)s AND t.id = ANY(%(targets)s::bigint[]) AND t.state = %(since)s
RETURNING t.id
"""
ATTACH = """
UPDATE releases_rollouttarget t
   SET {column} = v.operation_id, why = '', changed_at = now()
  FROM unnest(%(targets)s::bigint[], %(operations)s::bigint[]) AS v(target_id, operation_id)
 WHERE t.id = v.target_id AND t.state = %(to)s AND t.{column} IS NULL
"""
GIVE_BACK = """
UPDATE releases_rollouttarget t
   SET state = v.state, why = v.why, changed_at = now()
  FROM unnest(%(targets)s::bigint[], %(states)s::text[], %(whys)s::text[]) AS v(target_id, state, why)
 WHERE t.id = v.target_id AND t.state = %(to)s AND t.{column} IS NULL
"""


@dataclass(frozen=True, slots=True)
class Way:
    """A direction: from which state of a target to which, while its rollout is in which, and the column of its operation."""

    since: str
    to: str
    during: str
    column: str

    @property
    def is_back(self) -> bool:
        return self.to == TargetState.RETURNING


ONWARD = Way(TargetState.WAITING, TargetState.CHANGING, RolloutState.RUNNING, "operation_id")
BACK = Way(TargetState.DONE, TargetState.RETURNING, RolloutState.ROLLING_BACK, "undo_operation_id")


def key_of(rollout: Rollout, target: RolloutTarget, way: Way) -> str:
    """The idempotency key of a target's operation, without the instance that the engine adds."""
    if way.is_back:
        return f"rollout:{rollout.pk}:back:{target.undo_attempt}"
    return f"rollout:{rollout.pk}:{target.wave}:{target.attempt}"


def fill(rollout: Rollout, wave: Wave, *, freed: int = 0) -> bool:
    """Ask for what has room now; gives whether more is to be asked for at once.

    Where the blast radius was full at the last time, no more than the `freed` ones are asked for, which have ended
    since: the guard rail would weigh hundreds only to refuse them.
    """
    if (room := room_for(rollout, ONWARD, freed)) <= 0:
        return False
    rows = _next_of(rollout, wave, room)
    found = len(rows)
    rows = _leave_held(rollout, rows)
    rows = _leave_frozen(rollout, rows)
    rows = _leave_arrived(rollout, rows)
    if is_full(rollout) and not freed and rows:
        let = let_through(rollout, rows, version=rollout.release.version)
        if len(let) == len(rows):
            note(rollout, "")
        rows = let
    refused = ask(rollout, rows, ONWARD, version=rollout.release.version)
    return bool(rows) and found == room and not refused


def room_for(rollout: Rollout, way: Way, freed: int) -> int:
    """How many more its concurrency lets it ask for now; fewer, as told at `fill`, where the blast radius was full. Not above 0: none."""
    room = min(CHUNK, rollout.concurrency - rollout.targets.filter(state=way.to).count())
    return min(room, max(freed, LEAST)) if is_full(rollout) else room


def is_full(rollout: Rollout) -> bool:
    """Whether it filled the blast radius when it last asked."""
    return rollout.note.startswith(BLAST)


def _next_of(rollout: Rollout, wave: Wave, room: int) -> list[Any]:
    """The next targets, with what their instances run. Those that were refused before come last, and keep no other from its turn."""
    refused = ~Q(why="") & ~Q(why__startswith=BLAST)
    rows = leave_shut(rollout, wave).annotate(
        runs=F("instance__version"),
        wanted=F("instance__wanted_version"),
        account_id=F("instance__cell__region__account_id"),
    )
    rows = rows.exclude(refused & Q(changed_at__gt=timezone.now() - timedelta(seconds=AGAIN)))
    return list(rows.defer("from_version", "position").order_by("why", "position")[:room])


def let_through(rollout: Rollout, rows: Sequence[Any], *, version: str) -> list[Any]:
    """Those of them that the engine would accept now; nothing is written where all are refused."""
    try:
        made = plan(
            kind="deploy",
            target_ids=[t.instance_id for t in rows],
            params={"version": version},
            actor=rollout.started_by,
        )
    except Refused:
        return list(rows)  # for `ask` to tell
    blasted = {one.target_id for one in made.refused if one.why.startswith(BLAST)}
    return [target for target in rows if target.instance_id not in blasted]


def _leave_held(rollout: Rollout, rows: list[Any]) -> list[Any]:
    ids = [target.instance_id for target in rows]
    held = held_instances(ids, rollout.release.version, holds_kept(rollout.query))
    for target in rows:
        if why := held.get(target.instance_id):
            RolloutTarget.objects.filter(pk=target.pk, state=TargetState.WAITING).update(
                state=TargetState.HELD, why=why[:300], changed_at=timezone.now()
            )
    return [target for target in rows if target.instance_id not in held]


def _leave_frozen(rollout: Rollout, rows: list[Any]) -> list[Any]:
    frozen = frozen_until(rollout.release)
    if not frozen:
        return rows
    why = frozen.get(None) or next(iter(frozen.values()))
    free = [t for t in rows if None not in frozen and t.account_id not in frozen]
    if len(free) < len(rows):
        note(rollout, why)
    return free


def _leave_arrived(rollout: Rollout, rows: list[Any]) -> list[Any]:
    """Who was brought to the version by somebody else meanwhile is done."""
    version = rollout.release.version
    there = [t for t in rows if t.wanted == version == t.runs and t.attempt == 1]
    open_there = set(_own_operations(rollout, there).values()) if there else set()
    if there and not open_there:
        RolloutTarget.objects.filter(pk__in=[t.pk for t in there], state=TargetState.WAITING).update(
            state=TargetState.DONE, why="it ran this version already", changed_at=timezone.now()
        )
        return [t for t in rows if t not in there]
    return rows


def _own_operations(rollout: Rollout, rows: Sequence[Any], way: Way = ONWARD) -> dict[int, int]:
    """By target, the operation of its key, where the engine has one."""
    keys = {f"{key_of(rollout, t, way)}:{t.instance_id}": t.pk for t in rows}
    found = Operation.objects.filter(idempotency_key__in=among_texts(keys))
    return {keys[key]: pk for key, pk in found.values_list("idempotency_key", "pk")}


def settle(rollout: Rollout) -> None:
    """Targets that were taken by a worker which died before it noted their operations: noted now, or given back.

    One that is given back is taken again under the same key: where that worker lives on after all, and its
    request is accepted late, its operation is found by then.
    """
    for way in (ONWARD, BACK):
        rows = list(rollout.targets.filter(state=way.to, **{f"{way.column}__isnull": True}))
        if rows:
            known = _own_operations(rollout, rows, way)
            _attach(way, known)
            _give_back(way, [(t.pk, way.since, t.why) for t in rows if t.pk not in known])


def ask(rollout: Rollout, rows: Sequence[Any], way: Way, *, version: str) -> int:
    """Take these targets, ask for their operations, and note on each what came of it; gives how many were refused.

    Operations that are there already, by their keys, are not asked for again.
    """
    taken = _take(way, rows)
    refused: dict[int, str] = {}
    for key in sorted({key_of(rollout, target, way) for target in taken}):
        mine = [target for target in taken if key_of(rollout, target, way) == key]
        known = _own_operations(rollout, mine, way)
        left = [target for target in mine if target.pk not in known]
        if left:
            made, why_not = _submit(rollout, [t.instance_id for t in left], key, version)
            known |= {t.pk: made[t.instance_id] for t in left if t.instance_id in made}
            refused |= {t.pk: why_not.get(t.instance_id, "") for t in left if t.instance_id not in made}
        _attach(way, known)
    if taken:
        _tell_refused(rollout, way, refused)
    return len(refused)


def _take(way: Way, rows: Sequence[Any]) -> list[Any]:
    if not rows:
        return []
    values: dict[str, Any] = {
        "targets": [t.pk for t in rows],
        "to": way.to,
        "since": way.since,
        "while": way.during,
    }
    with connection.cursor() as cursor:
        cursor.execute(TAKE.format(column=way.column), values)
        taken = {row[0] for row in cursor.fetchall()}
    return [target for target in rows if target.pk in taken]


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


def _attach(way: Way, operations: Mapping[int, int]) -> None:
    if operations:
        values: dict[str, Any] = {"targets": list(operations), "operations": list(operations.values())}
        with connection.cursor() as cursor:
            cursor.execute(ATTACH.format(column=way.column), {**values, "to": way.to})


def _give_back(way: Way, rows: Sequence[tuple[int, str, str]]) -> None:
    """Let go of targets without an operation, as (target, state, why)."""
    if rows:
        targets, states, whys = map(list, zip(*rows, strict=True))
        values: dict[str, Any] = {"targets": targets, "states": states, "whys": whys, "to": way.to}
        with connection.cursor() as cursor:
            cursor.execute(GIVE_BACK.format(column=way.column), values)


def _tell_refused(rollout: Rollout, way: Way, refused: Mapping[int, str]) -> None:
    """What the blast radius refuses is asked again; anything else is written on its target."""
    if blasted := next((why for why in refused.values() if why.startswith(BLAST)), ""):
        note(rollout, blasted)
    elif rollout.note and not is_full(rollout):
        note(rollout, "")
    rest = TargetState.STAYED if way.is_back else way.since
    _give_back(
        way,
        [
            (pk, way.since, "") if why.startswith(BLAST) else (pk, rest, why[:300])
            for pk, why in refused.items()
        ],
    )


def note(rollout: Rollout, text: str) -> None:
    """Keep what a rollout waits for."""
    if rollout.note != text[:300]:
        rollout.note = text[:300]
        Rollout.objects.filter(pk=rollout.pk).unrecorded_update(note=rollout.note)
