"""One pass over a bill's lines: summed by what the rules ask for and only by that, and tested on the way.

Ten million lines become some hundred thousand groups here; rules, shares and facts then work on groups. Tags are
texts that repeat: they are kept whole as a key and taken apart once for each that is different, unless a bill has
nearly as many as lines.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb

from . import checking, focus, narrowing
from .choices import RuleKind
from .classifying import RESOURCE
from .focus import MONEY, Source, tag_sql
from .models import Rule
from .sharing import MEASURES

#: A key's SQL over a line, and the columns that it is made of.
Key = tuple[str, tuple[str, ...]]
KEYS: dict[str, Key] = {
    "provider": ("provider", ("provider",)),
    "billing_account": ("billing_account", ("billing_account",)),
    "currency": ("currency", ("currency",)),
    "period": ("CAST(period_start AS DATE)", ("period_start",)),
    "day": ("day", ("started",)),
    "sub_account": ("sub_account", ("sub_account", "billing_account")),
    "service": ("service", ("service",)),
}
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
    keys = dict(KEYS)
    if any(rule.category for rule in rules):
        keys["category"] = ("category", ("category",))
    if any(rule.kind == RuleKind.RESOURCE for rule in rules):
        keys["resource_key"] = (RESOURCE, ("resource", "resource_name"))
    if apart:
        keys["tags"] = ("tags", ("tags",))
    else:
        keys |= {f"tag_{place}": (tag_sql(key, opened.tags), ("tags",)) for place, key in enumerate(tags)}
    parts = [
        _of_file(number, path, narrowing.narrowed(duck, path, found), keys, apart, opened)
        for number, (path, found) in enumerate(opened.files)
    ]
    duck.execute(f"CREATE OR REPLACE TABLE summed AS {' UNION ALL '.join(parts)}")
    _take_tags_apart(duck, tags if apart else [], opened.tags)
    return _is_broken(duck, opened, apart)


def name_accounts(duck: duckdb.DuckDBPyConnection, opened: Opened) -> None:
    """Make the table `names`: the accounts that grouped lines name, each with one of its names."""
    keys = {name: KEYS[name] for name in ("provider", "billing_account", "sub_account")}
    named = ("billing_account_name", "sub_account_name")
    parts = []
    for number, (path, columns) in enumerate(opened.files):
        found = narrowing.narrowed(duck, path, columns)
        same, made = {source.column.name for source in found if source.is_same}, focus.values(found)
        if len(opened.files) == 1 and same.issuperset(named):
            # Nothing to read again.
            names = ", ".join(f"any_value({made[name]}) AS {name}" for name in named)
            parts.append(f"SELECT {', '.join(keys)}, {names} FROM summed GROUP BY ALL")
        else:
            shown, by = _keys(keys, found)
            names = ", ".join(f"max({name}) AS {name}" for name in named)
            parts.append(f"SELECT {shown}, {names} FROM ({focus.select(path, number, found)}){by}")
    names = ", ".join(f"max({name}) AS {name}" for name in named)
    duck.execute(
        f"CREATE OR REPLACE TABLE names AS SELECT {', '.join(keys)}, {names} FROM ({' UNION ALL '.join(parts)}) GROUP BY ALL"
    )


def _of_file(
    number: int, path: str, found: list[Source], keys: Mapping[str, Key], apart: bool, opened: Opened
) -> str:
    """The sums of one file."""
    shaped = found if opened.tags == "MAP" else focus.with_text_tags(found)
    shown, by = _keys(keys, shaped)
    is_one_period = next(source.is_same for source in shaped if source.column.name == "period_end")
    end = focus.values(shaped)["period_end"] if is_one_period else "max(period_end)"
    raws = "".join(f", {source.raw} AS raw_{source.column.name}" for source in shaped)
    sums = ", ".join(
        f"CAST(sum({_summand(source)}) AS {MONEY}) AS {source.column.name}"
        for source in shaped
        if source.column.name in MEASURES
    )
    broken = " OR ".join(f"({check.broken})" for check in checking.of_lines(shaped, with_tags=not apart))
    return (
        f"SELECT {shown}, CAST({end} AS DATE) AS period_end, {sums}, count(*) AS lines, "
        f"coalesce(bool_or({broken}), false) AS broken FROM ({focus.select(path, number, shaped, extra=raws)}){by}"
    )


def _keys(keys: Mapping[str, Key], found: list[Source]) -> tuple[str, str]:
    """The keys as SQL, and what to group by: what all lines have in common is written down, not grouped by."""
    same = {source.column.name for source in found if source.is_same}
    common = {name: same.issuperset(needs) for name, (_, needs) in keys.items()}
    shown = [
        f"{_common(name, found) if common[name] else value} AS {name}" for name, (value, _) in keys.items()
    ]
    by = [str(place) for place, name in enumerate(keys, 1) if not common[name]]
    return ", ".join(shown), f" GROUP BY {', '.join(by)}" if by else ""


def _common(name: str, found: list[Source]) -> str:
    """A key as SQL that needs no line."""
    made = focus.values(found)
    if name == "period":
        return f"CAST({made['period_start']} AS DATE)"
    if name == "resource_key" or name.startswith("tag"):
        return "NULL::VARCHAR"  # there is no such column
    return made[name]


def _summand(source: Source) -> str:
    """What is added up: a decimal as the file has it, which costs a third of one made wide first; a sixth where it is small."""
    if source.places is None or source.may_lack:
        return source.column.name
    raw = f"raw_{source.column.name}"
    return f"CAST({raw} AS DECIMAL(18,{source.places}))" if source.is_small else raw


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
