"""Where an instance's charts get their figures: the portal's own coarse history, or what a floor above registers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from .models import Instance
from .query_api import Unanswered

__all__ = [
    "CHARTS",
    "FIGURES",
    "WEEK",
    "Figures",
    "Point",
    "Span",
    "Spread",
    "Unanswered",
    "elsewhere",
    "register",
]

Point = tuple[datetime, float | None]
#: A moment, then of the others' figures there: a quarter is below the first, half below the second, a quarter above the third.
Spread = tuple[datetime, float, float, float]

#: Name, label, unit.
CHARTS: tuple[tuple[str, str, str], ...] = (
    ("requests", "Requests", "/s"),
    ("errors", "Errors", "%"),
    ("latency", "Mean latency", "ms"),
    ("cpu", "CPU", "%"),
    ("memory", "Memory", "MiB"),
)
FIGURES = tuple(name for name, _, _ in CHARTS)
WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Span:
    """What a chart shows, and how far apart its points are at least."""

    since: datetime
    until: datetime
    step: timedelta

    def before(self, by: timedelta) -> "Span":
        """The same, so much earlier."""
        return Span(self.since - by, self.until - by, self.step)


class Figures(Protocol):
    """A place to get figures from. Both may raise Unanswered."""

    @property
    def words(self) -> str:
        """What it is called."""

    def lines(
        self, instances: Sequence[Instance], figure: str, span: Span, tenant: str = ""
    ) -> dict[int, list[Point]]:
        """A figure of each instance over the span, by id; of one tenant's requests alone where it can tell them apart."""

    def spread(self, instances: Sequence[Instance], figure: str, span: Span) -> list[Spread]:
        """How a figure of all of them is spread, over the span."""


Find = Callable[[Instance], Figures | None]
_sources: list[Find] = []


def register(find: Find) -> None:
    """Have charts ask `find` whether an instance's figures are kept elsewhere; the first that knows is taken."""
    if find not in _sources:
        _sources.append(find)


def elsewhere(instance: Instance) -> Figures | None:
    """Where else an instance's figures are kept; None: with the portal alone."""
    return next((found for find in _sources if (found := find(instance)) is not None), None)
