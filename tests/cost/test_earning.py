"""Who loses money and why, the scatter of cost against revenue, the Pareto of both."""

from __future__ import annotations

import csv
import io
import re
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from apps.access.services import system_actor
from apps.cost import metering
from apps.cost.models import Discount
from apps.cost.queries import margins, reasons, scatter
from apps.cost.queries.margins import Margin, Margins
from tests import factories
from tests.cost.bills import as_csv, deliver
from tests.cost.conftest import tagged

pytestmark = pytest.mark.django_db(transaction=True)
SEPTEMBER = date(2026, 9, 1)


def row(pk: int, revenue: str, cost: str) -> Margin:
    return Margin(pk, f"t{pk}", "Basic", 1, Decimal(revenue), Decimal(cost))


def why(tenant: str) -> reasons.Reason:
    user = factories.make_user(superuser=True)
    found = margins.margins(user, [SEPTEMBER], "EUR")[0]
    return next(one for one in reasons.reasons(user, [SEPTEMBER], found.losing) if one.row.name == tenant)


class TestReasons:
    def test_a_price_that_is_too_low(self, fleet: dict[str, Any]) -> None:
        one = why("Globex")
        assert one.cause == "Price" and "its cost is 2.5 times its price" in one.why
        assert "EC2 is 100% of its cost" in one.why

    def test_a_discount_without_which_it_would_not_lose(self, fleet: dict[str, Any]) -> None:
        with factories.as_system():
            Discount.objects.create(tenant=fleet["umbrella"], percent=95, starts_on=date(2026, 1, 1))
        one = why("Umbrella")
        assert one.cause == "Discount" and one.why.startswith("its discount is 95 %, without it")

    def test_a_cost_that_grew(self, fleet: dict[str, Any]) -> None:
        august = {"BillingPeriodStart": "2026-08-01 00:00:00", "BillingPeriodEnd": "2026-09-01 00:00:00",
                  "ChargePeriodStart": "2026-08-05 03:00:00", "ChargePeriodEnd": "2026-08-05 04:00:00"}  # fmt: skip
        deliver(as_csv(tagged("50", "globex", **august)), name="august.csv")
        one = why("Globex")
        assert one.cause == "Growth" and "10.0 times that of before" in one.why

    def test_usage_out_of_the_ordinary(self, fleet: dict[str, Any]) -> None:
        text = "day,tenant,meter,amount\n" + "".join(
            f"2026-09-01,{tenant},requests,{n}\n"
            for tenant, n in (("acme", 10), ("umbrella", 20), ("globex", 400))
        )
        metering.import_usage(text.encode(), "u.csv", actor=system_actor("command"))
        one = why("Globex")
        assert one.cause == "Usage" and "its requests are 20.0 times the usual tenant's" in one.why

    def test_a_tenant_that_pays_nothing(self, fleet: dict[str, Any]) -> None:
        with factories.as_system():
            fleet["umbrella"].subscriptions.all().delete()
        assert why("Umbrella").cause == "No revenue"

    def test_it_stands_on_the_page_and_in_the_csv(self, reader: Client, fleet: dict[str, Any]) -> None:
        assert "What drives it" in reader.get(reverse("cost:margins")).content.decode()
        text = reader.get(reverse("cost:margins"), {"_export": "csv"}).content.decode()
        rows = {one["Tenant"]: one for one in csv.DictReader(io.StringIO(text))}
        assert rows["Globex"]["Loses by"] == "Price" and rows["Acme"]["Why"] == ""


class TestScatter:
    def test_who_loses_lies_above_the_line(self) -> None:
        made = scatter.scatter(
            Margins("EUR", [row(1, "100", "10"), row(2, "10", "100"), row(3, "50", "50")], [])
        )
        assert made is not None
        assert made.earning.count("M") == 2 and made.losing.count("M") == 1
        for dot in made.named:
            across = (dot.x - made.left) / (made.right - made.left)
            up = (made.bottom - dot.y) / (made.bottom - made.top)
            assert (up > across + 1e-9) == dot.loses, dot

    def test_nothing_and_less_lie_on_an_edge(self) -> None:
        made = scatter.scatter(Margins("EUR", [row(1, "0", "10"), row(2, "5", "-3")], []))
        assert made is not None and made.edge == 2
        assert {dot.x for dot in made.named if dot.row.tenant_id == 1} == {made.left}

    def test_without_any_figure_there_is_no_drawing(self) -> None:
        assert scatter.scatter(Margins("EUR", [], [])) is None
        assert scatter.scatter(Margins("EUR", [row(1, "0", "0")], [])) is None

    def test_one_dot_a_tenant_of_five_thousand(self) -> None:
        rows = [row(n, str(n % 977 + 1), str(n % 1013 + 1)) for n in range(5_000)]
        made = scatter.scatter(Margins("EUR", rows, []))
        assert made is not None
        assert made.earning.count("M") + made.losing.count("M") == 5_000
        assert len(made.earning + made.losing) < 100_000

    def test_its_links_are_reached_by_the_keyboard(self, reader: Client, fleet: dict[str, Any]) -> None:
        html = reader.get(reverse("cost:margins")).content.decode()
        drawing = re.search(r'<svg class="scatter".*?</svg>', html, re.S)
        assert drawing and drawing[0].count("<a href=") == 3 and 'aria-label="Globex"' in drawing[0]
        assert "the table below has the same figures" in drawing[0]


def test_pareto_of_revenue_beside_that_of_cost(reader: Client, fleet: dict[str, Any]) -> None:
    found = Margins("EUR", [row(1, "10", "60"), row(2, "30", "40")], [])
    first, last = margins.heavy_hitters(found)
    assert (first.running, first.revenue_running) == (Decimal("0.6"), Decimal("0.25"))
    assert last.running == last.revenue_running == 1
    assert reader.get(reverse("cost:heavy")).content.decode().count("<polyline") == 2
