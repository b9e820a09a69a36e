"""What rollouts tell on the pages of instances: what was changed there lately."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db.models import Max, Min
from django.urls import reverse

from apps.access.scoping import visible
from apps.fleet.changes import Around, Change

from .models import RolloutTarget

SHOWN = 10


def rollouts(user: Any, what: Around, since: datetime, until: datetime) -> Sequence[Change]:
    """Rollouts that moved one of the instances then, of those that `user` sees. One query."""
    rows = visible(user, RolloutTarget).filter(
        instance_id__in=what.instances, changed_at__range=(since, until), operation_id__isnull=False
    )
    found = (
        rows.order_by()
        .values("rollout_id", "rollout__release__version", "rollout__state", "rollout__reason")
        .annotate(at=Max("changed_at"), wave=Min("wave"))
        .order_by("-at")[:SHOWN]
    )
    return [
        Change(
            row["at"], "rollout", f"Rollout of {row['rollout__release__version']}, wave {row['wave']}",
            f"{row['rollout__state'].replace('_', ' ')} · {row['rollout__reason']}",
            reverse("releases:rollout", args=[row["rollout_id"]]),
        )
        for row in found
    ]  # fmt: skip
