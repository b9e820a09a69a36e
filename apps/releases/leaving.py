"""Whom a wave leaves for later: tenants whose maintenance window is shut."""

from django.db.models import QuerySet
from django.utils import timezone

from apps.core.arrays import among
from apps.fleet.models import Placement

from .choices import TargetState
from .models import Rollout, RolloutTarget, Wave
from .standing import shut_tenants


def leave_shut(rollout: Rollout, wave: Wave) -> QuerySet[RolloutTarget]:
    """Those of a wave that wait and are in no shut maintenance window; the others are told when theirs opens."""
    waiting = rollout.targets.filter(wave=wave.number, state=TargetState.WAITING)
    shut = shut_tenants(rollout.release)
    if not shut:
        return waiting
    kept = Placement.objects.filter(tenant_id__in=among(shut)).order_by("tenant_id")
    reasons = dict(
        kept.filter(instance_id__in=waiting.order_by().values("instance_id")).values_list(
            "instance_id", "tenant_id"
        )
    )
    for tenant_id in set(reasons.values()):
        mine = [pk for pk, one in reasons.items() if one == tenant_id]
        rows = waiting.filter(instance_id__in=among(mine)).exclude(why=shut[tenant_id][:300])
        rows.update(why=shut[tenant_id][:300], changed_at=timezone.now())
    return waiting.exclude(instance_id__in=among(reasons))
