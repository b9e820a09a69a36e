"""A queryset's SQL, compiled once and sent again with other values.

Django builds and compiles a queryset anew each time it is asked: some 0.3 to 1 ms each, which for a page of a dozen
short statements is more than PostgreSQL takes to answer them. What a page asks is the same but for a few values. So a
function that builds a queryset may be marked `compiled`: it is called once for each of its positional arguments (the
*shape*), with a placeholder for each keyword, and its SQL is kept; from then on only the keywords' values are sent.

    @compiled
    def _holders(kind: str, *, pk: Any) -> QuerySet[Grant]:
        return Grant.objects.filter(scope__kind=kind, scope__object_id=pk)

    rows = _holders("cell", pk=7)  # a list, read anew each time

No row is kept, only the question. The function must build the same for the same shape whenever it is asked: it may
read neither the database nor the clock, and a moment that slipped in is refused. What narrows rows to a reader's
scopes is part of the shape: see `apps.access.scoped`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import lru_cache, wraps
from inspect import Parameter, signature
from typing import Any, Generic, TypeVar

from django.core.exceptions import EmptyResultSet
from django.db import connections
from django.db.models import Model, QuerySet, Value
from django.utils import timezone

R = TypeVar("R")

#: Statements that each process keeps, those asked last; one takes some 50 KiB. A page has a dozen for each set of scopes.
KEPT = 1_000
PLACES = re.compile(r"%%|%s")


class Given(Value):
    """A value that is sent with the statement; stands wherever Django takes an expression, or among a `RawSQL`'s parameters."""

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        return "%s", [self]

    @property
    def name(self) -> str:
        return str(self.value)


class OneOf(Given):
    """For `field=`: rows whose field is one of the given whole numbers, a list sent as one array."""

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        return "ANY(%s::bigint[])", [self]


def one_of(ids: Given) -> OneOf:
    """For `field=`: one of these ids, however many there are then."""
    return OneOf(ids.value)


class Compiled(Generic[R]):
    """One queryset, and its SQL in which only what is `Given` is left open."""

    def __init__(self, rows: "QuerySet[Any, R]") -> None:
        self._rows = rows
        self._compiler: Any = rows.query.get_compiler(rows.db)
        self._sql, self._names = "", list[str]()
        try:
            # Days and hours are the house's, not of the zone of who asked first.
            with timezone.override(None):
                sql, params = self._compiler.as_sql()
        except EmptyResultSet:
            self._compiler.connection = None
            return  # nothing fits, whatever is given
        self._converters = self._compiler.get_converters(
            [column[0] for column in self._compiler.select[: self._compiler.col_count]]
        )
        # Or the thread's would stay open for as long as the statement is kept.
        self._compiler.connection = None
        self._sql, self._names = self._written(sql, params)
        self._bare = self._sql.replace("%%", "%")  # sent as it is: the driver need not look for places in it

    def _written(self, sql: str, params: Sequence[Any]) -> tuple[str, list[str]]:
        """The statement with its constants written in, as the driver would each time, and the names of what is open."""
        connection: Any = connections[self._rows.db]
        connection.ensure_connection()
        left, names = iter(params), list[str]()

        def put(place: re.Match[str]) -> str:
            if place[0] == "%%":
                return "%%"
            value = next(left)
            if isinstance(value, Given):
                names.append(value.name)
                return "%s"
            if any(isinstance(one, date) for one in (value if isinstance(value, list | tuple) else [value])):
                raise ValueError(
                    f"{value!r} would be kept in a statement of {self._rows.model.__name__}: give it by keyword"
                )
            return str(connection.ops.compose_sql("%s", [value])).replace("%", "%%")

        written = PLACES.sub(put, sql)
        return written, names

    @property
    def statement(self) -> str:
        """The SQL, with `%s` for each value that is given; empty where nothing fits, whatever is given."""
        return self._sql

    def rows(self, values: Mapping[str, Any]) -> list[R]:
        """What the queryset gives now, with these values for what it left open."""
        if not self._sql:
            return []
        rows = self._rows
        ready = _like(rows)
        ready._query = query = _like(rows.query)
        compiler = _like(self._compiler)
        compiler.connection = connections[rows.db]
        sent = (self._sql, [values[name] for name in self._names]) if self._names else (self._bare, None)
        compiler.as_sql = lambda *args, **kwargs: sent
        compiler.get_converters = lambda expressions: self._converters
        query.get_compiler = lambda *args, **kwargs: compiler
        return list(ready)


def _like(one: Any) -> Any:
    """Another of its kind with the same attributes. (`copy` would have a queryset read its rows.)"""
    made = object.__new__(type(one))
    made.__dict__.update(one.__dict__)
    return made


def compiled(build: "Callable[..., QuerySet[Any, R]]") -> Callable[..., list[R]]:
    """A function of the shape and the values that gives the rows; see the module.

    Raises TypeError for a function that holds on to variables around it, which no shape would tell of.
    """
    if build.__closure__:
        raise TypeError(
            f"{build.__qualname__} depends on {build.__code__.co_freevars}: give it as an argument"
        )
    names = tuple(p.name for p in signature(build).parameters.values() if p.kind is Parameter.KEYWORD_ONLY)

    @wraps(build)
    def ask(*shape: Any, **values: Any) -> list[R]:
        if len(values) != len(names):
            raise TypeError(f"{build.__qualname__} is asked with {', '.join(names) or 'no keyword'}")
        one: Compiled[R] = kept(build, names, shape)
        return one.rows(values)

    return ask


@lru_cache(maxsize=KEPT)
def kept(build: Callable[..., Any], names: tuple[str, ...], shape: tuple[Any, ...]) -> Compiled[Any]:
    """What a function builds for a shape, compiled. Raises TypeError for a row as a shape: it is equal to what it was before it changed."""
    if rows := [one for one in shape if isinstance(one, Model)]:
        raise TypeError(
            f"{build.__qualname__} would be kept for {rows[0]!r} as it is now: give what it needs of it"
        )
    return Compiled(build(*shape, **{name: Given(name) for name in names}))
