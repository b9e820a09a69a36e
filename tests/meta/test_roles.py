"""Every address of ours × every role, in scope and out of it: what it answers, what it shows, what it changes.

The table below is complete or the suite fails: a new view needs a row. What a row says is what must hold,
so read a change of it as a change of who may do what.
"""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db.models import Max
from django.http import QueryDict
from django.urls import reverse

from apps.access.models import Grant
from apps.audit.models import AuditEntry
from apps.core.models import Event, SavedView
from apps.cost.models import Bill, Rule, RuleSet
from apps.operations import previews
from apps.operations.models import Batch, Operation, Schedule
from tests import factories
from tests.meta.routes import Route, ours
from tests.meta.world import ROLES, World, missing

pytestmark = pytest.mark.django_db

#: Status of an empty request by (route, method), in the order of ROLES:
#: anonymous, viewer_out, operator_out, viewer_in, support, operator_in, admin.
#: 302 for a visitor is the sign-in page; out of scope is 404, a permission that lacks is 403, bad input is 422.
EXPECTED: dict[tuple[str, str], str] = {
    ("core:healthz", "GET"): "200 200 200 200 200 200 200",
    ("core:bar", "GET"): "302 200 200 200 200 200 200",
    ("core:palette", "GET"): "302 200 200 200 200 200 200",
    ("core:save_view", "POST"): "302 404 404 404 404 404 404",
    ("core:delete_view", "POST"): "302 404 404 404 404 404 404",
    ("fleet:overview", "GET"): "302 200 200 200 200 200 200",
    ("fleet:instances", "GET"): "302 200 200 200 200 200 200",
    ("fleet:instance", "GET"): "302 404 404 200 200 200 200",
    ("fleet:instance_live", "GET"): "302 404 404 200 200 200 200",
    ("fleet:instance_charts", "GET"): "302 404 404 200 200 200 200",
    ("fleet:instance_metrics", "GET"): "302 404 404 200 200 200 200",
    ("fleet:instance_log_page", "GET"): "302 403 404 403 200 200 200",
    ("fleet:instance_logs", "GET"): "302 403 404 403 200 200 200",
    ("fleet:instance_operations", "GET"): "302 404 404 200 200 200 200",
    ("fleet:instance_timeline", "GET"): "302 404 404 200 200 200 200",
    ("fleet:instance_diagnostics", "GET"): "302 403 404 403 403 200 200",
    ("fleet:diagnostics", "GET"): "302 403 404 403 403 200 200",
    ("fleet:cells", "GET"): "302 200 200 200 200 200 200",
    ("fleet:cell", "GET"): "302 404 404 200 200 200 200",
    ("tenants:list", "GET"): "302 200 200 200 200 200 200",
    ("tenants:lookup", "GET"): "302 200 200 200 200 200 200",
    ("tenants:tenant", "GET"): "302 404 404 200 200 200 200",
    ("tenants:timeline", "GET"): "302 404 404 200 200 200 200",
    ("tenants:access", "GET"): "302 404 404 403 403 403 200",
    ("accounts:list", "GET"): "302 200 200 200 200 200 200",
    ("accounts:account", "GET"): "302 404 404 200 200 200 200",
    ("accounts:timeline", "GET"): "302 404 404 200 200 200 200",
    ("operations:list", "GET"): "302 200 200 200 200 200 200",
    ("operations:operation", "GET"): "302 404 404 200 200 200 200",
    ("operations:approve", "POST"): "302 404 404 403 403 403 302",
    ("operations:cancel", "POST"): "302 404 404 403 403 422 422",
    ("operations:act", "GET"): "302 404 404 403 403 200 200",
    ("operations:act", "POST"): "302 404 404 422 422 422 422",
    ("operations:bulk", "POST"): "302 422 422 422 422 422 422",
    ("operations:batch", "GET"): "302 404 404 200 200 200 200",
    ("operations:approve_batch", "POST"): "302 404 404 422 422 422 302",
    ("operations:cancel_batch", "POST"): "302 404 404 422 422 422 422",
    ("operations:schedules", "GET"): "302 200 200 200 200 200 200",
    ("operations:new_schedule", "GET"): "302 200 200 200 200 200 200",
    ("operations:new_schedule", "POST"): "302 422 422 422 422 422 422",
    ("operations:schedule", "GET"): "302 404 404 404 403 404 200",
    ("operations:schedule", "POST"): "302 404 404 404 403 404 422",
    ("operations:switch_schedule", "POST"): "302 404 404 404 403 404 302",
    ("operations:delete_schedule", "POST"): "302 404 404 404 403 404 302",
    ("cost:overview", "GET"): "302 403 403 403 403 403 200",
    ("cost:breakdown", "GET"): "302 403 403 403 403 403 200",
    ("cost:lines", "GET"): "302 403 403 403 403 403 200",
    ("cost:tenant", "GET"): "302 403 403 403 403 403 200",
    ("cost:unallocated", "GET"): "302 403 403 403 403 403 200",
    ("cost:heavy", "GET"): "302 403 403 403 403 403 200",
    ("cost:margins", "GET"): "302 403 403 403 403 403 200",
    ("cost:lab", "GET"): "302 403 403 403 403 403 200",
    ("cost:rules", "GET"): "302 403 403 403 403 403 200",
    ("cost:add_rule", "POST"): "302 403 403 403 403 403 422",
    ("cost:activate", "POST"): "302 403 403 403 403 403 422",
    ("cost:remove_rule", "POST"): "302 403 403 403 403 403 302",
    ("cost:discard_draft", "POST"): "302 403 403 403 403 403 302",
    ("cost:bills", "GET"): "302 403 403 403 403 403 200",
    ("cost:upload", "GET"): "302 403 403 403 403 403 200",
    ("cost:upload", "POST"): "302 403 403 403 403 403 422",
    ("cost:bill", "GET"): "302 403 403 403 403 403 200",
    ("cost:retry", "POST"): "302 403 403 403 403 403 302",
    ("access:people", "GET"): "302 403 403 403 403 403 200",
    ("access:person", "GET"): "302 403 403 403 403 403 200",
    ("access:give", "POST"): "302 403 403 403 403 403 422",
    ("access:take", "POST"): "302 403 403 403 403 403 302",
    ("access:signin_link", "GET"): "302 302 302 302 302 302 302",
    ("audit:list", "GET"): "302 403 403 403 403 403 200",
    ("audit:entry", "GET"): "302 403 403 403 403 403 200",
}

#: Lists that export themselves as CSV. Viewers may not; who may gets the rows of their own scope.
LISTS = (
    "fleet:instances",
    "fleet:cells",
    "tenants:list",
    "accounts:list",
    "operations:list",
    "cost:breakdown",
    "cost:unallocated",
    "cost:heavy",
    "cost:margins",
    "cost:lab",
    "cost:bills",
    "access:people",
    "audit:list",
)


def url(route: Route, world: World) -> str:
    return reverse(route.name, kwargs=world.arguments(route.name) if "<" in route.path else {})


def by_method(method: str) -> list[Route]:
    return [route for route in ours() if method in route.methods]


def knock(world: World, role: str, route: Route, method: str, data: Any = None, **headers: str) -> Any:
    client = world.client(role)
    send = client.get if method == "GET" else client.post
    return send(url(route, world), data or {}, headers=headers)


def text_of(response: Any) -> str:
    content = b"".join(response.streaming_content) if response.streaming else response.content
    return str(content.decode(errors="replace"))


def state_of_the_world() -> list[Any]:
    """Everything that a request could have changed."""
    return [
        AuditEntry.objects.aggregate(Max("pk")),
        Event.objects.aggregate(Max("pk")),
        list(Operation.objects.order_by("pk").values_list("pk", "state", "cancel_requested_by")),
        list(Schedule.objects.order_by("pk").values_list("pk", "name", "is_enabled")),
        list(Grant.objects.order_by("pk").values_list("pk", "until")),
        list(SavedView.objects.order_by("pk").values_list("pk", flat=True)),
        Batch.objects.count(),
        list(Bill.objects.order_by("pk").values_list("pk", "state")),
        list(RuleSet.objects.order_by("pk").values_list("pk", "state")),
        list(Rule.objects.order_by("pk").values_list("pk", "position")),
    ]


def test_the_table_has_a_row_for_each_address_and_none_too_many() -> None:
    assert set(EXPECTED) == {(route.name, method) for route in ours() for method in route.methods}


@pytest.mark.parametrize(
    ("route", "method"),
    [(route, method) for route in ours() for method in route.methods],
    ids=lambda value: value.name if isinstance(value, Route) else value,
)
def test_each_role_gets_what_the_table_says(route: Route, method: str) -> None:
    world = World()
    expected = dict(zip(ROLES, map(int, EXPECTED[route.name, method].split()), strict=True))
    before = state_of_the_world()
    for role in ROLES:
        response = knock(world, role, route, method)
        assert response.status_code == expected[role], f"{role}: {text_of(response)[:300]}"
        if expected[role] in (401, 403, 404) or role == "anonymous":
            assert state_of_the_world() == before, f"{role} was refused and changed something"
        if role.endswith("_out"):
            shown = text_of(response)
            assert not [word for word in ("instance-here", "tenant-here", "cell-here") if word in shown], role


@pytest.mark.parametrize("route", by_method("GET"), ids=lambda route: route.name)
def test_live_parts_ask_as_pages_do(route: Route) -> None:
    """The same answers to HTMX; a visitor gets 401 rather than a sign-in page inside a page."""
    world = World()
    expected = dict(zip(ROLES, map(int, EXPECTED[route.name, "GET"].split()), strict=True))
    for role in ROLES:
        response = knock(world, role, route, "GET", **{"HX-Request": "true"})
        if role == "anonymous" and not route.permission.startswith("public: "):
            assert response.status_code == 401
        else:
            assert response.status_code in (expected[role], 204, 286), role
        if role.endswith("_out"):
            assert "instance-here" not in text_of(response), role


@pytest.mark.parametrize("route", by_method("GET"), ids=lambda route: route.name)
def test_exports_ask_as_pages_do(route: Route) -> None:
    world = World()
    expected = dict(zip(ROLES, map(int, EXPECTED[route.name, "GET"].split()), strict=True))
    for role in ROLES:
        response = knock(world, role, route, "GET", {"_export": "csv"})
        is_csv = response.headers.get("Content-Type", "").startswith("text/csv")
        assert is_csv == (route.name in LISTS and response.status_code == 200), role
        if route.name in LISTS and role.startswith("viewer") and expected[role] == 200:
            assert response.status_code == 403, "viewers may not export"
        else:
            assert response.status_code == expected[role], role
        if role.endswith("_out"):
            assert not [
                word for word in ("instance-here", "tenant-here", "cell-here") if word in text_of(response)
            ], role


@pytest.mark.parametrize("route", [r for r in ours() if "<" in r.path], ids=lambda route: route.name)
def test_what_does_not_exist_is_404_even_for_who_may_everything(route: Route) -> None:
    world = World()
    arguments = missing(route.name, world.arguments(route.name))
    for method in route.methods:
        client = world.client("admin")
        send = client.get if method == "GET" else client.post
        assert send(reverse(route.name, kwargs=arguments)).status_code == 404


@pytest.mark.parametrize("route", ours(), ids=lambda route: route.name)
def test_other_methods_are_refused(route: Route) -> None:
    if route.permission.startswith(("public: ", "signed in: ")):
        pytest.skip("reads only, by whatever method")
    world = World()
    before = state_of_the_world()
    for method in {"GET", "POST", "PUT", "DELETE", "PATCH"} - set(route.methods):
        response = world.client("admin").generic(method, url(route, world))
        assert response.status_code == 405, method
    assert state_of_the_world() == before


def good_data(world: World) -> dict[str, tuple[dict[str, Any], set[str]]]:
    """By route that changes something: a request that says all it must, and who gets through with it."""
    reason = {"reason": "asked for in ticket 7"}
    restart = previews.find_action(world.root, "restart", world.instance.pk, permission=True)[0]
    digest = previews.preview(restart, [world.instance.pk], QueryDict(), world.root).digest
    schedule = {
        "name": "weekly",
        "kind": "restart",
        "target": "instance-here",
        "cron": "0 4 * * 1",
        "zone": "UTC",
        **reason,
    }
    bulk = {
        "kind": "restart",
        "target_type": "instance",
        "selected": [world.instance.pk],
        "frozen": previews.freeze([world.instance.pk]),
        "confirmed": "1",
        "previewed": digest,
        **reason,
    }
    grant = {"role": factories.make_role("viewer").pk, "kind": "tenant", "name": "tenant-here", **reason}
    operators, admins = {"operator_in", "admin"}, {"admin"}
    return {
        "core:save_view": ({"page": "fleet:instances", "name": "x"}, set(ROLES) - {"anonymous"}),
        "core:delete_view": ({}, set()),  # another's
        "operations:approve": ({}, admins),
        "operations:cancel": (reason, operators),
        "operations:act": ({"previewed": digest, **reason}, operators),
        "operations:bulk": (bulk, operators),
        "operations:approve_batch": ({}, admins),
        "operations:cancel_batch": (reason, operators),
        "operations:new_schedule": (schedule, operators),
        "operations:schedule": (schedule, admins),
        "operations:switch_schedule": ({"on": "0"}, admins),
        "operations:delete_schedule": ({}, admins),
        "cost:add_rule": ({"kind": "overhead"}, admins),
        "cost:remove_rule": ({}, admins),
        "cost:discard_draft": ({}, admins),
        "cost:activate": ({"note": "by tag"}, admins),
        "cost:upload": ({"delivery": SimpleUploadedFile("bill.csv", b"a,b\n1,2\n")}, admins),
        "cost:retry": ({}, admins),
        "access:give": (grant, admins),
        "access:take": (reason, admins),
    }


def test_every_address_that_changes_something_is_tried_in_earnest() -> None:
    assert set(good_data(World())) == {route.name for route in by_method("POST")}


def tries(world: World, route: Route, role: str) -> tuple[bool, str]:
    """Send a good request; gives whether it changed anything, and what came back."""
    data, before = good_data(world)[route.name][0], state_of_the_world()
    response = knock(world, role, route, "POST", data)
    assert response.status_code < 500
    return state_of_the_world() != before, f"{role} {response.status_code}: {text_of(response)[:2000]}"


@pytest.mark.parametrize("route", by_method("POST"), ids=lambda route: route.name)
def test_who_may_not_changes_nothing(route: Route) -> None:
    world = World()
    for role in [role for role in ROLES if role not in good_data(world)[route.name][1]]:
        changed, answer = tries(world, route, role)
        assert not changed, answer


@pytest.mark.parametrize("role", ["operator_in", "admin"])
@pytest.mark.parametrize("route", by_method("POST"), ids=lambda route: route.name)
def test_who_may_changes_something(route: Route, role: str) -> None:
    """So that the test above is not content with a request that nobody gets through."""
    world = World()
    if role not in good_data(world)[route.name][1]:
        return
    changed, answer = tries(world, route, role)
    assert changed, answer
