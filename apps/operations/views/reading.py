"""Looking at operations, and deciding on one."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404

from apps.access.listing import render_list
from apps.access.scoping import visible
from apps.access.views_base import needs
from apps.core.answers import answer, go

from .. import queries, services
from ..filters import OperationFilter
from ..models import Operation
from ..tables import OperationTable

EMPTY = {
    "title": "Nothing has been changed yet",
    "text": "Each change of the fleet stands here with who asked for it, why, and what became of it.",
}


@needs("view")
def operations(request: HttpRequest) -> HttpResponse:
    """All operations that the reader sees."""
    return render_list(
        request,
        page="operations:list",
        title="Operations",
        queryset=queries.listed(request.user),
        table_class=OperationTable,
        filter_class=OperationFilter,
        context={"live": 2, "empty": EMPTY, "noun": "operation"},
        template="operations/list.html",
    )


@needs("view")
def operation(request: HttpRequest, pk: int) -> HttpResponse:
    """One operation, live until it has ended."""
    page = queries.operation_page(request.user, pk)
    return answer(request, "operations/operation.html", "live", {"page": page, "operation": page.operation})


@needs("view", methods=("POST",))
def approve(request: HttpRequest, pk: int) -> HttpResponse:
    """Let an operation go that waits for a second person."""
    found = get_object_or_404(visible(request.user, Operation), pk=pk)
    try:
        services.approve(found, actor=request.user)
    except services.Refused as refusal:
        return _refused(request, pk, approve_error=str(refusal))
    return go(request, "operations:operation", pk)


@needs("view", methods=("POST",))
def cancel(request: HttpRequest, pk: int) -> HttpResponse:
    """Cancel an operation, with the reason."""
    found = get_object_or_404(visible(request.user, Operation), pk=pk)
    reason = request.POST.get("reason", "")
    try:
        services.cancel(found, actor=request.user, reason=reason)
    except services.Refused as refusal:
        return _refused(request, pk, cancel_error=str(refusal), cancel_reason=reason)
    return go(request, "operations:operation", pk)


def _refused(request: HttpRequest, pk: int, **said: Any) -> HttpResponse:
    """The operation's page again with what stood against it; nothing was changed."""
    page = queries.operation_page(request.user, pk)
    context = {"page": page, "operation": page.operation, **said}
    return answer(request, "operations/operation.html", "live", context, status=422)
