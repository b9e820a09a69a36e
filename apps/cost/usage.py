"""Usage by tenant and day, counted from what the fleet measured: what shared cost is shared by."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

from django.db import transaction
from django.utils import timezone

from apps.fleet.models import Measurement, Placement

from . import metering
from .choices import Driver
from .models import InstanceDay, Usage

PLACES = Decimal("0.000001")


def count_usage(day: date | None = None) -> int:
    """Count requests and CPU seconds of a day (none given: today and yesterday, UTC); gives the rows written.

    An instance's counters are added up over its starts. What a shared instance did is its tenants' in equal parts:
    the fleet measures instances, not tenants. Counting a day again replaces its rows.
    """
    today = timezone.now().date()
    return sum(_count(one) for one in ([day] if day else [today - timedelta(days=1), today]))


def _count(day: date) -> int:
    amounts: dict[tuple[int, str], Decimal] = defaultdict(Decimal)
    tenants: dict[int, list[int]] = defaultdict(list)
    for instance, tenant in Placement.objects.order_by("pk").values_list("instance_id", "tenant_id"):
        tenants[instance].append(tenant)
    seen = list(_by_instance(day))
    for instance, _, requests, cpu, _ in seen:
        for tenant in tenants[instance]:
            for driver, amount in ((Driver.REQUESTS, requests), (Driver.CPU, cpu)):
                part = Decimal(str(amount)) / len(tenants[instance])
                amounts[tenant, driver] += part.quantize(PLACES)
    with transaction.atomic():
        InstanceDay.objects.bulk_create(
            [InstanceDay(day=day, instance_id=pk, seconds=seconds, requests=requests, cpu=cpu, memory=memory) for pk, seconds, requests, cpu, memory in seen],
            update_conflicts=True, unique_fields=["day", "instance"], update_fields=["seconds", "requests", "cpu", "memory"],
        )  # fmt: skip
        Usage.objects.bulk_create(
            [Usage(day=day, driver=driver, tenant_id=tenant, amount=amount) for (tenant, driver), amount in amounts.items() if amount],
            update_conflicts=True, unique_fields=["day", "driver", "tenant"], update_fields=["amount"],
        )  # fmt: skip
        metering.add_up({day.replace(day=1)})
    return len(amounts)


def _by_instance(day: date) -> Iterator[tuple[int, float, float, float, float]]:
    """Of each instance that was measured: seconds between first and last, requests, CPU seconds, the most bytes."""
    # A range, not the date of each row: so the other days' partitions are not read.
    since = datetime.combine(day, time.min, tzinfo=UTC)
    rows = (
        Measurement.objects.filter(at__gte=since, at__lt=since + timedelta(days=1))
        .order_by("instance_id", "at")
        .values_list("instance_id", "at", "requests", "cpu", "memory")
    )
    found: dict[int, list[tuple[datetime, float, float, float]]] = defaultdict(list)
    for instance, at, requests, cpu, memory in rows.iterator(chunk_size=5_000):
        found[instance].append((at, requests, cpu, memory))
    for instance, told in found.items():
        seconds = (told[-1][0] - told[0][0]).total_seconds()
        yield (
            instance,
            seconds,
            grown(r for _, r, _, _ in told),
            grown(c for _, _, c, _ in told),
            max(m for *_, m in told),
        )


def grown(counter: Iterable[float]) -> float:
    """How much a counter grew; where it fell it began again from nothing."""
    total, before = 0.0, None
    for value in counter:
        if before is not None:
            total += value - before if value >= before else value
        before = value
    return total
