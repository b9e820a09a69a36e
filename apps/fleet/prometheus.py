"""PromQL, asked of anything that speaks Prometheus' API (Prometheus, Thanos, Mimir, VictoriaMetrics)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
from django.conf import settings

#: Samples that one query may give, and seconds it may take.
MOST, MOST_OF_RANGE, SECONDS = 2_000, 50_000, 10


class Unanswered(Exception):
    """The query was not answered; the text says why, and names no secret."""


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
    """The samples of an instant query, by PROMETHEUS_URL. Format: https://prometheus.io/docs/prometheus/latest/querying/api/."""
    data = {"query": query} | ({"time": str(at.timestamp())} if at else {})
    rows = _result(_post("query", data, seconds), "vector")
    if len(rows) > MOST:
        raise Unanswered(
            f"The query gives {len(rows)} samples; at most {MOST} are taken. Aggregate, or compare."
        )
    found = []
    for row in rows:
        value = float(row["value"][1])
        if not math.isnan(value):
            found.append(Sample(_labels(row), value))
    return found


def ask_range(
    query: str, *, start: datetime, end: datetime, step: int, seconds: float = SECONDS
) -> list[Series]:
    """The series of a query evaluated every `step` seconds between two moments."""
    data = {"query": query, "start": str(start.timestamp()), "end": str(end.timestamp()), "step": str(step)}
    rows = _result(_post("query_range", data, seconds), "matrix")
    if sum(len(row["values"]) for row in rows) > MOST_OF_RANGE:
        raise Unanswered(
            f"The query gives more than {MOST_OF_RANGE} samples. Aggregate, or take a longer step."
        )
    return [
        Series(_labels(row), [v for v in (float(text) for _, text in row["values"]) if math.isfinite(v)])
        for row in rows
    ]


def _post(what: str, data: Mapping[str, str], seconds: float) -> Any:
    base = settings.PROMETHEUS_URL.rstrip("/")
    if not base:
        raise Unanswered("No Prometheus is named: set PROMETHEUS_URL.")
    headers = {"Authorization": f"Bearer {settings.PROMETHEUS_TOKEN}"} if settings.PROMETHEUS_TOKEN else {}
    try:
        answer = httpx.post(f"{base}/api/v1/{what}", data=data, headers=headers, timeout=seconds)
        said = answer.json()
    except httpx.HTTPError as error:
        raise Unanswered(f"Prometheus was not reached: {type(error).__name__}.") from error
    except ValueError as error:
        raise Unanswered(f"Prometheus answered {answer.status_code} with no JSON.") from error
    if not isinstance(said, dict) or said.get("status") != "success":
        why = str(said.get("error", answer.status_code))[:200] if isinstance(said, dict) else "an odd answer"
        raise Unanswered(f"Prometheus refused the query: {why}")
    return said.get("data")


def _result(data: Any, wanted: str) -> list[Any]:
    kind, rows = (data.get("resultType"), data.get("result")) if isinstance(data, dict) else (None, None)
    if kind != wanted or not isinstance(rows, list):
        raise Unanswered(
            f"The query gives {kind!r:.30}; {'an instant vector' if wanted == 'vector' else 'a range'} is expected."
        )
    return rows


def _labels(row: Any) -> dict[str, str]:
    return {str(k)[:200]: str(v)[:500] for k, v in row["metric"].items() if k != "__name__"}
