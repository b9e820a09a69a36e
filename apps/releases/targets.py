"""The frozen set of a rollout, written and asked for set-wise: ids travel as one array, not as ten thousand parameters."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import connection

from .choices import TargetState
from .models import Rollout, Wave
from .rings import Mark

INSERT = """
INSERT INTO releases_rollouttarget
       (rollout_id, instance_id, wave, position, from_version, state, attempt, undo_attempt, why, changed_at)
SELECT %(rollout)s, instance_id, wave, position, from_version, %(state)s, 1, 1, why, now()
  FROM unnest(%(instances)s::bigint[], %(waves)s::int[], %(positions)s::int[], %(versions)s::text[],
              %(whys)s::text[]) AS given(instance_id, wave, position, from_version, why)
"""


def write_waves(
    rollout: Rollout,
    waves: Sequence[Sequence[int]],
    versions: Mapping[int, str],
    *,
    marks: Sequence[Mark] = (),
    after: int = 0,
) -> None:
    """Write waves of instance ids, numbered on from `after`, each instance with the version it comes from.

    The caller holds a transaction; one statement for all instances.
    """
    numbered = list(enumerate(waves, after + 1))
    marks = marks or [Mark() for _ in waves]
    Wave.objects.bulk_create(
        [
            Wave(
                rollout=rollout, number=number, size=len(ids), ring=mark.ring, rest_seconds=mark.rest_seconds
            )
            for (number, ids), mark in zip(numbered, marks, strict=True)
        ]
    )
    rows = [(pk, number, position) for number, ids in numbered for position, pk in enumerate(ids)]
    _insert(rollout, TargetState.WAITING, rows, versions)


def write_excluded(rollout: Rollout, whys: Mapping[int, str], versions: Mapping[int, str]) -> None:
    """Write the instances that a rollout leaves alone, each with why: targets in no wave. One statement for all."""
    if whys:
        rows = [(pk, 0, position) for position, pk in enumerate(whys)]
        _insert(rollout, TargetState.EXCLUDED, rows, versions, whys)


def _insert(
    rollout: Rollout,
    state: str,
    rows: Sequence[tuple[int, int, int]],
    versions: Mapping[int, str],
    whys: Mapping[int, str] | None = None,
) -> None:
    """Write targets as (instance, wave, position)."""
    values: dict[str, Any] = {
        "rollout": rollout.pk,
        "state": state,
        "instances": [pk for pk, _, _ in rows],
        "waves": [number for _, number, _ in rows],
        "positions": [position for _, _, position in rows],
        "versions": [versions[pk] for pk, _, _ in rows],
        "whys": [(whys or {}).get(pk, "")[:300] for pk, _, _ in rows],
    }
    with connection.cursor() as cursor:
        cursor.execute(INSERT, values)
