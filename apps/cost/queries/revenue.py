"""What tenants are expected to pay, reckoned by the price book."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal, localcontext
from typing import Any

from django.db.models import Q, QuerySet

from apps.access.choices import Permission
from apps.access.scoping import visible
from apps.tenants.models import Subscription

from ..models import Commitment, Discount, MonthlyUsage, Price, Rate
from ..pricing import CENT, ZERO, Tiers, charge, next_month, tiers_of

Rates = Mapping[date, Mapping[str, Decimal]]


def rates_by_month(currency: str, months: Sequence[date]) -> Rates:
    """What one unit of each currency was worth at each month's end: the last rate dated on or before its last day. One query."""
    last = next_month(max(months)) - timedelta(days=1)
    rows = Rate.objects.filter(day__lte=last).filter(Q(into=currency) | Q(currency=currency)).order_by("day")
    # Of one day, a rate that is turned round gives way to the one that was asked for.
    dated = sorted(
        rows.values_list("day", "currency", "into", "rate"), key=lambda one: (one[0], one[2] == currency)
    )
    made: dict[date, dict[str, Decimal]] = {}
    for month in months:
        end, found = next_month(month), {currency: Decimal(1)}
        for day, its, into, rate in dated:
            if day < end:
                found.update({its: rate} if into == currency else {into: 1 / rate})
        made[month] = found
    return made


def currencies() -> list[str]:
    """What prices are in."""
    return sorted(set(Subscription.objects.order_by().values_list("currency", flat=True).distinct())) or [
        "EUR"
    ]


@dataclass(frozen=True, slots=True)
class Tried:
    """Prices to try in place of those that count: monthly ones by plan, tiers by plan and meter, a factor on all of them.

    A monthly price is in the currency that `currencies` names for its plan, else in the subscription's.
    """

    prices: Mapping[int, Decimal] = field(default_factory=dict)
    currencies: Mapping[int, str] = field(default_factory=dict)
    tiers: Mapping[tuple[int, str], Tiers] = field(default_factory=dict)
    factor: Decimal = Decimal(1)


#: Enough for the greatest usage at the greatest price, in any currency, to the cent.
DIGITS = 60
#: A tenant's month.
Of = tuple[int, date]


@dataclass(slots=True)
class Book:
    """All that some tenants are charged by, for some months; read once, reckoned with as often as wanted."""

    currency: str
    months: Sequence[date]
    rates: Rates
    subscriptions: list[Any]
    usage: Mapping[Of, list[tuple[str, Decimal]]]
    prices: Mapping[tuple[int, str], list[tuple[date, date | None, str, Tiers]]]
    discounts: Mapping[int, list[tuple[date, date | None, Decimal]]]
    commitments: Mapping[int, list[tuple[date, date | None, str, Decimal]]]
    #: Currencies without a rate, whose amounts are left out; the plan of a tenant's last subscription in a month.
    missing: dict[Of, set[str]] = field(default_factory=dict)
    plans: dict[Of, int] = field(default_factory=dict)

    def earned(self, tried: Tried | None = None) -> dict[Of, Decimal]:
        """By tenant and month, to the cent: subscriptions for their days, metered usage, less discounts, at least what is committed."""
        tried = tried or Tried()
        charged: dict[Of, Decimal] = {}
        with localcontext(prec=DIGITS):
            for month in self.months:
                self._subscribed(month, tried, charged)
            return self._agreed(charged)

    def _subscribed(self, month: date, tried: Tried, charged: dict[Of, Decimal]) -> None:
        """Subscriptions and metered usage of a month."""
        rates, end = self.rates[month], next_month(month)
        length = (end - month).days
        metered: dict[int, int] = {}
        for tenant, plan_id, price, currency, starts, ends in self.subscriptions:
            first, last = max(starts, month), min(ends + timedelta(days=1) if ends else end, end)
            if first >= last:
                continue
            metered[tenant] = self.plans[tenant, month] = plan_id
            if plan_id in tried.prices:
                price, currency = tried.prices[plan_id], tried.currencies.get(plan_id, currency)
            if currency not in rates:
                self._lacks(tenant, month, currency)
                continue
            amount = price * rates[currency] * tried.factor
            if (last - first).days != length:
                amount = amount * (last - first).days / length
            charged[tenant, month] = charged.get((tenant, month), ZERO) + amount.quantize(CENT)
        for tenant, plan_id in metered.items():
            if used := self.usage.get((tenant, month)):
                amount = self._metered(tenant, plan_id, month, used, tried)
                charged[tenant, month] = charged.get((tenant, month), ZERO) + amount

    def _lacks(self, tenant: int, month: date, currency: str) -> None:
        self.missing.setdefault((tenant, month), set()).add(currency)

    def _metered(
        self, tenant: int, plan: int, month: date, used: list[tuple[str, Decimal]], tried: Tried
    ) -> Decimal:
        total = ZERO
        for meter, quantity in used:
            price = _in_force(self.prices.get((plan, meter), ()), month)
            if price is None:
                continue
            _, _, currency, tiers = price
            if currency not in self.rates[month]:
                self._lacks(tenant, month, currency)
                continue
            total += (
                charge(quantity, tried.tiers.get((plan, meter), tiers))
                * self.rates[month][currency]
                * tried.factor
            )
        return total.quantize(CENT)

    def _agreed(self, charged: dict[Of, Decimal]) -> dict[Of, Decimal]:
        """Less discounts; at least what is committed."""
        for (tenant, month), amount in charged.items():
            if (discount := _in_force(self.discounts.get(tenant, ()), month)) is not None:
                charged[tenant, month] = (amount * (100 - discount[2]) / 100).quantize(CENT)
        for tenant, agreed in self.commitments.items():
            for month in self.months:
                if (one := _in_force(agreed, month)) is None:
                    continue
                if one[2] not in self.rates[month]:
                    self._lacks(tenant, month, one[2])
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


#: What leaves of rows those of some tenants.
Narrow = Callable[[QuerySet[Any]], QuerySet[Any]]


def book(user: Any, months: Sequence[date], currency: str, rates: Rates | None = None) -> Book:
    """What is charged for these months, of tenants whose cost the reader may see. Five queries, and one for the rates."""

    def mine(rows: QuerySet[Any]) -> QuerySet[Any]:
        return visible(user, rows, Permission.SEE_COST)

    return _book(mine, months, currency, rates or rates_by_month(currency, months))


def book_of_everybody(months: Sequence[date], currency: str) -> Book:
    """The same of all tenants, for who keeps it; whoever shows it narrows it."""
    return _book(lambda rows: rows, months, currency, rates_by_month(currency, months))


def _book(narrow: Narrow, months: Sequence[date], currency: str, rates: Rates) -> Book:
    first, end = min(months), next_month(max(months))
    subscriptions = narrow(Subscription.objects.filter(starts_on__lt=end))
    # Of two in one month the last counts as the plan's: those of one day in an order that is always the same.
    subscriptions = subscriptions.filter(Q(ends_on__isnull=True) | Q(ends_on__gte=first)).order_by(
        "starts_on", "pk"
    )
    prices: dict[tuple[int, str], list[Any]] = defaultdict(list)
    columns = ("plan_id", "meter", "starts_on", "ends_on", "currency", "tiers")
    for plan, meter, starts, ends, its, tiers in Price.objects.order_by("starts_on", "pk").values_list(
        *columns
    ):
        prices[plan, meter].append((starts, ends, its, tiers_of(tiers)))
    usage: dict[Of, list[tuple[str, Decimal]]] = defaultdict(list)
    if prices:
        meters = {meter for _, meter in prices}
        rows = narrow(MonthlyUsage.objects.filter(month__in=months, driver__in=meters)).order_by("driver")
        for tenant, month, meter, amount in rows.values_list("tenant_id", "month", "driver", "amount"):
            usage[tenant, month].append((meter, amount))
    columns = ("tenant_id", "plan_id", "monthly_price", "currency", "starts_on", "ends_on")
    return Book(
        currency, months, rates, list(subscriptions.values_list(*columns)), usage, prices,
        _of_tenants(narrow(Discount.objects.all()), "percent"),
        _of_tenants(narrow(Commitment.objects.all()), "currency", "monthly_minimum"),
    )  # fmt: skip


def _of_tenants(rows: QuerySet[Any], *columns: str) -> dict[int, list[Any]]:
    """Agreements by tenant, those that begin later behind."""
    found: dict[int, list[Any]] = defaultdict(list)
    told = rows.order_by("starts_on", "pk").values_list("tenant_id", "starts_on", "ends_on", *columns)
    for tenant, *agreed in told:
        found[tenant].append(tuple(agreed))
    return found
