"""What the simulated world shows: observations and figures, made from its rows and the time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zlib import crc32

from .base import Observation, Sample, State, Target

_SYNTHETIC = {"synthetic": "true"}
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def observation(row: tuple[Any, ...] | None) -> Observation:
    """What a row of the simulated world looks like from outside."""
    if row is None or row[0] == "missing":
        version, generation = (row[1], row[2]) if row else ("", 0)
        return Observation("missing", False, version, generation, "it was never deployed here, or destroyed")
    stored, version, generation, waits, fault, crashes = row
    state: State = "stopped" if stored == "stopped" else "starting" if waits else "running"
    if state == "stopped":
        detail = f"crashes on version {version}" if crashes else "stopped by request"
    else:
        detail = f"ordered fault: {fault}" if fault in ("hang", "unhealthy") else "starting" if waits else ""
    return Observation(state, state == "running" and fault != "unhealthy", version, generation, detail)


def samples(target: Target, seen: Observation, now: datetime) -> list[Sample]:
    """Counters that grow evenly, at a rate that depends on the instance and its boot; about 1 % of errors."""
    seconds = (now - _EPOCH).total_seconds()
    samples = [
        Sample("process_cpu_seconds_total", _SYNTHETIC, seconds * 0.01),
        Sample(
            "process_resident_memory_bytes",
            _SYNTHETIC,
            64e6 + crc32(str(target.instance_id).encode()) % 64_000_000,
        ),
        Sample("build_info", {**_SYNTHETIC, "version": seen.version}, 1.0),
    ]
    for tenant in target.tenants:
        rate = 1 + crc32(f"{target.instance_id}:{seen.generation}:{tenant}".encode()) % 50
        labels = {**_SYNTHETIC, "tenant": tenant}
        total = float(int(seconds * rate))
        errors = total // 100
        samples += [
            Sample("http_requests_total", {**labels, "code": "200"}, total - errors),
            Sample("http_requests_total", {**labels, "code": "500"}, errors),
            Sample("http_request_duration_seconds_sum", labels, total * 0.02),
            Sample("http_request_duration_seconds_count", labels, total),
        ]
    return samples
