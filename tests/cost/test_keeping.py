"""Expected revenue is kept by month, and what is kept counts only while nothing it was reckoned from has changed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.access.services import system_actor
from apps.cost import keeping, metering
from apps.cost.models import (
    Commitment,
    Discount,
    ExpectedMonth,
    ExpectedRevenue,
    InputChange,
    MonthlyUsage,
    Price,
    Rate,
)
from apps.cost.pricing import months_back
from apps.cost.queries import earned, revenue
from apps.tenants.models import Subscription, Tenant
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)
SEPTEMBER = date(2026, 9, 1)
MONTHS = months_back(SEPTEMBER, 4)
KEYS = ("acme", "globex", "umbrella")


def root() -> Any:
    return factories.make_user(superuser=True)


@pytest.fixture
def books() -> dict[str, Any]:
    """Three tenants on a plan of 100 euro, with a metered price and usage in each of four months."""
    made: dict[str, Any] = {key: factories.make_tenant(key) for key in KEYS}
    with factories.as_system():
        Subscription.objects.update(starts_on=date(2026, 1, 1), monthly_price=100)
        plan = Subscription.objects.first().plan  # type: ignore[union-attr]
        Price.objects.create(
            plan=plan, meter="requests", currency="EUR", starts_on=date(2026, 1, 1), tiers=[{"up_to": None, "price": "0.01"}]
        )  # fmt: skip
        Rate.objects.create(currency="USD", into="EUR", day=date(2026, 1, 1), rate="0.5")
    for month in MONTHS:
        MonthlyUsage.objects.bulk_create(
            MonthlyUsage(month=month, driver="requests", tenant=made[key], amount=100) for key in KEYS
        )
    return made | {"plan": plan, "other": factories.make_plan("Other")}


def kept() -> dict[tuple[int, date], tuple[Decimal | None, int | None, str]]:
    rows = ExpectedRevenue.objects.filter(currency="EUR").values_list(
        "tenant_id", "month", "amount", "plan_id", "missing"
    )
    return {(tenant, month): tuple(rest) for tenant, month, *rest in rows}  # type: ignore[misc]


def anew(months: list[date] = MONTHS) -> dict[tuple[int, date], tuple[Decimal | None, int | None, str]]:
    book = revenue.book(root(), months, "EUR")
    found = book.earned()
    keys = found.keys() | book.plans.keys() | book.missing.keys()
    return {
        key: (found.get(key), book.plans.get(key), " ".join(sorted(book.missing.get(key, ()))))
        for key in keys
    }


def counting() -> list[date]:
    return [month for month, one in sorted(keeping.standing("EUR", MONTHS).items()) if one.counts]


def shown(user: Any = None) -> dict[int, Decimal]:
    rates = revenue.rates_by_month("EUR", MONTHS)
    return earned.expected(user or root(), MONTHS, "EUR", rates).by_tenant()[0]


def summed(found: dict[tuple[int, date], Any]) -> dict[int, Decimal]:
    made: dict[int, Decimal] = {}
    for (tenant, _), told in found.items():
        if told[0] is not None:
            made[tenant] = made.get(tenant, Decimal(0)) + told[0]
    return made


# --- What invalidates ---------------------------------------------------------------------------


def raw(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def copied(books: dict[str, Any]) -> None:
    with (
        connection.cursor() as cursor,
        cursor.cursor.copy(  # type: ignore[attr-defined]
            "COPY cost_monthlyusage (month, driver, tenant_id, amount) FROM STDIN"
        ) as copy,
    ):
        copy.write_row((date(2026, 8, 1), "seats", books["acme"].pk, 5))


def late_discount(books: dict[str, Any]) -> None:
    Discount.objects.create(tenant=books["acme"], percent=5, starts_on=date(2026, 8, 15))


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], Any], list[int]]] = {
    # What is done, and which of the four months (June is 0) still count behind it.
    "usage of a month, by COPY": (copied, [0, 1, 3]),
    "usage of a month, by a bulk update": (
        lambda b: MonthlyUsage.objects.filter(month=MONTHS[1]).update(amount=7), [0, 2, 3],
    ),
    "usage of a month, deleted": (lambda b: MonthlyUsage.objects.filter(month=MONTHS[0]).delete(), [1, 2, 3]),
    "usage, emptied": (lambda b: raw("TRUNCATE cost_monthlyusage"), []),
    "a subscription's price": (lambda b: b["acme"].subscriptions.update(monthly_price=5), []),
    "a subscription by SQL": (lambda b: raw("UPDATE tenants_subscription SET ends_on = '2026-08-31'"), []),
    "a subscription that begins in August": (
        lambda b: Subscription.objects.create(
            tenant=Tenant.objects.create(key="new", name="New"), plan=b["plan"], monthly_price=1, starts_on=date(2026, 8, 3),
        ),
        [0, 1],
    ),
    "its seats, by which nothing is charged": (lambda b: b["acme"].subscriptions.update(seats=99), [0, 1, 2, 3]),
    "a price set to what it is": (lambda b: b["acme"].subscriptions.update(monthly_price=100), [0, 1, 2, 3]),
    "a discount from August on": (late_discount, [0, 1]),
    "a commitment of July": (
        lambda b: Commitment.objects.create(
            tenant=b["acme"], currency="EUR", monthly_minimum=9, starts_on=date(2026, 7, 1), ends_on=date(2026, 7, 31)
        ),
        [0, 2, 3],
    ),
    "a rate of September": (
        lambda b: Rate.objects.create(currency="CHF", into="EUR", day=date(2026, 9, 20), rate=1), [0, 1, 2],
    ),
    "a price's tiers": (lambda b: Price.objects.update(tiers=[{"up_to": None, "price": "1"}]), []),
    "a tenant's name": (lambda b: b["acme"].save(), [0, 1, 2, 3]),
}  # fmt: skip


@pytest.mark.parametrize("name", list(CHANGES))
def test_a_change_stales_the_months_that_it_touches_and_no_other(books: dict[str, Any], name: str) -> None:
    keeping.keep("EUR", MONTHS)
    assert counting() == MONTHS and kept() == anew()
    change, left = CHANGES[name]
    with factories.as_system():
        change(books)
    assert counting() == [MONTHS[place] for place in left]
    assert shown() == summed(anew()), "a page is right although months are stale"


def test_what_is_rolled_back_stales_nothing(books: dict[str, Any]) -> None:
    keeping.keep("EUR", MONTHS)
    with pytest.raises(RuntimeError), factories.as_system(), transaction.atomic():
        Subscription.objects.update(monthly_price=1)
        raise RuntimeError
    assert counting() == MONTHS


def test_emptied_counts_make_nothing_count(books: dict[str, Any]) -> None:
    keeping.keep("EUR", MONTHS)
    raw("TRUNCATE cost_inputchange")
    assert counting() == []


# --- Whatever is done, in whatever order ------------------------------------------------------------

MONTH = st.sampled_from(MONTHS)
DAY = st.dates(date(2026, 5, 15), date(2026, 10, 15))
CENTS = st.integers(0, 100_000).map(lambda n: Decimal(n).scaleb(-2))
STEPS = st.one_of(
    st.tuples(st.just("price"), st.sampled_from(KEYS), CENTS, st.sampled_from(["EUR", "USD", "JPY"])),
    st.tuples(st.just("plan"), st.sampled_from(KEYS)),
    st.tuples(st.just("ends"), st.sampled_from(KEYS), DAY),
    st.tuples(st.just("usage"), st.sampled_from(KEYS), MONTH, st.integers(0, 5_000)),
    st.tuples(st.just("no usage"), MONTH),
    st.tuples(st.just("discount"), st.sampled_from(KEYS), DAY, st.integers(1, 100)),
    st.tuples(st.just("no discount")),
    st.tuples(st.just("commitment"), st.sampled_from(KEYS), DAY, CENTS),
    st.tuples(st.just("rate"), DAY, st.integers(1, 300)),
    st.tuples(st.just("no rate")),
    st.tuples(st.just("tiers"), st.integers(0, 100)),
    st.tuples(st.just("add up")),
    st.tuples(st.just("keep"), st.lists(MONTH, min_size=1, unique=True)),
)


def do(books: dict[str, Any], step: tuple[Any, ...]) -> None:
    kind, *told = step
    one = Subscription.objects.filter(tenant=books[told[0]]) if told and told[0] in KEYS else None
    if kind == "price" and one is not None:
        one.update(monthly_price=told[1], currency=told[2])
    elif kind == "plan" and one is not None:
        one.update(plan=books["other"])
    elif kind == "ends" and one is not None:
        one.update(ends_on=told[1])
    elif kind == "usage":
        MonthlyUsage.objects.update_or_create(
            month=told[1], driver="requests", tenant=books[told[0]], defaults={"amount": told[2]}
        )
    elif kind == "no usage":
        MonthlyUsage.objects.filter(month=told[0]).delete()
    elif kind == "discount":
        Discount.objects.update_or_create(
            tenant=books[told[0]], starts_on=told[1], defaults={"percent": told[2]}
        )
    elif kind == "no discount":
        Discount.objects.all().delete()
    elif kind == "commitment":
        least = {"ends_on": told[1] + timedelta(days=40), "currency": "USD", "monthly_minimum": told[2]}
        Commitment.objects.update_or_create(tenant=books[told[0]], starts_on=told[1], defaults=least)
    elif kind == "rate":
        Rate.objects.update_or_create(currency="USD", into="EUR", day=told[0], defaults={"rate": told[1]})
    elif kind == "no rate":
        Rate.objects.all().delete()
    elif kind == "tiers":
        Price.objects.update(tiers=[{"up_to": "50", "price": "0"}, {"up_to": None, "price": str(told[0])}])
    elif kind == "add up":
        raw(keeping.ADD_UP)
    else:
        keeping.keep("EUR", told[0])


@pytest.mark.django_db(transaction=False)
@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(STEPS, min_size=1, max_size=12))
def test_what_counts_is_what_would_be_reckoned_whatever_was_done(
    books: dict[str, Any], steps: list[tuple[Any, ...]]
) -> None:
    with transaction.atomic(), factories.as_system():
        keeping.keep("EUR", MONTHS)
        for step in steps:
            do(books, step)
            right = anew()
            good = set(counting())
            assert {key: told for key, told in kept().items() if key[1] in good} == {
                key: told for key, told in right.items() if key[1] in good
            }
            if step[0] == "keep":
                assert good >= set(step[1])
        assert shown() == summed(anew()), "and a page shows that, stale or not"
        transaction.set_rollback(True)


# --- Two at once ------------------------------------------------------------------------------------


def elsewhere(work: Callable[[], Any]) -> None:
    """Run in another session, to its end."""

    def run() -> None:
        try:
            with factories.as_system():
                work()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


def test_a_change_that_commits_while_a_month_is_reckoned_leaves_nothing_wrong_that_counts(
    books: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between any two reads of the reckoning, another session changes a price of each kind and commits."""
    real = revenue.rates_by_month

    def late(currency: str, months: Any) -> Any:
        elsewhere(lambda: Subscription.objects.update(monthly_price=1))
        elsewhere(lambda: MonthlyUsage.objects.filter(month=MONTHS[2]).update(amount=1))
        return real(currency, months)

    monkeypatch.setattr(revenue, "rates_by_month", late)
    keeping.keep("EUR", MONTHS)
    assert counting() == []
    monkeypatch.setattr(revenue, "rates_by_month", real)
    assert shown() == summed(anew())
    keeping.keep("EUR", MONTHS)
    assert counting() == MONTHS and kept() == anew()


def test_a_change_that_is_open_while_a_month_is_kept_stales_it_when_it_commits(books: dict[str, Any]) -> None:
    with factories.as_system(), transaction.atomic():
        Subscription.objects.update(monthly_price=1)
        elsewhere(lambda: keeping.keep("EUR", MONTHS))
        elsewhere(lambda: counted.append(counting()))
    assert counted == [MONTHS], "nobody else saw the change yet, and nobody waited for it"
    assert counting() == []
    counted.clear()


counted: list[list[date]] = []


def test_who_reckoned_from_older_books_writes_nothing_over_newer_ones(
    books: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = keeping.book_of_everybody

    def slow(months: Any, currency: str) -> Any:
        book = real(months, currency)
        monkeypatch.setattr(keeping, "book_of_everybody", real)
        elsewhere(lambda: Subscription.objects.update(monthly_price=1))
        elsewhere(lambda: keeping.keep("EUR", MONTHS))
        return book

    monkeypatch.setattr(keeping, "book_of_everybody", slow)
    keeping.keep("EUR", MONTHS)
    assert counting() == MONTHS and kept() == anew()


def test_two_changes_wait_for_nobody_and_both_are_counted(books: dict[str, Any]) -> None:
    before = keeping.standing("EUR", MONTHS)[SEPTEMBER].now
    with factories.as_system(), transaction.atomic():
        Subscription.objects.filter(tenant=books["acme"]).update(monthly_price=1)
        elsewhere(lambda: Subscription.objects.filter(tenant=books["globex"]).update(monthly_price=1))
        elsewhere(lambda: raw(keeping.ADD_UP))
    raw(keeping.ADD_UP)
    assert keeping.standing("EUR", MONTHS)[SEPTEMBER].now == before + 2


def test_counts_are_added_up_when_they_are_many(
    books: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "FEW", 3)
    for n in range(8):
        with factories.as_system():
            books["acme"].subscriptions.update(monthly_price=n)
    before = {month: one.now for month, one in keeping.standing("EUR", MONTHS).items()}
    keeping.add_up_changes()
    assert InputChange.objects.filter(kind="subscription").count() == 1
    assert {month: one.now for month, one in keeping.standing("EUR", MONTHS).items()} == before


# --- The pages, the clock ---------------------------------------------------------------------------


def ask(client: Client, **query: str) -> str:
    return client.get(reverse("cost:margins"), query | {"_export": "csv"}).content.decode()


def test_a_page_keeps_the_one_month_that_it_finds_stale(reader: Client, fleet: dict[str, Any]) -> None:
    first = ask(reader)
    assert ExpectedMonth.objects.count() == 1
    with CaptureQueriesContext(connection) as queries:
        assert ask(reader) == first
    assert not any(
        "COPY" in one["sql"] or 'tenants_subscription"."starts_on' in one["sql"] for one in queries
    )
    with factories.as_system():
        fleet["acme"].subscriptions.update(monthly_price=1234)
    assert "1234.00" in ask(reader)


def test_many_stale_months_are_right_and_left_to_the_clock(reader: Client, fleet: dict[str, Any]) -> None:
    first = ask(reader, span="12")
    assert not ExpectedMonth.objects.exists()
    assert keeping.keep_all() == keeping.KEPT
    assert keeping.keep_all() == 0
    assert ask(reader, span="12") == first


def test_a_page_that_a_tenants_holder_asks_keeps_the_month_for_all_and_shows_its_own(
    reader: Client, holder: Any, fleet: dict[str, Any]
) -> None:
    mine = ask(holder("tenant", fleet["acme"]))
    assert "Acme" in mine and "Globex" not in mine
    assert set(ExpectedRevenue.objects.values_list("tenant__key", flat=True)) == {
        "acme",
        "globex",
        "umbrella",
    }
    assert "Globex" in ask(reader) and "Globex" not in ask(holder("tenant", fleet["umbrella"]))


def test_currencies_without_a_rate_are_told_to_those_whose_they_are(
    reader: Client, holder: Any, fleet: dict[str, Any]
) -> None:
    with factories.as_system():
        fleet["globex"].subscriptions.update(currency="JPY")
    holders = {key: holder("tenant", fleet[key]) for key in ("acme", "globex")}
    for _ in range(2):
        assert "No rate from JPY" in reader.get(reverse("cost:margins"), {"currency": "EUR"}).content.decode()
        for key, told in (("acme", False), ("globex", True)):
            page = holders[key].get(reverse("cost:margins"), {"currency": "EUR"})
            assert ("JPY" in page.content.decode().split("No rate from")[-1][:20]) == told
        keeping.keep_all()


def test_usage_that_is_brought_counts_at_once(reader: Client, fleet: dict[str, Any]) -> None:
    with factories.as_system():
        Price.objects.create(
            plan=fleet["acme"].subscriptions.get().plan, meter="requests", currency="EUR", starts_on=date(2026, 1, 1),
            tiers=[{"up_to": None, "price": "1"}],
        )  # fmt: skip
    before = ask(reader)
    metering.import_usage(
        b"day,tenant,meter,amount\n2026-09-01,acme,requests,5000\n", "u.csv", actor=system_actor("command")
    )
    assert ask(reader) != before and "5100.00" in ask(reader)
