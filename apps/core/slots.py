"""A place on a page that a floor above fills: the app below offers it, the app above registers a function."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

T = TypeVar("T")
Fill = Callable[[Any, Collection[int]], Mapping[int, T]]


class Slot(Generic[T]):
    """One fact by id. Called as `slot(user, ids)`; ids that nothing is known of are left out.

    The function answers for all ids at once, so that a list costs the same queries whatever its length,
    and tells only what `user` may see. An empty slot, or no ids, costs nothing and answers nothing.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self._fill: Fill[T] | None = None

    def register(self, fill: Fill[T]) -> None:
        """Fill it; the last one stands."""
        self._fill = fill

    def __call__(self, user: Any, ids: Collection[int]) -> Mapping[int, T]:
        return self._fill(user, ids) if self._fill is not None and ids else {}


class Gathering(Slot[Sequence[T]]):
    """A slot that several apps above fill: what they tell of an id stands one after the other, as registered."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self._fills: list[Fill[Sequence[T]]] = []

    def register(self, fill: Fill[Sequence[T]]) -> None:
        """Have `fill` asked too."""
        if fill not in self._fills:
            self._fills.append(fill)

    def __call__(self, user: Any, ids: Collection[int]) -> Mapping[int, Sequence[T]]:
        found: dict[int, list[T]] = {}
        for fill in self._fills if ids else ():
            for pk, told in fill(user, ids).items():
                found.setdefault(pk, []).extend(told)
        return found


@dataclass(frozen=True, slots=True)
class Notice:
    """One line above a page's contents: what goes on, since when, and where more of it is. `tone` as in `choices.Tone`."""

    label: str
    url: str
    tone: str
    note: str = ""
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """Where to go on from a page. `away`: it leads out of the portal."""

    label: str
    url: str
    away: bool = False
