"""How the list of tenants is narrowed: by its own columns, and by what floors above registered."""

from typing import Any

import django_filters as filters
from django import forms
from django.db.models import Q, QuerySet

from . import panels, queries
from .choices import TenantState
from .models import Plan, Subscription, Tenant


def _plans() -> list[tuple[str, str]]:
    return [(str(pk), name) for pk, name in Plan.objects.values_list("pk", "name")]


class TenantFilter(filters.FilterSet):
    """Text, state, plan; health, account and cell come from the fleet."""

    q = filters.CharFilter(
        label="Find",
        method="by_text",
        max_length=100,
        widget=forms.TextInput(attrs={"type": "search", "placeholder": "Name, key or domain"}),
    )
    state = filters.ChoiceFilter(label="State", choices=TenantState.choices, empty_label="any")
    plan = filters.ChoiceFilter(label="Plan", method="by_plan", choices=_plans, empty_label="any")

    class Meta:
        model = Tenant
        fields: list[str] = []

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, narrowing in panels.narrowings.items():
            chosen = filters.ChoiceFilter(
                label=narrowing.label,
                method="by_narrowing",
                choices=narrowing.choices(self.request.user),
                empty_label="any",
            )
            chosen.parent, chosen.model, chosen.field_name = self, Tenant, name
            self.filters[name] = chosen

    def by_text(self, rows: QuerySet[Tenant], name: str, value: str) -> QuerySet[Tenant]:
        return queries.with_text(rows, value.strip())

    def by_plan(self, rows: QuerySet[Tenant], name: str, value: str) -> QuerySet[Tenant]:
        bought = Subscription.objects.filter(ends_on__isnull=True, plan_id=value).order_by()
        return rows.filter(pk__in=bought.values("tenant_id"))

    def by_narrowing(self, rows: QuerySet[Tenant], name: str, value: str) -> QuerySet[Tenant]:
        within: Q = panels.narrowings[name].within(self.request.user, value)
        return rows.filter(within)
