"""Deciding on a whole batch at once: set-wise, one transaction, an entry and an event for each operation."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Greatest, Now
from django.utils import timezone

from apps.access import hands
from apps.access.choices import Permission
from apps.access.scoping import visible
from apps.core.arrays import among
from apps.core.choices import Tone
from apps.core.context import acting
from apps.core.events import event, record
from apps.core.models import Event

from . import services
from .choices import State
from .kinds import find_target, label_of
from .models import Batch, Operation
from .services import MIN_REASON, Refused


def cancellable(batch: Batch, user: Any) -> QuerySet[Operation]:
    """The operations of a batch that have not begun and that `user` may cancel: the requester, or who may do the same."""
    rows = Operation.objects.filter(
        batch=batch,
        state__in=[State.PENDING, State.AWAITING_APPROVAL],
        started_at__isnull=True,
        cancel_requested_at__isnull=True,
    ).order_by()
    if batch.actor_id == user.pk:
        return visible(user, rows)
    return visible(user, visible(user, rows), services.cancel_permission(batch.kind))


def approvable(batch: Batch, user: Any) -> QuerySet[Operation]:
    """The operations of a batch that wait for approval and that `user` may approve; never one's own."""
    rows = (
        Operation.objects.filter(batch=batch, state=State.AWAITING_APPROVAL)
        .exclude(actor_id=user.pk)
        .order_by()
    )
    return hands.counting(visible(user, rows, Permission.APPROVE), user, batch.actor, Permission.APPROVE)


def cancel_waiting(batch: Batch, *, actor: Any, reason: str) -> int:
    """Cancel what has not begun, of what `actor` may cancel; gives how many. What runs goes on.

    Raises Refused without a reason, or when nothing waits (any more).
    """
    if not (number := cancel_those(cancellable(batch, actor), actor=actor, reason=reason)):
        raise Refused("None of them waits any more: each has begun or ended.")
    return number


def cancel_those(rows: QuerySet[Operation], *, actor: Any, reason: str) -> int:
    """Cancel those of `rows`, which the caller has found that `actor` may cancel, that have not begun; gives how many.

    Raises Refused without a reason.
    """
    reason = " ".join(reason.split())[:500]
    if len(reason) < MIN_REASON:
        raise Refused("Say why they are cancelled, in a few words.")
    now = timezone.now()
    with transaction.atomic(durable=True), acting(actor, reason=reason):
        waiting = _locked(rows, State.PENDING, State.AWAITING_APPROVAL)
        if not waiting:
            return 0
        Operation.objects.filter(pk__in=[o.pk for o in waiting]).update(
            state=State.CANCELLED,
            finished_at=now,
            updated_at=now,
            error=f"Cancelled by {actor}: {reason}",
            cancel_requested_by_id=actor.pk,
            cancel_requested_at=now,
            cancel_reason=reason,
        )
        record(_tell(o, "cancelled", "cancelled", tone=Tone.WARN, why=reason) for o in waiting)
    return len(waiting)


def approve_waiting(batch: Batch, *, actor: Any) -> int:
    """Let go what waits for approval, of what `actor` may approve; gives how many.

    Raises PermissionDenied for the requester, Refused when nothing waits (any more).
    """
    if batch.actor_id == actor.pk:
        raise PermissionDenied("Nobody approves their own operations; ask a colleague who may approve here.")
    now = timezone.now()
    with transaction.atomic(durable=True), acting(actor, reason=f"approves: {batch.reason}"):
        waiting = _locked(approvable(batch, actor), State.AWAITING_APPROVAL)
        if not waiting:
            first = visible(
                actor, batch.operations.filter(state=State.AWAITING_APPROVAL), Permission.APPROVE
            ).first()
            why = hands.objection(actor, batch.actor, Permission.APPROVE, first) if first else ""
            raise Refused(why or "None of them waits for your approval.")
        Operation.objects.filter(pk__in=[o.pk for o in waiting]).update(
            state=State.PENDING,
            approved_by_id=actor.pk,
            approved_at=now,
            updated_at=now,
            run_after=Greatest(F("run_after"), Now()),
        )
        record(_tell(o, "approved", "approved", why=batch.reason) for o in waiting)
        transaction.on_commit(lambda: services.nudge(len(waiting)))
    return len(waiting)


def _locked(rows: QuerySet[Operation], *states: str) -> list[Operation]:
    """The rows, locked in the order of their ids. One that has left `states` meanwhile is no longer among them."""
    ids = list(rows.values_list("pk", flat=True))
    again = Operation.objects.filter(pk__in=among(ids), state__in=states, started_at__isnull=True).order_by(
        "id"
    )
    return list(again.select_for_update(of=("self",)))


def _tell(operation: Operation, what: str, words: str, *, why: str, tone: str = Tone.PLAIN) -> Event:
    return event(
        f"operation.{what}",
        f"{label_of(operation.kind)} of {operation.target_label} {words}",
        why=why,
        tone=tone,
        operation_id=operation.pk,
        account_id=operation.account_id,
        cell_id=operation.cell_id,
        tenant_id=operation.tenant_id,
        **{find_target(operation.target_type).event_field: operation.target_id},
    )
