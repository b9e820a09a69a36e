"""Looking at the fleet again and again."""

import logging
import time
from collections.abc import Iterable

from django.db import transaction

from . import looks, providers
from .choices import ProviderName, Wanted
from .models import Instance, Measurement
from .observing import look_begins, record_observations
from .providers.base import Observation, ProviderError, Sample, Target
from .targets import provider_targets

logger = logging.getLogger(__name__)

#: Probers that are asked to help where one is not enough, for each tick.
HELPERS = 2
MEASURE_EVERY = 15.0


def probe() -> int:
    """Look at every instance that is due and not simulated, keep and tell what changed; gives how many were looked at.

    Any number may run at once: each looks at what it claimed. One that finds more than it can hold asks for help.
    """
    looks.add_missing()
    looks.wake_operated()
    return _look_at_due(helpers=HELPERS)


def help_probe() -> int:
    """Look at what is due beside another prober; gives how many were looked at."""
    return _look_at_due(helpers=0)


def _look_at_due(*, helpers: int) -> int:
    """Batch after batch until no more is due, or the next tick has come and goes on with it."""
    base, looked, ends = looks.base_pause(), 0, time.monotonic() + looks.every()
    while (held := looks.claim()).rows:
        if held.is_full and not looked:
            for _ in range(helpers):
                _ask_for_help()
        _look(held, base)
        looked += len(held.rows)
        if not held.is_full or time.monotonic() > ends:
            break
    return looked


def _ask_for_help() -> None:
    # Late: an actor can be made only once the broker is there.
    from . import actors

    transaction.on_commit(actors.help_probe.send)


def _look(held: looks.Claim, base: float) -> None:
    """One batch. Nothing is locked while a slow provider is asked; what is claimed is nobody else's."""
    since = look_begins()
    seen: dict[int, Observation] = {}
    for name, targets in provider_targets([row.instance_id for row in held.rows]).items():
        seen.update(_observe(name, list(targets.values())))
    record_observations(seen, since=since)
    failed = {pk for pk, one in seen.items() if not one.healthy and one.state != "starting"}
    looks.release(held, failed=failed, base=base)


def _observe(name: str, targets: list[Target]) -> dict[int, Observation]:
    try:
        seen: dict[int, Observation] = providers.get(name).observe_many(targets)
    except ProviderError as error:
        logger.warning("provider %s does not answer: %s", name, error)
        return {
            target.instance_id: Observation(
                "unknown", False, "", 0, detail=f"the provider does not answer: {error}"
            )
            for target in targets
        }
    return seen


def probe_simulated() -> int:
    """Keep what simulated instances became; only the rows that differ are read."""
    from .providers.simulated import SimulatedProvider

    provider = providers.get(ProviderName.SIMULATED)
    assert isinstance(provider, SimulatedProvider)  # noqa: S101 - the registry says so
    since = look_begins()
    return record_observations(provider.observe_changed(limit=5_000), since=since)


def measure() -> int:
    """Keep one measurement of each local instance that runs; gives how many."""
    ids = list(
        Instance.objects.filter(cell__provider=ProviderName.LOCAL, wanted=Wanted.RUNNING).values_list(
            "pk", flat=True
        )
    )
    rows = []
    for name, targets in provider_targets(ids).items():
        provider = providers.get(name)
        for target in targets.values():
            try:
                rows.append(measurement(target.instance_id, provider.metrics(target)))
            except ProviderError:
                continue  # it is down: the probe tells that, and the chart shows the gap
    Measurement.objects.bulk_create(rows)
    return len(rows)


def measurement(instance_id: int, samples: Iterable[Sample]) -> Measurement:
    """The coarse row from an instance's Prometheus samples."""
    total = errors = seconds = cpu = memory = 0.0
    for sample in samples:
        match sample.name:
            case "http_requests_total":
                total += sample.value
                errors += sample.value if sample.labels.get("code", "").startswith("5") else 0.0
            case "http_request_duration_seconds_sum":
                seconds += sample.value
            case "process_cpu_seconds_total":
                cpu = sample.value
            case "process_resident_memory_bytes":
                memory = sample.value
    return Measurement(
        instance_id=instance_id, requests=total, errors=errors, seconds=seconds, cpu=cpu, memory=memory
    )
