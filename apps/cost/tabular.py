"""Tables that people bring (usage, revenue): read whole and checked whole before anything of them counts."""

import csv
import io
from collections.abc import Sequence
from datetime import date
from decimal import Decimal, InvalidOperation

MOST_BYTES, MOST_ROWS, MOST_TOLD = 64 << 20, 1_000_000, 10


class Unreadable(Exception):
    """What was brought cannot be taken; `problems` says where and what is wrong. Nothing of it was kept."""

    def __init__(self, problems: Sequence[str]) -> None:
        more = len(problems) - MOST_TOLD
        self.problems = [*problems[:MOST_TOLD], *([f"… and {more} more"] if more > 0 else [])]
        super().__init__(" ".join(self.problems))


def read_csv(
    data: bytes, columns: Sequence[str], optional: Sequence[str] = ()
) -> list[tuple[int, dict[str, str]]]:
    """Lines with their numbers (the first below the header is 2), values without blanks around them. Raises Unreadable."""
    reader = csv.DictReader(io.StringIO(text_of(data)), strict=True)
    try:
        header = [(name or "").strip() for name in reader.fieldnames or ()]
        if missing := [name for name in columns if name not in header]:
            raise Unreadable([f"The column {name} is not there." for name in missing])
        reader.fieldnames = header
        rows = list[tuple[int, dict[str, str]]]()
        for row in reader:
            if None in row or None in row.values():
                raise Unreadable([f"Line {reader.line_num} has another number of values than the header."])
            if len(rows) >= MOST_ROWS:
                raise Unreadable([f"It has more than {MOST_ROWS:,} lines; bring it in parts."])
            rows.append(
                (reader.line_num, {name: row.get(name, "").strip() for name in (*columns, *optional)})
            )
    except csv.Error as error:
        raise Unreadable([f"Line {reader.line_num}: {error}."]) from error
    if not rows:
        raise Unreadable(["There is no line below the header."])
    return rows


def text_of(data: bytes) -> str:
    """Raises Unreadable for what is too long or no UTF-8."""
    if len(data) > MOST_BYTES:
        raise Unreadable([f"It has more than {MOST_BYTES >> 20} MB; bring it in parts."])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(["It is no text in UTF-8."]) from error
    if "\0" in text:
        raise Unreadable(["It holds a zero byte; it is no CSV."])
    return text


def number(text: str, *, places: int, digits: int = 18) -> Decimal:
    """Raises ValueError, in words, for what is no number, too large, or finer than `places`."""
    try:
        value = Decimal(text)
    except InvalidOperation as error:
        raise ValueError(f"“{text[:40]}” is no number") from error
    if not value.is_finite():
        raise ValueError(f"“{text[:40]}” is no number")
    if abs(value) >= Decimal(10) ** digits:
        raise ValueError(f"“{text[:40]}” is too large")
    if value != value.quantize(Decimal(1).scaleb(-places)):
        raise ValueError(f"“{text[:40]}” has more than {places} places after the point")
    return value


def day(text: str) -> date:
    """Raises ValueError, in words."""
    try:
        return date.fromisoformat(text[:10])
    except ValueError as error:
        raise ValueError(f"“{text[:40]}” is no date, as 2026-09-30") from error
