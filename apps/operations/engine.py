"""Leases and transitions: the only code that moves an operation's state once it was accepted.

The order of things, and why a worker may be killed between any two of them:

1. `claim` takes a lease on operations that are due: one UPDATE, which raises each row's fence. Two
   workers cannot get the same row (SKIP LOCKED), nor two changes of one target (unique index).
2. The runner lets the steps act. A step looks first, so that one that was cut short is repeated safely.
3. `advance` locks the rows whose fence is still ours, decides each one's next state and writes
   states, steps and events in one transaction. A row whose fence has moved on is left alone: its
   new holder tells what happens to it.
4. A lease that is not renewed runs out, and `claim` gives the row to another worker.

Set-wise throughout: the number of statements grows with the number of calls, not of operations.
"""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from django.conf import settings
from django.db import IntegrityError, OperationalError, connection, transaction
from django.utils import timezone
from psycopg.errors import DeadlockDetected

from apps.core.choices import Tone
from apps.core.models import Event

from .choices import State, StepState
from .deciding import Move, decide, told
from .kinds import Done, Failed, Later, Outcome, Work, find_kind, kinds

#: A worker that dies on an operation is replaced; one that has killed so many is given up.
MAX_LOST = 25

COLUMNS = (
    "id kind target_type target_id target_label account_id cell_id tenant_id actor_id reason params notes "
    "step is_undoing attempts fence failure step_started_at started_at batch_id"
).split()

# A row is due when its time has come and nothing stands before it on its target: no running change,
# none that was begun and waits for its next try, none that was asked for earlier.
CLAIM = f"""
WITH due AS (
    SELECT o.id, o.state = 'running' AS taken_over, o.started_at IS NULL AS first_start
    FROM operations_operation o
    WHERE o.kind = ANY(%(kinds)s) AND (%(batches)s OR o.batch_id IS NULL) AND ((o.state = 'pending' AND o.run_after <= statement_timestamp()
           AND (NOT o.is_changing OR NOT EXISTS (
               SELECT 1 FROM operations_operation p
               WHERE p.target_type = o.target_type AND p.target_id = o.target_id AND p.is_changing AND p.id <> o.id
                 AND p.state IN ('pending', 'running')
                 AND (p.state = 'running'
                      OR (p.started_at IS NOT NULL AND o.started_at IS NULL)
                      OR (p.run_after <= statement_timestamp() AND p.id < o.id
                          AND (p.started_at IS NULL) = (o.started_at IS NULL))))))
       OR (o.state = 'running' AND o.lease_until < statement_timestamp()))
    ORDER BY o.run_after, o.id
    LIMIT %(limit)s
    FOR UPDATE OF o SKIP LOCKED
)
UPDATE operations_operation o
SET state = 'running', fence = o.fence + 1, lease_owner = %(owner)s,
    lease_until = statement_timestamp() + make_interval(secs => %(lease)s),
    started_at = coalesce(o.started_at, statement_timestamp()),
    step_started_at = CASE WHEN due.taken_over THEN o.step_started_at ELSE statement_timestamp() END,
    lost = o.lost + due.taken_over::int,
    updated_at = statement_timestamp()
FROM due WHERE o.id = due.id
RETURNING {", ".join("o." + column for column in COLUMNS)}, due.taken_over, due.first_start,
          o.cancel_requested_at IS NOT NULL, statement_timestamp(), o.lost
"""  # noqa: S608 - the columns are constants of this module


def claim(*, owner: str, limit: int, batches: bool = True) -> list[Work]:
    """Lease up to `limit` due operations to `owner` for `OPERATIONS_LEASE_SECONDS`; without `batches` none of a batch.

    Two claims that race for two operations of one target are told apart by the unique index; the
    loser tries again with one row at a time, so that one clash does not hold up the rest. A claim that
    the database ends because it waits in a circle with another has claimed nothing, and is made again later.
    """
    try:
        return _claim(owner, limit, batches)
    except IntegrityError:
        try:
            return _claim(owner, 1, batches)
        except IntegrityError:
            return []
    except OperationalError as error:
        if isinstance(error.__cause__, DeadlockDetected):
            return []
        raise


def _claim(owner: str, limit: int, batches: bool) -> list[Work]:
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        cursor.execute(
            CLAIM,
            {
                "owner": owner,
                "limit": limit,
                "batches": batches,
                "lease": settings.OPERATIONS_LEASE_SECONDS,
                # A kind that only another release knows is left to the workers of that release.
                "kinds": [kind.name for kind in kinds()],
            },
        )
        works: list[Work] = []
        given_up: list[Work] = []
        for row in cursor.fetchall():
            values = dict(zip(COLUMNS, row[: len(COLUMNS)], strict=True))
            for name in ("params", "notes"):
                values[name] = json.loads(values[name]) if isinstance(values[name], str) else values[name]
            work = Work(**values, taken_over=row[-5], first_start=row[-4], is_cancelled=row[-3])
            work.clock_ahead = timezone.now() - row[-2]
            work.sure_at = time.monotonic()
            (given_up if row[-1] > MAX_LOST else works).append(work)
        Event.objects.bulk_create(
            [_claimedtold(work) for work in works if work.first_start or work.taken_over]
        )
    if given_up:
        # One that has something to undo goes on in these hands, on its way back.
        works += advance(
            {
                w.id: (
                    w,
                    Failed(f"{MAX_LOST} workers died on it; look at the workers' logs.", retryable=False),
                )
                for w in given_up
            }
        )
    return works


def _claimedtold(work: Work) -> Event:
    if work.taken_over:
        return told(work, "taken_over", "taken over from a worker that died", tone=Tone.WARN)
    return told(work, "started", "started", why=work.reason, tone=Tone.BUSY)


def renew(works: Sequence[tuple[int, int]]) -> set[int]:
    """Prolong leases given as (operation id, fence); gives the ids still held."""
    if not works:
        return set()
    with connection.cursor() as cursor:
        # Locked in order of id, as `advance` does: the keeper's thread and a loop's never wait in a circle.
        cursor.execute(
            "WITH ours AS (SELECT o.id FROM operations_operation o "
            "JOIN unnest(%s::bigint[], %s::bigint[]) AS held(id, fence) ON o.id = held.id AND o.fence = held.fence "
            "WHERE o.state = 'running' ORDER BY o.id FOR UPDATE OF o) "
            "UPDATE operations_operation o SET lease_until = statement_timestamp() + make_interval(secs => %s) "
            "FROM ours WHERE o.id = ours.id RETURNING o.id",
            [[w[0] for w in works], [w[1] for w in works], settings.OPERATIONS_LEASE_SECONDS],
        )
        return {row[0] for row in cursor.fetchall()}


def release(works: Sequence[tuple[int, int]]) -> None:
    """Give leases back unfinished, as (operation id, fence): another worker may go on at once."""
    if not works:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE operations_operation o SET lease_until = statement_timestamp() - interval '1 second' "
            "FROM unnest(%s::bigint[], %s::bigint[]) AS held(id, fence) "
            "WHERE o.id = held.id AND o.fence = held.fence AND o.state = 'running'",
            [[w[0] for w in works], [w[1] for w in works]],
        )


# --- Writing ------------------------------------------------------------------------------------

ADVANCE = """
UPDATE operations_operation o
SET state = v.state, step = v.step, is_undoing = v.is_undoing, attempts = v.attempts,
    retries = o.retries + v.retried::int, notes = o.notes || v.notes, failure = v.failure, error = v.error,
    run_after = CASE WHEN v.state = 'pending' THEN statement_timestamp() + make_interval(secs => v.wait) ELSE o.run_after END,
    step_started_at = CASE WHEN v.new_step THEN statement_timestamp() ELSE o.step_started_at END,
    -- A lease that still has half of its time stays as it is, and with it the index on it: the row is then
    -- written in place (HOT) instead of into each index anew. Its keeper renews it.
    lease_until = CASE WHEN v.state = 'running' THEN CASE
        WHEN o.lease_until > statement_timestamp() + make_interval(secs => %(lease)s / 2) THEN o.lease_until
        ELSE statement_timestamp() + make_interval(secs => %(lease)s) END END,
    lease_owner = CASE WHEN v.state = 'running' THEN o.lease_owner ELSE '' END,
    finished_at = CASE WHEN v.state IN ('succeeded', 'failed', 'cancelled') THEN statement_timestamp() END,
    updated_at = statement_timestamp()
FROM unnest(%(ids)s::bigint[], %(states)s::text[], %(steps)s::int[], %(undoing)s::bool[], %(attempts)s::int[],
            %(retried)s::bool[], %(notes)s::jsonb[], %(failures)s::text[], %(errors)s::text[], %(waits)s::float8[],
            %(new_steps)s::bool[])
     AS v(id, state, step, is_undoing, attempts, retried, notes, failure, error, wait, new_step)
WHERE o.id = v.id
"""

STEPS = """
INSERT INTO operations_step (operation_id, position, is_undo, name, state, tries, started_at, finished_at, detail)
SELECT v.operation_id, v.position, v.is_undo, v.name, v.state, v.tries, v.started_at,
       CASE WHEN v.state <> 'running' THEN statement_timestamp() END, v.detail
FROM unnest(%(ids)s::bigint[], %(positions)s::int[], %(undoing)s::bool[], %(names)s::text[], %(states)s::text[],
            %(tries)s::int[], %(started)s::timestamptz[], %(details)s::text[])
     AS v(operation_id, position, is_undo, name, state, tries, started_at, detail)
ON CONFLICT (operation_id, is_undo, position) DO UPDATE
SET state = excluded.state, tries = excluded.tries, finished_at = excluded.finished_at, detail = excluded.detail
"""


def advance(outcomes: Mapping[int, tuple[Work, Outcome]]) -> list[Work]:
    """Write what the steps did, under the fencing token, in one transaction.

    Gives the works that go on in this worker's hands; the others have ended, wait for another try,
    or belong to somebody else by now.
    """
    going_on: list[Work] = []
    with transaction.atomic(durable=True):
        cancelled = _lock_held([work for work, _ in outcomes.values()])
        held = {key: value for key, value in outcomes.items() if key in cancelled}
        if not held:
            return []
        moves = {
            key: decide(work, outcome, cancelled_by=cancelled[key]) for key, (work, outcome) in held.items()
        }
        _write_steps(held)
        _write_moves(held, moves)
        Event.objects.bulk_create([event for move in moves.values() for event in move.events])
    for key, (work, outcome) in held.items():
        if moves[key].state == State.RUNNING:
            _carry_on(work, outcome, moves[key])
            going_on.append(work)
    return going_on


def _carry_on(work: Work, outcome: Outcome, move: Move) -> None:
    work.sure_at = time.monotonic()
    if isinstance(outcome, Done):
        work.notes = {**work.notes, **outcome.notes}
    work.step, work.is_undoing, work.attempts, work.failure = (
        move.step,
        move.is_undoing,
        move.attempts,
        move.failure,
    )
    if move.new_step:
        work.step_started_at, work.told = work.now(), ""


def _lock_held(works: Sequence[Work]) -> dict[int, str]:
    """Lock the rows whose lease is still ours; by id, who cancels them and why ("" where nobody does)."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT o.id, o.cancel_requested_at IS NOT NULL, o.cancel_reason, u.username "
            "FROM operations_operation o "
            "JOIN unnest(%s::bigint[], %s::bigint[]) AS held(id, fence) ON o.id = held.id AND o.fence = held.fence "
            "LEFT JOIN access_user u ON u.id = o.cancel_requested_by_id "
            "WHERE o.state = 'running' ORDER BY o.id FOR UPDATE OF o",
            [[w.id for w in works], [w.fence for w in works]],
        )
        return {pk: f"{who}: {why}" if asked else "" for pk, asked, why, who in cursor.fetchall()}


def _write_steps(held: Mapping[int, tuple[Work, Outcome]]) -> None:
    rows = [_step_row(work, outcome) for work, outcome in held.values()]
    names = ("ids", "positions", "undoing", "names", "states", "tries", "started", "details")
    with connection.cursor() as cursor:
        cursor.execute(STEPS, dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))


def _step_row(work: Work, outcome: Outcome) -> tuple[Any, ...]:
    kind = find_kind(work.kind)
    name = kind.step_name(work.is_undoing, work.step)
    match outcome:
        case Done(detail):
            state = StepState.DONE
        case Later(_, detail):
            state = StepState.RUNNING
        case Failed(detail, _):
            state = StepState.FAILED
    return (
        work.id, work.step, work.is_undoing, name, state.value, work.attempts + 1, work.step_started_at, detail[:4_000]
    )  # fmt: skip


def _write_moves(held: Mapping[int, tuple[Work, Outcome]], moves: Mapping[int, Move]) -> None:
    notes = [dict(outcome.notes) if isinstance(outcome, Done) else {} for _, outcome in held.values()]
    ordered = [moves[key] for key in held]
    with connection.cursor() as cursor:
        cursor.execute(
            ADVANCE,
            {
                "lease": settings.OPERATIONS_LEASE_SECONDS,
                "ids": list(held),
                "states": [str(m.state) for m in ordered],
                "steps": [m.step for m in ordered],
                "undoing": [m.is_undoing for m in ordered],
                "attempts": [m.attempts for m in ordered],
                "retried": [m.retried for m in ordered],
                "notes": [json.dumps(n) for n in notes],
                "failures": [m.failure for m in ordered],
                "errors": [m.error for m in ordered],
                "waits": [m.wait for m in ordered],
                "new_steps": [m.new_step for m in ordered],
            },
        )


def out_of_time(work: Work) -> Failed | None:
    """The failure of a step that took longer than it or its operation may."""
    now = work.now()
    kind = find_kind(work.kind)
    step = kind.steps_of(work.is_undoing)[work.step]
    if (now - work.step_started_at).total_seconds() > step.timeout:
        told = f": {work.told}" if work.told else ""
        return Failed(f"“{step.name}” was not done within {step.timeout:g} s{told}.", retryable=False)
    if not work.is_undoing and (now - work.started_at).total_seconds() > kind.timeout:
        return Failed(
            f"Not done within the {kind.timeout:g} s that a {kind.label.lower()} may take.", retryable=False
        )
    return None
