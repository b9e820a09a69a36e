"""Sums of what counts: by month, by two dimensions, by day. Never two currencies in one sum."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Q, QuerySet, Sum
from django.db.models.functions import Coalesce, TruncMonth

from apps.access.choices import Permission
from apps.access.scoping import scopes_of, visible

from ..models import DailyCost, Statement

MEASURES = {"billed": "Billed", "effective": "Effective", "listed": "At list price"}
#: By the name in the address: the word, and the columns that name and label a value.
DIMENSIONS: dict[str, tuple[str, str, str]] = {
    "tenant": ("Tenant", "tenant_id", "tenant__name"),
    "service": ("Service", "service", "service"),
    "account": ("Account", "account_id", "account__name"),
    "sub_account": ("Sub-account", "sub_account_id", "sub_account__name"),
    "rule": ("Rule", "rule_id", "rule__kind"),
    "day": ("Day", "day", "day"),
}
NOTHING = {"tenant": "no tenant", "account": "in no account", "rule": "unallocated", "sub_account": "unnamed"}
ALLOCATED, OVERHEAD = Q(tenant__isnull=False), Q(tenant__isnull=True, rule__isnull=False)
UNALLOCATED = Q(tenant__isnull=True, rule__isnull=True)


def sees_all(user: Any) -> bool:
    """Whether the reader's numbers are the company's."""
    return scopes_of(user, Permission.SEE_COST).everything


def costs(user: Any) -> QuerySet[DailyCost]:
    """What counts, of what the reader may see the cost of."""
    return visible(user, DailyCost.objects.filter(run__is_current=True), Permission.SEE_COST).order_by()


def months() -> list[date]:
    """The months for which bills are there, newest first."""
    found = (
        Statement.objects.filter(is_current=True)
        .annotate(month=TruncMonth("period_start"))
        .order_by("-month")
    )
    return list(found.values_list("month", flat=True).distinct())


def month_end(month: date) -> date:
    """The first day of the month after."""
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def in_month(rows: QuerySet[DailyCost], month: date) -> QuerySet[DailyCost]:
    """The costs of the bills of a month, whichever day their lines name."""
    return rows.filter(
        run__statement__period_start__gte=month, run__statement__period_start__lt=month_end(month)
    )


@dataclass(frozen=True, slots=True)
class CurrencySum:
    """What one month came to in one currency."""

    currency: str
    billed: Decimal
    effective: Decimal
    listed: Decimal
    allocated: Decimal
    overhead: Decimal
    unallocated: Decimal

    @property
    def open_share(self) -> Decimal:
        """How much of what was billed no rule took, as a share of one."""
        return self.unallocated / self.billed if self.billed else Decimal(0)


def _sum(measure: str, where: Q | None = None) -> Coalesce:
    return Coalesce(Sum(measure, filter=where), Decimal(0))


def summary(user: Any, month: date) -> list[CurrencySum]:
    """The month in each currency, the largest first. One query."""
    rows = in_month(costs(user), month).values("currency").annotate(
        sum_billed=_sum("billed"), sum_effective=_sum("effective"), sum_listed=_sum("listed"),
        allocated=_sum("billed", ALLOCATED), overhead=_sum("billed", OVERHEAD), unallocated=_sum("billed", UNALLOCATED),
    )  # fmt: skip
    found = [
        CurrencySum(
            row["currency"], row["sum_billed"], row["sum_effective"], row["sum_listed"], row["allocated"], row["overhead"],
            row["unallocated"],
        )
        for row in rows
    ]  # fmt: skip
    return sorted(found, key=lambda one: (-one.billed, one.currency))


def totals(rows: QuerySet[DailyCost], measure: str) -> list[tuple[str, Decimal]]:
    """What rows of facts come to, by currency."""
    return list(rows.order_by().values_list("currency").annotate(total=Sum(measure)).order_by("-total"))


def trend(user: Any, currency: str, **where: Any) -> list[tuple[date, Decimal]]:
    """What each month came to in one currency, oldest first."""
    rows = (
        costs(user)
        .filter(currency=currency, **where)
        .annotate(month=TruncMonth("run__statement__period_start"))
    )
    return list(rows.values_list("month").annotate(total=Sum("billed")).order_by("month"))


def daily(user: Any, month: date, currency: str, **where: Any) -> list[tuple[date, Decimal]]:
    """What each day of a month's bills came to."""
    rows = in_month(costs(user), month).filter(currency=currency, **where)
    return list(rows.values_list("day").annotate(total=Sum("billed")).order_by("day"))


def breakdown(
    user: Any,
    month: date,
    dimensions: tuple[str, ...],
    *,
    measure: str = "billed",
    where: Mapping[str, Any] | None = None,
) -> Any:
    """Sums by dimensions and currency, the largest first: each row has the columns of its dimensions, `amount`, `lines`."""
    columns = dict.fromkeys(column for name in dimensions for column in DIMENSIONS[name][1:])
    rows = in_month(costs(user), month).filter(**(where or {}))
    return rows.values(*columns, "currency").annotate(amount=Sum(measure)).order_by("-amount", *columns)


def chart(points: list[tuple[date, Decimal]], label: str, currency: str) -> dict[str, Any]:
    """A series for the chart component; days as seconds since 1970, money as what a screen can show."""
    epoch = date(1970, 1, 1)
    drawn = [[(day - epoch) // timedelta(seconds=1), float(amount)] for day, amount in points]
    return {"series": [{"label": label, "unit": currency, "points": drawn}], "marks": []}
