"""When each instance is looked at next: any number of probers share the table of probes, and none waits for another.

1. `add_missing` gives each instance that is not simulated its row; a removed instance takes its row along.
2. `claim` takes rows that are due, for LEASE seconds. A prober that dies loses them after that.
3. `release` puts the next look off, for longer after each failure in a row. Only who still holds the claim does.
4. `wake` makes instances due now: their health turned. `wake_operated`: an operation is under way on them.
"""

import random
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

from django.conf import settings
from django.db import connection, transaction
from django.db.models.functions import Now

from apps.operations.choices import State
from apps.operations.models import Operation

from .choices import ProviderName
from .models import Probe

#: Rows that a prober holds at once: 8 watchers are through with 50 that all hang in 13 s, within the lease.
BATCH = 50
#: Seconds after which a prober that gave no sign has lost what it held.
LEASE = 20.0
#: What is due within so many seconds is taken now: else it would wait for the next tick.
SOON = 0.5
#: The longest pause of what does not answer, in seconds (a large fleet's own pause may be longer).
LONGEST = 30.0
#: Looks a second at which the whole fleet is aimed, however large it is.
RATE = 200
#: A pause is longer or shorter by up to a tenth, so that looks spread.
JITTER = (0.9, 1.1)

ADD = """
INSERT INTO fleet_probe (instance_id, due_at, failures)
SELECT i.id, clock_timestamp() + random() * greatest(0, count(*) OVER () / %s::float - %s) * interval '1 second', 0
FROM fleet_instance i JOIN fleet_cell c ON c.id = i.cell_id
WHERE c.provider <> %s AND NOT EXISTS (SELECT FROM fleet_probe p WHERE p.instance_id = i.id)
ON CONFLICT DO NOTHING
"""

# The rows are found once, and then written: a subquery might be run again for each row, and take more than the limit.
CLAIM = """
WITH due AS MATERIALIZED (
    SELECT instance_id FROM fleet_probe
    WHERE due_at <= clock_timestamp() + %s * interval '1 second'
      AND (claimed_until IS NULL OR claimed_until < clock_timestamp())
    ORDER BY due_at FOR UPDATE SKIP LOCKED LIMIT %s)
UPDATE fleet_probe p SET claim = %s, claimed_until = clock_timestamp() + %s * interval '1 second'
FROM due WHERE p.instance_id = due.instance_id
RETURNING p.instance_id, p.due_at, p.failures
"""

# Who was woken while it was held is due within a tick, whatever its failures say.
RELEASE = """
WITH held AS (
    SELECT instance_id FROM fleet_probe WHERE instance_id = ANY(%(ids)s) AND claim = %(claim)s
    ORDER BY instance_id FOR UPDATE)
UPDATE fleet_probe p SET claim = NULL, claimed_until = NULL, failures = v.failures,
    due_at = clock_timestamp() + interval '1 second'
             * CASE WHEN p.due_at <> v.due_at THEN least(%(every)s, v.pause) ELSE v.pause END
FROM held, unnest(%(ids)s::bigint[], %(due)s::timestamptz[], %(failures)s::int[], %(pauses)s::float[])
     AS v(id, due_at, failures, pause)
WHERE p.instance_id = held.instance_id AND v.id = p.instance_id
"""

WAKE = """
UPDATE fleet_probe SET due_at = clock_timestamp() WHERE instance_id IN (
    SELECT instance_id FROM fleet_probe WHERE instance_id = ANY(%s) ORDER BY instance_id FOR UPDATE)
"""


@dataclass(frozen=True, slots=True)
class Held:
    """A row of a claim, as it was when it was taken."""

    instance_id: int
    due_at: datetime
    failures: int


@dataclass(frozen=True, slots=True)
class Claim:
    """What one prober holds."""

    token: UUID
    rows: tuple[Held, ...]

    @property
    def is_full(self) -> bool:
        """Whether more may be due."""
        return len(self.rows) == BATCH


def every() -> float:
    """Seconds between two looks at an instance of a small fleet, and between two ticks."""
    return float(settings.OPERATIONS_PROBE_SECONDS)


def base_pause() -> float:
    """Seconds between two looks at an instance that serves: a fleet past 400 is looked at RATE times a second."""
    return max(every(), Probe.objects.count() / RATE)


def pause(failures: int, base: float) -> float:
    """Seconds until the next look, after so many failures in a row: doubled from the second on, to LONGEST."""
    longer = base * 2.0 ** min(max(failures - 1, 0), 16)
    return min(longer, max(LONGEST, base)) * random.uniform(*JITTER)  # noqa: S311 - it guards nothing


def add_missing() -> int:
    """Give instances that have none their row, many at once spread over a round; gives how many. One statement."""
    with connection.cursor() as cursor:
        cursor.execute(ADD, [RATE, every(), ProviderName.SIMULATED])
        return int(cursor.rowcount)


def claim() -> Claim:
    """Hold up to BATCH rows that are due, the longest due first; nobody else gets them for LEASE seconds."""
    token = uuid4()
    with connection.cursor() as cursor:
        cursor.execute(CLAIM, [min(SOON, every() / 4), BATCH, token, LEASE])
        return Claim(token, tuple(Held(*row) for row in cursor.fetchall()))


def release(held: Claim, *, failed: Collection[int], base: float) -> int:
    """Let go, and say when each is due again; gives how many were still held. What another took is left alone."""
    if not held.rows:
        return 0
    counts = [row.failures + 1 if row.instance_id in failed else 0 for row in held.rows]
    with connection.cursor() as cursor:
        cursor.execute(
            RELEASE,
            {
                "claim": held.token,
                "ids": [row.instance_id for row in held.rows],
                "due": [row.due_at for row in held.rows],
                "failures": counts,
                "pauses": [pause(count, base) for count in counts],
                "every": every(),
            },
        )
        return int(cursor.rowcount)


def wake(ids: Iterable[int]) -> None:
    """Have these looked at now; of what is held at this moment, within a tick."""
    with connection.cursor() as cursor:
        cursor.execute(WAKE, [sorted(ids)])


def wake_operated() -> int:
    """Have instances looked at now on which an operation is under way; gives how many. One statement."""
    under_way = Operation.objects.filter(
        target_type="instance", state__in=(State.PENDING, State.RUNNING), started_at__isnull=False
    )
    # What another has in hand is left to the next tick, so that none waits in a circle.
    free = Probe.objects.select_for_update(skip_locked=True).filter(
        instance_id__in=under_way.values("target_id"), due_at__gt=Now(), claim__isnull=True
    )
    with transaction.atomic():
        return Probe.objects.filter(pk__in=free.values("pk")).update(due_at=Now())
