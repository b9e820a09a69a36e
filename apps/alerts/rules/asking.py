"""A PromQL query, asked of anything that speaks Prometheus' API (Prometheus, Thanos, Mimir, VictoriaMetrics)."""

import math
from dataclasses import dataclass
from typing import Any

import httpx
from django.conf import settings

#: Samples that one query may give, and seconds it may take.
MOST, SECONDS = 2_000, 10


class Unanswered(Exception):
    """The query was not answered; the text says why, and names no secret."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample of an instant vector."""

    labels: dict[str, str]
    value: float


def ask(query: str) -> list[Sample]:
    """The samples of an instant query, by PROMETHEUS_URL. Format: https://prometheus.io/docs/prometheus/latest/querying/api/."""
    base = settings.PROMETHEUS_URL.rstrip("/")
    if not base:
        raise Unanswered("No Prometheus is named: set PROMETHEUS_URL.")
    headers = {"Authorization": f"Bearer {settings.PROMETHEUS_TOKEN}"} if settings.PROMETHEUS_TOKEN else {}
    try:
        answer = httpx.post(f"{base}/api/v1/query", data={"query": query}, headers=headers, timeout=SECONDS)
        data = answer.json()
    except httpx.HTTPError as error:
        raise Unanswered(f"Prometheus was not reached: {type(error).__name__}.") from error
    except ValueError as error:
        raise Unanswered(f"Prometheus answered {answer.status_code} with no JSON.") from error
    if not isinstance(data, dict) or data.get("status") != "success":
        why = str(data.get("error", answer.status_code))[:200] if isinstance(data, dict) else "an odd answer"
        raise Unanswered(f"Prometheus refused the query: {why}")
    return _samples(data.get("data"))


def _samples(data: Any) -> list[Sample]:
    kind, rows = (data.get("resultType"), data.get("result")) if isinstance(data, dict) else (None, None)
    if kind != "vector" or not isinstance(rows, list):
        raise Unanswered(f"The query gives {kind!r:.30}; an instant vector is expected.")
    if len(rows) > MOST:
        raise Unanswered(
            f"The query gives {len(rows)} samples; at most {MOST} are taken. Aggregate, or compare."
        )
    found = []
    for row in rows:
        labels = {str(k)[:200]: str(v)[:500] for k, v in row["metric"].items() if k != "__name__"}
        value = float(row["value"][1])
        if not math.isnan(value):
            found.append(Sample(labels, value))
    return found
