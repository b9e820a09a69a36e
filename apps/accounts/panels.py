"""What an account's pages show that floors above know: they fill these slots from their `registers.py`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from apps.core.slots import Slot


@dataclass(frozen=True, slots=True)
class Holding:
    """What runs in an account: `by_health` counts its instances, worst first."""

    cells: int = 0
    instances: int = 0
    tenants: int = 0
    capacity: int = 0
    by_health: Mapping[str, int] = field(default_factory=dict)
    worst: str = ""
    worst_label: str = ""

    @property
    def told(self) -> str:
        """What is not well, in words."""
        return in_words(self.by_health)


@dataclass(frozen=True, slots=True)
class CellUse:
    """One cell of an account, and how full it is."""

    name: str
    url: str
    region_id: int
    provider: str
    capacity: int
    instances: int
    tenants: int
    by_health: Mapping[str, int]
    worst: str
    worst_label: str
    locked: str = ""

    @property
    def percent(self) -> int:
        """How much of its capacity is taken; over 100 when it is overfull."""
        return round(100 * self.instances / self.capacity) if self.capacity else 0

    @property
    def told(self) -> str:
        """What is not well, in words."""
        return in_words(self.by_health)


def in_words(by_health: Mapping[str, int]) -> str:
    """What is not well, in words: “20 failing, 3 stopped”; “all well” where there is nothing to tell."""
    told = [f"{count:,} {health}" for health, count in by_health.items() if health != "well" and count]
    return ", ".join(told) or ("all well" if by_health else "")


#: By account id.
holdings: Slot[Holding] = Slot("what runs in an account")
#: By account id: its cells.
cells: Slot[Sequence[CellUse]] = Slot("the cells of an account")
