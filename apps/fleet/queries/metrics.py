"""An instance's measurements as rates, for its charts: the portal's own coarse history."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from statistics import quantiles
from typing import Any

from django.core.cache import cache
from django.db.models import DateTimeField, Exists, ExpressionWrapper, F, Func, OuterRef, QuerySet, Value

from apps.access.scoping import visible

from ..charting import FIGURES, Point, Span, Spread
from ..choices import ProviderName
from ..models import Instance, Measurement

#: Ranges of a chart: name to minutes.
RANGES = {"15m": 15, "1h": 60, "6h": 360, "24h": 1440}
#: Points that a chart gets at most; neighbours are merged past it.
MAX_POINTS = 240
#: How often something is measured (see probing.MEASURE_EVERY).
EVERY = timedelta(seconds=15)
#: Without a measurement for so long there is a gap in the line.
GAP = timedelta(seconds=50)
#: What is older than two days is kept so far apart (see history.forget_old_measurements).
COARSE = timedelta(minutes=5)
#: Seconds for which the others' spread is kept: the charts of one page ask for it together.
FRESH = 14

COLUMNS = ("at", "requests", "errors", "seconds", "cpu", "memory")


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement, as read."""

    at: datetime
    requests: float
    errors: float
    seconds: float
    cpu: float
    memory: float


def thinned(rows: Sequence[Row], limit: int = MAX_POINTS) -> list[Row]:
    """Every n-th row and the last. Counters lose nothing by it: a rate is over the whole way between two rows."""
    step = -(-len(rows) // limit) if rows else 1
    kept = list(rows[::step])
    if rows and kept[-1] is not rows[-1]:
        kept.append(rows[-1])
    return kept


def series(rows: Sequence[Row], step: timedelta = EVERY) -> dict[str, list[Point]]:
    """Points of each chart. A counter that fell back (the instance was started again) counts from 0.

    Between two rows further apart than three steps and `GAP` the line is broken by a point without a value.
    """
    found: dict[str, list[Point]] = {name: [] for name in FIGURES}
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


class Kept:
    """The coarse history as a source of charts. One query a call, however many instances."""

    words = "the portal's own coarse history"

    def lines(
        self, instances: Sequence[Instance], figure: str, span: Span, tenant: str = ""
    ) -> dict[int, list[Point]]:
        """A figure of each instance; of no tenant alone, which the history does not tell apart."""
        is_old = span.since < datetime.now(UTC) - timedelta(days=2)
        step = max(span.step, COARSE) if is_old else span.step
        rows = self._rows([i.pk for i in instances], span)
        return {pk: series(thinned(mine), step)[figure] for pk, mine in rows.items()}

    def spread(self, instances: Sequence[Instance], figure: str, span: Span) -> list[Spread]:
        """Quartiles over instances, of the last measurement of each in each step."""
        ids = sorted(i.pk for i in instances)
        step = max(span.step, 2 * EVERY)
        key = f"fleet.spread.{hash((tuple(ids), step, span.until.timestamp() // FRESH))}"
        known: dict[str, list[Spread]] | None = cache.get(key)
        if known is None:
            known = spreads(self._rows(ids, span, every=step), step)
            cache.set(key, known, FRESH)
        return known[figure]

    @staticmethod
    def _rows(ids: Sequence[int], span: Span, every: timedelta | None = None) -> dict[int, list[Row]]:
        """By instance, oldest first; with `every`, only the last of each such stretch, its time that of the stretch."""
        rows = Measurement.objects.filter(instance_id__in=ids, at__gte=span.since, at__lte=span.until)
        columns: tuple[str, ...] = COLUMNS
        if every is not None:
            rows = stretches(rows, every)
            columns = ("stretch", *COLUMNS[1:])
        else:
            rows = rows.order_by("instance_id", "at")
        found: dict[int, list[Row]] = defaultdict(list)
        for pk, *row in rows.values_list("instance_id", *columns):
            found[pk].append(Row(*row))
        return found


def begins(every: timedelta) -> Func:
    """When the stretch of time of a measurement begins."""
    return Func(
        Value(every), F("at"), Value(datetime(2000, 1, 1, tzinfo=UTC)), function="date_bin", output_field=DateTimeField()
    )  # fmt: skip


def stretches(rows: QuerySet[Measurement], every: timedelta) -> QuerySet[Measurement]:
    """The last measurement of each instance in each stretch of time; `stretch` is when it begins."""
    found = rows.annotate(stretch=begins(every)).order_by("instance_id", "stretch", "-at")
    return found.distinct("instance_id", "stretch")


def thinner(rows: QuerySet[Measurement], every: timedelta) -> QuerySet[Measurement]:
    """All but the last measurement of each instance in each stretch of time."""
    ends = ExpressionWrapper(begins(every) + Value(every), output_field=DateTimeField())
    later = Measurement.objects.filter(
        instance_id=OuterRef("instance_id"), at__gt=OuterRef("at"), at__lt=OuterRef("ends")
    )
    return rows.annotate(ends=ends).filter(Exists(later))


def spreads(rows: Mapping[int, Sequence[Row]], step: timedelta) -> dict[str, list[Spread]]:
    """Of each figure, its quartiles over the instances in each step."""
    values: dict[str, dict[datetime, list[float]]] = {name: defaultdict(list) for name in FIGURES}
    for mine in rows.values():
        for name, points in series(mine, step).items():
            for at, value in points:
                if value is not None:
                    values[name][at].append(value)
    return {name: [quartiles(at, found) for at, found in sorted(by.items())] for name, by in values.items()}


def quartiles(at: datetime, values: Sequence[float]) -> Spread:
    """Quartiles of what was measured at a moment; of one value, that value."""
    if len(values) == 1:
        return at, values[0], values[0], values[0]
    low, middle, high = quantiles(values, n=4, method="inclusive")
    return at, low, middle, high


def keeps_metrics(instance: Instance) -> bool:
    """Whether measurements of it are kept at all: simulated instances have none."""
    return instance.cell.provider != ProviderName.SIMULATED


def has_any(user: Any, instances: Iterable[Instance]) -> bool:
    """Whether there is any measurement of one of them at all."""
    return visible(user, Measurement).filter(instance__in=list(instances)).exists()
