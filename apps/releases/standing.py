"""Which rules stand in a rollout's way now: holds and pins of tenants, freezes."""

from collections.abc import Collection, Sequence
from datetime import datetime

from django.db.models import F, Q, QuerySet
from django.utils import timezone

from apps.core.arrays import among
from apps.fleet.models import Placement

from .choices import ReleaseKind
from .models import Freeze, Hold, HotPatch, Release, Window
from .windows import Weekly, opens_next, zone_of


def holds_now() -> "Q":
    """Holds that hold at this moment."""
    return Q(until__gt=timezone.now(), overridden_by__isnull=True)


def held_instances(
    instance_ids: Sequence[int], version: str | None, holds: QuerySet[Hold] | None = None
) -> dict[int, str]:
    """Why not, by instance id, for those that serve a tenant on hold, or one pinned to another version. One query.

    No version: whichever it is, for who asks what stands in the way at all. `holds`: of these alone.
    """
    rows = (Hold.objects.all() if holds is None else holds).filter(
        holds_now(), tenant__placements__instance_id__in=among(instance_ids)
    )
    if version is not None:
        rows = rows.exclude(version=version)
    placed = rows.annotate(instance_id=F("tenant__placements__instance_id")).select_related("tenant")
    return {hold.instance_id: _words(hold) for hold in placed.order_by("until")}


def holds_kept(query: str) -> QuerySet[Hold]:
    """The holds that a rollout with this filter keeps: all, but the pin of a hot patch where it is for that tenant alone.

    The pin keeps rollouts of the main line away; who brings that tenant back to it means to.
    """
    key = query.removeprefix("tenant=")
    if key == query or "&" in key:
        return Hold.objects.all()
    own = HotPatch.objects.filter(tenant__key=key, ended_at__isnull=True, hold__isnull=False)
    return Hold.objects.exclude(pk__in=own.order_by().values("hold_id"))


def _words(hold: Hold) -> str:
    what = f"pinned to {hold.version}" if hold.version else "on hold"
    return f"{hold.tenant} is {what} until {hold.until:%Y-%m-%d %H:%M} UTC: {hold.reason}"


def shut_instances(release: Release, instance_ids: Collection[int]) -> dict[int, str]:
    """Why not now, by id of those instances that serve a tenant whose windows are shut. Two queries at most."""
    placed = Placement.objects.filter(instance_id__in=among(instance_ids)).order_by()
    shut = shut_tenants(release, Window.objects.filter(tenant_id__in=placed.values("tenant_id")))
    if not shut:
        return {}
    mine = placed.filter(tenant_id__in=among(shut)).values_list("instance_id", "tenant_id")
    return {instance_id: shut[tenant_id] for instance_id, tenant_id in mine}


def shut_tenants(release: Release, of: QuerySet[Window] | None = None) -> dict[int, str]:
    """Why not now, by id of tenants that have windows (of all, or these) of which none is open. One query.

    A window that lets security through does not hold a security release.
    """
    rows = (Window.objects.all() if of is None else of).filter(is_on=True)
    if release.kind == ReleaseKind.SECURITY:
        rows = rows.filter(lets_security_through=False)
    weekly: dict[int, list[Weekly]] = {}
    tenants: dict[int, tuple[str, str]] = {}
    columns = ("tenant_id", "tenant__name", "tenant__zone", "days", "opens_at", "minutes")
    for tenant_id, name, zone, *window in rows.order_by("tenant_id").values_list(*columns):
        weekly.setdefault(tenant_id, []).append((window[0], window[1], window[2]))
        tenants[tenant_id] = name, zone
    now, found = timezone.now(), {}
    for tenant_id, windows in weekly.items():
        name, zone = tenants[tenant_id]
        opens = opens_next(windows, zone_of(zone), now)
        if opens is None or opens > now:
            found[tenant_id] = _shut(name, zone, opens)
    return found


def _shut(name: str, zone: str, opens: datetime | None) -> str:
    if opens is None:
        return f"The maintenance window of {name} never opens; correct it."
    local = opens.astimezone(zone_of(zone))
    return f"The maintenance window of {name} opens {local:%Y-%m-%d %H:%M} {zone} ({opens:%H:%M} UTC)"


def frozen_until(release: Release, freezes: QuerySet[Freeze] | None = None) -> dict[int | None, str]:
    """Why nothing starts now, by account id (None: anywhere); empty without a freeze (of all, or these) that concerns this release."""
    now = timezone.now()
    rows = Freeze.objects.all() if freezes is None else freezes
    rows = rows.filter(starts_at__lte=now, ends_at__gt=now)
    if release.kind == ReleaseKind.SECURITY:
        rows = rows.filter(lets_security_through=False)
    return {
        freeze.account_id: f"Freeze “{freeze.name}” until {freeze.ends_at:%Y-%m-%d %H:%M} UTC: {freeze.reason}"
        for freeze in rows.order_by("ends_at")
    }
