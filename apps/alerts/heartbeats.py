"""Dead man's switches: what is not heard of in time becomes an alert."""

import uuid

from django.db import transaction
from django.utils import timezone

from . import intake
from .choices import JUMP, Severity, SignalState
from .models import Heartbeat
from .seals import token_hash

SOURCE = "heartbeat"
NAME = "HeartbeatLate"


def beat(token: uuid.UUID) -> bool:
    """Note a sign of life, committed when this returns; False for a token that nothing has."""
    with transaction.atomic(durable=True):
        rows = Heartbeat.objects.filter(token_hash=token_hash(str(token)), is_enabled=True)
        found = rows.select_for_update().first()
        if found is None:
            return False
        if found.is_late:
            intake.write(SOURCE, [_said(found, SignalState.RESOLVED)])
        rows.unrecorded_update(last_at=timezone.now(), is_late=False)
    return True


def look() -> int:
    """Tell of those that have become late; gives how many. Each is claimed by a conditional UPDATE, so told once."""
    now, late = timezone.now(), 0
    # Heard of in the future: the clock was wrong then. From now on it counts anew.
    Heartbeat.objects.filter(last_at__gt=now + JUMP).unrecorded_update(last_at=now)
    for heartbeat in Heartbeat.objects.filter(is_enabled=True, is_late=False).order_by("last_at")[:5_000]:
        heard_of = heartbeat.last_at or heartbeat.created_at
        if (now - heard_of).total_seconds() <= heartbeat.every + heartbeat.grace:
            continue
        with transaction.atomic(durable=True):
            mine = Heartbeat.objects.filter(pk=heartbeat.pk, is_late=False, last_at=heartbeat.last_at)
            if mine.unrecorded_update(is_late=True):
                intake.write(SOURCE, [_said(heartbeat, SignalState.FIRING)])
                late += 1
    return late


def _said(heartbeat: Heartbeat, state: str) -> intake.Said:
    labels = {"alertname": NAME, "heartbeat": heartbeat.name}
    is_late = state == SignalState.FIRING
    return intake.Said(
        state=state,
        name=NAME,
        severity=heartbeat.severity if is_late else Severity.INFO,
        summary=f"{heartbeat.name} was not heard of for {heartbeat.every + heartbeat.grace} s"
        if is_late
        else f"{heartbeat.name} is heard of again",
        labels=labels,
        fingerprint=intake.fingerprint(SOURCE, labels),
        account_id=heartbeat.account_id,
    )
