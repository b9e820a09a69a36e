"""The one road for change: submit, approve, cancel; and what keeps the road clear."""

import hashlib
import json
import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q
from django.http import Http404
from django.utils import timezone

from apps.access.choices import Permission
from apps.access.scoping import allowed, require, visible
from apps.core.choices import Tone
from apps.core.context import acting, under
from apps.core.events import record
from apps.core.models import Event
from apps.core.querysets import record_created

from . import approvals, guard_rails
from .choices import State, Via
from .kinds import Kind, TargetInfo, find_kind, find_target
from .models import Batch, Operation, Schedule
from .schedules import next_time

logger = logging.getLogger(__name__)

MAX_TARGETS = 100_000
MIN_REASON = 3


class Refused(Exception):
    """The request was understood and is not allowed, or makes no sense; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One target of a request that will not be acted on, and why."""

    target_id: int
    label: str
    why: str


@dataclass(slots=True)
class Plan:
    """What a request would do: the preview and the submission both come from here, so they cannot differ."""

    kind: Kind
    params: dict[str, Any]
    accepted: list[TargetInfo] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    approval_reason: str = ""
    waits: dict[int, Operation] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """What will happen, a line for each accepted target."""
        return [self.kind.preview(info.label, self.params) for info in self.accepted]


@dataclass(frozen=True, slots=True)
class Submission:
    """What came of a request. `is_repeat`: the same request was accepted before, and nothing was added."""

    operations: list[Operation]
    refused: list[Refusal]
    batch: Batch | None = None
    is_repeat: bool = False


def plan(*, kind: str, target_ids: Sequence[int], params: Mapping[str, Any], actor: Any) -> Plan:
    """Look at a request without changing anything: who may, what objects, what it would wait for.

    Raises Refused for an unknown kind, bad parameters or too many targets. The number of queries
    does not grow with the targets.
    """
    try:
        found = find_kind(kind)
        cleaned = found.check_params(params)
    except (LookupError, ValueError) as error:
        raise Refused(str(error)) from error
    ids = list(dict.fromkeys(target_ids))
    if len(ids) > MAX_TARGETS:
        raise Refused(
            f"{len(ids)} targets are more than the {MAX_TARGETS} that one request may have; narrow the filter."
        )
    target = find_target(found.target_type)
    infos = target.describe(ids)
    rows = target.model._default_manager.filter(pk__in=ids)
    seen = set(visible(actor, rows, Permission.VIEW).values_list("pk", flat=True))
    may = set(visible(actor, rows, found.permission).values_list("pk", flat=True)) & seen
    result = Plan(found, cleaned)
    candidates = [infos[pk] for pk in ids if pk in may and pk in infos]
    for pk in ids:
        if pk not in seen or pk not in infos:
            result.refused.append(Refusal(pk, f"#{pk}", f"There is no such {found.target_type}."))
        elif pk not in may:
            need = Permission(found.permission).label
            result.refused.append(Refusal(pk, infos[pk].label, f"You need the permission “{need}” there."))
    _apply_guard_rails(result, candidates, actor)
    _apply_approval_rules(result)
    result.waits = (
        blocking([info.id for info in result.accepted], found) if len(result.accepted) <= 200 else {}
    )
    return result


def _apply_guard_rails(result: Plan, candidates: Sequence[TargetInfo], actor: Any) -> None:
    objections = guard_rails.objections(guard_rails.Request(result.kind, candidates, result.params, actor))
    for info in candidates:
        mine = objections.get(info.id, [])
        if hard := [o.why for o in mine if not o.needs_approval]:
            result.refused.append(Refusal(info.id, info.label, " ".join(hard)))
        else:
            result.accepted.append(info)
            result.approval_reason = result.approval_reason or next((o.why for o in mine), "")


def _apply_approval_rules(result: Plan) -> None:
    if result.kind.is_changing and result.accepted:
        rule = approvals.rule_for(result.kind, result.accepted)
        result.approval_reason = rule.note if rule is not None else result.approval_reason


def blocking(target_ids: Sequence[int], kind: Kind) -> dict[int, Operation]:
    """By target id, the open changing operation that a new one would wait for."""
    if not kind.is_changing:
        return {}
    rows = Operation.objects.filter(
        target_type=kind.target_type,
        target_id__in=list(target_ids),
        is_changing=True,
        state__in=[State.PENDING, State.RUNNING],
    ).select_related("actor")
    # The last one asked for is the one to wait for: those before it come first anyway.
    return {operation.target_id: operation for operation in rows.order_by("id")}


def waits_for(operation: Operation) -> Operation | None:
    """The operation that this one waits for, if it waits for one."""
    if operation.state != State.PENDING or not operation.is_changing:
        return None
    ahead = Operation.objects.filter(
        target_type=operation.target_type, target_id=operation.target_id, is_changing=True
    ).exclude(pk=operation.pk)
    return (
        ahead.filter(Q(state=State.RUNNING) | Q(state=State.PENDING, id__lt=operation.pk))
        .select_related("actor")
        .order_by("-id")
        .first()
    )


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
        made = plan(kind=kind, target_ids=target_ids, params=params, actor=actor)
        batch, is_repeat = (
            _open_batch(made, key, actor, reason) if with_batch and made.accepted else (None, False)
        )
        if is_repeat and batch is not None:
            return _repeat(batch)
        operations = _insert(made, key, actor, reason, via, run_after or timezone.now(), batch)
    return Submission(operations, made.refused, batch)


def _repeat(batch: Batch) -> Submission:
    refused = [Refusal(*row) for row in batch.refused]
    return Submission(list(batch.operations.order_by("id")), refused, batch, is_repeat=True)


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
    if stored.pk != new.pk and (stored.kind, stored.actor_id) != (made.kind.name, actor.pk):
        raise Refused(f"The idempotency key “{key}” was used for another request.")
    return stored, stored.pk != new.pk


def _insert(
    made: Plan, key: str, actor: Any, reason: str, via: str, run_after: datetime, batch: Batch | None
) -> list[Operation]:
    if not made.accepted:
        return []
    state = State.AWAITING_APPROVAL if made.approval_reason else State.PENDING
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
            run_after=run_after,
        )
        for pk, info in zip(_reserve_ids(len(made.accepted)), made.accepted, strict=True)
    ]
    Operation.objects.create_unrecorded(operations, batch_size=1_000, ignore_conflicts=True)
    stored = {
        o.idempotency_key: o
        for o in Operation.objects.filter(idempotency_key__in=[o.idempotency_key for o in operations])
    }
    for wanted in operations:
        if stored[wanted.idempotency_key].fingerprint != wanted.fingerprint:
            raise Refused(f"The idempotency key “{key}” was used for another request.")
    new = [o for o in operations if stored[o.idempotency_key].pk == o.pk]
    record_created(new)
    record([_submitted(o, made.kind) for o in new])
    if new and state == State.PENDING:
        transaction.on_commit(lambda: nudge(len(new)))
    return [stored[o.idempotency_key] for o in operations]


def _reserve_ids(count: int) -> list[int]:
    """Ids ahead of the insert, so that rows which lose to an earlier equal request can be told from ours."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT nextval(pg_get_serial_sequence('operations_operation', 'id')) FROM generate_series(1, %s)",
            [count],
        )
        return [row[0] for row in cursor.fetchall()]


def _fingerprint(kind: str, target_id: int, params: Mapping[str, Any], actor_id: int) -> str:
    return hashlib.sha256(
        json.dumps([kind, target_id, params, actor_id], sort_keys=True).encode()
    ).hexdigest()


def _submitted(operation: Operation, kind: Kind) -> Event:
    waiting = operation.state == State.AWAITING_APPROVAL
    return _tell(
        operation,
        "awaiting_approval" if waiting else "submitted",
        "asked for" + (", needs approval" if waiting else ""),
    )


def _tell(
    operation: Operation, what: str, words: str, *, why: str = "", tone: str = Tone.PLAIN, actor: Any = None
) -> Event:
    kind = find_kind(operation.kind)
    return Event(
        kind=f"operation.{what}",
        title=f"{kind.label} of {operation.target_label} {words}"[:300],
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
    with transaction.atomic(durable=True), acting(actor, reason=f"approves: {operation.reason}"):
        locked = Operation.objects.select_for_update().get(pk=operation.pk)
        if locked.state != State.AWAITING_APPROVAL:
            raise Refused(f"It does not wait for approval: it is {locked.get_state_display().lower()}.")
        locked.state, locked.approved_by, locked.approved_at = State.PENDING, actor, timezone.now()
        locked.run_after = max(locked.run_after, timezone.now())
        locked.save()
        record([_tell(locked, "approved", "approved", actor=actor)])
        transaction.on_commit(lambda: nudge(1))
    return locked


def cancel(operation: Operation, *, actor: Any, reason: str) -> Operation:
    """Cancel: at once while it waits, at the end of the step under way while it runs.

    Who asked for it may cancel it, and who may do the same thing there. Raises Refused once it has ended.
    """
    require(actor, Permission.VIEW, operation)
    kind = _kind(operation.kind)
    if operation.actor_id != actor.pk:
        require(actor, kind.permission, operation)
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
            locked.run_after = min(locked.run_after, timezone.now())
            transaction.on_commit(lambda: nudge(1))
            record(
                [_tell(locked, "cancelling", "is to be cancelled", why=reason, tone=Tone.WARN, actor=actor)]
            )
        locked.save()
    return locked


def may_cancel(operation: Operation, actor: Any) -> bool:
    """Whether `actor` may cancel this operation now."""
    return (
        operation.is_open
        and operation.cancel_requested_at is None
        and (operation.actor_id == actor.pk or allowed(actor, _kind(operation.kind).permission, operation))
    )


# --- Keeping the road clear --------------------------------------------------------------------


def nudge(count: int = 1) -> None:
    """Tell workers that there is work: a hint, so a queue that is away is logged and otherwise ignored."""
    from .actors import run_ready

    try:
        for _ in range(min(4, 1 + count // 100)):
            run_ready.send()
    except Exception as error:  # noqa: BLE001 - whatever the broker raises; the reconciler will nudge again
        logger.warning("workers not nudged, the queue is away (the reconciler will): %s", error)


def reconcile() -> bool:
    """Nudge when something stands still: due and not taken up, or held by a worker that died. Gives whether it did."""
    now = timezone.now()
    stands = Operation.objects.filter(
        Q(state=State.PENDING, run_after__lte=now) | Q(state=State.RUNNING, lease_until__lt=now)
    )
    ahead = Operation.objects.filter(
        target_type=OuterRef("target_type"),
        target_id=OuterRef("target_id"),
        state=State.RUNNING,
        lease_until__gte=now,
    )
    if not stands.filter(~Exists(ahead)).exists():
        return False
    nudge(200)
    return True


def submit_scheduled(now: datetime | None = None) -> int:
    """Submit what schedules are due for; gives how many. A run that was missed is made up for once.

    The idempotency key holds schedule and due time, so that two schedulers submit it once. A refusal
    is kept on the schedule and told as an event; the schedule goes on.
    """
    now = now or timezone.now()
    due = (
        Schedule.objects.filter(is_enabled=True)
        .filter(Q(next_at__lte=now) | Q(next_at__isnull=True))
        .select_related("owner")
    )
    submitted = 0
    for schedule in due[:200]:
        at, error = schedule.next_at, ""
        if at is not None:
            try:
                _submit_for(schedule, at)
                submitted += 1
            except (Refused, PermissionDenied, Http404) as refusal:
                error = str(refusal)[:300]
        _move_on(schedule, at, now, error)
    return submitted


def _submit_for(schedule: Schedule, at: datetime) -> None:
    submit(
        kind=schedule.kind,
        target_id=schedule.target_id,
        params=schedule.params,
        actor=schedule.owner,
        reason=f"schedule “{schedule.name}”: {schedule.reason}",
        idempotency_key=f"schedule:{schedule.pk}:{at.isoformat()}",
        via=Via.SCHEDULE,
    )


def _move_on(schedule: Schedule, at: datetime | None, now: datetime, error: str) -> None:
    with transaction.atomic(durable=True), acting(schedule.owner, via=Via.SCHEDULE):
        Schedule.objects.filter(pk=schedule.pk, next_at=at).unrecorded_update(
            next_at=next_time(schedule.cron, schedule.zone, now),
            last_at=at or schedule.last_at,
            last_error=error,
        )
        if error:
            record(
                [
                    Event(
                        kind="schedule.refused",
                        title=f"Schedule {schedule.name} was refused",
                        why=error,
                        tone=Tone.BAD,
                        actor_id=schedule.owner_id,
                        at=now + timedelta(0),
                    )
                ]
            )
