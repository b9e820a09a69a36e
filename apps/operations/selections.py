"""“All that match”: each target type tells how a list's filters select its rows."""

from collections.abc import Callable
from typing import Any

from django.db.models import QuerySet
from django.http import QueryDict

Select = Callable[[Any, QueryDict], QuerySet[Any]]
_selections: dict[str, Select] = {}


def register(target_type: str, select: Select) -> None:
    """`select(user, query)` gives the visible rows that the list shows for these filters; ValueError for bad ones."""
    _selections[target_type] = select


def select(target_type: str, user: Any, query: QueryDict) -> QuerySet[Any]:
    """The rows that a list of this target type shows to `user` for `query`."""
    return _selections[target_type](user, query)
