"""Rollouts over 10,000 instances: planned, shown, driven by two workers; a faulty one stopped; the gate tried a hundred times."""

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from django.conf import settings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from apps.access.models import User
from apps.access.services import system_actor
from apps.core.context import acting
from apps.fleet import kinds
from apps.fleet.benches.engine import boss
from apps.fleet.benches.figures import Figure
from apps.fleet.models import Instance, SimulatedEffect, SimulatedInstance
from apps.fleet.probing import probe_simulated
from apps.fleet.seeding import seed
from apps.operations import runner, services

from .. import driving
from ..choices import RolloutState, TargetState, Verdict
from ..gates import Evidence, Traffic, judge
from ..models import BlastPolicy, Release, Rollout
from ..rollouts import prepare_rollout, steer
from .matching import matching

FLEET = int(os.environ.get("DAYTWO_BENCH_ROLLOUT", "10000"))
WORKER = "import django; django.setup(); from apps.releases.benches.rollouts import work; work()"


def releases() -> Iterator[Figure]:
    """Every figure of releases."""
    actor = boss()
    yield from matching(actor)
    yield from gate_trials()
    _fleet()
    yield from planning_and_page(actor)
    yield from _driven(actor)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that it took, and what came of it."""
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def _fleet() -> None:
    lacking = FLEET - Instance.objects.count()
    if lacking > 0:
        seed(instances=lacking, tenants=max(1, lacking // 2), actor=system_actor("command"))
    # A rollout is measured over a fleet that is well: the seed leaves some ill.
    SimulatedInstance.objects.update(fault="none")
    probe_simulated()


def _release(version: str, actor: User) -> Release:
    with acting(actor, reason="bench"):
        return Release.objects.create(version=version, life="released")


def planning_and_page(actor: User) -> Iterator[Figure]:
    """Planning all of the fleet, and its live page against that of a rollout over about a hundred."""
    release = _release("90.0.0", actor)
    client = Client()
    client.force_login(actor, backend="django.contrib.auth.backends.ModelBackend")
    pages = {}
    for name, query in (("a hundred", "q=sim-i-99"), ("all", "")):
        rollout = Rollout(release=release, query=query, reason="bench", canary="1%")
        seconds, plan = timed(partial(prepare_rollout, rollout, actor=actor))
        with acting(actor, reason="bench"):
            Rollout.objects.filter(pk=rollout.pk).update(state=RolloutState.RUNNING, started_by=actor)
        url = reverse("releases:rollout", args=[rollout.pk])
        call = partial(_get, client, url)
        call()
        with CaptureQueriesContext(connection) as captured:
            call()
        queries = len(captured)
        pages[name] = min(timed(call)[0] for _ in range(7))
        with acting(actor, reason="bench"):
            Rollout.objects.filter(pk=rollout.pk).update(state=RolloutState.CANCELLED)
    yield Figure(f"planning a rollout to {plan.total:,} instances", seconds, "s", at_most=2)
    yield Figure("its live page", pages["all"] * 1000, "ms")
    yield Figure("its live page against that of a hundred", pages["all"] / pages["a hundred"], "times", at_most=2)  # fmt: skip
    yield Figure("queries of its live page", queries, "queries", at_most=15)


def _get(client: Client, url: str) -> None:
    response = client.get(url, headers={"HX-Request": "true", "Host": "localhost"})
    if response.status_code != 200:
        raise RuntimeError(f"{url} answered {response.status_code}")


def work() -> None:
    """A worker process of the bench: the rollouts' loop beside the engine's, as two threads of a worker have them."""
    kinds.SOAK = 0.0  # “no bake time”: the engine alone is measured
    runner.run_due()
    threading.Thread(target=_drive, daemon=True).start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        if not runner.run_due():
            time.sleep(0.01)


def _drive() -> None:
    while True:
        driving.advance_all(shift=2.0)
        time.sleep(0.25)


def _driven(actor: User) -> Iterator[Figure]:
    """A faulty version that the canary's gate stops, then a good one through all of the fleet, under a policy of 5 %."""
    with acting(actor, reason="bench"):
        BlastPolicy.objects.update_or_create(scope="fleet", object_id=0, defaults={"max_percent": 5})
    nudge, services.nudge = services.nudge, lambda count=1: None
    workers = [_spawn() for _ in range(2)]
    try:
        SimulatedInstance.objects.update(crash_on_version="91.0.0")
        faulty, _ = _roll_out(_release("91.0.0", actor), actor)
        touched = SimulatedEffect.objects.filter(version="91.0.0").values("instance_id").distinct().count()
        canary = faulty.waves.get(number=1).size
        if faulty.state != RolloutState.ROLLED_BACK:
            raise RuntimeError(f"the faulty rollout is {faulty.state}: {faulty.why} {faulty.note}")
        yield Figure(f"faulty version, instances touched (the canary has {canary})", touched, "instances", at_most=canary)  # fmt: skip
        SimulatedInstance.objects.update(crash_on_version="", fault="none")
        good, seconds = _roll_out(_release("92.0.0", actor), actor)
    finally:
        services.nudge = nudge
        for worker in workers:
            worker.kill()
            worker.wait()
    done = good.targets.filter(state=TargetState.DONE).count()
    if good.state != RolloutState.SUCCEEDED or done != good.targets.count():
        raise RuntimeError(f"the rollout is {good.state} with {done} done: {good.why} {good.note}")
    yield Figure(
        f"rollout of {done:,} under a policy of 5 %", done / seconds, "instances a second", at_least=400
    )


def _spawn() -> "subprocess.Popen[str]":
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER], cwd=settings.BASE_DIR, env={**os.environ, "OPERATIONS_BATCH": "250"}, stdout=subprocess.PIPE, text=True
    )  # fmt: skip
    if worker.stdout is None or worker.stdout.readline().strip() != "ready":
        raise RuntimeError("a worker of the bench did not start")
    return worker


def _roll_out(release: Release, actor: User) -> tuple[Rollout, float]:
    """A rollout to its end, with the seconds from its start on. This process probes, as the clock would."""
    rollout = Rollout(release=release, reason="bench", canary="1%", growth=5, concurrency=1_000, bake_seconds=0, gate="health")  # fmt: skip
    prepare_rollout(rollout, actor=actor)
    steer(rollout, "start", actor=actor, reason="bench")
    began = time.perf_counter()
    while rollout.state in (RolloutState.RUNNING, RolloutState.ROLLING_BACK):
        if time.perf_counter() - began > 300:
            raise RuntimeError(f"the rollout has not ended after 300 s: {rollout.why} {rollout.note}")
        probe_simulated()
        time.sleep(1.0)
        rollout.refresh_from_db()
    return rollout, time.perf_counter() - began


def gate_trials() -> Iterator[Figure]:
    """The gate over made-up figures: how many of 100 faulty versions it lets through, how many of 100 fine ones it fails."""
    chance = random.Random(20_261_124)  # noqa: S311 - figures to try the gate with
    passed = failed = 0
    for _ in range(100):
        old = _traffic(chance, requests=8_000, errors=0.01, latency=0.12)
        faulty = _traffic(chance, requests=800, errors=0.08, latency=0.2)
        fine = _traffic(chance, requests=800, errors=0.01, latency=0.12)
        passed += _verdict(faulty, old) != Verdict.FAIL
        failed += _verdict(fine, old) == Verdict.FAIL
    yield Figure("faulty versions of 100 that the gate did not fail", passed, "trials", at_most=0)
    yield Figure("fine versions of 100 that noisy figures failed", failed, "trials", at_most=4)


def _traffic(chance: random.Random, *, requests: int, errors: float, latency: float) -> Traffic:
    wrong = sum(chance.random() < errors for _ in range(requests))
    return Traffic(requests, wrong, [latency * chance.lognormvariate(0, 0.4) for _ in range(24)])


def _verdict(new: Traffic, old: Traffic) -> str:
    return judge(Evidence(size=3, compares=True, measured=3, controls=9, new=new, old=old)).verdict
