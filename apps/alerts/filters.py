"""How incidents and alerts are narrowed."""

import django_filters as filters
from django import forms
from django.db.models import Q, QuerySet

from .choices import OPEN_INCIDENT, AlertState, IncidentState, RuleKind, Severity
from .models import Alert, AlertRule, Incident, Runbook

OPEN = "open"


class IncidentFilter(filters.FilterSet):
    """Which state, how bad, whose."""

    q = filters.CharFilter(
        label="Find",
        field_name="title",
        lookup_expr="icontains",
        widget=forms.TextInput(attrs={"type": "search", "placeholder": "Title"}),
    )
    state = filters.ChoiceFilter(
        label="State", method="by_state", choices=[(OPEN, "Open"), *IncidentState.choices], empty_label="any"
    )
    severity = filters.ChoiceFilter(label="Severity", choices=Severity.choices, empty_label="any")

    class Meta:
        model = Incident
        fields: list[str] = []

    def by_state(self, rows: QuerySet[Incident], name: str, value: str) -> QuerySet[Incident]:
        return rows.filter(state__in=OPEN_INCIDENT) if value == OPEN else rows.filter(state=value)


class AlertFilter(filters.FilterSet):
    """Which state, how bad, from where, muted or not."""

    q = filters.CharFilter(
        label="Find",
        field_name="summary",
        lookup_expr="icontains",
        widget=forms.TextInput(attrs={"type": "search", "placeholder": "Summary"}),
    )
    state = filters.ChoiceFilter(label="State", choices=AlertState.choices, empty_label="any")
    severity = filters.ChoiceFilter(label="Severity", choices=Severity.choices, empty_label="any")
    name = filters.CharFilter(label="Alert", field_name="name", lookup_expr="exact")
    source = filters.CharFilter(label="Source", field_name="source_name", lookup_expr="exact")
    muted = filters.ChoiceFilter(
        label="Muted", method="by_muted", choices=[("yes", "yes"), ("no", "no")], empty_label="any"
    )
    incident = filters.NumberFilter(label="Incident", field_name="incident_id", widget=forms.HiddenInput)

    class Meta:
        model = Alert
        fields: list[str] = []

    def by_muted(self, rows: QuerySet[Alert], name: str, value: str) -> QuerySet[Alert]:
        loud = {"silence__isnull": True, "inhibited_by__isnull": True}
        return rows.exclude(**loud) if value == "yes" else rows.filter(**loud)


class RunbookFilter(filters.FilterSet):
    """By any word in it."""

    q = filters.CharFilter(
        label="Find",
        method="by_text",
        widget=forms.TextInput(attrs={"type": "search", "placeholder": "Symptom, remedy or tag"}),
    )

    instance = filters.CharFilter(label="For", method="for_instance", widget=forms.HiddenInput)

    class Meta:
        model = Runbook
        fields: list[str] = []

    def for_instance(self, rows: QuerySet[Runbook], name: str, value: str) -> QuerySet[Runbook]:
        """Any runbook may be run on it: it is only carried on to the runbook's page. What is off cannot be run."""
        return rows.filter(is_enabled=True)

    def by_text(self, rows: QuerySet[Runbook], name: str, value: str) -> QuerySet[Runbook]:
        """All words have to be there, wherever."""
        for word in value.split()[:8]:
            rows = rows.filter(
                Q(name__icontains=word)
                | Q(title__icontains=word)
                | Q(about__icontains=word)
                | Q(tags__icontains=word)
            )
        return rows


class RuleFilter(filters.FilterSet):
    """By name and kind."""

    q = filters.CharFilter(
        label="Find",
        field_name="name",
        lookup_expr="icontains",
        widget=forms.TextInput(attrs={"type": "search", "placeholder": "Name"}),
    )
    kind = filters.ChoiceFilter(label="Kind", choices=RuleKind.choices, empty_label="any")

    class Meta:
        model = AlertRule
        fields: list[str] = []
