"""What an instance's directory holds, and clearing it: logs that were turned, overlong logs, leavings of writes cut short."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ..base import DiskUse

#: A log that is written still is cut down once it is longer than this, and keeps about so much of its end.
LONG, KEPT = 256 * 1024, 64 * 1024
#: A file of a write that was cut short is a leaving once it is so many seconds old.
OLD = 60.0
ERRORS = "stderr.log"


def measure(directory: Path) -> DiskUse:
    """All it holds, and what `clear` would free."""
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(folder, name)).st_size
    return DiskUse(total, sum(size for _, size in _clearable(directory)))


def clear(directory: Path) -> None:
    """Remove what can go. Any file may be written, turned or gone meanwhile; the next time finds what is left."""
    for path, _ in list(_clearable(directory)):
        with suppress(FileNotFoundError):
            if path.name in (ERRORS, "log.jsonl"):
                _cut(path, has_head=path.name == "log.jsonl")
            else:
                path.unlink()


def _clearable(directory: Path) -> Iterator[tuple[Path, int]]:
    """Each file that can go or be cut, and the bytes that it would free."""
    for path in directory.glob("log.*.jsonl"):
        with suppress(OSError):
            yield path, path.stat().st_size
    before = time.time() - OLD
    for pattern in (".*.??????*", "*.tmp", "tmp/*", "cache/*"):
        for path in directory.glob(pattern):
            with suppress(OSError):
                stat = path.stat()
                if path.is_file() and stat.st_mtime < before:
                    yield path, stat.st_size
    for name in (ERRORS, "log.jsonl"):
        with suppress(OSError):
            size = (directory / name).stat().st_size
            if size > LONG:
                yield directory / name, size - KEPT


def _cut(path: Path, *, has_head: bool) -> None:
    """Keep the end of a log that its process goes on appending to: same file, so that its next line lands in it.

    A line that is written between the reading and the cut is lost; a log's first line says which segment it is, and stays.
    """
    with path.open("r+b") as file:
        head = file.readline() if has_head else b""
        size = file.seek(0, os.SEEK_END)
        file.seek(max(len(head), size - KEPT))
        end = file.read().partition(b"\n")[2]
        file.seek(0)
        file.write(head + end)
        file.truncate()
