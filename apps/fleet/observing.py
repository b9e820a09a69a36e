"""What is seen of instances: from a provider's observation to health, kept and told when it changes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.db.models import QuerySet

from apps.access.services import system_actor
from apps.core.arrays import among
from apps.core.choices import Tone
from apps.core.events import record
from apps.core.models import Event
from apps.core.texts import storable

from . import looks
from .choices import Health, Wanted
from .models import Instance
from .providers.base import Observation

#: Seconds after which "as of" is renewed although nothing changed; less would be a write for each look.
RENEW = 20.0

UPDATE = """
UPDATE fleet_instance i
SET health = v.health, health_detail = v.detail, version = v.version, generation = v.generation, endpoint = v.endpoint,
    observed_at = clock_timestamp(), health_since = CASE WHEN i.health <> v.health THEN clock_timestamp() ELSE i.health_since END
FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[], %s::bigint[], %s::text[])
     AS v(id, health, detail, version, generation, endpoint)
WHERE i.id = v.id
"""

COLUMNS = (
    "id", "name", "wanted", "health", "health_detail", "version", "generation", "endpoint", "observed_at",
    "cell_id", "cell__region__account_id",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class HealthChange:
    """An instance's health is another than at the last look."""

    instance_id: int
    name: str
    cell_id: int
    account_id: int
    before: str
    after: str
    detail: str
    version: str


HealthListener = Callable[[Sequence[HealthChange]], None]
_listeners: list[HealthListener] = []


def on_health_changes(listener: HealthListener) -> None:
    """Have `listener` called with all changes of one look, inside the transaction that keeps them.

    What it writes stands or falls with the new health. It must be set-wise and quick.
    """
    if listener not in _listeners:
        _listeners.append(listener)


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
        case "unknown":
            health = Health.UNKNOWN
        case _:
            down = wanted == Wanted.RUNNING
            health = Health.FAILING if down else Health.STOPPED
            detail = f"down: {detail}" if down and detail else ("down" if down else detail)
    return Seen(
        health, storable(detail)[:300], observation.version, observation.generation, observation.endpoint
    )


def look_begins() -> datetime:
    """The moment before a look, by the database's clock: see `record_observations`."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        moment: datetime = cursor.fetchone()[0]
    return moment


def record_observations(observations: Mapping[int, Observation], *, since: datetime) -> int:
    """Keep what was seen of instances (by id), and tell what changed; gives the number of rows written.

    `since` is when the look began. Where another look was written after that, this one may be the older, and
    is dropped: the next one tells. Few statements, however many instances.
    """
    if not observations:
        return 0
    with transaction.atomic():
        rows = Instance.objects.filter(pk__in=among(observations)).order_by("pk")
        differ = [pk for pk, before, after, *_ in _compared(rows, observations, since) if before != after]
        if not differ:
            return 0
        # Locked in order of id, as every other writer of many rows does, so that none waits in a circle.
        locked = rows.filter(pk__in=among(differ)).select_for_update(of=("self",))
        changed, events, turns = [], [], []
        prober = system_actor("probe").pk
        for pk, before, after, row, seen in _compared(locked, observations, since):
            if before != after:
                changed.append((pk, *after))
                if event := _change_event(row, seen, prober):
                    events.append(event)
                if row["health"] != seen.health:
                    turns.append(_change(row, seen))
        if changed:
            with connection.cursor() as cursor:
                cursor.execute(UPDATE, [list(column) for column in zip(*changed, strict=True)])
        if events:
            record(events)
        if turns:
            for listener in _listeners:
                listener(turns)
            looks.wake(turn.instance_id for turn in turns)
    return len(changed)


def _change(row: Mapping[str, Any], seen: Seen) -> HealthChange:
    return HealthChange(
        row["id"],
        row["name"],
        row["cell_id"],
        row["cell__region__account_id"],
        row["health"],
        seen.health,
        seen.detail,
        seen.version,
    )


def _compared(
    rows: QuerySet[Instance], observations: Mapping[int, Observation], since: datetime
) -> Iterator[tuple[int, tuple[Any, ...], tuple[Any, ...], Mapping[str, Any], Seen]]:
    """Of each row that this look may write: what stands there, and what was seen; they differ too once "as of" is old."""
    for row in rows.values(*COLUMNS):
        at = row["observed_at"]
        if at is not None and at > since:
            continue
        seen = assess(observations[row["id"]], wanted=row["wanted"])
        if seen.health == Health.UNKNOWN:  # what was known of it stands
            seen = replace(
                seen, version=row["version"], generation=row["generation"], endpoint=row["endpoint"]
            )
        before = (row["health"], row["health_detail"], row["version"], row["generation"], row["endpoint"])
        after = (seen.health, seen.detail, seen.version, seen.generation, seen.endpoint)
        is_old = at is None or (since - at).total_seconds() > RENEW
        yield row["id"], (() if is_old else before), after, row, seen


TOLD = {
    Health.FAILING: Tone.BAD,
    Health.DEGRADED: Tone.WARN,
    Health.WELL: Tone.OK,
    Health.STOPPED: Tone.PLAIN,
    Health.UNKNOWN: Tone.WARN,
}


def _change_event(row: Mapping[str, Any], seen: Seen, prober: int) -> Event | None:
    """The event of a change of health worth telling: not each start on the way, and not the first look."""
    before, after = row["health"], seen.health
    if before == after or after not in TOLD:
        return None
    was_told = before in (Health.FAILING, Health.DEGRADED) or (
        before == Health.UNKNOWN and row["observed_at"] is not None
    )
    if after == Health.WELL and not was_told:
        return None
    words = {
        Health.WELL: "is well again",
        Health.FAILING: "fails",
        Health.DEGRADED: "is degraded",
        Health.STOPPED: "is stopped",
        Health.UNKNOWN: "cannot be seen",
    }
    return Event(
        kind=f"instance.{after}",
        title=f"{row['name']} {words[Health(after)]}",
        why=seen.detail,
        tone=TOLD[Health(after)],
        actor_id=prober,
        instance_id=row["id"],
        cell_id=row["cell_id"],
        account_id=row["cell__region__account_id"],
    )
