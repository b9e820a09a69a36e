"""Sources of telemetry, kept by people who manage alerting on everything: the portal sends requests where they say."""

import re
from collections.abc import Callable
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from apps.access.choices import Permission
from apps.core.context import acting
from apps.fleet.charting import FIGURES
from apps.fleet.query_api import Unanswered, ask, check_web

from .. import seals
from ..models import TelemetrySource
from ..services import require_on
from .choosing import check_dashboard
from .loki import WHO
from .prometheus import Prometheus, token_of

LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,59}")


def save(
    source: TelemetrySource, *, prometheus_token: str = "", loki_token: str = "", actor: Any
) -> TelemetrySource:
    """Keep a source; an empty token leaves the one that is there, and one whose address changes has to be given again.

    Raises ValidationError, PermissionDenied.
    """
    require_on(actor, Permission.MANAGE_ALERTS, None)
    before = TelemetrySource.objects.filter(pk=source.pk).first() if source.pk else None
    check(source)
    for name, token in (("prometheus", prometheus_token), ("loki", loki_token)):
        url, sealed = f"{name}_url", f"{name}_token_sealed"
        if token:
            setattr(source, sealed, seals.seal(token))
        elif not getattr(source, url):
            setattr(source, sealed, "")
        elif before is not None and getattr(before, url) != getattr(source, url) and getattr(before, sealed):
            # Otherwise whoever changes the address would be sent the token that somebody else entered.
            raise ValidationError({f"{name}_token": "The address is another one: enter its token again."})
    source.full_clean()
    with transaction.atomic(durable=True), acting(actor, reason=f"keeps the telemetry source {source.name}"):
        source.save()
    return source


def check(source: TelemetrySource) -> None:
    """Raises ValidationError for what could not be asked."""
    wrong: dict[str, str] = {}
    for name in ("prometheus_url", "loki_url"):
        try:
            setattr(source, name, check_web(getattr(source, name)) if getattr(source, name).strip() else "")
        except ValueError as error:
            wrong[name] = str(error)
    try:
        source.grafana_url = source.grafana_url.strip()
        if source.grafana_url:
            check_dashboard(source.grafana_url)
    except ValueError as error:
        wrong["grafana_url"] = str(error)
    for name in ("instance_label", "tenant_label"):
        text = getattr(source, name)
        if (text or name == "instance_label") and not LABEL.fullmatch(text):
            wrong[name] = "A label has letters, digits and underscores, and begins with no digit."
    if not source.org_id.isprintable() or not source.org_id.isascii():
        wrong["org_id"] = "Plain characters only: it is sent as a header."
    if odd := set(source.queries) - set(FIGURES):
        wrong["queries"] = f"There is no figure {', '.join(sorted(odd))}; there are {', '.join(FIGURES)}."
    elif any("$selector" not in text for text in source.queries.values()):
        wrong["queries"] = "Each query needs $selector; otherwise it would give the figures of everything."
    if not (source.prometheus_url or source.loki_url or source.grafana_url) and not wrong:
        wrong["prometheus_url"] = "Give at least one of the three addresses."
    if wrong:
        raise ValidationError(wrong)


def try_out(source: TelemetrySource, *, actor: Any) -> list[tuple[str, str]]:
    """Ask each of its parts something small: (which, "" or what stood against it). Changes nothing."""
    require_on(actor, Permission.MANAGE_ALERTS, None)
    found = []
    if source.prometheus_url:
        found.append(("Prometheus", _tried(lambda: Prometheus(source).samples("vector(1)", most=1))))
    if source.loki_url:
        found.append((WHO, _tried(lambda: _labels_of(source))))
    return found


def _labels_of(source: TelemetrySource) -> object:
    url = f"{source.loki_url}/loki/api/v1/labels"
    return ask(WHO, url, {}, token=token_of(source.loki_token_sealed), org_id=source.org_id, method="GET")


def _tried(ask_it: Callable[[], object]) -> str:
    try:
        ask_it()
    except Unanswered as why:
        return str(why)
    return ""
