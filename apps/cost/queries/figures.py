"""Sums of what counts: by month, by two dimensions, by day. Never two currencies in one sum."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Q, QuerySet, Sum
from django.db.models.functions import Coalesce, TruncMonth

from apps.access.choices import Permission
from apps.access.scoping import scopes_of, visible

from ..models import DailyCost, DayCost, MonthlyCost, Statement

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
#: Neither a tenant nor a rule.
UNALLOCATED = Q(rule__isnull=True)
Rows = QuerySet[Any]


def sees_all(user: Any) -> bool:
    """Whether the reader's numbers are the company's."""
    return scopes_of(user, Permission.SEE_COST).everything


def costs(user: Any, *names: str, **where: Any) -> Rows:
    """What counts, of what the reader may see the cost of, from the shortest table that can answer.

    `names` are the dimensions asked for, `where` conditions on facts. Over tenants where none is named (and the
    reader's scopes name none), over days where no day is named.
    """
    return visible(
        user,
        _facts(user, names, where)._default_manager.filter(run__is_current=True, **where),
        Permission.SEE_COST,
    ).order_by()


def _facts(user: Any, names: Collection[str], where: Collection[str]) -> Any:
    of_tenant = "tenant" in names or any(one.startswith("tenant") for one in where)
    if not of_tenant and not scopes_of(user, Permission.SEE_COST).tenants:
        return DayCost
    return DailyCost if "day" in names or any(one.startswith("day") for one in where) else MonthlyCost


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


def in_month(rows: Rows, month: date) -> Rows:
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
    rows = in_month(costs(user), month)
    given = Q(to_tenants=True) if rows.model is DayCost else Q(tenant__isnull=False)
    rows = rows.values("currency").annotate(
        sum_billed=_sum("billed"), sum_effective=_sum("effective"), sum_listed=_sum("listed"),
        allocated=_sum("billed", given), overhead=_sum("billed", ~given & ~UNALLOCATED),
        unallocated=_sum("billed", UNALLOCATED),
    )  # fmt: skip
    found = [
        CurrencySum(
            row["currency"], row["sum_billed"], row["sum_effective"], row["sum_listed"], row["allocated"], row["overhead"],
            row["unallocated"],
        )
        for row in rows
    ]  # fmt: skip
    return sorted(found, key=lambda one: (-one.billed, one.currency))


def totals(rows: Rows, measure: str) -> list[tuple[str, Decimal]]:
    """What rows of facts come to, by currency."""
    return list(rows.order_by().values_list("currency").annotate(total=Sum(measure)).order_by("-total"))


def trend(user: Any, currency: str, **where: Any) -> list[tuple[date, Decimal]]:
    """What each month came to in one currency, oldest first."""
    rows = (
        costs(user, **where)
        .filter(currency=currency)
        .annotate(month=TruncMonth("run__statement__period_start"))
    )
    return list(rows.values_list("month").annotate(total=Sum("billed")).order_by("month"))


def daily(user: Any, month: date, currency: str, **where: Any) -> list[tuple[date, Decimal]]:
    """What each day of a month's bills came to."""
    rows = in_month(costs(user, "day", **where), month).filter(currency=currency)
    return list(rows.values_list("day").annotate(total=Sum("billed")).order_by("day"))


def by_day(user: Any, first: date, end: date) -> list[tuple[str, date, Decimal]]:
    """What each day came to from `first` to before `end`, by currency."""
    rows = costs(user, "day", day__gte=first, day__lt=end)
    return list(rows.values_list("currency", "day").annotate(total=Sum("billed")).order_by("currency", "day"))


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
    rows = in_month(costs(user, *dimensions, **(where or {})), month)
    return rows.values(*columns, "currency").annotate(amount=Sum(measure)).order_by("-amount", *columns)


def chart(points: list[tuple[date, Decimal]], label: str, currency: str) -> dict[str, Any]:
    """A series for the chart component; days as seconds since 1970, money as what a screen can show."""
    epoch = date(1970, 1, 1)
    drawn = [[(day - epoch) // timedelta(seconds=1), float(amount)] for day, amount in points]
    return {"series": [{"label": label, "unit": currency, "points": drawn}], "marks": []}
