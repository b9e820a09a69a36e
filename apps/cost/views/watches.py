"""Pages of what is looked after: days out of the ordinary, budgets, where the month will end."""

from datetime import timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from apps.access.choices import Permission
from apps.access.scoping import scopes_of, visible
from apps.access.views_base import needs

from .. import forecasting
from ..exporting import Sheet, asked_for, export
from ..models import Anomaly, Budget
from ..queries import figures
from .answers import frame, paged


@needs("see_cost")
def anomalies(request: HttpRequest) -> HttpResponse:
    """Days on which a tenant's service cost what it usually does not."""
    rows = visible(request.user, Anomaly, Permission.SEE_COST).select_related("tenant", "account")
    scopes = scopes_of(request.user, Permission.SEE_COST)

    def why(one: Anomaly) -> str:
        """Usage is of a tenant, wherever it was: who holds the account alone is told of the cost in it, and no more."""
        whole = scopes.everything or one.tenant_id in scopes.tenants
        return one.why if whole else one.why.split(";")[0]

    if asked_for(request):
        made = (
            (
                a.day.isoformat(),
                a.tenant.name if a.tenant else "",
                a.service,
                a.currency,
                a.amount,
                a.expected,
                why(a),
            )
            for a in rows
        )
        return export(
            request,
            "cost:anomalies",
            Sheet(["Day", "Tenant", "Service", "Currency", "Cost", "Usual", "Why"], made),
        )
    context = frame(request, "anomalies", budgets=open_budgets(request.user), **paged(request, rows))
    for one in context["page"]:
        one.why = why(one)
    context["ends"] = month_ends(request.user, context["month"]) if context["month"] else []
    return render(request, "cost/anomalies.html", context)


def open_budgets(user: Any) -> list[Budget]:
    """Budgets the reader may see that are over or will be."""
    return list(
        visible(user, Budget.objects.exclude(state="within"), Permission.SEE_COST).select_related(
            "tenant", "account"
        )
    )


def month_ends(user: Any, month: Any) -> list[tuple[str, forecasting.Forecast]]:
    """Where a month that is not over will end, by currency."""
    first, end = month - timedelta(weeks=forecasting.WEEKS), figures.month_end(month)
    found: dict[str, dict[Any, float]] = {}
    for currency, day, amount in figures.by_day(user, first, end):
        found.setdefault(currency, {})[day] = float(amount)
    made = [(currency, forecasting.month_end(amounts, end)) for currency, amounts in sorted(found.items())]
    return [(currency, one) for currency, one in made if one is not None and one.days_left]
