"""What people, files and clicks do that nobody meant: books that would break every page, sums that would move silently."""

from __future__ import annotations

import csv
import io
import threading
from datetime import date
from decimal import Decimal
from shutil import rmtree
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.urls import reverse
from openpyxl import load_workbook

from apps.access.services import system_actor
from apps.cost import invoices, metering, rulebook, store, watching
from apps.cost.models import (
    Anomaly,
    Commitment,
    Discount,
    MonthlyUsage,
    Price,
    Rate,
    Revenue,
    Run,
    Statement,
    Usage,
)
from apps.cost.queries import revenue
from apps.tenants.models import Tenant
from tests import factories
from tests.cost.bills import add_rules, as_csv, deliver, lines, rules_of, statement_total, sums
from tests.cost.conftest import tagged

pytestmark = pytest.mark.django_db(transaction=True)
SEPTEMBER = date(2026, 9, 1)


class TestPricesThatNobodyMeant:
    @pytest.mark.parametrize(
        "tiers", ["more: Infinity", "more: NaN", "NaN: 1, more: 1", "more: 1e400", "Infinity: 1, more: 2", "more: sNaN"]
    )  # fmt: skip
    def test_they_are_refused_by_the_book(self, reader: Client, fleet: dict[str, Any], tiers: str) -> None:
        """One that was let in would break every page that reckons."""
        keeper = keeper_of_books()
        data = {
            "plan": str(fleet["acme"].subscriptions.get().plan_id), "meter": "requests", "currency": "EUR",
            "starts_on": "2026-01-01", "tiers": tiers,
        }  # fmt: skip
        assert keeper.post(reverse("cost:add_entry", args=["prices"]), data).status_code == 422
        assert not Price.objects.exists()

    @pytest.mark.parametrize(
        "tiers", ["more: Infinity", "NaN: 1", "more: 1e400", "5: 1", "9: 1, 5: 2, more: 1"]
    )
    def test_the_lab_says_so_and_shows_what_counts(
        self, reader: Client, fleet: dict[str, Any], tiers: str
    ) -> None:
        with factories.as_system():
            price = Price.objects.create(
                plan=fleet["acme"].subscriptions.get().plan, meter="requests", currency="EUR", starts_on=date(2026, 1, 1),
                tiers=[{"up_to": None, "price": "0.1"}],
            )  # fmt: skip
        metering.import_usage(
            b"day,tenant,meter,amount\n2026-09-01,acme,requests,9\n", "u.csv", actor=system_actor("command")
        )
        response = reader.get(reverse("cost:lab"), {f"tier_{price.pk}": tiers})
        assert response.status_code == 200 and "tier" in response.content.decode().lower()
        assert 'class="error"' in response.content.decode()

    def test_amounts_as_large_as_may_be_brought_are_reckoned_to_the_cent(self, fleet: dict[str, Any]) -> None:
        with factories.as_system():
            Price.objects.create(
                plan=fleet["acme"].subscriptions.get().plan, meter="requests", currency="EUR", starts_on=date(2026, 1, 1),
                tiers=[{"up_to": None, "price": "999999999.99"}],
            )  # fmt: skip
        for day in ("2026-09-01", "2026-09-02"):
            metering.import_usage(
                f"day,tenant,meter,amount\n{day},acme,requests,999999999999999999\n".encode(), "u.csv", actor=system_actor("command")
            )  # fmt: skip
        user = factories.make_user(superuser=True)
        found = revenue.book(user, [SEPTEMBER], "EUR").earned()
        exact = Decimal("1999999999999999998") * 999_999_999 + 100
        assert found[fleet["acme"].pk, SEPTEMBER] > exact
        client = Client()
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        assert client.get(reverse("cost:margins")).status_code == 200

    def test_the_database_refuses_a_discount_over_all(self) -> None:
        tenant = factories.make_tenant("acme")
        for percent in (101, 0, -5):
            with pytest.raises(IntegrityError), factories.as_system(), transaction.atomic():
                Discount.objects.bulk_create([Discount(tenant=tenant, percent=percent, starts_on=SEPTEMBER)])
        with pytest.raises(IntegrityError), factories.as_system(), transaction.atomic():
            Commitment.objects.bulk_create(
                [Commitment(tenant=tenant, currency="EUR", monthly_minimum=-1, starts_on=SEPTEMBER)]
            )


def keeper_of_books() -> Client:
    user = factories.make_user("keeper", superuser=True)
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


class TestDoubledClicks:
    @pytest.mark.parametrize(
        ("book", "data", "model"),
        [
            ("discounts", {"tenant": "acme", "percent": "10", "starts_on": "2026-09-01"}, Discount),
            ("commitments", {"tenant": "acme", "monthly_minimum": "10", "currency": "EUR", "starts_on": "2026-09-01"}, Commitment),
        ],
    )  # fmt: skip
    def test_an_agreement_is_added_once(
        self, fleet: dict[str, Any], book: str, data: dict[str, str], model: Any
    ) -> None:
        """Two of the same would look like one, and stay when one is taken out."""
        keeper = keeper_of_books()
        url = reverse("cost:add_entry", args=[book])
        assert [keeper.post(url, data).status_code for _ in range(2)] == [302, 422]
        assert model.objects.count() == 1

    def test_invoices_that_are_brought_twice_at_once_are_there_once(self, fleet: dict[str, Any]) -> None:
        data = b"id,tenant,start,end,currency,amount\n1,acme,2026-09-01,2026-10-01,EUR,5\n"
        failed = at_once(lambda: invoices.import_revenue(data, "csv", "r.csv", actor=system_actor("command")))
        assert failed == [] and Revenue.objects.count() == 1

    def test_two_looks_at_once_tell_each_anomaly_once(self, fleet: dict[str, Any]) -> None:
        for month, before in ((7, "1"), (8, "1"), (9, "1")):
            start, end = f"2026-0{month}-01 00:00:00", f"2026-{month + 1:02}-01 00:00:00"
            period = {"BillingPeriodStart": start, "BillingPeriodEnd": end}
            rows = []
            for day in range(1, 29):
                at = f"2026-0{month}-{day:02}"
                amount = "900" if (month, day) == (9, 27) else before
                rows += tagged(
                    amount,
                    "acme",
                    ChargePeriodStart=f"{at} 01:00:00",
                    ChargePeriodEnd=f"{at} 02:00:00",
                    **period,
                )
            deliver(as_csv(rows), name=f"{month}.csv")
        assert at_once(watching.look_for_anomalies) == []
        assert Anomaly.objects.filter(day=date(2026, 9, 27)).count() == 1


def at_once(work: Any) -> list[Exception]:
    """The same four times at once; gives what was raised."""
    start, failed = threading.Barrier(4), list[Exception]()

    def run() -> None:
        try:
            start.wait()
            with factories.as_system():
                work()
        except Exception as error:  # noqa: BLE001  (the test asks which)
            failed.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return failed


class TestBillsThatNobodyMeant:
    def test_a_bill_of_a_part_of_a_period_does_not_take_out_the_rest(self) -> None:
        deliver(as_csv(lines("10", "20")), name="whole.csv")
        part = deliver(as_csv(lines("10", BillingPeriodEnd="2026-09-16 00:00:00")), name="part.csv")
        assert part.state == "refused" and "period.shorter" in rules_of(part)
        assert statement_total() == 30

    def test_a_bill_that_reaches_further_corrects_the_former(self) -> None:
        deliver(as_csv(lines("10", BillingPeriodEnd="2026-09-16 00:00:00")), name="part.csv")
        whole = deliver(as_csv(lines("10", "20")), name="whole.csv")
        assert whole.state == "imported" and statement_total() == 30
        assert Statement.objects.filter(is_current=True).count() == 1

    def test_credits_that_are_more_than_the_rest_are_shared_and_lost_nowhere(self) -> None:
        for key in ("acme", "globex", "umbrella"):
            factories.make_tenant(key)
        deliver(as_csv([*lines("-100", "0.000000000000000001", ServiceName="Support"), *tagged("5", "acme")]))
        add_rules({"kind": "evenly", "service": "Support"}, {"kind": "tag", "tag": "t"})
        assert sum(sums("tenant").values()) == statement_total() == Decimal("-94.999999999999999999")
        assert Run.objects.get(is_current=True).unallocated == 0


class TestSharesOfTenantsThatWent:
    def test_their_part_is_not_moved_to_others_silently(self) -> None:
        """A key that names nobody any more: the pool stays unallocated, and is shown as that, until the rule is mended."""
        acme, _ = factories.make_tenant("acme"), factories.make_tenant("globex")
        bill = deliver(as_csv(lines("8")))
        add_rules({"kind": "shares", "shares": {"acme": 3, "globex": 1}})
        assert sums("tenant__key") == {"acme": 6, "globex": 2}
        with factories.as_system():
            Tenant.objects.filter(key="globex").update(key="globex-renamed")
            rulebook.allocate_again(bill)
        assert sums("tenant__key") == {None: 8}
        assert Run.objects.get(is_current=True).unallocated == 8
        assert acme.pk


def test_a_bill_whose_file_is_gone_keeps_no_other_from_the_new_rules(
    caplog: pytest.LogCaptureFixture,
) -> None:
    factories.make_tenant("acme")
    gone = deliver(as_csv(tagged("3", "acme")))
    deliver(as_csv(tagged("5", "acme", BillingAccountId="payer-2")))
    rmtree(store.folder_of(gone.digest))
    add_rules({"kind": "tag", "tag": "t"})
    assert sums("tenant__key") == {"acme": 5, None: 3}
    assert f"bill {gone} could not be allocated" in caplog.text


class TestExports:
    NAME = "=cmd|' /C calc'!A0"

    @pytest.fixture
    def evil(self) -> Client:
        factories.make_tenant("evil", name=self.NAME + "\x0b")
        deliver(as_csv(tagged("3", "evil", ServiceName="@SUM(1)\x01", SubAccountName="+1", ResourceId="-1")))
        add_rules({"kind": "tag", "tag": "t"})
        with factories.as_system():
            Rate.objects.create(currency="USD", into="EUR", day=SEPTEMBER, rate=1)
        user = factories.make_user("fay")
        factories.grant(user, "finance")
        client = Client()
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        return client

    @pytest.mark.parametrize("name", ["breakdown", "heavy", "margins", "units", "lab", "unallocated"])
    def test_no_cell_is_a_formula_of_somebodys(self, evil: Client, name: str) -> None:
        query = {"by": "tenant", "then": "service", "per": "component"}
        sheet = evil.get(reverse(f"cost:{name}"), query | {"_export": "xlsx"})
        assert sheet.status_code == 200
        page = load_workbook(io.BytesIO(sheet.content)).active
        assert page is not None
        formulas = [c.value for row in page.iter_rows() for c in row if c.data_type == "f"]
        assert all(str(one).startswith("=SUM(") for one in formulas)
        text = evil.get(reverse(f"cost:{name}"), query | {"_export": "csv"}).content.decode()
        for row in csv.reader(io.StringIO(text)):
            assert not [cell for cell in row if cell[:1] in "=+@\t\r" and cell], row

    def test_a_workbook_that_cannot_hold_all_rows_says_so(
        self, evil: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for most, says in ((1, True), (2, False)):
            monkeypatch.setattr("apps.cost.exporting.MOST_ROWS", most)
            deliver(
                as_csv([*tagged("3", "evil"), *tagged("4", "evil", ServiceName="S3")]), name=f"{most}.csv"
            )
            sheet = evil.get(reverse("cost:breakdown"), {"by": "service", "_export": "xlsx"})
            page = load_workbook(io.BytesIO(sheet.content)).active
            assert page is not None
            texts = [str(c.value) for row in page.iter_rows() for c in row]
            assert any("the CSV has all of them" in one for one in texts) == says


class TestLab:
    def test_a_discount_on_all_is_off_what_each_pays_and_not_off_the_list(
        self, reader: Client, fleet: dict[str, Any]
    ) -> None:
        """acme has agreed on 80 where the plan's price is 100: ten per cent less is 72."""
        with factories.as_system():
            fleet["acme"].subscriptions.update(monthly_price=80)
        assert tried(reader, discount="10") == {"Acme": 72, "Globex": 90, "Umbrella": 90}

    def test_a_price_is_tried_in_the_plans_currency(self, reader: Client, fleet: dict[str, Any]) -> None:
        """Who pays in dollars, half a euro each, would pay the price tried, which is in euro."""
        with factories.as_system():
            fleet["globex"].subscriptions.update(currency="USD")
        plan = fleet["acme"].subscriptions.get().plan_id
        prices = tried(reader, **{f"price_{plan}": "60", "currency": "EUR"})
        assert prices == {"Acme": 60, "Globex": 60, "Umbrella": 60}


def tried(client: Client, **query: str) -> dict[str, Decimal]:
    text = client.get(reverse("cost:lab"), query | {"_export": "csv"}).content.decode()
    return {row["Tenant"]: Decimal(row["Revenue tried"]) for row in csv.DictReader(io.StringIO(text))}


class TestWhatIsMendedByHand:
    def test_usage_that_is_mended_in_the_admin_is_what_prices_are_reckoned_by(
        self, fleet: dict[str, Any]
    ) -> None:
        metering.import_usage(
            b"day,tenant,meter,amount\n2026-09-01,acme,requests,9\n", "u.csv", actor=system_actor("command")
        )
        keeper, row = keeper_of_books(), Usage.objects.get()
        data = {
            "fix_reason": "it was counted twice", "day": "2026-09-01", "driver": "requests", "tenant": str(row.tenant_id), "amount": "4",
        }  # fmt: skip
        assert keeper.post(reverse("admin:cost_usage_change", args=[row.pk]), data).status_code == 302
        assert MonthlyUsage.objects.get().amount == 4
        moved = data | {"day": "2026-08-01"}
        assert keeper.post(reverse("admin:cost_usage_change", args=[row.pk]), moved).status_code == 302
        assert MonthlyUsage.objects.get().month == date(2026, 8, 1)
        gone = {"fix_reason": "it was never there", "post": "yes"}
        assert keeper.post(reverse("admin:cost_usage_delete", args=[row.pk]), gone).status_code == 302
        assert not Usage.objects.exists() and not MonthlyUsage.objects.exists()


class TestScopes:
    def test_why_a_cost_is_out_of_the_ordinary_tells_no_usage_of_elsewhere(
        self, holder: Any, reader: Client, fleet: dict[str, Any]
    ) -> None:
        """Usage is of a tenant, wherever it was: who holds an account is told the cost in it, and no more."""
        Anomaly.objects.create(
            day=SEPTEMBER, tenant=fleet["acme"], account=fleet["here"], service="EC2", currency="USD", amount=9, expected=1, score=9,
            why="9.0 times the usual cost; requests were 7.7 times the usual",
        )  # fmt: skip
        url = reverse("cost:anomalies")
        account, tenant = holder("account", fleet["here"]), holder("tenant", fleet["acme"])
        for query in ({}, {"_export": "csv"}):
            told = account.get(url, query).content.decode()
            assert "9.0 times the usual cost" in told and "7.7" not in told
            for client in (tenant, reader):
                assert "7.7 times" in client.get(url, query).content.decode()

    def test_how_many_statements_wait_is_for_who_sees_all(
        self, holder: Any, reader: Client, fleet: dict[str, Any]
    ) -> None:
        rulebook.add_rule(actor=system_actor("command"), kind="overhead")
        draft = rulebook.draft(actor=system_actor("command"))
        rulebook.activate(draft, actor=system_actor("command"), note="x y z")
        url = reverse("cost:overview")
        assert "still counted by former rules" in reader.get(url).content.decode()
        assert (
            "still counted by former rules" not in holder("account", fleet["here"]).get(url).content.decode()
        )


class TestRates:
    def test_of_both_directions_on_one_day_the_one_that_was_asked_for_counts(self) -> None:
        """From dollars to euro there is a rate: that of euro to dollars is not turned round."""
        with factories.as_system():
            Rate.objects.create(currency="USD", into="EUR", day=SEPTEMBER, rate="0.5")
            Rate.objects.create(currency="EUR", into="USD", day=SEPTEMBER, rate="4")
        assert revenue.rates_by_month("EUR", [SEPTEMBER])[SEPTEMBER]["USD"] == Decimal("0.5")
        assert revenue.rates_by_month("USD", [SEPTEMBER])[SEPTEMBER]["EUR"] == 4

    def test_a_price_with_a_bad_tier_is_told_in_the_form(self) -> None:
        with pytest.raises(ValidationError):
            Price(
                plan=factories.make_plan(), meter="cpu", currency="EUR", starts_on=SEPTEMBER, tiers=[{"up_to": None, "price": "Infinity"}]
            ).full_clean()  # fmt: skip
