"""A figure, its goal, and how it is said."""

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value. `at_most` or `at_least` is its goal; neither: it only informs."""

    name: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None

    @property
    def is_ok(self) -> bool:
        return (self.at_most is None or self.value <= self.at_most) and (
            self.at_least is None or self.value >= self.at_least
        )

    def line(self) -> str:
        """`name: value unit, goal …, ok` or `short`; without a goal the value alone."""
        shown = f"{self.name}: {self.value:.4g} {self.unit}"
        if self.at_most is not None:
            return f"{shown}, goal at most {self.at_most:g}, {'ok' if self.is_ok else 'short'}"
        if self.at_least is not None:
            return f"{shown}, goal at least {self.at_least:g}, {'ok' if self.is_ok else 'short'}"
        return shown

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "ok": self.is_ok}


def median_ms(call: Callable[[], object], *, times: int = 15, warm: int = 3) -> float:
    """The median duration of `call` in milliseconds."""
    for _ in range(warm):
        call()
    took = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)
