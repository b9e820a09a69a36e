"""10,000 instances that are processes, looked at by a pool of workers: probes a minute, their cost, the longest gap.

A handful of real instances answers for all of them over HTTPS, each time on a new connection with its
handshake: with 10,000 instances none would be kept alive until the next look.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import httpx
from django.conf import settings

from apps.access.services import system_actor
from apps.accounts.models import Account, Region
from apps.core.context import acting

from .. import looks, probing, providers
from ..choices import ProviderName
from ..models import Cell, Instance, Probe
from ..providers.base import Observation, Target
from ..providers.local.probe import Prober
from ..providers.local.provider import LocalProvider
from .figures import Figure

COUNT = int(os.environ.get("BENCH_PROBED", "10000"))
SECONDS = float(os.environ.get("BENCH_PROBING_SECONDS", "120"))
#: Seconds of a round before it is counted: each instance is looked at once, and every connection and cache is there.
WARM = max(5.0, 1.2 * COUNT / looks.RATE)
SERVERS, WORKERS, VERSION, CELL = 4, 2, "1.0.0", "bench-probed"


class Fresh(Prober):
    """Each question on a connection of its own."""

    def get(self, port: int, path: str, **more: Any) -> httpx.Response:
        """See `Prober.get`."""
        return super().get(port, path, headers={"Connection": "close"}, **more)


class Answered(LocalProvider):
    """Every target is answered by one of a few real instances; the looks are noted with their times."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._prober = Fresh(self.authority.client_context, self.authority.trusted_since)
        self.looks: list[tuple[int, float]] = []

    def observe(self, target: Target) -> Observation:
        """See `Provider.observe`."""
        seen = super().observe(replace(target, name=server(target.instance_id)))
        self.looks.append((target.instance_id, time.time()))
        return seen


def server(number: int) -> str:
    """The name of the real instance that answers for this one."""
    return f"bench-server-{number % SERVERS}"


def work() -> None:
    """A worker process of the bench: `probe` at every tick, as Dramatiq's actor does. Then its looks and its CPU."""
    provider = Answered(Path(sys.argv[1]))
    providers.register(ProviderName.LOCAL, lambda: provider)
    helps = sys.argv[2] != "0"
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    probing._ask_for_help = lambda: None  # the other workers look by themselves
    look = probing.help_probe if helps else probing.probe
    _look_for(WARM, look)
    provider.looks.clear()
    cpu = time.process_time()
    _look_for(SECONDS, look)
    json.dump({"looks": provider.looks, "cpu": time.process_time() - cpu}, sys.stdout)


def _look_for(seconds: float, look: Callable[[], int]) -> None:
    ends = time.monotonic() + seconds
    while (now := time.monotonic()) < ends:
        look()
        time.sleep(max(0.0, now + looks.every() - time.monotonic()))


def probed() -> Iterator[Figure]:
    """Two workers look at the whole fleet for two minutes, after a round that is not counted."""
    _fleet()
    with tempfile.TemporaryDirectory(prefix="daytwo-bench-") as folder:
        provider = LocalProvider(Path(folder))
        provider.prepare()
        provider.install_version(VERSION)
        try:
            targets = [Target(n, server(n), CELL, VERSION) for n in range(SERVERS)]
            for target in targets:
                provider.apply(target, version=VERSION)
            while not all(seen.healthy for seen in provider.observe_many(targets).values()):
                time.sleep(0.1)
            yield from _figures(_measured(folder))
        finally:
            provider.stop_all()


def _fleet() -> None:
    with acting(system_actor("command"), reason="bench", via="command"):
        account, _ = Account.objects.get_or_create(name=CELL)
        region, _ = Region.objects.get_or_create(account=account, code="bench-1")
        cell, _ = Cell.objects.get_or_create(
            name=CELL, defaults={"region": region, "provider": "local", "capacity": COUNT}
        )
        there = cell.instances.count()
        Instance.objects.bulk_create(
            Instance(name=f"bench-probed-{n}", cell=cell, wanted_version=VERSION) for n in range(there, COUNT)
        )
    Probe.objects.all().delete()  # their first looks are spread over a round, as those of a new fleet


def _measured(folder: str) -> list[dict[str, Any]]:
    code = "import django; django.setup(); from apps.fleet.benches.probing import work; work()"
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", code, folder, str(number)],
            cwd=settings.BASE_DIR,
            env=dict(os.environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(WORKERS)
    ]
    try:
        for worker in workers:
            if worker.stdout is None or worker.stdout.readline().strip() != "ready":
                raise RuntimeError("a worker of the bench did not start")
        return [json.loads(worker.communicate("go\n")[0]) for worker in _told(workers)]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


def _told(workers: list[subprocess.Popen[str]]) -> list[subprocess.Popen[str]]:
    for worker in workers[1:]:  # the first is told by `communicate`, a moment later
        if worker.stdin is not None:
            worker.stdin.write("go\n")
            worker.stdin.flush()
    return workers


def _figures(results: list[dict[str, Any]]) -> Iterator[Figure]:
    seen = sorted((int(pk), float(at)) for one in results for pk, at in one["looks"])
    times = [[at for _, at in group] for _, group in groupby(seen, key=lambda look: look[0])]
    gaps = [later - earlier for of_one in times for earlier, later in pairwise(of_one)]
    cpu = sum(one["cpu"] for one in results)
    goal = COUNT if COUNT >= 400 else None  # a smaller fleet is looked at more often than that
    yield Figure(f"probes of {COUNT:,} instances", len(seen) / SECONDS * 60, "a minute", at_least=goal)
    yield Figure(f"instances seen of {COUNT:,}", len(times), "")
    yield Figure("probing, its workers", cpu / SECONDS * 100, "% of a core")
    yield Figure("probing, the longest gap between two looks", max(gaps, default=0.0), "s", at_most=60)
