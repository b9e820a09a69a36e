"""Usage that other systems counted, brought as a CSV: `day,tenant,meter,amount`; and its sums by month."""

from collections.abc import Iterable
from datetime import date
from decimal import Decimal

from django.db import transaction
from django.db.models import Avg, Exists, OuterRef, Sum

from apps.access.models import User
from apps.core.context import acting
from apps.core.events import event, record
from apps.tenants.models import Tenant

from . import keeping, tabular
from .choices import HELD, Driver
from .models import MonthlyUsage, Usage
from .pricing import next_month

COLUMNS = ("day", "tenant", "meter", "amount")


def import_usage(data: bytes, name: str, *, actor: User) -> int:
    """Take in a table of usage; a day that is there already is replaced. All of it or, with Unreadable raised, nothing."""
    tenants = dict(Tenant.objects.values_list("key", "pk"))
    problems: list[str] = []
    found: dict[tuple[date, str, int], Decimal] = {}
    for line, row in tabular.read_csv(data, COLUMNS):
        try:
            key, amount = _read(row, tenants)
            if key in found:
                raise ValueError("the same day, tenant and meter came before")
            found[key] = amount
        except ValueError as error:
            problems.append(f"Line {line}: {error}.")
    if problems:
        raise tabular.Unreadable(problems)
    with transaction.atomic(), acting(actor, reason="usage imported"):
        Usage.objects.bulk_create(
            [Usage(day=day, driver=meter, tenant_id=tenant, amount=amount) for (day, meter, tenant), amount in found.items()],
            update_conflicts=True, unique_fields=["day", "driver", "tenant"], update_fields=["amount"], batch_size=5_000,
        )  # fmt: skip
        add_up({day.replace(day=1) for day, _, _ in found})
        record([event("usage.imported", f"Usage was imported from {name[:100]}: {len(found):,} lines")])
        transaction.on_commit(keeping.nudge)
    return len(found)


def _read(row: dict[str, str], tenants: dict[str, int]) -> tuple[tuple[date, str, int], Decimal]:
    if row["meter"] not in Driver.values:
        raise ValueError(f"“{row['meter'][:40]}” is no meter; there are {', '.join(Driver.values)}")
    if row["tenant"] not in tenants:
        raise ValueError(f"there is no tenant “{row['tenant'][:63]}”")
    amount = tabular.number(row["amount"], places=6)
    if amount < 0:
        raise ValueError("usage below nothing")
    return (tabular.day(row["day"]), row["meter"], tenants[row["tenant"]]), amount


def add_up(months: Iterable[date]) -> None:
    """Make the monthly sums of these months anew, in the caller's transaction: of what is held, the mean of its days."""
    for month in months:
        rows = Usage.objects.filter(day__gte=month, day__lt=next_month(month)).order_by()
        sums = rows.values_list("driver", "tenant").annotate(Sum("amount"), Avg("amount"))
        MonthlyUsage.objects.bulk_create(
            [
                MonthlyUsage(month=month, driver=driver, tenant_id=tenant, amount=mean if driver in HELD else total)
                for driver, tenant, total, mean in sums
            ],
            update_conflicts=True, unique_fields=["month", "driver", "tenant"], update_fields=["amount"], batch_size=5_000,
        )  # fmt: skip


def mend(days: Iterable[date]) -> None:
    """Put the sums of these days' months right after days were changed or taken out by hand; a sum of no day goes."""
    months = {day.replace(day=1) for day in days}
    for month in months:
        its_days = Usage.objects.filter(
            day__gte=month, day__lt=next_month(month), driver=OuterRef("driver"), tenant=OuterRef("tenant")
        )
        MonthlyUsage.objects.filter(~Exists(its_days), month=month).delete()
    add_up(months)
