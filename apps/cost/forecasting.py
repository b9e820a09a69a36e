"""Robust arithmetic over daily amounts: what is expected of a day, how far out a day is, where a month will end.

A weekday's expectation is the median of the same weekday in recent weeks: one day out of the ordinary does not move it.
Spread is the median absolute deviation, times 1.4826 (which makes it the standard deviation of a normal distribution).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from statistics import median

WEEKS = 8
#: Fewer weeks than this say nothing about what is ordinary.
LEAST_WEEKS = 4
#: How many deviations out a day must be, and by which share of what is expected.
OUT, SHARE = 6.0, 0.2
NORMAL = 1.4826
#: 95 % of a normal distribution lie within so many deviations.
WIDTH = 1.96


def deviation(values: Sequence[float]) -> float:
    """The robust standard deviation."""
    middle = median(values)
    return NORMAL * median(abs(value - middle) for value in values)


def judge(amount: float, past: Sequence[float]) -> tuple[float, float]:
    """What was expected after the same weekday's `past`, and by how many deviations the amount is out.

    Where the past hardly moved, a twentieth of what was expected counts as its deviation (at least a hundredth of a unit).
    """
    expected = median(past)
    return expected, (amount - expected) / max(deviation(past), abs(expected) / 20, 0.01)


def is_out(amount: float, expected: float, score: float) -> bool:
    """Whether that is worth telling: far out, by a fifth of what was expected, and by one unit of the currency."""
    return abs(score) >= OUT and abs(amount - expected) >= max(1.0, abs(expected) * SHARE)


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a month will have come to: `so_far` is known, 19 of 20 months end between `low` and `high`."""

    so_far: float
    expected: float
    low: float
    high: float
    last_day: date
    days_left: int


def month_end(amounts: Mapping[date, float], end: date) -> Forecast | None:
    """Where the month that ends before `end` will end, from days known (of this month and before); None without any of it.

    The deviation of a sum of independent days grows with the root of their number.
    """
    first = (end - timedelta(days=1)).replace(day=1)
    known = [day for day in amounts if first <= day < end]
    if not known:
        return None
    last = max(known)
    so_far = sum(amounts[day] for day in known)
    since = max(min(amounts), last - timedelta(weeks=WEEKS))
    series = [(since + timedelta(days=n)) for n in range((last - since).days + 1)]
    by_weekday: dict[int, list[float]] = {}
    for day in series:
        by_weekday.setdefault(day.weekday(), []).append(amounts.get(day, 0.0))
    everyday = median(amounts.get(day, 0.0) for day in series)
    usual = {
        weekday: median(values) if len(values) >= 2 else everyday for weekday, values in by_weekday.items()
    }
    left = [last + timedelta(days=n) for n in range(1, (end - last).days)]
    expected = so_far + sum(usual.get(day.weekday(), everyday) for day in left)
    spread = deviation([amounts.get(day, 0.0) - usual[day.weekday()] for day in series])
    width = WIDTH * spread * math.sqrt(len(left))
    return Forecast(so_far, expected, expected - width, expected + width, last, len(left))
