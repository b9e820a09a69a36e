"""How the trail is narrowed; each filter is served by an index."""

from datetime import date
from typing import Any

import django_filters as filters
from django import forms
from django.contrib.contenttypes.models import ContentType
from django.db.models import Q, QuerySet

from apps.access.models import User
from apps.core import days

from .choices import EventKind, StreamKind
from .models import AuditEntry, AuditSeal, AuditStream
from .queries import model_choices

VIAS = ("page", "admin", "api", "scim", "command", "schedule", "system")
#: How many people one text may mean.
MOST_PEOPLE = 100


def _day() -> forms.DateInput:
    return forms.DateInput(attrs={"type": "date"})


class AuditFilter(filters.FilterSet):
    """Who, what, on which row, by which way, why, when."""

    q = filters.CharFilter(
        label="Reason",
        method="by_reason",
        widget=forms.TextInput(attrs={"type": "search", "placeholder": "in the reason"}),
    )
    actor = filters.CharFilter(label="Who", method="by_actor")
    event = filters.ChoiceFilter(label="Kind", choices=EventKind.choices, empty_label="any kind")
    action = filters.ChoiceFilter(label="Did", choices=AuditEntry.Action.choices, empty_label="anything")
    model = filters.ChoiceFilter(
        label="To a", method="by_model", choices=model_choices, empty_label="anything"
    )
    object = filters.NumberFilter(label="Number", method="by_object", min_value=1, max_value=2**63 - 1)
    via = filters.ChoiceFilter(label="Via", choices=[(via, via) for via in VIAS], empty_label="any way")
    since = filters.DateFilter(label="From", method="by_since", widget=_day())
    until = filters.DateFilter(label="To", method="by_until", widget=_day())
    operation = filters.NumberFilter(
        field_name="operation_id",
        min_value=1,
        max_value=2**63 - 1,
        widget=forms.HiddenInput,
        label="Operation",
    )
    request_id = filters.CharFilter(field_name="cid", widget=forms.HiddenInput, label="Request")
    seal = filters.NumberFilter(
        label="Seal", method="by_seal", min_value=1, max_value=2**63 - 1, widget=forms.HiddenInput
    )

    class Meta:
        model = AuditEntry
        fields: tuple[str, ...] = ()

    def by_reason(self, rows: QuerySet[AuditEntry], name: str, value: str) -> QuerySet[AuditEntry]:
        return rows.filter(reason__icontains=value.strip())

    def by_actor(self, rows: QuerySet[AuditEntry], name: str, value: str) -> QuerySet[AuditEntry]:
        """By a part of a person's name; the people first, so that the trail is read by its index."""
        text = value.strip()
        people = User.objects.filter(
            Q(username__icontains=text)
            | Q(email__icontains=text)
            | Q(first_name__icontains=text)
            | Q(last_name__icontains=text)
        )
        return rows.filter(
            actor_id__in=list(people.order_by("pk").values_list("pk", flat=True)[:MOST_PEOPLE])
        )

    def by_model(self, rows: QuerySet[AuditEntry], name: str, value: str) -> QuerySet[AuditEntry]:
        return rows.filter(content_type_id=ContentType.objects.get_by_natural_key(*value.split(".")).pk)

    def by_object(self, rows: QuerySet[AuditEntry], name: str, value: Any) -> QuerySet[AuditEntry]:
        return rows.filter(object_id=int(value))

    def by_seal(self, rows: QuerySet[AuditEntry], name: str, value: Any) -> QuerySet[AuditEntry]:
        """The entries that a seal covers; its bounds first, so that the trail is read by its key."""
        bounds = AuditSeal.objects.filter(number=int(value)).values_list("after", "up_to").first()
        return rows.filter(pk__gt=bounds[0], pk__lte=bounds[1]) if bounds else rows.none()

    def by_since(self, rows: QuerySet[AuditEntry], name: str, value: date) -> QuerySet[AuditEntry]:
        return rows.filter(timestamp__gte=days.begins(value))

    def by_until(self, rows: QuerySet[AuditEntry], name: str, value: date) -> QuerySet[AuditEntry]:
        return rows.filter(timestamp__lt=days.ends(value))


class SealFilter(filters.FilterSet):
    """One seal by its number, or those of some days."""

    number = filters.NumberFilter(label="Number", min_value=1, max_value=2**63 - 1)
    since = filters.DateFilter(label="From", method="by_since", widget=_day())
    until = filters.DateFilter(label="To", method="by_until", widget=_day())

    class Meta:
        model = AuditSeal
        fields: tuple[str, ...] = ()

    def by_since(self, rows: QuerySet[AuditSeal], name: str, value: date) -> QuerySet[AuditSeal]:
        return rows.filter(sealed_at__gte=days.begins(value))

    def by_until(self, rows: QuerySet[AuditSeal], name: str, value: date) -> QuerySet[AuditSeal]:
        return rows.filter(sealed_at__lt=days.ends(value))


class StreamFilter(filters.FilterSet):
    """Streams by how they travel."""

    kind = filters.ChoiceFilter(label="Kind", choices=StreamKind.choices, empty_label="any kind")

    class Meta:
        model = AuditStream
        fields: tuple[str, ...] = ()
