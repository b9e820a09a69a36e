"""Which change may have done it: operations on what is affected, ranked by how close before and how much they overlap."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from apps.access.scoping import visible
from apps.access.services import system_actor
from apps.operations.models import Operation
from apps.operations.queries import kind_label
from apps.releases.models import RolloutTarget

from .models import Alert, Incident

LOOK_BACK = timedelta(hours=1)
SHOWN = 5
#: How much a kind of change is suspected by itself.
WEIGHT = {"deploy": 1.0, "restart": 0.5, "start": 0.4, "stop": 0.4}


@dataclass(frozen=True, slots=True)
class Suspect:
    """One change, perhaps on many targets: the last of its operations, a score from 0 to 1, and why."""

    operation: Operation
    score: float
    reasons: tuple[str, ...]
    rollout_id: int | None = None

    @property
    def words(self) -> str:
        """What was done."""
        version = self.operation.params.get("version", "")
        return f"{kind_label(self.operation.kind)} {version}".strip()


def suspects(user: Any, incident: Incident, alerts: Sequence[Alert]) -> list[Suspect]:
    """Changes in the hour before it began, on the instances that have alerts, of those that `user` sees; two queries."""
    began: dict[int, Any] = {}
    for alert in alerts:
        if alert.instance_id:
            began[alert.instance_id] = min(alert.opened_at, began.get(alert.instance_id, alert.opened_at))
    if not began:
        return []
    first = min(began.values())
    rows = (
        visible(
            user,
            Operation.objects.filter(target_type="instance", target_id__in=list(began), is_changing=True),
        )
        .filter(created_at__gte=first - LOOK_BACK, created_at__lte=max(began.values()))
        .exclude(actor=system_actor("recovery"))
        .select_related("actor")
        .order_by("-id")[:2_000]
    )
    groups: dict[tuple[str, str], list[Operation]] = {}
    for operation in rows:
        started = operation.started_at or operation.created_at
        if started <= began[operation.target_id] + timedelta(seconds=5):
            groups.setdefault((operation.kind, str(operation.params)), []).append(operation)
    found = sorted((_judge(group, began) for group in groups.values()), key=lambda s: -s.score)[:SHOWN]
    return _with_rollouts(user, found)


def _with_rollouts(user: Any, found: Sequence[Suspect]) -> list[Suspect]:
    """The same, each deploy with the rollout that it belonged to. One query, where there are deploys."""
    ids = [s.operation.pk for s in found if s.operation.kind == "deploy"]
    rows = visible(user, RolloutTarget).filter(operation_id__in=ids) if ids else RolloutTarget.objects.none()
    rollouts = dict(rows.values_list("operation_id", "rollout_id"))
    return [replace(s, rollout_id=rollouts.get(s.operation.pk)) for s in found]


def _judge(group: Sequence[Operation], began: dict[int, Any]) -> Suspect:
    touched = {o.target_id for o in group}
    gap = min((began[o.target_id] - (o.started_at or o.created_at)).total_seconds() for o in group)
    nearness = 1 - max(0.0, min(gap, LOOK_BACK.total_seconds())) / LOOK_BACK.total_seconds()
    overlap = len(touched) / len(began)
    weight = WEIGHT.get(group[0].kind, 0.5)
    ago = f"{gap:.0f} s" if gap < 120 else f"{gap / 60:.0f} min"
    reasons = (
        f"began {ago} before" if gap > 0 else "began with it",
        f"on {len(touched)} of {len(began)} affected",
        f"asked for by {group[0].actor}",
    )
    return Suspect(group[0], round(weight * (0.6 * nearness + 0.4 * overlap), 3), reasons)
