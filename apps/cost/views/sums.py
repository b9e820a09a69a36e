"""Pages of sums: overview, breakdown, lines, a tenant's own, what no rule took."""

from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse

from apps.access.choices import Permission
from apps.access.scoping import require, visible
from apps.access.views_base import needs
from apps.core.answers import answer, is_part
from apps.tenants.models import Tenant
from apps.tenants.tabs import tabs_of

from .. import focus_out
from ..exporting import Sheet, asked_for, export, may_export
from ..forms import where_of
from ..models import Bill, Run
from ..queries import figures, lines, proposing
from .answers import frame, paged, require_all
from .watches import month_ends, open_budgets

FEW = 8


@needs("see_cost")
def overview(request: HttpRequest) -> HttpResponse:
    """Where a month's money went: to tenants, to the platform, to nobody yet."""
    context = frame(request, "overview")
    month = context["month"]
    if month:
        sums = figures.summary(request.user, month)
        currency = sums[0].currency if sums else ""
        points = figures.daily(request.user, month, currency)
        context |= {
            "sums": sums,
            "currency": currency,
            "chart": figures.chart(points, "Billed", currency),
            "trend": figures.trend(request.user, currency)[-13:][::-1],
            "services": list(figures.breakdown(request.user, month, ("service",))[:FEW]),
            "tenants": list(
                figures.breakdown(request.user, month, ("tenant",), where={"tenant_id__isnull": False})[:FEW]
            ),
            "behind": context["sees_all"]
            and Run.objects.filter(is_current=True).exclude(ruleset__state="active").count(),
        }
        context["budgets"] = open_budgets(request.user)
        context["ends"] = month_ends(request.user, month)
        context["total"] = sums[0].billed if sums else Decimal(0)
    if context["sees_all"]:
        context["bills"] = list(Bill.objects.order_by("-id")[:5])
    return render(request, "cost/overview.html#live" if is_part(request) else "cost/overview.html", context)


@needs("see_cost")
def breakdown(request: HttpRequest) -> HttpResponse:
    """A month by any two dimensions; each row leads on, at last to the bill lines."""
    context = frame(request, "breakdown")
    asked, month = context["asked"], context["month"]
    by, then = asked.get("by", "tenant"), asked.get("then", "")
    names = (by, then) if then and then != by else (by,)
    measure = asked.get("measure", "billed")
    where = where_of(asked)
    rows: Any = figures.breakdown(request.user, month, names, measure=measure, where=where) if month else []
    if asked_for(request):
        titles = [figures.DIMENSIONS[name][0] for name in names]
        made = ([_label(row, name) for name in names] + [row["currency"], row["amount"]] for row in rows)
        return export(
            request, "cost:breakdown", Sheet([*titles, "Currency", figures.MEASURES[measure]], made)
        )
    found = paged(request, rows)
    shown = [_row(row, names, asked, month) for row in found["page"]]
    sums = (
        figures.in_month(figures.costs(request.user, **where), month)
        if month
        else figures.costs(request.user).none()
    )
    context |= {
        **found, "rows": shown, "titles": [figures.DIMENSIONS[name][0] for name in names], "by": by, "then": then,
        "measure": measure, "measures": figures.MEASURES, "dimensions": {k: v[0] for k, v in figures.DIMENSIONS.items()},
        "totals": figures.totals(sums, measure), "narrowed": _chips(asked, shown),
    }  # fmt: skip
    return render(
        request, "cost/breakdown.html#results" if is_part(request) else "cost/breakdown.html", context
    )


def _label(row: dict[str, Any], name: str) -> str:
    value = row[figures.DIMENSIONS[name][2]]
    return str(figures.NOTHING.get(name, "none") if value in (None, "") else value)


def _row(row: dict[str, Any], names: tuple[str, ...], asked: dict[str, Any], month: Any) -> dict[str, Any]:
    """A row with its labels and the address of its lines."""
    narrowed = {k: str(v) for k, v in asked.items() if k not in ("by", "then", "measure", "month")}
    for name in names:
        value = row[figures.DIMENSIONS[name][1]]
        narrowed[name] = "none" if value is None else str(value)
    narrowed |= {"month": f"{month:%Y-%m}", "currency": row["currency"]}
    url = f"{reverse('cost:lines')}?{urlencode(narrowed)}"
    return {
        "labels": [_label(row, name) for name in names],
        "amount": row["amount"],
        "currency": row["currency"],
        "url": url,
    }


def _chips(asked: dict[str, Any], shown: list[dict[str, Any]]) -> list[dict[str, str]]:
    names = [
        name
        for name in ("tenant", "account", "rule", "sub_account", "service", "day", "currency")
        if name in asked
    ]
    return [{"name": name, "label": name.replace("_", "-"), "value": str(asked[name])} for name in names]


@needs("see_cost")
def focus(request: HttpRequest) -> HttpResponse:
    """A month's allocated result as a FOCUS file, of what the reader may see."""
    context = frame(request, "breakdown")
    form, month = request.GET.get("form", "csv"), context["month"]
    if month is None or form not in focus_out.FORMS:
        raise Http404("There is no bill, or no such form.")
    may_export(request, "cost:focus", f"FOCUS {form}")
    with focus_out.allocated(request.user, month, form) as path:
        # The open file outlives its name; the response closes it.
        return FileResponse(path.open("rb"), as_attachment=True, filename=f"allocated-{month:%Y-%m}.{form}")  # type: ignore[return-value]


@needs("see_cost")
def bill_lines(request: HttpRequest) -> HttpResponse:
    """The bill lines behind a sum."""
    context = frame(request, "breakdown")
    asked, month = context["asked"], context["month"]
    where = where_of(asked)
    context["found"] = lines.bill_lines(request.user, month, where) if month else None
    if month:
        context["facts"] = figures.totals(
            figures.in_month(figures.costs(request.user, **where), month), "billed"
        )
    context["narrowed"] = _chips(asked, [])
    return render(request, "cost/lines.html", context)


@needs("see_cost")
def tenant(request: HttpRequest, pk: int) -> HttpResponse:
    """What one tenant costs: by service, by day, by month."""
    found = get_object_or_404(visible(request.user, Tenant), pk=pk)
    require(request.user, Permission.SEE_COST, found)
    context = frame(request, "")
    month = context["month"]
    where = {"tenant_id": pk}
    context |= {"tenant": found, "tenant_tabs": tabs_of(request.user, found, "cost")}
    if month:
        rows = [
            _row(row, ("service", "rule"), {"tenant": pk}, month)
            for row in figures.breakdown(request.user, month, ("service", "rule"), where=where)[:100]
        ]
        currency = rows[0]["currency"] if rows else ""
        points = figures.daily(request.user, month, currency, **where)
        context |= {
            "rows": rows, "currency": currency, "chart": figures.chart(points, "Billed", currency),
            "totals": figures.totals(figures.in_month(figures.costs(request.user, **where), month), "billed"),
            "trend": figures.trend(request.user, currency, **where)[-13:][::-1],
        }  # fmt: skip
    return render(request, "cost/tenant.html", context)


@needs("see_cost")
def unallocated(request: HttpRequest) -> HttpResponse:
    """What no rule took, and which rule would."""
    require_all(request)
    context = frame(request, "unallocated")
    month = context["month"]
    rows: Any = proposing.unallocated(request.user, month) if month else []
    if asked_for(request):
        made = [
            (
                r["service"],
                r["sub_account__name"] or r["sub_account__external_id"],
                r["count"],
                r["currency"],
                r["amount"],
            )
            for r in rows
        ]
        return export(
            request,
            "cost:unallocated",
            Sheet(["Service", "Sub-account", "Lines", "Currency", "Billed"], made),
        )
    context |= paged(request, rows)
    if month:
        open_rows = figures.in_month(figures.costs(request.user), month).filter(figures.UNALLOCATED)
        context["totals"] = figures.totals(open_rows, "billed")
        # It reads every line of the month that no rule takes: not before the sums are there.
        context["is_asked"] = "propose" in request.GET
        context["proposals"] = proposing.proposals(month) if context["is_asked"] else []
    return answer(request, "cost/unallocated.html", "proposals", context)
