"""What the gate looks at: health of a wave's instances, failed changes, traffic of both sides over the same minutes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from django.utils import timezone

from apps.fleet.choices import Health, ProviderName, Wanted
from apps.fleet.models import Instance, Measurement
from apps.fleet.prometheus import Unanswered

from .choices import GateMode, TargetState
from .gates import Evidence, Traffic
from .metering import traffic_from
from .models import Rollout, RolloutTarget, Wave

#: Instances on the old version that are compared with; more would not make the test any sharper.
MAX_CONTROLS = 200


def evidence_of(rollout: Rollout, wave: Wave) -> Evidence:
    """Look at a wave; the number of queries does not grow with its instances."""
    targets = list(
        RolloutTarget.objects.filter(rollout=rollout, wave=wave.number)
        .order_by("position")
        .values_list("state", "instance_id", "instance__name", "instance__health", "instance__version",
                     "instance__wanted", "instance__cell__provider")
    )  # fmt: skip
    counted = [t for t in targets if t[0] not in (TargetState.SKIPPED, TargetState.HELD)]
    done = [t for t in counted if t[0] == TargetState.DONE]
    running = [t for t in done if t[5] == Wanted.RUNNING]
    version = rollout.release.version
    # A source of its own may know of any instance; a provider keeps figures of real ones alone.
    by_provider = rollout.metric_source_id is None
    measured = {t[1]: t[2] for t in done if not by_provider or t[6] != ProviderName.SIMULATED}
    base = Evidence(
        size=len(counted),
        moving=sum(t[0] in (TargetState.WAITING, TargetState.CHANGING) for t in counted),
        failed=[t[2] for t in counted if t[0] == TargetState.FAILED],
        unhealthy=[t[2] for t in running if t[3] in (Health.FAILING, Health.DEGRADED)],
        unsettled=[
            t[2]
            for t in running
            if t[3] not in (Health.WELL, Health.FAILING, Health.DEGRADED) or t[4] != version
        ],
        shows_nothing=not counted and _is_first_of_more(rollout, wave),
        bake_left=_bake_left(rollout, wave),
        compares=rollout.gate == GateMode.METRICS,
        min_requests=rollout.min_requests,
        measured=len(measured),
        without_metrics=len(done) - len(measured),
    )
    if not base.compares or not measured or base.moving or base.bake_left > 0 or wave.baking_since is None:
        return base
    return _with_traffic(base, rollout, measured, wave.baking_since)


def _is_first_of_more(rollout: Rollout, wave: Wave) -> bool:
    """Whether nothing was changed yet, and a later wave would be the first."""
    touched = rollout.targets.filter(state__in=[TargetState.DONE, TargetState.RETURNED, TargetState.STAYED])
    return rollout.waves.filter(number__gt=wave.number).exists() and not touched.exists()


def _bake_left(rollout: Rollout, wave: Wave) -> float:
    if wave.baking_since is None:
        return float(rollout.bake_seconds)
    return rollout.bake_seconds - (timezone.now() - wave.baking_since).total_seconds()


def _with_traffic(base: Evidence, rollout: Rollout, measured: Mapping[int, str], since: datetime) -> Evidence:
    moved = RolloutTarget.objects.filter(rollout=rollout).exclude(
        state__in=[TargetState.WAITING, TargetState.HELD, TargetState.EXCLUDED]
    )
    rows = (
        Instance.objects.exclude(version=rollout.release.version)
        .exclude(pk__in=moved.values("instance_id"))
        .filter(
            wanted=Wanted.RUNNING,
            version__in=RolloutTarget.objects.filter(rollout=rollout).values("from_version"),
        )
        .order_by("pk")
    )
    source = rollout.metric_source
    if source is None:
        rows = rows.exclude(cell__provider=ProviderName.SIMULATED)
    controls = dict(rows.values_list("pk", "name")[:MAX_CONTROLS])
    base = replace(base, controls=len(controls))
    if not controls:
        return base
    if source is None:
        return replace(base, new=traffic_of(list(measured), since), old=traffic_of(list(controls), since))
    try:
        new = traffic_from(source, list(measured.values()), since)
        return replace(base, new=new, old=traffic_from(source, list(controls.values()), since))
    except Unanswered as refusal:
        return replace(base, source_error=str(refusal))


def traffic_of(instance_ids: Sequence[int], since: datetime) -> Traffic:
    """What instances answered since then, from the growth of their counters between two measurements."""
    rows = (
        Measurement.objects.filter(instance_id__in=list(instance_ids), at__gte=since)
        .order_by("instance_id", "at")
        .values_list("instance_id", "requests", "errors", "seconds")
    )
    return _sum(rows.iterator(chunk_size=5_000))


def _sum(rows: Iterable[tuple[int, float, float, float]]) -> Traffic:
    requests = errors = 0.0
    latencies: list[float] = []
    last: tuple[int, float, float, float] | None = None
    for row in rows:
        # A counter that fell started again at 0 with its process: that step is left out.
        if last is not None and last[0] == row[0] and row[1] >= last[1] and row[2] >= last[2]:
            more = row[1] - last[1]
            requests += more
            errors += row[2] - last[2]
            if more > 0 and row[3] >= last[3]:
                latencies.append((row[3] - last[3]) / more)
        last = row
    return Traffic(round(requests), round(errors), latencies)
