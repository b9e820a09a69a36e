"""A rule's PromQL query: asked of the source of its place, else of PROMETHEUS_URL, else of the source of everything."""

from django.conf import settings

from apps.fleet import prometheus
from apps.fleet.prometheus import Sample, Unanswered

from ..models import AlertRule, TelemetrySource
from ..telemetry.choosing import source_for
from ..telemetry.prometheus import Prometheus

__all__ = ["Sample", "Unanswered", "ask"]


def ask(rule: AlertRule) -> list[Sample]:
    """The samples of the rule's query. Raises Unanswered."""
    if (source := _of_its_place(rule)) is not None:
        return Prometheus(source).samples(rule.query)
    if settings.PROMETHEUS_URL:
        return prometheus.ask(rule.query)
    if (source := source_for(None, None, "prometheus_url")) is not None:
        return Prometheus(source).samples(rule.query)
    raise Unanswered("No Prometheus is named: set PROMETHEUS_URL, or add a telemetry source.")


def _of_its_place(rule: AlertRule) -> TelemetrySource | None:
    cell, account = rule.cell_id, rule.account_id
    if rule.cell is not None:
        account = rule.cell.region.account_id
    return source_for(cell, account, "prometheus_url") if cell or account else None
