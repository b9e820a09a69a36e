"""How bills are listed."""

import django_tables2 as tables
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from apps.core.templatetags import ui

from .choices import BillState
from .models import Bill

#: A bill's state in the words of the status tag.
SHOWN = {
    BillState.RECEIVED: "pending",
    BillState.READING: "running",
    BillState.IMPORTED: "succeeded",
    BillState.REFUSED: "failed",
    BillState.FAILED: "failed",
}
RIGHT = {"td": {"class": "r nowrap"}, "th": {"class": "r"}}


def state_tag(state: str) -> SafeString:
    """A bill's state as a tag."""
    return ui.status(SHOWN[BillState(state)], label=str(BillState(state).label))


class BillTable(tables.Table):
    """Bills, the newest first."""

    name = tables.Column(verbose_name="Bill", attrs={"td": {"class": "main"}}, orderable=False)
    state = tables.Column(
        verbose_name="State", order_by=("state", "-created_at"), attrs={"td": {"class": "state"}}
    )
    errors = tables.Column(verbose_name="Findings", accessor="report", orderable=False)
    lines = tables.Column(verbose_name="Lines", orderable=False, attrs=RIGHT)
    received_by = tables.Column(verbose_name="By", orderable=False)
    created_at = tables.Column(verbose_name="Received", order_by=("created_at", "pk"), attrs=RIGHT)

    class Meta:
        model = Bill
        fields: tuple[str, ...] = ()
        order_by = "-created_at"

    def render_name(self, record: Bill) -> str:
        return format_html('<a href="{}">{}</a>', reverse("cost:bill", args=[record.pk]), record.name)

    def value_name(self, record: Bill) -> str:
        return record.name

    def render_state(self, record: Bill) -> str:
        return state_tag(record.state)

    def value_state(self, record: Bill) -> str:
        return record.state

    def render_errors(self, record: Bill) -> str:
        errors, warnings = record.report.get("errors", 0), record.report.get("warnings", 0)
        told = [
            f"{n} {word}{'' if n == 1 else 's'}"
            for n, word in ((errors, "error"), (warnings, "warning"))
            if n
        ]
        return ", ".join(told) or "none"

    def render_lines(self, value: int) -> str:
        return str(ui.num(value))

    def value_lines(self, value: int) -> int:
        return value

    def render_created_at(self, record: Bill) -> str:
        return str(ui.at(record.created_at))

    def value_created_at(self, record: Bill) -> str:
        return record.created_at.isoformat(timespec="seconds")
