"""How operations are listed. Cells are plain string work: a list draws hundreds of them."""

from typing import Any

import django_tables2 as tables
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString

from apps.core.templatetags.ui import ago, duration, num, status

from . import queries
from .choices import State, Via
from .models import Operation


class OperationTable(tables.Table):
    """Operations, newest first. Only the number sorts: it is the order in which they were asked for."""

    id = tables.Column(verbose_name="No.")
    what = tables.Column(
        verbose_name="What", orderable=False, accessor="target_label", attrs={"td": {"class": "main"}}
    )
    state = tables.Column(orderable=False, attrs={"td": {"class": "state"}})
    step = tables.Column(orderable=False, attrs={"td": {"class": "nowrap"}})
    actor = tables.Column(verbose_name="Asked for by", orderable=False)
    started_at = tables.Column(
        verbose_name="Started", orderable=False, empty_values=(), attrs={"td": {"class": "nowrap"}}
    )
    took = tables.Column(
        verbose_name="Took",
        orderable=False,
        empty_values=(),
        accessor="finished_at",
        attrs={"td": {"class": "r"}},
    )
    # For the CSV, which has room.
    reason = tables.Column(visible=False)
    created_at = tables.Column(verbose_name="Asked for", visible=False)
    finished_at = tables.Column(verbose_name="Ended", visible=False)
    via = tables.Column(visible=False)
    batch_id = tables.Column(verbose_name="Batch", visible=False)
    error = tables.Column(visible=False)

    class Meta:
        model = Operation
        fields: tuple[str, ...] = ()
        order_by = "-id"
        row_attrs = {"id": lambda record: f"o{record.pk}"}

    @cached_property
    def _around(self) -> tuple[str, str]:
        """The address of an operation around its number; asked for once, not for each row."""
        before, _, after = reverse("operations:operation", args=[0]).rpartition("0")
        return before, after

    def _url(self, record: Operation) -> str:
        before, after = self._around
        return f"{before}{record.pk}{after}"

    def render_id(self, record: Operation) -> SafeString:
        return format_html('<a class="faint" href="{}">{}</a>', self._url(record), num(record.pk))

    def value_id(self, record: Operation) -> int:
        return record.pk

    def render_what(self, record: Operation) -> SafeString:
        kind = queries.kind_label(record.kind)
        where = queries.target_url(record.target_type, record.target_id)
        target = (
            format_html('<a href="{}">{}</a>', where, record.target_label) if where else record.target_label
        )
        return format_html(
            '<a href="{}">{}</a> {}<small>{}{}</small>{}',
            self._url(record),
            kind,
            target,
            record.reason,
            self._batch(record),
            format_html('<small class="error">{}</small>', record.error[:160])
            if record.state == State.FAILED
            else "",
        )

    def _batch(self, record: Operation) -> SafeString | str:
        if not record.batch_id or not record.batch:
            return ""
        url = reverse("operations:batch", args=[record.batch_id])
        return format_html(' · <a href="{}">one of {}</a>', url, num(record.batch.total))

    def value_what(self, record: Operation) -> str:
        return f"{queries.kind_label(record.kind)} of {record.target_label}"

    def render_state(self, record: Operation) -> SafeString:
        note = "going back" if record.is_undoing and record.is_open else ""
        if record.cancel_requested_at and record.is_open:
            note = "to be cancelled"
        return status(record.state, note=note)

    def value_state(self, record: Operation) -> str:
        return record.state

    def render_step(self, record: Operation) -> SafeString:
        of = queries.step_count(record)
        if record.state == State.SUCCEEDED:
            return format_html('<span class="faint">{} of {}</span>', of, of)
        if record.started_at is None:
            return format_html('<span class="faint">0 of {}</span>', of)
        return format_html("{} of {}", record.step + 1, of)

    def value_step(self, record: Operation) -> str:
        return f"{record.step + 1} of {queries.step_count(record)}" if record.started_at else ""

    def render_actor(self, record: Operation) -> SafeString:
        via = (
            ""
            if record.via == Via.PAGE
            else format_html(" <small>by {}</small>", record.get_via_display().lower())
        )
        return format_html("{}{}", record.actor, via)

    def value_actor(self, record: Operation) -> str:
        return record.actor.username

    def render_started_at(self, record: Operation) -> SafeString:
        if record.started_at:
            return ago(record.started_at)
        if record.is_open:
            return format_html('<span class="faint">asked {}</span>', ago(record.created_at))
        return format_html('<span class="faint">{}</span>', "never")

    def value_started_at(self, record: Operation) -> str:
        return _iso(record.started_at)

    def render_took(self, record: Operation) -> str:
        return duration(queries.took(record), empty="")

    def value_took(self, record: Operation) -> str:
        took = queries.took(record)
        return f"{took.total_seconds():.1f}" if took is not None else ""

    def value_created_at(self, record: Operation) -> str:
        return _iso(record.created_at)

    def value_finished_at(self, record: Operation) -> str:
        return _iso(record.finished_at)


def _iso(at: Any) -> str:
    """A time for machines: ISO 8601, UTC."""
    return at.isoformat(timespec="seconds") if at else ""
