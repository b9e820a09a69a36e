"""Which rules stand in a rollout's way now: holds and pins of tenants, freezes."""

from collections.abc import Sequence

from django.db.models import Q
from django.utils import timezone

from apps.fleet.models import Placement

from .arrays import among
from .choices import ReleaseKind
from .models import Freeze, Hold, Release


def holds_now() -> "Q":
    """Holds that hold at this moment."""
    return Q(until__gt=timezone.now(), overridden_by__isnull=True)


def held_instances(instance_ids: Sequence[int], version: str) -> dict[int, str]:
    """Why not, by instance id, for those that serve a tenant on hold, or one pinned to another version. Two queries."""
    holds = {
        hold.tenant_id: hold
        for hold in Hold.objects.filter(holds_now())
        .exclude(version=version)
        .select_related("tenant")
        .order_by("until")
    }
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
