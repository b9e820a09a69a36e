"""How seals and streams are listed."""

import django_tables2 as tables
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from apps.core.templatetags.ui import ago, at, num, tag

from .models import AuditSeal, AuditStream
from .seals import MOST_WAITING


class SealTable(tables.Table):
    """Seals, newest first."""

    number = tables.Column(verbose_name="Seal", attrs={"td": {"class": "main"}})
    state = tables.Column(
        verbose_name="State", orderable=False, empty_values=(), attrs={"td": {"class": "state"}}
    )
    sealed_at = tables.Column(verbose_name="Sealed", orderable=False)
    count = tables.Column(
        verbose_name="Entries", orderable=False, attrs={"td": {"class": "r num"}, "th": {"class": "r"}}
    )
    hash = tables.Column(verbose_name="Hash", orderable=False, attrs={"td": {"class": "mono"}})
    key_id = tables.Column(verbose_name="Key", orderable=False, attrs={"td": {"class": "mono"}})
    checkpoint = tables.Column(
        verbose_name="Checkpoint", orderable=False, empty_values=(), exclude_from_export=True
    )

    class Meta:
        model = AuditSeal
        fields: tuple[str, ...] = ()

    def render_number(self, record: AuditSeal) -> SafeString:
        return format_html(
            '<a href="{}?seal={}">#{}</a>', reverse("audit:list"), record.number, record.number
        )

    def value_number(self, record: AuditSeal) -> int:
        return record.number

    def render_state(self, record: AuditSeal) -> SafeString:
        return tag(record.state.tone, record.state.text)

    def value_state(self, record: AuditSeal) -> str:
        return str(record.state.text)

    def render_sealed_at(self, record: AuditSeal) -> str:
        return at(record.sealed_at, "second")

    def value_sealed_at(self, record: AuditSeal) -> str:
        return str(record.sealed_at.isoformat())

    def render_count(self, record: AuditSeal) -> str:
        return format_html("{}<small>{} to {}</small>", num(record.count), record.first_id, record.last_id)

    def value_count(self, record: AuditSeal) -> int:
        return record.count

    def render_hash(self, record: AuditSeal) -> SafeString:
        return format_html("{}…", record.hash[:16])

    def value_hash(self, record: AuditSeal) -> str:
        return record.hash

    def render_checkpoint(self, record: AuditSeal) -> SafeString:
        return format_html(
            '<a href="{}" download>Download</a>', reverse("audit:checkpoint", args=[record.number])
        )


class StreamTable(tables.Table):
    """Streams, and how far each got."""

    name = tables.Column(attrs={"td": {"class": "main"}})
    state = tables.Column(
        verbose_name="State",
        orderable=False,
        empty_values=(),
        accessor="is_enabled",
        attrs={"td": {"class": "state"}},
    )
    url = tables.Column(verbose_name="To", orderable=False, attrs={"td": {"class": "mono"}})
    behind = tables.Column(orderable=False, attrs={"td": {"class": "r num"}, "th": {"class": "r"}})
    sent_at = tables.Column(verbose_name="Last taken", orderable=False, empty_values=())
    last_error = tables.Column(verbose_name="In its way", orderable=False, empty_values=())

    class Meta:
        model = AuditStream
        fields: tuple[str, ...] = ()

    def render_name(self, record: AuditStream) -> SafeString:
        return format_html("{}<small>{}</small>", record.name, record.get_kind_display())

    def value_name(self, record: AuditStream) -> str:
        return record.name

    def render_state(self, record: AuditStream) -> SafeString:
        return tag(*_state(record))

    def value_state(self, record: AuditStream) -> str:
        return _state(record)[1]

    def render_behind(self, record: AuditStream) -> str:
        return f"{num(record.behind)}{'+' if record.behind >= MOST_WAITING else ''}"

    def value_behind(self, record: AuditStream) -> int:
        return record.behind

    def render_sent_at(self, record: AuditStream) -> str:
        return format_html("{}<small>up to entry {}</small>", ago(record.sent_at), record.sent_to)

    def value_sent_at(self, record: AuditStream) -> str:
        return record.sent_at.isoformat() if record.sent_at else ""

    def render_last_error(self, record: AuditStream) -> SafeString | str:
        if not record.failures:
            return "–"
        return format_html(
            "{}<small>failed {} times; next try {}</small>",
            record.last_error,
            record.failures,
            at(record.next_try_at, "time"),
        )

    def value_last_error(self, record: AuditStream) -> str:
        return record.last_error


def _state(record: AuditStream) -> tuple[str, str]:
    """Tone and word."""
    if not record.is_enabled:
        return "idle", "off"
    if record.failures:
        return "bad", "failing"
    return ("busy", "sending") if record.behind else ("ok", "up to date")
