"""Many ids in a query: one array parameter instead of thousands, which the driver would have to write out one by one."""

from collections.abc import Iterable

from django.db.models.expressions import RawSQL


def among(ids: Iterable[int]) -> RawSQL:
    """For `field__in=`: rows whose field is one of these ids."""
    return RawSQL("SELECT unnest(%s::bigint[])", [list(ids)])


def among_texts(texts: Iterable[str]) -> RawSQL:
    """For `field__in=`: rows whose field is one of these texts."""
    return RawSQL("SELECT unnest(%s::text[])", [list(texts)])
