"""Standing pre-approvals."""

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render

from . import pre_approvals as services
from .choices import Permission
from .forms import PreApprovalForm
from .granting import NotGiven
from .reauth import proved_again
from .tabs import tabs
from .views_base import needs


@needs(Permission.MANAGE_ACCESS)
def pre_approvals(request: HttpRequest) -> HttpResponse:
    """Those on what the reader manages the access of."""
    return _page(request, PreApprovalForm())


@needs(Permission.MANAGE_ACCESS, methods=("POST",))
@proved_again
def new_pre_approval(request: HttpRequest) -> HttpResponse:
    """Make one."""
    form = PreApprovalForm(request.POST)
    if form.is_valid():
        try:
            services.make(actor=request.user, **form.cleaned_data)
        except (NotGiven, PermissionDenied) as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, "It stands from now on.")
            return redirect("access:pre_approvals")
    return _page(request, form, status=422)


@needs(Permission.MANAGE_ACCESS, methods=("POST",))
def delete_pre_approval(request: HttpRequest, pk: int) -> HttpResponse:
    """End one."""
    standing = get_object_or_404(services.manageable(request.user), pk=pk)
    try:
        services.end(standing, actor=request.user, reason=request.POST.get("reason", ""))
    except NotGiven as error:
        messages.error(request, str(error))
    return redirect("access:pre_approvals")


def _page(request: HttpRequest, form: PreApprovalForm, *, status: int = 200) -> HttpResponse:
    rows = services.manageable(request.user)[:500]
    context = {"rows": rows, "form": form, "tabs": tabs(request, "pre_approvals")}
    return render(request, "access/pre_approvals.html", context, status=status)
