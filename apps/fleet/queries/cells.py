"""Cells: how full, how well, on which versions."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from django.db.models import Count, QuerySet
from django.shortcuts import get_object_or_404

from apps.access.scoping import visible
from apps.core.enriching import EnrichedQuerySet

from ..choices import WRONG, Health
from ..models import Cell, Instance
from .overview import SQUARES, BoardRow, Dot, work_now

WRONG_ROWS = 20


def listed_cells(user: Any) -> QuerySet[Cell]:
    """The cells a user sees, with where they are; counts are looked up for the rows of the page alone."""
    rows: EnrichedQuerySet[Cell] = EnrichedQuerySet(model=Cell).select_related("region__account")
    return visible(user, rows.enriched_by(lambda found: add_counts(user, found)))


def add_counts(user: Any, rows: Sequence[Any]) -> None:
    """Set `board` (a `BoardRow`), `used` (per cent of the capacity) and `versions` on cells. One query."""
    columns = ("cell_id", "health", "version")
    ids = [row.pk for row in rows]
    tallies = visible(user, Instance).filter(cell_id__in=ids).order_by(*columns).values_list(*columns)
    health: dict[int, Counter[str]] = {}
    versions: dict[int, Counter[str]] = {}
    for cell_id, state, version, count in tallies.annotate(n=Count("*")):
        health.setdefault(cell_id, Counter())[state] += count
        versions.setdefault(cell_id, Counter())[version] += count
    for row in rows:
        row.board = BoardRow(row.pk, row.name, counts=health.get(row.pk, Counter()))
        row.used = round(100 * row.board.total / row.capacity) if row.capacity else None
        row.versions = [(v, n) for v, n in versions.get(row.pk, Counter()).most_common() if v]


def cell_page(user: Any, pk: int) -> Any:
    """One cell with its counts; Http404 for one that `user` cannot see."""
    cell = get_object_or_404(listed_cells(user), pk=pk)
    return cell


def draw_cell(user: Any, cell: Any) -> BoardRow:
    """The cell's line of the board: a dot for each instance, or for each wrong one when they are too many."""
    changing = work_now(user).changing
    rows = visible(user, Instance).filter(cell=cell).order_by("name")
    if cell.board.total > SQUARES:
        rows = rows.filter(health__in=WRONG)[:SQUARES]
    board: BoardRow = cell.board
    board.dots = [
        Dot(pk, name, cell.pk, version, "changing" if pk in changing else health)
        for pk, name, version, health in rows.values_list("pk", "name", "version", "health")
    ]
    return board


def wrong_in(user: Any, cell: Cell) -> list[Instance]:
    """What is wrong in the cell, newest first."""
    rows = visible(user, Instance).filter(cell=cell, health__in=WRONG).order_by("-health_since")
    return list(rows[:WRONG_ROWS])


def is_well(cell: Any) -> bool:
    """Whether everything in the cell that should serve does."""
    return bool(cell.board.total == cell.board.counts[Health.WELL] + cell.board.counts[Health.STOPPED])
