"""Files of bills: taken in unchanged or not at all, kept one folder a bill, read by DuckDB as Parquet."""

import hashlib
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from . import focus, opencost
from .duck import bills_dir, literal, name
from .focus import describe

BLOCK = 1 << 20
SUFFIXES = (".csv", ".csv.gz", ".parquet", ".json")


class Unusable(Exception):
    """A delivery cannot be taken in; the message says which file and why. Nothing of it was kept."""


@dataclass(frozen=True, slots=True)
class Taken:
    """One file as it was taken in; `digest` is its SHA-256."""

    name: str
    path: Path
    digest: str
    size: int

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "stored": self.path.name, "digest": self.digest, "size": self.size}


def suffix_of(name: str) -> str:
    """Raises Unusable for a file that is neither CSV nor Parquet by its name."""
    found = next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), None)
    if found is None:
        raise Unusable(f"{name} is neither .csv, .csv.gz, .parquet nor OpenCost's .json.")
    return found


def take_stream(name: str, chunks: Iterable[bytes], folder: Path, number: int) -> Taken:
    """Keep an uploaded file."""
    path = folder / f"{number}{suffix_of(name)}"
    digest, size = hashlib.sha256(), 0
    with path.open("wb") as out:
        for chunk in chunks:
            digest.update(chunk)
            size += len(chunk)
            out.write(chunk)
    if not size:
        raise Unusable(f"{name} is empty.")
    return Taken(name, path, digest.hexdigest(), size)


def take_path(source: Path, folder: Path, number: int) -> Taken:
    """Keep a copy of a file. Raises Unusable where it changed while it was read: it comes again when it is whole."""
    path = folder / f"{number}{suffix_of(source.name)}"
    before = source.stat()
    if not before.st_size:
        raise Unusable(f"{source.name} is empty.")
    with ThreadPoolExecutor(max_workers=1) as digester:
        # Both at once: whether the copy is what was digested is looked at again when it is read (`still_as_taken`).
        digest = digester.submit(digest_of, source)
        shutil.copyfile(source, path)
    taken = Taken(source.name, path, digest.result(), path.stat().st_size)
    after = source.stat()
    if (before.st_size, before.st_mtime_ns) != (
        after.st_size,
        after.st_mtime_ns,
    ) or taken.size != after.st_size:
        raise Unusable(f"{source.name} changed while it was read; it is taken when it is whole.")
    return taken


def new_folder() -> Path:
    """A folder for a delivery that is being taken in."""
    return Path(tempfile.mkdtemp(prefix="incoming-", dir=bills_dir()))


def keep(folder: Path, digest: str, *, replace: bool) -> None:
    """Give a delivery its lasting place, under its digest; what lies there already stays, unless it is to be replaced."""
    target = folder_of(digest)
    if target.exists() and not replace:
        return
    if target.exists():
        shutil.rmtree(target)
    folder.rename(target)


def folder_of(digest: str) -> Path:
    """Where the files of the bill with this digest lie."""
    return bills_dir() / digest


def delivery_digest(files: Sequence[Taken]) -> str:
    """The same whichever order the files came in, and whatever they were called."""
    return hashlib.sha256("\n".join(sorted(one.digest for one in files)).encode()).hexdigest()


def still_as_taken(path: Path, digest: str) -> bool:
    """Whether a kept file is byte for byte what was taken in."""
    return digest_of(path) == digest


def digest_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def as_parquet(connection: duckdb.DuckDBPyConnection, path: Path) -> tuple[Path, dict[str, str]]:
    """The file as Parquet with its columns; a CSV is turned once, each value as the text it was.

    Lines that the provider split are made lines of what they are split to, once, in the same way. Raises Unusable for
    a truncated or malformed file. Made beside the file under another name and renamed when whole, so that a worker
    killed meanwhile leaves nothing that looks finished.
    """
    target = path.with_name(path.name.split(".")[0] + ".lines")
    if not target.exists():
        try:
            if path.name.endswith(".parquet"):
                read = f"read_parquet({literal(path)})"
                columns = describe(connection, str(path))
                if not focus.split_to(columns) or not _has_split_lines(connection, read, columns):
                    return path, columns
            else:
                source = _lines_of_json(path) if path.name.endswith(".json") else path
                read = f"read_csv({literal(source)}, all_varchar = true, header = true, nullstr = ['NULL', ''], sample_size = 1000)"
                columns = {
                    column[0]: "VARCHAR"
                    for column in connection.execute(f"SELECT * FROM {read} LIMIT 0").description or ()
                }
            _turn(connection, f"SELECT * {focus.split_to(columns)} FROM {read}", target)
        except (duckdb.Error, UnicodeDecodeError) as error:
            raise Unusable(_first_words(error)) from error
    return target, _described(connection, target)


def _has_split_lines(connection: duckdb.DuckDBPyConnection, read: str, columns: dict[str, str]) -> bool:
    """Whether any line says what it is split to; only those columns are read for it."""
    told = " OR ".join(f"{name(one)} IS NOT NULL" for one in focus.SPLIT if one in columns)
    row = connection.execute(f"SELECT bool_or({told}) FROM {read}").fetchone()
    return bool(row and row[0])


def _turn(connection: duckdb.DuckDBPyConnection, query: str, target: Path) -> None:
    part = target.with_suffix(".part")
    try:
        connection.execute(f"COPY ({query}) TO {literal(part)} (FORMAT parquet, COMPRESSION zstd)")
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    part.rename(target)


def _lines_of_json(path: Path) -> Path:
    """OpenCost's answer as a CSV of FOCUS lines beside it. Raises Unusable."""
    made = path.with_suffix(".opencost")
    try:
        opencost.write_lines(path, made)
    except opencost.NoAllocation as error:
        made.unlink(missing_ok=True)
        raise Unusable(str(error)) from error
    return made


def _described(connection: duckdb.DuckDBPyConnection, path: Path) -> dict[str, str]:
    try:
        return describe(connection, str(path))
    except duckdb.Error as error:
        raise Unusable(_first_words(error)) from error


def _first_words(error: Exception) -> str:
    """The first line of DuckDB's message, without paths of ours."""
    return str(error).split("\n")[0].replace(str(bills_dir()), "")[:300]
