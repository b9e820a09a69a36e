"""What a newcomer finds beside the first fleet: each app above tells what it lays out, once."""

from collections.abc import Callable
from typing import Any

#: Lays examples out as `actor`, a person with every permission; leaves whatever is there already.
Lay = Callable[[Any], None]
_steps: dict[str, Lay] = {}


def register(name: str, lay: Lay) -> None:
    """Have `lay` called at the first run on a laptop; `name` is how it is remembered that it was."""
    _steps[name] = lay


def steps() -> dict[str, Lay]:
    """By name, in the order of the floors."""
    return dict(_steps)
