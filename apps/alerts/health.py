"""The portal's own signal: an instance's health turned."""

from collections.abc import Sequence

from django.db.models import Exists, OuterRef
from django.utils import timezone

from apps.fleet.choices import Health
from apps.fleet.models import Instance
from apps.fleet.observing import HealthChange
from apps.operations.choices import State
from apps.operations.models import Operation

from .choices import AlertState, Severity, SignalState
from .intake import Said, fingerprint, write
from .models import Alert, Signal

SOURCE = "daytwo"
NAME = "InstanceFailing"
SEVERITY = {Health.FAILING: Severity.CRITICAL, Health.DEGRADED: Severity.WARNING}
WORDS = {
    Health.FAILING: "fails",
    Health.DEGRADED: "is degraded",
    Health.WELL: "is well again",
    Health.STOPPED: "was stopped",
}
#: At most so many are put right at one look.
AT_ONCE = 5_000


def fingerprint_of(instance_id: int) -> str:
    """One alert for each instance, whether it fails or is only degraded."""
    return fingerprint(SOURCE, {"alertname": NAME, "instance_id": str(instance_id)})


def heard(changes: Sequence[HealthChange]) -> None:
    """Turn changes of health into signals, in the probe's transaction.

    What fails while an operation changes it is not news yet; `catch_up` tells it when it still fails afterwards.
    """
    failing = [c.instance_id for c in changes if c.after in SEVERITY]
    changing = set(
        Operation.objects.filter(
            target_type="instance", target_id__in=failing, is_changing=True, state=State.RUNNING
        ).values_list("target_id", flat=True)
    )
    write(SOURCE, [_said(c) for c in changes if c.after in WORDS and c.instance_id not in changing])


def _said(change: HealthChange) -> Said:
    health = Health(change.after)
    detail = f": {change.detail}" if change.detail and health in SEVERITY else ""
    return Said(
        state=SignalState.FIRING if health in SEVERITY else SignalState.RESOLVED,
        name=NAME,
        severity=SEVERITY.get(health, Severity.INFO),
        summary=f"{change.name} {WORDS[health]}{detail}"[:300],
        labels={
            "alertname": NAME,
            "daytwo_instance": change.name,
            "health": str(health),
            "version": change.version,
        },
        at=timezone.now(),
        fingerprint=fingerprint_of(change.instance_id),
        instance_id=change.instance_id,
        cell_id=change.cell_id,
        account_id=change.account_id,
    )


def catch_up() -> int:
    """Say again what the rows say and no alert does, and the other way round; gives how many signals it wrote.

    A change that was held back, or happened before alerting was there, is told here.
    """
    own = Alert.objects.filter(source_name=SOURCE, name=NAME, state=AlertState.OPEN)
    waiting = Signal.objects.filter(source_name=SOURCE, processed_at__isnull=True, instance_id=OuterRef("pk"))
    running = Operation.objects.filter(
        target_type="instance", target_id=OuterRef("pk"), is_changing=True, state=State.RUNNING
    )
    rows = Instance.objects.order_by("pk").filter(~Exists(running), ~Exists(waiting))
    mine = own.filter(instance_id=OuterRef("pk"))
    untold = rows.filter(~Exists(mine), health__in=list(SEVERITY))
    over = rows.filter(
        pk__in=own.filter(resolve_after__isnull=True).values("instance_id"),
        health__in=[Health.WELL, Health.STOPPED],
    )
    columns = ("pk", "name", "cell_id", "cell__region__account_id", "health", "health_detail", "version")
    found = [*untold.values_list(*columns)[:AT_ONCE], *over.values_list(*columns)[:AT_ONCE]]
    write(SOURCE, [_said(HealthChange(r[0], r[1], r[2], r[3], "", r[4], r[5], r[6])) for r in found])
    return len(found)
