"""Rows that get what they lack once they are fetched: for the rows of one page, not for the table."""

from collections.abc import Callable, Sequence
from typing import Any, Self, TypeVar

from django.db import models

from .querysets import RecordedQuerySet

M = TypeVar("M", bound=models.Model)
Enrich = Callable[[Sequence[Any]], None]


class EnrichedQuerySet(RecordedQuerySet[M]):
    """A queryset that hands the rows it fetched to a function, once, all together.

    Like `prefetch_related`, for facts that are no relation: counts, the worst of something, what a floor
    above knows. Slices, filters and copies keep the function.
    """

    _enrich: Enrich | None = None
    _is_enriched = False

    def enriched_by(self, enrich: Enrich) -> Self:
        """The same rows; `enrich(rows)` sets attributes on them when they are fetched."""
        clone = self.all()
        clone._enrich = enrich
        return clone

    def _clone(self) -> Self:
        clone: Self = super()._clone()  # type: ignore[misc]
        clone._enrich = self._enrich
        return clone

    def _fetch_all(self) -> None:
        super()._fetch_all()
        rows = self._result_cache or []
        if self._enrich is not None and not self._is_enriched:
            self._is_enriched = True
            if rows and isinstance(rows[0], models.Model):
                self._enrich(rows)
