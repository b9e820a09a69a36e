"""What floors above do when operations end: asked in the worker that ended them, after the commit, not at the next tick.

A listener looks at the rows, as after any hint: one that fails or is lost with its worker costs time and nothing else.
"""

import logging
from collections.abc import Callable, Collection

from django.db.utils import InterfaceError, OperationalError

logger = logging.getLogger(__name__)

Listener = Callable[[Collection[str]], object]
_listeners: dict[str, Listener] = {}


def register(name: str, listener: Listener) -> None:
    """Have `listener` called with the kinds of the operations that a worker has just let go of: ended, or for another try.

    The worker carries others meanwhile: it must be quick, and set-wise.
    """
    _listeners[name] = listener


def told(kinds: Collection[str]) -> None:
    """Tell all listeners. Raises OperationalError where the database is away; any other fault is logged."""
    for name, listener in _listeners.items():
        try:
            listener(kinds)
        except (OperationalError, InterfaceError):
            raise
        except Exception:
            logger.exception("%s could not go on after operations had ended", name)
