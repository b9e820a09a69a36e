"""The portal's own rules: the list, and the form of one."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404

from apps.access.choices import Permission
from apps.access.listing import render_list
from apps.access.scoping import visible
from apps.access.views_base import needs
from apps.core.answers import go

from .. import queries
from ..filters import RuleFilter
from ..models import AlertRule
from ..rule_forms import RuleForm
from ..rules import keeping
from ..tables import RuleTable
from .answers import form_page

WRITES = ("GET", "HEAD", "POST")


@needs("view")
def rules(request: HttpRequest) -> HttpResponse:
    """The rules the reader sees, and how many alerts each has open."""
    return render_list(
        request,
        page="alerts:rules",
        title="Rules",
        queryset=queries.listed_rules(request.user),
        table_class=RuleTable,
        filter_class=RuleFilter,
        template="alerts/rules.html",
        context={
            "noun": "rule",
            "live": 10,
            "empty": {
                "title": "No rule yet",
                "text": "What fails is told without any rule. A rule adds figures: errors, latency, a burnt error budget.",
            },
        },
    )


def _edit(request: HttpRequest, found: AlertRule | None) -> HttpResponse:
    form = RuleForm(request.POST or None, instance=found, user=request.user)

    def save() -> HttpResponse:
        keeping.save(form.instance, actor=request.user)
        return go(request, "alerts:rules")

    lead = "evaluated every 15 seconds, for each instance of its place"
    title = found.name if found else "New rule"
    return form_page(request, form, save, title=title, lead=lead, back="alerts:rules")


@needs(Permission.MANAGE_ALERTS, methods=WRITES)
def new_rule(request: HttpRequest) -> HttpResponse:
    """Make a rule."""
    return _edit(request, None)


@needs(Permission.MANAGE_ALERTS, methods=WRITES)
def rule(request: HttpRequest, pk: int) -> HttpResponse:
    """Change a rule, or switch it off."""
    rows = visible(
        request.user, AlertRule.objects.select_related("account", "cell"), Permission.MANAGE_ALERTS
    )
    return _edit(request, get_object_or_404(rows, pk=pk))
