"""What a limit of the blast radius counts: instances, tenants, what they pay, or cells; and of which part of the fleet.

Each instance stands for units with weights: itself (1), its cell (1), its tenants (1 each, or their monthly price in
the policy's currency). Units of several instances count once: a tenant that two changing instances serve is one
tenant at risk.
"""

from collections.abc import Collection, Iterable, Mapping
from decimal import Decimal
from typing import NamedTuple

from django.db.models import FilteredRelation, QuerySet

from apps.core.arrays import among
from apps.fleet.models import Instance, Placement
from apps.operations.kinds import TargetInfo
from apps.tenants.money import money

from .choices import Measure, PolicyScope
from .models import BlastPolicy
from .prices import open_subscriptions, open_today

Weight = int | Decimal
#: Weight by unit (id of an instance, tenant or cell).
Units = Mapping[int, Weight]


def instances_within(policy: BlastPolicy) -> QuerySet[Instance]:
    """The instances of a policy's scope; of a plan: those that serve a tenant of it."""
    rows = Instance.objects.order_by()
    match policy.scope:
        case PolicyScope.ACCOUNT:
            return rows.filter(cell__region__account_id=policy.object_id)
        case PolicyScope.REGION:
            return rows.filter(cell__region_id=policy.object_id)
        case PolicyScope.CELL:
            return rows.filter(cell_id=policy.object_id)
        case PolicyScope.PLAN:
            return rows.filter(pk__in=_placed(policy).values("instance_id"))
        case _:
            return rows


def targets_within(policy: BlastPolicy, targets: Collection[TargetInfo]) -> list[TargetInfo]:
    """Of targets, those in a policy's scope; at most one query."""
    match policy.scope:
        case PolicyScope.ACCOUNT:
            return [target for target in targets if target.account_id == policy.object_id]
        case PolicyScope.CELL:
            return [target for target in targets if target.cell_id == policy.object_id]
        case PolicyScope.FLEET:
            return list(targets)
    ids = among([target.id for target in targets])
    inside = set(instances_within(policy).filter(pk__in=ids).values_list("pk", flat=True))
    return [target for target in targets if target.id in inside]


class Served(NamedTuple):
    """A tenant on an instance: the plans it has bought, and what it pays a month by currency."""

    plans: set[int]
    prices: dict[str, Decimal]


def serves(policy: BlastPolicy) -> bool:
    """Whether it has to be known whom instances serve, to tell what of them the policy counts."""
    return policy.scope == PolicyScope.PLAN or policy.measure in (Measure.TENANTS, Measure.REVENUE)


def served_by(instance_ids: Collection[int]) -> dict[int, dict[int, Served]]:
    """The tenants of each instance, by their ids, with what they have bought as of today. One statement."""
    if not instance_ids:
        return {}
    bought = FilteredRelation("tenant__subscriptions", condition=open_today("tenant__subscriptions__"))
    rows = Placement.objects.filter(instance_id__in=among(instance_ids)).order_by().annotate(bought=bought)
    columns = ("instance_id", "tenant_id", "bought__plan_id", "bought__currency", "bought__monthly_price")
    found: dict[int, dict[int, Served]] = {}
    for instance_id, tenant_id, plan, currency, price in rows.values_list(*columns):
        tenant = found.setdefault(instance_id, {}).setdefault(tenant_id, Served(set(), {}))
        if plan is not None:
            tenant.plans.add(plan)
            tenant.prices[currency] = tenant.prices.get(currency, Decimal(0)) + price
    return found


def weigh(
    policy: BlastPolicy,
    instance_ids: Iterable[int],
    *,
    cells: Mapping[int, int],
    served: Mapping[int, Mapping[int, Served]],
) -> Units:
    """What these instances stand for together, from the cells they stand in and the tenants they serve. Pure."""
    match policy.measure:
        case Measure.INSTANCES:
            return dict.fromkeys(instance_ids, 1)
        case Measure.CELLS:
            return dict.fromkeys((cells[pk] for pk in instance_ids if pk in cells), 1)
    tenants = (pair for pk in instance_ids for pair in served.get(pk, {}).items())
    if policy.scope == PolicyScope.PLAN:
        tenants = (pair for pair in tenants if policy.object_id in pair[1].plans)
    if policy.measure == Measure.TENANTS:
        return dict.fromkeys((pk for pk, _ in tenants), 1)
    return {pk: tenant.prices.get(policy.currency, Decimal(0)) for pk, tenant in tenants}


def _placed(policy: BlastPolicy) -> QuerySet[Placement]:
    """Who is where; of a plan, only its tenants count."""
    rows = Placement.objects.order_by()
    if policy.scope != PolicyScope.PLAN:
        return rows
    bought = open_subscriptions().filter(plan_id=policy.object_id)
    return rows.filter(tenant_id__in=bought.values("tenant_id"))


def figure(policy: BlastPolicy, amount: Weight) -> str:
    """“1,200 instances”, “€ 4,900 of monthly revenue”."""
    if policy.measure == Measure.REVENUE:
        return f"{money(Decimal(amount), policy.currency)} of monthly revenue"
    return f"{amount:,} {policy.get_measure_display().lower()}"


def scope_words(policy: BlastPolicy) -> str:
    """“the fleet”, “account acme-prod”, “plan Enterprise”."""
    return "the fleet" if policy.scope == PolicyScope.FLEET else f"{policy.scope} {policy.label}"
