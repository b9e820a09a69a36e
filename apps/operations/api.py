"""Operations for programs: the same road as from a page."""

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse

from apps.access.api import BadRequest, api, body_of, error, listed
from apps.access.scoping import visible

from .choices import Via
from .models import Operation
from .services import Refused, submit

KEY = "Idempotency-Key"


@api("view", methods=("GET", "POST"))
def operations(request: HttpRequest) -> HttpResponse:
    """GET: those that the token's owner sees, `?state=` narrows them. POST: ask for one."""
    if request.method == "POST":
        return _submit(request)
    rows = visible(request.user, Operation.objects.select_related("actor"))
    if state := request.GET.get("state"):
        rows = rows.filter(state=state)
    return listed(request, rows, _as_dict)


def _submit(request: HttpRequest) -> HttpResponse:
    """`{"kind", "target_id", "params", "reason"}` with an Idempotency-Key: the same again gives the same operation."""
    key, body = request.headers.get(KEY, ""), body_of(request)
    if not 1 <= len(key) <= 80:
        raise BadRequest(f"Send an {KEY} of 1 to 80 characters: the same again changes nothing.")
    kind, target, params = body.get("kind"), body.get("target_id"), body.get("params", {})
    if not isinstance(kind, str) or not isinstance(target, int) or isinstance(target, bool):
        raise BadRequest("Send kind (a text) and target_id (a number).")
    if not isinstance(params, dict) or not isinstance(body.get("reason", ""), str):
        raise BadRequest("params is an object, reason a text.")
    if not 0 < target < 2**63:
        raise BadRequest("target_id names nothing.")
    try:
        operation = submit(
            kind=kind, target_id=target, params=params, actor=request.user, reason=body.get("reason", ""),
            idempotency_key=f"api:{request.user.pk}:{key}", via=Via.API,
        )  # fmt: skip
    except Refused as refusal:
        return error(422, str(refusal))
    return JsonResponse(_as_dict(operation), status=201)


def _as_dict(one: Operation) -> dict[str, Any]:
    return {
        "id": one.pk,
        "kind": one.kind,
        "target_type": one.target_type,
        "target_id": one.target_id,
        "target": one.target_label,
        "params": one.params,
        "state": one.state,
        "reason": one.reason,
        "actor": one.actor.username,
        "error": one.error,
        "created_at": one.created_at.isoformat(),
        "finished_at": one.finished_at.isoformat() if one.finished_at else None,
    }
