"""The frozen set of a rollout, written and asked for set-wise: ids travel as one array, not as ten thousand parameters."""

from typing import Any

from django.db import connection

from .choices import TargetState
from .models import Rollout
from .planning import RolloutPlan

INSERT = """
INSERT INTO releases_rollouttarget
       (rollout_id, instance_id, wave, position, from_version, state, attempt, undo_attempt, why, changed_at)
SELECT %(rollout)s, instance_id, wave, position, from_version, %(state)s, 1, 1, '', now()
  FROM unnest(%(instances)s::bigint[], %(waves)s::int[], %(positions)s::int[], %(versions)s::text[])
       AS given(instance_id, wave, position, from_version)
"""


def write_targets(rollout: Rollout, plan: RolloutPlan) -> None:
    """Write the instances of a plan's waves, in one statement; the caller holds a transaction."""
    rows = [
        (pk, number, position) for number, ids in enumerate(plan.waves, 1) for position, pk in enumerate(ids)
    ]
    values: dict[str, Any] = {
        "rollout": rollout.pk,
        "state": TargetState.WAITING,
        "instances": [pk for pk, _, _ in rows],
        "waves": [number for _, number, _ in rows],
        "positions": [position for _, _, position in rows],
        "versions": [plan.from_versions[pk] for pk, _, _ in rows],
    }
    with connection.cursor() as cursor:
        cursor.execute(INSERT, values)
