"""Dedicated or shared, tenant by tenant. Nothing here changes anything.

What an instance costs is what the month's bill lines that name it come to. A shared one's cost is its tenants' by their usage
of a driver in the month (in equal parts where none of them used any); a tenant on several instances uses each equally.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from statistics import median
from typing import Any

from django.db.models import OuterRef, Subquery

from apps.access.choices import Permission
from apps.access.scoping import visible
from apps.fleet.choices import InstanceKind
from apps.fleet.models import Placement
from apps.tenants.models import Subscription

from ..choices import Driver
from ..models import MonthlyUsage
from ..pricing import ZERO
from .idle import instance_costs
from .revenue import Rates

#: A dedicated tenant is to share where that would cost at most this part of what it costs; a shared one is to have its own
#: where its part is at least this part of what a dedicated instance usually costs, or it makes this part of the work among three or more.
SHARE_AT, OWN_AT, HOG = Decimal("0.5"), Decimal("0.8"), Decimal("0.5")
TINY = Decimal("1E-12")
#: What a share is reckoned by.
DRIVERS = (Driver.REQUESTS, Driver.CPU)


@dataclass(slots=True)
class Place:
    """An instance: what the bill says it cost (None: no line names it), and what each of its tenants used there."""

    instance_id: int
    name: str
    kind: str
    cell: str
    cost: Decimal | None = None
    used: dict[int, Decimal | None] = field(default_factory=dict)

    @property
    def is_dedicated(self) -> bool:
        return self.kind == InstanceKind.DEDICATED

    @property
    def total(self) -> Decimal:
        """What all its tenants used."""
        return sum((one or ZERO for one in self.used.values()), ZERO)

    def share(self, tenant: int) -> Decimal:
        """The tenant's part of one: by usage, or equal where nobody used any."""
        total = self.total
        return (self.used[tenant] or ZERO) / total if total else Decimal(1) / len(self.used)

    def part(self, tenant: int) -> Decimal | None:
        """What of its cost is the tenant's."""
        return None if self.cost is None else (self.cost * self.share(tenant)).quantize(TINY)

    def rate(self) -> Decimal | None:
        """What one unit of the driver costs on it."""
        total = self.total
        return self.cost / total if self.cost is not None and total else None


@dataclass(frozen=True, slots=True)
class Fleet:
    """All places of a month, and who is where."""

    places: Mapping[int, Place]
    of_tenant: Mapping[int, Sequence[Place]]
    #: Key and name.
    names: Mapping[int, tuple[str, str]]
    missing: Sequence[str]

    def usual(self, *, dedicated: bool, cell: str = "") -> Decimal | None:
        """The median cost of a dedicated instance, or of a unit of the driver on a shared one; in a cell if it has any."""
        some = [one for one in self.places.values() if one.is_dedicated == dedicated and one.used]
        told = [
            value
            for one in some
            if (value := one.cost if dedicated else one.rate()) is not None and (not cell or one.cell == cell)
        ]
        if not told and cell:
            return self.usual(dedicated=dedicated)
        return median(told) if told else None


def fleet(user: Any, month: date, rates: Rates, driver: str) -> Fleet:
    """Who is where, what they used and what it cost. Two queries."""
    missing: set[str] = set()
    costs = instance_costs(user, month, rates, missing)
    used = MonthlyUsage.objects.filter(month=month, driver=driver, tenant=OuterRef("tenant")).values(
        "amount"
    )[:1]
    rows = visible(user, Placement, Permission.SEE_COST).order_by("instance__name", "tenant__name")
    columns = (
        "tenant_id", "tenant__name", "tenant__key", "instance_id", "instance__name", "instance__kind", "instance__cell__name", "used",
    )  # fmt: skip
    places: dict[int, Place] = {}
    of_tenant: dict[int, list[Place]] = {}
    names: dict[int, tuple[str, str]] = {}
    told: dict[int, Decimal | None] = {}
    for tenant, called, key, pk, name, kind, cell, amount in rows.annotate(used=Subquery(used)).values_list(
        *columns
    ):
        place = places.get(pk) or places.setdefault(pk, Place(pk, name, kind, cell, costs.get(pk)))
        place.used[tenant] = amount
        of_tenant.setdefault(tenant, []).append(place)
        names[tenant], told[tenant] = (key, called), amount
    for tenant, some in of_tenant.items():
        if len(some) > 1 and (amount := told[tenant]) is not None:
            for place in some:
                place.used[tenant] = amount / len(some)
    return Fleet(places, of_tenant, names, sorted(missing))


# --- Advice ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Advice:
    """What is advised for a tenant, and the figures that say why; `saves` is what its own part would change by."""

    tenant_id: int
    key: str
    name: str
    now: str
    verdict: str
    why: str
    cost: Decimal | None = None
    other: Decimal | None = None

    @property
    def saves(self) -> Decimal | None:
        return self.cost - self.other if self.cost is not None and self.other is not None else None


def advice(user: Any, month: date, rates: Rates, driver: str) -> tuple[Fleet, list[Advice]]:
    """Every placed tenant, those with most to save first. Three queries. For who sees all: it compares with others."""
    made = fleet(user, month, rates, driver)
    promised = set(
        visible(user, Subscription.objects.filter(ends_on=None, plan__is_dedicated=True), Permission.SEE_COST)
        .order_by()
        .values_list("tenant_id", flat=True)
    )
    word = str(Driver(driver).label).lower()
    usual = Usual(made.usual(dedicated=True), made.usual(dedicated=False), word)
    rows = [_advise(pk, made.names[pk], some, usual, pk in promised) for pk, some in made.of_tenant.items()]
    return made, sorted(rows, key=lambda one: (one.verdict not in MOVES, -(one.saves or ZERO), one.name))


SHARE, OWN, STAY, UNKNOWN = "Share", "Its own", "Stay", "Not known"
MOVES = (SHARE, OWN)


@dataclass(frozen=True, slots=True)
class Usual:
    """What others are compared with: a dedicated instance, a unit of the driver on a shared one; the driver's word."""

    own: Decimal | None
    rate: Decimal | None
    word: str


def _advise(pk: int, who: tuple[str, str], places: Sequence[Place], usual: Usual, promised: bool) -> Advice:
    kinds = {one.is_dedicated for one in places}
    now = "dedicated" if kinds == {True} else "shared" if kinds == {False} else "both"

    def said(verdict: str, why: str, cost: Decimal | None = None, other: Decimal | None = None) -> Advice:
        return Advice(pk, *who, now, verdict, why, cost, other)

    parts = [part for one in places if (part := one.part(pk)) is not None]
    if len(parts) < len(places):
        return said(UNKNOWN, "no line of the month's bills names its instance")
    cost = sum(parts, ZERO)
    if now == "both":
        return said(STAY, "it is on both kinds", cost)
    used = [amount for one in places if (amount := one.used[pk]) is not None]
    if not used:
        return said(UNKNOWN, f"it has no meter of {usual.word}", cost)
    if now == "shared":
        return said(*_of_shared(pk, places, cost, usual), cost, usual.own)
    if usual.rate is None:
        return said(UNKNOWN, "no shared instance has a cost and usage to compare with", cost)
    other = (sum(used, ZERO) * usual.rate).quantize(TINY)
    why = f"{sum(used, ZERO):,.0f} {usual.word} at what they usually cost on a shared instance"
    if promised:
        return said(STAY, f"its plan promises an instance of its own; {why}", cost, other)
    return said(SHARE if other <= cost * SHARE_AT else STAY, why, cost, other)


def _of_shared(pk: int, places: Sequence[Place], cost: Decimal, usual: Usual) -> tuple[str, str]:
    most = max(places, key=lambda one: one.share(pk))
    share, among = most.share(pk), len(most.used)
    why = f"{share:.0%} of the {usual.word} on {most.name}, among {among} tenants"
    if usual.own:
        why += f"; its part is {cost / usual.own:.1f} times what a dedicated one usually costs"
    is_dear = usual.own is not None and cost >= usual.own * OWN_AT
    return (OWN if is_dear or (share >= HOG and among >= 3) else STAY), why
