"""What is really served, what is wrong with it, and its renewal."""

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse

from apps.access.choices import Permission
from apps.access.listing import render_list
from apps.access.scoping import allowed, scopes_of, visible
from apps.access.views_base import needs

from ..certificates.renewing import save_policy
from ..filters import CertificateFilter
from ..forms import RenewalForm
from ..models import RenewalPolicy
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
