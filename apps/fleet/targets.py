"""Instances as the engine and the providers see them."""

from collections.abc import Mapping, Sequence

from django.db.models import F

from apps.core.arrays import among
from apps.operations.kinds import TargetInfo

from .choices import InstanceKind
from .models import Instance, Placement
from .providers.base import Target


def describe(ids: Sequence[int]) -> dict[int, TargetInfo]:
    """Infos for the engine, by id. The tenant is named where there is only one: on a dedicated instance."""
    rows = Instance.objects.filter(pk__in=among(ids)).values_list(
        "pk", "name", "cell_id", "cell__region__account_id", "kind", "locked_reason", "cell__locked_reason"
    )
    infos = list(rows)
    dedicated = [row[0] for row in infos if row[4] == InstanceKind.DEDICATED]
    tenants = dict(
        Placement.objects.filter(instance_id__in=among(dedicated))
        .order_by()
        .values_list("instance_id", "tenant_id")
    )
    return {
        pk: TargetInfo(
            pk, name, account_id=account, cell_id=cell, tenant_id=tenants.get(pk), locked=own or of_cell
        )
        for pk, name, cell, account, _, own, of_cell in infos
    }


def facts(ids: Sequence[int]) -> dict[int, dict[str, str]]:
    """What an approver should know to have changed. Two queries."""
    tenants = _tenant_keys(ids)
    rows = Instance.objects.filter(pk__in=list(ids)).select_related("cell")
    return {
        one.pk: {
            "version": one.version,
            "wanted version": one.wanted_version,
            "health": one.get_health_display(),
            "cell": one.cell.name,
            "lock": one.locked_reason or one.cell.locked_reason,
            "tenants": ", ".join(tenants.get(one.pk, ())),
        }
        for one in rows
    }


def provider_targets(ids: Sequence[int]) -> dict[str, dict[int, Target]]:
    """Targets for the providers: by provider name, then by instance id. Two queries."""
    found: dict[str, dict[int, Target]] = {}
    tenants = _tenant_keys(ids)
    rows = Instance.objects.filter(pk__in=among(ids)).values_list(
        "pk", "name", "cell__name", "wanted_version", "workers", "cell__provider"
    )
    for pk, name, cell, version, workers, provider in rows:
        found.setdefault(provider, {})[pk] = Target(
            pk, name, cell, version, tenants=tenants.get(pk, ()), workers=workers
        )
    return found


def _tenant_keys(ids: Sequence[int]) -> Mapping[int, tuple[str, ...]]:
    keys: dict[int, list[str]] = {}
    rows = (
        Placement.objects.filter(instance_id__in=among(ids))
        .order_by("tenant_id")
        .annotate(key=F("tenant__key"))
    )
    for instance_id, key in rows.values_list("instance_id", "key"):
        keys.setdefault(instance_id, []).append(key)
    return {pk: tuple(values) for pk, values in keys.items()}
