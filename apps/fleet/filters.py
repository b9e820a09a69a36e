"""How the lists of instances and cells are narrowed."""

from typing import Any

import django_filters as filters
from django import forms
from django.db.models import Q, QuerySet
from django.http import HttpRequest, QueryDict

from apps.access.scoping import visible
from apps.accounts.models import Account
from apps.tenants.models import Tenant

from .choices import WRONG, Health, InstanceKind, ProviderName
from .models import Cell, Certificate, Instance, Placement
from .queries.certificates import ISSUERS, PROBLEMS, with_issuer, with_problem
from .queries.instances import listed


def _cells(request: HttpRequest | None) -> QuerySet[Cell]:
    return visible(request.user, Cell).order_by("name") if request else Cell.objects.none()


def _accounts(request: HttpRequest | None) -> QuerySet[Account]:
    return visible(request.user, Account).order_by("name") if request else Account.objects.none()


#: Failing, degraded or unknown, in one word.
ANY_WRONG = "wrong"


class OneOrMany(forms.SelectMultiple):
    """A select of one that an address may give several values, as links and saved views do."""

    allow_multiple_selected = False

    def optgroups(self, name: str, value: list[str], attrs: dict[str, Any] | None = None) -> Any:
        """With “any” in front; several values show as the first of them, the chips name all."""
        groups = super().optgroups(name, value[:1], attrs)
        anything = self.create_option(name, "", "any", not value, 0)
        return [(None, [anything], 0), *groups]

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[str]:
        """What was chosen; the empty choice is none."""
        return [value for value in super().value_from_datadict(data, files, name) or [] if value]


class InstanceFilter(filters.FilterSet):
    """Which, how, where, what it runs, for whom."""

    q = filters.CharFilter(
        label="Find",
        method="by_text",
        widget=forms.TextInput(attrs={"type": "search", "placeholder": "Instance or tenant"}),
    )
    health = filters.MultipleChoiceFilter(
        label="Status", method="by_health", choices=[(ANY_WRONG, "Wrong"), *Health.choices], widget=OneOrMany
    )
    cell = filters.ModelChoiceFilter(label="Cell", queryset=_cells, to_field_name="name", empty_label="any")
    account = filters.ModelChoiceFilter(
        label="Account",
        queryset=_accounts,
        to_field_name="name",
        field_name="cell__region__account",
        empty_label="any",
    )
    region = filters.CharFilter(label="Region", field_name="cell__region__code", lookup_expr="iexact")
    version = filters.CharFilter(label="Version", field_name="version", lookup_expr="exact")
    kind = filters.ChoiceFilter(label="Kind", choices=InstanceKind.choices, empty_label="any")
    provider = filters.ChoiceFilter(
        label="Provider", field_name="cell__provider", choices=ProviderName.choices, empty_label="any"
    )
    locked = filters.ChoiceFilter(
        label="Locked", method="by_lock", choices=[("yes", "yes"), ("no", "no")], empty_label="any"
    )
    tenant = filters.CharFilter(label="Tenant", method="by_tenant", help_text="its key")

    class Meta:
        model = Instance
        fields: list[str] = []

    def by_health(self, rows: QuerySet[Instance], name: str, values: list[str]) -> QuerySet[Instance]:
        wanted = {health for value in values for health in (WRONG if value == ANY_WRONG else (value,))}
        return rows.filter(health__in=sorted(wanted)) if wanted else rows

    def by_text(self, rows: QuerySet[Instance], name: str, value: str) -> QuerySet[Instance]:
        """Instances whose name holds the text, and those of visible tenants whose name or key does."""
        text = value.strip()
        tenants = Tenant.objects.filter(Q(name__icontains=text) | Q(key__icontains=text)).order_by()
        named = Instance.objects.filter(name__icontains=text).order_by().values("pk")
        placed = visible(self.request.user, Placement).filter(tenant_id__in=tenants.values("pk")).order_by()
        # A union, not an OR: each half has its own index.
        return rows.filter(pk__in=named.union(placed.values("instance_id")))

    def by_tenant(self, rows: QuerySet[Instance], name: str, value: str) -> QuerySet[Instance]:
        placed = visible(self.request.user, Placement).filter(tenant__key=value.strip()).order_by()
        return rows.filter(pk__in=placed.values("instance_id"))

    def by_lock(self, rows: QuerySet[Instance], name: str, value: str) -> QuerySet[Instance]:
        locked = ~Q(locked_reason="") | ~Q(cell__locked_reason="")
        return rows.filter(locked) if value == "yes" else rows.exclude(locked)


class CellFilter(filters.FilterSet):
    """Which cell, where, whose, run by what."""

    q = filters.CharFilter(
        label="Find",
        field_name="name",
        lookup_expr="icontains",
        widget=forms.TextInput(attrs={"type": "search", "placeholder": "Cell"}),
    )
    account = filters.ModelChoiceFilter(
        label="Account",
        queryset=_accounts,
        to_field_name="name",
        field_name="region__account",
        empty_label="any",
    )
    region = filters.CharFilter(label="Region", field_name="region__code", lookup_expr="iexact")
    provider = filters.ChoiceFilter(label="Provider", choices=ProviderName.choices, empty_label="any")
    locked = filters.ChoiceFilter(
        label="Locked", method="by_lock", choices=[("yes", "yes"), ("no", "no")], empty_label="any"
    )

    class Meta:
        model = Cell
        fields: list[str] = []

    def by_lock(self, rows: QuerySet[Cell], name: str, value: str) -> QuerySet[Cell]:
        return rows.exclude(locked_reason="") if value == "yes" else rows.filter(locked_reason="")


class _Reader:
    """As much of a request as a filter asks for: who reads."""

    def __init__(self, user: Any) -> None:
        self.user = user


def select_instances(user: Any, query: QueryDict) -> QuerySet[Instance]:
    """The visible instances that the list shows for `query`; ValueError names the first bad filter."""
    filterset = InstanceFilter(query, queryset=listed(user), request=_Reader(user))
    if not filterset.is_valid():
        name, errors = next(iter(filterset.errors.items()))
        raise ValueError(
            f"{filterset.form.fields[name].label}: {errors[0]}"
            if name in filterset.form.fields
            else str(errors[0])
        )
    rows: QuerySet[Instance] = filterset.qs
    return rows


class CertificateFilter(filters.FilterSet):
    """Which, what is wrong with it, where."""

    q = filters.CharFilter(
        label="Find",
        method="by_text",
        widget=forms.TextInput(attrs={"type": "search", "placeholder": "Instance, or a name it is for"}),
    )
    problem = filters.ChoiceFilter(
        label="Problem", method="by_problem", choices=list(PROBLEMS.items()), empty_label="any"
    )
    cell = filters.ModelChoiceFilter(
        label="Cell", queryset=_cells, to_field_name="name", field_name="instance__cell", empty_label="any"
    )
    issuer = filters.ChoiceFilter(
        label="Issuer", method="by_issuer", choices=list(ISSUERS.items()), empty_label="any"
    )

    class Meta:
        model = Certificate
        fields: list[str] = []

    def by_text(self, rows: QuerySet[Certificate], name: str, value: str) -> QuerySet[Certificate]:
        return rows.filter(Q(instance__name__icontains=value) | Q(names__icontains=value))

    def by_problem(self, rows: QuerySet[Certificate], name: str, value: str) -> QuerySet[Certificate]:
        return rows.filter(with_problem(value))

    def by_issuer(self, rows: QuerySet[Certificate], name: str, value: str) -> QuerySet[Certificate]:
        return rows.filter(with_issuer(value))
