"""Planning waves: pure, so that every property of a plan can be tested."""

from collections.abc import Sequence
from dataclasses import dataclass, field

#: Up to so many waves no two instances of one tenant share one; beyond it they may, but never in two cells.
MAX_WAVES = 60


@dataclass(frozen=True, slots=True)
class Candidate:
    """An instance to plan for, the tenants it serves, the cell it is in, and the position of its ring."""

    id: int
    tenants: frozenset[int] = field(default_factory=frozenset)
    cell: int = 0
    ring: int = 0


def amount(text: str, total: int) -> int:
    """“2” or “5%” of `total`, at least 1 and at most all."""
    wanted = total * int(text[:-1]) // 100 if text.endswith("%") else int(text)
    return max(1, min(wanted, total))


def plan_waves(candidates: Sequence[Candidate], *, canary: str, growth: int) -> list[list[int]]:
    """Ids by wave: the canary first, then waves `growth` times as large as the one before, in the given order.

    Rings come one after the other, and no wave has instances of two; one that its ring's end cut short is followed
    by another of the size it should have had.

    Each candidate is in exactly one wave; no tenant has two instances in one wave, unless that would take more than
    MAX_WAVES waves. Waves beyond that take all they can, but still no tenant is in two cells of one wave: a failover
    pair never is. Empty for no candidates.
    """
    waves: list[list[int]] = []
    size = amount(canary, len(candidates)) if candidates else 0
    rings = [
        [candidate for candidate in candidates if candidate.ring == ring]
        for ring in sorted({candidate.ring for candidate in candidates})
    ]
    for number, left in enumerate(rings):
        # Each ring that is to come needs a wave at least.
        reserved = len(rings) - number
        while left and len(waves) < MAX_WAVES - reserved:
            taken, left = _take(left, size)
            waves.append(taken)
            if left or len(taken) == size:
                # From the middle on at least doubled, so that a plan which does not grow still comes to an end.
                size *= growth if len(waves) < MAX_WAVES // 2 else max(growth, 2)
        while left:
            taken, left = _take_by_cell(left)
            waves.append(taken)
    return waves


def _take_by_cell(left: Sequence[Candidate]) -> tuple[list[int], list[Candidate]]:
    """All candidates of which no two serve one tenant in different cells, and the rest in order; at least one."""
    taken: list[int] = []
    rest: list[Candidate] = []
    cell_of: dict[int, int] = {}
    for candidate in left:
        if all(cell_of.get(tenant, candidate.cell) == candidate.cell for tenant in candidate.tenants):
            taken.append(candidate.id)
            cell_of |= dict.fromkeys(candidate.tenants, candidate.cell)
        else:
            rest.append(candidate)
    return taken, rest


def _take(left: Sequence[Candidate], size: int) -> tuple[list[int], list[Candidate]]:
    """The first `size` candidates of which no two serve one tenant, and the rest in order."""
    taken: list[int] = []
    rest: list[Candidate] = []
    served: set[int] = set()
    for candidate in left:
        if len(taken) < size and served.isdisjoint(candidate.tenants):
            taken.append(candidate.id)
            served |= candidate.tenants
        else:
            rest.append(candidate)
    return taken, rest
