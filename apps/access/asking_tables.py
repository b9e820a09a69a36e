"""How requests for access are listed."""

import django_filters as filters
import django_tables2 as tables
from django.db.models import QuerySet
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from apps.core.templatetags.ui import ago, at, tag

from .choices import RequestState, ScopeKind
from .models import AccessRequest, Role
from .telling import span

TONES = {
    RequestState.WAITING: "warn",
    RequestState.GRANTED: "busy",
    RequestState.REFUSED: "bad",
    RequestState.TAKEN: "bad",
}


def state_tag(request: AccessRequest) -> SafeString:
    """Where it stands, as a tag."""
    return tag(TONES.get(RequestState(request.state), "idle"), request.get_state_display().lower())


class RequestTable(tables.Table):
    """Requests, newest first."""

    person = tables.Column(
        verbose_name="Who", attrs={"td": {"class": "main"}}, order_by=("person__username",)
    )
    what = tables.Column(verbose_name="Asks for", orderable=False, empty_values=(), accessor="pk")
    state = tables.Column(verbose_name="State", attrs={"td": {"class": "state"}})
    reason = tables.Column(verbose_name="Why", orderable=False)
    decided_by = tables.Column(verbose_name="Decided", orderable=False, empty_values=())
    created_at = tables.Column(verbose_name="Asked", order_by=("id",))
    until = tables.Column(visible=False)

    class Meta:
        model = AccessRequest
        fields: tuple[str, ...] = ()

    def render_person(self, record: AccessRequest) -> SafeString:
        return format_html('<a href="{}">{}</a>', reverse("access:request", args=[record.pk]), record.person)

    def value_person(self, record: AccessRequest) -> str:
        return record.person.username

    def render_what(self, record: AccessRequest) -> SafeString:
        more = " more" if record.extends_id else ""
        return format_html(
            "<b>{}</b> on {}<small>for {}{}</small>", record.role, record.scope, span(record.minutes), more
        )

    def value_what(self, record: AccessRequest) -> str:
        return f"{record.role} on {record.scope} for {span(record.minutes)}"

    def render_state(self, record: AccessRequest) -> SafeString:
        until = at(record.until, "second") if record.state == RequestState.GRANTED else ""
        return format_html(
            "{} {}", state_tag(record), format_html("<small>until {}</small>", until) if until else ""
        )

    def value_state(self, record: AccessRequest) -> str:
        return record.state

    def render_decided_by(self, record: AccessRequest) -> str:
        return "pre-approved" if record.pre_approval else str(record.decided_by or "–")

    def render_created_at(self, record: AccessRequest) -> SafeString:
        return ago(record.created_at)

    def value_created_at(self, record: AccessRequest) -> str:
        return record.created_at.isoformat()


class RequestFilter(filters.FilterSet):
    """By state, role, kind of scope."""

    state = filters.ChoiceFilter(label="State", choices=RequestState.choices, empty_label="any")
    role = filters.ModelChoiceFilter(label="Role", queryset=Role.objects.all(), empty_label="any")
    on = filters.ChoiceFilter(
        label="On", field_name="scope__kind", choices=ScopeKind.choices, empty_label="anything"
    )
    who = filters.CharFilter(label="Who", method="by_who")

    class Meta:
        model = AccessRequest
        fields: tuple[str, ...] = ()

    def by_who(self, rows: QuerySet[AccessRequest], name: str, value: str) -> QuerySet[AccessRequest]:
        return rows.filter(person__username__icontains=value.strip())
