"""What is really served, what is wrong with it, and its renewal."""

from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse

from apps.access.choices import Permission
from apps.access.listing import render_list
from apps.access.scoping import allowed, scopes_of, visible
from apps.access.views_base import needs

from ..certificates.acme.faults import IssuerFault
from ..certificates.issuers import save_issuer, try_issuer
from ..certificates.renewing import save_policy
from ..filters import CertificateFilter
from ..forms import IssuerForm, RenewalForm
from ..models import CertificateIssuer, RenewalPolicy
from ..queries import certificates
from ..tables import CertificateTable

WRITES = ("GET", "HEAD", "POST")


@needs("view")
def certificate_list(request: HttpRequest) -> HttpResponse:
    """The inventory with its report, those that end first in front."""
    mine = scopes_of(request.user, Permission.DEPLOY)
    return render_list(
        request,
        page="fleet:certificates",
        title="Certificates",
        queryset=certificates.listed(request.user),
        table_class=CertificateTable,
        filter_class=CertificateFilter,
        template="fleet/certificates.html",
        context={
            "noun": "certificate",
            "report": certificates.report(request.user),
            "policies": certificates.policies(request.user),
            "issuers": certificates.issuers(request.user),
            "may_renew": bool(mine.everything or mine.accounts),
            "empty": {
                "title": "No certificate yet",
                "text": "Every running instance is asked by a handshake within a minute; simulated ones serve none.",
            },
        },
    )


def _edit(request: HttpRequest, found: RenewalPolicy | None) -> HttpResponse:
    form = RenewalForm(request.POST or None, instance=found, user=request.user)
    status = 200
    if request.method == "POST":
        status = 422
        if form.is_valid():
            save_policy(form.instance, actor=request.user)
            return HttpResponseRedirect(reverse("fleet:certificates"))
    context = {
        "form": form,
        "title": str(found).capitalize() if found else "New renewal",
        "back": reverse("fleet:certificates"),
    }
    return render(request, "fleet/renewal.html", context, status=status)


@needs(Permission.DEPLOY, methods=WRITES)
def new_renewal(request: HttpRequest) -> HttpResponse:
    """Have certificates renewed by themselves."""
    return _edit(request, None)


@needs("view", methods=WRITES)
def renewal(request: HttpRequest, pk: int) -> HttpResponse:
    """Change when, how many at once, whether at all."""
    found = get_object_or_404(visible(request.user, RenewalPolicy.objects.select_related("account")), pk=pk)
    if not allowed(request.user, Permission.DEPLOY, found):
        return render(request, "403.html", status=403)
    return _edit(request, found)


# --- Issuers -------------------------------------------------------------------------------------


def _edit_issuer(request: HttpRequest, found: CertificateIssuer | None, **said: str) -> HttpResponse:
    form = IssuerForm(
        request.POST if request.method == "POST" and not said else None, instance=found, user=request.user
    )
    status = 422 if said.get("failed") else 200
    if form.is_bound:
        status = 422
        if form.is_valid():
            try:
                kept = save_issuer(
                    form.instance, eab_key=form.cleaned_data.get("eab_key", ""), actor=request.user
                )
                return HttpResponseRedirect(reverse("fleet:issuer", args=[kept.pk]))
            except ValidationError as error:
                form.add_error(None, error)
    context = {
        "form": form,
        "issuer": found,
        "orders": certificates.orders(request.user, found) if found else [],
        "back": reverse("fleet:certificates"),
        **said,
    }
    return render(request, "fleet/issuer.html", context, status=status)


@needs(Permission.DEPLOY, methods=WRITES)
def new_issuer(request: HttpRequest) -> HttpResponse:
    """Have certificates issued by somebody else."""
    return _edit_issuer(request, None)


def _issuer(request: HttpRequest, pk: int) -> CertificateIssuer:
    rows = CertificateIssuer.objects.select_related("account", "cell__region__account")
    return get_object_or_404(visible(request.user, rows), pk=pk)


@needs("view", methods=WRITES)
def issuer(request: HttpRequest, pk: int) -> HttpResponse:
    """One issuer, its orders, and how it is set."""
    found = _issuer(request, pk)
    if not allowed(request.user, Permission.DEPLOY, found):
        return render(request, "403.html", status=403)
    return _edit_issuer(request, found)


@needs("view", methods=("POST",))
def test_issuer(request: HttpRequest, pk: int) -> HttpResponse:
    """See whether it answers, and whether it knows our account."""
    found = _issuer(request, pk)
    if not allowed(request.user, Permission.DEPLOY, found):
        return render(request, "403.html", status=403)
    try:
        return _edit_issuer(request, found, answered=try_issuer(found, actor=request.user))
    except IssuerFault as fault:
        return _edit_issuer(request, found, failed=str(fault))
