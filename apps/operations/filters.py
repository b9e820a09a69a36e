"""How the list of operations is narrowed. What is not text is served by an index."""

from datetime import date

import django_filters as filters
from django import forms
from django.db.models import Q, QuerySet

from apps.core import days

from .choices import State
from .kinds import kinds
from .models import Operation


def kind_choices() -> list[tuple[str, str]]:
    """The kinds there are, for a chooser."""
    return sorted(((kind.name, kind.label) for kind in kinds()), key=lambda pair: pair[1])


def number_in(text: str) -> int | None:
    """The operation's number in “81207”, “#81207” or “81,207”, or None."""
    digits = text.strip().lstrip("#").replace(",", "")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 19 else None


class OperationFilter(filters.FilterSet):
    """What, in which state, asked for by whom, when."""

    q = filters.CharFilter(
        label="Find",
        method="by_text",
        widget=forms.TextInput(attrs={"type": "search", "placeholder": "Target, reason or number"}),
    )
    state = filters.ChoiceFilter(label="State", choices=State.choices, empty_label="any")
    kind = filters.ChoiceFilter(label="Kind", choices=kind_choices, empty_label="any")
    actor = filters.CharFilter(
        label="Asked for by",
        method="by_actor",
        widget=forms.TextInput(attrs={"placeholder": "me, or a user name", "autocomplete": "off"}),
    )
    since = filters.DateFilter(
        label="From", method="by_since", widget=forms.DateInput(attrs={"type": "date"})
    )
    until = filters.DateFilter(label="To", method="by_until", widget=forms.DateInput(attrs={"type": "date"}))
    batch = filters.UUIDFilter(label="Batch", field_name="batch_id", widget=forms.HiddenInput)

    class Meta:
        model = Operation
        fields: list[str] = []

    def by_text(self, rows: QuerySet[Operation], name: str, value: str) -> QuerySet[Operation]:
        wanted = Q(target_label__icontains=value.strip()) | Q(reason__icontains=value.strip())
        number = number_in(value)
        return rows.filter(wanted if number is None else wanted | Q(pk=number))

    def by_actor(self, rows: QuerySet[Operation], name: str, value: str) -> QuerySet[Operation]:
        if value.strip().lower() == "me":
            return rows.filter(actor_id=self.request.user.pk)
        return rows.filter(actor__username__iexact=value.strip())

    def by_since(self, rows: QuerySet[Operation], name: str, value: date) -> QuerySet[Operation]:
        return rows.filter(created_at__gte=days.begins(value))

    def by_until(self, rows: QuerySet[Operation], name: str, value: date) -> QuerySet[Operation]:
        return rows.filter(created_at__lt=days.ends(value))
