"""FOCUS 1.0 to 1.4: each version's columns are read, sums are the file's, a newer export corrects an older one."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from django.db.models import Sum

from apps.cost.models import DailyCost, Statement
from tests import factories
from tests.cost.bills import (
    SAMPLE,
    add_rules,
    as_csv,
    deliver,
    lines,
    rules_of,
    statement_total,
    sums,
    tenants,
)

pytestmark = pytest.mark.django_db(transaction=True)

DATA = SAMPLE.parent
#: What 1.2 added to 1.1, after the specification's changelog: a 1.1 export has none of it.
NEW_IN_1_2 = (
    "InvoiceId", "BillingAccountType", "SubAccountType", "PricingCurrency", "PricingCurrencyContractedUnitPrice",
    "PricingCurrencyEffectiveCost", "PricingCurrencyListUnitPrice",
)  # fmt: skip
FILES = {
    "1.0": SAMPLE,
    "1.2": DATA / "focus-1.2-aws.csv",
    "1.3": DATA / "focus-1.3-azure.csv",
    "1.4": DATA / "focus-1.4-gcp.csv",
}


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


def written(rows: list[dict[str, str]]) -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


@pytest.mark.parametrize("version", list(FILES))
def test_each_version_is_imported_to_the_last_digit(version: str) -> None:
    rows = rows_of(FILES[version])
    bill = deliver(FILES[version].read_bytes(), name=f"focus-{version}.csv")
    assert bill.state == "imported", bill.report
    assert bill.lines == len(rows)
    for column, measure in (("BilledCost", "billed"), ("EffectiveCost", "effective"), ("ListCost", "listed")):
        told = sum(Statement.objects.filter(is_current=True).values_list(measure, flat=True), Decimal(0))
        assert told == sum(Decimal(row[column]) for row in rows), column


def test_1_1_is_1_2_without_what_came_new() -> None:
    rows = [{k: v for k, v in row.items() if k not in NEW_IN_1_2} for row in rows_of(FILES["1.2"])]
    bill = deliver(written(rows), name="focus-1.1.csv")
    assert bill.state == "imported", bill.report
    assert statement_total() == sum(Decimal(row["BilledCost"]) for row in rows)


@pytest.mark.parametrize("version", ["1.2", "1.3", "1.4"])
def test_each_version_in_parquet(version: str, tmp_path: Path) -> None:
    """Amounts as decimals, times as timestamps, as providers write Parquet."""
    path = tmp_path / "made.parquet"
    duckdb.execute(
        f"COPY (SELECT * REPLACE (CAST(BilledCost AS DECIMAL(30,12)) AS BilledCost, CAST(EffectiveCost AS DECIMAL(30,12)) AS EffectiveCost, "
        f"CAST(ListCost AS DECIMAL(30,12)) AS ListCost, CAST(ChargePeriodStart AS TIMESTAMP) AS ChargePeriodStart) "
        f"FROM read_csv('{FILES[version]}', all_varchar = true)) TO '{path}' (FORMAT parquet)"
    )
    bill = deliver(path.read_bytes(), name="made.parquet")
    assert bill.state == "imported", bill.report
    assert statement_total() == sum(Decimal(row["BilledCost"]) for row in rows_of(FILES[version]))


def test_a_newer_export_of_the_same_period_corrects_the_older() -> None:
    """1.4 has no ProviderName: the service provider's name says that it is the same provider."""
    deliver(as_csv(lines("5")))
    rows = list(csv.DictReader(io.StringIO(as_csv(lines("7", "1")).decode())))
    newer = [
        {("ServiceProviderName" if k == "ProviderName" else k): v for k, v in row.items()} for row in rows
    ]
    bill = deliver(written(newer), name="newer.csv")
    assert bill.state == "imported", bill.report
    assert statement_total() == 8 and Statement.objects.filter(is_current=True).count() == 1
    assert bill.report["changes"][0]["billed"] == "3.000000000000000000"


def test_a_line_of_a_split_resource_goes_to_what_it_is_split_to() -> None:
    """1.3's split cost allocation: the workload's tags and name count before the host's."""
    tenants("acme", "globex")
    factories.place(tenants("umbrella")[0], factories.make_instance("workload-u"))
    plain: dict[str, Any] = {"AllocatedTags": "", "AllocatedResourceId": "", "AllocatedResourceName": ""}
    rows = [
        {**plain, "BilledCost": "1", "Tags": '{"t": "acme", "host": "h"}'},
        {**plain, "BilledCost": "2", "Tags": '{"t": "acme", "host": "h"}', "AllocatedTags": '{"t": "globex"}'},
        {**plain, "BilledCost": "4", "Tags": "", "AllocatedTags": '{"t": "globex"}'},
        {**plain, "BilledCost": "8", "Tags": '{"host": "h"}', "AllocatedTags": '{"a": "b"}'},
        {**plain, "BilledCost": "16", "Tags": "", "AllocatedResourceName": "workload-u", "AllocatedResourceId": "arn:x/workload-u"},
        {**plain, "BilledCost": "32", "Tags": '{"t": "acme"}', "AllocatedTags": "no json"},
    ]  # fmt: skip
    base = next(iter(csv.DictReader(io.StringIO(as_csv(lines("0")).decode()))))
    bill = deliver(written([{**base, **row} for row in rows]), name="split.csv")
    assert bill.state == "imported", bill.report
    add_rules({"kind": "tag", "tag": "t"}, {"kind": "resource"})
    assert sums("tenant__key") == {"acme": 33, "globex": 6, "umbrella": 16, None: 8}


def test_split_lines_in_parquet_with_maps_of_tags(tmp_path: Path) -> None:
    tenants("acme", "globex")
    base = ", ".join(
        f"'{value}' AS {column}" for column, value in next(iter(csv.DictReader(io.StringIO(as_csv(lines("1")).decode())))).items()
        if column not in ("Tags", "ResourceId")
    )  # fmt: skip
    path = tmp_path / "split.parquet"
    duckdb.execute(
        f"COPY (SELECT {base}, 'r' AS ResourceId, NULL::VARCHAR AS AllocatedResourceId, MAP {{'t': 'acme', 'h': 'x'}} AS Tags, a AS AllocatedTags "
        f"FROM (VALUES (MAP {{'t': 'globex'}}), (NULL), (MAP {{'z': 'y'}})) v(a)) TO '{path}' (FORMAT parquet)"
    )
    bill = deliver(path.read_bytes(), name="split.parquet")
    assert bill.state == "imported", bill.report
    add_rules({"kind": "tag", "tag": "t"})
    assert sums("tenant__key") == {"acme": 2, "globex": 1}


def test_the_split_lines_of_a_generated_export_find_their_workload() -> None:
    rows = [row for row in rows_of(FILES["1.3"]) if row["AllocatedTags"]]
    assert rows, "the sample has split lines"
    deliver(FILES["1.3"].read_bytes(), name="focus-1.3.csv")
    import json

    name = json.loads(rows[0]["AllocatedTags"])["workload"]
    tenants(name)
    add_rules({"kind": "tag", "tag": "workload"})
    expected = sum(
        Decimal(row["BilledCost"]) for row in rows if json.loads(row["AllocatedTags"]).get("workload") == name
    )
    assert sums("tenant__key")[name] == expected


def test_another_dataset_of_focus_is_named() -> None:
    bill = deliver((DATA / "focus-1.4-contract-commitment.csv").read_bytes(), name="commitments.csv")
    assert bill.state == "refused" and rules_of(bill) == {"file.dataset"}
    assert (
        "Contract Commitment dataset; deliver the Cost and Usage dataset"
        in bill.report["findings"][0]["message"]
    )
    assert not DailyCost.objects.exists()


def test_a_commitment_is_billed_once_and_amortised_where_it_is_used() -> None:
    """Bought for 300 in one line, used in three: what was billed, what it comes to by use and list prices stay apart."""
    tenants("acme", "globex")
    bought = {
        "BilledCost": "300",
        "EffectiveCost": "0",
        "ListCost": "0",
        "ChargeCategory": "Purchase",
        "Tags": "",
    }
    used = {"BilledCost": "0", "ListCost": "150", "ChargeCategory": "Usage"}
    rows = [bought] + [
        {**used, "EffectiveCost": amount, "Tags": f'{{"t": "{key}"}}'}
        for key, amount in (("acme", "100"), ("acme", "50"), ("globex", "150"))
    ]
    rows += [
        {"BilledCost": "-20", "EffectiveCost": "-20", "ListCost": "0", "ChargeCategory": "Credit", "Tags": ""}
    ]
    rows += [
        {"BilledCost": "19", "EffectiveCost": "19", "ListCost": "19", "ChargeCategory": "Tax", "Tags": ""}
    ]
    bill = deliver(as_csv(rows))
    assert bill.state == "imported", bill.report
    add_rules(
        {"kind": "tag", "tag": "t"}, {"kind": "overhead", "category": "Purchase"}, {"kind": "overhead", "category": "Tax"},
    )  # fmt: skip
    one = Statement.objects.get(is_current=True)
    assert (one.billed, one.effective, one.listed) == (299, 299, 469)
    found = DailyCost.objects.filter(run__is_current=True).order_by()
    by_tenant = {
        key: (billed, effective, listed)
        for key, billed, effective, listed in found.values_list("tenant__key").annotate(
            Sum("billed"), Sum("effective"), Sum("listed")
        )
    }
    assert by_tenant == {"acme": (0, 150, 300), "globex": (0, 150, 150), None: (299, -1, 19)}
