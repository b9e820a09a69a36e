"""One pass over a bill's lines: summed by what the rules ask for and only by that, and tested on the way.

Ten million lines become some hundred thousand groups here; rules, shares and facts then work on groups. Tags are
texts that repeat: they are kept whole as a key and taken apart once for each that is different, unless a bill has
nearly as many as lines.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import duckdb

from . import checking, focus, narrowing
from .choices import RuleKind
from .classifying import RESOURCE
from .duck import literal, name
from .focus import MONEY, Source, Type, tag_sql
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
#: Columns that are keys as they stand; a key of others is made of each line.
PLAIN = frozenset(
    {"provider", "billing_account", "currency", "period_start", "sub_account", "service", "category"}
)
#: Texts of one group of columns become one key where a file has so many lines, and their values can stand together in at
#: most so many ways.
LINES_WORTH_IT, MOST_WAYS = 200_000, 1_000_000
#: What makes a number of them.
HASH = "hash"
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
    files = []
    for path, columns in opened.files:
        found = narrowing.narrowed(duck, path, columns)
        files.append((path, found if opened.tags == "MAP" else focus.with_text_tags(found)))
    parts = [
        _of_file(n, path, found, keys, apart, _ways(duck, n, path, _plain(found, keys, apart)))
        for n, (path, found) in enumerate(files)
    ]
    duck.execute(f"CREATE OR REPLACE TABLE summed AS {' UNION ALL '.join(parts)}")
    _take_tags_apart(duck, tags if apart else [], opened.tags)
    return _is_broken(duck, opened, apart) or any(
        _line_is_broken(duck, path, found, keys, apart) for path, found in files if _is_typed(found)
    )


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


def _ways(duck: duckdb.DuckDBPyConnection, number: int, path: str, plain: Mapping[str, Source]) -> str:
    """Make a table of all ways in which the texts of a file's plain columns can stand together, each with a number; gives its name.

    One number is hashed and compared in a fraction of the time that several texts take. It is a hash, so that whether any
    two ways have the same is looked at first: then, or where there are too many ways, nothing is made and the name is empty.
    Each column alone is read from the file's dictionary, which costs next to nothing.
    """
    texts = [one for one, source in plain.items() if source.type == "VARCHAR"]
    if len(texts) < 2 or checking.count_lines(duck, path) < LINES_WORTH_IT:
        return ""
    table, ways = f"ways_{number}", 1
    for one in texts:
        column = name(plain[one].found or "")
        duck.execute(
            f"CREATE OR REPLACE TEMP TABLE {table}_{one} AS SELECT DISTINCT {column} AS in_{one} FROM read_parquet({literal(path)})"
        )
        row = duck.execute(f"SELECT count(*) FROM {table}_{one}").fetchone()
        ways *= row[0] if row else 0
        if ways > MOST_WAYS:
            return ""
    columns = ", ".join(f"in_{one}" for one in texts)
    every = " CROSS JOIN ".join(f"{table}_{one}" for one in texts)
    duck.execute(
        f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT {columns}, {HASH}({columns}) AS way FROM {every}"
    )
    row = duck.execute(f"SELECT count(*) = count(DISTINCT way) FROM {table}").fetchone()
    return table if row and row[0] else ""


def _of_file(
    number: int, path: str, shaped: list[Source], keys: Mapping[str, Key], apart: bool, ways: str
) -> str:
    """The sums of one file: grouped by columns as they stand in it, which are made ours once a group and not once a line.

    `ways` names the table of what its texts can be together, where they are one key.
    """
    as_is = PLAIN | {"tags"} if apart else PLAIN
    needed = {one for _, needs in keys.values() for one in needs} & as_is
    plain = _plain(shaped, keys, apart)
    # What is made of lines and not of plain columns alone stays a key as it is.
    made = {name: value for name, (value, needs) in keys.items() if not as_is.issuperset(needs)}
    same = {source.column.name for source in shaped if source.is_same}
    made = {
        name: "NULL::VARCHAR" if same.issuperset(keys[name][1]) and name != "day" else value
        for name, value in made.items()
    }
    texts = [one for one, source in plain.items() if source.type == "VARCHAR"] if ways else []
    inner = [f"in_{one}" for one in plain if one not in texts]
    inner += [f"{HASH}({', '.join(f'in_{one}' for one in texts)}) AS way"] if texts else []
    inner += [f"{value} AS {name}" for name, value in made.items()]
    by = [str(place) for place, one in enumerate(inner, 1) if not one.startswith("NULL")]
    extra = "".join(f", {source.raw} AS raw_{source.column.name}" for source in shaped)
    extra += "".join(f", {name(source.found or '')} AS in_{one}" for one, source in plain.items())
    of_lines, of_groups = _checks(shaped, plain, apart)
    tested = "false" if _is_typed(shaped) else f"coalesce(bool_or({of_lines}), false)"
    last = focus.values(shaped)["period_end"] if "period_end" in same else "max(period_end)"
    columns = "".join(f"{one}, " for one in inner)
    grouped = (
        f"SELECT {columns}{last} AS last, {_sums(shaped)}, count(*) AS lines, {tested} AS bad "
        f"FROM ({focus.select(path, number, shaped, extra=extra)})"
        + (f" GROUP BY {', '.join(by)}" if by else "")
    )
    if texts:
        grouped = (
            f"SELECT g.* EXCLUDE (way), w.* EXCLUDE (way) FROM ({grouped}) g JOIN {ways} w ON w.way = g.way"
        )
    outer = [
        replace(source, found=f"in_{source.column.name}") if source.column.name in plain else source
        for source in shaped
    ]
    ours = ", ".join(f"{value} AS {one}" for one, value in focus.values(outer).items() if one in needed)
    raws = "".join(
        f", {source.raw} AS raw_{source.column.name}" for source in outer if source.column.name in needed
    )
    shown = ", ".join(f"{one if one in made else value} AS {one}" for one, (value, _) in keys.items())
    return (
        f"SELECT {shown}, CAST(last AS DATE) AS period_end, {', '.join(MEASURES)}, lines, "
        f"bad OR coalesce({of_groups}, false) AS broken FROM (SELECT *, {ours}{raws} FROM ({grouped}))"
    )


def _plain(found: list[Source], keys: Mapping[str, Key], apart: bool) -> dict[str, Source]:
    """The columns that are grouped by as they stand in the file."""
    as_is = PLAIN | {"tags"} if apart else PLAIN
    needed = {one for _, needs in keys.values() for one in needs} & as_is
    return {s.column.name: s for s in found if s.column.name in needed and not s.is_same}


def _is_typed(found: list[Source]) -> bool:
    """Whether the file's amounts and times are that: lines are then tested by comparing, of which a pass of its own costs
    less than a mark in each group."""
    return all(
        source.found is None
        or source.places is not None
        or (source.column.type == Type.TIME and not source.is_text)
        for source in found
        if source.column.type in (Type.MONEY, Type.TIME)
    )


def _line_is_broken(
    duck: duckdb.DuckDBPyConnection, path: str, found: list[Source], keys: Mapping[str, Key], apart: bool
) -> bool:
    """Whether a line of a typed file breaks a rule that is none of a key alone."""
    extra = "".join(f", {source.raw} AS raw_{source.column.name}" for source in found)
    broken, _ = _checks(found, _plain(found, keys, apart), apart)
    row = duck.execute(
        f"SELECT coalesce(bool_or({broken}), false) FROM ({focus.select(path, 0, found, extra=extra)})"
    ).fetchone()
    return bool(row and row[0])


def _sums(found: list[Source]) -> str:
    """The measures added up: with the places that the file has where any sum of it surely fits, which are written sooner."""
    return ", ".join(
        f"{f'sum({_summand(one)})' if one.sums_fit else f'CAST(sum({_summand(one)}) AS {MONEY})'} AS {one.column.name}"
        for one in found
        if one.column.name in MEASURES
    )


def _checks(found: list[Source], plain: Collection[str], apart: bool) -> tuple[str, str]:
    """What breaks a rule: of each line, and of what groups have in common."""
    checks = checking.of_lines(found, with_tags=not apart)
    of_groups = [f"({check.broken})" for check in checks if check.of in plain]
    of_lines = [f"({check.broken})" for check in checks if check.of not in plain]
    return " OR ".join(of_lines) or "false", " OR ".join(of_groups) or "false"


def _keys(keys: Mapping[str, Key], found: list[Source]) -> tuple[str, str]:
    """Accounts as SQL, and what to group by: what all lines have in common is written down, not grouped by."""
    same, made = {source.column.name for source in found if source.is_same}, focus.values(found)
    common = {one: same.issuperset(needs) for one, (_, needs) in keys.items()}
    shown = ", ".join(f"{made[one] if common[one] else one} AS {one}" for one in keys)
    by = [str(place) for place, one in enumerate(keys, 1) if not common[one]]
    return shown, f" GROUP BY {', '.join(by)}" if by else ""


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
    broken = "SELECT 1 FROM summed WHERE broken"
    if apart and opened.tags != "MAP":
        broken += " UNION ALL SELECT 1 FROM tag_values WHERE tags IS NOT NULL AND NOT json_valid(tags)"
    return duck.execute(f"SELECT 1 FROM ({broken}) LIMIT 1").fetchone() is not None
