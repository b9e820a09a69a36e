"""Querysets narrowed to what a reader sees, compiled once for each set of scopes (see `apps.core.compiled`).

    @scoped
    def _running(reader: Reader, *, since: Any) -> QuerySet[Operation]:
        return visible(reader, Operation).filter(state=State.RUNNING, started_at__gte=since)

    rows = _running(request.user, since=…)

The function is handed no user but a `Reader`, who has a person's scopes and nothing else. So what it builds can depend
on nothing about the person but what they hold, and just that is what its statement is kept by: whose scopes differ, or
have changed, asks by a statement of their own. Scopes are read from the database on each request, as ever.
"""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, Final, TypeVar

from django.db.models import QuerySet

from apps.core.compiled import compiled

from .scoping import PERMISSIONS, Scopes, plain, scopes_of

R = TypeVar("R")

#: Sets of scopes whose readers are told apart at a time, in each process.
READERS = 256


class Reader:
    """Somebody who holds these scopes: all that a query may know of who reads. Takes the place of a user in `visible`."""

    is_authenticated: Final = True
    is_active: Final = True
    is_superuser: Final = False

    def __init__(self, held: frozenset[Scopes]) -> None:
        self._scopes = {scopes.permission: scopes for scopes in held}


@lru_cache(maxsize=READERS)
def _reader(held: frozenset[Scopes]) -> Reader:
    """The one reader with these scopes, known again by what they are and not by whom they were read for."""
    return Reader(held)


def reader_of(user: Any) -> Reader:
    """Who reads, by what `user` holds at this moment; kept for the request, as the scopes are."""
    user = plain(user)
    if isinstance(user, Reader):
        return user
    scopes_of(user, "view")
    kept: tuple[Any, Reader] | None = getattr(user, "_reader", None)
    if kept is not None and kept[0] == _standing(user):
        return kept[1]
    reader = _reader(frozenset(scopes_of(user, permission) for permission in PERMISSIONS))
    # As it is now: for a token that may not look, the scopes were read only by the line above.
    user._reader = _standing(user), reader
    return reader


def _standing(user: Any) -> tuple[Any, ...]:
    """All that `scopes_of` looks at. A token that narrows, or scopes that are read anew, make another reader."""
    return (
        user.is_authenticated and user.is_active,
        user.is_superuser,
        getattr(user, "_only", None),
        getattr(user, "_scopes", None),
    )


def scoped(build: Callable[..., "QuerySet[Any, R]"]) -> Callable[..., list[R]]:
    """A function of the user, the shape and the values that gives the rows; see the module."""
    ask = compiled(build)

    @wraps(build)
    def rows(user: Any, *shape: Any, **values: Any) -> list[R]:
        return ask(reader_of(user), *shape, **values)

    return rows
