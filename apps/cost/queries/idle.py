"""Instances that do little for what they cost: idle ones and oversized ones, by what was measured and billed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from statistics import median
from typing import Any

from django.db.models import Max, Sum

from apps.access.choices import Permission
from apps.access.scoping import visible
from apps.fleet.models import Instance

from ..models import InstanceCost, InstanceDay
from ..pricing import ZERO
from .figures import month_end
from .revenue import Rates

#: The thresholds, as the page tells them: days looked at, hours that must have been measured, requests a minute and
#: share of a core below which an instance is idle, share of a core and times the usual cost of a CPU hour of an oversized one.
DAYS, HOURS = 14, 24
IDLE_REQUESTS, IDLE_CORE = 1.0, 0.01
OVERSIZED_CORE, OVERSIZED_TIMES = 0.05, 5


@dataclass(frozen=True, slots=True)
class Seen:
    """What an instance did while it was measured in the last days, and what the month's bill lines that name it come to."""

    instance_id: int
    name: str
    kind: str
    cell: str
    account: str
    hours: float
    requests: float
    cpu: float
    memory: float
    cost: Decimal | None
    verdict: str = ""

    @property
    def a_minute(self) -> float:
        """Requests a minute."""
        return self.requests / (self.hours * 60)

    @property
    def cores(self) -> float:
        """Cores used, on the mean."""
        return self.cpu / (self.hours * 3600)

    @property
    def of_cpu_hour(self) -> float | None:
        """What an hour of CPU came to."""
        return float(self.cost) / (self.cpu / 3600) if self.cost and self.cpu > 0 else None


@dataclass(frozen=True, slots=True)
class Idle:
    """Those that stand out, the costliest first; what all were judged by."""

    rows: Sequence[Seen]
    measured: int
    unmeasured: int
    usual: float | None
    since: date | None
    missing: Sequence[str]

    def of(self, verdict: str) -> tuple[int, Decimal]:
        """How many, and what they cost together as far as it is known."""
        some = [row for row in self.rows if row.verdict == verdict]
        return len(some), sum((row.cost or ZERO for row in some), ZERO)


def idle(user: Any, month: date, rates: Rates) -> Idle:
    """Instances whose cost the reader may see that are idle or oversized. Four queries."""
    days = visible(user, InstanceDay, Permission.SEE_COST)
    last = days.aggregate(last=Max("day"))["last"]
    missing: set[str] = set()
    costs = instance_costs(user, month, rates, missing)
    if last is None:
        return Idle([], 0, _served(user), None, None, sorted(missing))
    since = last - timedelta(days=DAYS - 1)
    columns = (
        "instance_id", "instance__name", "instance__kind", "instance__cell__name", "instance__cell__region__account__name",
    )  # fmt: skip
    told = days.filter(day__gte=since).order_by().values_list(*columns).annotate(
        hours=Sum("seconds") / 3600, all_requests=Sum("requests"), all_cpu=Sum("cpu"), most=Max("memory")
    )  # fmt: skip
    seen = [
        Seen(pk, name, kind, cell, account, hours, requests, cpu, memory, costs.get(pk))
        for pk, name, kind, cell, account, hours, requests, cpu, memory in told
        if hours and hours >= HOURS
    ]
    usual = _usual(seen)
    found = [replace(row, verdict=verdict) for row in seen if (verdict := judge(row, usual))]
    found.sort(key=lambda row: (-(row.cost or ZERO), row.name))
    return Idle(found, len(seen), max(0, _served(user) - len(seen)), usual, since, sorted(missing))


def _served(user: Any) -> int:
    """Instances that are to run, as far as the reader sees what they cost."""
    return visible(user, Instance.objects.filter(wanted="running"), Permission.SEE_COST).count()


def instance_costs(user: Any, month: date, rates: Rates, missing: set[str]) -> dict[int, Decimal]:
    """What the month's bill lines that name an instance come to, in the currency of the rates. One query."""
    rows = visible(user, InstanceCost, Permission.SEE_COST).filter(
        instance__isnull=False, statement__is_current=True, statement__period_start__gte=month,
        statement__period_start__lt=month_end(month),
    ).order_by()  # fmt: skip
    found: dict[int, Decimal] = {}
    told = rows.values_list("instance_id", "statement__currency").annotate(total=Sum("billed"))
    for pk, currency, amount in told:
        if (rate := rates[month].get(currency)) is None:
            missing.add(currency)
        else:
            found[pk] = found.get(pk, ZERO) + amount * rate
    return found


def _usual(seen: Sequence[Seen]) -> float | None:
    told = [row.of_cpu_hour for row in seen if row.of_cpu_hour is not None]
    return median(told) if told else None


def judge(row: Seen, usual: float | None) -> str:
    """`Idle`, `Oversized` or nothing. Of what size an instance is the portal knows nothing: only what it does and costs."""
    if row.a_minute < IDLE_REQUESTS and row.cores < IDLE_CORE:
        return "Idle"
    dear = row.of_cpu_hour is not None and usual is not None and row.of_cpu_hour > OVERSIZED_TIMES * usual
    return "Oversized" if row.cores < OVERSIZED_CORE and dear else ""
