"""Where the tenants of an instance could go: who may, and what fits."""

from typing import Any

from django.db.models import Case, Count, IntegerField, QuerySet, Value, When

from apps.access.choices import Permission
from apps.access.scoping import allowed, visible
from apps.operations.choices import OPEN
from apps.operations.models import Operation

from ..choices import Health, InstanceKind, Wanted
from ..models import Instance

ANY = "any"
#: Candidates that are looked at.
SHOWN = 50


def candidates(source: Instance, actor: Any) -> QuerySet[Instance]:
    """Instances that could take the tenants of `source`, the best first.

    Of the same account, law and version, well, unlocked and at rest, on which `actor` may deploy; a dedicated one is
    empty. Those of the same cell come first, then those with the fewest tenants.
    """
    region = source.cell.region
    busy = Operation.objects.filter(target_type="instance", is_changing=True, state__in=OPEN)
    rows = (
        visible(actor, Instance.objects.select_related("cell__region"), Permission.DEPLOY)
        .filter(
            cell__region__account_id=region.account_id, cell__region__jurisdiction=region.jurisdiction,
            kind=source.kind, wanted_version=source.wanted_version, wanted=Wanted.RUNNING, health=Health.WELL,
            locked_reason="", cell__locked_reason="",
        )
        .exclude(pk=source.pk)
        .exclude(pk__in=busy.values("target_id"))
        .annotate(
            load=Count("placements"),
            is_far=Case(When(cell_id=source.cell_id, then=Value(0)), default=Value(1), output_field=IntegerField()),
        )
    )  # fmt: skip
    if source.kind == InstanceKind.DEDICATED:
        rows = rows.filter(load=0)
    return rows.order_by("is_far", "load", "name")


def find(source: Instance, name: str, actor: Any) -> tuple[Instance | None, str]:
    """The destination of that name, or the best for “any”; else None and why not."""
    if name == ANY:
        best = candidates(source, actor).first()
        words = (
            f"another {source.kind} instance of version {source.wanted_version} in the same account and law"
        )
        return best, "" if best else f"there is no {words} that is well and may take its tenants"
    found = visible(actor, Instance.objects.select_related("cell__region")).filter(name=name).first()
    if found is None:
        return None, f"there is no instance “{name}” that you can see"
    return (None, why) if (why := _why_not(source, found, actor)) else (found, "")


def _why_not(source: Instance, to: Instance, actor: Any) -> str:
    here, there = source.cell.region, to.cell.region
    if to.pk == source.pk:
        return "its tenants are there already"
    if not allowed(actor, Permission.DEPLOY, to):
        return f"you may not deploy on {to}"
    if here.account_id != there.account_id:
        return f"{to} lies in another account"
    if here.jurisdiction != there.jurisdiction:
        return (
            f"{to} lies under another law ({there.jurisdiction or 'none'}, not {here.jurisdiction or 'none'})"
        )
    if to.kind != source.kind:
        return f"{to} is {to.kind}, not {source.kind}"
    if to.wanted_version != source.wanted_version:
        return f"{to} is on {to.wanted_version}, not on {source.wanted_version}; deploy that there first"
    if to.locked_reason or to.cell.locked_reason:
        return f"{to} is locked: {to.locked_reason or to.cell.locked_reason}"
    if to.kind == InstanceKind.DEDICATED and to.placements.exists():
        return f"{to} is dedicated to another tenant"
    if to.wanted != Wanted.RUNNING or to.health != Health.WELL:
        return f"{to} is {to.get_health_display().lower()}"
    return ""
