"""What keeps the road clear: hints to workers, the reconciler, schedules."""

import logging
from datetime import datetime, timedelta

from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError, transaction
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now
from django.http import Http404
from django.utils import timezone

from apps.core.choices import Tone
from apps.core.context import acting
from apps.core.events import record
from apps.core.models import Event

from .choices import State, Via
from .kinds import kinds
from .models import Operation, Schedule
from .plans import Refused
from .schedules import next_time

logger = logging.getLogger(__name__)


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
    stands = Operation.objects.filter(
        Q(state=State.PENDING, run_after__lte=Now()) | Q(state=State.RUNNING, lease_until__lt=Now()),
        kind__in=[kind.name for kind in kinds()],
    )
    # Only a change waits, and only for a change.
    ahead = Operation.objects.filter(
        target_type=OuterRef("target_type"),
        target_id=OuterRef("target_id"),
        state=State.RUNNING,
        is_changing=True,
        lease_until__gte=Now(),
    )
    if not stands.filter(Q(is_changing=False) | ~Exists(ahead)).exists():
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
            except (OperationalError, InterfaceError):
                raise
            except Exception as fault:
                # Whatever is wrong with one schedule, those behind it are due.
                logger.exception("schedule %s cannot be submitted", schedule.name)
                error = f"It cannot be submitted ({type(fault).__name__}: {fault}).".replace("\x00", "")[:300]
        _move_on(schedule, at, now, error)
    return submitted


def _submit_for(schedule: Schedule, at: datetime) -> None:
    from .services import submit  # services nudges through this module

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
    try:
        next_at = next_time(schedule.cron, schedule.zone, now)
    except ValueError as wrong:
        # Its zone left the tables, say. It is asked again tomorrow; until then its page says what is wrong.
        next_at, error = now + timedelta(days=1), str(wrong)[:300]
    with transaction.atomic(durable=True), acting(schedule.owner, via=Via.SCHEDULE):
        moved = Schedule.objects.filter(pk=schedule.pk, next_at=at).unrecorded_update(
            next_at=next_at,
            last_at=at or schedule.last_at,
            last_error=error,
        )
        # Of two schedulers that met at it, and after somebody edited it meanwhile, only who moved it on tells.
        if error and moved:
            record(
                [
                    Event(
                        kind="schedule.refused",
                        title=f"Schedule {schedule.name} was refused",
                        why=error,
                        tone=Tone.BAD,
                        actor_id=schedule.owner_id,
                        at=now,
                    )
                ]
            )
