"""Many ids in a query, as `core.arrays` has them."""

from apps.core.arrays import among

__all__ = ["among"]
