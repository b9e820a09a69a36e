"""How people and what they may do are listed."""

import django_filters as filters
import django_tables2 as tables
from django import forms
from django.db.models import Q, QuerySet
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from apps.core.templatetags.ui import ago, tag

from .choices import ScopeKind
from .models import Grant, Role, User

#: Grants of one person that the list shows.
SHOWN = 4


def in_words(grant: Grant) -> str:
    """A grant as one line of text."""
    until = f" until {grant.until:%Y-%m-%d %H:%M} UTC" if grant.until else ""
    return f"{grant.role} on {grant.scope}{until}, given by {grant.given_by}: {grant.reason}"


class PeopleTable(tables.Table):
    """People with their own grants; what they have through groups is on their page."""

    who = tables.Column(
        verbose_name="Who",
        accessor="username",
        order_by=("username",),
        attrs={"td": {"class": "main"}},
        empty_values=(),
    )
    grants = tables.Column(verbose_name="May", orderable=False, empty_values=(), accessor="pk")
    last_login = tables.Column(verbose_name="Last here", empty_values=())
    email = tables.Column(visible=False)
    is_active = tables.Column(visible=False)

    class Meta:
        model = User
        fields: tuple[str, ...] = ()

    def render_who(self, record: User) -> SafeString:
        url = reverse("access:person", args=[record.pk])
        marks = (
            tag("warn", "superuser")
            if record.is_superuser
            else ""
            if record.is_active
            else tag("idle", "inactive")
        )
        return format_html(
            '<a href="{}"><b>{}</b></a> {}<small>{}</small>',
            url,
            record,
            marks,
            record.email or record.username,
        )

    def value_who(self, record: User) -> str:
        return record.username

    def render_grants(self, record: User) -> SafeString:
        found = list(record.grants.all())
        lines = format_html_join("", "<div><b>{}</b> on {}</div>", ((g.role, g.scope) for g in found[:SHOWN]))
        more = (
            format_html('<small class="faint">and {} more</small>', len(found) - SHOWN)
            if len(found) > SHOWN
            else ""
        )
        return format_html(
            "{}{}", lines or mark_safe('<span class="faint">nothing of their own</span>'), more
        )

    def value_grants(self, record: User) -> str:
        return "; ".join(in_words(grant) for grant in record.grants.all())

    def render_last_login(self, record: User) -> SafeString:
        return ago(record.last_login)

    def value_last_login(self, record: User) -> str:
        return record.last_login.isoformat() if record.last_login else ""


class PeopleFilter(filters.FilterSet):
    """Who, with which role, on what kind of scope."""

    q = filters.CharFilter(
        label="Find",
        method="by_text",
        widget=forms.TextInput(attrs={"type": "search", "placeholder": "Name or e-mail"}),
    )
    role = filters.ModelChoiceFilter(
        label="Role", method="by_role", queryset=Role.objects.all(), empty_label="any"
    )
    on = filters.ChoiceFilter(label="On", method="by_kind", choices=ScopeKind.choices, empty_label="anything")

    class Meta:
        model = User
        fields: tuple[str, ...] = ()

    def by_text(self, rows: QuerySet[User], name: str, value: str) -> QuerySet[User]:
        text = value.strip()
        return rows.filter(
            Q(username__icontains=text)
            | Q(email__icontains=text)
            | Q(first_name__icontains=text)
            | Q(last_name__icontains=text)
        )

    def by_role(self, rows: QuerySet[User], name: str, value: Role) -> QuerySet[User]:
        return rows.filter(pk__in=self._manageable().filter(role=value).values("user_id"))

    def by_kind(self, rows: QuerySet[User], name: str, value: str) -> QuerySet[User]:
        return rows.filter(pk__in=self._manageable().filter(scope__kind=value).values("user_id"))

    def _manageable(self) -> QuerySet[Grant]:
        from .granting import manageable

        return manageable(self.request.user).filter(user__isnull=False)
