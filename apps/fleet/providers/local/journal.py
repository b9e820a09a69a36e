"""Reads the log that the product writes, through its rotations.

Each file's first line is its segment number, so a cursor "segment:offset" finds its place after renames.
"""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from ..base import LogLine, LogPage, ProviderError

_CHUNK = 64 * 1024


@dataclass(frozen=True, slots=True)
class _Segment:
    number: int
    body: int
    file: BinaryIO


def read(directory: Path, *, limit: int, after: str) -> LogPage:
    """The last `limit` lines, or the first `limit` since `after`; lines that rotation removed are skipped.

    Raises ProviderError, not retryable, for a cursor that this module did not make.
    """
    with ExitStack() as stack:
        segments = _open_segments(directory, stack)
        if not segments:
            return LogPage([], after)
        return _since(segments, limit, *_parsed(after)) if after else _tail(segments, limit)


def _open_segments(directory: Path, stack: ExitStack) -> list[_Segment]:
    """The live file first: when it is renamed meanwhile, it turns up twice and is taken once; none is missed."""
    found: dict[int, _Segment] = {}
    for path in [directory / "log.jsonl", *directory.glob("log.*.jsonl")]:
        try:
            file = stack.enter_context(path.open("rb"))
            number = int(json.loads(file.readline())["segment"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        found.setdefault(number, _Segment(number, file.tell(), file))
    return [found[number] for number in sorted(found)]


def _since(segments: list[_Segment], limit: int, number: int, offset: int) -> LogPage:
    lines: list[LogLine] = []
    if segments[-1].number < number:  # destroyed and deployed again: the numbers began anew
        number, offset = 0, 0
    for segment in segments:
        if segment.number < number:
            continue
        offset = _beginning(segment, offset if segment.number == number else 0)
        number = segment.number
        while len(lines) < limit:
            raw = segment.file.readline()
            if not raw.endswith(b"\n"):  # the end, or a line still being written
                break
            offset += len(raw)
            lines.append(_line(raw))
        if len(lines) >= limit:
            break
    return LogPage(lines, f"{number}:{offset}")


def _beginning(segment: _Segment, offset: int) -> int:
    size = segment.file.seek(0, os.SEEK_END)
    return segment.file.seek(offset if segment.body <= offset <= size else segment.body)


def _tail(segments: list[_Segment], limit: int) -> LogPage:
    last = segments[-1]
    end = _complete_end(last)
    lines: list[bytes] = []
    for segment in reversed(segments):
        stop = end if segment is last else segment.file.seek(0, os.SEEK_END)
        lines = _last_lines(segment, stop, limit - len(lines)) + lines
        if len(lines) >= limit:
            break
    return LogPage([_line(raw) for raw in lines], f"{last.number}:{end}")


def _complete_end(segment: _Segment) -> int:
    size = segment.file.seek(0, os.SEEK_END)
    start = max(segment.body, size - _CHUNK)
    segment.file.seek(start)
    return start + segment.file.read(size - start).rfind(b"\n") + 1


def _last_lines(segment: _Segment, stop: int, limit: int) -> list[bytes]:
    start, data = stop, b""
    while start > segment.body and data.count(b"\n") <= limit:
        step = min(_CHUNK, start - segment.body)
        start -= step
        segment.file.seek(start)
        data = segment.file.read(step) + data
    lines = data.splitlines(keepends=True)
    return lines[-limit:] if limit > 0 else []


def _parsed(cursor: str) -> tuple[int, int]:
    number, _, offset = cursor.partition(":")
    if not (number.isdecimal() and offset.isdecimal()):
        raise ProviderError(
            f"{cursor!r} is not a log cursor; leave it out to read the newest lines", retryable=False
        )
    return int(number), int(offset)


def _line(raw: bytes) -> LogLine:
    """A line that is no JSON object is shown as it is, at the beginning of time, rather than hidden."""
    text = raw.decode("utf-8", "replace").strip()
    try:
        fields = json.loads(text)
        at = datetime.fromisoformat(fields["at"]).astimezone(UTC)
        message, level = str(fields["message"]), str(fields.get("level", "info"))
        return LogLine(at, level, message, str(fields.get("tenant", "")), str(fields.get("request_id", "")))
    except (ValueError, KeyError, TypeError):
        return LogLine(datetime.fromtimestamp(0, UTC), "unknown", text)
