"""Releases and advisories for programs: what CI tells of a version it built, what a feed tells of a weakness."""

from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db.models import Count
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse

from apps.access.api import BadRequest, api, body_of, error, listed
from apps.access.scoping import holds, visible
from apps.operations.services import Refused

from . import exposing, services
from .models import Advisory, Release, Ring, RingMember
from .sbom import BadDocument


@api("view", methods=("GET", "POST"))
def releases(request: HttpRequest) -> HttpResponse:
    """GET: all releases, `?version=` finds one. POST `{"version", "kind", "severity", "cves", "notes"}` drafts one."""
    if request.method == "POST":
        return _draft(request)
    rows = visible(request.user, Release)
    if version := request.GET.get("version"):
        rows = rows.filter(version=version)
    return listed(request, rows, _release)


def _draft(request: HttpRequest) -> HttpResponse:
    body = body_of(request)
    texts = {name: body[name] for name in ("version", "kind", "severity", "notes") if name in body}
    cves = body.get("cves", [])
    if not all(isinstance(value, str) for value in texts.values()):
        raise BadRequest("version, kind, severity and notes are texts.")
    if not isinstance(cves, list) or not all(isinstance(cve, str) for cve in cves):
        raise BadRequest("cves is a list of texts.")
    try:
        made = services.save_release(Release(**texts, cves=cves), actor=request.user)
    except Refused as refusal:
        return _refused(request, refusal)
    except ValidationError as wrong:
        return error(422, " ".join(f"{name}: {' '.join(said)}" for name, said in wrong.message_dict.items()))
    return JsonResponse(_release(made), status=201)


@api("manage_releases", methods=("POST",))
def sbom(request: HttpRequest, version: str) -> HttpResponse:
    """The SBOM of a version, CycloneDX or SPDX JSON as the body; it replaces the one before. The same again is the same."""
    found = visible(request.user, Release).filter(version=version).first()
    if found is None:
        raise Http404(f"There is no release {version}; draft it first.")
    try:
        contents = services.upload_sbom(found, _document(request), actor=request.user)
    except (BadDocument, Refused) as refusal:
        return _refused(request, refusal)
    said = {"components": len(contents.components), "without_purl": contents.without_purl}
    return JsonResponse({**_release(found), **said})


@api("view", methods=("GET", "POST"))
def advisories(request: HttpRequest) -> HttpResponse:
    """GET: all advisories. POST: an OSV or CSAF document as the body; matches and exposure follow at once."""
    if request.method == "GET":
        return listed(request, visible(request.user, Advisory), _advisory)
    try:
        made = exposing.import_advisory(_document(request), actor=request.user)
    except (BadDocument, Refused) as refusal:
        return _refused(request, refusal)
    return JsonResponse(_advisory(made))


@api("view")
def rings(request: HttpRequest) -> HttpResponse:
    """GET: the rings (`position` says their order), with the plans in each and how many tenants are named in it, of those seen."""
    members = visible(request.user, RingMember).order_by()
    counts = dict(members.filter(tenant__isnull=False).values_list("ring_id").annotate(number=Count("pk")))
    plans: dict[int, list[str]] = {}
    for ring_id, name in members.filter(plan__isnull=False).values_list("ring_id", "plan__name"):
        plans.setdefault(ring_id, []).append(name)

    def as_dict(ring: Ring) -> dict[str, Any]:
        return {
            "id": ring.pk,
            "name": ring.name,
            "position": ring.position,
            "description": ring.description,
            "rest_seconds": ring.rest_seconds,
            "lets_security_through": ring.lets_security_through,
            "plans": sorted(plans.get(ring.pk, [])),
            "tenants": counts.get(ring.pk, 0),
        }

    return listed(request, visible(request.user, Ring), as_dict)


def _document(request: HttpRequest) -> bytes:
    """The body, read no further than the most that is taken. Raises BadDocument for more."""
    most: int = settings.RELEASE_UPLOAD_MAX_BYTES
    raw: bytes = request.read(most + 1)
    if len(raw) > most:
        raise BadDocument(f"The document is too large: {most / 1e6:,.1f} MB are the most.")
    return raw


def _refused(request: HttpRequest, refusal: Exception) -> JsonResponse:
    """403 for who may not do it at all, 422 with what is wrong for who may."""
    may = holds(request.user, "manage_releases")
    return error(422 if may else 403, str(refusal))


def _release(one: Release) -> dict[str, Any]:
    return {
        "id": one.pk,
        "version": one.version,
        "kind": one.kind,
        "severity": one.severity,
        "life": one.life,
        "cves": one.cves,
        "sbom_sha256": one.sbom_sha256 or None,
    }


def _advisory(one: Advisory) -> dict[str, Any]:
    return {
        "id": one.pk,
        "name": one.osv_id,
        "aliases": one.aliases,
        "summary": one.summary,
        "severity": one.severity,
        "known_at": one.known_at.isoformat(),
        "deadline": one.deadline.isoformat(),
    }
