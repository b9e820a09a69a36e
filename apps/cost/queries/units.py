"""Cost of goods, margin and the cost of a unit, by what tenants have in common.

Sums over groups are the sums over tenants: each tenant's cost and revenue is cut up, never counted twice.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from django.db.models import Case, CharField, Count, F, Sum, Value, When

from apps.access.choices import Permission
from apps.access.scoping import visible
from apps.accounts.models import Account
from apps.fleet.models import Placement

from ..choices import Driver
from ..models import MonthlyCost, MonthlyUsage, ProductComponent
from ..pricing import ZERO
from .converting import TINY, lacking_of, runs_of
from .cutting import cut_up
from .margins import Invoiced, Margin, Margins, margins, revenues
from .revenue import rates_by_month

#: By the name in the address: the word, and how the page knows whose a cost is.
GROUPINGS: dict[str, tuple[str, str]] = {
    "plan": ("Plan", "the plan of each tenant's last subscription in these months"),
    "region": ("Region", "where its instances are placed now; a tenant with several counts in equal parts"),
    "cell": ("Cell", "where its instances are placed now; a tenant with several counts in equal parts"),
    "account": ("Account", "cost lies where the bill says; a tenant's revenue follows its cost"),
    "component": (
        "Component",
        "by the book of components, else by the bill's service; a tenant's revenue follows its cost",
    ),
    "tenant": ("Tenant", "each by itself"),
}


@dataclass(frozen=True, slots=True)
class Meter:
    """What a cost is divided by: `size` of a driver's units."""

    driver: str
    word: str
    size: int = 1


METERS = (
    Meter(Driver.REQUESTS, "1,000 requests", 1000),
    Meter(Driver.SEATS, "seat a month"),
    Meter(Driver.STORAGE, "GB stored a month"),
    Meter(Driver.TRAFFIC, "GB sent"),
    Meter(Driver.CPU, "CPU hour", 3600),
)


@dataclass(slots=True)
class Metered:
    """What the metered tenants of a group used and cost; `tenants` of all in the group."""

    amount: Decimal = ZERO
    cost: Decimal = ZERO
    tenants: int = 0

    def per(self, size: int) -> Decimal | None:
        """The cost of so many units; None where nobody has the meter, or nothing was used."""
        return self.cost * size / self.amount if self.amount else None


@dataclass(slots=True)
class Unit:
    """One group: how many tenants, what they cost and earn, and what they used."""

    key: str
    label: str
    note: str = ""
    tenants: int = 0
    revenue: Decimal = ZERO
    cost: Decimal = ZERO
    metered: dict[str, Metered] = field(default_factory=dict)

    @property
    def margin(self) -> Decimal:
        return self.revenue - self.cost

    @property
    def share(self) -> Decimal | None:
        return self.margin / self.revenue if self.revenue else None

    def of(self, meter: Meter) -> Metered:
        return self.metered.get(meter.driver, Metered())


@dataclass(frozen=True, slots=True)
class Units:
    """All groups, the costliest first; `total` is all of them as one; `meters` those that anybody has.

    `missing` names currencies without a rate.
    """

    missing: Sequence[str]
    rows: Sequence[Unit]
    total: Unit
    meters: Sequence[Meter]


#: Of each tenant, what of its cost is in which group.
Parts = Mapping[int, Mapping[str, Decimal]]
ONE = Decimal(1)


def units(
    user: Any, months: Sequence[date], currency: str, by: str, *, tried: Invoiced | None = None
) -> Units:
    """Tenants whose own cost the reader may see, added up by a grouping. Queries do not grow with rows."""
    if by in _GROUPS:
        return _of_facts(user, months, currency, _GROUPS[by](), tried)
    found = margins(user, months, currency, tried=(tried,))[0]
    used = usage(user, months)
    total = Unit("", "All")
    for row in found.rows:
        _add(total, row.cost, row.revenue, used.get(row.tenant_id, {}), ONE)
    return _units(found.missing, _of_tenants(found, used, _PARTS[by](user, found)), total)


def _of_tenants(
    found: Margins, used: Mapping[int, Mapping[str, Decimal]], grouped: "Grouped"
) -> dict[str, Unit]:
    """By what tenants are: each lies in a group, or in several by weights."""
    groups: dict[str, Unit] = {}
    for row in found.rows:
        cut = grouped.parts.get(row.tenant_id) or {"": row.cost}
        weights = grouped.weights.get(row.tenant_id)
        earned = split(row.revenue, weights or cut)
        for key, cost in cut.items():
            group = groups.get(key)
            if group is None:
                group = groups[key] = Unit(key, grouped.labels.get(key, "none"), grouped.notes.get(key, ""))
            part = weights[key] / sum(weights.values()) if weights else ONE
            _add(group, cost, earned[key], used.get(row.tenant_id, {}), part)
    return groups


def _of_facts(
    user: Any, months: Sequence[date], currency: str, group: "Group", tried: Invoiced | None
) -> Units:
    """By what costs are, with no tenant's numbers brought here. Queries as for what is earned, and three."""
    rates, missing = rates_by_month(currency, months), set[str]()
    runs = runs_of(months, rates)
    revenue = revenues(user, months, currency, rates, (tried,), missing)[1][0]
    total, groups = Unit("", "All"), dict[str, Unit]()
    facts = MonthlyCost.objects.annotate(part=group.value)
    for piece in cut_up(user, facts, runs, revenue, months, [one.driver for one in METERS]):
        key = group.names.get(piece.part, piece.part)
        label, note = (key, group.note(key)) if key else (group.empty, "")
        one = groups.setdefault(key, Unit(key, label, note))
        one.tenants += piece.tenants
        # What counts once for each tenant is told by its largest part.
        total.tenants += piece.tenants if piece.is_largest else 0
        for unit in (one, total):
            unit.cost += piece.cost
            unit.revenue += piece.revenue
            for driver, (tenants, cost, amount) in piece.metered.items():
                metered = unit.metered.setdefault(driver, Metered())
                metered.cost += cost
                if unit is one or piece.is_largest:
                    metered.tenants += tenants
                    metered.amount += amount
    return _units(sorted(missing | lacking_of(user, runs)), groups, total)


def _units(missing: Sequence[str], groups: Mapping[str, Unit], total: Unit) -> Units:
    rows = sorted(groups.values(), key=lambda one: (-one.cost, one.label))
    return Units(missing, rows, total, [one for one in METERS if one.driver in total.metered])


def _add(group: Unit, cost: Decimal, revenue: Decimal, used: Mapping[str, Decimal], part: Decimal) -> None:
    group.tenants += 1
    group.cost += cost
    group.revenue += revenue
    for driver, amount in used.items():
        one = group.metered.setdefault(driver, Metered())
        one.amount += amount * part
        one.cost += cost
        one.tenants += 1


def split(amount: Decimal, weights: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """An amount by weights, exactly: the last part takes what rounding left. Weights below nothing count as nothing."""
    *firsts, last = weights
    if not firsts:
        return {last: amount}
    total = sum((max(one, ZERO) for one in weights.values()), ZERO)
    made, left = {}, amount
    for key in firsts:
        share = max(weights[key], ZERO) / total if total else Decimal(1) / len(weights)
        made[key] = (amount * share).quantize(TINY)
        left -= made[key]
    return {**made, last: left}


def usage(user: Any, months: Sequence[date]) -> dict[int, dict[str, Decimal]]:
    """By tenant and driver, of those whose meter told something in each of the months. One query.

    A tenant without a meter is left out of a unit's cost: it did not use nothing.
    """
    rows = visible(user, MonthlyUsage.objects.filter(month__in=months), Permission.SEE_COST).order_by()
    found: dict[int, dict[str, Decimal]] = {}
    told = rows.values_list("tenant_id", "driver").annotate(total=Sum("amount"), count=Count("pk"))
    for tenant, driver, amount, _ in told.filter(count=len(months)):
        found.setdefault(tenant, {})[driver] = amount
    return found


# --- Who is in which group -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Grouped:
    """Groups by key: their names, what is told of them, what of each tenant's cost is in which.

    `weights` where a tenant itself is cut up: revenue and usage then are too, by them. Else revenue follows cost, and
    usage counts whole in each: what a component costs for a request is asked of all requests.
    """

    labels: Mapping[str, str]
    parts: Parts
    notes: Mapping[str, str] = field(default_factory=dict)
    weights: Parts = field(default_factory=dict)


Grouping = Callable[[Any, Margins], Grouped]


def _one(key: Callable[[Margin], str], label: Callable[[Margin], str]) -> Grouping:
    def grouped(user: Any, found: Margins) -> Grouped:
        labels = {key(row): label(row) for row in found.rows}
        return Grouped(labels, {row.tenant_id: {key(row): row.cost} for row in found.rows})

    return grouped


def _placed(column: str, label: str) -> Grouping:
    def grouped(user: Any, found: Margins) -> Grouped:
        rows = visible(user, Placement, Permission.SEE_COST).order_by(column)
        labels, notes, weights = {"": "on no instance"}, dict[str, str](), dict[int, dict[str, Decimal]]()
        columns = ("tenant_id", column, label, "instance__cell__region__account__name")
        for tenant, key, name, account in rows.values_list(*columns):
            labels[str(key)], notes[str(key)] = name, account
            by_key = weights.setdefault(tenant, {})
            by_key[str(key)] = by_key.get(str(key), ZERO) + 1
        placed = (row for row in found.rows if row.tenant_id in weights)
        parts = {row.tenant_id: split(row.cost, weights[row.tenant_id]) for row in placed}
        return Grouped(labels, parts, notes, weights)

    return grouped


@dataclass(frozen=True, slots=True)
class Group:
    """An expression over facts; what the empty value is called; what is told of each value.

    `names` are of values that stand for something: a number is added up faster than a name.
    """

    value: Any
    empty: str
    note: Callable[[str], str] = str
    names: Mapping[str, str] = field(default_factory=dict)


def _by_account() -> Group:
    names = {str(pk): name for pk, name in Account.objects.order_by().values_list("pk", "name")}
    return Group(F("account_id"), "in no account", lambda name: "", names)


def _by_component() -> Group:
    book = list(ProductComponent.objects.all())
    cases = [When(**_fits(one), then=Value(one.name)) for one in book]
    value: Any = Case(*cases, default=F("service"), output_field=CharField()) if cases else F("service")
    notes = {one.name: f"by the book: {one.in_words()}" for one in reversed(book)}
    return Group(value, "costs nothing", lambda name: notes.get(name, "the bill's service"))


def _fits(one: ProductComponent) -> dict[str, str]:
    fields = {"service": one.service, "sub_account__external_id": one.sub_account, "rule__tag": one.tag}
    return {name: value for name, value in fields.items() if value}


_PARTS: dict[str, Grouping] = {
    "plan": _one(lambda row: str(row.plan_id or ""), lambda row: row.plan or "no plan"),
    "region": _placed("instance__cell__region_id", "instance__cell__region__code"),
    "cell": _placed("instance__cell_id", "instance__cell__name"),
    "tenant": _one(lambda row: str(row.tenant_id), lambda row: row.name),
}
_GROUPS: dict[str, Callable[[], Group]] = {"account": _by_account, "component": _by_component}
