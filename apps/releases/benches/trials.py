"""A hundred faulty and a hundred fine versions over 10,000 instances: what the gate stops, and what it fails wrongly.

What is real: a rollout with its waves and a row for each instance, the measurements in their table, and from there on
the portal's own code (`driving.advance`: evidence, gate, the end of the rollout, the next wave's first operation).
What is drawn: that the canary was deployed is written into its rows, and its figures are made up. No worker runs.
"""

import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from apps.access.models import User
from apps.access.services import system_actor
from apps.core.context import acting
from apps.fleet.benches.engine import boss
from apps.fleet.benches.figures import Figure
from apps.fleet.models import Cell, Instance, Measurement
from apps.fleet.seeding import seed
from apps.operations import services

from .. import driving
from ..choices import GateMode, OnFail, RolloutState, TargetState, Verdict, WaveState
from ..models import Release, Rollout
from ..rollouts import steer
from ..targets import write_waves

FLEET = int(os.environ.get("DAYTWO_BENCH_ROLLOUT", "10000"))
TRIALS = int(os.environ.get("DAYTWO_BENCH_TRIALS", "100"))
#: Seconds that a canary was watched, measured every fifteen.
BAKE, EVERY = 300, 15
#: How a version can be at fault: errors, slowness, trouble that a probe sees, deployments that fail.
FAULTS = ("errors", "latency", "unhealthy", "undeployable")

WELL = """
UPDATE fleet_instance SET wanted = 'running', health = 'well', version = %(version)s, wanted_version = %(version)s
 WHERE id = ANY(%(ids)s::bigint[])"""
ILL = "UPDATE fleet_instance SET health = 'failing' WHERE id = ANY(%(ids)s::bigint[])"
CHANGED = """
UPDATE releases_rollouttarget SET state = CASE WHEN instance_id = ANY(%(failed)s::bigint[]) THEN 'failed' ELSE 'done' END
 WHERE rollout_id = %(rollout)s AND wave = 1"""


@dataclass(frozen=True, slots=True)
class Played:
    """How one trial ended: the rollout's state, the gate's verdict on the canary, and how many instances were touched."""

    state: str
    verdict: str
    touched: int


def trials() -> Iterator[Figure]:
    """All trials over the fleet of the bench; its cells count as real ones meanwhile, since simulated ones keep no metrics."""
    actor = boss()
    lacking = FLEET - Instance.objects.count()
    if lacking > 0:
        seed(instances=lacking, tenants=max(1, lacking // 2), actor=system_actor("command"))
    ids = list(Instance.objects.order_by("pk").values_list("pk", flat=True)[:FLEET])
    chance = random.Random(20_261_124)  # noqa: S311 - figures to try the gate with
    with acting(actor, reason="bench"):
        kept = dict(Cell.objects.values_list("pk", "provider"))
        Cell.objects.update(provider="local")
    nudge, services.nudge = services.nudge, lambda count=1: None
    try:
        faulty = [play(ids, f"t.{n}", actor, chance, FAULTS[n % len(FAULTS)]) for n in range(TRIALS)]
        fine = [play(ids, f"u.{n}", actor, chance, "") for n in range(TRIALS)]
    finally:
        services.nudge = nudge
        with acting(actor, reason="bench"):
            for provider in set(kept.values()):
                mine = [pk for pk, name in kept.items() if name == provider]
                Cell.objects.filter(pk__in=mine).update(provider=provider)
    of = f"{TRIALS} drawn, real gate and rollout over {len(ids):,} rows"
    missed = sum(one.state != RolloutState.ABORTED for one in faulty)
    yield Figure(f"faulty versions not stopped ({of})", missed, "trials", at_most=0)
    yield Figure(
        "the most instances that one of them touched", max(one.touched for one in faulty), "instances",
        at_most=canary_of(ids),
    )  # fmt: skip
    failed = sum(one.verdict == Verdict.FAIL for one in fine)
    yield Figure(
        f"fine versions with noisy figures failed ({of})", failed, "trials", at_most=4 * TRIALS / 100
    )
    passed = sum(one.verdict == Verdict.PASS for one in fine)
    yield Figure("fine versions passed", passed, "trials")


def canary_of(ids: Sequence[int]) -> int:
    """Instances in the canary wave: a hundredth, six at least."""
    return max(6, len(ids) // 100)


def play(ids: Sequence[int], version: str, actor: User, chance: random.Random, fault: str) -> Played:
    """One trial: the canary has been changed and watched; the portal looks at it. Leaves nothing open."""
    canary = ids[: canary_of(ids)]
    _execute(WELL, version="1.0.0", ids=list(ids))
    with transaction.atomic(), acting(actor, reason="bench"):
        rollout = Rollout.objects.create(
            release=Release.objects.create(version=version, life="released"),
            reason="bench", concurrency=1, bake_seconds=BAKE, gate=GateMode.METRICS, on_fail=OnFail.ABORT,
            state=RolloutState.RUNNING, started_by=actor, started_at=timezone.now(),
        )  # fmt: skip
        write_waves(rollout, [list(canary), list(ids[len(canary) :])], dict.fromkeys(ids, "1.0.0"))
    _execute(WELL, version=version, ids=list(canary))
    some = chance.sample(list(canary), max(1, len(canary) // chance.randint(2, 10)))
    if fault == "unhealthy":
        _execute(ILL, ids=some)
    _execute(CHANGED, rollout=rollout.pk, failed=some if fault == "undeployable" else [])
    since = timezone.now() - timedelta(seconds=BAKE + 1)
    rollout.waves.filter(number=1).update(state=WaveState.BAKING, started_at=since, baking_since=since)
    _measure(chance, canary, ids[len(canary) : len(canary) + 200], since, fault)
    driving.advance(rollout.pk)
    rollout.refresh_from_db()
    wave = rollout.waves.get(number=1)
    touched = rollout.targets.exclude(state=TargetState.WAITING).count()
    played = Played(rollout.state, wave.verdict, touched)
    if rollout.state == RolloutState.RUNNING:
        steer(rollout, "abort", actor=actor, reason="the trial is over")
        driving.advance(rollout.pk)
    return played


def _measure(
    chance: random.Random, canary: Sequence[int], controls: Sequence[int], since: datetime, fault: str
) -> None:
    """Counters of both sides over the bake: noisy load, errors of a per cent or so, latencies that scatter by two thirds."""
    Measurement.objects.all().delete()
    errors, latency = chance.uniform(0.002, 0.02), chance.uniform(0.03, 0.3)
    worse = {
        "errors": (max(0.03, errors * chance.uniform(4, 12)), latency),
        "latency": (errors, latency * chance.uniform(1.5, 3)),
    }.get(fault, (errors, latency))
    rows: list[Measurement] = []
    for group, (rate, mean) in ((canary, worse), (controls, (errors, latency))):
        for pk in group:
            rows += _of_one(chance, pk, since, rate, mean)
    Measurement.objects.bulk_create(rows, batch_size=10_000)


def _of_one(
    chance: random.Random, pk: int, since: datetime, rate: float, mean: float
) -> Iterator[Measurement]:
    own = mean * chance.lognormvariate(0, 0.1)  # instances differ among each other
    requests = failed = seconds = 0.0
    for number in range(BAKE // EVERY):
        more = chance.randint(2, 12)
        requests += more
        failed += sum(chance.random() < rate for _ in range(more))
        seconds += more * own * chance.lognormvariate(0, 0.5)
        at = since + timedelta(seconds=EVERY * number + 1)
        yield Measurement(instance_id=pk, at=at, requests=requests, errors=failed, seconds=seconds)


def _execute(statement: str, **values: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
