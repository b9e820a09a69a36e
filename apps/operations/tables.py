"""How operations are listed."""

from typing import Any

import django_tables2 as tables
from django.template.loader import get_template

from . import queries
from .models import Operation


def _cell(name: str, operation: Operation, **context: Any) -> str:
    """One cell, from `templates/operations/cells.html`."""
    return str(get_template(f"operations/cells.html#{name}").render({"operation": operation, **context}))


class OperationTable(tables.Table):
    """Operations, newest first. Only the number sorts: it is the order in which they were asked for."""

    state = tables.Column(orderable=False, attrs={"td": {"class": "state"}})
    what = tables.Column(orderable=False, accessor="target_label", attrs={"td": {"class": "main"}})
    step = tables.Column(orderable=False)
    actor = tables.Column(verbose_name="Asked for by", orderable=False)
    started_at = tables.Column(verbose_name="Started", orderable=False, empty_values=())
    took = tables.Column(
        orderable=False, empty_values=(), accessor="finished_at", attrs={"td": {"class": "r"}}
    )
    id = tables.Column(verbose_name="No.", attrs={"td": {"class": "r"}, "th": {"class": "r"}})
    #: For the CSV, which has room.
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

    def render_state(self, record: Operation) -> str:
        return _cell("state", record)

    def render_what(self, record: Operation) -> str:
        url = queries.target_url(record.target_type, record.target_id)
        return _cell("what", record, kind=queries.kind_label(record.kind), target_url=url)

    def value_what(self, record: Operation) -> str:
        return f"{queries.kind_label(record.kind)} of {record.target_label}"

    def render_step(self, record: Operation) -> str:
        return _cell("step", record, position=record.step + 1, of=queries.step_count(record))

    def value_step(self, record: Operation) -> str:
        return f"{record.step + 1} of {queries.step_count(record)}"

    def render_actor(self, record: Operation) -> str:
        return _cell("actor", record)

    def value_actor(self, record: Operation) -> str:
        return record.actor.username

    def render_started_at(self, record: Operation) -> str:
        return _cell("started", record)

    def value_started_at(self, record: Operation) -> str:
        return _iso(record.started_at)

    def render_took(self, record: Operation) -> str:
        return _cell("took", record)

    def value_took(self, record: Operation) -> str:
        seconds = (
            record.finished_at
            and record.started_at
            and (record.finished_at - record.started_at).total_seconds()
        )
        return f"{seconds:.1f}" if seconds is not None else ""

    def render_id(self, record: Operation) -> str:
        return _cell("number", record)

    def value_id(self, record: Operation) -> int:
        return record.pk

    def value_created_at(self, record: Operation) -> str:
        return _iso(record.created_at)

    def value_finished_at(self, record: Operation) -> str:
        return _iso(record.finished_at)


def _iso(at: Any) -> str:
    """A time for machines: ISO 8601, UTC."""
    return at.isoformat(timespec="seconds") if at else ""
