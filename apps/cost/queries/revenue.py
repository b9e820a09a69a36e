"""What tenants are expected to pay, by the price book; and what invoices say they were charged."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Q, Sum

from apps.access.choices import Permission
from apps.access.scoping import visible
from apps.tenants.models import Subscription

from ..models import Commitment, Discount, MonthlyUsage, Price, Rate, Revenue
from ..pricing import CENT, ZERO, Tiers, charge, next_month, tiers_of

Rates = Mapping[date, Mapping[str, Decimal]]


def rates_by_month(currency: str, months: Sequence[date]) -> Rates:
    """What one unit of each currency was worth at each month's end: the last rate dated on or before its last day. One query."""
    last = next_month(max(months)) - timedelta(days=1)
    rows = Rate.objects.filter(day__lte=last).filter(Q(into=currency) | Q(currency=currency)).order_by("day")
    dated = list(rows.values_list("day", "currency", "into", "rate"))
    made: dict[date, dict[str, Decimal]] = {}
    for month in months:
        end, found = next_month(month), {currency: Decimal(1)}
        for day, its, into, rate in dated:
            if day < end:
                found.update({its: rate} if into == currency else {into: 1 / rate})
        made[month] = found
    return made


@dataclass(frozen=True, slots=True)
class Tried:
    """Prices to try in place of those that count: monthly ones by plan, tiers by plan and meter, a factor on what is metered."""

    prices: Mapping[int, Decimal] = field(default_factory=dict)
    tiers: Mapping[tuple[int, str], Tiers] = field(default_factory=dict)
    factor: Decimal = Decimal(1)


@dataclass(slots=True)
class Book:
    """All that a reader's tenants are charged by, for some months; read once, reckoned with as often as wanted."""

    currency: str
    months: Sequence[date]
    rates: Rates
    subscriptions: list[Any]
    usage: Mapping[tuple[int, date], list[tuple[str, Decimal]]]
    prices: Mapping[tuple[int, str], list[tuple[date, date | None, str, Tiers]]]
    discounts: Mapping[int, list[tuple[date, date | None, Decimal]]]
    commitments: Mapping[int, list[tuple[date, date | None, str, Decimal]]]
    missing: set[str] = field(default_factory=set)
    plans: dict[int, tuple[str, int]] = field(default_factory=dict)

    def earned(self, tried: Tried | None = None) -> dict[tuple[int, date], Decimal]:
        """By tenant and month, to the cent: subscriptions for their days, metered usage, less discounts, at least what is committed."""
        tried = tried or Tried()
        charged: dict[tuple[int, date], Decimal] = {}
        for month in self.months:
            rates, end = self.rates[month], next_month(month)
            length = (end - month).days
            metered: dict[int, int] = {}
            for tenant, plan, plan_id, price, currency, starts, ends in self.subscriptions:
                first, last = max(starts, month), min(ends + timedelta(days=1) if ends else end, end)
                if first >= last:
                    continue
                self.plans[tenant] = (plan, plan_id)
                metered[tenant] = plan_id
                if currency not in rates:
                    self.missing.add(currency)
                    continue
                amount = tried.prices.get(plan_id, price) * rates[currency]
                if (last - first).days != length:
                    amount = amount * (last - first).days / length
                charged[tenant, month] = charged.get((tenant, month), ZERO) + amount.quantize(CENT)
            for tenant, plan_id in metered.items():
                if used := self.usage.get((tenant, month)):
                    charged[tenant, month] = charged.get((tenant, month), ZERO) + self._metered(
                        plan_id, month, used, tried
                    )
        return self._agreed(charged)

    def _metered(self, plan: int, month: date, used: list[tuple[str, Decimal]], tried: Tried) -> Decimal:
        total = ZERO
        for meter, quantity in used:
            price = _in_force(self.prices.get((plan, meter), ()), month)
            if price is None:
                continue
            _, _, currency, tiers = price
            if currency not in self.rates[month]:
                self.missing.add(currency)
                continue
            total += (
                charge(quantity, tried.tiers.get((plan, meter), tiers))
                * self.rates[month][currency]
                * tried.factor
            )
        return total.quantize(CENT)

    def _agreed(self, charged: dict[tuple[int, date], Decimal]) -> dict[tuple[int, date], Decimal]:
        """Less discounts; at least what is committed."""
        for (tenant, month), amount in charged.items():
            if (discount := _in_force(self.discounts.get(tenant, ()), month)) is not None:
                charged[tenant, month] = (amount * (100 - discount[2]) / 100).quantize(CENT)
        for tenant, agreed in self.commitments.items():
            for month in self.months:
                if (one := _in_force(agreed, month)) is None:
                    continue
                if one[2] not in self.rates[month]:
                    self.missing.add(one[2])
                    continue
                least = (one[3] * self.rates[month][one[2]]).quantize(CENT)
                charged[tenant, month] = max(charged.get((tenant, month), ZERO), least)
        return charged


def _in_force(dated: Any, month: date) -> Any:
    """The last of those that count on the first day of a month."""
    found = None
    for one in dated:
        if one[0] <= month and (one[1] is None or one[1] >= month):
            found = one
    return found


def book(user: Any, months: Sequence[date], currency: str) -> Book:
    """What is charged for these months, of tenants whose cost the reader may see. Six queries."""
    first, end = min(months), next_month(max(months))
    subscriptions = visible(user, Subscription.objects.filter(starts_on__lt=end), Permission.SEE_COST)
    subscriptions = subscriptions.filter(Q(ends_on__isnull=True) | Q(ends_on__gte=first)).order_by(
        "starts_on"
    )
    prices: dict[tuple[int, str], list[Any]] = defaultdict(list)
    for plan, meter, starts, ends, its, tiers in Price.objects.order_by("starts_on").values_list(
        "plan_id", "meter", "starts_on", "ends_on", "currency", "tiers"
    ):
        prices[plan, meter].append((starts, ends, its, tiers_of(tiers)))
    usage: dict[tuple[int, date], list[tuple[str, Decimal]]] = defaultdict(list)
    if prices:
        rows = MonthlyUsage.objects.filter(
            month__in=months, driver__in={meter for _, meter in prices}
        ).order_by("driver")
        for tenant, month, meter, amount in visible(user, rows, Permission.SEE_COST).values_list(
            "tenant_id", "month", "driver", "amount"
        ):
            usage[tenant, month].append((meter, amount))
    discounts: dict[int, list[Any]] = defaultdict(list)
    for tenant, *rest in (
        visible(user, Discount, Permission.SEE_COST)
        .order_by("starts_on")
        .values_list("tenant_id", "starts_on", "ends_on", "percent")
    ):
        discounts[tenant].append(tuple(rest))
    commitments: dict[int, list[Any]] = defaultdict(list)
    for tenant, *agreed in (
        visible(user, Commitment, Permission.SEE_COST)
        .order_by("starts_on")
        .values_list("tenant_id", "starts_on", "ends_on", "currency", "monthly_minimum")
    ):
        commitments[tenant].append(tuple(agreed))
    columns = ("tenant_id", "plan__name", "plan_id", "monthly_price", "currency", "starts_on", "ends_on")
    return Book(
        currency, months, rates_by_month(currency, months), list(subscriptions.values_list(*columns)), usage, prices, discounts,
        commitments,
    )  # fmt: skip


def imported(
    user: Any, months: Sequence[date], rates: Rates, missing: set[str]
) -> dict[tuple[int, date], Decimal]:
    """What invoices say, by tenant and month. One query."""
    rows = visible(
        user, Revenue.objects.filter(month__in=months, tenant__isnull=False), Permission.SEE_COST
    ).order_by()
    found: dict[tuple[int, date], Decimal] = {}
    for tenant, month, currency, amount in rows.values_list("tenant_id", "month", "currency").annotate(
        total=Sum("amount")
    ):
        if currency in rates[month]:
            found[tenant, month] = found.get((tenant, month), ZERO) + amount * rates[month][currency]
        else:
            missing.add(currency)
    return {key: amount.quantize(CENT) for key, amount in found.items()}
