"""What is done again and again: each app registers a hint to send every so many seconds."""

from collections.abc import Callable
from dataclasses import dataclass

Send = Callable[[], None]


@dataclass(slots=True)
class Tick:
    """One periodic hint. `every` in seconds."""

    name: str
    every: float
    send: Send
    due: float = 0.0


_ticks: dict[str, Tick] = {}


def register(name: str, *, every: float, send: Send) -> None:
    """Have `send` called every so many seconds by the scheduler; it must be quick (send a message)."""
    _ticks[name] = Tick(name, every, send)


def due(now: float) -> list[Tick]:
    """The ticks whose time has come at monotonic time `now`, moved on to their next time."""
    found = [tick for tick in _ticks.values() if tick.due <= now]
    for tick in found:
        # From now, not from when it was due: after a pause nothing is made up for in a burst.
        tick.due = now + tick.every
    return found


def next_due() -> float:
    """Monotonic time of the next tick."""
    return min((tick.due for tick in _ticks.values()), default=0.0)
