"""Cost of goods, margin and unit cost by group, month and cohort: groups add up to tenants, no meter is not zero."""

from __future__ import annotations

import csv
import io
import random
from datetime import date
from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from apps.access.services import system_actor
from apps.cost import metering
from apps.cost.models import (
    MonthlyCost,
    Price,
    ProductComponent,
    Rate,
    Revenue,
    Run,
    SubAccount,
    TenantCost,
)
from apps.cost.pricing import ZERO
from apps.cost.queries import courses, margins, units
from apps.cost.queries.converting import TINY, runs_of
from apps.cost.queries.cutting import cut_up
from apps.cost.queries.revenue import rates_by_month
from tests import factories
from tests.cost.bills import add_rules, as_csv, deliver
from tests.cost.conftest import tagged

pytestmark = pytest.mark.django_db(transaction=True)
SEPTEMBER = date(2026, 9, 1)
REQUESTS = units.METERS[0]
PAGES = ("units", "months", "cohorts")


def use(text: str) -> None:
    metering.import_usage(f"day,tenant,meter,amount\n{text}".encode(), "u.csv", actor=system_actor("command"))


def found(by: str, months: Any = (SEPTEMBER,), user: Any = None) -> units.Units:
    user = user or factories.make_user(superuser=True)
    return units.units(user, list(months), "EUR", by)


def amounts(made: units.Units) -> dict[str, tuple[Decimal, Decimal]]:
    return {one.label: (one.cost.normalize(), one.revenue.normalize()) for one in made.rows}


@pytest.mark.parametrize("by", list(units.GROUPINGS))
def test_groups_add_up_to_all_tenants(fleet: dict[str, Any], by: str) -> None:
    use("2026-09-01,acme,requests,500\n2026-09-01,umbrella,seats,2\n")
    made, whole = found(by), margins.margins(factories.make_user(superuser=True), [SEPTEMBER], "EUR")[0]
    assert sum(one.cost for one in made.rows) == made.total.cost == whole.cost == 280
    assert sum(one.revenue for one in made.rows) == made.total.revenue == whole.revenue == 300
    assert made.total.tenants == len(whole.rows) == 3
    cost = {row.name: row.cost for row in whole.rows}
    used = {name: (one.tenants, one.amount, one.cost) for name, one in made.total.metered.items()}
    assert used == {"requests": (1, 500, cost["Acme"]), "seats": (1, 2, cost["Umbrella"])}


def test_where_cost_and_revenue_lie(fleet: dict[str, Any]) -> None:
    """Half of each dollar; the 3 of support lie in `there`, one for each."""
    by_cell = amounts(found("cell"))
    assert by_cell["cell-here"][1] == 100 and by_cell["cell-there"][1] == 200
    assert by_cell["cell-here"][0] == 19
    by_account = amounts(found("account"))
    assert by_account["here"][0] == 15 and by_account["there"][0] == 265
    assert by_account["here"][1] < 100, "acme's revenue follows its cost into both accounts"
    assert amounts(found("plan")) == {"Basic": (280, Decimal("3E+2"))}


def test_a_tenant_on_instances_of_two_cells_counts_in_parts(fleet: dict[str, Any]) -> None:
    factories.place(fleet["acme"], factories.make_instance("acme-two", cell=fleet["cells"][1]))
    use("2026-09-01,acme,requests,100\n")
    made = {one.label: one for one in found("cell").rows}
    assert made["cell-here"].revenue == 50
    assert made["cell-here"].of(REQUESTS).amount == made["cell-there"].of(REQUESTS).amount == 50


def test_a_component_is_known_by_the_book_else_by_service(fleet: dict[str, Any]) -> None:
    with factories.as_system():
        ProductComponent.objects.create(name="Compute", service="EC2", tag="t")
        ProductComponent.objects.create(name="Never", service="EC2", sub_account="sub-1", position=2)
    made = {one.label: one for one in found("component").rows}
    assert set(made) == {"Compute", "S3", "Support"}
    assert made["Compute"].cost == 275 and made["Compute"].note == "by the book: service “EC2”, tag “t”"
    assert made["S3"].cost == Decimal("3.5") and made["S3"].note == "the bill's service"


def test_no_meter_is_not_zero(fleet: dict[str, Any]) -> None:
    use("2026-09-01,acme,requests,500\n2026-09-02,acme,requests,500\n2026-09-01,umbrella,requests,0\n")
    made = {one.label: one for one in found("tenant").rows}
    acme, globex, umbrella = (made[name].of(REQUESTS) for name in ("Acme", "Globex", "Umbrella"))
    assert acme.per(1000) == 19
    assert (globex.tenants, globex.per(1000)) == (0, None), "no meter"
    assert (umbrella.tenants, umbrella.per(1000)) == (1, None), "nothing used"
    plan = found("plan").rows[0].of(REQUESTS)
    assert plan.tenants == 2 and plan.cost < 50, "globex's cost is not divided by the others' requests"


def test_what_is_held_costs_by_the_month(fleet: dict[str, Any]) -> None:
    """Two months of ten seats are twenty months of a seat; a month without the meter leaves the tenant out."""
    use("2026-08-05,acme,seats,10\n2026-09-01,acme,seats,10\n2026-09-01,globex,seats,10\n")
    made = {one.label: one for one in found("tenant", (date(2026, 8, 1), SEPTEMBER)).rows}
    assert made["Acme"].of(units.METERS[1]).amount == 20
    assert made["Globex"].of(units.METERS[1]).tenants == 0


def test_two_rates_convert_each_month_by_its_own(fleet: dict[str, Any]) -> None:
    august = {"BillingPeriodStart": "2026-08-01 00:00:00", "BillingPeriodEnd": "2026-09-01 00:00:00",
              "ChargePeriodStart": "2026-08-05 03:00:00", "ChargePeriodEnd": "2026-08-05 04:00:00"}  # fmt: skip
    deliver(as_csv(tagged("10", "acme", **august)), name="august.csv")
    with factories.as_system():
        Rate.objects.create(currency="USD", into="EUR", day=date(2026, 8, 1), rate="0.9")
    made = found("component", (date(2026, 8, 1), SEPTEMBER))
    assert made.total.cost == Decimal("289") == sum(one.cost for one in made.rows)


@pytest.mark.parametrize("by", list(units.GROUPINGS))
@pytest.mark.parametrize("tried", [None, "invoiced"])
def test_what_has_no_rate_is_left_out_and_named(fleet: dict[str, Any], by: str, tried: Any) -> None:
    with factories.as_system():
        Rate.objects.all().delete()
        for n, (currency, amount) in enumerate((("CHF", 7), ("USD", 9), ("EUR", 40))):
            Revenue.objects.create(
                source="csv", line=str(n), customer="acme", tenant=fleet["acme"], month=SEPTEMBER, currency=currency, amount=amount
            )  # fmt: skip
    made = units.units(factories.make_user(superuser=True), [SEPTEMBER], "EUR", by, tried=tried)
    assert made.missing == (["CHF", "USD"] if tried else ["USD"])
    assert (made.total.cost, made.total.revenue) == (0, 40 if tried else 300)


@pytest.mark.parametrize("seed", range(3))
def test_cut_by_the_database_as_by_hand(fleet: dict[str, Any], seed: int) -> None:
    """Any facts, to the last digit: below nothing, of nothing, with more digits than are kept, of tenants in every range."""
    drawn = random.Random(seed)
    run = Run.objects.filter(is_current=True).latest("pk")
    tenants = [factories.make_tenant(f"cut-{n}") for n in range(11)]
    given, whole = costs_of(run, tenants, drawn)
    metered = tenants[::3]
    use("".join(f"2026-09-01,{one.key},requests,{n + 1}\n" for n, one in enumerate(metered)))
    with factories.as_system():
        MonthlyCost.objects.filter(run=run).delete()
        TenantCost.objects.filter(run=run).delete()
        MonthlyCost.objects.bulk_create(given)
        TenantCost.objects.bulk_create(whole)
    made = found("component")
    all_of_them = margins.margins(factories.make_user(superuser=True), [SEPTEMBER], "EUR")[0]
    assert (made.total.cost, made.total.revenue) == (all_of_them.cost, all_of_them.revenue)
    assert made.total.tenants == len(all_of_them.rows)
    expected: dict[str, units.Unit] = {}
    for row in all_of_them.rows:
        for part, (cost, revenue) in by_hand(row, given).items():
            one = expected.setdefault(part, units.Unit(part, part))
            one.tenants, one.cost, one.revenue = one.tenants + 1, one.cost + cost, one.revenue + revenue
            for n, tenant in enumerate(metered):
                if tenant.pk == row.tenant_id:
                    its = one.metered.setdefault("requests", units.Metered())
                    its.amount, its.cost, its.tenants = its.amount + n + 1, its.cost + cost, its.tenants + 1
    told = {one.key: (one.tenants, one.cost, one.revenue, one.metered) for one in made.rows}
    assert told == {one.key: (one.tenants, one.cost, one.revenue, one.metered) for one in expected.values()}


@pytest.mark.parametrize("earning", [(), (2,), (1, 2), (0,), (0, 1, 2)])
def test_who_earns_nothing_is_cut_up_once(fleet: dict[str, Any], earning: tuple[int, ...]) -> None:
    """Of fewer tenants that earn than there are ranges, and with others before, between and behind them."""
    tenants = [fleet[one] for one in ("acme", "globex", "umbrella")]
    user = factories.make_user(superuser=True)
    runs = runs_of([SEPTEMBER], rates_by_month("EUR", [SEPTEMBER]))
    revenue = {tenants[one].pk: Decimal(one + 1) for one in earning}
    facts = MonthlyCost.objects.annotate(part=F("account_id"))
    made = list(cut_up(user, facts, runs, revenue, [SEPTEMBER], ["requests"]))
    assert sum(one.cost for one in made) == 280
    assert sum(one.revenue for one in made) == sum(revenue.values())
    assert sum(one.tenants for one in made if one.is_largest) == 3


@pytest.mark.parametrize(
    "billed", ["0.000000000001", "0.000000000003", "-0.000000000001", "99999999999999999999"]
)
def test_a_tenant_is_rounded_as_its_parts_are(fleet: dict[str, Any], billed: str) -> None:
    """Half a unit of what is kept goes the same way by either reading, and no sum has too many digits to be told."""
    deliver(as_csv(tagged(billed, "acme")))
    user = factories.make_user(superuser=True)
    rows = margins.margins(user, [SEPTEMBER], "EUR")[0].rows
    assert sum(one.cost for one in rows) == found("account", user=user).total.cost != 0


def costs_of(
    run: Run, tenants: list[Any], drawn: random.Random
) -> tuple[list[MonthlyCost], list[TenantCost]]:
    """Of each tenant some services' costs, and their sum; of the first none."""
    sub = SubAccount.objects.latest("pk")
    given, whole = [], []
    for tenant in tenants[1:]:
        mine = []
        for service in drawn.sample(["a", "b", "c", "d"], drawn.randint(1, 4)):
            billed = drawn.choice([ZERO, Decimal(drawn.randint(-(10**20), 10**21)).scaleb(-18)])
            sums = dict.fromkeys(("billed", "effective", "listed"), billed)
            rest = {"sub_account": sub, "service": service, "currency": "USD", "lines": 1}
            mine.append(MonthlyCost(run=run, tenant=tenant, **sums, **rest))
        given += mine
        total = dict.fromkeys(("billed", "effective", "listed"), sum((one.billed for one in mine), ZERO))
        whole.append(TenantCost(run=run, tenant=tenant, currency="USD", **total))
    return given, whole


def by_hand(row: margins.Margin, given: list[MonthlyCost]) -> dict[str, tuple[Decimal, Decimal]]:
    """A tenant's parts: what they cost at half a euro a dollar, and what they earn."""
    exact = {one.service: one.billed / 2 for one in given if one.tenant_id == row.tenant_id} or {"": ZERO}
    order = sorted(exact, key=lambda part: (-exact[part], part))
    weights = {part: max(exact[part], ZERO) for part in order}
    total = sum(weights.values())
    with localcontext(prec=60, rounding=ROUND_HALF_UP):
        cost = {part: exact[part].quantize(TINY) for part in order}
        earned = {
            part: (row.revenue * weights[part] / total if total else row.revenue / len(order)).quantize(TINY)
            for part in order
        }
        cost[order[0]] += row.cost - sum(cost.values())
        earned[order[0]] += row.revenue - sum(earned.values())
    return {part: (cost[part], earned[part]) for part in order}


@given(
    st.decimals(-(10**6), 10**6, places=12),
    st.dictionaries(st.text(max_size=2), st.decimals(-100, 100, places=6), min_size=1, max_size=6),
)
def test_a_split_loses_nothing(amount: Decimal, weights: dict[str, Decimal]) -> None:
    made = units.split(amount, weights)
    assert sum(made.values()) == amount and list(made) == list(weights)


class TestMonths:
    def test_each_month_is_what_margins_say(self, fleet: dict[str, Any]) -> None:
        use("2026-09-01,acme,requests,1000\n")
        user = factories.make_user(superuser=True)
        made = courses.course(user, [date(2026, 8, 1), SEPTEMBER], "EUR", REQUESTS)
        august, september = made.months
        whole = margins.margins(user, [SEPTEMBER], "EUR")[0]
        assert (september.cost, september.revenue) == (whole.cost, whole.revenue)
        assert (august.cost, august.revenue, august.used) == (0, 300, None)
        assert (september.metered, september.tenants) == (1, 3)
        assert september.per(1000).quantize(Decimal("0.001")) == 19

    def test_a_currency_without_a_rate_is_named(self, fleet: dict[str, Any]) -> None:
        with factories.as_system():
            Rate.objects.all().delete()
        made = courses.course(factories.make_user(superuser=True), [SEPTEMBER], "EUR", REQUESTS)
        assert made.missing == ["USD"] and made.months[0].cost == 0


class TestCohorts:
    def test_by_the_month_of_the_first_subscription(self, fleet: dict[str, Any]) -> None:
        with factories.as_system():
            fleet["globex"].subscriptions.update(starts_on=date(2026, 9, 1))
            fleet["umbrella"].subscriptions.update(starts_on=date(2026, 3, 5), ends_on=date(2026, 8, 31))
        made = courses.cohorts(factories.make_user(superuser=True), [date(2026, 8, 1), SEPTEMBER], "EUR")
        rows = {one.start: one for one in made.rows}
        assert list(rows) == [date(2026, 9, 1), date(2026, 3, 1), date(2026, 1, 1)]
        assert rows[date(2026, 3, 1)].left == 1 and rows[date(2026, 9, 1)].left == 0
        new = rows[SEPTEMBER]
        assert (new.revenue, new.cost.quantize(Decimal("0.01"))) == (100, Decimal("250.5"))
        assert SEPTEMBER in new.months and date(2026, 8, 1) not in new.months
        total = margins.margins(factories.make_user(superuser=True), [date(2026, 8, 1), SEPTEMBER], "EUR")[0]
        assert sum(one.revenue for one in made.rows) == total.revenue
        assert abs(sum(one.cost for one in made.rows) - total.cost) < Decimal("1e-10")


class TestPages:
    def page(self, client: Client, name: str, **query: str) -> str:
        response = client.get(reverse(f"cost:{name}"), query)
        assert response.status_code == 200
        return response.content.decode()

    @pytest.mark.parametrize("by", list(units.GROUPINGS))
    def test_each_grouping_has_its_page_and_says_how_it_is_known(
        self, reader: Client, fleet: dict[str, Any], by: str
    ) -> None:
        html = self.page(reader, "units", per=by)
        assert 'title="280 EUR"' in html and units.GROUPINGS[by][1] in html.replace("&#x27;", "'")
        assert "No meter told anything" in html

    @pytest.mark.parametrize("name", PAGES)
    def test_without_a_bill_it_says_what_to_do(self, reader: Client, name: str) -> None:
        assert "Import a bill" in self.page(reader, name)

    @pytest.mark.parametrize("name", PAGES)
    def test_who_may_not_see_cost_is_refused(self, fleet: dict[str, Any], name: str) -> None:
        user = factories.make_user("vera")
        factories.grant(user, "viewer")
        client = Client()
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        assert client.get(reverse(f"cost:{name}")).status_code == 403

    def test_the_meter_is_told_on_the_page(self, reader: Client, fleet: dict[str, Any]) -> None:
        use("2026-09-01,acme,requests,1000\n")
        html = self.page(reader, "units", per="tenant")
        assert html.count("no meter") == 2 and 'title="19 EUR"' in html
        assert "1 of 3" in self.page(reader, "months")

    @pytest.mark.parametrize("show", list(courses.SHOWS))
    def test_cohorts_show_what_is_asked(self, reader: Client, fleet: dict[str, Any], show: str) -> None:
        assert "Jan 2026" in self.page(reader, "cohorts", show=show)

    @pytest.mark.parametrize("name", PAGES)
    def test_as_csv_and_excel(self, reader: Client, fleet: dict[str, Any], name: str) -> None:
        url = reverse(f"cost:{name}")
        rows = list(csv.DictReader(io.StringIO(reader.get(url, {"_export": "csv"}).content.decode())))
        assert abs(sum(Decimal(row["Cost"]) for row in rows) - 280) < Decimal("1e-9")
        assert reader.get(url, {"_export": "xlsx"}).content[:2] == b"PK"

    @pytest.mark.parametrize("name", PAGES)
    def test_queries_are_few_and_do_not_grow(self, reader: Client, name: str) -> None:
        add_rules({"kind": "tag", "tag": "t"})
        with factories.as_system():
            Price.objects.create(
                plan=factories.make_plan(), meter="requests", currency="EUR", starts_on=SEPTEMBER, tiers=[{"up_to": None, "price": "1"}]
            )  # fmt: skip
        counts = []
        for first, last in ((0, 2), (2, 50)):
            for n in range(first, last):
                factories.place(factories.make_tenant(f"t{n}"), factories.make_instance(f"i{n}"))
            deliver(as_csv([line for n in range(last) for line in tagged("5", f"t{n}", ServiceName=f"S{n}")]))
            by_page = []
            for by in units.GROUPINGS if name == "units" else ("plan",):
                self.page(reader, name, per=by)
                with CaptureQueriesContext(connection) as captured:
                    self.page(reader, name, per=by)
                by_page.append(len(captured))
            counts.append(by_page)
        assert counts[0] == counts[1] and max(counts[1]) <= 15, counts
