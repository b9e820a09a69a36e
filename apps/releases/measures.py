"""What a limit of the blast radius counts: instances, tenants, what they pay, or cells; and of which part of the fleet.

Each instance stands for units with weights: itself (1), its cell (1), its tenants (1 each, or their monthly price in
the policy's currency). Units of several instances count once: a tenant that two changing instances serve is one
tenant at risk.
"""

from collections.abc import Collection, Mapping
from decimal import Decimal

from django.db.models import QuerySet, Sum

from apps.core.arrays import among
from apps.fleet.models import Cell, Instance, Placement
from apps.operations.kinds import TargetInfo
from apps.operations.models import Operation
from apps.tenants.money import money

from .choices import Measure, PolicyScope
from .models import BlastPolicy
from .prices import open_subscriptions, revenue_of

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


def operations_within(policy: BlastPolicy, rows: QuerySet[Operation]) -> QuerySet[Operation]:
    """Of operations on instances, those in a policy's scope."""
    match policy.scope:
        case PolicyScope.ACCOUNT:
            return rows.filter(account_id=policy.object_id)
        case PolicyScope.REGION:
            return rows.filter(cell_id__in=Cell.objects.filter(region_id=policy.object_id).values("pk"))
        case PolicyScope.CELL:
            return rows.filter(cell_id=policy.object_id)
        case PolicyScope.PLAN:
            return rows.filter(target_id__in=_placed(policy).values("instance_id"))
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


def units_of(policy: BlastPolicy, instance_ids: Collection[int]) -> dict[int, dict[int, Weight]]:
    """What each instance stands for, by its id; at most two queries."""
    if not instance_ids:
        return {}
    match policy.measure:
        case Measure.INSTANCES:
            return {pk: {pk: 1} for pk in instance_ids}
        case Measure.CELLS:
            rows = Instance.objects.filter(pk__in=among(instance_ids)).order_by()
            return {pk: {cell: 1} for pk, cell in rows.values_list("pk", "cell_id")}
    found: dict[int, dict[int, Weight]] = {}
    placed = _placed(policy).filter(instance_id__in=among(instance_ids))
    for instance_id, tenant_id in placed.values_list("instance_id", "tenant_id"):
        found.setdefault(instance_id, {})[tenant_id] = 1
    if policy.measure == Measure.REVENUE:
        prices = revenue_of({tenant for units in found.values() for tenant in units})
        for units in found.values():
            for tenant in units:
                units[tenant] = prices.get(tenant, {}).get(policy.currency, Decimal(0))
    return found


def total_of(policy: BlastPolicy) -> Weight:
    """All that the scope holds of what the policy counts. One query."""
    match policy.measure:
        case Measure.INSTANCES:
            return instances_within(policy).count()
        case Measure.CELLS:
            return instances_within(policy).values("cell_id").distinct().count()
    placed = _placed(policy).filter(instance_id__in=instances_within(policy).values("pk"))
    if policy.measure == Measure.TENANTS:
        return placed.values("tenant_id").distinct().count()
    paid = open_subscriptions().filter(tenant_id__in=placed.values("tenant_id"), currency=policy.currency)
    return paid.aggregate(total=Sum("monthly_price"))["total"] or Decimal(0)


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
