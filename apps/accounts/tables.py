"""How accounts are listed."""

from typing import Any

import django_tables2 as tables
from django.urls import reverse
from django.utils.html import format_html, format_html_join

from apps.core.templatetags import ui

from .models import Account

RIGHT = {"td": {"class": "r"}, "th": {"class": "r"}}


class AccountTable(tables.Table):
    """Accounts by name; what runs in them is read for the rows of the page only."""

    name = tables.Column(attrs={"td": {"class": "main nowrap"}})
    health = tables.Column(accessor="holding", orderable=False, attrs={"td": {"class": "state"}})
    cloud = tables.Column(order_by=("cloud", "name"), attrs={"td": {"class": "nowrap"}})
    owner = tables.Column(visible=False)
    regions = tables.Column(accessor="region_codes", orderable=False)
    cells = tables.Column(accessor="holding", orderable=False, attrs=RIGHT)
    by_health = tables.Column(accessor="holding", orderable=False, verbose_name="By health")
    instances = tables.Column(accessor="holding", orderable=False, attrs=RIGHT)
    tenants = tables.Column(accessor="holding", orderable=False, attrs=RIGHT)
    contact = tables.Column(orderable=False, attrs={"td": {"class": "clip"}})
    external_id = tables.Column(visible=False, verbose_name="Cloud's id")

    class Meta:
        model = Account
        fields: tuple[str, ...] = ()
        order_by = "name"

    def render_name(self, record: Account) -> str:
        url = reverse("accounts:account", args=[record.pk])
        return format_html(
            '<a href="{}">{}</a><small class="mono">{}</small>', url, record.name, record.external_id
        )

    def value_name(self, record: Account) -> str:
        return record.name

    def render_health(self, value: Any) -> str:
        if not value.worst:
            return format_html('<span class="faint">{}</span>', "nothing runs")
        return str(ui.status(value.worst, label=value.worst_label))

    def value_health(self, value: Any) -> str:
        return str(value.worst)

    def render_cloud(self, record: Account) -> str:
        return format_html("{}<small>{}</small>", record.get_cloud_display(), record.get_owner_display())

    def value_cloud(self, record: Account) -> str:
        return record.cloud

    def value_owner(self, record: Account) -> str:
        return record.owner

    def render_regions(self, record: Any) -> str:
        codes = format_html_join(
            ", ", '<span class="nowrap">{}</span>', ((code,) for code in record.region_codes)
        )
        return codes or "—"

    def value_regions(self, record: Any) -> str:
        return " ".join(record.region_codes)

    def render_cells(self, value: Any) -> str:
        return str(ui.num(value.cells))

    def value_cells(self, value: Any) -> int:
        return int(value.cells)

    def render_instances(self, value: Any) -> str:
        return str(ui.num(value.instances))

    def value_instances(self, value: Any) -> int:
        return int(value.instances)

    def render_by_health(self, value: Any) -> str:
        if not value.by_health:
            return ""
        return format_html(
            "{}<small>{}</small>", ui.shares(value.by_health, label="Instances by health"), value.told
        )

    def value_by_health(self, value: Any) -> str:
        return " ".join(f"{health}={count}" for health, count in value.by_health.items())

    def render_tenants(self, value: Any) -> str:
        return str(ui.num(value.tenants))

    def value_tenants(self, value: Any) -> int:
        return int(value.tenants)
