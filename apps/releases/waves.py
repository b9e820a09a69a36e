"""Planning waves: pure, so that every property of a plan can be tested."""

from collections.abc import Sequence
from dataclasses import dataclass, field

#: A plan has no more waves than this; only beyond it do two instances of one tenant share a wave.
MAX_WAVES = 60


@dataclass(frozen=True, slots=True)
class Candidate:
    """An instance to plan for, and the tenants it serves."""

    id: int
    tenants: frozenset[int] = field(default_factory=frozenset)


def amount(text: str, total: int) -> int:
    """“2” or “5%” of `total`, at least 1 and at most all."""
    wanted = total * int(text[:-1]) // 100 if text.endswith("%") else int(text)
    return max(1, min(wanted, total))


def plan_waves(candidates: Sequence[Candidate], *, canary: str, growth: int) -> list[list[int]]:
    """Ids by wave: the canary first, then waves `growth` times as large as the one before, in the given order.

    Each candidate is in exactly one wave; no tenant has two instances in one wave, unless that would take more than
    MAX_WAVES waves: the last of them then takes all that is left. Empty for no candidates.
    """
    left = list(candidates)
    waves: list[list[int]] = []
    size = amount(canary, len(left)) if left else 0
    while left and len(waves) < MAX_WAVES - 1:
        taken, left = _take(left, size)
        waves.append(taken)
        # From the middle on at least doubled, so that a plan which does not grow still comes to an end.
        size *= growth if len(waves) < MAX_WAVES // 2 else max(growth, 2)
    if left:
        waves.append([candidate.id for candidate in left])
    return waves


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
