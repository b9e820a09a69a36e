"""Which scopes cover an instance, a cell, an account or a tenant: `scopes.py` read from the row's side.

Each answers for all ids at once. What it tells must agree with `visible`; a test compares the two.
"""

from collections import defaultdict
from collections.abc import Collection

from apps.access import scoping
from apps.access.choices import WHOLE_INSTANCE, Permission, ScopeKind
from apps.access.scoping import Cover
from apps.accounts.models import Account
from apps.tenants.models import Tenant

from .choices import InstanceKind
from .models import Cell, Instance, Placement
from .scopes import LOOKING

#: What a tenant's scope carries on an instance that serves other tenants too.
SHARED = frozenset(str(p) for p in Permission) - {str(p) for p in WHOLE_INSTANCE}
LOOK = frozenset(str(p) for p in LOOKING)

Covers = dict[int, list[Cover]]


def instances(ids: Collection[int]) -> Covers:
    """By the tenants placed on it, its cell, its cell's account. Two queries."""
    placed = Placement.objects.filter(instance_id__in=ids).order_by("tenant__name")
    found: Covers = defaultdict(list)
    for pk, kind, tenant_id, name in placed.values_list(
        "instance_id", "instance__kind", "tenant_id", "tenant__name"
    ):
        is_shared = kind != InstanceKind.DEDICATED
        way = "shared with other tenants: carries what shows this tenant's part" if is_shared else "serves it"
        only = SHARED if is_shared else None
        found[pk].append(Cover(ScopeKind.TENANT, tenant_id, name, way, only))
    rows = Instance.objects.filter(pk__in=ids).values_list(
        "pk", "cell_id", "cell__name", "cell__region__account_id", "cell__region__account__name"
    )
    for pk, cell_id, cell, account_id, account in rows:
        found[pk].append(Cover(ScopeKind.CELL, cell_id, cell, "runs in it"))
        found[pk].append(Cover(ScopeKind.ACCOUNT, account_id, account, f"runs in its cell {cell}"))
    return found


def cells(ids: Collection[int]) -> Covers:
    """By itself and its account. One query."""
    rows = Cell.objects.filter(pk__in=ids).values_list(
        "pk", "name", "region__account_id", "region__account__name"
    )
    return {
        pk: [
            Cover(ScopeKind.CELL, pk, name, "itself"),
            Cover(ScopeKind.ACCOUNT, account_id, account, "lies in it"),
        ]
        for pk, name, account_id, account in rows
    }


def accounts(ids: Collection[int]) -> Covers:
    """By itself, and to look by each of its cells. Two queries."""
    found: Covers = {
        pk: [Cover(ScopeKind.ACCOUNT, pk, name, "itself")]
        for pk, name in Account.objects.filter(pk__in=ids).values_list("pk", "name")
    }
    rows = Cell.objects.filter(region__account_id__in=ids).order_by("name")
    for account_id, pk, name in rows.values_list("region__account_id", "pk", "name"):
        found[account_id].append(Cover(ScopeKind.CELL, pk, name, "is a cell of it: to look", LOOK))
    return found


def tenants(ids: Collection[int]) -> Covers:
    """By itself, and to look by the cells and accounts that serve it. Two queries."""
    found: Covers = {
        pk: [Cover(ScopeKind.TENANT, pk, name, "itself")]
        for pk, name in Tenant.objects.filter(pk__in=ids).values_list("pk", "name")
    }
    rows = Placement.objects.filter(tenant_id__in=ids).order_by("instance__cell__name").distinct().values_list(
        "tenant_id", "instance__cell_id", "instance__cell__name",
        "instance__cell__region__account_id", "instance__cell__region__account__name",
    )  # fmt: skip
    told: set[tuple[int, str, int]] = set()
    for tenant_id, cell_id, cell, account_id, account in rows:
        for cover in (
            Cover(ScopeKind.CELL, cell_id, cell, "is served there: to look", LOOK),
            Cover(ScopeKind.ACCOUNT, account_id, account, f"is served in its cell {cell}: to look", LOOK),
        ):
            if (tenant_id, cover.kind, cover.object_id) not in told:
                told.add((tenant_id, cover.kind, cover.object_id))
                found[tenant_id].append(cover)
    return found


def register() -> None:
    """Tell `access`; called from registers.py."""
    scoping.register_covering(Instance, instances)
    scoping.register_covering(Tenant, tenants)
    scoping.register_covering(Cell, cells)
    scoping.register_covering(Account, accounts)
