"""Pages that help to decide: idle and oversized instances, dedicated or shared, what another placement would make."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from apps.access.views_base import needs

from ..exporting import Sheet, asked_for, export
from ..forms import MoveForm
from ..queries import idle, moving, placing
from ..queries.revenue import rates_by_month
from .answers import paged, require_all
from .earning import money_frame


@needs("see_cost")
def idle_instances(request: HttpRequest) -> HttpResponse:
    """Instances that do little for what they cost."""
    context = money_frame(request, "idle")
    month, currency = context["month"], context["currency"]
    found = idle.idle(request.user, month, rates_by_month(currency, [month])) if month else None
    rows = found.rows if found else []
    if asked_for(request):
        titles = [
            "Instance",
            "Verdict",
            "Kind",
            "Cell",
            "Account",
            "Hours measured",
            "Requests a minute",
            "Cores",
            "Currency",
            "Cost",
        ]
        made = (
            (r.name, r.verdict, r.kind, r.cell, r.account, round(r.hours, 1), round(r.a_minute, 3), round(r.cores, 5), currency,
             "" if r.cost is None else r.cost)
            for r in rows
        )  # fmt: skip
        return export(request, "cost:idle", Sheet(titles, made))
    context |= {"found": found, "limits": idle, **paged(request, rows)}
    if found:
        context |= {"idle": found.of("Idle"), "oversized": found.of("Oversized")}
    return render(request, "cost/idle.html", context)


@needs("see_cost")
def placing_advice(request: HttpRequest) -> HttpResponse:
    """Dedicated or shared, for each tenant, with the figures that say why. It compares tenants: for who sees all."""
    require_all(request)
    context = money_frame(request, "placing")
    month, currency = context["month"], context["currency"]
    driver = _driver(context)
    made, rows = None, list[placing.Advice]()
    if month:
        made, rows = placing.advice(request.user, month, rates_by_month(currency, [month]), driver)
    if asked_for(request):
        titles = ["Tenant", "Now", "Advice", "Currency", "Cost now", "The other way", "Why"]
        told = (
            (r.name, r.now, r.verdict, currency, _or_empty(r.cost), _or_empty(r.other), r.why) for r in rows
        )
        return export(request, "cost:placing", Sheet(titles, told))
    counts = {
        verdict: sum(1 for row in rows if row.verdict == verdict)
        for verdict in (*placing.MOVES, placing.UNKNOWN)
    }
    context |= {
        "made": made, "found": made, "driver": driver, "drivers": [(one.value, one.label) for one in placing.DRIVERS],
        "counts": counts, "usual": made.usual(dedicated=True) if made else None, "limits": placing, **paged(request, rows),
    }  # fmt: skip
    return render(request, "cost/placing.html", context)


def _driver(context: dict[str, Any]) -> str:
    wanted = context["asked"].get("meter")
    return next((str(one) for one in placing.DRIVERS if one == wanted), str(placing.DRIVERS[0]))


def _or_empty(amount: Any) -> Any:
    return "" if amount is None else amount


@needs("see_cost")
def move(request: HttpRequest) -> HttpResponse:
    """What moving one tenant would have made of the month; nothing is moved. Others' figures are in it: for who sees all."""
    require_all(request)
    context = money_frame(request, "move")
    asked = {name: request.GET[name] for name in ("tenant", "to", "cell", "driver") if request.GET.get(name)}
    form = MoveForm(asked or None)
    question = form.question()
    if question and context["month"]:
        try:
            context["move"] = context["found"] = moving.what_if(
                request.user, context["month"], context["currency"], question
            )
        except moving.NotKnown as error:
            form.add_error(None, str(error))
    # What cannot be answered is told on the page, whichever form was asked for.
    if asked_for(request) and not form.errors:
        return export(request, "cost:move", _moved(context.get("move"), context["currency"]))
    return render(request, "cost/move.html", context | {"form": form})


def _moved(made: moving.Move | None, currency: str) -> Sheet:
    """The tenant first, then those it leaves and joins; no row where nothing was asked."""
    titles = ["Tenant", "Plan", "Currency", "Revenue", "Cost", "Would be", "Change", "Margin would be"]
    changes = (made.tenant, *made.others) if made else ()
    rows = (
        (c.before.name, c.before.plan, currency, c.before.revenue, c.before.cost, c.cost, c.change, c.margin)
        for c in changes
    )
    return Sheet(titles, rows)
