"""Properties of every plan."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.releases.waves import MAX_WAVES, Candidate, amount, plan_waves

tenants = st.frozensets(st.integers(0, 30), max_size=3)
candidates = st.lists(tenants, max_size=80).map(
    lambda served: [Candidate(n, t, n % 3) for n, t in enumerate(served)]
)
canaries = st.one_of(st.integers(1, 20).map(str), st.integers(1, 100).map(lambda n: f"{n}%"))


@given(candidates, canaries, st.integers(1, 10))
def test_each_is_in_exactly_one_wave_and_the_canary_is_no_larger_than_said(
    found: list[Candidate], canary: str, growth: int
) -> None:
    waves = plan_waves(found, canary=canary, growth=growth)
    assert sorted(pk for wave in waves for pk in wave) == [c.id for c in found]
    assert all(waves)
    assert len(waves) <= MAX_WAVES
    if found:
        assert len(waves[0]) <= amount(canary, len(found))


@given(candidates, canaries, st.integers(1, 10))
def test_no_tenant_is_hit_twice_by_one_wave_unless_the_plan_grew_too_long(
    found: list[Candidate], canary: str, growth: int
) -> None:
    waves = plan_waves(found, canary=canary, growth=growth)
    served = {c.id: c.tenants for c in found}
    for number, wave in enumerate(waves, 1):
        hits = Counter(tenant for pk in wave for tenant in served[pk])
        assert number >= MAX_WAVES or all(count == 1 for count in hits.values())


@pytest.mark.parametrize(
    ("canary", "growth", "total", "sizes"),
    [("1", 3, 10, [1, 3, 6]), ("10%", 2, 100, [10, 20, 40, 30]), ("5", 1, 12, [5, 5, 2]), ("100%", 4, 7, [7]), ("1%", 2, 3, [1, 2])],
)  # fmt: skip
def test_sizes(canary: str, growth: int, total: int, sizes: list[int]) -> None:
    waves = plan_waves([Candidate(n) for n in range(total)], canary=canary, growth=growth)
    assert [len(wave) for wave in waves] == sizes


def test_ten_thousand_are_planned_at_once() -> None:
    found = [Candidate(n, frozenset({n % 2_000})) for n in range(10_000)]
    assert sum(map(len, plan_waves(found, canary="1%", growth=2))) == 10_000


@given(st.integers(1, 200), st.integers(1, 5), st.integers(1, 3))
def test_no_tenant_is_ever_hit_in_two_cells_by_one_wave(count: int, cells: int, growth: int) -> None:
    """Even one tenant on more instances than there are waves: a failover pair is never changed together."""
    found = [Candidate(n, frozenset({0, 1 + n % 7}), n % cells) for n in range(count)]
    waves = plan_waves(found, canary="1", growth=growth)
    assert sorted(pk for wave in waves for pk in wave) == list(range(count))
    assert all(len({pk % cells for pk in wave}) == 1 for wave in waves)
    assert len(waves) < MAX_WAVES + cells
