"""PromQL, asked of anything that speaks Prometheus' API (Prometheus, Thanos, Mimir, VictoriaMetrics).

Format: https://prometheus.io/docs/prometheus/latest/querying/api/.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings

from . import query_api
from .query_api import Unanswered

WHO = "Prometheus"
#: Samples that one query may give, and seconds it may take.
MOST, MOST_OF_RANGE, SECONDS = 2_000, 50_000, 10

__all__ = ["Sample", "Series", "Unanswered", "ask", "ask_range", "rows_of", "samples_of"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample of an instant vector."""

    labels: dict[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Series:
    """One series of a range: its values, oldest first; where there was none, nothing stands."""

    labels: dict[str, str]
    values: list[float]


def ask(query: str, *, at: datetime | None = None, seconds: float = SECONDS) -> list[Sample]:
    """The samples of an instant query, by PROMETHEUS_URL. Raises Unanswered."""
    data = {"query": query} | ({"time": str(at.timestamp())} if at else {})
    return samples_of(_post("query", data, seconds))


def ask_range(
    query: str, *, start: datetime, end: datetime, step: int, seconds: float = SECONDS
) -> list[Series]:
    """The series of a query evaluated every `step` seconds between two moments."""
    data = {"query": query, "start": str(start.timestamp()), "end": str(end.timestamp()), "step": str(step)}
    rows = rows_of(_post("query_range", data, seconds), "matrix")
    if sum(len(row["values"]) for row in rows) > MOST_OF_RANGE:
        raise Unanswered(
            f"The query gives more than {MOST_OF_RANGE} samples. Aggregate, or take a longer step."
        )
    return [
        Series(_labels(row), [v for v in (float(text) for _, text in row["values"]) if math.isfinite(v)])
        for row in rows
    ]


def samples_of(data: Mapping[str, Any], *, most: int = MOST) -> list[Sample]:
    """The samples in an answer; what is no number is left out. Raises Unanswered for anything but an instant vector."""
    rows = rows_of(data, "vector")
    if len(rows) > most:
        raise Unanswered(
            f"The query gives {len(rows)} samples; at most {most} are taken. Aggregate, or compare."
        )
    values = ((row, float(row["value"][1])) for row in rows)
    return [Sample(_labels(row), value) for row, value in values if not math.isnan(value)]


def rows_of(data: Mapping[str, Any], wanted: str) -> list[Any]:
    """The rows of a `vector` or a `matrix`. Raises Unanswered where the answer is another."""
    kind, rows = data.get("resultType"), data.get("result")
    if kind != wanted or not isinstance(rows, list):
        expected = "an instant vector" if wanted == "vector" else "a range"
        raise Unanswered(f"The query gives {kind!r:.30}; {expected} is expected.")
    return rows


def _post(what: str, data: Mapping[str, str], seconds: float) -> dict[str, Any]:
    base = settings.PROMETHEUS_URL.rstrip("/")
    if not base:
        raise Unanswered("No Prometheus is named: set PROMETHEUS_URL.")
    return query_api.ask(WHO, f"{base}/api/v1/{what}", data, token=settings.PROMETHEUS_TOKEN, seconds=seconds)


def _labels(row: Any) -> dict[str, str]:
    return {str(k)[:200]: str(v)[:500] for k, v in row["metric"].items() if k != "__name__"}
