"""Providers by name. `get` builds each once per process, when first asked for; floors above may `register` more."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from .base import Provider

Factory = Callable[[], Provider]


def _local() -> Provider:
    from django.conf import settings

    from .local.provider import LocalProvider

    return LocalProvider(Path(settings.DAYTWO_DATA_DIR) / "fleet")


def _simulated() -> Provider:
    from .simulated import SimulatedProvider

    return SimulatedProvider()


_factories: dict[str, Factory] = {"local": _local, "simulated": _simulated}
_built: dict[str, Provider] = {}
_lock = threading.RLock()


def register(name: str, factory: Factory) -> None:
    """Make `get(name)` answer with what `factory` builds; replaces an earlier one of that name."""
    with _lock:
        _factories[name] = factory
        _built.pop(name, None)


def names() -> list[str]:
    """The names that `get` knows."""
    return sorted(_factories)


def get(name: str) -> Provider:
    """The provider of that name. Raises LookupError, naming those there are."""
    with _lock:
        if name not in _built:
            if name not in _factories:
                raise LookupError(f"no provider is named {name!r}; there are: {', '.join(names())}")
            _built[name] = _factories[name]()
        return _built[name]
