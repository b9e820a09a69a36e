"""Names beside the numbers that an entry's columns hold for other rows: what the trail itself last called that row.

So one query serves a page, rows that are gone have their names too, and nobody reads a name here that the trail, which
takes the permission on everything, does not show them anyway.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from django.contrib.contenttypes.models import ContentType
from django.db import connection, models

from apps.access.scoping import visible

from .models import AuditEntry
from .queries import Change, changes_of

#: Names asked for at once at most; of a page with more the rest stay numbers.
MOST = 20_000
CALLED = """
    SELECT row.type, row.id, entry.object_repr FROM unnest(%s::int[], %s::bigint[]) AS row(type, id)
    CROSS JOIN LATERAL (
        SELECT object_repr FROM audit_auditentry
        WHERE content_type_id = row.type AND object_id = row.id AND action <> 3 ORDER BY timestamp DESC LIMIT 1
    ) AS entry
"""
Row = tuple[int, int]


def references(entry: AuditEntry, changes: Sequence[Change]) -> dict[tuple[str, str], Row]:
    """By column and value: which row (type's id, id) the value stands for."""
    relations = _relations(entry)
    return {
        (one.name, value): (ContentType.objects.get_for_model(relations[one.name]).pk, int(value))
        for one in changes
        if one.name in relations
        for value in (one.before, one.after)
        if value.isdecimal() and len(value) < 19
    }


def _relations(entry: AuditEntry) -> dict[str, type[models.Model]]:
    model = entry.content_type.model_class()
    fields: list[Any] = model._meta.concrete_fields if model else []
    return {field.name: field.related_model for field in fields if field.is_relation}


def called(rows: Sequence[Row]) -> dict[Row, str]:
    """What the trail last called these rows; one query."""
    wanted = sorted(set(rows))[:MOST]
    if not wanted:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(CALLED, [[kind for kind, _ in wanted], [pk for _, pk in wanted]])
        return {(kind, pk): name for kind, pk, name in cursor.fetchall()}


def with_names(rows: Sequence[AuditEntry]) -> None:
    """Give each entry its `named_changes`; one query for all."""
    changes = [changes_of(row) for row in rows]
    found = [references(row, one) for row, one in zip(rows, changes, strict=True)]
    names = called([row for one in found for row in one.values()])
    for row, one, refers in zip(rows, changes, found, strict=True):
        row.named_changes = _named(one, refers, names)


def named(entry: AuditEntry, reader: Any) -> list[Change]:
    """The changes of one entry with names; a row that the trail never called anything by what `reader` may see of it now."""
    changes = changes_of(entry)
    refers = references(entry, changes)
    names = called(list(refers.values()))
    relations = _relations(entry)
    for (column, value), row in refers.items():
        if row not in names and (there := visible(reader, relations[column]).filter(pk=value).first()):
            names[row] = str(there)
    return _named(changes, refers, names)


def _named(
    changes: Sequence[Change], refers: dict[tuple[str, str], Row], names: dict[Row, str]
) -> list[Change]:
    def call(column: str, value: str) -> str:
        name = names.get(refers.get((column, value), (0, 0)))
        return f"{name} (#{value})" if name else value

    return [
        replace(one, before=call(one.name, one.before), after=call(one.name, one.after)) for one in changes
    ]
