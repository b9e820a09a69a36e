"""Figures of all instances of a place over a window, from the coarse history: one statement, however many."""

from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from ..choices import Metric
from ..models import AlertRule

# Counters begin again at 0 with the process: a value below the one before it is all new.
GROWN = "CASE WHEN m.{c} >= lag(m.{c}) OVER w THEN m.{c} - lag(m.{c}) OVER w ELSE m.{c} END AS {c}"
FIGURES = f"""
WITH steps AS (
    SELECT m.instance_id, m.memory, extract(epoch FROM m.at - lag(m.at) OVER w) AS gap,
           {", ".join(GROWN.format(c=c) for c in ("requests", "errors", "seconds", "cpu"))}
    FROM fleet_measurement m
    JOIN fleet_instance i ON i.id = m.instance_id AND i.wanted = 'running'
    JOIN fleet_cell c ON c.id = i.cell_id
    JOIN accounts_region r ON r.id = c.region_id
    WHERE m.at > %(since)s AND m.at <= %(until)s
      AND (%(cell)s::bigint IS NULL OR c.id = %(cell)s) AND (%(account)s::bigint IS NULL OR r.account_id = %(account)s)
    WINDOW w AS (PARTITION BY m.instance_id ORDER BY m.at)
)
SELECT instance_id, sum(gap), sum(requests), sum(errors), sum(seconds), sum(cpu), avg(memory)
FROM steps WHERE gap IS NOT NULL GROUP BY instance_id HAVING sum(gap) > 0
"""  # noqa: S608 - the columns are constants of this module
SILENT = """
SELECT i.id FROM fleet_instance i
JOIN fleet_cell c ON c.id = i.cell_id AND c.provider <> 'simulated'
JOIN accounts_region r ON r.id = c.region_id
WHERE i.wanted = 'running' AND i.created_at < %(since)s
  AND (%(cell)s::bigint IS NULL OR c.id = %(cell)s) AND (%(account)s::bigint IS NULL OR r.account_id = %(account)s)
  AND NOT EXISTS (SELECT 1 FROM fleet_measurement m WHERE m.instance_id = i.id AND m.at > %(since)s)
"""


@dataclass(frozen=True, slots=True)
class Figures:
    """What an instance did in a window of `seconds`."""

    seconds: float
    requests: float
    errors: float
    time: float
    cpu: float
    memory: float

    def value(self, metric: str) -> float:
        """A figure in its unit."""
        match metric:
            case Metric.REQUESTS:
                return self.requests / self.seconds
            case Metric.ERRORS:
                return 100 * self.errors / self.requests if self.requests else 0.0
            case Metric.LATENCY:
                return 1_000 * self.time / self.requests if self.requests else 0.0
            case Metric.CPU:
                return self.cpu / self.seconds
        return self.memory / 1e6


def figures(rule: AlertRule, since: datetime, until: datetime) -> dict[int, Figures]:
    """By instance of the rule's place."""
    with connection.cursor() as cursor:
        cursor.execute(
            FIGURES, {"since": since, "until": until, "cell": rule.cell_id, "account": rule.account_id}
        )
        return {row[0]: Figures(*(float(value or 0) for value in row[1:])) for row in cursor.fetchall()}


def silent(rule: AlertRule, since: datetime) -> list[int]:
    """The instances of the rule's place that are to run and were not measured since then."""
    with connection.cursor() as cursor:
        cursor.execute(SILENT, {"since": since, "cell": rule.cell_id, "account": rule.account_id})
        return [row[0] for row in cursor.fetchall()]
