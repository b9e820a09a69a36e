"""Which rows lie within given scopes: an instance inherits from its cell, account and tenants."""

from django.db.models import Q, QuerySet

from apps.access import scoping
from apps.access.choices import Permission
from apps.access.scoping import Scopes, any_of
from apps.accounts.models import Account, Region
from apps.core.models import Event
from apps.operations.models import Batch, Operation
from apps.tenants.models import Contact, Domain, ExternalId, Subscription, Tenant

from .choices import InstanceKind
from .models import (
    AcmeChallenge,
    AcmeOrder,
    Cell,
    Certificate,
    CertificateIssuer,
    Diagnostics,
    Instance,
    Measurement,
    Placement,
    RenewalPolicy,
)

#: What an account's or a cell's scope allows on the tenants that are served there, who may be served elsewhere too.
LOOKING = frozenset({Permission.VIEW, Permission.EXPORT, Permission.READ_LOGS})


def cells_within(scopes: Scopes) -> Q:
    return any_of(pk=scopes.cells, region__account_id=scopes.accounts)


def cell_ids(scopes: Scopes) -> QuerySet[Cell, int]:
    """The ids of the cells that account and cell scopes cover."""
    return Cell.objects.filter(cells_within(scopes)).order_by().values_list("pk", flat=True)


def instances_within(scopes: Scopes) -> Q:
    """By cell and account, and by tenant where the permission does not reach other tenants with it."""
    if not scopes.tenants:
        return Q(cell_id__in=cell_ids(scopes))
    placed = Q(pk__in=Placement.objects.filter(tenant_id__in=scopes.tenants).order_by().values("instance_id"))
    if scopes.needs_whole_instance:
        placed &= Q(kind=InstanceKind.DEDICATED)
    if not (scopes.accounts or scopes.cells):
        return placed
    return Q(cell_id__in=cell_ids(scopes)) | placed


def instance_ids(scopes: Scopes) -> QuerySet[Instance, int]:
    return Instance.objects.filter(instances_within(scopes)).order_by().values_list("pk", flat=True)


def tenants_within(scopes: Scopes) -> Q:
    """A tenant's own scope, and whoever looks after a cell that serves it: to look, not to change the tenant."""
    served = []
    if (scopes.accounts or scopes.cells) and scopes.permission in LOOKING:
        there = Placement.objects.filter(instance__cell_id__in=cell_ids(scopes)).order_by()
        served = [Q(pk__in=there.values("tenant_id"))]
    return any_of(*served, pk=scopes.tenants)


def of_tenants(scopes: Scopes) -> Q:
    return Q(tenant__in=Tenant.objects.filter(tenants_within(scopes)).order_by())


def placements_within(scopes: Scopes) -> Q:
    """On a shared instance, a tenant's scope shows that tenant's part only."""
    there = [Q(instance__cell_id__in=cell_ids(scopes))] if scopes.accounts or scopes.cells else []
    return any_of(*there, tenant_id=scopes.tenants)


def of_instances(scopes: Scopes) -> Q:
    return Q(instance_id__in=instance_ids(scopes))


def accounts_within(scopes: Scopes) -> Q:
    """An account's own scope, and whoever looks after a cell in it: to look, or a cell's scope would reach its neighbours."""
    own = Q(pk__in=scopes.accounts)
    return own | Q(regions__cells__in=scopes.cells) if scopes.permission in LOOKING else own


def regions_within(scopes: Scopes) -> Q:
    own = Q(account_id__in=scopes.accounts)
    return own | Q(cells__in=scopes.cells) if scopes.permission in LOOKING else own


def operations_within(scopes: Scopes) -> Q:
    own = any_of(account_id=scopes.accounts, cell_id=scopes.cells, tenant_id=scopes.tenants)
    if scopes.tenants and not scopes.needs_whole_instance:
        # Of an instance that was another tenant's before, what was done then stays that tenant's.
        on_theirs = Q(target_type="instance", target_id__in=instance_ids(scopes), tenant_id__isnull=True)
        return own | on_theirs
    return own


def batches_within(scopes: Scopes) -> Q:
    """Batches with an operation in the scopes; of the others in it, nothing is shown."""
    rows = Operation.objects.filter(operations_within(scopes), batch__isnull=False).order_by()
    return Q(pk__in=rows.values("batch_id"))


def events_within(scopes: Scopes) -> Q:
    own = any_of(account_id=scopes.accounts, cell_id=scopes.cells, tenant_id=scopes.tenants)
    if not scopes.tenants:
        return own
    # What another tenant does on a shared instance is not told; what happens to the instance is.
    placed = Placement.objects.filter(tenant_id__in=scopes.tenants).order_by().values("instance_id")
    return own | Q(instance_id__in=placed, tenant_id__isnull=True)


def register() -> None:
    """Tell `access` about every model whose rows belong to somebody."""
    scoping.register(Cell, cells_within)
    scoping.register(Instance, instances_within)
    scoping.register(Placement, placements_within)
    scoping.register(Measurement, of_instances)
    scoping.register(Diagnostics, of_instances)
    scoping.register(Certificate, of_instances)
    scoping.register(AcmeOrder, of_instances)
    scoping.register(AcmeChallenge, lambda s: Q(order__instance_id__in=instance_ids(s)))
    scoping.register(CertificateIssuer, lambda s: Q(account_id__in=s.accounts) | Q(cell_id__in=cell_ids(s)))
    scoping.register(RenewalPolicy, lambda scopes: Q(account_id__in=scopes.accounts))
    scoping.register(
        Account,
        lambda scopes: Q(pk__in=Account.objects.filter(accounts_within(scopes)).order_by().values("pk")),
    )
    scoping.register(Region, regions_within)
    scoping.register(Tenant, tenants_within)
    for part in (Subscription, Contact, Domain, ExternalId):
        scoping.register(part, of_tenants)
    scoping.register(Operation, operations_within)
    scoping.register(Batch, batches_within)
    scoping.register(Event, events_within)
