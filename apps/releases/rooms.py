"""How much room limits of the blast radius leave: looked at set-wise, so that statements do not grow with the limits.

The guard rail and the rules' page read the same: what is disturbed (changing or unhealthy) with its places, whom that
serves, and what the scopes hold. Each limit is then told from it in Python.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from django.db.models import F, OuterRef, Q, QuerySet, Subquery

from apps.core.arrays import among
from apps.fleet.choices import WRONG, Wanted
from apps.fleet.models import Cell, Instance
from apps.operations.choices import State
from apps.operations.models import Operation
from apps.tenants.money import money

from .choices import Measure, PolicyScope
from .measures import Served, Units, Weight, figure, scope_words, served_by, serves, weigh
from .models import BlastPolicy
from .totals import key_of, totals_of


@dataclass(frozen=True, slots=True)
class Room:
    """How a scope stands: what is changing or unhealthy (`disturbed` instances, `taken` units) weighs at most `limit`."""

    policy: BlastPolicy
    limit: Weight
    disturbed: frozenset[int]
    taken: Units

    @property
    def used(self) -> Weight:
        return sum(self.taken.values())

    @property
    def left(self) -> Weight:
        return max(0, self.limit - self.used)

    @property
    def share(self) -> float:
        """How much of the limit is used, from 0 to 1 and beyond."""
        return float(self.used) / float(self.limit)

    @property
    def scope(self) -> str:
        words = scope_words(self.policy)
        return words[0].upper() + words[1:]

    @property
    def words(self) -> str:
        """“3 of 12 instances”."""
        of = figure(self.policy, self.limit)
        if self.policy.measure == Measure.REVENUE:
            return f"{money(Decimal(self.used), self.policy.currency)} of {of}"
        return f"{self.used:,} of {of}"

    @property
    def words_of_count(self) -> str:
        return figure(self.policy, self.policy.max_count or 0)


class Spot(NamedTuple):
    """A disturbed instance at a place where it counts: of an operation the one it was asked for at. `stands_in`: its cell."""

    instance: int
    account: int | None
    region: int | None
    cell: int | None
    stands_in: int | None


def limit_of(policy: BlastPolicy, total: Weight) -> Weight:
    """The limit in what the policy counts, at least 1: one that allows nothing would keep anything from being mended."""
    limits: list[Weight] = [] if policy.max_count is None else [policy.max_count]
    if policy.max_percent is not None:
        share = total * policy.max_percent
        limits.append(share / 100 if isinstance(share, Decimal) else share // 100)
    return max(1, min(limits))


def rooms_of(
    policies: Sequence[BlastPolicy], *, leave_out: Collection[int] = frozenset(), started_only: bool = False
) -> list[Room]:
    """How much room each policy leaves now, in their order. At most three statements, however many there are.

    `started_only`: what only waits for its turn does not count. `leave_out` are the targets of the request itself,
    which has been claimed already when it starts. Unhealthy ones of them still count, as disturbed: they may be mended.
    """
    if not policies:
        return []
    spots = _spots(leave_out, started_only)
    cells = {spot.instance: spot.stands_in for spot in spots if spot.stands_in is not None}
    served = served_by({spot.instance for spot in spots}) if any(map(serves, policies)) else {}
    inside, totals = _inside(policies, spots, served), totals_of(policies)
    found = []
    for policy in policies:
        disturbed = frozenset(inside.get((policy.scope, policy.object_id), ()))
        taken = weigh(policy, disturbed, cells=cells, served=served)
        total = totals.get(key_of(policy), Decimal(0))
        is_money = policy.measure == Measure.REVENUE
        found.append(Room(policy, limit_of(policy, total if is_money else int(total)), disturbed, taken))
    return found


def room_of(
    policy: BlastPolicy, *, leave_out: Collection[int] = frozenset(), started_only: bool = False
) -> Room:
    """How much room one policy leaves now, as `rooms_of`."""
    return rooms_of([policy], leave_out=leave_out, started_only=started_only)[0]


def _spots(leave_out: Collection[int], started_only: bool) -> list[Spot]:
    """What is changing or unhealthy, at each place where it counts. One statement."""
    region = Cell.objects.filter(pk=OuterRef("cell_id")).values("region_id")
    stands = Instance.objects.filter(pk=OuterRef("target_id")).values("cell_id")
    changing = _changing(started_only).annotate(region=Subquery(region), stands=Subquery(stands))
    if leave_out:
        changing = changing.exclude(target_id__in=among(leave_out))
    unhealthy = Instance.objects.filter(wanted=Wanted.RUNNING, health__in=WRONG).order_by()
    places = ("cell__region__account_id", "cell__region_id", "cell_id", "stands")
    rows = changing.values_list("target_id", "account_id", "region", "cell_id", "stands").union(
        unhealthy.annotate(stands=F("cell_id")).values_list("pk", *places), all=True
    )
    return [Spot(*row) for row in rows]


def _changing(started_only: bool) -> QuerySet[Operation]:
    rows = Operation.objects.filter(target_type="instance", is_changing=True).order_by()
    if started_only:
        return rows.filter(Q(state=State.RUNNING) | Q(state=State.PENDING, started_at__isnull=False))
    return rows.filter(state__in=[State.PENDING, State.RUNNING])


def _inside(
    policies: Iterable[BlastPolicy], spots: Iterable[Spot], served: Mapping[int, Mapping[int, Served]]
) -> dict[tuple[str, int], set[int]]:
    """The disturbed instances of each scope."""
    found: dict[tuple[str, int], set[int]] = {(policy.scope, policy.object_id): set() for policy in policies}
    for spot in spots:
        places = (
            (PolicyScope.FLEET, 0), (PolicyScope.ACCOUNT, spot.account), (PolicyScope.REGION, spot.region),
            (PolicyScope.CELL, spot.cell),
        )  # fmt: skip
        plans = (plan for tenant in served.get(spot.instance, {}).values() for plan in tenant.plans)
        for scope, object_id in (*places, *((PolicyScope.PLAN, plan) for plan in plans)):
            if object_id is not None and (inside := found.get((scope, object_id))) is not None:
                inside.add(spot.instance)
    return found
