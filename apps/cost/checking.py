"""What a bill is tested for before anything of it counts: rules over columns and lines, and the report they make.

After the FinOps Foundation's focus-validator: presence, type, allowed values, order of periods. An error refuses
the whole bill; a warning is told and lets it in.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import duckdb

from apps.core.texts import storable

from .duck import literal
from .focus import BY_NAME, CATEGORIES, Source, Type, select

#: Lines that a finding names.
SHOWN = 5
#: The longest values that statements and facts can hold.
LONGEST = {"provider": 80, "billing_account": 200, "service": 120, "sub_account": 200, "currency": 3}
TOO_FINE = "{} has more than 18 places after the point; nothing is rounded silently."
#: Times that are kept as days, and the years in which one can be meant; DuckDB also reads "infinity" and the year 20260.
KEPT_TIMES, YEARS = ("started", "period_start", "period_end"), (1900, 2199)


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule that some lines break; `lines` are the first of `count`."""

    rule: str
    message: str
    column: str = ""
    is_error: bool = True
    file: str = ""
    count: int = 1
    lines: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Check:
    """One rule over lines: `broken` is true where a line breaks it, `shown` the value to tell."""

    rule: str
    message: str
    broken: str
    shown: str
    column: str = ""
    is_error: bool = True
    #: The one of our columns that it looks at, where it looks at no other.
    of: str = ""


def as_report(findings: Sequence[Finding], **more: Any) -> dict[str, Any]:
    """The report as the bill keeps it: errors first."""
    ordered = sorted(findings, key=lambda one: (not one.is_error, one.rule, one.file))
    return {
        "errors": sum(1 for one in ordered if one.is_error),
        "warnings": sum(1 for one in ordered if not one.is_error),
        "findings": [asdict(one) for one in ordered],
        **more,
    }


def check_columns(file: str, found: Sequence[Source]) -> list[Finding]:
    """Columns that lack, and columns of a type that cannot be read as what they should be."""
    findings = []
    for source in found:
        first = source.column.sources[0]
        if source.column.required and source.found is None:
            findings.append(Finding("column.missing", f"The column {first} is not there.", first, file=file))
        elif not source.fits():
            message = (
                f"The column {source.found} holds {source.type}; {_wanted(source.column.type)} is wanted."
            )
            findings.append(Finding("column.type", message, source.found or first, file=file))
    return findings


def _wanted(kind: Type) -> str:
    return {Type.MONEY: "a number", Type.TIME: "a time", Type.TAGS: "text or a map"}.get(kind, "text")


def count_lines(connection: duckdb.DuckDBPyConnection, path: str) -> int:
    """The number of lines below the header, as the file's own footer says."""
    row = connection.execute(f"SELECT count(*) FROM read_parquet({literal(path)})").fetchone()
    return int(row[0]) if row else 0


def check_lines(
    connection: duckdb.DuckDBPyConnection, path: str, file: str, found: Sequence[Source]
) -> list[Finding]:
    """What the lines of a file break. One pass counts; lines are looked for only where there are any."""
    checks = of_lines(found)
    raws = "".join(f", {source.raw} AS raw_{source.column.name}" for source in found)
    lines = select(path, 0, list(found), extra=raws)
    counts = ", ".join(f"count_if({check.broken})" for check in checks)
    row = connection.execute(f"SELECT count(*), {counts} FROM ({lines})").fetchone()
    assert row is not None
    findings = []
    for check, count in zip(checks, row[1:], strict=True):
        if count:
            first = connection.execute(
                f"SELECT line, CAST({check.shown} AS VARCHAR) FROM ({lines}) WHERE {check.broken} ORDER BY line LIMIT {SHOWN}"
            ).fetchall()
            told = [{"line": line, "value": storable(value or "")[:120]} for line, value in first]
            findings.append(
                Finding(check.rule, check.message, check.column, check.is_error, file, count, told)
            )
    if not row[0]:
        findings.append(Finding("file.empty", "There is no line below the header.", file=file))
    return findings


def of_lines(found: Sequence[Source], *, with_tags: bool = True) -> list[Check]:
    """The rules over lines that a file of these columns is tested by; whether tags are JSON may be tested elsewhere."""
    return [check for check in _checks(found) if with_tags or check.rule != "tags.json"]


def _checks(found: Sequence[Source]) -> Iterator[Check]:
    for source in found:
        if source.found is not None:
            yield from _column_checks(source)
    named = {source.column.name: source for source in found if source.found is not None}
    yield from _line_checks(named)


def _column_checks(source: Source) -> Iterator[Check]:
    """Emptiness, type, precision, length of one column."""
    column, told = source.column, source.found or ""
    raw, value = f"raw_{column.name}", column.name
    if column.filled and not source.may_lack:
        yield Check("value.missing", f"{told} is empty.", f"{raw} IS NULL", raw, told, of=value)
    if column.type == Type.MONEY and (source.is_text or source.is_float):
        text = f"CAST({raw} AS VARCHAR)"
        nan = f"coalesce(lower({text}) IN ('nan', '-nan', '+nan', 'inf', '-inf', '+inf', 'infinity', '-infinity'), false)"
        yield Check("number.nan", f"{told} is no number.", nan, raw, told)
        bad = f"{raw} IS NOT NULL AND {value} IS NULL AND NOT {nan}"
        yield Check("value.type", f"{told} cannot be read as a number.", bad, raw, told)
        yield Check(
            "number.too_fine",
            TOO_FINE.format(told),
            f"{value} IS NOT NULL AND {_too_fine(text, value)}", raw, told,
        )  # fmt: skip
    elif column.type == Type.MONEY and source.places is None:
        yield Check(
            "value.type", f"{told} is too large.", f"{raw} IS NOT NULL AND {value} IS NULL", raw, told
        )
        if source.type.startswith("DECIMAL"):
            digits = f"regexp_matches(CAST({raw} AS VARCHAR), '\\.\\d{{18}}\\d*[1-9]')"
            yield Check("number.too_fine", TOO_FINE.format(told), digits, raw, told)
    if column.type == Type.TIME and source.is_text:
        bad = f"{raw} IS NOT NULL AND {value} IS NULL"
        yield Check("value.type", f"{told} cannot be read as a time (ISO 8601).", bad, raw, told)
    if column.name in KEPT_TIMES:
        first, last = YEARS
        yield Check(
            "time.far", f"{told} lies outside the years {first} to {last}.",
            f"{value} < TIMESTAMP '{first}-01-01' OR {value} >= TIMESTAMP '{last + 1}-01-01'", raw, told,
        )  # fmt: skip
    if longest := LONGEST.get(column.name):
        yield Check(
            "value.too_long", f"{told} is longer than {longest} characters.", f"length({value}) > {longest}", value, told, of=value,
        )  # fmt: skip
        yield Check(
            "value.zero", f"{told} has a zero byte, with which no text can be kept.", f"contains({value}, chr(0))", value, told, of=value,
        )  # fmt: skip
    if column.type == Type.TAGS and source.is_text:
        yield Check(
            "tags.json", f"{told} is no JSON; these lines count as untagged.",
            f"{raw} IS NOT NULL AND NOT json_valid({raw})", raw, told, is_error=False,
        )  # fmt: skip


def _too_fine(text: str, value: str) -> str:
    """Whether eighteen places cannot hold the number: digits behind them, or an exponent that reaches below."""
    digits = f"regexp_matches({text}, '^[^eE]*\\.\\d{{18}}\\d*[1-9]')"
    fine = f"TRY_CAST({text} AS DECIMAL(38,36)) <> TRY_CAST({value} AS DECIMAL(38,36))"
    vanished = f"({value} = 0 AND regexp_matches({text}, '^[^eE]*[1-9]'))"
    exponent = f"(regexp_matches({text}, '[eE]-') AND (coalesce({fine}, false) OR {vanished}))"
    return f"({digits} OR {exponent})"


def _line_checks(named: dict[str, Source]) -> Iterator[Check]:
    """What columns say together."""
    for quantity in ("quantity", "priced_quantity"):
        if source := named.get(quantity):
            # As the file has it where that is a decimal: made wide first it would cost a pass of its own.
            told = f"raw_{quantity}" if source.places is not None else quantity
            yield Check(
                "usage.negative", "Usage below nothing in a line that is no correction: providers give some back so; it counts as it stands.",
                f"{told} < 0 AND category = 'Usage' AND charge_class IS DISTINCT FROM 'Correction'",
                quantity, BY_NAME[quantity].sources[0], is_error=False,
            )  # fmt: skip
    if "currency" in named:
        yield Check(
            "currency.code", "A currency is three capital letters (ISO 4217).",
            "currency IS NOT NULL AND NOT regexp_matches(currency, '^[A-Z]{3}$')", "currency", "BillingCurrency",
            of="currency",
        )  # fmt: skip
    if "category" in named:
        allowed = ", ".join(literal(one) for one in CATEGORIES)
        yield Check(
            "category.unknown", f"ChargeCategory is one of {', '.join(CATEGORIES)}.",
            f"category IS NOT NULL AND category NOT IN ({allowed})", "category", "ChargeCategory",
        )  # fmt: skip
    if {"started", "ended", "period_start", "period_end"} <= named.keys():
        yield Check(
            "period.order", "The charge ends before it starts.", "ended < started", "ended", "ChargePeriodEnd"
        )
        yield Check(
            "period.billing", "The billing period ends before it starts.", "period_end <= period_start", "period_end",
            "BillingPeriodEnd",
        )  # fmt: skip
        yield Check(
            "period.outside", "The charge lies outside its billing period; it counts on the day it names.",
            "started < period_start OR started >= period_end", "started", "ChargePeriodStart", is_error=False,
        )  # fmt: skip
