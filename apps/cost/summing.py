"""The lines of one file added up: its sums by kind and day, and what its kinds are.

A kind is what lines have in common beside their day, as far as anything asks for it. Ten million lines become some
hundred thousand sums of some ten thousand kinds; what is made of a column's value is made once a kind.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import duckdb

from . import checking, focus
from .duck import literal, name
from .focus import MONEY, Source, Type
from .sharing import MEASURES

#: A key's SQL over a line, and the columns that it is made of.
Key = tuple[str, tuple[str, ...]]
#: Columns that are keys as they stand; a key of others is made of each line.
PLAIN = frozenset(
    {"provider", "billing_account", "currency", "period_start", "sub_account", "service", "category"}
)
#: Texts of one group of columns become one key where a file has so many lines, and their values can stand together in at
#: most so many ways.
LINES_WORTH_IT, MOST_WAYS = 200_000, 1_000_000


@dataclass(frozen=True, slots=True)
class File:
    """One of a bill's files: its columns, and the keys that its lines are grouped by."""

    number: int
    path: str
    columns: list[Source]
    keys: Mapping[str, Key]

    @property
    def as_is(self) -> frozenset[str]:
        """Columns that are grouped by as they stand; tags are where they are kept whole."""
        return PLAIN | {"tags"} if "tags" in self.keys else PLAIN

    @property
    def needed(self) -> frozenset[str]:
        """Those of them that a key is made of."""
        return frozenset(one for _, needs in self.keys.values() for one in needs) & self.as_is

    @property
    def plain(self) -> dict[str, Source]:
        """Those of these that differ from line to line."""
        needed = self.needed
        return {s.column.name: s for s in self.columns if s.column.name in needed and not s.is_same}

    @property
    def same(self) -> frozenset[str]:
        """Columns of which all lines have one value, or none."""
        return frozenset(source.column.name for source in self.columns if source.is_same)

    @property
    def made(self) -> dict[str, str]:
        """Keys that are made of each line, as SQL. One of columns that lack is nothing, and no key."""
        as_is, same = self.as_is, self.same
        return {
            one: value
            for one, (value, needs) in self.keys.items()
            if not as_is.issuperset(needs) and (one == "day" or not same.issuperset(needs))
        }

    @property
    def is_typed(self) -> bool:
        """Whether its amounts and times are that: lines are then tested by comparing, of which a pass of its own costs less
        than a mark in each sum."""
        return all(
            source.found is None
            or source.places is not None
            or (source.column.type == Type.TIME and not source.is_text)
            for source in self.columns
            if source.column.type in (Type.MONEY, Type.TIME)
        )


def add_up(duck: duckdb.DuckDBPyConnection, file: File) -> str:
    """Make the table `sums_N` of a file: kind, day, last, the measures, lines, bad. Gives the query of its kinds.

    That has the file's number, kind, each key but the day, and whether a value of it breaks a rule.
    """
    plain, made = file.plain, file.made
    texts = [one for one, source in plain.items() if source.type == "VARCHAR"]
    ways = _ways(duck, file, texts)
    apart = [f"in_{one}" for one in plain if not ways or one not in texts]
    shown = [*apart, *(f"{value} AS {one}" for one, value in made.items())]
    grouped = _grouped(file, [f"{_number([f'in_{one}' for one in texts])} AS way", *shown] if ways else shown)
    kind = [*(["way"] if ways else []), *apart, *(one for one in made if one != "day")]
    if kind == ["way"]:
        sums = f"sums_{file.number}"
        duck.execute(
            f"CREATE OR REPLACE TABLE {sums} AS SELECT way AS kind, * EXCLUDE (way) FROM ({grouped})"
        )
        there = f"SELECT way AS kind, * EXCLUDE (way) FROM {ways} WHERE way IN (SELECT kind FROM {sums})"
    else:
        _number_kinds(duck, file.number, grouped, kind)
        there = f"SELECT * FROM given_{file.number}" + (f" JOIN {ways} USING (way)" if ways else "")
    return _kinds(file, there)


def line_is_broken(duck: duckdb.DuckDBPyConnection, file: File) -> bool:
    """Whether a line breaks a rule that is none of a kind's values alone."""
    if not file.is_typed:
        row = duck.execute(f"SELECT coalesce(bool_or(bad), false) FROM sums_{file.number}").fetchone()
    else:
        extra = "".join(f", {source.raw} AS raw_{source.column.name}" for source in file.columns)
        broken, _ = _checks(file)
        lines = focus.select(file.path, 0, file.columns, extra=extra)
        row = duck.execute(f"SELECT coalesce(bool_or({broken}), false) FROM ({lines})").fetchone()
    return bool(row and row[0])


def _number(columns: Collection[str]) -> str:
    """The number that stands for the values of columns: a hash, so that who uses it looks whether two have the same."""
    return f"hash({', '.join(columns)})" if columns else "0::UBIGINT"


def _ways(duck: duckdb.DuckDBPyConnection, file: File, texts: Sequence[str]) -> str:
    """Make a table of all ways in which the texts of a file's columns can stand together, each with a number; gives its name.

    One number is hashed and compared in a fraction of the time that several texts take. Where two ways have the same, or
    there are too many, nothing is made and the name is empty. Each column alone is read from the file's dictionary, which
    costs next to nothing.
    """
    if len(texts) < 2 or checking.count_lines(duck, file.path) < LINES_WORTH_IT:
        return ""
    table, ways, plain = f"ways_{file.number}", 1, file.plain
    for one in texts:
        column = name(plain[one].found or "")
        duck.execute(
            f"CREATE OR REPLACE TEMP TABLE {table}_{one} AS SELECT DISTINCT {column} AS in_{one} FROM read_parquet({literal(file.path)})"
        )
        row = duck.execute(f"SELECT count(*) FROM {table}_{one}").fetchone()
        ways *= row[0] if row else 0
        if ways > MOST_WAYS:
            return ""
    columns = [f"in_{one}" for one in texts]
    every = " CROSS JOIN ".join(f"{table}_{one}" for one in texts)
    duck.execute(
        f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT {', '.join(columns)}, {_number(columns)} AS way FROM {every}"
    )
    return table if _are_apart(duck, table, "way") else ""


def _are_apart(duck: duckdb.DuckDBPyConnection, table: str, number: str) -> bool:
    row = duck.execute(f"SELECT count(*) = count(DISTINCT {number}) FROM {table}").fetchone()
    return bool(row and row[0])


def _grouped(file: File, shown: Sequence[str]) -> str:
    """The query of a file's sums: its lines, tested where they are no types, grouped by all that is shown."""
    extra = "".join(f", {source.raw} AS raw_{source.column.name}" for source in file.columns)
    extra += "".join(f", {name(source.found or '')} AS in_{one}" for one, source in file.plain.items())
    of_lines, _ = _checks(file)
    tested = "false" if file.is_typed else f"coalesce(bool_or({of_lines}), false)"
    last = focus.values(file.columns)["period_end"] if "period_end" in file.same else "max(period_end)"
    return (
        f"SELECT {', '.join(shown)}, {last} AS last, {_sums(file.columns)}, count(*) AS lines, {tested} AS bad "
        f"FROM ({focus.select(file.path, file.number, file.columns, extra=extra)}) "
        f"GROUP BY {', '.join(str(place) for place in range(1, len(shown) + 1))}"
    )


def _number_kinds(duck: duckdb.DuckDBPyConnection, number: int, grouped: str, kind: Sequence[str]) -> None:
    """Make the tables of a file's sums and of its kinds where a kind is more than one number."""
    sums, given, columns = f"sums_{number}", f"given_{number}", "".join(f", {one}" for one in kind)
    duck.execute(f"CREATE OR REPLACE TABLE {sums} AS SELECT {_number(kind)} AS kind, * FROM ({grouped})")
    duck.execute(f"CREATE OR REPLACE TABLE {given} AS SELECT DISTINCT kind{columns} FROM {sums}")
    if not _are_apart(duck, given, "kind"):
        duck.execute(
            f"CREATE OR REPLACE TABLE {given} AS SELECT row_number() OVER () AS kind{columns} FROM {given}"
        )
        alike = " AND ".join(f"g.{one} IS NOT DISTINCT FROM s.{one}" for one in kind)
        duck.execute(
            f"CREATE OR REPLACE TABLE {sums} AS SELECT g.kind, s.* EXCLUDE (kind) FROM {sums} s JOIN {given} g ON {alike}"
        )


def _kinds(file: File, there: str) -> str:
    """The query of a file's kinds as ours, from what stands in the file."""
    plain, made, needed = file.plain, file.made, file.needed
    outer = [
        replace(source, found=f"in_{source.column.name}") if source.column.name in plain else source
        for source in file.columns
    ]
    ours = ", ".join(f"{value} AS {one}" for one, value in focus.values(outer).items() if one in needed)
    raws = "".join(
        f", {source.raw} AS raw_{source.column.name}" for source in outer if source.column.name in needed
    )
    shown = ", ".join(
        f"{one if one in made else value if file.as_is.issuperset(needs) else 'NULL::VARCHAR'} AS {one}"
        for one, (value, needs) in file.keys.items()
        if one != "day"
    )
    _, of_kinds = _checks(file)
    return (
        f"SELECT {file.number} AS file, kind, {shown}, coalesce({of_kinds}, false) AS broken FROM "
        f"(SELECT *, {ours}{raws} FROM ({there}))"
    )


def _sums(found: list[Source]) -> str:
    """The measures added up: with the places that the file has where any sum of it surely fits, which are written sooner."""
    return ", ".join(
        f"{f'sum({_summand(one)})' if one.sums_fit else f'CAST(sum({_summand(one)}) AS {MONEY})'} AS {one.column.name}"
        for one in found
        if one.column.name in MEASURES
    )


def _checks(file: File) -> tuple[str, str]:
    """What breaks a rule: of each line, and of what kinds have in common."""
    plain = file.plain
    checks = checking.of_lines(file.columns, with_tags="tags" not in file.keys)
    of_kinds = [f"({check.broken})" for check in checks if check.of in plain]
    of_lines = [f"({check.broken})" for check in checks if check.of not in plain]
    return " OR ".join(of_lines) or "false", " OR ".join(of_kinds) or "false"


def _summand(source: Source) -> str:
    """What is added up: a decimal as the file has it, which costs a third of one made wide first; a sixth where it is small."""
    if source.places is None or source.may_lack:
        return source.column.name
    raw = f"raw_{source.column.name}"
    return f"CAST({raw} AS DECIMAL(18,{source.places}))" if source.is_small else raw
