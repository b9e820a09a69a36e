"""What the fleet tells on a tenant's pages: how it fares, what serves it, who reaches it, and by which instance it is found."""

from collections import defaultdict
from collections.abc import Collection
from typing import Any

from django.db.models import Count, Q, QuerySet
from django.urls import reverse

from apps.access.choices import ScopeKind
from apps.access.scoped import Reader, scoped
from apps.access.scoping import visible
from apps.accounts.models import Account
from apps.core.compiled import one_of
from apps.tenants import panels, search

from .choices import WRONG, Health, InstanceKind
from .models import Cell, Placement

#: Worst first. Stopped is somebody's wish, so it is better than what nobody wished.
WORST = (Health.FAILING, Health.DEGRADED, Health.UNKNOWN, Health.STARTING, Health.STOPPED, Health.WELL)
BADNESS = {str(health): place for place, health in enumerate(WORST)}


def register() -> None:
    """Fill the tenants' slots; called from registers.py."""
    panels.standings.register(standings)
    panels.placements.register(placements)
    panels.covers.register(covers)
    panels.narrowings.update(
        health=panels.Narrowing("Health of an instance", lambda user: Health.choices, _with_health),
        account=panels.Narrowing("Account", _account_choices, _in_account),
        cell=panels.Narrowing("Cell", _cell_choices, _in_cell),
    )
    search.register(
        search.Source(
            word="instance",
            table="fleet_placement p JOIN fleet_instance x ON x.id = p.instance_id",
            text="x.name",
            tenant="p.tenant_id",
            ordered="x.name",
            fold="LOWER",
            own_id="x.id",
            key="p.id",
            rows=lambda user: visible(user, Placement),
        )
    )


def standings(user: Any, tenant_ids: Collection[int]) -> dict[int, panels.Standing]:
    """The worst health of each tenant's visible instances, and how many there are. One query."""
    counts: dict[int, dict[str, int]] = defaultdict(dict)
    for tenant_id, health, count in _by_health(user, ids=list(tenant_ids)):
        counts[tenant_id][health] = count
    return {tenant_id: _standing(by_health) for tenant_id, by_health in counts.items()}


@scoped
def _by_health(reader: Reader, *, ids: Any) -> QuerySet[Placement, tuple[int, str, int]]:
    rows = visible(reader, Placement.objects.filter(tenant_id=one_of(ids))).order_by()
    return rows.values_list("tenant_id", "instance__health").annotate(count=Count("pk"))


def _standing(by_health: dict[str, int]) -> panels.Standing:
    worst = Health(min(by_health, key=BADNESS.__getitem__))
    wrong = sum(count for health, count in by_health.items() if health in WRONG)
    return panels.Standing(worst, str(worst.label), sum(by_health.values()), wrong)


def placements(user: Any, tenant_ids: Collection[int]) -> dict[int, list[panels.Served]]:
    """The visible instances of each tenant, worst first. One query."""
    found: dict[int, list[panels.Served]] = defaultdict(list)
    for row in _placed(user, ids=list(tenant_ids)):
        found[row.tenant_id].append(_served(row))
    for served in found.values():
        served.sort(key=lambda one: BADNESS[one.health])
    return found


@scoped
def _placed(reader: Reader, *, ids: Any) -> QuerySet[Placement]:
    rows = visible(reader, Placement.objects.filter(tenant_id=one_of(ids)))
    return rows.select_related("instance__cell__region__account").order_by("instance__name")


def _served(row: Placement) -> panels.Served:
    instance, cell = row.instance, row.instance.cell
    return panels.Served(
        instance_id=instance.pk,
        name=instance.name,
        url=reverse("fleet:instance", args=[instance.pk]),
        kind=instance.get_kind_display(),
        health=instance.health,
        health_label=instance.get_health_display(),
        detail=instance.health_detail,
        health_since=instance.health_since,
        version=instance.version,
        wanted_version=instance.wanted_version,
        since=row.since,
        cell=cell.name,
        cell_url=reverse("fleet:cell", args=[cell.pk]),
        account=cell.region.account.name,
        account_url=reverse("accounts:account", args=[cell.region.account_id]),
        region=cell.region.code,
        is_shared=instance.kind == InstanceKind.SHARED,
        is_wrong=instance.health in WRONG,
        locked=instance.locked_reason or cell.locked_reason,
    )


def covers(user: Any, tenant_ids: Collection[int]) -> dict[int, list[panels.Cover]]:
    """The accounts and cells that serve each tenant, whoever reads: who reaches it is no less true unseen."""
    rows = Placement.objects.filter(tenant_id__in=tenant_ids).order_by().distinct().values_list(
        "tenant_id", "instance__cell_id", "instance__cell__name",
        "instance__cell__region__account_id", "instance__cell__region__account__name",
    )  # fmt: skip
    found: dict[int, dict[tuple[str, int], panels.Cover]] = defaultdict(dict)
    for tenant_id, cell_id, cell, account_id, account in rows:
        found[tenant_id][ScopeKind.CELL, cell_id] = panels.Cover(ScopeKind.CELL, cell_id, cell)
        found[tenant_id][ScopeKind.ACCOUNT, account_id] = panels.Cover(ScopeKind.ACCOUNT, account_id, account)
    return {tenant_id: list(scopes.values()) for tenant_id, scopes in found.items()}


def _served_where(user: Any, **where: Any) -> Q:
    """Tenants with a visible placement on such an instance."""
    return Q(pk__in=visible(user, Placement.objects.filter(**where)).order_by().values("tenant_id"))


def _with_health(user: Any, value: str) -> Q:
    return _served_where(user, instance__health=value)


def _in_account(user: Any, value: str) -> Q:
    return _served_where(user, instance__cell__region__account__name=value)


def _in_cell(user: Any, value: str) -> Q:
    return _served_where(user, instance__cell__name=value)


def _account_choices(user: Any) -> list[tuple[str, str]]:
    return [(name, name) for name in visible(user, Account).order_by("name").values_list("name", flat=True)]


def _cell_choices(user: Any) -> list[tuple[str, str]]:
    return [(name, name) for name in visible(user, Cell).order_by("name").values_list("name", flat=True)]
