"""Approval rules: seen, and weakened by two people."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render

from apps.access.reauth import proved_again
from apps.access.scoping import visible
from apps.access.views_base import needs
from apps.core.answers import go

from .. import panels, rules
from ..models import ApprovalRule, ApprovalRuleChange
from ..rule_lines import rules_page
from ..services import Refused


@needs("view")
def approval_rules(request: HttpRequest) -> HttpResponse:
    """Which operations need a second person, and what waits of changes to that."""
    return _page(request)


def _page(request: HttpRequest, *, error: str = "", status: int = 200) -> HttpResponse:
    trail = panels.trail_to(("Approval rules", ""))
    context = {"page": rules_page(request.user), "trail": trail, "error": error}
    return render(request, "operations/approval_rules.html", context, status=status)


@needs("view", methods=("POST",))
def end_rule(request: HttpRequest, pk: int) -> HttpResponse:
    """Propose that a rule goes, or rests."""
    rule = get_object_or_404(visible(request.user, ApprovalRule), pk=pk)
    deletes, reason = request.POST.get("order") == "delete", request.POST.get("reason", "")
    try:
        rules.propose_end(rule, deletes=deletes, actor=request.user, reason=reason)
    except Refused as refusal:
        return _page(request, error=str(refusal), status=422)
    return go(request, "operations:approval_rules")


@needs("view", methods=("POST",))
@proved_again
def decide_rule_change(request: HttpRequest, pk: int) -> HttpResponse:
    """Say yes or no to a proposal."""
    rows = ApprovalRuleChange.objects.select_related("proposed_by")
    change = get_object_or_404(visible(request.user, rows), pk=pk)
    answer = request.POST.get("answer")
    if answer not in ("yes", "no"):
        return _page(request, error="Say yes or no.", status=422)
    try:
        rules.decide_change(change, yes=answer == "yes", actor=request.user)
    except Refused as refusal:
        return _page(request, error=str(refusal), status=422)
    return go(request, "operations:approval_rules")
