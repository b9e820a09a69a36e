"""Which source is asked about an instance: the narrowest whose place it lies in and that has what is wanted."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit

from django.db.models import QuerySet
from django.utils import timezone

from apps.core.compiled import compiled
from apps.core.slots import Link
from apps.fleet import charting, notices
from apps.fleet.models import Instance
from apps.fleet.queries import logs

from ..models import TelemetrySource
from .loki import Loki
from .prometheus import Prometheus

#: What a dashboard's address may ask for.
PLACES = ("instance", "cell", "account", "from", "to")


def register() -> None:
    """Have charts, logs and links of instances come here; called from registers.py."""
    charting.register(figures)
    logs.register(store)
    notices.register_links(dashboards)


def source_for(
    cell_id: int | None, account_id: int | None, what: str, sources: list[TelemetrySource] | None = None
) -> TelemetrySource | None:
    """The source of a place that has `what` (a column): its cell's, else its account's, else everything's. One query."""
    rows = sources if sources is not None else _enabled()
    fitting = [
        s
        for s in rows
        if getattr(s, what) and s.cell_id in (None, cell_id) and s.account_id in (None, account_id)
    ]
    return min(fitting, key=lambda s: (s.cell_id is None, s.account_id is None, s.name), default=None)


@compiled
def _enabled() -> QuerySet[TelemetrySource]:
    return TelemetrySource.objects.filter(is_enabled=True)


def _of(instance: Instance, what: str) -> TelemetrySource | None:
    return source_for(instance.cell_id, instance.cell.region.account_id, what)


def figures(instance: Instance) -> Prometheus | None:
    """Where its charts come from; None: from the portal's own history."""
    found = _of(instance, "prometheus_url")
    return Prometheus(found) if found else None


def store(instance: Instance) -> Loki | None:
    """Where its logs are kept beside its provider."""
    found = _of(instance, "loki_url")
    return Loki(found) if found else None


# --- Dashboards ----------------------------------------------------------------------------------


def check_dashboard(template: str) -> None:
    """Raises ValueError for an address that is none, or asks for what is not known."""
    parts = urlsplit(template.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("Give an address that begins with http:// or https:// and names a host.")
    if "{" in parts.netloc or parts.username is not None:
        raise ValueError("The host has to stand there as it is, without a password.")
    rest = template
    for name in PLACES:
        rest = rest.replace(f"{{{name}}}", "")
    if "{" in rest or "}" in rest:
        raise ValueError(f"Only {', '.join(f'{{{name}}}' for name in PLACES)} can be filled in.")


def dashboard_url(template: str, **values: str) -> str:
    """The address with its places filled in, each value escaped whole."""
    for name, value in values.items():
        template = template.replace(f"{{{name}}}", quote(value, safe=""))
    return template


def dashboards(user: Any, instance: Instance, may: Collection[str] = ()) -> list[Link]:
    """The dashboard of an instance, over the last hour."""
    found = _of(instance, "grafana_url")
    if found is None:
        return []
    until = timezone.now()
    # To the minute: a link that differs at each look would make the page's live part new each time.
    until = until.replace(second=0, microsecond=0)
    cell = instance.cell
    url = dashboard_url(
        found.grafana_url,
        **{"instance": instance.name, "cell": cell.name, "account": cell.region.account.name, "from": _millis(until - timedelta(hours=1)), "to": _millis(until + timedelta(minutes=1))},
    )  # fmt: skip
    return [Link("Dashboard", url, away=True)]


def _millis(at: datetime) -> str:
    return str(int(at.timestamp() * 1_000))
