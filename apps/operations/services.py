"""The one road for change: submit, approve, cancel.

The plan of a request stands in `plans`, what keeps the road clear in `upkeep`; their words are offered here too,
so that a caller needs this one module.
"""

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import connection, transaction
from django.db.models.functions import Greatest, Least, Now
from django.http import Http404
from django.utils import timezone

from apps.access import hands
from apps.access.choices import Permission
from apps.access.scoping import allowed, require
from apps.core.arrays import among, among_texts
from apps.core.choices import Tone
from apps.core.context import acting, under
from apps.core.events import record
from apps.core.models import Event
from apps.core.querysets import record_created

from . import approvals
from .choices import State, Via
from .kinds import Kind, find_kind, find_target, label_of
from .models import Batch, Operation
from .plans import MAX_TARGETS, Plan, Refusal, Refused, blocking, plan, waits_for
from .upkeep import nudge

__all__ = [
    "MAX_TARGETS",
    "MIN_REASON",
    "Plan",
    "Refusal",
    "Refused",
    "Submission",
    "approve",
    "blocking",
    "cancel",
    "may_cancel",
    "nudge",
    "plan",
    "submit",
    "submit_many",
    "waits_for",
]

MIN_REASON = 3


@dataclass(frozen=True, slots=True)
class Submission:
    """What came of a request. `is_repeat`: the same request was accepted before, and nothing was added."""

    operations: list[Operation]
    refused: list[Refusal]
    batch: Batch | None = None
    is_repeat: bool = False


def submit(
    *,
    kind: str,
    target_id: int,
    params: Mapping[str, Any] | None = None,
    actor: Any,
    reason: str,
    idempotency_key: str = "",
    via: str = Via.PAGE,
    run_after: datetime | None = None,
) -> Operation:
    """Accept one operation: when this returns, it is a committed row with its audit entry and event.

    The same `idempotency_key` again gives the operation it gave before. Raises Http404 for a target
    that the actor cannot see, PermissionDenied where only the permission lacks, Refused for anything
    else that stands against it; then nothing was changed.
    """
    found = _kind(kind)
    target = find_target(found.target_type)
    obj = target.model._default_manager.filter(pk=target_id).first()
    if obj is None:
        raise Http404(f"There is no such {found.target_type}.")
    require(actor, found.permission, obj)
    done = submit_many(
        kind=kind,
        target_ids=[target_id],
        params=params or {},
        actor=actor,
        reason=reason,
        idempotency_key=idempotency_key,
        via=via,
        run_after=run_after,
        with_batch=False,
    )
    if done.refused:
        raise Refused(done.refused[0].why)
    return done.operations[0]


def own_key(actor: Any, key: str) -> str:
    """The idempotency key for one that came from outside: nobody can take another's, nor one that the system will use."""
    return f"by:{actor.pk}:{key}" if key else ""


def submit_many(
    *,
    kind: str,
    target_ids: Sequence[int],
    params: Mapping[str, Any],
    actor: Any,
    reason: str,
    idempotency_key: str = "",
    via: str = Via.PAGE,
    run_after: datetime | None = None,
    with_batch: bool = True,
) -> Submission:
    """Accept an operation on each target that allows it, in one transaction; the others come back refused.

    Statements do not grow with the number of targets. Raises Refused as `plan` does, and without a reason.
    """
    reason = " ".join(reason.split())[:500]
    if len(reason) < MIN_REASON:
        raise Refused("Say why, in a few words: the reason stands on the timeline and in the audit trail.")
    key = idempotency_key or uuid.uuid4().hex
    if len(key) > 120:
        raise Refused("The idempotency key is longer than 120 characters.")
    with transaction.atomic(durable=True), acting(actor, reason=reason, via=via):
        # First of all: what was accepted stays accepted, whatever was locked or taken away since.
        if idempotency_key and (done := _earlier(kind, target_ids, params, actor, key, with_batch)):
            return done
        made = plan(kind=kind, target_ids=target_ids, params=params, actor=actor)
        batch, is_repeat = (
            _open_batch(made, key, actor, reason) if with_batch and made.accepted else (None, False)
        )
        if is_repeat and batch is not None:
            return _repeat(batch, made.kind, target_ids, made.params, actor)
        operations = _insert(made, key, actor, reason, via, run_after, batch)
    return Submission(operations, made.refused, batch)


def _earlier(
    kind: str, target_ids: Sequence[int], params: Mapping[str, Any], actor: Any, key: str, with_batch: bool
) -> Submission | None:
    """What this key gave before, if it did. Raises Refused where it was for something else."""
    found = _kind(kind)
    try:
        cleaned = found.check_params(params)
    except ValueError as error:
        raise Refused(str(error)) from error
    if with_batch:
        batch = Batch.objects.filter(idempotency_key=key).first()
        return _repeat(batch, found, target_ids, cleaned, actor) if batch else None
    found_before = Operation.objects.filter(
        idempotency_key__in=among_texts(f"{key}:{pk}" for pk in target_ids)
    )
    earlier = {operation.target_id: operation for operation in found_before}
    if any(o.fingerprint != _fingerprint(kind, pk, cleaned, actor.pk) for pk, o in earlier.items()):
        raise _used_for_another(key)
    if not earlier or len(earlier) < len(set(target_ids)):
        return None  # some are new: the plan decides on them, and `_insert` gives the others as they are
    return Submission([earlier[pk] for pk in target_ids], [], is_repeat=True)


def _repeat(
    batch: Batch, kind: Kind, target_ids: Sequence[int], params: Mapping[str, Any], actor: Any
) -> Submission:
    """The batch as it was accepted. Raises Refused unless all was the same: kind, actor, parameters, targets."""
    operations = list(batch.operations.order_by("id"))
    refused = [Refusal(*row) for row in batch.refused]
    same = {o.target_id for o in operations} | {r.target_id for r in refused} == set(target_ids) and all(
        o.fingerprint == _fingerprint(kind.name, o.target_id, params, actor.pk) for o in operations
    )
    if not same:
        raise _used_for_another(batch.idempotency_key)
    return Submission(operations, refused, batch, is_repeat=True)


def _used_for_another(key: str) -> Refused:
    return Refused(f"The idempotency key “{key}” was used for another request.")


def _open_batch(made: Plan, key: str, actor: Any, reason: str) -> tuple[Batch, bool]:
    """The batch of this key; the unique key lets one of two equal requests through, the other waits and repeats."""
    refused = [[r.target_id, r.label, r.why] for r in made.refused]
    new = Batch(
        kind=made.kind.name,
        actor_id=actor.pk,
        reason=reason,
        idempotency_key=key,
        total=len(made.accepted),
        refused=refused,
    )
    Batch.objects.create_unrecorded([new], ignore_conflicts=True)
    stored = Batch.objects.get(idempotency_key=key)
    return stored, stored.pk != new.pk


def _insert(
    made: Plan, key: str, actor: Any, reason: str, via: str, run_after: datetime | None, batch: Batch | None
) -> list[Operation]:
    if not made.accepted:
        return []
    state = State.AWAITING_APPROVAL if made.approval_reason else State.PENDING
    pks, now = _reserve_ids(len(made.accepted))
    seen = approvals.facts_of(made.kind, made.accepted) if made.approval_reason else {}
    operations = [
        Operation(
            pk=pk,
            under=under(),
            seen=seen.get(info.id, {}),
            kind=made.kind.name,
            target_type=made.kind.target_type,
            target_id=info.id,
            target_label=info.label,
            account_id=info.account_id,
            cell_id=info.cell_id,
            tenant_id=info.tenant_id,
            is_changing=made.kind.is_changing,
            params=made.params,
            actor_id=actor.pk,
            reason=reason,
            via=via,
            idempotency_key=f"{key}:{info.id}",
            fingerprint=_fingerprint(made.kind.name, info.id, made.params, actor.pk),
            batch=batch,
            approval_reason=made.approval_reason,
            state=state,
            # By the database's clock, as whatever compares it: this machine's may go wrong by minutes.
            # A value, no expression: with one the insert would be written out row by row.
            run_after=run_after or now,
        )
        for pk, info in zip(pks, made.accepted, strict=True)
    ]
    Operation.objects.create_unrecorded(operations, batch_size=1_000, ignore_conflicts=True)
    earlier = _in_whose_place(operations, key)
    new = [o for o in operations if o.idempotency_key not in earlier]
    record_created(new)
    record([_submitted(o, made.kind) for o in new])
    if new and state == State.PENDING:
        transaction.on_commit(lambda: nudge(len(new)))
    return [earlier.get(o.idempotency_key, o) for o in operations]


def _in_whose_place(operations: Sequence[Operation], key: str) -> dict[str, Operation]:
    """By key, the operations of an earlier equal request, which stand where ours were not inserted. Raises Refused for an unequal one."""
    inserted = set(
        Operation.objects.filter(pk__in=among(o.pk for o in operations)).values_list("pk", flat=True)
    )
    lost = {o.idempotency_key: o for o in operations if o.pk not in inserted}
    if not lost:
        return {}
    earlier = {o.idempotency_key: o for o in Operation.objects.filter(idempotency_key__in=list(lost))}
    for wanted in lost.values():
        found = earlier[wanted.idempotency_key]
        if (found.fingerprint, found.batch_id) != (wanted.fingerprint, wanted.batch_id):
            raise _used_for_another(key)
    return earlier


def _reserve_ids(count: int) -> tuple[list[int], datetime]:
    """Ids ahead of the insert, so that rows which lose to an earlier equal request can be told from ours; and the time."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT nextval(pg_get_serial_sequence('operations_operation', 'id')), statement_timestamp() "
            "FROM generate_series(1, %s)",
            [count],
        )
        rows = cursor.fetchall()
        return [row[0] for row in rows], rows[0][1]


def _fingerprint(kind: str, target_id: int, params: Mapping[str, Any], actor_id: int) -> str:
    asked = json.dumps([kind, target_id, params, actor_id], sort_keys=True)
    return hashlib.sha256(asked.encode()).hexdigest()


def _submitted(operation: Operation, kind: Kind) -> Event:
    if operation.state == State.AWAITING_APPROVAL:
        return _tell(operation, "awaiting_approval", "asked for, needs approval")
    return _tell(operation, "submitted", "asked for")


def _tell(
    operation: Operation, what: str, words: str, *, why: str = "", tone: str = Tone.PLAIN, actor: Any = None
) -> Event:
    return Event(
        kind=f"operation.{what}",
        title=f"{label_of(operation.kind)} of {operation.target_label} {words}"[:300],
        why=why or operation.reason,
        tone=tone,
        actor_id=actor.pk if actor is not None else operation.actor_id,
        operation_id=operation.pk,
        account_id=operation.account_id,
        cell_id=operation.cell_id,
        tenant_id=operation.tenant_id,
        **{find_target(operation.target_type).event_field: operation.target_id},
    )


def _kind(name: str) -> Kind:
    try:
        return find_kind(name)
    except LookupError as error:
        raise Refused(str(error)) from error


# --- People deciding ---------------------------------------------------------------------------


def approve(operation: Operation, *, actor: Any) -> Operation:
    """Let an operation go that waits for a second person.

    Raises PermissionDenied for the requester and for who may not approve there, Refused when it
    does not wait (any more).
    """
    require(actor, Permission.VIEW, operation)
    if operation.actor_id == actor.pk:
        raise PermissionDenied("Nobody approves their own operation; ask a colleague who may approve here.")
    require(actor, Permission.APPROVE, operation)
    if why := hands.objection(actor, operation.actor, Permission.APPROVE, operation):
        raise PermissionDenied(why)
    with transaction.atomic(durable=True), acting(actor, reason=f"approves: {operation.reason}"):
        locked = Operation.objects.select_for_update().get(pk=operation.pk)
        if locked.state != State.AWAITING_APPROVAL:
            raise Refused(f"It does not wait for approval: it is {locked.get_state_display().lower()}.")
        locked.state, locked.approved_by, locked.approved_at = State.PENDING, actor, timezone.now()
        locked.run_after = Greatest("run_after", Now())
        locked.save()
        locked.refresh_from_db(fields=["run_after"])
        record([_tell(locked, "approved", "approved", actor=actor)])
        transaction.on_commit(lambda: nudge(1))
    return locked


def cancel(operation: Operation, *, actor: Any, reason: str) -> Operation:
    """Cancel: at once while it waits, at the end of the step under way while it runs.

    Who asked for it may cancel it, and who may do the same thing there. Raises Refused once it has ended.
    """
    require(actor, Permission.VIEW, operation)
    if operation.actor_id != actor.pk:
        require(actor, cancel_permission(operation.kind), operation)
    reason = " ".join(reason.split())[:500]
    if len(reason) < MIN_REASON:
        raise Refused("Say why it is cancelled, in a few words.")
    with transaction.atomic(durable=True), acting(actor, reason=reason):
        locked = Operation.objects.select_for_update().get(pk=operation.pk)
        if not locked.is_open:
            raise Refused(f"It has ended already: {locked.get_state_display().lower()}.")
        if locked.cancel_requested_at is not None:
            return locked
        locked.cancel_requested_by, locked.cancel_requested_at, locked.cancel_reason = (
            actor,
            timezone.now(),
            reason,
        )
        # One that has begun goes through a worker, which knows whether there is something to undo.
        if locked.state != State.RUNNING and locked.started_at is None:
            locked.state, locked.finished_at = State.CANCELLED, timezone.now()
            locked.error = f"Cancelled by {actor}: {reason}"
            record([_tell(locked, "cancelled", "cancelled", why=reason, tone=Tone.WARN, actor=actor)])
        else:
            locked.run_after = Least("run_after", Now())
            transaction.on_commit(lambda: nudge(1))
            record(
                [_tell(locked, "cancelling", "is to be cancelled", why=reason, tone=Tone.WARN, actor=actor)]
            )
        locked.save()
        locked.refresh_from_db(fields=["run_after"])
    return locked


def may_cancel(operation: Operation, actor: Any) -> bool:
    """Whether `actor` may cancel this operation now."""
    return (
        operation.is_open
        and operation.cancel_requested_at is None
        and (operation.actor_id == actor.pk or allowed(actor, cancel_permission(operation.kind), operation))
    )


def cancel_permission(kind: str) -> str:
    """What it takes to cancel somebody else's; of a kind that this release does not know, the right to fix data."""
    try:
        return find_kind(kind).permission
    except LookupError:
        return Permission.FIX_DATA
