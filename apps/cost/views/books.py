"""Keeping the books: bills that come in, rules that give their lines to tenants."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render

from apps.access.choices import Permission
from apps.access.listing import render_list
from apps.access.views_base import needs
from apps.core.answers import answer

from .. import importing, rulebook
from ..choices import SetState
from ..filters import BillFilter
from ..forms import ActivateForm, Question, RuleForm, UploadForm
from ..models import Bill, Rule, RuleSet
from ..store import Unusable
from ..tables import BillTable
from .answers import frame, require_all

POSTED = ("POST",)
BOTH = ("GET", "HEAD", "POST")


@needs("see_cost")
def bills(request: HttpRequest) -> HttpResponse:
    """All bills that came."""
    require_all(request)
    return render_list(
        request, page="cost:bills", title="Bills", queryset=Bill.objects.select_related("received_by"), table_class=BillTable,
        filter_class=BillFilter, template="cost/bills.html", context=frame(request, "bills", noun="bill", live=5),
    )  # fmt: skip


@needs("see_cost")
def bill(request: HttpRequest, pk: int) -> HttpResponse:
    """One bill: its state, what the checks found, what it came to and what it changed."""
    require_all(request)
    found = get_object_or_404(Bill, pk=pk)
    changes = {one["statement"]: one for one in found.report.get("changes", ())}
    statements = found.statements.select_related("replaces__bill").prefetch_related("runs__ruleset")
    parts = [
        {
            "statement": one,
            "change": changes.get(one.pk),
            "run": next((r for r in one.runs.all() if r.is_current), None),
        }
        for one in statements
    ]
    context = frame(request, "bills", bill=found, parts=parts, is_open=found.state in ("received", "reading"))
    return answer(request, "cost/bill.html", "live", context)


@needs("keep_books", methods=BOTH)
def upload(request: HttpRequest) -> HttpResponse:
    """Take in a delivery."""
    require_all(request, Permission.KEEP_BOOKS)
    form = UploadForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        files = [(one.name, one.chunks()) for one in form.cleaned_data["delivery"]]
        try:
            made, is_new = importing.receive_upload(files, actor=request.user)  # type: ignore[arg-type]
        except Unusable as error:
            form.add_error("delivery", str(error))
        else:
            if not is_new:
                messages.info(request, "This very delivery was here before; nothing changed.")
            return redirect("cost:bill", made.pk)
    status = 422 if request.method == "POST" else 200
    return render(request, "cost/upload.html", frame(request, "bills", form=form), status=status)


@needs("keep_books", methods=POSTED)
def retry(request: HttpRequest, pk: int) -> HttpResponse:
    """Have a refused or failed bill read again."""
    require_all(request, Permission.KEEP_BOOKS)
    found = get_object_or_404(Bill, pk=pk)
    importing.retry_bill(found, actor=request.user)  # type: ignore[arg-type]
    return redirect("cost:bill", found.pk)


@needs("see_cost")
def rules(request: HttpRequest) -> HttpResponse:
    """The rules that count, the draft, and what it would change."""
    require_all(request)
    return _rules_page(request, RuleForm(), ActivateForm())


def _rules_page(
    request: HttpRequest, form: RuleForm, activate: ActivateForm, *, status: int = 200
) -> HttpResponse:
    draft = RuleSet.objects.filter(state=SetState.DRAFT).first()
    active = RuleSet.objects.filter(state=SetState.ACTIVE).first()
    context: dict[str, Any] = {
        "draft": draft, "active": active, "form": form, "activate_form": activate, "behind": len(rulebook.stale()) if active else 0,
        "draft_rules": list(draft.rules.select_related("tenant")) if draft else [],
        "active_rules": list(active.rules.select_related("tenant")) if active else [],
        "versions": list(RuleSet.objects.exclude(state=SetState.DRAFT)[:12]),
    }  # fmt: skip
    if draft and "preview" in request.GET:
        context["preview"] = rulebook.preview(draft, Question(request.GET).asked().get("month"))
        context["before"] = rulebook.totals_now(context["preview"].period)
    return render(request, "cost/rules.html", frame(request, "rules", **context), status=status)


@needs("keep_books", methods=POSTED)
def add_rule(request: HttpRequest) -> HttpResponse:
    """Add a rule to the draft; the first one drafts a new version."""
    require_all(request, Permission.KEEP_BOOKS)
    form = RuleForm(request.POST)
    if form.is_valid():
        values = {name: form.cleaned_data[name] for name in RuleForm.Meta.fields}
        try:
            rulebook.add_rule(actor=request.user, position=form.cleaned_data["place"], **values)  # type: ignore[arg-type]
        except ValidationError as error:
            form.add_error(None, error)
        else:
            return redirect("cost:rules")
    return _rules_page(request, form, ActivateForm(), status=422)


@needs("keep_books", methods=POSTED)
def remove_rule(request: HttpRequest, pk: int) -> HttpResponse:
    """Take a rule out of the draft."""
    require_all(request, Permission.KEEP_BOOKS)
    rule = get_object_or_404(Rule, pk=pk, ruleset__state=SetState.DRAFT)
    rulebook.remove_rule(rule, actor=request.user)  # type: ignore[arg-type]
    return redirect("cost:rules")


@needs("keep_books", methods=POSTED)
def discard_draft(request: HttpRequest) -> HttpResponse:
    """Throw the draft away."""
    require_all(request, Permission.KEEP_BOOKS)
    rulebook.discard_draft(actor=request.user)  # type: ignore[arg-type]
    return redirect("cost:rules")


@needs("keep_books", methods=POSTED)
def activate(request: HttpRequest) -> HttpResponse:
    """Make the draft what counts."""
    require_all(request, Permission.KEEP_BOOKS)
    draft = RuleSet.objects.filter(state=SetState.DRAFT).first()
    if draft is None:
        raise Http404("There is no draft.")
    form = ActivateForm(request.POST)
    if form.is_valid():
        try:
            rulebook.activate(draft, actor=request.user, note=form.cleaned_data["note"])  # type: ignore[arg-type]
        except rulebook.NotActivated as error:
            form.add_error("note", str(error))
        else:
            return redirect("cost:rules")
    return _rules_page(request, RuleForm(), form, status=422)
