"""Why a tenant costs more than it earns: what drives it, said in figures that are on other pages too."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from django.db.models import Aggregate, Case, DecimalField, F, OuterRef, Q, Subquery, Sum, Value, When
from django.db.models.functions import NullIf

from apps.access.choices import Permission
from apps.access.scoping import visible

from ..choices import SHARING, Driver
from ..models import Discount, MonthlyCost, MonthlyUsage
from ..pricing import ZERO, months_back
from .figures import month_end
from .margins import Margin

#: From so many times on, growth since the months before and usage over the usual tenant's are worth telling.
GREW, UNUSUAL = Decimal("1.5"), 3


class Median(Aggregate):
    """PostgreSQL's percentile_cont(0.5)."""

    function = "percentile_cont"
    template = "%(function)s(0.5) WITHIN GROUP (ORDER BY %(expressions)s)"
    output_field = DecimalField(max_digits=30, decimal_places=6)


@dataclass(slots=True)
class Seen:
    """What is known of one tenant."""

    services: dict[str, Decimal] = field(default_factory=dict)
    shared: Decimal = ZERO
    before: Decimal = ZERO
    discount: Decimal = ZERO
    usage: dict[str, Decimal] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reason:
    """A tenant that loses money: in one word what drives it, and all that is known of why."""

    row: Margin
    cause: str
    why: str


def reasons(user: Any, months: Sequence[date], losing: Sequence[Margin]) -> list[Reason]:
    """Each of them with what drives it. Two queries."""
    if not losing:
        return []
    ids = [row.tenant_id for row in losing]
    seen: dict[int, Seen] = {pk: Seen() for pk in ids}
    _read_costs(months, ids, seen)
    _read_usage(user, months, ids, seen)
    return [_reason(row, seen[row.tenant_id]) for row in losing]


def _read_costs(months: Sequence[date], ids: Sequence[int], seen: Mapping[int, Seen]) -> None:
    """These months and as many before them, by service and by whether it is a share of a pool; and the discount."""
    first = months_back(min(months), len(months) + 1)[0]
    last = max(months)
    in_force = Discount.objects.filter(tenant=OuterRef("tenant"), starts_on__lte=last).filter(
        Q(ends_on__isnull=True) | Q(ends_on__gte=last)
    )
    rows = MonthlyCost.objects.filter(
        run__is_current=True, tenant_id__in=ids, run__statement__period_start__gte=first,
        run__statement__period_start__lt=month_end(last),
    ).order_by()  # fmt: skip
    rows = rows.annotate(discount=Subquery(in_force.order_by("-starts_on").values("percent")[:1]))
    columns = ("tenant_id", "service", "rule__kind", "run__statement__period_start", "discount")
    for tenant, service, kind, period, discount, amount in rows.values_list(*columns).annotate(
        total=Sum("billed")
    ):
        one = seen[tenant]
        one.discount = discount or ZERO
        if period < min(months):
            one.before += amount
            continue
        one.services[service] = one.services.get(service, ZERO) + amount
        if kind in SHARING:
            one.shared += amount


def _read_usage(user: Any, months: Sequence[date], ids: Sequence[int], seen: Mapping[int, Seen]) -> None:
    """How many times the usual tenant's (the median of who has the meter) each of their meters stands at."""
    told = visible(user, MonthlyUsage.objects.filter(month__in=months), Permission.SEE_COST).order_by()
    usual = {
        driver: Subquery(
            told.filter(driver=driver).values("driver").annotate(mid=Median("amount")).values("mid")
        )
        for driver in Driver.values
    }
    # Named once, and not in a condition too, for each name is another reading of all that was used.
    middle = Case(*(When(driver=driver, then=mid) for driver, mid in usual.items()))
    rows = told.filter(tenant_id__in=ids, amount__gt=0).values_list("tenant_id", "driver")
    for tenant, driver, times in rows.annotate(times=Sum(F("amount") / NullIf(middle, Value(Decimal(0))))):
        if times is not None:
            seen[tenant].usage[driver] = times / len(months)


def _reason(row: Margin, seen: Seen) -> Reason:
    """The first of these that by itself explains the loss is its cause: no price, the discount, growth, usage; else the price."""
    found: list[tuple[str, str]] = []
    if not row.revenue:
        found.append(("No revenue", "it pays nothing"))
    if seen.discount and row.revenue:
        whole = row.revenue * 100 / (100 - seen.discount) if seen.discount < 100 else ZERO
        word = f"its discount is {seen.discount.normalize():f} %"
        found.append(
            ("Discount", f"{word}, without it it would not lose") if whole >= row.cost else ("", word)
        )
    total = sum(seen.services.values(), ZERO)
    if seen.before > 0 and total / seen.before >= GREW:
        found.append(("Growth", f"its cost is {total / seen.before:.1f} times that of before"))
    if seen.usage:
        driver, times = max(seen.usage.items(), key=lambda pair: pair[1])
        if times >= UNUSUAL:
            label = str(Driver(driver).label).lower()
            found.append(("Usage", f"its {label} are {times:.1f} times the usual tenant's"))
    if total > 0:
        service, amount = max(seen.services.items(), key=lambda pair: pair[1])
        found.append(("", f"{service} is {amount / total:.0%} of its cost"))
        if seen.shared > 0:
            found.append(("", f"{seen.shared / total:.0%} is shared cost"))
    if row.revenue:
        found.append(("Price", f"its cost is {row.cost / row.revenue:.1f} times its price"))
    cause = next((word for word, _ in found if word), "")
    return Reason(row, cause, "; ".join(words for _, words in found))
