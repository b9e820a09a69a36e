"""How the lists of releases, rollouts and advisories are narrowed."""

from typing import Any

import django_filters as filters
from django import forms
from django.db.models import Q, QuerySet

from apps.access.scoping import visible

from .choices import Life, NoticeState, ReleaseKind, RolloutState, Severity
from .models import Advisory, CustomerNotice, Exposure, Release, Rollout


def _find(placeholder: str) -> Any:
    return filters.CharFilter(
        label="Find",
        method="by_text",
        widget=forms.TextInput(attrs={"type": "search", "placeholder": placeholder}),
    )


class ReleaseFilter(filters.FilterSet):
    """Which version, of what kind, where in its life."""

    q = _find("Version or CVE")
    life = filters.ChoiceFilter(label="State", choices=Life.choices, empty_label="any")
    kind = filters.ChoiceFilter(label="Kind", choices=ReleaseKind.choices, empty_label="any")

    class Meta:
        model = Release
        fields: list[str] = []

    def by_text(self, rows: QuerySet[Release], name: str, value: str) -> QuerySet[Release]:
        return rows.filter(Q(version__icontains=value.strip()) | Q(cves__contains=[value.strip().upper()]))


class RolloutFilter(filters.FilterSet):
    """To which version, in which state."""

    q = _find("Version or reason")
    state = filters.ChoiceFilter(label="State", choices=RolloutState.choices, empty_label="any")

    class Meta:
        model = Rollout
        fields: list[str] = []

    def by_text(self, rows: QuerySet[Rollout], name: str, value: str) -> QuerySet[Rollout]:
        return rows.filter(Q(release__version__icontains=value.strip()) | Q(reason__icontains=value.strip()))


class AdvisoryFilter(filters.FilterSet):
    """Which, how bad, and whether anybody is exposed."""

    q = _find("Id, CVE or package")
    severity = filters.ChoiceFilter(label="Severity", choices=Severity.choices, empty_label="any")
    exposed = filters.ChoiceFilter(
        label="Exposed",
        method="by_exposed",
        choices=[("yes", "somebody"), ("no", "nobody")],
        empty_label="any",
    )

    class Meta:
        model = Advisory
        fields: list[str] = []

    def by_text(self, rows: QuerySet[Advisory], name: str, value: str) -> QuerySet[Advisory]:
        text = value.strip()
        matched = Advisory.objects.filter(matches__component__package__icontains=text).order_by().values("pk")
        return rows.filter(
            Q(osv_id__icontains=text)
            | Q(aliases__contains=[text.upper()])
            | Q(summary__icontains=text)
            | Q(pk__in=matched)
        )

    def by_exposed(self, rows: QuerySet[Advisory], name: str, value: str) -> QuerySet[Advisory]:
        seen = (
            visible(self.request.user, Exposure).filter(until__isnull=True).order_by().values("advisory_id")
        )
        return rows.filter(pk__in=seen) if value == "yes" else rows.exclude(pk__in=seen)


class NoticeFilter(filters.FilterSet):
    """To whom, about which rollout, how far."""

    q = _find("Tenant or subject")
    state = filters.ChoiceFilter(label="State", choices=NoticeState.choices, empty_label="any")
    rollout = filters.NumberFilter(label="Rollout", field_name="rollout_id", min_value=1, max_value=2**62)

    class Meta:
        model = CustomerNotice
        fields: list[str] = []

    def by_text(self, rows: QuerySet[CustomerNotice], name: str, value: str) -> QuerySet[CustomerNotice]:
        text = value.strip()
        return rows.filter(Q(tenant__name__icontains=text) | Q(tenant__key=text) | Q(subject__icontains=text))
