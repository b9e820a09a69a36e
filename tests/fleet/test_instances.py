"""The list of instances, and the pages of one."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.http import QueryDict
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from apps.audit.models import AuditEntry
from apps.fleet import providers
from apps.fleet.models import Diagnostics, Measurement
from apps.fleet.providers.base import LogLine, LogPage, ProviderUnavailable
from apps.operations import selections
from tests.factories import as_system, make_instance, make_tenant, place

from .conftest import World
from .test_overview import running, squeezed

LIST = "/instances/"


def names(client: Client, **query: object) -> set[str]:
    context = client.get(LIST, query).context
    return {row.record.name for row in context["table"].paginated_rows}


def test_it_lists_what_the_reader_sees(world: World, as_user: Callable[..., Client]) -> None:
    assert names(as_user(world.operator)) == {"northwind-prod"}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"q": "wind-p"}, {"northwind-prod"}),
        ({"q": "Umbrella"}, {"second"}),
        ({"q": "umb-key"}, {"second"}),
        ({"q": "globex"}, set()),
        ({"health": ["failing", "degraded"]}, {"second"}),
        ({"health": "wrong"}, {"second"}),
        ({"health": ""}, {"northwind-prod", "second"}),
        ({"health": "well"}, {"northwind-prod"}),
        ({"cell": "eu-west-1a"}, {"northwind-prod", "second"}),
        ({"cell": "us-east-2a"}, set()),
        ({"account": "acme"}, {"northwind-prod", "second"}),
        ({"version": "2.0.0"}, {"second"}),
        ({"kind": "shared"}, {"second"}),
        ({"provider": "local"}, set()),
        ({"locked": "yes"}, {"second"}),
        ({"locked": "no"}, {"northwind-prod"}),
        ({"tenant": "umb-key"}, {"second"}),
        ({"health": "nonsense"}, set()),
    ],
)
def test_filters(
    world: World, as_user: Callable[..., Client], query: dict[str, object], found: set[str]
) -> None:
    second = make_instance(
        "second", cell=world.cell, kind="shared", version="2.0.0", health="failing", locked_reason="audit"
    )
    place(make_tenant("umb-key", name="Umbrella"), second)
    assert names(as_user(world.operator), **query) == found


def test_selection_is_the_list(world: World) -> None:
    make_instance("second", cell=world.cell, health="failing")
    rows = selections.select("instance", world.operator, QueryDict("health=failing"))
    assert [row.name for row in rows] == ["second"]
    with pytest.raises(ValueError, match="Status"):
        selections.select("instance", world.operator, QueryDict("health=nonsense"))


def test_a_tenant_is_named_where_there_is_one(world: World, as_user: Callable[..., Client]) -> None:
    text = as_user(world.operator).get(LIST).content.decode()
    assert "Northwind" in text


def test_csv_holds_what_the_list_shows(world: World, as_user: Callable[..., Client]) -> None:
    response = as_user(world.operator).get(LIST, {"_export": "csv"})
    lines = b"".join(response.streaming_content).decode().splitlines()
    assert lines[0] == "Status,Instance,Version,Tenants,Cell,Account,Kind,Since"
    assert lines[1].startswith("Well,northwind-prod,1.0.0,1,eu-west-1a,acme,Dedicated,")
    assert len(lines) == 2


def test_list_queries_do_not_grow(
    world: World, as_user: Callable[..., Client], queries: Callable[..., int]
) -> None:
    client = as_user(world.operator)
    few = queries(lambda: client.get(LIST))
    tenant = make_tenant("many")
    for number in range(20):
        place(tenant, make_instance(f"i-{number}", cell=world.cell))
    assert queries(lambda: client.get(LIST)) == few
    assert few <= 12


def test_page_queries_do_not_grow(
    world: World, as_user: Callable[..., Client], queries: Callable[..., int]
) -> None:
    client, url = as_user(world.operator), reverse("fleet:instance", args=[world.one.pk])
    few = queries(lambda: client.get(url))
    for number in range(20):
        place(make_tenant(f"t-{number}"), world.one)
    for number in range(3):
        running(
            world.one, world.operator, state="succeeded", lease_until=None, finished_at=timezone.now(),
            idempotency_key=f"n{number}",
        )  # fmt: skip
    assert queries(lambda: client.get(url)) == few
    assert few <= 12


def test_actions_are_those_that_fit_and_are_allowed(world: World, as_user: Callable[..., Client]) -> None:
    def offered(user: object) -> set[str]:
        text = as_user(user).get(reverse("fleet:instance", args=[world.one.pk])).content.decode()
        kinds = ("start", "stop", "restart", "deploy", "diagnose")
        return {kind for kind in kinds if reverse("operations:act", args=[kind, world.one.pk]) in text}

    assert offered(world.operator) == {"stop", "restart", "deploy", "diagnose"}
    assert offered(world.viewer) == set()
    world.one.health = world.one.wanted = "stopped"
    with as_system():
        world.one.save()
    assert offered(world.operator) == {"start", "deploy", "diagnose"}
    world.one.locked_reason = "month's end"
    with as_system():
        world.one.save()
    assert offered(world.operator) == {"diagnose"}


def test_a_notice_tells_what_runs(world: World, as_user: Callable[..., Client]) -> None:
    running(world.one, world.operator, step=1)
    text = as_user(world.viewer).get(reverse("fleet:instance", args=[world.one.pk])).content.decode()
    assert "Restart by olga" in text
    assert "step 2 of 3" in text


def test_live_part_says_nothing_until_something_changed(world: World, as_user: Callable[..., Client]) -> None:
    client = as_user(world.operator)
    for name in ("fleet:instance", "fleet:instance_live"):
        url = reverse(name, args=[world.one.pk])
        first = client.get(url, headers={"HX-Request": "true"})
        token = first.context["head"].token
        again = client.get(url, {"token": token}, headers={"HX-Request": "true"})
        assert (again.status_code, again.content) == (204, b"")
    running(world.one, world.operator)
    assert client.get(url, {"token": token}, headers={"HX-Request": "true"}).status_code == 200


def test_live_part_is_the_part_of_the_page(world: World, as_user: Callable[..., Client]) -> None:
    client, url = as_user(world.operator), reverse("fleet:instance", args=[world.one.pk])
    part = squeezed(client.get(url, headers={"HX-Request": "true"}).content.decode())
    assert part in squeezed(client.get(url).content.decode())
    live = squeezed(client.get(reverse("fleet:instance_live", args=[world.one.pk])).content.decode())
    tab = client.get(reverse("fleet:instance_timeline", args=[world.one.pk])).content.decode()
    assert live in squeezed(tab)


def test_logs_are_read_and_the_reading_is_recorded_once(
    world: World, as_user: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Fake:
        def logs(self, target: object, *, limit: int = 200, after: str = "") -> LogPage:
            return LogPage([LogLine(timezone.now(), "info", f"hello after {after or 'nothing'}")], "c2")

    monkeypatch.setattr(providers, "get", lambda name: Fake())
    client = as_user(world.operator)
    assert (
        "hello after nothing"
        in client.get(reverse("fleet:instance_log_page", args=[world.one.pk])).content.decode()
    )
    entry = AuditEntry.objects.get(event="read")
    assert (entry.actor_id, entry.object_id) == (world.operator.pk, world.one.pk)
    answer = client.get(reverse("fleet:instance_logs", args=[world.one.pk]), {"after": "c1"}).json()
    assert (answer["lines"][0]["message"], answer["cursor"], answer["error"]) == ("hello after c1", "c2", "")
    assert AuditEntry.objects.filter(event="read").count() == 1


def test_a_provider_that_fails_is_told(
    world: World, as_user: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def logs(self, target: object, **kwargs: object) -> LogPage:
            raise ProviderUnavailable("the disk is away; mount it")

    monkeypatch.setattr(providers, "get", lambda name: Broken())
    client = as_user(world.operator)
    answer = client.get(reverse("fleet:instance_logs", args=[world.one.pk]), {"after": "c1"}).json()
    assert answer == {"cursor": "c1", "error": "the disk is away; mount it", "lines": []}
    assert (
        "the disk is away"
        in client.get(reverse("fleet:instance_log_page", args=[world.one.pk])).content.decode()
    )


def test_charts_show_rates_and_a_restart_is_no_fall(world: World, as_user: Callable[..., Client]) -> None:
    now = timezone.now()
    for back, requests, cpu in ((60, 100, 10), (45, 250, 13), (30, 30, 1.5)):
        Measurement.objects.create(
            instance=world.one,
            at=now - timedelta(seconds=back),
            requests=requests,
            errors=0,
            cpu=cpu,
            memory=2**20,
        )
    url = reverse("fleet:instance_metrics", args=[world.one.pk])
    answer = as_user(world.operator).get(url, {"range": "15m", "only": "requests"}).json()
    (series,) = answer["series"]
    assert [value for _, value in series["points"]] == [10.0, 2.0]
    assert (series["label"], series["unit"]) == ("Requests", "/s")


def test_operations_are_marked_in_charts(world: World, as_user: Callable[..., Client]) -> None:
    operation = running(world.one, world.operator)
    answer = as_user(world.operator).get(reverse("fleet:instance_metrics", args=[world.one.pk])).json()
    assert [mark["label"] for mark in answer["marks"]] == ["Restart"]
    assert answer["marks"][0]["url"] == reverse("operations:operation", args=[operation.pk])


def test_simulated_instances_say_that_they_keep_no_metrics(
    world: World, as_user: Callable[..., Client]
) -> None:
    text = as_user(world.operator).get(reverse("fleet:instance_charts", args=[world.one.pk])).content.decode()
    assert "Simulated instances keep no measurements" in text


def test_a_bundle_holds_its_parts_and_taking_it_is_recorded(
    world: World, as_user: Callable[..., Client]
) -> None:
    with as_system():
        bundle = Diagnostics.objects.create(
            instance=world.one, operation_id=7, parts={"open files": "none", "logs": "a line"}, size=10
        )
    client = as_user(world.operator)
    response = client.get(reverse("fleet:diagnostics", args=[bundle.pk, "txt"]))
    assert b"=== open files ===\nnone" in response.content
    assert (
        response.headers["Content-Disposition"] == 'attachment; filename="northwind-prod-diagnostics-7.txt"'
    )
    assert client.get(reverse("fleet:diagnostics", args=[bundle.pk, "zip"])).content[:2] == b"PK"
    assert AuditEntry.objects.filter(event="read", actor=world.operator).count() == 2
    page = client.get(reverse("fleet:instance_diagnostics", args=[world.one.pk])).content.decode()
    assert reverse("fleet:diagnostics", args=[bundle.pk, "zip"]) in page
