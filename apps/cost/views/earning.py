"""Pages of cost against revenue: heavy hitters, margins, the price lab."""

from datetime import timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from apps.access.views_base import needs
from apps.core.answers import is_part

from ..exporting import Sheet, asked_for, export
from ..forms import LabForm
from ..pricing import months_back
from ..queries import margins, reasons, scatter
from ..queries.figures import month_end
from ..queries.revenue import currencies
from .answers import frame, paged

#: How many months are added up.
SPANS = (1, 3, 6, 12)


def money_frame(request: HttpRequest, tab: str) -> dict[str, Any]:
    """The frame, with the currency to reckon in: one of those that prices are in."""
    context = frame(request, tab)
    known = currencies()
    wanted = context["asked"].get("currency", known[0])
    month = context["month"]
    rate_day = month_end(month) - timedelta(days=1) if month else None
    wide = int(context["asked"].get("span") or 1)
    return context | {
        "span": months_back(month, wide) if month else [],
        "spans": SPANS,
        "wide": wide,
        "invoiced": context["asked"].get("revenue") == "invoiced",
        "currency": wanted if wanted in known else known[0],
        "currencies": known,
        "rate_day": rate_day,
    }


def _margins(request: HttpRequest, context: dict[str, Any]) -> margins.Margins | None:
    if not context["month"]:
        return None
    tried: margins.Invoiced | None = "invoiced" if context["invoiced"] else None
    return margins.margins(request.user, context["span"], context["currency"], tried=(tried,))[0]


@needs("see_cost")
def heavy(request: HttpRequest) -> HttpResponse:
    """Who costs most, and what they bring: share of cost against share of revenue."""
    context = money_frame(request, "heavy")
    found = _margins(request, context)
    hitters = margins.heavy_hitters(found) if found else []
    if asked_for(request):
        made = [
            (
                h.row.name,
                h.row.plan,
                context["currency"],
                h.row.cost,
                h.row.revenue,
                float(h.cost_share),
                float(h.revenue_share),
            )
            for h in hitters
        ]
        titles = ["Tenant", "Plan", "Currency", "Cost", "Revenue", "Share of cost", "Share of revenue"]
        return export(request, "cost:heavy", Sheet(titles, made))
    fifth = hitters[max(0, -(-len(hitters) // 5) - 1)] if hitters else None
    context |= {
        "found": found,
        "points": margins.pareto_points(hitters) if hitters else "",
        "earned": margins.pareto_points(hitters, of="revenue_running") if hitters else "",
        "fifth": fifth,
        **paged(request, hitters),
    }
    return render(request, "cost/heavy.html", context)


@needs("see_cost")
def margin_list(request: HttpRequest) -> HttpResponse:
    """What each tenant leaves; those that cost more than they earn first, with why."""
    context = money_frame(request, "margins")
    found = _margins(request, context)
    rows = sorted(found.rows, key=lambda row: (row.margin, row.name)) if found else []
    if asked_for(request):
        told = reasons.reasons(request.user, context["span"], found.losing) if found else []
        why = {one.row.tenant_id: (one.cause, one.why) for one in told}
        made = [
            (
                r.name,
                r.plan,
                context["currency"],
                r.revenue,
                r.cost,
                r.margin,
                *why.get(r.tenant_id, ("", "")),
            )
            for r in rows
        ]
        titles = ["Tenant", "Plan", "Currency", "Revenue", "Cost", "Margin", "Loses by", "Why"]
        return export(request, "cost:margins", Sheet(titles, made))
    context |= {
        "found": found,
        "losing": reasons.reasons(request.user, context["span"], found.losing[:25]) if found else [],
        "scatter": scatter.scatter(found) if found else None,
        "losing_count": len(found.losing) if found else 0,
        **paged(request, rows),
    }
    return render(request, "cost/margins.html", context)


@needs("see_cost")
def lab(request: HttpRequest) -> HttpResponse:
    """What other prices would have made of a month that really was."""
    context = money_frame(request, "lab")
    plans = margins.plans_in_use()
    asked = {
        key: value
        for key, value in request.GET.items()
        if key.startswith(("price_", "tier_")) or key == "discount"
    }
    form = LabForm(asked, plans, margins.metered_prices(context["month"]) if context["month"] else [])
    tried = form.tried()
    made = (
        margins.price_lab(
            request.user, context["span"], context["currency"], tried, {one.pk: one.name for one in plans}
        )
        if context["month"]
        else None
    )
    trials = list(made.trials) if made else []
    if asked_for(request):
        rows = [
            (
                t.before.name,
                t.before.plan,
                context["currency"],
                t.before.revenue,
                t.after.revenue,
                t.before.cost,
                t.after.margin,
            )
            for t in trials
        ]
        titles = ["Tenant", "Plan", "Currency", "Revenue", "Revenue tried", "Cost", "Margin tried"]
        return export(request, "cost:lab", Sheet(titles, rows))
    context |= {"form": form, "lab": made, **paged(request, trials)}
    return render(request, "cost/lab.html#results" if is_part(request) else "cost/lab.html", context)
