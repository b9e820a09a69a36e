"""The frame that makes room for those below it."""

from __future__ import annotations

import resource

from django.conf import settings

from apps.core.frames import with_room


def deep(depth: int) -> int:
    """Calls that fill a good part of what CPython keeps for frames, then one small call many times over."""
    if depth:
        return deep(depth - 1)
    return sum(one(n) for n in range(400))


def one(number: int) -> int:
    return number


def faults(function: object, *given: int) -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    function(*given)  # type: ignore[operator]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_what_it_gives_and_raises_is_the_functions() -> None:
    assert with_room(lambda a, *, b: (a, b))(1, b=2) == (1, 2)


def test_at_no_depth_does_a_call_cost_memory_again_and_again() -> None:
    with_room(deep)(10)
    assert max(faults(with_room(deep), depth) for depth in range(0, 400, 2)) < 200


def test_requests_have_it_before_all_else() -> None:
    assert settings.MIDDLEWARE[0] == "apps.core.frames.with_room"
