"""The frozen set of a rollout, written and asked for set-wise: ids travel as one array, not as ten thousand parameters."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import connection

from .choices import TargetState
from .models import Rollout, Wave

INSERT = """
INSERT INTO releases_rollouttarget
       (rollout_id, instance_id, wave, position, from_version, state, attempt, undo_attempt, why, changed_at)
SELECT %(rollout)s, instance_id, wave, position, from_version, %(state)s, 1, 1, '', now()
  FROM unnest(%(instances)s::bigint[], %(waves)s::int[], %(positions)s::int[], %(versions)s::text[])
       AS given(instance_id, wave, position, from_version)
"""


def write_waves(
    rollout: Rollout, waves: Sequence[Sequence[int]], versions: Mapping[int, str], *, after: int = 0
) -> None:
    """Write waves of instance ids, numbered on from `after`, each instance with the version it comes from.

    The caller holds a transaction; one statement for all instances.
    """
    numbered = list(enumerate(waves, after + 1))
    Wave.objects.bulk_create(
        [Wave(rollout=rollout, number=number, size=len(ids)) for number, ids in numbered]
    )
    rows = [(pk, number, position) for number, ids in numbered for position, pk in enumerate(ids)]
    values: dict[str, Any] = {
        "rollout": rollout.pk,
        "state": TargetState.WAITING,
        "instances": [pk for pk, _, _ in rows],
        "waves": [number for _, number, _ in rows],
        "positions": [position for _, _, position in rows],
        "versions": [versions[pk] for pk, _, _ in rows],
    }
    with connection.cursor() as cursor:
        cursor.execute(INSERT, values)
