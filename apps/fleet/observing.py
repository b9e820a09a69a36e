"""What is seen of instances: from a provider's observation to health, kept and told when it changes."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from apps.access.services import system_actor
from apps.core.choices import Tone
from apps.core.events import record
from apps.core.models import Event
from apps.core.texts import storable

from .choices import Health, Wanted
from .models import Instance
from .providers.base import Observation

#: Seconds after which "as of" is renewed although nothing changed; less would be a write for each look.
RENEW = 20.0

UPDATE = """
UPDATE fleet_instance i
SET health = v.health, health_detail = v.detail, version = v.version, generation = v.generation, endpoint = v.endpoint,
    observed_at = %s, health_since = CASE WHEN i.health <> v.health THEN now() ELSE i.health_since END
FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[], %s::bigint[], %s::text[])
     AS v(id, health, detail, version, generation, endpoint)
WHERE i.id = v.id
"""

COLUMNS = (
    "id", "name", "wanted", "health", "health_detail", "version", "generation", "endpoint", "observed_at",
    "cell_id", "cell__region__account_id",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Seen:
    """An observation in the portal's words."""

    health: str
    detail: str
    version: str
    generation: int
    endpoint: str


def assess(observation: Observation, *, wanted: str) -> Seen:
    """Health from what was seen and what is wanted: down by request is `stopped`, down otherwise is `failing`."""
    detail = observation.detail
    match observation.state:
        case "running" if observation.healthy:
            health = Health.DEGRADED if observation.degraded else Health.WELL
        case "running":
            health = Health.FAILING
        case "starting":
            health = Health.STARTING
        case _:
            down = wanted == Wanted.RUNNING
            health = Health.FAILING if down else Health.STOPPED
            detail = f"down: {detail}" if down and detail else ("down" if down else detail)
    return Seen(
        health, storable(detail)[:300], observation.version, observation.generation, observation.endpoint
    )


def look_begins() -> datetime:
    """The moment before a look, by the database's clock: a worker that is ahead would blind all others."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        moment: datetime = cursor.fetchone()[0]
    return moment


def record_observations(observations: Mapping[int, Observation], *, looked_at: datetime) -> int:
    """Keep what was seen of instances (by id), and tell what changed; gives the number of rows written.

    `looked_at` is when the look began. A probe and an operation may look at one instance at the same time: the
    rows are locked, so that a change is told once, and a look older than what is kept already is left out.
    Two statements and, where health changed, one for the events, however many instances.
    """
    if not observations:
        return 0
    with transaction.atomic():
        rows = Instance.objects.filter(pk__in=list(observations)).order_by("pk")
        changed, events = [], []
        for row in rows.select_for_update(of=("self",)).values(*COLUMNS):
            if row["observed_at"] is not None and row["observed_at"] > looked_at:
                continue
            seen = assess(observations[row["id"]], wanted=row["wanted"])
            stale = row["observed_at"] is None or (looked_at - row["observed_at"]).total_seconds() > RENEW
            before = (row["health"], row["health_detail"], row["version"], row["generation"], row["endpoint"])
            after = (seen.health, seen.detail, seen.version, seen.generation, seen.endpoint)
            if before != after or stale:
                changed.append((row["id"], *after))
            if event := _change_event(row, seen):
                events.append(event)
        if changed:
            with connection.cursor() as cursor:
                cursor.execute(UPDATE, [looked_at, *map(list, zip(*changed, strict=True))])
        if events:
            record(events)
    return len(changed)


TOLD = {
    Health.FAILING: Tone.BAD,
    Health.DEGRADED: Tone.WARN,
    Health.WELL: Tone.OK,
    Health.STOPPED: Tone.PLAIN,
}


def _change_event(row: Mapping[str, Any], seen: Seen) -> Event | None:
    """The event of a change of health worth telling: not each start on the way, and not the first look."""
    before, after = row["health"], seen.health
    if before == after or after not in TOLD:
        return None
    if after == Health.WELL and before not in (Health.FAILING, Health.DEGRADED):
        return None
    words = {
        Health.WELL: "is well again",
        Health.FAILING: "fails",
        Health.DEGRADED: "is degraded",
        Health.STOPPED: "is stopped",
    }
    return Event(
        kind=f"instance.{after}",
        title=f"{row['name']} {words[Health(after)]}",
        why=seen.detail,
        tone=TOLD[Health(after)],
        actor_id=system_actor("probe").pk,
        instance_id=row["id"],
        cell_id=row["cell_id"],
        account_id=row["cell__region__account_id"],
    )
