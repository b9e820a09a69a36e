"""The tenants' pages: who reaches them, what they show, what they cost."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from apps.access.services import system_actor
from apps.core.models import Event
from apps.operations.models import Operation
from apps.tenants.models import Subscription
from tests import factories as make

PAGES = ("tenants:tenant", "tenants:timeline", "tenants:access")


@pytest.fixture
def sees_all(client: Client, world: SimpleNamespace) -> Client:
    client.force_login(world.everything)
    return client


def page_of(tenant: Any, name: str = "tenants:tenant") -> str:
    return reverse(name, args=[tenant.pk])


def happen(title: str, **context: Any) -> Event:
    return Event.objects.create(
        kind="test.happened", title=title, actor_id=system_actor("command").pk, **context
    )


def operate(instance: Any, user: Any, **fields: Any) -> Operation:
    """A row as the engine leaves it; nothing runs."""
    number = Operation.objects.count()
    with make.as_system():
        return Operation.objects.create(
            kind="restart", target_type="instance", target_id=instance.pk, target_label=instance.name,
            account_id=instance.cell.region.account_id, cell_id=instance.cell_id, is_changing=True, actor=user,
            reason="customer asked", idempotency_key=f"key-{number}", fingerprint="x", **fields,
        )  # fmt: skip


# --- Who reaches them ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tenants:list", "tenants:lookup", *PAGES])
def test_anonymous_is_asked_to_sign_in(client: Client, world: SimpleNamespace, name: str) -> None:
    url = reverse(name, args=[world.northwind.pk] if name in PAGES else [])
    answer = client.get(url)
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/accounts/login/")
    assert client.get(url, headers={"HX-Request": "true"}).status_code == 401


@pytest.mark.parametrize("name", ["tenants:list", "tenants:lookup", *PAGES])
def test_who_holds_nothing_is_refused(client: Client, world: SimpleNamespace, name: str) -> None:
    client.force_login(world.nobody)
    assert client.get(reverse(name, args=[world.northwind.pk] if name in PAGES else [])).status_code == 403


@pytest.mark.parametrize("name", ["tenants:list", "tenants:lookup", *PAGES])
@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_other_methods_are_refused(sees_all: Client, world: SimpleNamespace, name: str, method: str) -> None:
    url = reverse(name, args=[world.northwind.pk] if name in PAGES else [])
    assert getattr(sees_all, method)(url).status_code == 405


@pytest.mark.parametrize("name", PAGES)
def test_a_tenant_out_of_scope_does_not_exist(client: Client, world: SimpleNamespace, name: str) -> None:
    for user in (world.of_eu, world.of_northwind):
        client.force_login(user)
        assert client.get(page_of(world.globex, name)).status_code == 404
    assert client.get(reverse(name, args=[10**18])).status_code == 404
    assert client.get(reverse(name, args=[10**30])).status_code == 404


def test_within_scope_it_is_shown(client: Client, world: SimpleNamespace) -> None:
    for user in (world.of_eu, world.of_northwind, world.everything):
        client.force_login(user)
        assert client.get(page_of(world.northwind)).status_code == 200
        assert client.get(page_of(world.northwind, "tenants:timeline")).status_code == 200


def test_who_may_touch_it_is_for_who_may_know(client: Client, world: SimpleNamespace) -> None:
    client.force_login(world.of_eu)
    assert client.get(page_of(world.northwind, "tenants:access")).status_code == 403
    assert "Who may touch it" not in client.get(page_of(world.northwind)).content.decode()
    client.force_login(world.admin)
    assert "Who may touch it" in client.get(page_of(world.northwind)).content.decode()
    shown = client.get(page_of(world.northwind, "tenants:access")).content.decode()
    for word in (
        "eu-operator",
        "account acme-eu",
        "northwind-support",
        "tenant Northwind Traders",
        "sees-all",
    ):
        assert word in shown
    assert "everything" in shown


def test_who_may_touch_it_leaves_out_what_ended_and_what_is_elsewhere(
    client: Client, world: SimpleNamespace
) -> None:
    elsewhere = make.make_user("us-operator")
    make.grant(elsewhere, "operator", "account", world.us)
    gone = make.make_user("was-here")
    grant = make.grant(gone, "support", "tenant", world.northwind, until=timezone.now() + timedelta(hours=1))
    with make.as_system():
        type(grant).objects.filter(pk=grant.pk).update(until=timezone.now() - timedelta(minutes=1))
    root = make.make_user("root-person", superuser=True)
    client.force_login(world.admin)
    shown = client.get(page_of(world.northwind, "tenants:access")).content.decode()
    assert "us-operator" not in shown
    assert "was-here" not in shown
    assert root.username in shown
    assert "us-operator" in client.get(page_of(world.globex, "tenants:access")).content.decode()


# --- What they show --------------------------------------------------------------------------------


def test_the_page_tells_all_that_a_caller_asks(sees_all: Client, world: SimpleNamespace) -> None:
    happen("northwind moved in", tenant_id=world.northwind.pk)
    happen("northwind-prod fails", instance_id=world.northwind_1.pk)
    operate(world.northwind_1, world.everything)
    shown = sees_all.get(page_of(world.northwind)).content.decode()
    for word in (
        "Northwind Traders", "Enterprise", "€\u00a04,900", "Ada Lovelace", "ada@northwind.example",
        "shop.northwind.example", "cus_9s6XKzkNRiz8i3", "northwind-prod", "eu-a", "acme-eu", "1.0.0",
        "northwind moved in", "northwind-prod fails", "customer asked", "Well",
    ):  # fmt: skip
        assert word in shown, word


def test_events_of_an_instance_before_the_tenant_came_are_not_its(
    sees_all: Client, world: SimpleNamespace
) -> None:
    early = happen("long before", instance_id=world.northwind_1.pk, at=timezone.now() - timedelta(days=2))
    assert early.title not in sees_all.get(page_of(world.northwind)).content.decode()


def test_on_a_shared_instance_other_tenants_events_are_not_told(
    client: Client, world: SimpleNamespace
) -> None:
    make.place(world.globex, world.shared_eu)
    happen("globex got a refund", tenant_id=world.globex.pk, instance_id=world.shared_eu.pk)
    happen("shared-eu-1 fails", instance_id=world.shared_eu.pk)
    client.force_login(world.everything)
    shown = client.get(page_of(world.initech)).content.decode()
    assert "shared-eu-1 fails" in shown
    assert "globex got a refund" not in shown


def test_instances_out_of_scope_are_not_on_the_page(client: Client, world: SimpleNamespace) -> None:
    happen("shared-us-1 fails", instance_id=world.shared_us.pk)
    client.force_login(world.of_eu)
    shown = client.get(page_of(world.initech)).content.decode()
    assert "shared-eu-1" in shown
    assert "shared-us-1" not in shown


def test_the_live_part_is_the_part_of_the_page(sees_all: Client, world: SimpleNamespace) -> None:
    url = page_of(world.northwind)
    part = sees_all.get(url, headers={"HX-Request": "true"}).content.decode()
    assert part.lstrip().startswith("<div")
    assert 'id="live"' in part
    assert 'data-live="4"' in part
    assert "<html" not in part


def test_an_empty_tenant_says_what_lacks(sees_all: Client, world: SimpleNamespace) -> None:
    with make.as_system():
        empty = make.make_tenant("empty", name="Empty")
        Subscription.objects.filter(tenant=empty).delete()
    shown = sees_all.get(page_of(empty)).content.decode()
    for words in (
        "Runs on no instance",
        "No contact is known",
        "It never bought anything",
        "Nothing happened yet",
    ):
        assert words in shown


def test_names_are_escaped(sees_all: Client, world: SimpleNamespace) -> None:
    evil = make.make_tenant("evil", name="<script>alert(1)</script>")
    make.place(evil, world.northwind_1)
    for url in (page_of(evil), reverse("tenants:list"), reverse("tenants:lookup") + "?q=%3Cscript%3Ealert"):
        shown = sees_all.get(url).content.decode()
        assert "<script>alert(1)" not in shown
        assert "&lt;script&gt;alert(1)" in shown


def test_the_timeline_goes_back_page_by_page(sees_all: Client, world: SimpleNamespace) -> None:
    for number in range(130):
        happen(f"thing {number:03}", tenant_id=world.northwind.pk)
    first = sees_all.get(page_of(world.northwind, "tenants:timeline"))
    assert "thing 129" in first.content.decode()
    assert "thing 029" not in first.content.decode()
    older = first.context["page"].older
    second = sees_all.get(page_of(world.northwind, "tenants:timeline"), {"before": older}).content.decode()
    assert "thing 029" in second
    assert "thing 030" not in second
    for bad in ("x", "-1", "9" * 30, ""):
        assert sees_all.get(page_of(world.northwind, "tenants:timeline"), {"before": bad}).status_code == 200


# --- The list --------------------------------------------------------------------------------------


def listed(client: Client, **query: Any) -> str:
    answer = client.get(reverse("tenants:list"), query)
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_list_shows_each_tenant_with_its_facts(sees_all: Client, world: SimpleNamespace) -> None:
    shown = listed(sees_all)
    for word in (
        "Northwind Traders",
        "Enterprise",
        "€\u00a04,900",
        "shop.northwind.example",
        "Failing",
        "$\u00a0100",
    ):
        assert word in shown, word


def test_the_list_is_narrowed_by_scope(client: Client, world: SimpleNamespace) -> None:
    client.force_login(world.of_eu)
    shown = listed(client)
    assert "Northwind Traders" in shown
    assert "Initech" in shown
    assert "Globex" not in shown
    assert "acme-us" not in shown


@pytest.mark.parametrize(
    ("query", "there", "not_there"),
    [
        ({"q": "northw"}, ["Northwind Traders"], ["Globex", "Initech"]),
        ({"q": "acme.com"}, ["Initech"], ["Globex", "Northwind Traders"]),
        ({"state": "active"}, ["Northwind Traders", "Globex"], []),
        ({"state": "suspended"}, [], ["Northwind Traders", "Globex"]),
        ({"health": "failing"}, ["Globex"], ["Northwind Traders", "Initech"]),
        ({"account": "acme-us"}, ["Globex", "Initech"], ["Northwind Traders"]),
        ({"cell": "eu-a"}, ["Northwind Traders", "Initech"], ["Globex"]),
        ({"state": "nonsense"}, [], ["Northwind Traders", "Globex"]),
        ({"cell": "nonsense"}, [], ["Northwind Traders", "Globex"]),
        ({"plan": "99999999"}, [], ["Northwind Traders", "Globex"]),
        ({"q": "x\x00y"}, [], ["Northwind Traders", "Globex"]),
    ],
)
def test_the_list_filters(
    sees_all: Client, world: SimpleNamespace, query: dict[str, str], there: list[str], not_there: list[str]
) -> None:
    table = sees_all.get(reverse("tenants:list"), query).context["table"]
    names = [row.record.name for row in table.page]
    assert [name for name in there if name not in names] == []
    assert [name for name in not_there if name in names] == []


def test_the_list_filters_by_plan(sees_all: Client, world: SimpleNamespace) -> None:
    table = sees_all.get(reverse("tenants:list"), {"plan": world.plan.pk}).context["table"]
    assert [row.record.name for row in table.page] == ["Northwind Traders"]


@pytest.mark.parametrize("sort", ["name", "-name", "state", "-created_at", "nonsense", "facts", "-price"])
def test_the_list_sorts(sees_all: Client, world: SimpleNamespace, sort: str) -> None:
    names = [
        row.record.name for row in sees_all.get(reverse("tenants:list"), {"sort": sort}).context["table"].page
    ]
    assert set(names) == {"Northwind Traders", "Globex", "Initech"}
    if sort == "-name":
        assert names == ["Northwind Traders", "Initech", "Globex"]


def test_the_list_as_csv(client: Client, world: SimpleNamespace) -> None:
    client.force_login(world.of_eu)
    answer = client.get(reverse("tenants:list"), {"_export": "csv"})
    lines = b"".join(answer).decode().splitlines()
    assert lines[0].startswith("Name,Key,Health,State,Plan,A month,Currency,Instances,Domain,Since")
    assert any(
        line.startswith("Northwind Traders,northwind,well,active,Enterprise,4900.00,EUR,1,shop")
        for line in lines
    )
    assert not any("Globex" in line for line in lines)
    client.force_login(world.everything)
    assert client.get(reverse("tenants:list"), {"_export": "csv"}).status_code == 403


# --- What they cost --------------------------------------------------------------------------------


def cost(client: Client, url: str, query: dict[str, Any] | None = None) -> int:
    cache.clear()
    client.get(url, query or {})  # a session's first request notes it among the reader's sessions
    with CaptureQueriesContext(connection) as queries:
        assert client.get(url, query or {}).status_code == 200
    return len(queries)


def grow(world: SimpleNamespace, number: int) -> None:
    for place in range(number):
        tenant = make.make_tenant(f"more-{place}", plan=world.plan)
        instance = make.make_instance(f"more-{place}-prod", cell=world.cell_eu)
        make.place(tenant, instance)
        make.place(world.northwind, make.make_instance(f"northwind-{place}", cell=world.cell_eu))
        happen(f"event {place}", tenant_id=world.northwind.pk)
        operate(instance, world.everything)
        operate(world.northwind_1, world.everything)


def test_costs_do_not_grow_with_rows(client: Client, world: SimpleNamespace) -> None:
    client.force_login(world.of_eu)
    urls = {
        "list": (reverse("tenants:list"), {}),
        "page": (page_of(world.northwind), {}),
        "timeline": (page_of(world.northwind, "tenants:timeline"), {}),
        "lookup": (reverse("tenants:lookup"), {"q": "nortwhind"}),
        "palette": (reverse("core:palette"), {"q": "nortwhind"}),
    }
    operate(world.northwind_1, world.everything)
    happen("event", tenant_id=world.northwind.pk)
    few = {name: cost(client, url, query) for name, (url, query) in urls.items()}
    grow(world, 20)
    many = {name: cost(client, url, query) for name, (url, query) in urls.items()}
    assert few == many
    assert {name: number for name, number in many.items() if number > 15} == {}


def test_lookup_takes_few_statements_beside_user_and_session(client: Client, world: SimpleNamespace) -> None:
    client.force_login(world.of_eu)
    # Session, user, scopes, roles; what begins or holds, what resembles, whose it is; how it fares.
    assert cost(client, reverse("tenants:lookup"), {"q": "nortwhind"}) <= 10
    assert cost(client, reverse("tenants:lookup"), {"q": "northwind"}) <= 8


# --- The lookup's page ------------------------------------------------------------------------------


def test_lookup_answers_with_what_matched(sees_all: Client, world: SimpleNamespace) -> None:
    page = sees_all.get(reverse("tenants:lookup"), {"q": "shop.northwind.example"}).content.decode()
    for word in ("Northwind Traders", "domain shop.northwind.example", "Enterprise", "Well", "<html"):
        assert word in page
    assert page_of(world.northwind) in page


def test_lookup_answers_as_one_types(sees_all: Client, world: SimpleNamespace) -> None:
    part = sees_all.get(
        reverse("tenants:lookup"), {"q": "nort"}, headers={"HX-Request": "true"}
    ).content.decode()
    assert "Northwind Traders" in part
    assert "<html" not in part
    assert 'id="answers"' in part


def test_lookup_says_a_guess_is_one(sees_all: Client, world: SimpleNamespace) -> None:
    words = "What resembles it"
    assert words in sees_all.get(reverse("tenants:lookup"), {"q": "nortwhind"}).content.decode()
    assert words not in sees_all.get(reverse("tenants:lookup"), {"q": "northwind"}).content.decode()


def test_lookup_says_what_to_do(sees_all: Client, world: SimpleNamespace) -> None:
    assert "Type what the caller says" in sees_all.get(reverse("tenants:lookup")).content.decode()
    assert (
        "No tenant like that" in sees_all.get(reverse("tenants:lookup"), {"q": "zzzzqqqq"}).content.decode()
    )


def test_lookup_is_narrowed_by_scope(client: Client, world: SimpleNamespace) -> None:
    client.force_login(world.of_eu)
    for text in ("globex", "hank@globex.example", "Hank Scorpio", "globex-prod"):
        assert "Globex" not in client.get(reverse("tenants:lookup"), {"q": text}).content.decode()
