"""Pages of what goods and units cost: by what tenants have in common, over months, by cohort."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from apps.access.views_base import needs

from ..choices import Driver
from ..exporting import Sheet, asked_for, export
from ..pricing import months_back
from ..queries import courses, figures, margins, units
from ..queries.converting import TINY
from .answers import paged
from .earning import money_frame

#: A cohort's page shows so many of its newest months.
MONTHS_SHOWN = 12


def _tried(context: dict[str, Any]) -> margins.Invoiced | None:
    return "invoiced" if context["invoiced"] else None


@needs("see_cost")
def unit_costs(request: HttpRequest) -> HttpResponse:
    """Cost of goods, margin and the cost of a request, a seat, a gigabyte, by plan, region, cell, account, component, tenant."""
    context = money_frame(request, "units")
    by = context["asked"].get("per", "plan")
    word, how = units.GROUPINGS[by]
    made = None
    if context["month"]:
        made = units.units(request.user, context["span"], context["currency"], by, tried=_tried(context))
    rows = made.rows if made else []
    if asked_for(request):
        return export(request, "cost:units", _sheet(word, context["currency"], rows))
    meters = made.meters if made else ()
    context |= {
        "made": made, "found": made, "by": by, "word": word, "how": how, "meters": meters,
        "groupings": {name: told[0] for name, told in units.GROUPINGS.items()}, **paged(request, rows),
    }  # fmt: skip
    context["shown"] = [(row, _per(row, meters)) for row in context["page"]]
    context["total"] = _per(made.total, meters) if made else []
    return render(request, "cost/units.html", context)


def _per(row: units.Unit, meters: Any) -> list[dict[str, Any]]:
    """What a unit of each meter costs a group; how many of its tenants have the meter."""
    return [
        {"amount": row.of(one).per(one.size), "metered": row.of(one).tenants, "word": one.word}
        for one in meters
    ]


def _sheet(word: str, currency: str, rows: Any) -> Sheet:
    titles = [word, "Tenants", "Currency", "Revenue", "Cost", "Margin"]
    titles += [
        title for one in units.METERS for title in (f"Per {one.word}", f"Tenants metered: {one.driver}")
    ]
    made = (
        [row.label, row.tenants, currency, row.revenue, row.cost, row.margin]
        + [value for one in units.METERS for value in (_told(row.of(one).per(one.size)), row.of(one).tenants)]
        for row in rows
    )
    return Sheet(titles, made)


def _told(amount: Any) -> Any:
    """A unit's cost is no amount to be added up; nothing where nobody has the meter."""
    return "" if amount is None else f"{amount.quantize(TINY):f}"


@needs("see_cost")
def months(request: HttpRequest) -> HttpResponse:
    """How cost, revenue, margin and the cost of a unit went, month by month."""
    context = money_frame(request, "months")
    back = int(context["asked"].get("back") or 12)
    wanted = context["asked"].get("meter", str(Driver.REQUESTS))
    meter = next(one for one in units.METERS if one.driver == wanted)
    made = None
    if context["month"]:
        span = _known(context["months"], months_back(context["month"], back))
        made = courses.course(request.user, span, context["currency"], meter, tried=_tried(context))
    rows = list(made.months)[::-1] if made else []
    if asked_for(request):
        titles = [
            "Month",
            "Tenants",
            "Currency",
            "Revenue",
            "Cost",
            "Margin",
            f"Per {meter.word}",
            "Tenants metered",
        ]
        told = (
            (f"{r.month:%Y-%m}", r.tenants, context["currency"], r.revenue, r.cost, r.margin, _told(r.per(meter.size)), r.metered)
            for r in rows
        )  # fmt: skip
        return export(request, "cost:months", Sheet(titles, told))
    context |= {
        "made": made, "found": made, "meter": meter, "meters": units.METERS, "back": back, "backs": (12, 24),
        "rows": [(row, row.per(meter.size)) for row in rows], "chart": _chart(made) if made else None,
    }  # fmt: skip
    return render(request, "cost/months.html", context)


def _known(known: Any, span: list[Any]) -> list[Any]:
    """Of a span the months from the first bill on."""
    return [one for one in span if one >= min(known)]


def _chart(made: courses.Course) -> dict[str, Any]:
    series = []
    for label, read in (("Revenue", "revenue"), ("Cost", "cost")):
        points = [(row.month, getattr(row, read)) for row in made.months]
        series += figures.chart(points, label, made.currency)["series"]
    return {"series": series, "marks": []}


@needs("see_cost")
def cohorts(request: HttpRequest) -> HttpResponse:
    """Tenants by the month of their start: what each month's newcomers cost and earned since."""
    context = money_frame(request, "cohorts")
    show = context["asked"].get("show", "margin")
    made = None
    if context["month"]:
        span = _known(context["months"], months_back(context["month"], MONTHS_SHOWN))
        made = courses.cohorts(request.user, span, context["currency"], tried=_tried(context))
    rows = made.rows if made else []
    shown_months = list(made.months) if made else []
    if asked_for(request):
        titles = ["Start", "Tenants", "Left", "Currency", "Month", "Revenue", "Cost", "Margin"]
        told = (
            (f"{one.start:%Y-%m}", one.tenants, one.left, context["currency"], f"{month:%Y-%m}", sums.revenue, sums.cost, sums.margin)
            for one in rows
            for month, sums in sorted(one.months.items())
        )  # fmt: skip
        return export(request, "cost:cohorts", Sheet(titles, told))
    context |= {
        "made": made, "found": made, "show": show, "shows": courses.SHOWS, "shown_months": shown_months, **paged(request, rows),
    }  # fmt: skip
    context["rows"] = [
        (one, [getattr(one.months[month], show) if month in one.months else None for month in shown_months])
        for one in context["page"]
    ]
    return render(request, "cost/cohorts.html", context)
