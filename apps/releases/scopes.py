"""Which rows lie within given scopes.

Releases and advisories are the product's, not a customer's: whoever sees anything sees them, and only who holds a
permission on everything changes them. A rollout is seen by who sees one of its instances, and steered by who may
roll out to all of them.
"""

from django.db.models import Q, QuerySet

from apps.access import scoping
from apps.access.choices import Permission
from apps.access.scoping import Scopes
from apps.accounts.models import Region
from apps.fleet.scopes import cell_ids, instance_ids, tenants_within
from apps.tenants.models import Tenant

from .choices import Excludable
from .models import (
    Advisory,
    Artifact,
    BlastPolicy,
    ClockAsk,
    ClockPolicy,
    ClockStep,
    CustomerNotice,
    Exclusion,
    Exposure,
    Freeze,
    Hold,
    HotPatch,
    MetricSource,
    Release,
    Ring,
    RingMember,
    Rollout,
    RolloutTarget,
    VexStatement,
    Wave,
    Window,
)

READING = frozenset({Permission.VIEW, Permission.EXPORT})
NOTHING = Q(pk__in=[])


def of_the_product(scopes: Scopes) -> Q:
    return ~NOTHING if scopes.permission in READING else NOTHING


def targets_within(scopes: Scopes) -> Q:
    return Q(instance_id__in=instance_ids(scopes))


def rollouts_within(scopes: Scopes) -> Q:
    """To read: those that touch an instance of the scopes. To change: those that touch no other."""
    inside = RolloutTarget.objects.filter(targets_within(scopes)).order_by()
    if scopes.permission in READING:
        return Q(pk__in=inside.values("rollout_id"))
    outside: QuerySet[RolloutTarget] = RolloutTarget.objects.exclude(targets_within(scopes)).order_by()
    return Q(pk__in=inside.values("rollout_id")) & ~Q(pk__in=outside.values("rollout_id"))


def of_tenants(scopes: Scopes) -> Q:
    return Q(tenant__in=Tenant.objects.filter(tenants_within(scopes)).order_by())


def policies_within(scopes: Scopes) -> Q:
    if scopes.permission not in READING:
        return NOTHING
    regions = Region.objects.filter(account_id__in=scopes.accounts).order_by()
    return (
        Q(scope="account", object_id__in=scopes.accounts)
        | Q(scope="region", object_id__in=regions.values("pk"))
        | Q(scope="cell", object_id__in=scopes.cells)
    )


def members_within(scopes: Scopes) -> Q:
    """Plans' entries are read by everybody; a tenant's by who sees the tenant. Changed on everything alone."""
    if scopes.permission not in READING:
        return NOTHING
    return Q(plan__isnull=False) | of_tenants(scopes)


def exclusions_within(scopes: Scopes) -> Q:
    if scopes.permission not in READING:
        return NOTHING
    tenants = Tenant.objects.filter(tenants_within(scopes)).order_by()
    instances = instance_ids(scopes)
    return (
        Q(what=Excludable.TENANT, object_id__in=tenants.values("pk"))
        | Q(what=Excludable.INSTANCE, object_id__in=instances)
        | Q(what=Excludable.CELL, object_id__in=cell_ids(scopes))
    )


def freezes_within(scopes: Scopes) -> Q:
    return Q(account_id__in=scopes.accounts) if scopes.permission in READING else NOTHING


def register() -> None:
    """Tell `access` about every model whose rows somebody else than everybody may see."""
    for model in (
        Release,
        Artifact,
        Advisory,
        VexStatement,
        ClockPolicy,
        ClockStep,
        ClockAsk,
        MetricSource,
        Ring,
    ):
        scoping.register(model, of_the_product)
    scoping.register(Rollout, rollouts_within)
    scoping.register(
        Wave, lambda scopes: Q(rollout__in=Rollout.objects.filter(rollouts_within(scopes)).order_by())
    )
    scoping.register(RolloutTarget, targets_within)
    scoping.register(Exposure, targets_within)
    scoping.register(Hold, of_tenants)
    scoping.register(RingMember, members_within)
    scoping.register(Exclusion, exclusions_within)
    scoping.register(HotPatch, of_tenants)
    scoping.register(CustomerNotice, of_tenants)
    scoping.register(Window, of_tenants)
    scoping.register(BlastPolicy, policies_within)
    scoping.register(Freeze, freezes_within)
