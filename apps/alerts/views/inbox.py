"""Doors for machines: webhooks, heartbeats, service discovery. Each knows its caller by a secret, none by a session."""

import hmac
import time
import uuid
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from apps.access.views_base import public

from .. import discovery, heartbeats, intake, seals
from ..choices import SourceKind
from ..models import Source

#: Seconds that a signed request may be old.
FRESH = 300
STATUS = {"out of scope": 403, "replayed": 409, "too large": 413, "too many": 413}
#: Senders that cannot be told apart are counted together, so that nobody fills a table with names.
UNKNOWN = "(unknown)"


def _refuse(source: str, word: str, text: str, status: int) -> HttpResponse:
    intake.count(source, word)
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    return JsonResponse({"error": text}, status=status, headers=headers)


def _by_token(request: HttpRequest, kind: str) -> Source | None:
    """The source whose token the request bears; compared by hash, so the time it takes tells nothing of the token."""
    word, _, token = request.headers.get("Authorization", "").strip().partition(" ")
    # Prometheus up to 2.42 sends the credentials of http_sd bare when its configuration names no type.
    token = token if word.lower() == "bearer" else "" if token else word
    if not token:
        return None
    return Source.objects.filter(
        token_hash=seals.token_hash(token.strip()), kind=kind, is_enabled=True
    ).first()


def _is_too_large(request: HttpRequest) -> bool:
    """By what the sender says, before anything is read; without a length nothing is read either."""
    length = request.headers.get("Content-Length", "")
    return not length.isdecimal() or int(length) > intake.MAX_BYTES


def _take(
    source: Source, request: HttpRequest, read: Callable[[bytes], list[intake.Said]], signature: str = ""
) -> HttpResponse:
    """Check, keep, answer: 200 means that it is committed."""
    try:
        kept = intake.accept(source, read(request.body), signature=signature)
    except intake.Behind as error:
        intake.count(source.name, "behind")
        return JsonResponse(
            {"error": str(error)}, status=429, headers={"Retry-After": str(intake.RETRY_AFTER)}
        )
    except intake.Malformed as error:
        return _refuse(source.name, error.word, str(error), STATUS.get(error.word, 400))
    intake.count(source.name, "accepted", kept)
    return JsonResponse({"accepted": kept})


@csrf_exempt
@public("Alertmanager, by its source's bearer token", methods=("POST",))
def alertmanager(request: HttpRequest) -> HttpResponse:
    """Alertmanager's webhook, version 4."""
    if request.method != "POST":
        return HttpResponse(status=405, headers={"Allow": "POST"})
    source = _by_token(request, SourceKind.ALERTMANAGER)
    if source is None:
        return _refuse(
            UNKNOWN, "no valid token", "Send the source's token as “Authorization: Bearer …”.", 401
        )
    if _is_too_large(request):
        return _refuse(
            source.name, "too large", f"At most {intake.MAX_BYTES} bytes are taken, with their length.", 413
        )
    return _take(source, request, intake.read_alertmanager)


@csrf_exempt
@public("anything that signs what it sends with its source's secret", methods=("POST",))
def webhook(request: HttpRequest, pk: int) -> HttpResponse:
    """Signals signed by HMAC-SHA-256: `X-Daytwo-Signature: t=<unix seconds>,v1=<hex>` over `<t>.<body>`."""
    if request.method != "POST":
        return HttpResponse(status=405, headers={"Allow": "POST"})
    source = Source.objects.filter(pk=pk, kind=SourceKind.WEBHOOK, is_enabled=True).first()
    if source is None:
        return _refuse(UNKNOWN, "no such source", "There is no such source.", 404)
    if _is_too_large(request):
        return _refuse(
            source.name, "too large", f"At most {intake.MAX_BYTES} bytes are taken, with their length.", 413
        )
    if why := _unsigned(source, request):
        return _refuse(source.name, why, f"Refused: {why}.", 401)
    return _take(source, request, intake.read_webhook, _signed(request)[1])


def _signed(request: HttpRequest) -> tuple[str, str]:
    """The time and the signature that the header names; what is added to the header around them changes neither."""
    parts = dict(p.partition("=")[::2] for p in request.headers.get("X-Daytwo-Signature", "").split(","))
    return parts.get("t", ""), parts.get("v1", "")


def _unsigned(source: Source, request: HttpRequest) -> str:
    """Why a signature does not hold; "" when it does."""
    at, given = _signed(request)
    if not at.isascii() or not at.isdigit() or len(at) > 12 or not given.isascii():
        return "no signature"
    if abs(time.time() - int(at)) > FRESH:
        return "signature too old"
    try:
        secret = seals.unseal(source.secret_sealed)
    except seals.Unreadable:
        return "the secret cannot be read"
    if not hmac.compare_digest(seals.signature(secret, at, request.body), given):
        return "wrong signature"
    return ""


@csrf_exempt
@public("whatever has to be heard of, by the token in its address", methods=("GET", "POST"))
def heartbeat(request: HttpRequest, token: uuid.UUID) -> HttpResponse:
    """A sign of life. GET too: many a tool can do nothing else."""
    if request.method not in ("GET", "POST", "HEAD"):
        return HttpResponse(status=405, headers={"Allow": "GET, POST, HEAD"})
    if not heartbeats.beat(token):
        return _refuse(UNKNOWN, "no such heartbeat", "There is no such heartbeat.", 404)
    return JsonResponse({"ok": True})


@public("Prometheus, by its source's bearer token")
def http_sd(request: HttpRequest) -> HttpResponse:
    """What there is to scrape, as Prometheus' http_sd asks for it."""
    source = _by_token(request, SourceKind.DISCOVERY)
    if source is None:
        return _refuse(
            UNKNOWN, "no valid token", "Send the source's token as “Authorization: Bearer …”.", 401
        )
    return JsonResponse(discovery.targets(source), safe=False)
