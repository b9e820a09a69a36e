"""Idle and oversized instances, dedicated or shared, what if it moved: figures that explain themselves, nothing is changed."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from apps.access.services import system_actor
from apps.audit.models import AuditEntry
from apps.cost import instances, metering
from apps.cost.models import InstanceCost, InstanceDay, Price, Rate, Statement
from apps.cost.queries import idle, moving, placing
from apps.cost.queries.revenue import rates_by_month
from apps.cost.usage import count_usage
from apps.fleet.models import Measurement, Placement
from tests import factories
from tests.cost.bills import add_rules, as_csv, deliver, lines
from tests.cost.conftest import tagged

pytestmark = pytest.mark.django_db(transaction=True)
SEPTEMBER = date(2026, 9, 1)
EUR = {SEPTEMBER: {"EUR": Decimal(1), "USD": Decimal("0.5")}}


def on(instance: str, amount: str, tenant: str = "") -> list[dict[str, str]]:
    resource = {"ResourceId": f"arn:aws:ec2:1:vm/{instance}"}
    return tagged(amount, tenant, **resource) if tenant else lines(amount, **resource)


@pytest.fixture
def placed() -> dict[str, Any]:
    """Two dedicated instances of 20 and 30 euro, a shared one of 50 with three tenants."""
    cells = factories.make_cell("cell-a"), factories.make_cell("cell-b")
    made: dict[str, Any] = {"cells": cells}
    for name, kind in (("acme-own", "dedicated"), ("big-own", "dedicated"), ("pool", "shared")):
        made[name] = factories.make_instance(name, cell=cells[kind == "shared"], kind=kind)
    for key, instance in (
        ("acme", "acme-own"),
        ("big", "big-own"),
        ("globex", "pool"),
        ("umbrella", "pool"),
        ("tiny", "pool"),
    ):
        made[key] = factories.make_tenant(key)
        factories.place(made[key], made[instance])
    deliver(
        as_csv(
            [
                *on("acme-own", "40", "acme"),
                *on("big-own", "60", "big"),
                *on("POOL", "60", "globex"),
                *on("pool", "40"),
                *lines("7"),
            ]
        )
    )
    add_rules({"kind": "tag", "tag": "t"})
    used = {"acme": 10, "big": 1000, "globex": 60, "umbrella": 30, "tiny": 10}
    text = "day,tenant,meter,amount\n" + "".join(
        f"2026-09-01,{key},requests,{n}\n" for key, n in used.items()
    )
    metering.import_usage(text.encode(), "u.csv", actor=system_actor("command"))
    with factories.as_system():
        Rate.objects.create(currency="USD", into="EUR", day=SEPTEMBER, rate="0.5")
    instances.count_instances()
    return made


def root() -> Any:
    return factories.make_user(superuser=True)


class TestCounting:
    def test_lines_that_name_an_instance_are_its_cost_and_nothing_is_lost(
        self, placed: dict[str, Any]
    ) -> None:
        found = dict(InstanceCost.objects.values_list("instance__name", "billed"))
        assert found == {"acme-own": 40, "big-own": 60, "pool": 100, None: 7}
        assert sum(found.values()) == Statement.objects.get(is_current=True).billed

    def test_a_statement_is_counted_once_and_a_corrected_one_anew(self, placed: dict[str, Any]) -> None:
        assert instances.count_instances() == 0
        deliver(as_csv(on("acme-own", "44", "acme")), name="corrected.csv")
        assert instances.count_instances() == 1
        costs = idle.instance_costs(root(), SEPTEMBER, EUR, set())
        assert costs == {placed["acme-own"].pk: 22}

    def test_a_bill_that_names_no_instance_is_not_read_again_and_again(self) -> None:
        deliver(as_csv(lines("3")))
        assert [instances.count_instances(), instances.count_instances()] == [1, 0]

    def test_days_are_counted_from_measurements_and_forgotten(self, placed: dict[str, Any]) -> None:
        for minute, requests, cpu, memory in ((0, 100, 5, 10), (30, 400, 6, 30), (60, 20, 1, 20)):
            at = datetime(2026, 9, 5, 12, tzinfo=UTC) + timedelta(minutes=minute)
            Measurement.objects.create(
                instance=placed["pool"], at=at, requests=requests, cpu=cpu, memory=memory
            )
        count_usage(date(2026, 9, 5))
        count_usage(date(2026, 9, 5))
        one = InstanceDay.objects.get()
        assert (one.seconds, one.requests, one.cpu, one.memory) == (3600, 320, 2, 30)
        assert instances.forget_days(date(2026, 12, 3)) == 0 and instances.forget_days(date(2026, 12, 5)) == 1


def did(instance: Any, *, requests: float, cpu: float, days: int = 3, hours: float = 20) -> None:
    for n in range(days):
        InstanceDay.objects.create(
            day=date(2026, 9, 10) + timedelta(days=n),
            instance=instance,
            seconds=hours * 3600,
            requests=requests,
            cpu=cpu,
            memory=1,
        )


class TestIdle:
    def found(self) -> idle.Idle:
        return idle.idle(root(), SEPTEMBER, rates_by_month("EUR", [SEPTEMBER]))

    def test_idle_by_both_thresholds(self, placed: dict[str, Any]) -> None:
        did(placed["acme-own"], requests=100, cpu=50)
        did(placed["big-own"], requests=100, cpu=5_000)
        did(placed["pool"], requests=100_000, cpu=5_000)
        found = self.found()
        assert [(one.name, one.verdict, one.cost) for one in found.rows] == [("acme-own", "Idle", 20)]
        assert (found.measured, found.unmeasured, found.of("Idle")) == (3, 0, (1, 20))

    def test_oversized_is_dear_for_what_it_does(self, placed: dict[str, Any]) -> None:
        did(placed["acme-own"], requests=10_000, cpu=400)
        did(placed["big-own"], requests=10_000, cpu=40_000)
        did(placed["pool"], requests=10_000, cpu=60_000)
        assert [(one.name, one.verdict) for one in self.found().rows] == [("acme-own", "Oversized")]

    def test_what_was_not_measured_long_enough_is_not_judged(self, placed: dict[str, Any]) -> None:
        did(placed["acme-own"], requests=0, cpu=0, days=1)
        found = self.found()
        assert (found.rows, found.measured, found.unmeasured) == ([], 0, 3)

    def test_an_idle_instance_that_no_line_names_has_no_cost_not_zero(self, placed: dict[str, Any]) -> None:
        did(factories.make_instance("unbilled"), requests=0, cpu=0)
        assert self.found().rows[0].cost is None

    def test_the_page_and_its_csv(self, reader: Client, placed: dict[str, Any]) -> None:
        did(placed["acme-own"], requests=100, cpu=50)
        html = reader.get(reverse("cost:idle")).content.decode()
        assert "acme-own" in html and 'title="20 EUR"' in html and "Nothing is stopped here" in html
        rows = list(
            csv.DictReader(io.StringIO(reader.get(reverse("cost:idle"), {"_export": "csv"}).content.decode()))
        )
        assert rows[0]["Instance"] == "acme-own" and Decimal(rows[0]["Cost"]) == 20

    def test_a_tenants_holder_sees_its_own_instance_and_no_shared_one(
        self, holder: Any, placed: dict[str, Any]
    ) -> None:
        for name in ("acme-own", "big-own", "pool"):
            did(placed[name], requests=0, cpu=0)
        assert [one.name for one in self.found().rows] == ["pool", "big-own", "acme-own"]
        url = reverse("cost:idle")
        mine = holder("tenant", placed["acme"]).get(url).content.decode()
        assert "acme-own" in mine and "big-own" not in mine and "pool" not in mine
        assert "acme-own" not in holder("tenant", placed["globex"]).get(url).content.decode()
        there = holder("account", placed["cells"][1].region.account).get(url).content.decode()
        assert "pool" in there and "big-own" not in there and 'title="110 EUR"' not in there


class TestAdvice:
    def advice(self) -> dict[str, placing.Advice]:
        _, rows = placing.advice(root(), SEPTEMBER, EUR, "requests")
        return {one.key: one for one in rows}

    def test_figures_say_why(self, placed: dict[str, Any]) -> None:
        """The pool costs half a euro a request; a dedicated instance 25, the median."""
        found = self.advice()
        acme, big, globex, umbrella = (found[key] for key in ("acme", "big", "globex", "umbrella"))
        assert (acme.verdict, acme.cost, acme.other, acme.saves) == ("Share", 20, 5, 15)
        assert (big.verdict, big.cost, big.other) == ("Stay", 30, 500)
        assert (globex.verdict, globex.cost, globex.other) == ("Its own", 30, 25)
        assert "60% of the requests on pool, among 3 tenants; its part is 1.2 times" in globex.why
        assert (umbrella.verdict, umbrella.cost) == ("Stay", 15)

    def test_parts_of_a_shared_instance_are_the_instance(self, placed: dict[str, Any]) -> None:
        found = self.advice()
        assert sum(found[key].cost or 0 for key in ("globex", "umbrella", "tiny")) == 50

    def test_a_plan_that_promises_an_instance_is_kept(self, placed: dict[str, Any]) -> None:
        with factories.as_system():
            placed["acme"].subscriptions.update(plan=factories.make_plan("Premium", is_dedicated=True))
        one = self.advice()["acme"]
        assert one.verdict == "Stay" and "its plan promises" in one.why

    def test_what_is_not_known_is_not_guessed(self, placed: dict[str, Any]) -> None:
        stranger = factories.make_tenant("stranger")
        factories.place(stranger, factories.make_instance("unbilled"))
        silent = factories.make_tenant("silent")
        factories.place(silent, placed["pool"])
        found = self.advice()
        assert found["stranger"].verdict == "Not known" and "no line" in found["stranger"].why
        assert found["silent"].verdict == "Not known" and "no meter of requests" in found["silent"].why

    def test_page_csv_and_whom_it_is_for(self, reader: Client, holder: Any, placed: dict[str, Any]) -> None:
        html = reader.get(reverse("cost:placing")).content.decode()
        assert "Its own" in html and "tenant=globex" in html
        text = reader.get(reverse("cost:placing"), {"_export": "csv"}).content.decode()
        assert {row["Tenant"]: row["Advice"] for row in csv.DictReader(io.StringIO(text))}["Acme"] == "Share"
        for name in ("placing", "move"):
            assert (
                holder("tenant", placed["acme"] if name == "move" else placed["big"])
                .get(reverse(f"cost:{name}"))
                .status_code
                == 403
            )


class TestMove:
    def ask(self, tenant: str, to: str = "", **more: str) -> moving.Move:
        return moving.what_if(root(), SEPTEMBER, "EUR", moving.Question(tenant, to, **more))

    def test_from_its_own_to_the_pool(self, placed: dict[str, Any]) -> None:
        made = self.ask("acme", "pool")
        assert made.tenant.before.cost == 20 and made.tenant.cost == Decimal("4.545454545455")
        assert made.tenant.margin == 100 - made.tenant.cost
        assert made.company == -20, "its own instance would be taken down"
        assert {one.before.name for one in made.others} == {"Globex", "Umbrella", "Tiny"}
        rise = sum(one.change for one in made.others) + made.tenant.change
        assert abs(rise - made.company) < Decimal("1e-9"), "what tenants pay changes by what the company does"
        assert any("€\xa020.00" in step for step in made.steps)

    def test_from_the_pool_to_its_own(self, placed: dict[str, Any]) -> None:
        made = self.ask("globex")
        assert made.tenant.change == -5 and made.company == 25
        assert {one.before.name: one.change for one in made.others} == {
            "Umbrella": Decimal("22.5"),
            "Tiny": Decimal("7.5"),
        }

    @pytest.mark.parametrize(
        ("tenant", "to", "words"),
        [
            ("ghost", "pool", "is on no instance"), ("acme", "nowhere", "no instance “nowhere”"), ("acme", "acme-own", "already"),
            ("acme", "big-own", "dedicated to another"),
        ],
    )  # fmt: skip
    def test_what_cannot_be(self, placed: dict[str, Any], tenant: str, to: str, words: str) -> None:
        with pytest.raises(moving.NotKnown, match=words):
            self.ask(tenant, to)

    def test_a_tenant_without_the_meter_gets_no_share_of_nothing(self, placed: dict[str, Any]) -> None:
        silent = factories.make_tenant("silent")
        factories.place(silent, placed["pool"])
        with pytest.raises(moving.NotKnown, match="no such meter"):
            self.ask("silent")

    def test_the_page_moves_nobody(self, reader: Client, placed: dict[str, Any]) -> None:
        before = list(Placement.objects.order_by("pk").values_list("tenant", "instance"))
        url = reverse("cost:move")
        html = reader.get(url, {"tenant": "acme", "to": "pool"}).content.decode()
        assert 'title="4.545454545455 EUR"' in html and "How it is reckoned" in html
        assert "no instance “x”" in reader.get(url, {"tenant": "acme", "to": "x"}).content.decode()
        assert reader.get(url).status_code == 200
        assert list(Placement.objects.order_by("pk").values_list("tenant", "instance")) == before

    def test_it_is_exported_as_it_is_shown(self, reader: Client, placed: dict[str, Any]) -> None:
        query = {"tenant": "acme", "to": "pool"}
        page = reader.get(reverse("cost:move"), query).content.decode()
        assert "_export=csv" in page and "_export=xlsx" in page
        response = reader.get(reverse("cost:move"), query | {"_export": "csv"})
        rows = list(csv.DictReader(io.StringIO(response.content.decode())))
        assert rows[0]["Tenant"] == "Acme" and len(rows) == 4
        assert Decimal(rows[0]["Would be"]) == Decimal("4.545454545455")
        assert all(Decimal(row["Cost"]) + Decimal(row["Change"]) == Decimal(row["Would be"]) for row in rows)
        assert AuditEntry.objects.filter(object_repr__startswith="export of cost:move").count() == 1
        assert reader.get(reverse("cost:move"), query | {"_export": "xlsx"}).content[:2] == b"PK"

    def test_what_cannot_be_answered_is_told_and_not_exported(
        self, reader: Client, placed: dict[str, Any]
    ) -> None:
        response = reader.get(reverse("cost:move"), {"tenant": "ghost", "_export": "csv"})
        assert (
            response["Content-Type"].startswith("text/html")
            and "is on no instance" in response.content.decode()
        )
        assert not AuditEntry.objects.filter(object_repr__startswith="export of cost:move").exists()

    def test_who_may_not_export_gets_none(self, placed: dict[str, Any]) -> None:
        user = factories.make_user("sees")
        factories.grant(user, factories.make_role("sees-cost", ["view", "see_cost"]).name)
        client = Client()
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        query = {"tenant": "acme", "to": "pool"}
        assert client.get(reverse("cost:move"), query).status_code == 200
        assert client.get(reverse("cost:move"), query | {"_export": "csv"}).status_code == 403


@pytest.mark.parametrize("name", ["idle", "placing", "move"])
def test_queries_are_few_and_do_not_grow(reader: Client, placed: dict[str, Any], name: str) -> None:
    with factories.as_system():
        Price.objects.create(
            plan=factories.make_plan(), meter="requests", currency="EUR", starts_on=SEPTEMBER, tiers=[{"up_to": None, "price": "1"}]
        )  # fmt: skip
    counts = []
    for first, last in ((0, 2), (2, 50)):
        for n in range(first, last):
            tenant = factories.make_tenant(f"t{n}")
            factories.place(tenant, placed["pool"])
            made = factories.make_instance(f"i{n}")
            factories.place(tenant, made)
            did(made, requests=0, cpu=0)
        query = {"tenant": "acme", "to": "pool"}
        assert reader.get(reverse(f"cost:{name}"), query).status_code == 200
        with CaptureQueriesContext(connection) as captured:
            reader.get(reverse(f"cost:{name}"), query)
        counts.append(len(captured))
    assert counts[0] == counts[1] <= 15, [q["sql"][:100] for q in captured]


@pytest.mark.parametrize("name", ["idle", "placing", "move"])
def test_without_a_bill_it_says_what_to_do(reader: Client, name: str) -> None:
    assert "Import a bill" in reader.get(reverse(f"cost:{name}")).content.decode()
