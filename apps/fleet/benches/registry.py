"""Benches of floors above: `manage.py bench` runs them after its own."""

from collections.abc import Callable, Iterator

from .figures import Figure

Bench = Callable[[], Iterator[Figure]]
#: By name: a function that gives the bench, so that nothing of a bench is imported before it is run.
more: dict[str, Callable[[], Bench]] = {}


def register(name: str, load: Callable[[], Bench]) -> None:
    """Add a bench, from an app's `registers.py`."""
    more[name] = load
