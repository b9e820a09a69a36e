"""The addresses under /scim/v2/ (RFC 7644)."""

from collections.abc import Callable
from typing import Any

from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse, JsonResponse

from ..models import ScimGroup, User
from . import filtering, groups, people, reading, resources
from .clients import Client
from .door import scim
from .errors import CONTENT_TYPE, ScimError

ONE, MANY = ("GET", "PUT", "PATCH", "DELETE"), ("GET", "POST")


@scim("GET")
def config(request: HttpRequest, client: Client) -> HttpResponse:
    """What is supported."""
    return _said(resources.provider_config())


@scim("GET")
def types(request: HttpRequest, client: Client) -> HttpResponse:
    """Users and groups."""
    found = resources.types()
    return _said(resources.listed(found, total=len(found)))


@scim("GET")
def one_type(request: HttpRequest, client: Client, name: str) -> HttpResponse:
    """One of them."""
    return _said(_named(resources.types(), name))


@scim("GET")
def schemas(request: HttpRequest, client: Client) -> HttpResponse:
    """What is kept of each."""
    found = resources.schemas()
    return _said(resources.listed(found, total=len(found)))


@scim("GET")
def schema(request: HttpRequest, client: Client, name: str) -> HttpResponse:
    """One schema."""
    return _said(_named(resources.schemas(), name))


@scim(*MANY)
def users(request: HttpRequest, client: Client) -> HttpResponse:
    """People, filtered and by pages; or a new one."""
    if request.method == "POST":
        made = people.make(client, reading.person_of(reading.body_of(request)))
        return _said(resources.person(made), 201, made=True)
    rows = client.people().prefetch_related("scim_groups").order_by("pk")
    return _listed(request, rows, resources.PERSON_COLUMNS, resources.person)


@scim(*ONE)
def user(request: HttpRequest, client: Client, pk: str) -> HttpResponse:
    """One person. DELETE ends all that they hold, as `active` false does: who did what must stay known."""
    if request.method == "GET":
        found = people.find(client, pk)
    elif request.method == "DELETE":
        people.change(client, pk, {"is_active": False})
        return HttpResponse(status=204)
    else:
        body = reading.body_of(request)
        is_put = request.method == "PUT"
        fields = reading.person_of(body) if is_put else people.changed_by(list(reading.changes_of(body)))
        found = people.change(client, pk, fields)
    return _said(resources.person(found))


@scim(*MANY)
def groups_(request: HttpRequest, client: Client) -> HttpResponse:
    """Groups of the directory, filtered and by pages; or a new one."""
    if request.method == "POST":
        made = groups.make(client, groups.wanted_of(reading.body_of(request)))
        return _said(resources.group(_with_members().get(pk=made.pk)), 201, made=True)
    whole = not _excludes_members(request)
    rows = _with_members() if whole else ScimGroup.objects.all()

    def as_dict(row: ScimGroup) -> dict[str, Any]:
        return resources.group(row, with_members=whole)

    return _listed(request, rows.order_by("pk"), resources.GROUP_COLUMNS, as_dict)


@scim(*ONE)
def group(request: HttpRequest, client: Client, pk: str) -> HttpResponse:
    """One group."""
    if request.method == "DELETE":
        groups.drop(client, pk)
        return HttpResponse(status=204)
    found = groups.find(pk)
    if request.method != "GET":
        body = reading.body_of(request)
        is_put = request.method == "PUT"
        wanted = groups.wanted_of(body) if is_put else groups.wanted_by(list(reading.changes_of(body)))
        found = groups.change(client, pk, wanted)
    whole = not _excludes_members(request)
    return _said(resources.group(_with_members().get(pk=found.pk) if whole else found, with_members=whole))


def _with_members() -> QuerySet[ScimGroup]:
    return ScimGroup.objects.prefetch_related(Prefetch("members", User.objects.order_by("pk")))


def _excludes_members(request: HttpRequest) -> bool:
    return "members" in request.GET.get("excludedAttributes", "").lower().split(",")


def _listed(
    request: HttpRequest,
    rows: QuerySet[Any],
    columns: filtering.Columns,
    as_dict: Callable[[Any], dict[str, Any]],
) -> HttpResponse:
    """A page: `filter`, `startIndex` from 1 on, `count` (100, MOST at most, 0 for the number alone)."""
    if text := request.GET.get("filter", ""):
        rows = rows.filter(filtering.condition(text, columns))
    start, count = max(_whole(request, "startIndex", 1), 1), max(_whole(request, "count", 100), 0)
    found = rows[start - 1 : start - 1 + min(count, resources.MOST)]
    return _said(resources.listed(map(as_dict, found), total=rows.count(), start=start))


def _whole(request: HttpRequest, name: str, default: int) -> int:
    text = request.GET.get(name, str(default))
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 10):
        raise ScimError(400, f"{name} is a whole number.", "invalidValue")
    return int(text)


def _named(found: list[dict[str, Any]], name: str) -> dict[str, Any]:
    for one in found:
        if one["id"] == name:
            return one
    raise ScimError(404, f"There is no {name[:80]}.")


def _said(body: dict[str, Any], status: int = 200, *, made: bool = False) -> HttpResponse:
    headers = {"Location": body["meta"]["location"]} if made else {}
    return JsonResponse(body, status=status, content_type=CONTENT_TYPE, headers=headers)
