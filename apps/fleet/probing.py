"""Looking at the fleet again and again."""

import logging
from collections.abc import Iterable

from django.conf import settings
from django.db import connection, transaction

from . import providers
from .choices import ProviderName, Wanted
from .models import Instance, Measurement
from .observing import look_begins, record_observations
from .providers.base import Observation, ProviderError, Sample, Target
from .targets import provider_targets

logger = logging.getLogger(__name__)

#: One prober at a time: the lock's number is this app's own.
LOCK = 7_320_001
MEASURE_EVERY = 15.0


def probe() -> int:
    """Look at every instance that is not simulated, keep and tell what changed; gives how many rows were written.

    A second call while one runs does nothing: one look at a time is enough.
    """
    with transaction.atomic():
        if not _alone():
            return 0
        ids = list(
            Instance.objects.exclude(cell__provider=ProviderName.SIMULATED)
            .order_by("pk")
            .values_list("pk", flat=True)
        )
        since = look_begins()
        seen: dict[int, Observation] = {}
        for name, targets in provider_targets(ids).items():
            seen.update(_observe(name, list(targets.values())))
        # Last, so that no row is locked while a slow provider is asked.
        return record_observations(seen, since=since)


def _alone() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
        return bool(cursor.fetchone()[0])


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


def probe_every() -> float:
    """Seconds between two looks."""
    return float(settings.OPERATIONS_PROBE_SECONDS)
