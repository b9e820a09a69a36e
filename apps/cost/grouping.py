"""One pass over a bill's lines: summed by what the rules ask for and only by that, and tested on the way.

Rules, shares and facts then work on sums and their kinds (`summing`). Tags are texts that repeat: they are kept whole
as a key and taken apart once for each that is different, unless a bill has nearly as many as lines.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb

from . import focus, narrowing, summing
from .choices import RuleKind
from .classifying import RESOURCE
from .focus import Source, tag_sql
from .models import Rule
from .sharing import MEASURES
from .summing import File, Key

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
    """Make the views `summed` and `kinds`; gives whether any line breaks a rule of `checking`, which then tells which and where.

    `summed` has a row for each kind of line on each day: file, kind, day, period_end, the measures, lines. `kinds` tells what
    each is: file, kind, provider, billing_account, currency, period, sub_account, service, and what the rules ask for
    (category, resource_key, tag_N).
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
    files = []
    for number, (path, columns) in enumerate(opened.files):
        found = narrowing.narrowed(duck, path, columns)
        found = found if opened.tags == "MAP" else focus.with_text_tags(found)
        files.append(File(number, path, found, keys))
    made = [summing.add_up(duck, file) for file in files]
    shown = f"kind, day, CAST(last AS DATE) AS period_end, {_measures(duck, len(files))}, lines"
    sums = " UNION ALL ".join(f"SELECT {n} AS file, {shown} FROM sums_{n}" for n in range(len(files)))
    duck.execute(f"CREATE OR REPLACE VIEW summed AS {sums}")
    duck.execute(f"CREATE OR REPLACE TABLE kinds_given AS {' UNION ALL '.join(made)}")
    _take_tags_apart(duck, tags if apart else [], opened.tags)
    return _kind_is_broken(duck, opened, apart) or any(summing.line_is_broken(duck, file) for file in files)


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
            parts.append(f"SELECT {', '.join(keys)}, {names} FROM kinds GROUP BY ALL")
        else:
            shown, by = _keys(keys, found)
            names = ", ".join(f"max({name}) AS {name}" for name in named)
            parts.append(f"SELECT {shown}, {names} FROM ({focus.select(path, number, found)}){by}")
    # A zero byte cannot be kept, and is not worth refusing a bill for.
    names = ", ".join(f"replace(max({name}), chr(0), '') AS {name}" for name in named)
    duck.execute(
        f"CREATE OR REPLACE TABLE names AS SELECT {', '.join(keys)}, {names} FROM ({' UNION ALL '.join(parts)}) GROUP BY ALL"
    )


def _keys(keys: Mapping[str, Key], found: list[Source]) -> tuple[str, str]:
    """Accounts as SQL, and what to group by: what all lines have in common is written down, not grouped by."""
    same, made = {source.column.name for source in found if source.is_same}, focus.values(found)
    common = {one: same.issuperset(needs) for one, (_, needs) in keys.items()}
    shown = ", ".join(f"{made[one] if common[one] else one} AS {one}" for one in keys)
    by = [str(place) for place, one in enumerate(keys, 1) if not common[one]]
    return shown, f" GROUP BY {', '.join(by)}" if by else ""


def _repeats(duck: duckdb.DuckDBPyConnection) -> bool:
    row = duck.execute(
        f"SELECT count(DISTINCT tags) * {REPEATS} <= count(*) FROM (SELECT tags FROM lines LIMIT {SAMPLE})"
    ).fetchone()
    return bool(row and row[0])


def _measures(duck: duckdb.DuckDBPyConnection, files: int) -> str:
    """The measures of all files' sums, in one type: of decimals that differ in places DuckDB's UNION keeps the fewest."""
    described = [
        dict(duck.execute(f"SELECT column_name, column_type FROM (DESCRIBE sums_{n})").fetchall())
        for n in range(files)
    ]
    return ", ".join(
        one if len({types[one] for types in described}) == 1 else f"CAST({one} AS {focus.MONEY}) AS {one}"
        for one in MEASURES
    )


def _take_tags_apart(duck: duckdb.DuckDBPyConnection, tags: Sequence[str], kind: str) -> None:
    if not tags:
        duck.execute("CREATE OR REPLACE VIEW kinds AS SELECT * FROM kinds_given")
        return
    values = ", ".join(f"{tag_sql(key, kind)} AS tag_{place}" for place, key in enumerate(tags))
    duck.execute(
        f"CREATE OR REPLACE TABLE tag_values AS SELECT tags, {values} FROM (SELECT DISTINCT tags FROM kinds_given)"
    )
    duck.execute(
        "CREATE OR REPLACE VIEW kinds AS SELECT k.* EXCLUDE (tags), v.* EXCLUDE (tags) FROM kinds_given k "
        "JOIN tag_values v ON v.tags IS NOT DISTINCT FROM k.tags"
    )


def _kind_is_broken(duck: duckdb.DuckDBPyConnection, opened: Opened, apart: bool) -> bool:
    broken = "SELECT 1 FROM kinds_given WHERE broken"
    if apart and opened.tags != "MAP":
        broken += " UNION ALL SELECT 1 FROM tag_values WHERE tags IS NOT NULL AND NOT json_valid(tags)"
    return duck.execute(f"SELECT 1 FROM ({broken}) LIMIT 1").fetchone() is not None
