"""What is charged: tiers, discounts, commitments; usage and revenue that are brought; nothing is lost by spreading."""

from __future__ import annotations

import json
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.access.services import system_actor
from apps.cost import invoices, metering
from apps.cost.models import Commitment, Discount, MonthlyUsage, Price, Revenue, Usage
from apps.cost.pricing import charge, in_words, parse_tiers, spread, tiers_of
from apps.cost.queries import revenue
from apps.cost.queries.revenue import Tried
from apps.cost.tabular import Unreadable
from tests import factories

SEPTEMBER = date(2026, 9, 1)
TIERS = [{"up_to": "100", "price": "0"}, {"up_to": "1000", "price": "0.02"}, {"up_to": None, "price": "0.01"}]
CENTS = st.integers(-(10**9), 10**9).map(lambda cents: Decimal(cents).scaleb(-2))
DAYS = st.dates(date(2020, 1, 1), date(2030, 1, 1))


@pytest.mark.parametrize(
    ("quantity", "amount"), [("0", "0"), ("100", "0"), ("101", "0.02"), ("1000", "18"), ("1500.5", "23.005")]
)
def test_each_unit_costs_what_its_tier_says(quantity: str, amount: str) -> None:
    assert charge(Decimal(quantity), tiers_of(TIERS)) == Decimal(amount)


@settings(deadline=None)
@given(st.decimals(0, 5_000, places=3), st.decimals(0, 5_000, places=3))
def test_more_usage_never_costs_less_and_splitting_at_an_edge_changes_nothing(a: Decimal, b: Decimal) -> None:
    tiers = tiers_of(TIERS)
    assert charge(min(a, b), tiers) <= charge(max(a, b), tiers)
    split = [(Decimal(50), Decimal(0)), *tiers]
    assert charge(a, split) == charge(a, tiers)


def test_tiers_are_read_as_they_are_written() -> None:
    assert parse_tiers(in_words(TIERS)) == TIERS
    with pytest.raises(ValueError, match="no tier"):
        parse_tiers("lots")


@settings(deadline=None)
@given(CENTS, DAYS, st.integers(0, 900))
def test_spreading_loses_no_cent(amount: Decimal, start: date, days: int) -> None:
    parts = spread(amount, start, start + timedelta(days=days))
    assert sum(parts.values()) == amount
    assert all(month.day == 1 for month in parts) and min(parts) == start.replace(day=1)
    assert all(part * amount >= 0 for part in parts.values())


@pytest.mark.django_db
class TestExpected:
    def earned(self, tried: Tried | None = None) -> Decimal:
        user = factories.make_user(superuser=True)
        return sum(revenue.book(user, [SEPTEMBER], "EUR").earned(tried).values(), Decimal(0))

    @pytest.fixture
    def acme(self) -> Any:
        tenant = factories.make_tenant("acme")
        with factories.as_system():
            plan = tenant.subscriptions.get().plan
            Price.objects.create(
                plan=plan, meter="requests", currency="EUR", starts_on=SEPTEMBER, tiers=TIERS
            )
            tenant.subscriptions.update(starts_on=date(2026, 1, 1))
        metering.import_usage(
            b"day,tenant,meter,amount\n2026-09-01,acme,requests,900\n2026-09-02,acme,requests,100\n",
            "u",
            actor=system_actor("command"),
        )
        return tenant

    def test_subscription_and_metered_usage(self, acme: Any) -> None:
        assert self.earned() == Decimal("118")

    def test_a_discount_and_a_commitment(self, acme: Any) -> None:
        with factories.as_system():
            Discount.objects.create(tenant=acme, percent=50, starts_on=SEPTEMBER)
        assert self.earned() == Decimal("59")
        with factories.as_system():
            Commitment.objects.create(tenant=acme, currency="EUR", monthly_minimum=80, starts_on=SEPTEMBER)
        assert self.earned() == Decimal("80")

    def test_a_price_counts_from_its_day_on(self, acme: Any) -> None:
        with factories.as_system():
            Price.objects.update(starts_on=date(2026, 9, 2))
        assert self.earned() == Decimal("100")

    def test_tried_tiers_change_no_price(self, acme: Any) -> None:
        plan = acme.subscriptions.get().plan_id
        tried = Tried(tiers={(plan, "requests"): [(None, Decimal("0.1"))]})
        assert self.earned(tried) == Decimal("200") and self.earned() == Decimal("118")

    @pytest.mark.parametrize(
        "tiers",
        [
            [],
            [{"up_to": "5", "price": "1"}],
            [{"up_to": None, "price": "-1"}],
            "x",
            [{"up_to": "9", "price": "1"}, {"up_to": "5", "price": "1"}, {"up_to": None, "price": "1"}],
        ],
    )
    def test_tiers_that_make_no_sense_are_refused(self, acme: Any, tiers: Any) -> None:
        from django.core.exceptions import ValidationError

        with pytest.raises(ValidationError, match=r"[Tt]ier"):
            Price(
                plan=acme.subscriptions.get().plan,
                meter="cpu",
                currency="EUR",
                starts_on=SEPTEMBER,
                tiers=tiers,
            ).full_clean()


@pytest.mark.django_db
class TestUsage:
    def test_what_is_held_counts_by_its_mean_and_again_changes_nothing(self) -> None:
        factories.make_tenant("acme")
        data = b"day,tenant,meter,amount\n2026-09-01,acme,storage,10\n2026-09-02,acme,storage,20\n2026-09-02,acme,traffic,3\n"
        for _ in range(2):
            assert metering.import_usage(data, "u.csv", actor=system_actor("command")) == 3
        assert dict(MonthlyUsage.objects.values_list("driver", "amount")) == {"storage": 15, "traffic": 3}

    @pytest.mark.parametrize(
        ("line", "says"),
        [
            ("2026-09-01,ghost,cpu,1", "no tenant “ghost”"), ("2026-09-01,acme,coffee,1", "no meter"), ("1.9.2026,acme,cpu,1", "no date"),
            ("2026-09-01,acme,cpu,NaN", "no number"), ("2026-09-01,acme,cpu,-1", "below nothing"), ("2026-09-01,acme,cpu,1e-9", "6 places"),
            ("2026-09-01,acme,cpu", "another number of values"), ("2026-09-01,acme,cpu,1\n2026-09-01,acme,cpu,1", "came before"), ("2026-09-01,acme,cpu,1e30", "too large"),
        ],
    )  # fmt: skip
    def test_one_bad_line_and_nothing_is_taken(self, line: str, says: str) -> None:
        factories.make_tenant("acme")
        data = f"day,tenant,meter,amount\n2026-09-09,acme,cpu,5\n{line}\n".encode()
        with pytest.raises(Unreadable, match=says):
            metering.import_usage(data, "u.csv", actor=system_actor("command"))
        assert not Usage.objects.exists() and not MonthlyUsage.objects.exists()

    @pytest.mark.parametrize(
        "data", [b"", b"day,tenant\n", b"\xff\xfe\x00", b"day,tenant,meter,amount\n", b"a\0b"]
    )
    def test_what_is_no_table_is_told(self, data: bytes) -> None:
        with pytest.raises(Unreadable):
            metering.import_usage(data, "u.csv", actor=system_actor("command"))


def stripe(**more: Any) -> dict[str, Any]:
    line = {
        "id": "il_1",
        "amount": 12000,
        "currency": "eur",
        "description": "Year",
        "period": {"start": 1788220800, "end": 1819756800},
        **more,
    }
    return {
        "object": "list",
        "data": [
            {
                "id": "in_1",
                "status": "paid",
                "customer": "cus_1",
                "lines": {"data": [line], "has_more": False},
            }
        ],
    }


@pytest.mark.django_db
class TestRevenue:
    def bring(self, data: Any, source: str = "stripe") -> int:
        raw = data if isinstance(data, bytes) else json.dumps(data).encode()
        return invoices.import_revenue(raw, source, "x", actor=system_actor("command"))

    def test_a_year_is_spread_over_its_months_and_again_changes_nothing(self) -> None:
        tenant = factories.make_tenant("acme")
        with factories.as_system():
            tenant.external_ids.create(system="stripe", value="cus_1")
        for _ in range(2):
            assert self.bring(stripe()) == 1
        rows = Revenue.objects.filter(tenant=tenant)
        assert rows.count() == 12 and sum(rows.values_list("amount", flat=True)) == 120
        assert rows.get(month=SEPTEMBER).amount == Decimal("9.87")

    def test_a_customer_nobody_knows_waits_for_its_external_id(self) -> None:
        self.bring(stripe())
        assert set(Revenue.objects.values_list("tenant", flat=True)) == {None}
        tenant = factories.make_tenant("acme")
        with factories.as_system():
            tenant.external_ids.create(system="stripe", value="cus_1")
        assert invoices.place_revenue() == 12 and invoices.place_revenue() == 0
        assert Revenue.objects.filter(tenant=tenant).count() == 12

    def test_yen_have_no_smaller_unit(self) -> None:
        self.bring(stripe(currency="jpy"))
        assert sum(Revenue.objects.values_list("amount", flat=True)) == 12000

    def test_columns_of_line_items(self) -> None:
        self.bring(
            b"id,customer,amount,currency,period_start,period_end\nil_9,cus_1,-500,usd,2026-09-01,2026-10-01\n"
        )
        assert Revenue.objects.get().amount == -5

    def test_a_table_by_tenant_key(self) -> None:
        factories.make_tenant("acme")
        self.bring(b"id,tenant,start,end,currency,amount\nr1,acme,2026-09-01,2026-10-01,EUR,12.34\n", "csv")
        assert Revenue.objects.get().amount == Decimal("12.34")
        with pytest.raises(Unreadable, match="no tenant “ghost”"):
            self.bring(
                b"id,tenant,start,end,currency,amount\nr1,ghost,2026-09-01,2026-10-01,EUR,12.34\n", "csv"
            )

    @pytest.mark.parametrize("status", ["draft", "void", "uncollectible"])
    def test_invoices_that_do_not_count(self, status: str) -> None:
        data = stripe()
        data["data"][0]["status"] = status
        assert self.bring(data) == 0 and not Revenue.objects.exists()

    @pytest.mark.parametrize(
        "data",
        [
            b"{}",
            b"[1]",
            b"{",
            stripe(amount="x"),
            stripe(currency="e"),
            stripe(period={"start": 500000, "end": 1}),
            stripe(period={}),
            stripe(amount=float("1e300")),
        ],
    )
    def test_what_cannot_be_taken_is_told_and_changes_nothing(self, data: Any) -> None:
        with pytest.raises(Unreadable):
            self.bring(data)
        assert not Revenue.objects.exists()

    def test_an_invoice_that_is_cut_off_is_refused(self) -> None:
        data = stripe()
        data["data"][0]["lines"]["has_more"] = True
        with pytest.raises(Unreadable, match="more lines"):
            self.bring(data)
