"""The FOCUS cost and usage format: which columns we read, under which names they come, and as which types.

Source: FinOps Open Cost and Usage Specification 1.0 to 1.4 (focus.finops.org). 1.3 renames the provider's column and
splits shared resources into lines that name what they are split to; 1.4 drops the old name. Exports of AWS CUR 2 and
of OpenCost's allocation API are read by the same map, under their own columns' names.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import duckdb

from .duck import literal, name

MONEY = "DECIMAL(38,18)"


class Type(StrEnum):
    MONEY = "money"
    TIME = "time"
    TEXT = "text"
    TAGS = "tags"


@dataclass(frozen=True, slots=True)
class Column:
    """One column as the portal reads it: our name, the names it comes under (the first found counts), its type."""

    name: str
    sources: tuple[str, ...]
    type: Type = Type.TEXT
    required: bool = False
    filled: bool = False
    #: Names under which a value may lack; then the billed cost stands for it.
    may_lack: tuple[str, ...] = ()


COLUMNS: tuple[Column, ...] = (
    Column("billed", ("BilledCost", "line_item_unblended_cost"), Type.MONEY, True, True),
    Column(
        "effective",
        ("EffectiveCost", "line_item_net_unblended_cost", "line_item_unblended_cost"),
        Type.MONEY,
        True,
        True,
        may_lack=("line_item_net_unblended_cost",),
    ),
    Column(
        "listed",
        ("ListCost", "pricing_public_on_demand_cost"),
        Type.MONEY,
        True,
        True,
        may_lack=("pricing_public_on_demand_cost",),
    ),
    Column(
        "provider",
        ("ProviderName", "ServiceProviderName", "InvoiceIssuerName", "bill_invoicing_entity"),
        required=True,
        filled=True,
    ),
    Column("billing_account", ("BillingAccountId", "bill_payer_account_id"), required=True, filled=True),
    Column("billing_account_name", ("BillingAccountName", "bill_payer_account_name")),
    Column("currency", ("BillingCurrency", "line_item_currency_code"), required=True, filled=True),
    Column("period_start", ("BillingPeriodStart", "bill_billing_period_start_date"), Type.TIME, True, True),
    Column("period_end", ("BillingPeriodEnd", "bill_billing_period_end_date"), Type.TIME, True, True),
    Column("started", ("ChargePeriodStart", "line_item_usage_start_date"), Type.TIME, True, True),
    Column("ended", ("ChargePeriodEnd", "line_item_usage_end_date"), Type.TIME, True, True),
    Column("category", ("ChargeCategory", "line_item_line_item_type"), required=True, filled=True),
    Column(
        "service",
        ("ServiceName", "product_servicename", "line_item_product_code"),
        required=True,
        filled=True,
    ),
    Column("charge_class", ("ChargeClass",)),
    Column("description", ("ChargeDescription", "line_item_line_item_description")),
    Column("sub_account", ("SubAccountId", "line_item_usage_account_id")),
    Column("sub_account_name", ("SubAccountName", "line_item_usage_account_name")),
    Column("resource", ("ResourceId", "line_item_resource_id")),
    Column("resource_name", ("ResourceName",)),
    Column("region", ("RegionId", "product_region_code")),
    Column("quantity", ("ConsumedQuantity", "line_item_usage_amount"), Type.MONEY),
    Column("unit", ("ConsumedUnit", "pricing_unit")),
    Column("priced_quantity", ("PricingQuantity",), Type.MONEY),
    Column("tags", ("Tags", "resource_tags"), Type.TAGS),
)
BY_NAME = {column.name: column for column in COLUMNS}
#: FOCUS's values of ChargeCategory; CUR's line item types are put among them.
CATEGORIES = ("Usage", "Purchase", "Tax", "Credit", "Adjustment")
CUR_CATEGORIES = {
    "DiscountedUsage": "Usage", "SavingsPlanCoveredUsage": "Usage", "RIFee": "Purchase", "Fee": "Purchase",
    "SavingsPlanRecurringFee": "Purchase", "SavingsPlanUpfrontFee": "Purchase", "Refund": "Credit",
    "BundledDiscount": "Credit", "EdpDiscount": "Credit", "PrivateRateDiscount": "Credit", "SavingsPlanNegation": "Credit",
}  # fmt: skip
NUMBERS = (
    "DECIMAL",
    "TINYINT",
    "SMALLINT",
    "INTEGER",
    "BIGINT",
    "HUGEINT",
    "UTINYINT",
    "USMALLINT",
    "UINTEGER",
    "UBIGINT",
)


@dataclass(frozen=True, slots=True)
class Source:
    """One of our columns in one file: the file's own column and its DuckDB type; none where the file lacks it."""

    column: Column
    found: str | None
    type: str = ""
    #: The value that every line has, as SQL, where `narrowing` knows it.
    same: str | None = None
    #: Whether eighteen digits hold every value; `narrowing` knows it of decimals.
    is_small: bool = False
    #: Whether its places hold any sum of its lines, and of some thousand such files; `narrowing` knows that too.
    sums_fit: bool = False

    @property
    def raw(self) -> str:
        """The value as it stands in the file; the word NULL, as some exports write it, is nothing."""
        if self.found is None:
            return "NULL"
        value = self.same or name(self.found)
        return f"nullif(nullif({value}, 'NULL'), '')" if self.type == "VARCHAR" else value

    @property
    def is_same(self) -> bool:
        """Whether all lines are known to have one value, or none as the column lacks."""
        return self.found is None or self.same is not None

    @property
    def places(self) -> int | None:
        """Digits behind the point of a decimal that `MONEY` surely holds; None for anything else."""
        if not self.type.startswith("DECIMAL"):
            return None
        digits, places = (int(part) for part in self.type[8:-1].split(","))
        return places if places <= 18 and digits - places <= 20 else None

    @property
    def may_lack(self) -> bool:
        """Whether lines may leave it empty, and the billed cost then stands for it (CUR tells no list price of a tax)."""
        return self.found in self.column.may_lack

    @property
    def is_text(self) -> bool:
        return self.type == "VARCHAR"

    @property
    def is_float(self) -> bool:
        return self.type in ("DOUBLE", "FLOAT")

    def fits(self) -> bool:
        """Whether a column of this type can be read as what it should be at all."""
        if self.found is None or self.is_text or self.column.type == Type.TEXT:
            return True
        if self.column.type == Type.MONEY:
            return self.is_float or self.type.startswith(NUMBERS)
        if self.column.type == Type.TIME:
            return self.type.startswith(("TIMESTAMP", "DATE"))
        return self.type == "JSON" or self.type.startswith("MAP(VARCHAR, VARCHAR")

    @property
    def value(self) -> str:
        """The value as its type, NULL where it cannot be. A float is taken by its shortest decimal writing."""
        raw = self.raw
        if self.found is None:
            return {
                Type.MONEY: f"NULL::{MONEY}", Type.TIME: "NULL::TIMESTAMP"
            }.get(self.column.type, "NULL::VARCHAR")  # fmt: skip
        if self.column.type == Type.MONEY:
            shown = f"CAST({raw} AS VARCHAR)" if self.is_float else raw
            return f"{'CAST' if self.places is not None else 'TRY_CAST'}({shown} AS {MONEY})"
        if self.column.type == Type.TIME:
            if self.is_text:
                return f"CAST(TRY_CAST({raw} AS TIMESTAMPTZ) AS TIMESTAMP)"
            return f"CAST({raw} AS TIMESTAMP)"
        if self.column.type == Type.TAGS:
            return raw
        return raw if self.is_text else f"CAST({raw} AS VARCHAR)"


def sources(columns: dict[str, str]) -> list[Source]:
    """Our columns in a file that has `columns` (name to type)."""
    made = []
    for column in COLUMNS:
        found = next((one for one in column.sources if one in columns), None)
        made.append(Source(column, found, columns.get(found or "", "")))
    return made


#: What a line of a shared resource is split to (FOCUS 1.3), and the column of what it is split from.
SPLIT = {
    "AllocatedTags": "Tags",
    "AllocatedResourceId": "ResourceId",
    "AllocatedResourceName": "ResourceName",
}


def split_to(columns: Mapping[str, str]) -> str:
    """For a SELECT over a file: what lines are split to in the place of what they are split from; nothing where none can be.

    Of tags, each key of what a line is split to counts over the same key of the host.
    """
    made = []
    for over, under in SPLIT.items():
        types = (columns.get(over, ""), columns.get(under, ""))
        if over == "AllocatedTags" and types[0] == types[1] and types[0].startswith("MAP"):
            made.append(
                f"coalesce(map_concat({name(under)}, {name(over)}), {name(over)}, {name(under)}) AS {name(under)}"
            )
        if types != ("VARCHAR", "VARCHAR"):
            continue
        new, old = (f"nullif(nullif({name(one)}, 'NULL'), '')" for one in (over, under))
        value = f"coalesce({new}, {old})"
        if over == "AllocatedTags":
            both = f"CAST(json_merge_patch({old}, {new}) AS VARCHAR)"
            value = (
                f"CASE WHEN {new} IS NULL OR NOT json_valid({new}) THEN {old} "
                f"WHEN json_valid({old}) THEN {both} ELSE coalesce({old}, {new}) END"
            )
        made.append(f"{value} AS {name(under)}")
    return f"REPLACE ({', '.join(made)})" if made else ""


#: FOCUS's other datasets, by a column that only they have.
DATASETS = {
    "ContractCommitmentId": "Contract Commitment",
    "InvoiceDetailId": "Invoice Detail",
    "BillingPeriodStatus": "Billing Period",
}


def other_dataset(columns: Iterable[str]) -> str:
    """The name of the FOCUS dataset that a file is, where it is not the cost and usage one."""
    have = set(columns)
    if {"BilledCost", "ChargePeriodStart"} <= have:
        return ""
    return next((told for column, told in DATASETS.items() if column in have), "")


def describe(connection: duckdb.DuckDBPyConnection, path: str) -> dict[str, str]:
    """Names and types of a Parquet file's columns."""
    rows = connection.execute(f"DESCRIBE SELECT * FROM read_parquet({literal(path)})").fetchall()
    return {str(row[0]): str(row[1]) for row in rows}


def values(found: list[Source]) -> dict[str, str]:
    """Our columns of a line as SQL over the file's own."""
    made = {source.column.name: source.value for source in found}
    made["sub_account"] = f"coalesce({made['sub_account']}, {made['billing_account']})"
    made["category"] = _category(made["category"])
    for source in found:
        if source.may_lack:
            made[source.column.name] = f"coalesce({source.value}, {made['billed']})"
    return {"day": f"CAST({made['started']} AS DATE)"} | made


def select(path: str, number: int, found: list[Source], *, extra: str = "") -> str:
    """The lines of one file in our columns, with the file's number and the row's (the first below the header is 2)."""
    made = ", ".join(f"{value} AS {column}" for column, value in values(found).items())
    return (
        f"SELECT {number} AS file, file_row_number + 2 AS line, {made}{extra} "
        f"FROM read_parquet({literal(path)}, file_row_number = true)"
    )


def _category(value: str) -> str:
    cases = " ".join(f"WHEN {literal(cur)} THEN {literal(ours)}" for cur, ours in CUR_CATEGORIES.items())
    return f"CASE {value} {cases} ELSE {value} END"


def tag_sql(key: str, tags_type: str) -> str:
    """The value of a tag, in lower case and without blanks around it, as tenants' keys are written."""
    if tags_type.startswith("MAP"):
        return f"lower(trim(map_extract_value(tags, {literal(key)})))"
    path = literal(f'$."{key}"')
    return f"CASE WHEN json_valid(tags) THEN lower(trim(json_extract_string(tags, {path}))) END"


def union(files: list[tuple[str, list[Source]]]) -> tuple[str, str]:
    """All files' lines as one query, and the type of its tags (`MAP…` only where every file has a map)."""
    types = {next(s.type for s in found if s.column.type == Type.TAGS) for _, found in files}
    is_map = len(types) == 1 and next(iter(types)).startswith("MAP")
    parts = []
    for number, (path, found) in enumerate(files):
        parts.append(select(path, number, found if is_map else with_text_tags(found)))
    return " UNION ALL ".join(parts), "MAP" if is_map else "VARCHAR"


class _JsonTags(Source):
    """A map of tags beside files that have them as text."""

    @property
    def value(self) -> str:
        return f"CAST(to_json({self.raw}) AS VARCHAR)"


def with_text_tags(found: list[Source]) -> list[Source]:
    """The columns, with a map of tags read as JSON text."""
    return [_as_json(source) for source in found]


def _as_json(source: Source) -> Source:
    if source.column.type == Type.TAGS and source.type.startswith(("MAP", "JSON")):
        return _JsonTags(source.column, source.found, source.type, source.same, source.is_small)
    return source
