"""A hundred thousand instances looked at once a minute: what keeping their states costs."""

import time
from collections.abc import Iterator

from apps.access.services import system_actor
from apps.fleet.benches.figures import Figure
from apps.fleet.choices import ProviderName
from apps.fleet.models import Instance
from apps.fleet.observing import look_begins, record_observations
from apps.fleet.providers.base import Observation
from apps.fleet.seeding import seed

NUMBER, BATCH = 100_000, 2_000


def states() -> Iterator[Figure]:
    """Every one of them changed (it was started again), then one in a hundred fails. Needs an empty database."""
    if Instance.objects.count() < NUMBER:
        seed(instances=NUMBER, tenants=NUMBER // 5, actor=system_actor("command"))
    ids = list(
        Instance.objects.filter(cell__provider=ProviderName.SIMULATED)
        .order_by("pk")
        .values_list("pk", "version")[:NUMBER]
    )
    for label, failing in (("all changed", 0), ("1 % turned to failing", 100)):
        began, cpu, wrote = time.perf_counter(), time.process_time(), 0
        for start in range(0, len(ids), BATCH):
            since = look_begins()
            part = ids[start : start + BATCH]
            seen = {
                pk: _seen(version, 2, bool(failing) and n % failing == 0)
                for n, (pk, version) in enumerate(part)
            }
            wrote += record_observations(seen, since=since)
        yield Figure(
            f"100,000 states kept, {label}, {wrote:,} rows written",
            time.perf_counter() - began,
            "s",
            at_most=60,
        )
        yield Figure("… CPU of the worker", time.process_time() - cpu, "s", at_most=60)


def _seen(version: str, generation: int, fails: bool) -> Observation:
    if fails:
        return Observation("stopped", False, version, generation, detail="it is gone")
    return Observation("running", True, version, generation)
