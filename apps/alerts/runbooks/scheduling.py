"""Runbooks that run by the clock. A run that was missed is made up for once; the key holds schedule and due time."""

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import InterfaceError, OperationalError, transaction
from django.db.models import Q
from django.http import Http404
from django.utils import timezone

from apps.access.scoping import require
from apps.core.choices import Tone
from apps.core.context import acting
from apps.core.events import event, record
from apps.operations.choices import Via
from apps.operations.schedules import next_time

from ..models import RunbookSchedule
from ..services import Refused
from . import running
from .reading import Malformed

logger = logging.getLogger(__name__)
AT_ONCE = 200


def save(schedule: RunbookSchedule, *, actor: Any) -> RunbookSchedule:
    """Keep a schedule; from then on it runs with the rights of whoever kept it last.

    Raises ValidationError, Malformed for inputs that make no sense, Refused, Http404, PermissionDenied.
    """
    version = schedule.runbook.versions.order_by("-number").first()
    if version is None:
        raise Refused("This runbook says nothing yet.")
    definition = running.definition_of(version)
    for permission in running.permissions_of(definition) or ["restart"]:
        require(actor, permission, schedule.instance)
    schedule.inputs = _storable(definition.clean(schedule.inputs))
    schedule.owner = actor
    try:
        schedule.next_at = next_time(schedule.cron, schedule.zone, timezone.now())
    except ValueError as error:
        raise ValidationError({"cron": str(error)}) from error
    schedule.full_clean()
    with transaction.atomic(durable=True), acting(actor, reason=f"keeps the schedule {schedule.name}"):
        schedule.save()
    return schedule


def switch(schedule: RunbookSchedule, *, on: bool, actor: Any) -> None:
    """Let it run, or not. To let it run is to keep it anew: with the rights of who does so."""
    if on:
        schedule.is_enabled = True
        save(schedule, actor=actor)
        return
    require(actor, "restart", schedule.instance)
    with transaction.atomic(durable=True), acting(actor, reason=f"stops the schedule {schedule.name}"):
        RunbookSchedule.objects.filter(pk=schedule.pk).update(is_enabled=False)


def start_due(now: datetime | None = None) -> int:
    """Start what is due; gives how many. What is refused is kept on the schedule and told; the schedule goes on."""
    now, started = now or timezone.now(), 0
    due = RunbookSchedule.objects.filter(Q(next_at__lte=now), is_enabled=True)
    for schedule in due.select_related("runbook", "instance__cell__region", "owner").order_by("next_at")[
        :AT_ONCE
    ]:
        error = ""
        try:
            running.start(
                runbook=schedule.runbook, instance=schedule.instance, inputs=schedule.inputs, actor=schedule.owner,
                reason=f"schedule “{schedule.name}”: {schedule.reason}",
                key=f"schedule:{schedule.pk}:{schedule.next_at:%Y%m%dT%H%M%S}",
            )  # fmt: skip
            started += 1
        except (Refused, Malformed, PermissionDenied, Http404) as refusal:
            error = str(refusal)[:300] or type(refusal).__name__
        except (OperationalError, InterfaceError):
            raise
        except Exception as fault:
            logger.exception("runbook schedule %s cannot be started", schedule.pk)
            error = f"It cannot be started ({type(fault).__name__})."
        _move_on(schedule, now, error)
    return started


def _move_on(schedule: RunbookSchedule, now: datetime, error: str) -> None:
    try:
        next_at = next_time(schedule.cron, schedule.zone, now)
    except ValueError as wrong:
        next_at, error = now + timedelta(days=1), str(wrong)[:300]
    with transaction.atomic(durable=True), acting(schedule.owner, via=Via.SCHEDULE):
        mine = RunbookSchedule.objects.filter(pk=schedule.pk, next_at=schedule.next_at)
        if mine.unrecorded_update(next_at=next_at, last_at=schedule.next_at, last_error=error) and error:
            record(
                [
                    event(
                        "runbook.refused", f"Schedule {schedule.name} was refused", why=error, tone=Tone.BAD,
                        instance_id=schedule.instance_id,
                    )
                ]
            )  # fmt: skip


def _storable(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return dict(inputs)
