"""What the fleet's pages say goes on: floors above tell it."""

from collections.abc import Callable, Sequence
from typing import Any

from apps.core.slots import Notice, Slot

#: By instance id: what stands above its page.
of_instances: Slot[Sequence[Notice]] = Slot("what goes on with an instance")

_now: list[Callable[[Any], Sequence[Notice]]] = []


def register_now(source: Callable[[Any], Sequence[Notice]]) -> None:
    """Have the overview ask `source` for what goes on anywhere that its reader sees; few lines, in few queries."""
    if source not in _now:
        _now.append(source)


def now(user: Any) -> list[Notice]:
    """What goes on now, of all sources."""
    return [notice for source in _now for notice in source(user)]
