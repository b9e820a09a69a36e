"""What a file says of whole columns, so that the one pass over its lines need not ask each line.

A bill has one payer, one currency, one period in most files. A column whose least and greatest value are the same and
which lacks nowhere is that value: nothing is then read, compared or grouped by for it. Parquet keeps both in its footer,
from which DuckDB answers; a footer that shortened them shortens the greatest upwards, so that the two never meet there.
"""

from dataclasses import replace

import duckdb

from .duck import literal, name
from .focus import Source, Type

#: Columns that nobody expects to be the same in all lines.
VARIED = ("resource", "resource_name", "description")
#: The longest value that is written into a query.
LONGEST = 200
#: Digits before the point that a sum may come to for its places to be left as the file has them; `MONEY` holds twenty.
WHOLE = 16


def narrowed(duck: duckdb.DuckDBPyConnection, path: str, found: list[Source]) -> list[Source]:
    """The columns, with what is known of all lines. Raises duckdb.Error for a file that cannot be read."""
    asked = [source for source in found if _may_be_same(source) or _may_be_small(source)]
    columns = "".join(
        f", count({one}), CAST(min({one}) AS VARCHAR), CAST(max({one}) AS VARCHAR)"
        for one in (name(source.found or "") for source in asked)
    )
    row = duck.execute(f"SELECT count(*){columns} FROM read_parquet({literal(path)})").fetchone()
    if not row or not row[0]:
        return found
    known = {
        source.column.name: _known(source, row[0], *row[1 + 3 * place : 4 + 3 * place])
        for place, source in enumerate(asked)
    }
    return [known.get(source.column.name, source) for source in found]


def _may_be_same(source: Source) -> bool:
    is_plain = source.column.type in (Type.TEXT, Type.TIME) and source.column.name not in VARIED
    return source.found is not None and is_plain and source.type.startswith(("VARCHAR", "TIMESTAMP", "DATE"))


def _may_be_small(source: Source) -> bool:
    return source.places is not None and source.column.type == Type.MONEY


def _known(source: Source, lines: int, there: int, least: str | None, most: str | None) -> Source:
    if _may_be_small(source):
        places = source.places or 0
        digits = max(
            (len(one.lstrip("-").replace(".", "").lstrip("0")) for one in (least, most) if one), default=0
        )
        # A sum of so many lines has no more digits before the point than both have together.
        sums_fit = digits - places + len(str(lines)) <= WHOLE and not source.may_lack
        return replace(source, is_small=digits <= 18 and places <= 18, sums_fit=sums_fit)
    if not there:
        return replace(source, same=f"CAST(NULL AS {source.type})")
    if there == lines and least is not None and least == most and len(least) <= LONGEST:
        return replace(source, same=f"CAST({literal(least)} AS {source.type})")
    return source
