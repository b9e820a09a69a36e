"""How tenants are listed."""

from typing import Any

import django_tables2 as tables
from django.urls import reverse
from django.utils.html import format_html

from apps.core.templatetags import ui

from .choices import TenantState
from .models import Tenant
from .money import money


def state_tag(state: str) -> str:
    """A tenant's state as a tag."""
    shown = "gone" if state == TenantState.LEFT else state
    return str(ui.status(shown, label=str(TenantState(state).label)))


class TenantTable(tables.Table):
    """Tenants by name. What sorts has an index; what else is shown is read for the rows of the page only."""

    name = tables.Column(order_by=("name", "pk"), attrs={"td": {"class": "main"}})
    key = tables.Column(visible=False)
    health = tables.Column(accessor="facts", orderable=False, attrs={"td": {"class": "state"}})
    state = tables.Column(order_by=("state", "name"))
    plan = tables.Column(accessor="facts", orderable=False)
    price = tables.Column(
        accessor="facts",
        orderable=False,
        verbose_name="A month",
        attrs={"td": {"class": "r"}, "th": {"class": "r"}},
    )
    currency = tables.Column(accessor="facts", visible=False)
    instances = tables.Column(
        accessor="facts", orderable=False, attrs={"td": {"class": "r"}, "th": {"class": "r"}}
    )
    domain = tables.Column(
        accessor="facts", orderable=False, verbose_name="Domain", attrs={"td": {"class": "clip"}}
    )
    created_at = tables.Column(
        verbose_name="Since",
        order_by=("created_at", "pk"),
        attrs={"td": {"class": "r"}, "th": {"class": "r"}},
    )

    class Meta:
        model = Tenant
        fields: tuple[str, ...] = ()
        order_by = "name"

    def render_name(self, record: Tenant) -> str:
        url = reverse("tenants:tenant", args=[record.pk])
        return format_html('<a href="{}">{}</a><small class="mono">{}</small>', url, record.name, record.key)

    def value_name(self, record: Tenant) -> str:
        return record.name

    def render_state(self, record: Tenant) -> str:
        return state_tag(record.state)

    def value_state(self, record: Tenant) -> str:
        return record.state

    def render_health(self, value: Any) -> str:
        if value.standing is None:
            return format_html('<span class="faint">{}</span>', "on no instance")
        wrong = f"{value.standing.wrong} of {value.standing.instances}" if value.standing.wrong else ""
        return str(ui.status(value.standing.health, label=value.standing.label, note=wrong))

    def value_health(self, value: Any) -> str:
        return value.standing.health if value.standing else ""

    def render_plan(self, value: Any) -> str:
        return value.plan or "—"

    def value_plan(self, value: Any) -> str:
        return str(value.plan)

    def render_price(self, value: Any) -> str:
        return money(value.price, value.currency) if value.price is not None else "—"

    def value_price(self, value: Any) -> Any:
        return value.price

    def value_currency(self, value: Any) -> str:
        return str(value.currency)

    def render_instances(self, value: Any) -> str:
        return str(ui.num(value.standing.instances if value.standing else 0))

    def value_instances(self, value: Any) -> int:
        return value.standing.instances if value.standing else 0

    def render_domain(self, value: Any) -> str:
        return value.domain or "—"

    def value_domain(self, value: Any) -> str:
        return str(value.domain)

    def render_created_at(self, record: Tenant) -> str:
        return str(ui.at(record.created_at, "date"))

    def value_created_at(self, record: Tenant) -> str:
        return record.created_at.isoformat(timespec="seconds")
