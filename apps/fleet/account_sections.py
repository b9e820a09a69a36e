"""What the fleet tells on the accounts' pages: cells, how full they are, how their instances fare."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from django.db.models import Count
from django.urls import reverse

from apps.access.scoping import visible
from apps.accounts import panels

from .choices import Health
from .models import Cell, Instance, Placement
from .tenant_sections import BADNESS


def register() -> None:
    """Fill the accounts' slots; called from registers.py."""
    panels.holdings.register(holdings)
    panels.cells.register(cells)


def holdings(user: Any, account_ids: Collection[int]) -> dict[int, panels.Holding]:
    """What the user sees of each account's cells, instances and tenants. Three queries."""
    by_account: dict[int, list[Cell]] = defaultdict(list)
    for cell in _cells(user, account_ids):
        by_account[cell.region.account_id].append(cell)
    health = _health(user, [cell.pk for group in by_account.values() for cell in group])
    tenants = _tenants(user, account_ids)
    found = {}
    for account_id, group in by_account.items():
        counts = _sorted(sum((health[cell.pk] for cell in group), Counter()))
        worst, label = _worst(counts)
        found[account_id] = panels.Holding(
            cells=len(group),
            instances=sum(counts.values()),
            tenants=tenants.get(account_id, 0),
            capacity=sum(cell.capacity for cell in group),
            by_health=counts,
            worst=worst,
            worst_label=label,
        )
    return found


def cells(user: Any, account_ids: Collection[int]) -> dict[int, list[panels.CellUse]]:
    """The visible cells of each account, by name. Three queries."""
    rows = _cells(user, account_ids)
    health = _health(user, [cell.pk for cell in rows])
    tenants = _tenants_by_cell(user, [cell.pk for cell in rows])
    found: dict[int, list[panels.CellUse]] = defaultdict(list)
    for cell in rows:
        counts = _sorted(health[cell.pk])
        worst, label = _worst(counts)
        found[cell.region.account_id].append(
            panels.CellUse(
                name=cell.name,
                url=reverse("fleet:cell", args=[cell.pk]),
                region_id=cell.region_id,
                provider=cell.get_provider_display(),
                capacity=cell.capacity,
                instances=sum(counts.values()),
                tenants=tenants.get(cell.pk, 0),
                by_health=counts,
                worst=worst,
                worst_label=label,
                locked=cell.locked_reason,
            )
        )
    return found


def _cells(user: Any, account_ids: Collection[int]) -> list[Cell]:
    rows = Cell.objects.filter(region__account_id__in=account_ids).select_related("region")
    return list(visible(user, rows).order_by("name"))


def _health(user: Any, cell_ids: Iterable[int]) -> dict[int, Counter[str]]:
    rows = visible(user, Instance.objects.filter(cell_id__in=list(cell_ids))).order_by()
    found: dict[int, Counter[str]] = defaultdict(Counter)
    for cell_id, health, count in rows.values_list("cell_id", "health").annotate(count=Count("pk")):
        found[cell_id][health] = count
    return found


def _tenants(user: Any, account_ids: Collection[int]) -> dict[int, int]:
    rows = visible(
        user, Placement.objects.filter(instance__cell__region__account_id__in=account_ids)
    ).order_by()
    count = Count("tenant_id", distinct=True)
    return dict(rows.values_list("instance__cell__region__account_id").annotate(count=count))


def _tenants_by_cell(user: Any, cell_ids: Iterable[int]) -> dict[int, int]:
    rows = visible(user, Placement.objects.filter(instance__cell_id__in=list(cell_ids))).order_by()
    return dict(rows.values_list("instance__cell_id").annotate(count=Count("tenant_id", distinct=True)))


def _sorted(counts: Counter[str]) -> Mapping[str, int]:
    return dict(sorted(counts.items(), key=lambda pair: BADNESS[pair[0]]))


def _worst(counts: Mapping[str, int]) -> tuple[str, str]:
    worst = next(iter(counts), "")
    return worst, str(Health(worst).label) if worst else ""
