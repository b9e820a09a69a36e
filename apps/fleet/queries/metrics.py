"""An instance's measurements as rates, for its charts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from apps.access.scoping import visible
from apps.operations import kinds
from apps.operations.models import Operation

from .. import notices
from ..choices import ProviderName
from ..models import Instance, Measurement

#: Ranges of a chart: name to minutes.
RANGES = {"15m": 15, "1h": 60, "6h": 360, "24h": 1440}
#: Points that a chart gets at most; neighbours are merged past it.
MAX_POINTS = 240
#: Without a measurement for so long there is a gap in the line.
GAP = timedelta(seconds=50)

Point = tuple[datetime, float | None]


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement, as read."""

    at: datetime
    requests: float
    errors: float
    seconds: float
    cpu: float
    memory: float


CHARTS: tuple[tuple[str, str, str], ...] = (
    ("requests", "Requests", "/s"),
    ("errors", "Errors", "%"),
    ("latency", "Mean latency", "ms"),
    ("cpu", "CPU", "%"),
    ("memory", "Memory", "MiB"),
)


def measurements(user: Any, instance: Instance, minutes: int) -> list[Row]:
    """The measurements of the last so many minutes, oldest first, thinned to what a chart can show."""
    since = timezone.now() - timedelta(minutes=minutes)
    rows = visible(user, Measurement).filter(instance=instance, at__gte=since).order_by("at")
    columns = ("at", "requests", "errors", "seconds", "cpu", "memory")
    return thinned([Row(*row) for row in rows.values_list(*columns)])


def thinned(rows: Sequence[Row], limit: int = MAX_POINTS) -> list[Row]:
    """Every n-th row and the last. Counters lose nothing by it: a rate is over the whole way between two rows."""
    step = -(-len(rows) // limit) if rows else 1
    kept = list(rows[::step])
    if rows and kept[-1] is not rows[-1]:
        kept.append(rows[-1])
    return kept


def series(rows: Sequence[Row], step: timedelta = timedelta(seconds=15)) -> dict[str, list[Point]]:
    """Points of each chart. A counter that fell back (the instance was started again) counts from 0.

    Between two rows further apart than three steps and `GAP` the line is broken by a point without a value.
    """
    found: dict[str, list[Point]] = {name: [] for name, _, _ in CHARTS}
    gap = max(GAP, 3 * step)
    for before, now in pairwise(rows):
        if now.at - before.at > gap:
            for points in found.values():
                points.append((before.at + step, None))
            continue
        for name, value in _rates(before, now).items():
            found[name].append((now.at, value))
    return found


def _rates(before: Row, now: Row) -> dict[str, float | None]:
    seconds = max((now.at - before.at).total_seconds(), 0.001)
    is_new = now.requests < before.requests or now.cpu < before.cpu
    base = Row(before.at, 0, 0, 0, 0, 0) if is_new else before
    requests = now.requests - base.requests
    errors = max(now.errors - base.errors, 0.0)
    spent = max(now.seconds - base.seconds, 0.0)
    return {
        "requests": requests / seconds,
        "errors": 100 * errors / requests if requests else 0.0,
        "latency": 1000 * spent / requests if requests else None,
        "cpu": 100 * (now.cpu - base.cpu) / seconds,
        "memory": now.memory / 2**20,
    }


def marks(user: Any, instance: Instance, minutes: int) -> list[tuple[datetime, str, int]]:
    """When operations on the instance began within the range: time, what, operation id."""
    since = timezone.now() - timedelta(minutes=minutes)
    rows = (
        visible(user, Operation)
        .filter(Q(target_type="instance", target_id=instance.pk, is_changing=True), started_at__gte=since)
        .order_by("-id")
        .values_list("started_at", "kind", "pk")[:30]
    )
    labels = {kind.name: kind.label for kind in kinds.kinds("instance")}
    return [(at, labels.get(kind, kind), pk) for at, kind, pk in rows if at is not None]


def keeps_metrics(instance: Instance) -> bool:
    """Whether measurements of it are kept at all: simulated instances have none."""
    return instance.cell.provider != ProviderName.SIMULATED


def has_any(user: Any, instance: Instance) -> bool:
    """Whether there is any measurement of it at all."""
    return visible(user, Measurement).filter(instance=instance).exists()


def chart_data(user: Any, instance: Instance, span: str, only: str = "") -> dict[str, Any]:
    """One chart of a range (or all) as the page's script takes it; times are UNIX seconds."""
    minutes = RANGES[span]
    found = series(measurements(user, instance, minutes), timedelta(minutes=minutes) / MAX_POINTS)
    return {
        "series": [
            {"label": label, "unit": unit, "points": [_point(*point) for point in found[name]]}
            for name, label, unit in CHARTS
            if only in ("", name)
        ],
        "marks": [
            {"t": at.timestamp(), "label": label, "url": url}
            for at, label, url in (
                *(
                    (at, label, reverse("operations:operation", args=[pk]))
                    for at, label, pk in marks(user, instance, minutes)
                ),
                *notices.marks(user, instance.pk, timezone.now() - timedelta(minutes=minutes)),
            )
        ],
    }


def _point(at: datetime, value: float | None) -> list[float | None]:
    return [round(at.timestamp(), 1), None if value is None else round(value, 3)]
