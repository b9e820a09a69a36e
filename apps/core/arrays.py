"""Many ids in a query: one array parameter instead of thousands, which the driver would have to write out one by one."""

from collections.abc import Iterable
from typing import Any

from django.db.models import DateTimeField, F, Func
from django.db.models.expressions import RawSQL

from .compiled import Given


def among(ids: Iterable[int] | Given) -> RawSQL:
    """For `field__in=`: rows whose field is one of these ids."""
    return RawSQL("SELECT unnest(%s::bigint[])", [ids if isinstance(ids, Given) else list(ids)])


def among_texts(texts: Iterable[str]) -> RawSQL:
    """For `field__in=`: rows whose field is one of these texts."""
    return RawSQL("SELECT unnest(%s::text[])", [list(texts)])


class MomentBeside(Func):
    """The moment that stands in one array where a field's id stands in the other; NULL where the id is in none."""

    def __init__(self, field: str, ids: Given, moments: Given) -> None:
        super().__init__(moments, ids, F(field), output_field=DateTimeField())

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:  # type: ignore[override]
        parts = [compiler.compile(one) for one in self.get_source_expressions()]
        (moments, _), (ids, _), (field, _) = parts
        sql = f"(({moments})::timestamptz[])[array_position(({ids})::bigint[], {field})]"
        return sql, [param for _, params in parts for param in params]
