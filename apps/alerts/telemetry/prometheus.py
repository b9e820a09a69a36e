"""Charts' figures by PromQL. Format: https://prometheus.io/docs/prometheus/latest/querying/api/."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from apps.fleet.charting import Point, Span, Spread
from apps.fleet.models import Instance
from apps.fleet.prometheus import MOST, SECONDS, WHO, Sample, samples_of
from apps.fleet.query_api import Unanswered, ask, quoted

from .. import seals
from ..models import TelemetrySource

#: What is asked, unless a source says otherwise. `$by` is the instance's label, `$selector` what is wanted, `$window`
#: how far a rate looks back.
QUERIES = {
    "requests": "sum by ($by) (rate(http_requests_total{$selector}[$window]))",
    "errors": '100 * (sum by ($by) (rate(http_requests_total{$selector,code=~"5.."}[$window]))'
    " or 0 * sum by ($by) (rate(http_requests_total{$selector}[$window])))"
    " / (sum by ($by) (rate(http_requests_total{$selector}[$window])) > 0)",
    "latency": "1000 * sum by ($by) (rate(http_request_duration_seconds_sum{$selector}[$window]))"
    " / (sum by ($by) (rate(http_request_duration_seconds_count{$selector}[$window])) > 0)",
    "cpu": "100 * sum by ($by) (rate(process_cpu_seconds_total{$selector}[$window]))",
    "memory": "sum by ($by) (process_resident_memory_bytes{$selector}) / 1048576",
}
#: Figures that are counted for each tenant.
OF_TENANTS = ("requests", "errors", "latency")
#: Seconds between two points at least, and that a rate looks back at least: four scrapes of a quarter of a minute.
LEAST_STEP, LEAST_WINDOW = 15, 60
QUANTILES = (("low", 0.25), ("median", 0.5), ("high", 0.75))


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A source of figures for charts (`fleet.charting.Figures`), and of samples for rules."""

    source: TelemetrySource

    @property
    def words(self) -> str:
        """Where the figures come from."""
        return f"{self.source.name} ({urlsplit(self.source.prometheus_url).hostname})"

    def lines(
        self, instances: Sequence[Instance], figure: str, span: Span, tenant: str = ""
    ) -> dict[int, list[Point]]:
        """A figure of each instance; one request."""
        if not instances:
            return {}
        ids = {i.name: i.pk for i in instances}
        query = self._query(figure, span, list(ids), tenant)
        found: dict[int, list[Point]] = {}
        for labels, points in self._matrix(query, span):
            if (pk := ids.get(labels.get(self.source.instance_label, ""))) is not None:
                found[pk] = points
        return found

    def spread(self, instances: Sequence[Instance], figure: str, span: Span) -> list[Spread]:
        """Quartiles over the instances; one request."""
        if not instances:
            return []
        inner = self._query(figure, span, [i.name for i in instances])
        parts = [
            f'label_replace(quantile({q}, {inner}), "spread", "{name}", "", "")' for name, q in QUANTILES
        ]
        by = {
            labels.get("spread", ""): dict(points)
            for labels, points in self._matrix(" or ".join(parts), span)
        }
        low, middle, high = (by.get(name, {}) for name, _ in QUANTILES)
        found = []
        for at, value in middle.items():
            three = low.get(at), value, high.get(at)
            if three[0] is not None and three[1] is not None and three[2] is not None:
                found.append((at, three[0], three[1], three[2]))
        return found

    def samples(self, query: str, *, most: int = MOST) -> list[Sample]:
        """The samples of an instant query. Raises Unanswered."""
        return samples_of(self._ask("query", {"query": query}, SECONDS), most=most)

    def _query(self, figure: str, span: Span, names: Sequence[str], tenant: str = "") -> str:
        label = self.source.instance_label
        if len(names) == 1:
            selector = f"{label}={quoted(names[0])}"
        else:
            selector = f"{label}=~{quoted('|'.join(re.escape(name) for name in names))}"
        if tenant and self.source.tenant_label and figure in OF_TENANTS:
            selector += f",{self.source.tenant_label}={quoted(tenant)}"
        text = str(self.source.queries.get(figure) or QUERIES[figure])
        window = f"{max(LEAST_WINDOW, 2 * _seconds(span))}s"
        return text.replace("$by", label).replace("$selector", selector).replace("$window", window)

    def _matrix(self, query: str, span: Span) -> list[tuple[dict[str, str], list[Point]]]:
        step = _seconds(span)
        asked = {
            "query": query, "start": f"{span.since.timestamp():.3f}", "end": f"{span.until.timestamp():.3f}", "step": step,
        }  # fmt: skip
        data = self._ask("query_range", asked, 5)
        if data.get("resultType") != "matrix" or not isinstance(data.get("result"), list):
            raise Unanswered(f"{WHO} gave {data.get('resultType')!r:.30}; a matrix is expected.")
        try:
            return [(row["metric"], _points(row["values"], step)) for row in data["result"]]
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise Unanswered(f"{WHO} gave rows that cannot be read.") from error

    def _ask(self, what: str, asked: dict[str, Any], seconds: float) -> dict[str, Any]:
        source = self.source
        return ask(
            WHO, f"{source.prometheus_url}/api/v1/{what}", asked, token=token_of(source.prometheus_token_sealed),
            org_id=source.org_id, seconds=seconds,
        )  # fmt: skip


def token_of(sealed: str) -> str:
    """The token, "" for none. Raises Unanswered where it cannot be opened."""
    try:
        return seals.unseal(sealed) if sealed else ""
    except seals.Unreadable as error:
        raise Unanswered(str(error)) from error


def _seconds(span: Span) -> int:
    return max(LEAST_STEP, math.ceil(span.step.total_seconds()))


def _points(values: Sequence[Any], step: int) -> list[Point]:
    """Points of a row; where some are missing the line is broken."""
    found: list[Point] = []
    last: datetime | None = None
    for stamp, text in values:
        at, value = datetime.fromtimestamp(float(stamp), UTC), float(text)
        if last is not None and (at - last).total_seconds() > 2 * step:
            found.append((last + timedelta(seconds=step), None))
        found.append((at, value if math.isfinite(value) else None))
        last = at
    return found
