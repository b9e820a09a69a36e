"""How releases, rollouts and advisories are listed."""

from typing import Any

import django_tables2 as tables
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from apps.core.templatetags.ui import ago, num, shares, status, tag

from .choices import Life, NoticeState, ReleaseKind, RolloutState, Severity
from .models import Advisory, CustomerNotice, Release, Rollout
from .queries.rollouts import shares_of

MAIN = {"td": {"class": "main"}}
STATE = {"td": {"class": "state"}}
RIGHT = {"td": {"class": "r nowrap"}}


def severity_tag(value: str) -> SafeString:
    """A severity with its tone."""
    tones = {Severity.CRITICAL: "bad", Severity.HIGH: "bad", Severity.MEDIUM: "warn", Severity.LOW: "busy"}
    return tag(tones.get(Severity(value), "idle"), Severity(value).label.lower())


def _link(name: str, pk: int, text: Any, note: Any = "") -> SafeString:
    small = format_html("<small>{}</small>", note) if note else ""
    return format_html('<a href="{}"><b>{}</b></a>{}', reverse(name, args=[pk]), text, small)


class ReleaseTable(tables.Table):
    """Releases, newest first."""

    version = tables.Column(verbose_name="Version", attrs=MAIN, orderable=False)
    life = tables.Column(verbose_name="State", attrs=STATE, orderable=False)
    kind = tables.Column(orderable=False)
    cves = tables.Column(verbose_name="Mends", orderable=False, empty_values=())
    running = tables.Column(verbose_name="Runs on", orderable=False, attrs=RIGHT, empty_values=())
    created_at = tables.Column(verbose_name="Drafted", order_by=("created_at", "id"), attrs=RIGHT)

    class Meta:
        model = Release
        fields: tuple[str, ...] = ()
        order_by = "-created_at"

    def render_version(self, record: Release) -> SafeString:
        return _link("releases:release", record.pk, record.version)

    def value_version(self, record: Release) -> str:
        return record.version

    def render_life(self, record: Release) -> SafeString:
        return status(record.life)

    def value_life(self, record: Release) -> str:
        return Life(record.life).label

    def render_kind(self, record: Release) -> SafeString | str:
        if record.kind != ReleaseKind.SECURITY or record.severity == Severity.NONE:
            return ReleaseKind(record.kind).label.lower()
        return format_html("security {}", severity_tag(record.severity))

    def value_kind(self, record: Release) -> str:
        return record.kind

    def render_cves(self, record: Release) -> str:
        return (
            ", ".join(record.cves[:2]) + (f" and {len(record.cves) - 2} more" if len(record.cves) > 2 else "")
            or "—"
        )

    def value_cves(self, record: Release) -> str:
        return " ".join(record.cves)

    def render_running(self, record: Any) -> str:
        return num(record.running) if record.running else "—"

    def value_running(self, record: Any) -> int:
        return int(record.running)

    def render_created_at(self, record: Release) -> SafeString:
        return ago(record.created_at)

    def value_created_at(self, record: Release) -> str:
        return record.created_at.isoformat(timespec="seconds")


class RolloutTable(tables.Table):
    """Rollouts, newest first."""

    id = tables.Column(verbose_name="No.")
    what = tables.Column(verbose_name="To", accessor="release__version", orderable=False, attrs=MAIN)
    state = tables.Column(orderable=False, attrs=STATE)
    progress = tables.Column(accessor="pk", orderable=False)
    started_by = tables.Column(verbose_name="Started by", orderable=False, empty_values=())
    started_at = tables.Column(verbose_name="Started", orderable=False, empty_values=(), attrs=RIGHT)

    class Meta:
        model = Rollout
        fields: tuple[str, ...] = ()
        order_by = "-id"

    def render_what(self, record: Rollout) -> SafeString:
        return _link("releases:rollout", record.pk, record.release.version, record.reason)

    def value_what(self, record: Rollout) -> str:
        return record.release.version

    def render_state(self, record: Rollout) -> SafeString:
        return status(record.state, label=RolloutState(record.state).label.lower())

    def value_state(self, record: Rollout) -> str:
        return RolloutState(record.state).label

    def render_progress(self, record: Any) -> SafeString:
        total = sum(record.counts.values())
        drawn = shares(shares_of(record.counts), label="Instances")
        return format_html(
            "{}<small>{} of {} done</small>", drawn, num(record.counts.get("done", 0)), num(total)
        )

    def value_progress(self, record: Any) -> str:
        return f"{record.counts.get('done', 0)}/{sum(record.counts.values())}"

    def render_started_by(self, record: Rollout) -> str:
        return str(record.started_by or "—")

    def render_started_at(self, record: Rollout) -> SafeString:
        return ago(record.started_at, empty="not yet")

    def value_started_at(self, record: Rollout) -> str:
        return record.started_at.isoformat(timespec="seconds") if record.started_at else ""


class AdvisoryTable(tables.Table):
    """Advisories, the newest first, with who is exposed."""

    osv_id = tables.Column(verbose_name="Advisory", attrs=MAIN, orderable=False)
    severity = tables.Column(attrs=STATE, orderable=False)
    exposed = tables.Column(verbose_name="Exposed", orderable=False, empty_values=(), attrs=RIGHT)
    safe = tables.Column(verbose_name="Safe again", orderable=False, empty_values=(), attrs=RIGHT)
    known_at = tables.Column(verbose_name="Known", order_by=("known_at", "id"), attrs=RIGHT)
    deadline = tables.Column(orderable=False, attrs=RIGHT)

    class Meta:
        model = Advisory
        fields: tuple[str, ...] = ()
        order_by = "-known_at"

    def render_osv_id(self, record: Advisory) -> SafeString:
        return _link("releases:advisory", record.pk, record.osv_id, record.summary)

    def value_osv_id(self, record: Advisory) -> str:
        return record.osv_id

    def render_severity(self, record: Advisory) -> SafeString:
        return severity_tag(record.severity)

    def value_severity(self, record: Advisory) -> str:
        return record.severity

    def render_exposed(self, record: Any) -> SafeString | str:
        return tag("bad", f"{record.exposed:,}") if record.exposed else "none"

    def value_exposed(self, record: Any) -> int:
        return int(record.exposed)

    def render_safe(self, record: Any) -> str:
        return num(record.safe) if record.safe else "—"

    def value_safe(self, record: Any) -> int:
        return int(record.safe)

    def render_known_at(self, record: Advisory) -> SafeString:
        return ago(record.known_at)

    def value_known_at(self, record: Advisory) -> str:
        return record.known_at.isoformat(timespec="seconds")

    def render_deadline(self, record: Any) -> SafeString | str:
        if not record.exposed:
            return "—"
        hours = round((record.deadline - record.known_at).total_seconds() / 3600)
        return format_html("{} <small>{} h</small>", ago(record.deadline), hours)

    def value_deadline(self, record: Advisory) -> str:
        return record.deadline.isoformat(timespec="seconds")


class NoticeTable(tables.Table):
    """Notices to customers, newest first."""

    tenant = tables.Column(attrs=MAIN, orderable=False)
    state = tables.Column(attrs=STATE, orderable=False)
    addresses = tables.Column(verbose_name="Written to", orderable=False, empty_values=())
    rollout = tables.Column(verbose_name="About", orderable=False, empty_values=())
    created_at = tables.Column(verbose_name="Written", order_by=("id",), attrs=RIGHT)

    class Meta:
        model = CustomerNotice
        fields: tuple[str, ...] = ()
        order_by = "-created_at"

    def render_tenant(self, record: CustomerNotice) -> SafeString:
        return _link("releases:notice", record.pk, record.tenant.name, record.subject)

    def value_tenant(self, record: CustomerNotice) -> str:
        return record.tenant.key

    def render_state(self, record: CustomerNotice) -> SafeString:
        tones = {NoticeState.DRAFT: "warn", NoticeState.QUEUED: "busy"}
        state = NoticeState(record.state)
        return tag(tones.get(state, "ok"), state.label.lower())

    def value_state(self, record: CustomerNotice) -> str:
        return record.state

    def render_addresses(self, record: CustomerNotice) -> str:
        return ", ".join(record.addresses) or record.why or "—"

    def value_addresses(self, record: CustomerNotice) -> str:
        return " ".join(record.addresses)

    def render_rollout(self, record: CustomerNotice) -> SafeString | str:
        if record.rollout_id:
            return _link("releases:rollout", record.rollout_id, f"rollout #{record.rollout_id}")
        return "a hold that was overridden"

    def value_rollout(self, record: CustomerNotice) -> str:
        return str(record.rollout_id or "")

    def render_created_at(self, record: CustomerNotice) -> SafeString:
        return ago(record.created_at)

    def value_created_at(self, record: CustomerNotice) -> str:
        return record.created_at.isoformat(timespec="seconds")
