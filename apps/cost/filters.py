"""How the list of bills is narrowed."""

import django_filters as filters
from django import forms

from .choices import BillState
from .models import Bill


class BillFilter(filters.FilterSet):
    """By name and state."""

    q = filters.CharFilter(
        label="Find", field_name="name", lookup_expr="icontains", max_length=100,
        widget=forms.TextInput(attrs={"type": "search", "placeholder": "Name of a file"}),
    )  # fmt: skip
    state = filters.ChoiceFilter(label="State", choices=BillState.choices, empty_label="any")

    class Meta:
        model = Bill
        fields: list[str] = []
