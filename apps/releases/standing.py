"""Which rules stand in a rollout's way now: holds and pins of tenants, freezes."""

from collections.abc import Sequence
from datetime import datetime

from django.db.models import Q
from django.utils import timezone

from apps.core.arrays import among
from apps.fleet.models import Placement

from .choices import ReleaseKind
from .models import Freeze, Hold, Release, Window
from .windows import Weekly, opens_next, zone_of


def holds_now() -> "Q":
    """Holds that hold at this moment."""
    return Q(until__gt=timezone.now(), overridden_by__isnull=True)


def held_instances(instance_ids: Sequence[int], version: str | None) -> dict[int, str]:
    """Why not, by instance id, for those that serve a tenant on hold, or one pinned to another version. Two queries.

    None: whichever the version, for who asks what stands in the way at all.
    """
    rows = Hold.objects.filter(holds_now())
    if version is not None:
        rows = rows.exclude(version=version)
    holds = {hold.tenant_id: hold for hold in rows.select_related("tenant").order_by("until")}
    if not holds:
        return {}
    placed = Placement.objects.filter(
        instance_id__in=among(instance_ids), tenant_id__in=among(holds)
    ).order_by()
    return {
        instance_id: _words(holds[tenant_id])
        for instance_id, tenant_id in placed.values_list("instance_id", "tenant_id")
    }


def _words(hold: Hold) -> str:
    what = f"pinned to {hold.version}" if hold.version else "on hold"
    return f"{hold.tenant} is {what} until {hold.until:%Y-%m-%d %H:%M} UTC: {hold.reason}"


def shut_tenants(release: Release) -> dict[int, str]:
    """Why not now, by id of tenants that have windows of which none is open. One query.

    A window that lets security through does not hold a security release.
    """
    rows = Window.objects.filter(is_on=True)
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


def frozen_until(release: Release) -> dict[int | None, str]:
    """Why nothing starts now, by account id (None: anywhere); empty without a freeze that concerns this release."""
    now = timezone.now()
    rows = Freeze.objects.filter(starts_at__lte=now, ends_at__gt=now)
    if release.kind == ReleaseKind.SECURITY:
        rows = rows.filter(lets_security_through=False)
    return {
        freeze.account_id: f"Freeze “{freeze.name}” until {freeze.ends_at:%Y-%m-%d %H:%M} UTC: {freeze.reason}"
        for freeze in rows.order_by("ends_at")
    }
