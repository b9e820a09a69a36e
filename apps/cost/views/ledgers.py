"""Books that are lists of entries with a form beside them: prices, discounts, commitments, rates, budgets, sub-accounts."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db import models
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render

from apps.access.choices import Permission
from apps.access.views_base import needs
from apps.core.templatetags import ui
from apps.tenants.money import SIGNS

from .. import booking, pricing
from ..entries import (
    BudgetForm,
    CommitmentForm,
    ComponentForm,
    DiscountForm,
    PlaceForm,
    PriceForm,
    RateForm,
    SourceForm,
)
from ..models import BillSource, Budget, Commitment, Discount, Price, ProductComponent, Rate, SubAccount
from ..templatetags.cost import shown
from .answers import frame, paged, require_all

POSTED = ("POST",)


@dataclass(frozen=True, slots=True)
class Book:
    """One list: its rows, what is told of each (the first is its name), and the form that adds to it."""

    name: str
    title: str
    lead: str
    rows: Callable[[], Any]
    columns: tuple[tuple[str, Callable[[Any], Any]], ...]
    form: type[Any]
    submit: str
    empty: str
    removable: bool = True


def _until(row: Any) -> str:
    return f"from {row.starts_on}" + (f" until {row.ends_on}" if row.ends_on else "")


def _of(row: Any) -> str:
    return str(row.tenant or row.account or "everything") + (f", {row.service}" if row.service else "")


BOOKS = {
    one.name: one
    for one in (
        Book(
            "prices", "Metered prices", "what a plan charges for a month's usage, by graduated tiers",
            lambda: Price.objects.select_related("plan"),
            (("Plan", lambda r: r.plan.name), ("Meter", lambda r: r.get_meter_display()), ("Tiers", lambda r: pricing.in_words(r.tiers)),
             ("Currency", lambda r: SIGNS.get(r.currency, r.currency)), ("Counts", _until)),
            PriceForm, "Add the price", "No meter has a price; plans charge their monthly price alone.",
        ),
        Book(
            "discounts", "Discounts", "off all that a tenant is charged for a month that begins within its days",
            lambda: Discount.objects.select_related("tenant"),
            (("Tenant", lambda r: r.tenant.name), ("Percent", lambda r: r.percent), ("Counts", _until), ("Why", lambda r: r.note)),
            DiscountForm, "Add the discount", "Nobody has a discount.",
        ),
        Book(
            "commitments", "Commitments", "what a tenant pays at least for each month that begins within its days",
            lambda: Commitment.objects.select_related("tenant"),
            (("Tenant", lambda r: r.tenant.name), ("A month at least", lambda r: shown(r.monthly_minimum, r.currency)), ("Counts", _until)),
            CommitmentForm, "Add the commitment", "Nobody has committed to a minimum.",
        ),
        Book(
            "rates", "Currency rates", "what one unit is worth from a day on, until the next rate",
            lambda: Rate.objects.order_by("-day", "currency", "into"),
            (("From", lambda r: r.day.isoformat()), ("One unit of", lambda r: r.currency), ("Is worth", lambda r: f"{r.rate.normalize():f}"), ("In", lambda r: r.into)),
            RateForm, "Add the rate", "No rate is known; amounts in other currencies are left out of margins.",
        ),
        Book(
            "budgets", "Budgets", "what a month may cost; who is on call hears when it will cost more",
            lambda: Budget.objects.select_related("account", "tenant"),
            (("Budget", lambda r: r.name), ("Of", _of), ("A month", lambda r: shown(r.amount, r.currency)), ("State", lambda r: r.get_state_display())),
            BudgetForm, "Add the budget", "There is no budget.",
        ),
        Book(
            "components", "Components", "which part of the product a cost is: the first line that fits; what none fits is a component by its service's name",
            lambda: ProductComponent.objects.order_by("position", "pk"),
            (("Component", lambda r: r.name), ("Its costs", lambda r: r.in_words()), ("Order", lambda r: r.position)),
            ComponentForm, "Add the component", "Nothing is named; each service is a component of its own.",
        ),
        Book(
            "sources", "Sources", "addresses in object storage, looked at every ten minutes; the portal's environment says who it is there",
            lambda: BillSource.objects.order_by("url"),
            (("Address", lambda r: r.url), ("Looked at", lambda r: ui.ago(r.looked_at)), ("Last time", lambda r: r.error or ("well" if r.looked_at else "–"))),
            SourceForm, "Add the source", "Bills are uploaded, or taken in from a folder by a command.",
        ),
        Book(
            "sub-accounts", "Sub-accounts", "as bills name them; placed in an account, people with its scope see their cost",
            lambda: SubAccount.objects.select_related("account", "tenant"),
            (("Sub-account", str), ("Id", lambda r: r.external_id), ("Provider", lambda r: r.provider),
             ("Account", lambda r: r.account or "–"), ("Tenant", lambda r: r.tenant or "–")),
            PlaceForm, "Place it", "No bill named a sub-account yet.", removable=False,
        ),
    )
}  # fmt: skip


def _book(name: str) -> Book:
    if name not in BOOKS:
        raise Http404("There is no such book.")
    return BOOKS[name]


@needs("see_cost")
def ledger(request: HttpRequest, book: str) -> HttpResponse:
    """One of the books."""
    require_all(request)
    found = _book(book)
    return _page(request, found, found.form())


def _page(request: HttpRequest, book: Book, form: forms.BaseForm, *, status: int = 200) -> HttpResponse:
    shown_rows = paged(request, book.rows())
    rows = [{"pk": row.pk, "cells": [tell(row) for _, tell in book.columns]} for row in shown_rows["page"]]
    context = frame(
        request, book.name, book=book, form=form, rows=rows, titles=[title for title, _ in book.columns], no_month=True, **shown_rows
    )  # fmt: skip
    return render(request, "cost/ledger.html", context, status=status)


@needs("keep_books", methods=POSTED)
def add_entry(request: HttpRequest, book: str) -> HttpResponse:
    """Add an entry, or place a sub-account."""
    require_all(request, Permission.KEEP_BOOKS)
    found = _book(book)
    form = found.form(request.POST)
    if form.is_valid():
        try:
            if isinstance(form, PlaceForm):
                booking.place_sub_account(**form.cleaned_data, actor=request.user)  # type: ignore[arg-type]
            else:
                booking.add_entry(form.instance, actor=request.user)  # type: ignore[arg-type]
        except ValidationError as error:
            form.add_error(None, error)
        else:
            return redirect("cost:ledger", book)
    return _page(request, found, form, status=422)


@needs("keep_books", methods=POSTED)
def remove_entry(request: HttpRequest, book: str, pk: int) -> HttpResponse:
    """Take an entry out."""
    require_all(request, Permission.KEEP_BOOKS)
    found = _book(book)
    if not found.removable:
        raise Http404("Sub-accounts are not removed.")
    row: models.Model = get_object_or_404(found.rows(), pk=pk)
    booking.remove_entry(row, actor=request.user)  # type: ignore[arg-type]
    return redirect("cost:ledger", book)
