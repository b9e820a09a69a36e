"""Sending the sealed trail on: at least once, in order, without a gap, whatever ends in between.

1. One worker leases the stream by a conditional UPDATE; a dead worker's lease runs out.
2. It reads sealed entries after `sent_to`: below a seal's bound nothing can come any more, so order by id has no gap.
3. It sends a batch, and only when that was taken moves `sent_to`, if the lease is still its own.
4. A worker killed between 3's halves sends the batch again next time: at least once, never less.
"""

import logging
import time
import uuid
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone

from apps.core.context import acting
from apps.core.events import event, record

from .canonical import SELECT, id_of, line_of
from .models import AuditSeal, AuditStream
from .sinks import SinkError, send

logger = logging.getLogger(__name__)

BATCH = 500
#: Seconds: how long a worker owns a stream without a sign of life; how long one call goes on; the longest pause.
LEASE, SHIFT, LONGEST_PAUSE = 60.0, 20.0, 300.0

NEXT = f"SELECT {SELECT} FROM audit_auditentry WHERE id > %s AND id <= %s ORDER BY id LIMIT %s"  # noqa: S608 - constants


def deliver_due() -> int:
    """Serve each stream whose time has come; gives the number of entries that were taken."""
    now = timezone.now()
    due = AuditStream.objects.filter(Q(next_try_at__isnull=True) | Q(next_try_at__lte=now), is_enabled=True)
    return sum(deliver(pk) for pk in due.values_list("pk", flat=True))


#: Streams that pause because they could not be sent to.
FAILING = Q(is_enabled=True, failures__gt=0)


def retry_now(pks: Iterable[int], *, actor: Any) -> int:
    """Let the failing ones among these streams not wait for their next try; gives how many. The worker does the rest."""
    stuck = AuditStream.objects.filter(FAILING, pk__in=list(pks))
    with transaction.atomic(durable=True), acting(actor, reason="tries the failing streams now"):
        names = list(stuck.order_by("name").values_list("name", flat=True))
        if names:
            stuck.unrecorded_update(next_try_at=None)
            record(
                [event("audit.streams_retried", f"{actor} has these streams tried again: {', '.join(names)}")]
            )
    return len(names)


def deliver(pk: int, *, lease_seconds: float = LEASE) -> int:
    """Send what one stream has not got yet, for SHIFT seconds at most; 0 where another worker serves it."""
    lease, until, sent = uuid.uuid4(), time.monotonic() + SHIFT, 0
    if not _take(pk, lease, lease_seconds):
        return 0
    try:
        while time.monotonic() < until:
            stream = AuditStream.objects.get(pk=pk)
            count = _send_next(stream, lease, lease_seconds) if stream.is_enabled else 0
            if not count:
                break
            sent += count
    except SinkError as error:
        _note_failure(pk, lease, str(error))
    finally:
        AuditStream.objects.filter(pk=pk, lease=lease).unrecorded_update(lease=None, lease_until=None)
    return sent


def _take(pk: int, lease: uuid.UUID, seconds: float) -> bool:
    now = timezone.now()
    free = AuditStream.objects.filter(
        Q(lease_until__isnull=True) | Q(lease_until__lt=now), pk=pk, is_enabled=True
    )
    return bool(free.unrecorded_update(lease=lease, lease_until=now + timedelta(seconds=seconds)))


def _send_next(stream: AuditStream, lease: uuid.UUID, seconds: float) -> int:
    """Send one batch; gives its size, 0 where nothing is left or the lease was lost."""
    seal = AuditSeal.objects.order_by("-number").values_list("number", "hash", "up_to").first()
    if seal is None:
        return 0
    number, seal_hash, up_to = seal
    with connection.cursor() as cursor:
        cursor.execute(NEXT, [stream.sent_to, up_to, BATCH])
        rows = cursor.fetchall()
    if not rows:
        return 0
    send(stream, [line_of(row) for row in rows], f"{number}:{seal_hash}")
    now = timezone.now()
    mine = AuditStream.objects.filter(pk=stream.pk, lease=lease, sent_to=stream.sent_to)
    moved = mine.unrecorded_update(
        sent_to=id_of(rows[-1]), sent_at=now, failures=0, last_error="", next_try_at=None,
        lease_until=now + timedelta(seconds=seconds),
    )  # fmt: skip
    return len(rows) if moved else 0


def _note_failure(pk: int, lease: uuid.UUID, why: str) -> None:
    """Wait twice as long as the last time, up to LONGEST_PAUSE seconds."""
    stream = AuditStream.objects.filter(pk=pk, lease=lease).first()
    if stream is None:
        return
    pause = min(2.0 ** min(stream.failures, 20), LONGEST_PAUSE)
    AuditStream.objects.filter(pk=pk, lease=lease).unrecorded_update(
        failures=stream.failures + 1,
        last_error=why[:500],
        next_try_at=timezone.now() + timedelta(seconds=pause),
    )
    logger.warning("the audit stream %s waits %.0f s: %s", stream.name, pause, why)
