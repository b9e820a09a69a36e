"""Hot patches: one tenant alone on a version of its own, until a time."""

from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from apps.access.views_base import needs
from apps.core.answers import go
from apps.operations.services import Refused

from .. import hotpatching
from ..forms import HotPatchForm, UntilForm
from ..models import HotPatch, Rollout
from .answers import words_of
from .rollouts import carry_out


@needs("roll_out", methods=("GET", "HEAD", "POST"))
def new_hot_patch(request: HttpRequest) -> HttpResponse:
    """Prepare one; nothing is changed until its rollout is started."""
    is_sent = request.method == "POST"
    initial = {"tenant": request.GET.get("tenant", "")[:63]}
    form = HotPatchForm(request.POST if is_sent else None, initial=initial, user=request.user)
    if is_sent and form.is_valid():
        try:
            patch = hotpatching.prepare_hot_patch(actor=request.user, **form.cleaned_data)
            return go(request, "releases:rollout", patch.rollout_id)
        except (Refused, ValidationError, PermissionDenied) as error:
            form.add_error(None, words_of(error))
    return render(request, "releases/new_hot_patch.html", {"form": form}, status=422 if is_sent else 200)


@needs("roll_out", methods=("POST",))
def extend_hot_patch(request: HttpRequest, pk: int) -> HttpResponse:
    """Give the hot patch that a rollout brings a new end."""

    def act(found: Rollout, **said: Any) -> None:
        patch = HotPatch.objects.select_related("tenant", "rollout").filter(rollout=found).first()
        if patch is None:
            raise Refused("This rollout brings no hot patch.")
        hotpatching.extend_hot_patch(patch, **said)

    return carry_out(request, pk, UntilForm(request.POST), act)
