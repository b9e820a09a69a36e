"""Days out of the ordinary, budgets and forecasts."""

from __future__ import annotations

import json
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.alerts.models import Signal
from apps.core.models import Event
from apps.cost import forecasting, watching
from apps.cost.models import Anomaly, Budget, Usage
from tests import factories
from tests.cost.bills import add_rules, as_csv, deliver, lines

FIRST = date(2026, 8, 3)  # a Monday


class TestArithmetic:
    def test_one_odd_week_does_not_move_what_is_usual(self) -> None:
        expected, score = forecasting.judge(30, [10, 10, 11, 9, 500, 10, 10, 10])
        assert expected == 10 and forecasting.is_out(30, expected, score)

    def test_what_moves_is_not_out(self) -> None:
        expected, score = forecasting.judge(14, [8, 12, 15, 6, 10, 13, 7, 11])
        assert not forecasting.is_out(14, expected, score)

    def test_cents_are_not_told(self) -> None:
        assert not forecasting.is_out(0.5, *forecasting.judge(0.5, [0.1] * 8))

    def test_weekends_are_known_by_the_forecast(self) -> None:
        days = {
            FIRST + timedelta(days=n): (2.0 if (FIRST + timedelta(days=n)).weekday() >= 5 else 10.0)
            for n in range(42)
        }
        found = forecasting.month_end(days, date(2026, 10, 1))
        assert found is not None and found.last_day == date(2026, 9, 13) and found.days_left == 17
        rest = [date(2026, 9, 14) + timedelta(days=n) for n in range(17)]
        assert found.expected == found.so_far + sum(2.0 if day.weekday() >= 5 else 10.0 for day in rest)
        assert found.low == found.high == found.expected, "nothing ever moved"

    @settings(deadline=None)
    @given(st.lists(st.floats(0, 1000), min_size=1, max_size=60))
    def test_the_interval_holds_the_forecast_and_a_month_that_is_over_is_what_it_was(
        self, values: list[float]
    ) -> None:
        days = {FIRST + timedelta(days=n): value for n, value in enumerate(values)}
        last = max(days)
        end = (last.replace(day=28) + timedelta(days=7)).replace(day=1)
        found = forecasting.month_end(days, end)
        assert found is not None and found.low <= found.expected <= found.high
        whole = forecasting.month_end(
            dict.fromkeys((date(2026, 9, 1) + timedelta(days=n) for n in range(30)), 1.0), date(2026, 10, 1)
        )
        assert whole is not None and whole.expected == whole.so_far == 30 and not whole.days_left


def bill(days: int, amount: str, last: str, **more: str) -> None:
    """A bill for each month, with one line of `amount` a day for acme and `last` on the last day."""
    by_month: dict[str, list[dict[str, str]]] = {}
    for n in range(days):
        day = FIRST + timedelta(days=n)
        following = (day.replace(day=28) + timedelta(days=7)).replace(day=1)
        by_month.setdefault(f"{day:%Y-%m}", []).extend(
            lines(
                last if n == days - 1 else amount, Tags=json.dumps({"t": "acme"}), ChargePeriodStart=f"{day} 00:00:00",
                ChargePeriodEnd=f"{day + timedelta(days=1)} 00:00:00", BillingPeriodStart=f"{day:%Y-%m}-01 00:00:00",
                BillingPeriodEnd=f"{following} 00:00:00", **more,
            )
        )  # fmt: skip
    for some in by_month.values():
        assert deliver(as_csv(some)).state == "imported"


@pytest.mark.django_db(transaction=True)
class TestAnomalies:
    @pytest.fixture
    def odd(self) -> Any:
        tenant = factories.make_tenant("acme")
        add_rules({"kind": "tag", "tag": "t"})
        bill(50, "10", "40")
        for n in range(8):
            Usage.objects.create(
                day=FIRST + timedelta(days=49 - 7 * n),
                driver="requests",
                tenant=tenant,
                amount=300 if n == 0 else 100,
            )
        watching.look()
        return tenant

    def test_a_day_out_of_the_ordinary_with_what_moved_and_once(self, odd: Any) -> None:
        watching.look()
        found = Anomaly.objects.get()
        assert (found.day, found.amount, found.expected) == (FIRST + timedelta(days=49), 40, 10)
        assert "4.0 times the usual cost" in found.why and "requests were 3.0 times the usual" in found.why

    def test_another_account_shows_nothing_of_it(self, odd: Any) -> None:
        user, other = factories.make_user("here"), factories.make_account("other")
        factories.grant(user, "finance", "account", other)
        client = Client()
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        assert "requests were" not in client.get(reverse("cost:anomalies")).content.decode()
        everything = factories.make_user("all")
        factories.grant(everything, "finance")
        client.force_login(everything, backend="django.contrib.auth.backends.ModelBackend")
        assert "requests were" in client.get(reverse("cost:anomalies")).content.decode()

    def test_three_weeks_say_nothing(self) -> None:
        factories.make_tenant("acme")
        add_rules({"kind": "tag", "tag": "t"})
        bill(20, "10", "400")
        watching.look()
        assert not Anomaly.objects.exists()


@pytest.mark.django_db(transaction=True)
class TestBudgets:
    def budget(self, amount: str, **more: Any) -> Budget:
        with factories.as_system():
            return Budget.objects.create(name=f"B{amount}", currency="USD", amount=amount, **more)

    def state(self, budget: Budget) -> str:
        budget.refresh_from_db()
        return budget.state

    def test_over_likely_within_each_told_once(self) -> None:
        factories.make_tenant("acme")
        bill(42, "10", "10")  # until 13 September: 130, 300 by its end
        budgets = [self.budget(amount) for amount in ("100", "200", "400")]
        for _ in range(2):
            watching.look()
        assert [self.state(one) for one in budgets] == ["over", "likely", "within"]
        assert Signal.objects.filter(source_name="budgets", state="firing").count() == 2
        assert Event.objects.filter(kind="budget.turned").count() == 2
        with factories.as_system():
            Budget.objects.filter(pk=budgets[0].pk).update(amount=Decimal(1000))
        watching.look()
        assert self.state(budgets[0]) == "within"
        assert Signal.objects.filter(source_name="budgets", state="resolved").count() == 1

    def test_of_a_service_and_of_an_account(self) -> None:
        here = factories.make_account("here", cloud="aws", external_id="sub-1")
        bill(42, "10", "10")
        mine = self.budget("100", account=here)
        other = self.budget("101", service="S3")
        watching.look()
        assert (self.state(mine), self.state(other)) == ("over", "within")
