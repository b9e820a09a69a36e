"""Usage and revenue: what is there, and tables that people bring."""

from typing import Any

from django.contrib import messages
from django.db.models import Sum
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from apps.access.choices import Permission
from apps.access.scoping import visible
from apps.access.views_base import needs

from .. import invoices, metering
from ..choices import RevenueSource
from ..forms import BringForm
from ..models import MonthlyUsage, Revenue
from ..pricing import ZERO
from ..queries import margins
from ..tabular import Unreadable
from .answers import frame, paged, require_all
from .earning import money_frame

POSTED = ("POST",)
#: What can be brought: to which page it belongs.
KINDS = {"usage": "usage", RevenueSource.CSV: "revenue", RevenueSource.STRIPE: "revenue"}


@needs("see_cost")
def usage(request: HttpRequest) -> HttpResponse:
    """What tenants used in a month, by meter."""
    return _usage(request, BringForm())


def _usage(request: HttpRequest, form: BringForm, *, status: int = 200) -> HttpResponse:
    context = frame(request, "usage", form=form)
    rows = visible(request.user, MonthlyUsage, Permission.SEE_COST)
    known = list(rows.order_by("-month").values_list("month", flat=True).distinct())
    wanted = context["asked"].get("month")
    month = wanted if wanted in known else (known[0] if known else None)
    found = rows.filter(month=month) if month else rows.none()
    found = found.select_related("tenant").order_by("driver", "-amount", "pk")
    return render(
        request,
        "cost/usage.html",
        context | {"months": known, "month": month} | paged(request, found),
        status=status,
    )


@needs("see_cost")
def revenue(request: HttpRequest) -> HttpResponse:
    """What tenants were charged against what the price book expects."""
    return _revenue(request, BringForm())


def _revenue(request: HttpRequest, form: BringForm, *, status: int = 200) -> HttpResponse:
    context = money_frame(request, "revenue") | {"form": form}
    rows: list[dict[str, Any]] = []
    if context["month"]:
        rows = _compared(request.user, context)
        if context["sees_all"]:
            lost = Revenue.objects.filter(tenant=None, month__in=context["span"]).order_by()
            context["lost"] = list(
                lost.values("source", "customer", "currency")
                .annotate(amount=Sum("amount"))
                .order_by("-amount")[:20]
            )
    context |= {
        "sum_expected": sum((r["expected"] for r in rows), ZERO),
        "sum_charged": sum((r["charged"] for r in rows), ZERO),
        **paged(request, rows),
    }
    return render(request, "cost/revenue.html", context, status=status)


def _compared(user: Any, context: dict[str, Any]) -> list[dict[str, Any]]:
    """Each tenant's expected and charged revenue, the largest difference first."""
    both = margins.margins(user, context["span"], context["currency"], tried=(None, "invoiced"))
    expected, charged = ({row.tenant_id: row for row in one.rows} for one in both)
    context["found"] = both[0]
    rows: list[dict[str, Any]] = [
        {"row": row, "expected": row.revenue, "charged": charged[pk].revenue if pk in charged else ZERO, }
        for pk, row in expected.items()
    ]  # fmt: skip
    rows += [
        {"row": row, "expected": ZERO, "charged": row.revenue}
        for pk, row in charged.items()
        if pk not in expected
    ]
    for one in rows:
        one["difference"] = one["charged"] - one["expected"]
    return sorted(rows, key=lambda one: (-abs(one["difference"]), one["row"].name))


@needs("keep_books", methods=POSTED)
def bring(request: HttpRequest, kind: str) -> HttpResponse:
    """Take in a table."""
    require_all(request, Permission.KEEP_BOOKS)
    if kind not in KINDS:
        raise Http404("There is no such table.")
    page = _usage if KINDS[kind] == "usage" else _revenue
    form = BringForm(request.POST, request.FILES)
    if not form.is_valid():
        return page(request, form, status=422)
    file = form.cleaned_data["table"]
    try:
        if kind == "usage":
            count = metering.import_usage(file.read(), file.name, actor=request.user)  # type: ignore[arg-type]
        else:
            count = invoices.import_revenue(file.read(), kind, file.name, actor=request.user)  # type: ignore[arg-type]
    except Unreadable as error:
        for problem in error.problems:
            form.add_error("table", problem)
        return page(request, form, status=422)
    messages.success(request, f"{count:,} lines were taken in.")
    return redirect(f"cost:{KINDS[kind]}")
