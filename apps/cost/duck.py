"""DuckDB, as every reader of bill lines opens it: in memory, bounded, spilling beside the data."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
from django.conf import settings

#: Memory that one reading may take; past it DuckDB spills into the data directory.
MEMORY = "2GB"


@contextmanager
def connected(*, memory: str = MEMORY) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with its own memory database, closed at the end. Time zone UTC, as everywhere in the portal."""
    spill = bills_dir() / "spill" / str(os.getpid())
    connection = duckdb.connect(
        ":memory:",
        config={
            "memory_limit": memory,
            "threads": min(4, os.cpu_count() or 1),
            "temp_directory": str(spill),
            "autoinstall_known_extensions": False,
        },
    )
    try:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection
    finally:
        connection.close()


def bills_dir() -> Path:
    """Where bills are kept, one folder each; made on first use."""
    folder = Path(settings.DAYTWO_DATA_DIR) / "bills"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def literal(text: str | Path) -> str:
    """A text as an SQL literal; views take no parameters."""
    return "'" + str(text).replace("'", "''") + "'"


def name(column: str) -> str:
    """A column's name as SQL writes it."""
    return '"' + column.replace('"', '""') + '"'
