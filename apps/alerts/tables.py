"""How incidents and alerts are listed."""

from typing import Any
from urllib.parse import urlencode

import django_tables2 as tables
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from apps.core.templatetags.ui import ago, num, status, tag

from .choices import RuleKind
from .models import Alert, AlertRule, Incident, Runbook

STATE = {"td": {"class": "state"}}
MAIN = {"td": {"class": "main"}}
RIGHT = {"td": {"class": "r nowrap"}}


def state_tag(incident: Incident) -> SafeString:
    """An incident's state; `open` and `resolved` are the shell's own words."""
    words = {"triggered": ("bad", "triggered"), "acknowledged": ("busy", "acknowledged")}
    return tag(*words[incident.state]) if incident.state in words else status("resolved")


class IncidentTable(tables.Table):
    """Incidents, newest first; alerts and tenants are counted for the rows of the page alone."""

    severity = tables.Column(orderable=False, attrs=STATE)
    title = tables.Column(verbose_name="Incident", orderable=False, attrs=MAIN)
    state = tables.Column(orderable=False)
    alerts = tables.Column(accessor="alert_count", orderable=False, attrs=RIGHT, empty_values=())
    tenants = tables.Column(accessor="tenant_count", orderable=False, attrs=RIGHT, empty_values=())
    commander = tables.Column(orderable=False, empty_values=())
    opened_at = tables.Column(verbose_name="Began", orderable=False, attrs=RIGHT)
    id = tables.Column(verbose_name="No.", attrs=RIGHT)

    class Meta:
        model = Incident
        fields: tuple[str, ...] = ()
        order_by = "-id"

    def render_severity(self, record: Incident) -> SafeString:
        return status(record.severity)

    def value_severity(self, record: Incident) -> str:
        return record.severity

    def render_title(self, record: Incident) -> SafeString:
        return format_html(
            '<a href="{}"><b>{}</b></a>', reverse("alerts:incident", args=[record.pk]), record.title
        )

    def value_title(self, record: Incident) -> str:
        return record.title

    def render_state(self, record: Incident) -> SafeString:
        return state_tag(record)

    def value_state(self, record: Incident) -> str:
        return record.state

    def render_alerts(self, record: Any) -> SafeString | str:
        if record.open_count and record.open_count != record.alert_count:
            return format_html(
                "{} <small>of {} open</small>", num(record.open_count), num(record.alert_count)
            )
        return num(record.alert_count)

    def value_alerts(self, record: Any) -> int:
        return int(record.alert_count)

    def render_tenants(self, record: Any) -> str:
        return num(record.tenant_count)

    def value_tenants(self, record: Any) -> int:
        return int(record.tenant_count)

    def render_commander(self, record: Incident) -> str:
        return str(record.commander) if record.commander else ""

    def value_commander(self, record: Incident) -> str:
        return record.commander.username if record.commander else ""

    def render_opened_at(self, record: Incident) -> SafeString:
        return ago(record.opened_at)

    def value_opened_at(self, record: Incident) -> str:
        return record.opened_at.isoformat(timespec="seconds")


class AlertTable(tables.Table):
    """Alerts, newest first."""

    severity = tables.Column(orderable=False, attrs=STATE)
    summary = tables.Column(verbose_name="Alert", orderable=False, attrs=MAIN, empty_values=())
    state = tables.Column(orderable=False)
    where = tables.Column(verbose_name="On", orderable=False, accessor="pk")
    source_name = tables.Column(verbose_name="Source", orderable=False)
    signals = tables.Column(orderable=False, attrs=RIGHT)
    opened_at = tables.Column(verbose_name="Opened", orderable=False, attrs=RIGHT)
    id = tables.Column(verbose_name="No.", attrs=RIGHT)

    class Meta:
        model = Alert
        fields: tuple[str, ...] = ()
        order_by = "-id"

    def render_severity(self, record: Alert) -> SafeString:
        return status(record.severity)

    def value_severity(self, record: Alert) -> str:
        return record.severity

    def render_summary(self, record: Alert) -> SafeString:
        if record.incident_id:
            url = reverse("alerts:incident", args=[record.incident_id])
            return format_html('<a href="{}"><b>{}</b></a><small>{}</small>', url, record, record.name)
        return format_html("<b>{}</b><small>{}</small>", record, record.name)

    def value_summary(self, record: Alert) -> str:
        return str(record)

    def render_state(self, record: Alert) -> SafeString:
        shown = tag("bad", "open") if record.is_open else status("resolved")
        return format_html("{} {}", shown, muted_tag(record))

    def value_state(self, record: Alert) -> str:
        return record.state

    def render_where(self, record: Alert) -> SafeString | str:
        if record.instance:
            url = reverse("fleet:instance", args=[record.instance_id])
            return format_html('<a href="{}">{}</a>', url, record.instance)
        return str(record.cell or record.account or "")

    def value_where(self, record: Alert) -> str:
        return str(record.instance or record.cell or record.account or "")

    def render_opened_at(self, record: Alert) -> SafeString:
        return ago(record.opened_at)

    def value_opened_at(self, record: Alert) -> str:
        return record.opened_at.isoformat(timespec="seconds")


def muted_tag(alert: Alert) -> SafeString | str:
    """Why an alert pages nobody, or that it flaps; "" otherwise."""
    if alert.silence_id:
        return tag("idle", "silenced")
    if alert.inhibited_by_id and alert.is_open:
        return tag("idle", "explained")
    return tag("warn", "flapping") if alert.is_open and alert.flaps >= 3 else ""


class RunbookTable(tables.Table):
    """The catalogue."""

    state = tables.Column(verbose_name="State", accessor="is_enabled", orderable=False, attrs=STATE)
    title = tables.Column(verbose_name="Runbook", orderable=False, attrs=MAIN)
    tags = tables.Column(orderable=False, empty_values=())
    last_run = tables.Column(verbose_name="Last run", orderable=False, attrs=RIGHT, empty_values=())
    name = tables.Column(verbose_name="Name")

    class Meta:
        model = Runbook
        fields: tuple[str, ...] = ()
        sequence = ("state", "title", "tags", "name", "last_run")
        order_by = "name"

    def render_state(self, record: Runbook) -> SafeString:
        return tag("ok", "on") if record.is_enabled else tag("idle", "off")

    def value_state(self, record: Runbook) -> str:
        return "on" if record.is_enabled else "off"

    def render_title(self, record: Runbook) -> SafeString:
        url = reverse("alerts:runbook", args=[record.pk])
        if self.request is not None and (instance := self.request.GET.get("instance")):
            url = f"{url}?{urlencode({'instance': instance})}"
        return format_html('<a href="{}"><b>{}</b></a><small>{}</small>', url, record.title, record.about)

    def value_title(self, record: Runbook) -> str:
        return record.title

    def render_tags(self, record: Runbook) -> str:
        return ", ".join(record.tags)

    def value_tags(self, record: Runbook) -> str:
        return " ".join(record.tags)

    def render_last_run(self, record: Any) -> SafeString | str:
        return ago(record.last_run) if record.last_run else "never"

    def value_last_run(self, record: Any) -> str:
        return record.last_run.isoformat(timespec="seconds") if record.last_run else ""


class RuleTable(tables.Table):
    """The portal's own rules."""

    state = tables.Column(verbose_name="State", accessor="is_enabled", orderable=False, attrs=STATE)
    name = tables.Column(verbose_name="Rule", attrs=MAIN)
    severity = tables.Column(orderable=False)
    place = tables.Column(verbose_name="On", accessor="pk", orderable=False)
    firing = tables.Column(
        verbose_name="Open alerts", accessor="open_count", orderable=False, attrs=RIGHT, empty_values=()
    )
    evaluated_at = tables.Column(verbose_name="Evaluated", orderable=False, attrs=RIGHT, empty_values=())

    class Meta:
        model = AlertRule
        fields: tuple[str, ...] = ()
        order_by = "name"

    def render_state(self, record: AlertRule) -> SafeString:
        if not record.is_enabled:
            return tag("idle", "off")
        return tag("bad", "fails") if record.error else tag("ok", "on")

    def value_state(self, record: AlertRule) -> str:
        return "off" if not record.is_enabled else "fails" if record.error else "on"

    def render_name(self, record: AlertRule) -> SafeString:
        url = reverse("alerts:rule", args=[record.pk])
        said = record.error or rule_words(record)
        return format_html('<a href="{}"><b>{}</b></a><small>{}</small>', url, record.name, said)

    def value_name(self, record: AlertRule) -> str:
        return record.name

    def render_severity(self, record: AlertRule) -> SafeString:
        return status(record.severity)

    def value_severity(self, record: AlertRule) -> str:
        return record.severity

    def render_place(self, record: AlertRule) -> str:
        return str(record.cell or record.account or "everything")

    def value_place(self, record: AlertRule) -> str:
        return str(record.cell or record.account or "everything")

    def render_firing(self, record: Any) -> SafeString | str:
        if not record.open_count:
            return "0"
        url = f"{reverse('alerts:alerts')}?{urlencode({'state': 'open', 'name': record.name, 'source': 'rules'})}"
        return format_html('<a href="{}">{}</a>', url, num(record.open_count))

    def value_firing(self, record: Any) -> int:
        return int(record.open_count)

    def render_evaluated_at(self, record: AlertRule) -> SafeString | str:
        return ago(record.evaluated_at) if record.evaluated_at else "not yet"

    def value_evaluated_at(self, record: AlertRule) -> str:
        return record.evaluated_at.isoformat(timespec="seconds") if record.evaluated_at else ""


def rule_words(rule: AlertRule) -> str:
    """A rule in one line."""
    minutes = f"{rule.window / 60:g} min"
    match rule.kind:
        case RuleKind.PROMQL:
            return rule.query
        case RuleKind.ABSENCE:
            return f"no measurement for {minutes}"
        case RuleKind.BURN:
            return f"burns over {rule.threshold:g} times its budget for {rule.objective:g} %, over {minutes} and just now"
        case RuleKind.CHANGE:
            word = "rises" if rule.direction == "over" else "falls"
            return f"{rule.get_metric_display().lower()} {word} by over {rule.threshold:g} % within {minutes}"
    return f"{rule.get_metric_display().lower()} {rule.direction} {rule.threshold:g} over {minutes}"
