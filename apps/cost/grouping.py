"""One pass over a bill's lines: summed by what the rules ask for and only by that, and tested on the way.

Ten million lines become some hundred thousand groups here; rules, shares and facts then work on groups. Tags are
texts that repeat: they are kept whole as a key and taken apart once for each that is different, unless a bill has
nearly as many as lines.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from . import checking, focus
from .choices import RuleKind
from .classifying import RESOURCE
from .focus import MONEY, Source, tag_sql
from .models import Rule
from .sharing import MEASURES

#: Lines that are looked at to learn whether tags repeat, and how often each must.
SAMPLE, REPEATS = 50_000, 5


@dataclass(frozen=True, slots=True)
class Opened:
    """An imported or checked bill's files as the view `lines`; `tags` is the type of its tags."""

    files: Sequence[tuple[str, list[Source]]]
    tags: str


def open_files(duck: duckdb.DuckDBPyConnection, files: Sequence[tuple[str, list[Source]]]) -> Opened:
    """Make the view `lines` over files of one bill."""
    query, tags = focus.union(list(files))
    duck.execute(f"CREATE OR REPLACE VIEW lines AS {query}")
    return Opened(files, tags)


def tag_keys(rules: Sequence[Rule]) -> list[str]:
    """The tags that rules ask for, in the order of their columns `tag_0`, `tag_1`, …"""
    return sorted({rule.tag for rule in rules if rule.kind == RuleKind.TAG})


def group(duck: duckdb.DuckDBPyConnection, opened: Opened, rules: Sequence[Rule]) -> bool:
    """Make the view `groups`; gives whether any line breaks a rule of `checking`, which then tells which and where.

    Columns: provider, billing_account, currency, period, period_end, day, sub_account, service, what the rules ask
    for (category, resource_key, tag_N), the measures, lines.
    """
    tags = tag_keys(rules)
    apart = bool(tags) and _repeats(duck)
    keys = [
        "provider",
        "billing_account",
        "currency",
        "CAST(period_start AS DATE) AS period",
        "day",
        "sub_account",
        "service",
    ]
    if any(rule.category for rule in rules):
        keys.append("category")
    if any(rule.kind == RuleKind.RESOURCE for rule in rules):
        keys.append(f"{RESOURCE} AS resource_key")
    if apart:
        keys.append("tags")
    else:
        keys += [f"{tag_sql(key, opened.tags)} AS tag_{place}" for place, key in enumerate(tags)]
    parts = [
        _of_file(number, path, found, keys, apart, opened)
        for number, (path, found) in enumerate(opened.files)
    ]
    duck.execute(f"CREATE OR REPLACE TABLE summed AS {' UNION ALL '.join(parts)}")
    _take_tags_apart(duck, tags if apart else [], opened.tags)
    return _is_broken(duck, opened, apart)


def _of_file(
    number: int, path: str, found: list[Source], keys: Sequence[str], apart: bool, opened: Opened
) -> str:
    shaped = found if opened.tags == "MAP" else focus.with_text_tags(found)
    raws = "".join(f", {source.raw} AS raw_{source.column.name}" for source in found)
    sums = ", ".join(
        f"CAST(sum({_summand(source)}) AS {MONEY}) AS {source.column.name}"
        for source in found
        if source.column.name in MEASURES
    )
    broken = " OR ".join(f"({check.broken})" for check in checking.of_lines(found, with_tags=not apart))
    return (
        f"SELECT {', '.join(keys)}, CAST(max(period_end) AS DATE) AS period_end, {sums}, count(*) AS lines, "
        f"coalesce(bool_or({broken}), false) AS broken FROM ({focus.select(path, number, shaped, extra=raws)}) GROUP BY ALL"
    )


def _summand(source: Source) -> str:
    """What is added up: a decimal as the file has it, which costs a third of one made wide first."""
    is_narrow = source.type.startswith("DECIMAL") and int(source.type.rstrip(")").split(",")[1]) <= 18
    return f"raw_{source.column.name}" if is_narrow and not source.may_lack else source.column.name


def _repeats(duck: duckdb.DuckDBPyConnection) -> bool:
    row = duck.execute(
        f"SELECT count(DISTINCT tags) * {REPEATS} <= count(*) FROM (SELECT tags FROM lines LIMIT {SAMPLE})"
    ).fetchone()
    return bool(row and row[0])


def _take_tags_apart(duck: duckdb.DuckDBPyConnection, tags: Sequence[str], kind: str) -> None:
    if not tags:
        duck.execute("CREATE OR REPLACE VIEW groups AS SELECT * FROM summed")
        return
    values = ", ".join(f"{tag_sql(key, kind)} AS tag_{place}" for place, key in enumerate(tags))
    duck.execute(
        f"CREATE OR REPLACE TABLE tag_values AS SELECT tags, {values} FROM (SELECT DISTINCT tags FROM summed)"
    )
    duck.execute(
        "CREATE OR REPLACE VIEW groups AS SELECT s.* EXCLUDE (tags), v.* EXCLUDE (tags) FROM summed s "
        "JOIN tag_values v ON v.tags IS NOT DISTINCT FROM s.tags"
    )


def _is_broken(duck: duckdb.DuckDBPyConnection, opened: Opened, apart: bool) -> bool:
    tested = "broken"
    if apart and opened.tags != "MAP":
        tested = "broken OR (tags IS NOT NULL AND NOT json_valid(tags))"
    row = duck.execute(f"SELECT coalesce(bool_or({tested}), false) FROM summed").fetchone()
    return bool(row and row[0])
