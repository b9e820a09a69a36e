"""What single instances cost: bill lines whose resource is an instance's name, added up once for each statement."""

from collections.abc import Iterable
from datetime import date, timedelta

from django.db import transaction
from django.utils import timezone

from apps.fleet.models import Instance

from . import allocating, classifying
from .duck import connected
from .models import Bill, InstanceCost, InstanceDay, Statement

#: Days of instances that are kept.
KEPT_DAYS = 90
LINES = f"""
SELECT provider, billing_account, currency, CAST(period_start AS DATE) AS period, i.id, sum(billed), count(*)
FROM (SELECT *, {classifying.RESOURCE} AS resource_key FROM lines) l LEFT JOIN instance_names i ON i.name = l.resource_key
GROUP BY ALL
"""


def count_instances() -> int:
    """Count what was not counted yet; gives the statements done."""
    waiting = Statement.objects.filter(is_current=True).exclude(
        pk__in=InstanceCost.objects.filter(instance__isnull=True).values("statement")
    )
    bills = Bill.objects.filter(pk__in=waiting.order_by().values("bill"))
    return sum(_count(bill, list(waiting.filter(bill=bill))) for bill in bills.order_by("pk"))


def _count(bill: Bill, statements: Iterable[Statement]) -> int:
    by_key = {(s.provider, s.billing_account, s.currency, s.period_start): s for s in statements}
    with connected() as duck:
        allocating.open_lines(duck, bill)
        names = ((name.lower(), pk) for name, pk in Instance.objects.order_by().values_list("name", "pk"))
        classifying.fill(duck, "instance_names", "name VARCHAR, id BIGINT", names)
        found = duck.execute(LINES).fetchall()
    rows: dict[tuple[int, int | None], InstanceCost] = {
        (s.pk, None): InstanceCost(statement=s, billed=0, lines=0) for s in by_key.values()
    }
    for *key, instance, billed, lines in found:
        if (statement := by_key.get(tuple(key))) is not None:
            rows[statement.pk, instance] = InstanceCost(
                statement=statement, instance_id=instance, billed=billed, lines=lines
            )
    with transaction.atomic():
        InstanceCost.objects.bulk_create(rows.values(), ignore_conflicts=True, batch_size=5_000)
    return len(by_key)


def forget_days(today: date | None = None) -> int:
    """Drop days of instances that no page looks at any more; gives how many."""
    before = (today or timezone.now().date()) - timedelta(days=KEPT_DAYS)
    return InstanceDay.objects.filter(day__lt=before).delete()[0]
