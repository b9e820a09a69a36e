"""The filtered trail as CSV or JSON Lines, streamed: newest first, by pages of the index, never held in memory."""

import csv
from collections.abc import Iterator
from typing import Any

from django.db import connection
from django.db.models import Q, QuerySet

from apps.access.listing import safe_cell

from .canonical import SELECT, id_of, line_of
from .models import AuditEntry
from .tables import AuditTable

CHUNK = 2_000
LINES = f"SELECT {SELECT} FROM audit_auditentry WHERE id = ANY(%s)"  # noqa: S608 - constants


class _Echo:
    """A file that gives back what is written to it, for csv.writer to stream through."""

    def write(self, value: str) -> str:
        return value


def _chunks(rows: QuerySet[AuditEntry]) -> Iterator[list[AuditEntry]]:
    """All rows in order of time, newest first, a chunk a query."""
    ordered = rows.order_by("-timestamp", "-pk")
    chunk = list(ordered[:CHUNK])
    while chunk:
        yield chunk
        last = chunk[-1]
        older = Q(timestamp__lt=last.timestamp) | Q(timestamp=last.timestamp, pk__lt=last.pk)
        chunk = (
            list(ordered.filter(older, timestamp__lte=last.timestamp)[:CHUNK]) if len(chunk) == CHUNK else []
        )


def as_csv(rows: QuerySet[AuditEntry]) -> Iterator[str]:
    """Lines of CSV, the header first; no cell is taken for a formula."""
    writer: Any = csv.writer(_Echo())
    yield writer.writerow([str(column.header) for column in AuditTable([]).columns])
    for chunk in _chunks(rows):
        values = iter(AuditTable(chunk).as_values())
        next(values)
        for row in values:
            yield writer.writerow([safe_cell(cell) for cell in row])


def as_json_lines(rows: QuerySet[AuditEntry]) -> Iterator[bytes]:
    """The canonical lines: the SHA-256 of each is what its seal holds."""
    for chunk in _chunks(rows.only("pk", "timestamp").select_related(None)):
        ids = [row.pk for row in chunk]
        with connection.cursor() as cursor:
            cursor.execute(LINES, [ids])
            lines = {id_of(row): line_of(row) for row in cursor.fetchall()}
        for pk in ids:
            yield lines[pk] + b"\n"
