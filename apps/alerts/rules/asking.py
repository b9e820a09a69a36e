"""A rule's PromQL query: asked of the source of its place, else of PROMETHEUS_URL."""

from django.conf import settings

from apps.fleet.charting import Unanswered

from .. import seals
from ..models import AlertRule, TelemetrySource
from ..telemetry.choosing import source_for
from ..telemetry.prometheus import Prometheus, Sample

#: Samples that one query may give.
MOST = 2_000

__all__ = ["Sample", "Unanswered", "ask"]


def ask(rule: AlertRule) -> list[Sample]:
    """The samples of the rule's query. Raises Unanswered."""
    return Prometheus(_where(rule)).samples(rule.query, most=MOST)


def _where(rule: AlertRule) -> TelemetrySource:
    cell, account = rule.cell_id, rule.account_id
    if rule.cell is not None:
        account = rule.cell.region.account_id
    found = source_for(cell, account, "prometheus_url") if cell or account else None
    if found is None and settings.PROMETHEUS_URL:
        token = seals.seal(settings.PROMETHEUS_TOKEN) if settings.PROMETHEUS_TOKEN else ""
        url = settings.PROMETHEUS_URL.rstrip("/")
        return TelemetrySource(name="PROMETHEUS_URL", prometheus_url=url, prometheus_token_sealed=token)
    found = found or source_for(None, None, "prometheus_url")
    if found is None:
        raise Unanswered("No Prometheus is named: set PROMETHEUS_URL, or add a telemetry source.")
    return found
