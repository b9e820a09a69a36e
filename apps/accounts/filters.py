"""How the list of accounts is narrowed."""

import django_filters as filters
from django import forms
from django.db.models import Q, QuerySet

from .choices import Cloud, Owner
from .models import Account


class AccountFilter(filters.FilterSet):
    """Text, cloud, whose it is."""

    q = filters.CharFilter(
        label="Find",
        method="by_text",
        max_length=100,
        widget=forms.TextInput(attrs={"type": "search", "placeholder": "Name, cloud's id or contact"}),
    )
    cloud = filters.ChoiceFilter(label="Cloud", choices=Cloud.choices, empty_label="any")
    owner = filters.ChoiceFilter(label="Whose", choices=Owner.choices, empty_label="any")

    class Meta:
        model = Account
        fields: list[str] = []

    def by_text(self, rows: QuerySet[Account], name: str, value: str) -> QuerySet[Account]:
        text = value.strip()
        holds = Q(name__icontains=text) | Q(external_id__icontains=text) | Q(contact__icontains=text)
        return rows.filter(holds)
