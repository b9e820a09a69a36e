"""The money's pages: their sums are the bill's, nobody sees a number that includes another's, queries do not grow."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from openpyxl import load_workbook

from apps.access.models import User
from apps.audit.models import AuditEntry
from apps.cost import rulebook
from apps.cost.models import Bill, Rate, Rule, RuleSet, SubAccount
from apps.cost.views import ledgers
from tests import factories
from tests.cost.bills import (
    SAMPLE,
    add_rules,
    as_csv,
    current,
    deliver,
    deliver_sample,
    lines,
    statement_total,
    tenants,
)

pytestmark = pytest.mark.django_db(transaction=True)
PAGES = (
    "overview",
    "breakdown",
    "lines",
    "heavy",
    "margins",
    "lab",
    "unallocated",
    "rules",
    "bills",
    "usage",
    "revenue",
)


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.fixture
def finance() -> Client:
    user = factories.make_user("fiona")
    factories.grant(user, "finance")
    return signed_in(user)


def tagged(amount: str, tenant: str, **more: str) -> list[dict[str, str]]:
    return lines(amount, Tags=json.dumps({"t": tenant}), **more)


def page(client: Client, name: str, *args: Any, **query: str) -> str:
    response = client.get(reverse(f"cost:{name}", args=args), query)
    assert response.status_code == 200, response
    return str(response.content.decode())


def exact_amounts(html: str) -> list[Decimal]:
    """Every amount on a page, with all its digits."""
    return [Decimal(found) for found in re.findall(r'title="(-?[\d.]+) [A-Z]{3}"', html)]


@pytest.fixture
def world() -> dict[str, Any]:
    """Two accounts with a tenant each, a shared pool, something nobody takes."""
    here = factories.make_account("here", cloud="aws", external_id="sub-1")
    there = factories.make_account("there", cloud="aws", external_id="sub-2")
    acme, globex = tenants("acme", "globex")
    two = {"SubAccountId": "sub-2", "SubAccountName": "Sub two"}
    deliver(
        as_csv(
            [
                *tagged("30", "acme"), *tagged("7", "acme", **two), *tagged("500", "globex", **two),
                *lines("4.000000000001", ServiceName="Support"), *lines("0.5", ServiceName="Mystery", **two),
            ]
        )
    )  # fmt: skip
    add_rules({"kind": "tag", "tag": "t"}, {"kind": "evenly", "service": "Support"})
    with factories.as_system():
        Rate.objects.create(currency="USD", into="EUR", day=date(2026, 9, 1), rate="0.5")
    return {"here": here, "there": there, "acme": acme, "globex": globex}


class TestSums:
    def test_every_page_tells_the_sum_of_the_file(self, finance: Client) -> None:
        deliver_sample()
        add_rules({"kind": "tag", "tag": "application"})
        september = Decimal("14.42598547521")
        for name in ("overview", "breakdown", "lines"):
            assert september in exact_amounts(page(finance, name, month="2024-09")), name
        total = sum(exact_amounts(page(finance, "breakdown", month=m))[0] for m in ("2024-09", "2024-10"))
        assert total == statement_total() == Decimal("14.66598547521")

    def test_rows_of_a_breakdown_add_up(self, finance: Client, world: dict[str, Any]) -> None:
        for by, then in (("tenant", "service"), ("day", ""), ("rule", "account"), ("sub_account", "day")):
            html = page(finance, "breakdown", by=by, then=then)
            head, *rows = exact_amounts(html)
            assert head == sum(rows) == Decimal("541.500000000001")

    def test_a_sum_leads_to_its_lines(self, finance: Client, world: dict[str, Any]) -> None:
        html = page(
            finance,
            "lines",
            tenant=str(world["globex"].pk),
            rule=str(Rule.objects.filter(ruleset__state="active", kind="tag").get().pk),
        )
        assert "1 line ·" in html.replace("\xa0", " ") and Decimal(500) in exact_amounts(html)

    def test_a_share_of_a_pool_shows_the_pool_to_who_sees_all(
        self, finance: Client, world: dict[str, Any]
    ) -> None:
        html = page(finance, "lines", tenant=str(world["acme"].pk))
        assert "pool" in html and "shared evenly" in html

    def test_quotes_in_an_address_are_only_text(self, finance: Client, world: dict[str, Any]) -> None:
        assert "No line to show" in page(finance, "lines", service="x' OR 1=1 --")

    def test_what_is_unallocated_with_a_rule_that_would_help(self, finance: Client) -> None:
        tenants("acme")
        deliver(as_csv([*tagged("30", "acme"), *lines("2")]))
        first = page(finance, "unallocated")
        assert "Which rules would help?" in first and 'hx-trigger="load"' in first
        html = page(finance, "unallocated", propose="1")
        assert "tag “t” names the tenant" in html
        assert Decimal(32) in exact_amounts(html) and Decimal(30) in exact_amounts(html)

    def test_without_a_bill_each_page_says_what_to_do(self, finance: Client) -> None:
        for name in PAGES:
            page(finance, name)
        assert "Import a bill" in page(finance, "overview")


class TestEarning:
    def test_margins_by_the_months_rate(self, finance: Client, world: dict[str, Any]) -> None:
        """acme earns 100 EUR and costs 39 USD; globex costs 502 USD, at a half."""
        html = page(finance, "margins")
        assert Decimal("80.5") in exact_amounts(html), (
            "acme: 100 of revenue, 39 and half a unit of cost at a half"
        )
        assert 'id="losing"' in html and "globex".title() in html
        assert "EC2 is 100% of its cost" in html

    def test_without_a_rate_nothing_is_added_up(self, finance: Client, world: dict[str, Any]) -> None:
        with factories.as_system():
            Rate.objects.get().delete()
        html = page(finance, "margins")
        assert "No rate from USD into EUR" in html
        assert Decimal("539") not in exact_amounts(html)

    def test_a_rate_of_later_does_not_count(self, finance: Client, world: dict[str, Any]) -> None:
        with factories.as_system():
            Rate.objects.create(currency="USD", into="EUR", day=date(2026, 10, 1), rate="9")
        assert Decimal("4500") > max(exact_amounts(page(finance, "margins")))

    def test_heavy_hitters_are_in_order(self, finance: Client, world: dict[str, Any]) -> None:
        html = page(finance, "heavy")
        assert html.index("Globex") < html.index("Acme")
        assert "<polyline" in html

    def test_the_lab_changes_no_price(self, finance: Client, world: dict[str, Any]) -> None:
        plan = world["acme"].subscriptions.get().plan
        html = page(finance, "lab", **{f"price_{plan.pk}": "300"})
        assert Decimal(600) in exact_amounts(html)
        assert world["acme"].subscriptions.get().monthly_price == 100
        assert re.search(r"<strong>0</strong><em>was 1</em>", html)

    def test_a_discount_in_the_lab(self, finance: Client, world: dict[str, Any]) -> None:
        assert Decimal(150) in exact_amounts(page(finance, "lab", discount="25"))


class TestScopes:
    def holder(self, kind: str, obj: Any, username: str = "scoped") -> Client:
        user = factories.make_user(username)
        factories.grant(user, "finance", kind, obj)
        return signed_in(user)

    @pytest.mark.parametrize(
        "name", ["overview", "breakdown", "lines", "heavy", "margins", "lab", "revenue", "usage"]
    )
    def test_an_account_shows_no_number_that_includes_another(self, world: dict[str, Any], name: str) -> None:
        """The account `here` holds acme's 30 and the pool of 4.000000000001, which is all its own."""
        html = page(self.holder("account", world["here"]), name)
        own = {
            Decimal(0),
            Decimal(30),
            Decimal("4.000000000001"),
            Decimal("34.000000000001"),
            Decimal("2.000000000001"),
            Decimal("2"),
            Decimal("32.000000000001"),
            Decimal("2.0000000000005"),
            Decimal("32.0000000000005"),
        }
        assert set(exact_amounts(html)) <= own
        assert "Mystery" not in html and "500" not in re.sub(r'href="[^"]*"', "", html)

    @pytest.mark.parametrize(
        "name", ["overview", "breakdown", "lines", "heavy", "margins", "lab", "revenue", "usage"]
    )
    def test_a_tenant_shows_its_own_only(self, world: dict[str, Any], name: str) -> None:
        html = page(self.holder("tenant", world["acme"]), name)
        assert "Globex" not in html and "Mystery" not in html
        assert not {Decimal("4.000000000001"), Decimal(500), Decimal("541.500000000001")} & set(
            exact_amounts(html)
        )
        if name == "breakdown":
            assert exact_amounts(html)[0] == Decimal("39.0000000000005")

    def test_a_tenants_holder_is_shown_no_line_of_a_pool(self, world: dict[str, Any]) -> None:
        html = page(
            self.holder("tenant", world["acme"]), "lines", tenant=str(world["acme"].pk), service="Support"
        )
        assert "No line to show" in html

    @pytest.mark.parametrize("name", ["unallocated", "rules", "bills"])
    def test_what_spans_all_is_for_who_sees_all(self, world: dict[str, Any], name: str) -> None:
        assert self.holder("account", world["here"]).get(reverse(f"cost:{name}")).status_code == 403

    def test_another_tenants_tab_is_not_there(self, world: dict[str, Any]) -> None:
        client = self.holder("tenant", world["acme"])
        assert client.get(reverse("cost:tenant", args=[world["acme"].pk])).status_code == 200
        assert client.get(reverse("cost:tenant", args=[world["globex"].pk])).status_code == 404

    def test_a_viewer_sees_no_tab_and_no_page(self, world: dict[str, Any]) -> None:
        user = factories.make_user("vera")
        factories.grant(user, "viewer")
        client = signed_in(user)
        url = reverse("cost:tenant", args=[world["acme"].pk])
        assert url not in client.get(reverse("tenants:tenant", args=[world["acme"].pk])).content.decode()
        assert client.get(url).status_code == 403
        assert client.get(reverse("cost:overview")).status_code == 403

    def test_books_are_kept_on_everything_only(self, world: dict[str, Any]) -> None:
        client = self.holder("account", world["here"])
        response = client.post(reverse("cost:add_rule"), {"kind": "overhead"})
        assert response.status_code == 403 and not RuleSet.objects.filter(state="draft").exists()


class TestBooksOfEntries:
    @pytest.mark.parametrize(
        ("book", "good", "bad"),
        [
            ("rates", {"currency": "CHF", "into": "EUR", "rate": "1.05", "day": "2026-09-01"}, {"currency": "CHF", "into": "CHF", "rate": "1", "day": "2026-09-01"}),
            ("discounts", {"tenant": "acme", "percent": "10", "starts_on": "2026-09-01"}, {"tenant": "acme", "percent": "101", "starts_on": "2026-09-01"}),
            ("commitments", {"tenant": "acme", "monthly_minimum": "10", "currency": "EUR", "starts_on": "2026-09-01"}, {"tenant": "ghost"}),
            ("budgets", {"name": "All", "amount": "10", "currency": "USD"}, {"name": "All", "amount": "-1", "currency": "USD"}),
            ("prices", {"meter": "cpu", "tiers": "more: 0.1", "currency": "EUR", "starts_on": "2026-09-01"}, {"meter": "cpu", "tiers": "5: 1", "currency": "EUR", "starts_on": "2026-09-01"}),
        ],
    )  # fmt: skip
    def test_an_entry_is_added_once_and_removed(
        self, finance: Client, world: dict[str, Any], book: str, good: dict[str, str], bad: dict[str, str]
    ) -> None:
        plan = {"plan": str(world["acme"].subscriptions.get().plan_id)}
        model = ledgers.BOOKS[book].rows().model
        before = model.objects.count()
        url = reverse("cost:add_entry", args=[book])
        assert finance.post(url, good | plan).status_code == 302
        assert finance.post(url, bad | plan).status_code == 422
        assert finance.post(url, good | plan).status_code == 422, "a doubled click adds nothing"
        assert model.objects.count() == before + 1
        assert finance.get(reverse("cost:ledger", args=[book])).status_code == 200
        newest = model.objects.latest("created_at")
        assert AuditEntry.objects.filter(object_pk=str(newest.pk)).exists()
        remove = reverse("cost:remove_entry", args=[book, newest.pk])
        assert [finance.post(remove).status_code for _ in range(2)] == [302, 404]
        assert model.objects.count() == before

    def test_a_placed_sub_account_is_counted_where_it_belongs(
        self, finance: Client, world: dict[str, Any]
    ) -> None:
        sub = SubAccount.objects.get(external_id="sub-2")
        assert not rulebook.stale()
        data = {"sub": str(sub.pk), "account": str(world["here"].pk), "tenant": ""}
        assert finance.post(reverse("cost:add_entry", args=["sub-accounts"]), data).status_code == 302
        assert rulebook.stale()
        rulebook.allocate_stale()
        assert not rulebook.stale()
        assert set(current().filter(sub_account=sub).values_list("account", flat=True)) == {world["here"].pk}
        assert statement_total() == sum(current().values_list("billed", flat=True))

    def test_an_unknown_book_is_not_there(self, finance: Client) -> None:
        assert finance.get(reverse("cost:ledger", args=["fairy-tales"])).status_code == 404

    def test_a_table_with_a_bad_line_is_told(self, finance: Client, world: dict[str, Any]) -> None:
        file = SimpleUploadedFile("u.csv", b"day,tenant,meter,amount\n2026-09-01,ghost,cpu,1\n")
        response = finance.post(reverse("cost:bring", args=["usage"]), {"table": file})
        assert response.status_code == 422 and "Line 2: there is no tenant" in response.content.decode()

    def test_margins_by_invoices(self, finance: Client, world: dict[str, Any]) -> None:
        file = SimpleUploadedFile(
            "r.csv", b"id,tenant,start,end,currency,amount\n1,acme,2026-09-01,2026-10-01,EUR,77.5\n"
        )
        assert finance.post(reverse("cost:bring", args=["csv"]), {"table": file}).status_code == 302
        assert Decimal("77.5") in exact_amounts(page(finance, "margins", revenue="invoiced"))
        assert Decimal("-22.5") in exact_amounts(page(finance, "revenue"))


class TestExports:
    @pytest.mark.parametrize("name", ["breakdown", "unallocated", "heavy", "margins", "lab"])
    def test_as_csv_and_as_excel(self, finance: Client, world: dict[str, Any], name: str) -> None:
        url = reverse(f"cost:{name}")
        rows = list(csv.reader(io.StringIO(finance.get(url, {"_export": "csv"}).content.decode())))
        book = load_workbook(io.BytesIO(finance.get(url, {"_export": "xlsx"}).content))
        sheet = book.active
        assert sheet is not None
        assert [cell.value for cell in sheet[1]] == rows[0] and len(rows) > 1
        assert any(str(cell.value).startswith("=SUM(") for cell in sheet[len(rows) + 1])
        assert AuditEntry.objects.filter(object_repr__startswith=f"export of cost:{name}").count() == 2

    def test_the_csv_has_every_digit(self, finance: Client, world: dict[str, Any]) -> None:
        text = finance.get(reverse("cost:breakdown"), {"_export": "csv"}).content.decode()
        rows = list(csv.DictReader(io.StringIO(text)))
        assert sum(Decimal(row["Billed"]) for row in rows) == Decimal("541.500000000001")

    def test_a_name_is_no_formula(self, finance: Client) -> None:
        factories.make_tenant("evil", name="=HYPERLINK(1)")
        deliver(as_csv(tagged("3", "evil")))
        add_rules({"kind": "tag", "tag": "t"})
        assert "'=HYPERLINK" in finance.get(reverse("cost:breakdown"), {"_export": "csv"}).content.decode()


class TestBooks:
    def test_a_bill_is_uploaded(self, finance: Client) -> None:
        file = SimpleUploadedFile("focus.csv", SAMPLE.read_bytes())
        response = finance.post(reverse("cost:upload"), {"delivery": file})
        bill = Bill.objects.get()
        assert response["Location"] == reverse("cost:bill", args=[bill.pk])
        assert "waits for a worker" in page(finance, "bill", bill.pk)

    @pytest.mark.parametrize("name", ["bill.pdf", "bill.csv"])
    def test_what_is_no_bill_is_told(self, finance: Client, name: str) -> None:
        content = b"x" if name.endswith("pdf") else b""
        response = finance.post(reverse("cost:upload"), {"delivery": SimpleUploadedFile(name, content)})
        assert response.status_code == 422 and not Bill.objects.exists()

    def test_a_refused_bill_tells_line_and_rule(self, finance: Client) -> None:
        bill = deliver(as_csv([{}, {"BilledCost": "much"}]))
        html = page(finance, "bill", bill.pk)
        assert "value.type" in html and "line 3: much" in html

    def test_rules_from_draft_to_active(self, finance: Client) -> None:
        tenants("acme")
        deliver(as_csv(tagged("30", "acme")))
        finance.post(reverse("cost:add_rule"), {"kind": "tag", "tag": "t"})
        finance.post(reverse("cost:add_rule"), {"kind": "overhead", "place": "1"})
        wrong = Rule.objects.get(ruleset__state="draft", kind="overhead")
        finance.post(reverse("cost:remove_rule", args=[wrong.pk]))
        html = finance.get(reverse("cost:rules"), {"preview": ""}).content.decode()
        assert "What the draft makes of September 2026" in html and Decimal(30) in exact_amounts(html)
        assert finance.post(reverse("cost:activate"), {"note": "by tag"}).status_code == 302
        assert "1 statement still counted by former rules" in page(finance, "rules")
        rulebook.allocate_stale()
        assert "still counted" not in page(finance, "rules")
        assert Decimal(30) in exact_amounts(
            page(
                finance,
                "tenant",
                SubAccount.objects.get().dailycosts.filter(run__is_current=True).get().tenant_id,
            )
        )

    def test_a_bad_rule_says_what_lacks(self, finance: Client) -> None:
        response = finance.post(reverse("cost:add_rule"), {"kind": "tag"})
        assert response.status_code == 422 and "needs it" in response.content.decode()
        for shares in (
            "acme: lots",
            "acme: ²",
            "acme: " + "9" * 5_000,
            '{"a\\u0000": 1}',
            '{"a": NaN}',
            '{"a":' * 20_000,
        ):
            response = finance.post(reverse("cost:add_rule"), {"kind": "shares", "shares": shares})
            assert response.status_code == 422 and "acme: 3" in response.content.decode(), shares[:20]


@pytest.mark.parametrize("name", PAGES)
def test_queries_do_not_grow_and_stay_below_fifteen(finance: Client, name: str) -> None:
    def bills(first: int, last: int) -> None:
        for n in range(first, last):
            factories.make_tenant(f"t{n}")
        deliver(as_csv([line for n in range(last) for line in tagged("5", f"t{n}", ServiceName=f"S{n}")]))

    add_rules({"kind": "tag", "tag": "t"})
    counts = []
    for first, last in ((0, 2), (2, 20)):
        bills(first, last)
        page(finance, name)
        with CaptureQueriesContext(connection) as captured:
            page(finance, name)
        counts.append(len(captured))
    assert counts[1] <= counts[0] + 1, "a tenth bill must not cost another query"
    assert counts[1] <= 15, [q["sql"][:120] for q in captured]
