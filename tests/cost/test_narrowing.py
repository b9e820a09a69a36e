"""What a footer says of whole columns changes no figure and hides no broken line."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from apps.cost import focus, grouping, summing
from apps.cost.duck import connected
from tests.cost.bills import (
    add_rules,
    as_csv,
    deliver,
    facts,
    lines,
    rules_of,
    statement_total,
    sums,
    tenants,
)

pytestmark = pytest.mark.django_db(transaction=True)

TYPED = (
    "BilledCost::DECIMAL(30,15) AS BilledCost, EffectiveCost::DECIMAL(12,4) AS EffectiveCost, "
    "ListCost::DECIMAL(38,2) AS ListCost, ConsumedQuantity::DECIMAL(20,10) AS ConsumedQuantity, "
    "BillingPeriodStart::TIMESTAMP AS BillingPeriodStart, BillingPeriodEnd::TIMESTAMP AS BillingPeriodEnd, "
    "ChargePeriodStart::TIMESTAMP AS ChargePeriodStart, ChargePeriodEnd::TIMESTAMP AS ChargePeriodEnd"
)


def typed(folder: Path, some: list[dict[str, str]]) -> bytes:
    """The lines as a provider's Parquet has them."""
    (folder / "a.csv").write_bytes(as_csv(some))
    duckdb.sql(
        f"COPY (SELECT * REPLACE ({TYPED}) FROM read_csv('{folder}/a.csv', all_varchar = true)) TO '{folder}/a.parquet'"
    )
    return (folder / "a.parquet").read_bytes()


MANY = [
    *lines("1.5", "2.25", Tags='{"t": "ta"}'),
    *lines("-3", Tags='{"t": "tb"}', ServiceName="S3", ChargeCategory="Credit"),
    *lines(
        "4",
        SubAccountId="NULL",
        ChargePeriodStart="2026-09-06 00:00:00",
        ChargePeriodEnd="2026-09-07 00:00:00",
    ),
    *lines("5", SubAccountId="", ServiceName="S3"),
]


def test_typed_columns_give_what_text_gives(tmp_path: Path) -> None:
    tenants("ta", "tb")
    add_rules({"kind": "tag", "tag": "t", "category": "Usage"}, {"kind": "evenly", "service": "S3"})
    deliver(as_csv(MANY))
    as_text = facts()
    assert deliver(typed(tmp_path, MANY), name="a.parquet").state == "imported"
    assert facts() == as_text
    assert statement_total() == Decimal("9.75")
    # What names no sub-account lies in the billing account, whichever way it is left out.
    assert sums("sub_account__external_id") == {"sub-1": Decimal("0.75"), "payer-1": 9}


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ({"ServiceName": "NULL"}, "value.missing"),
        ({"ServiceName": "s" * 121}, "value.too_long"),
        ({"ChargeCategory": "Gift"}, "category.unknown"),
        ({"BillingCurrency": "usd"}, "currency.code"),
        ({"ProviderName": "p" * 81}, "value.too_long"),
        ({"ChargePeriodEnd": "2026-09-04 00:00:00"}, "period.order"),
    ],
    ids=lambda value: str(value)[:40],
)
@pytest.mark.parametrize("others", [0, 3])
def test_a_broken_line_is_found_whether_all_lines_have_it_or_one(
    tmp_path: Path, line: dict[str, str], rule: str, others: int
) -> None:
    bill = deliver(typed(tmp_path, [*([{}] * others), line]), name="a.parquet")
    assert bill.state == "refused" and rule in rules_of(bill)
    (finding,) = [one for one in bill.report["findings"] if one["rule"] == rule]
    assert finding["lines"][0]["line"] == others + 2


def test_usage_below_nothing_is_told_of_decimals_too(tmp_path: Path) -> None:
    bill = deliver(typed(tmp_path, [{}, {"ConsumedQuantity": "-2"}]), name="a.parquet")
    assert (bill.state, rules_of(bill)) == ("imported", {"usage.negative"})


def test_files_that_differ_in_what_their_lines_have_in_common(tmp_path: Path) -> None:
    """Each file has one payer: alone neither needs to be grouped by it, together they do."""
    bill = deliver(
        as_csv(lines("1", BillingAccountName="First")),
        as_csv(lines("2", BillingAccountId="payer-2", BillingAccountName="Second", BillingCurrency="EUR")),
    )
    assert bill.state == "imported"
    found = bill.statements.order_by("billing_account").values_list(
        "billing_account", "billing_account_name", "currency", "billed"
    )
    assert list(found) == [("payer-1", "First", "USD", 1), ("payer-2", "Second", "EUR", 2)]


def test_ways_that_share_a_number_are_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key is a hash: where two ways have the same, columns are grouped by as they stand."""
    monkeypatch.setattr(summing, "LINES_WORTH_IT", 0)
    with connected() as duck:
        path = str(tmp_path / "x.parquet")
        duck.execute(
            f"COPY (SELECT * FROM (VALUES ('a', 'x'), ('b', NULL), (NULL, 'x')) t(ServiceName, SubAccountId)) TO '{path}'"
        )
        found = [s for s in focus.sources(focus.describe(duck, path)) if s.found]
        file, texts = summing.File(0, path, found, grouping.KEYS), ["service", "sub_account"]
        assert summing._ways(duck, file, texts) == "ways_0"
        assert duck.execute("SELECT count(*), count(DISTINCT way) FROM ways_0").fetchone() == (6, 6)
        monkeypatch.setattr(summing, "_number", lambda columns: "7")
        assert summing._ways(duck, file, texts) == ""


@pytest.mark.parametrize("how", ["kinds share a number", "a number for texts beside other keys", "both"])
def test_figures_are_the_same_however_kinds_are_numbered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    tenants("ta", "tb")
    add_rules(
        {"kind": "tag", "tag": "t", "category": "Usage"},
        {"kind": "resource"},
        {"kind": "evenly", "service": "S3"},
    )
    deliver(as_csv(MANY))
    as_text = facts()
    if how != "a number for texts beside other keys":
        monkeypatch.setattr(summing, "_number", lambda columns: "7")
    if how != "kinds share a number":
        monkeypatch.setattr(summing, "LINES_WORTH_IT", 0)
    assert deliver(typed(tmp_path, MANY), name="a.parquet").state == "imported"
    assert facts() == as_text


def decimals(folder: Path, name: str, type: str, some: list[dict[str, str]]) -> bytes:
    """The lines as Parquet with their costs as one type."""
    (folder / f"{name}.csv").write_bytes(as_csv(some))
    made = ", ".join(f"{one}::{type} AS {one}" for one in ("BilledCost", "EffectiveCost", "ListCost"))
    duckdb.sql(
        f"COPY (SELECT * REPLACE ({made}) FROM read_csv('{folder}/{name}.csv', all_varchar = true)) TO '{folder}/{name}.parquet'"
    )
    return (folder / f"{name}.parquet").read_bytes()


@pytest.mark.parametrize("fine", ["VARCHAR", "DECIMAL(38,18)", "DECIMAL(25,18)"])
def test_files_whose_costs_differ_in_places_lose_none(tmp_path: Path, fine: str) -> None:
    """DuckDB's UNION of two decimals keeps the places of the coarser one where both together are too wide."""
    few = decimals(tmp_path, "few", "DECIMAL(12,2)", lines("1.25"))
    many = decimals(tmp_path, "many", fine, lines("1.123456789012345678", ServiceName="S3"))
    assert deliver(few, many, name="a.parquet").state == "imported"
    assert statement_total() == Decimal("2.373456789012345678")
    assert sums("service") == {"EC2": Decimal("1.25"), "S3": Decimal("1.123456789012345678")}


def test_shares_of_costs_with_few_places_have_all_of_theirs(tmp_path: Path) -> None:
    tenants("ta", "tb", "tc")
    add_rules({"kind": "tag", "tag": "t"}, {"kind": "evenly", "service": "S3"})
    some = [*lines("5.25", Tags='{"t": "ta"}'), *lines("10", ServiceName="S3")]
    assert deliver(decimals(tmp_path, "few", "DECIMAL(12,2)", some), name="a.parquet").state == "imported"
    third = Decimal("3.333333333333333333")
    assert sums("tenant__key") == {"ta": Decimal("8.583333333333333334"), "tb": third, "tc": third}
