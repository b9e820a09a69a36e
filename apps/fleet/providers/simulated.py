"""The simulated provider: rows only, with faults to order; for 100,000 instances, benchmarks and drills.

A changing call is one SQL statement for any number of instances: it changes the rows whose reality differs,
counts the effect on the row and writes a SimulatedEffect, all or nothing. So whoever repeats an order, at
whatever moment and from however many workers, no effect is applied twice, and the rows prove it.

Faults, ordered on the row: `slow` is ready `fault_value` seconds after a boot; `flaky` fails a call with the
probability `fault_value`, half of the time before the effect and half after it; `hang` takes the order and
never becomes ready; `unhealthy` runs and is not well. `crash_on_version`: that version ends as it boots; to
order it again changes nothing, it has been tried.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from django.db import connection

from apps.core.texts import natural

from .arguments import checked, find
from .base import (
    Argument,
    Command,
    CommandResult,
    DiskUse,
    LogLine,
    LogPage,
    Observation,
    Outcomes,
    ProviderError,
    ProviderUnavailable,
    Sample,
    ServedCertificate,
    Target,
)
from .synthetic import observation, samples

# Each order as (instance, version, generation); what the order does not need is empty or 0.
# `asked` looks at the faults and throws the dice; rows are then locked in order of id, so that two
# batches that meet cannot wait for each other in a circle.
_ASKED = """
WITH asked AS MATERIALIZED (
    SELECT o.id, o.version, o.generation, s.instance_id IS NULL OR s.state = 'missing' AS missing,
           s.fault = 'flaky' AND random() < s.fault_value AS fails, random() < 0.5 AS before
      FROM unnest(%(ids)s::bigint[], %(versions)s::text[], %(generations)s::bigint[]) AS o (id, version, generation)
      LEFT JOIN fleet_simulatedinstance s ON s.instance_id = o.id
     ORDER BY o.id
), taken AS MATERIALIZED (
    SELECT * FROM asked WHERE NOT (coalesce(fails, false) AND before)
)"""

_READY = """CASE {s}.fault WHEN 'slow' THEN clock_timestamp() + make_interval(secs => {s}.fault_value)
              WHEN 'hang' THEN clock_timestamp() + interval '100 years' END"""

_NOTED = """, noted AS (
    INSERT INTO fleet_simulatedeffect (instance_id, kind, version, generation, at)
    SELECT instance_id, %(kind)s::text, version, generation, clock_timestamp() FROM changed
)
SELECT id, missing, coalesce(fails, false), before FROM asked"""

_CRASHES = "s.crash_on_version <> '' AND s.crash_on_version = {version}"

_APPLY = f"""{_ASKED}, changed AS (
    INSERT INTO fleet_simulatedinstance AS s
           (instance_id, state, version, generation, ready_at, effects, crash_on_version, fault, fault_value)
    SELECT id, 'running', version, 1, NULL, 1, '', 'none', 0 FROM taken ORDER BY id
    ON CONFLICT (instance_id) DO UPDATE
       SET state = CASE WHEN {_CRASHES.format(version="excluded.version")} THEN 'stopped' ELSE 'running' END,
           version = excluded.version, generation = s.generation + 1, effects = s.effects + 1,
           ready_at = {_READY.format(s="s")}
     WHERE s.version <> excluded.version OR s.state = 'missing'
        OR (s.state <> 'running' AND NOT ({_CRASHES.format(version="excluded.version")}))
    RETURNING s.instance_id, s.version, s.generation
){_NOTED}"""  # noqa: S608 (constants of this module only)

_CHANGE = f"""{_ASKED}, locked AS MATERIALIZED (
    SELECT s.instance_id, t.generation AS expected
      FROM fleet_simulatedinstance s JOIN taken t ON t.id = s.instance_id
     ORDER BY s.instance_id FOR UPDATE OF s
), changed AS (
    UPDATE fleet_simulatedinstance s
       SET {{change}}, effects = s.effects + 1
      FROM locked WHERE s.instance_id = locked.instance_id AND s.state <> 'missing' AND ({{differs}})
    RETURNING s.instance_id, {{version}} AS version, s.generation
){_NOTED}"""  # noqa: S608 (constants of this module only)

_RUNS = f"""state = CASE WHEN {_CRASHES.format(version="s.version")} THEN 'stopped' ELSE 'running' END,
           generation = s.generation + 1, ready_at = {_READY.format(s="s")}"""


def _change(change: str, differs: str) -> str:
    return _CHANGE.format(change=change, differs=differs, version="s.version")


_STATEMENTS = {
    "apply": _APPLY,
    "start": _change(_RUNS, f"s.state = 'stopped' AND NOT ({_CRASHES.format(version='s.version')})"),
    "stop": _change("state = 'stopped', ready_at = NULL", "s.state = 'running'"),
    "restart": _change(_RUNS, "s.generation = locked.expected"),
    "scale": _change("workers = locked.expected", "s.workers <> locked.expected"),
    "clear_disk": _change("disk = 0", "s.disk > 0"),
    "destroy": _change("state = 'missing', ready_at = NULL", "true"),
}
_NEEDS_A_DEPLOYMENT = {"start", "restart", "scale", "clear_disk"}

_OBSERVE = """
SELECT instance_id, state, version, generation, coalesce(ready_at > clock_timestamp(), false), fault,
       crash_on_version <> '' AND crash_on_version = version
  FROM fleet_simulatedinstance WHERE instance_id = ANY(%s::bigint[])"""

# Which rows look otherwise than the portal last wrote down; the health is that of fleet/observing.py: assess.
_CHANGED = """
SELECT s.instance_id, s.state, s.version, s.generation, coalesce(s.ready_at > clock_timestamp(), false), s.fault,
       s.crash_on_version <> '' AND s.crash_on_version = s.version
  FROM fleet_simulatedinstance s JOIN fleet_instance i ON i.id = s.instance_id
 WHERE s.version <> i.version OR s.generation <> i.generation
    OR i.health <> CASE WHEN s.state = 'running' AND s.ready_at > clock_timestamp() THEN 'starting'
                        WHEN s.state = 'running' AND s.fault = 'unhealthy' THEN 'failing'
                        WHEN s.state = 'running' THEN 'well'
                        WHEN i.wanted = 'stopped' THEN 'stopped' ELSE 'failing' END
 LIMIT %s"""

_EFFECTS = """
SELECT id, kind, version, generation, at FROM fleet_simulatedeffect
 WHERE instance_id = %s AND id > %s ORDER BY id {order} LIMIT %s"""


Versions = Callable[[], Sequence[str]]
_version_sources: list[Versions] = []


def register_versions(source: Versions) -> None:
    """Have the simulated world offer what `source` names as well: nothing has to be built or installed there."""
    if source not in _version_sources:
        _version_sources.append(source)


class SimulatedProvider:
    """See the module. The `*_many` calls are the real ones here; a single call is a batch of one."""

    name = "simulated"

    # --- looking

    def observe(self, target: Target) -> Observation:
        """See `Provider.observe`."""
        return self.observe_many([target])[target.instance_id]

    def observe_many(self, targets: Sequence[Target]) -> dict[int, Observation]:
        """See `Provider.observe_many`; one statement."""
        with connection.cursor() as cursor:
            cursor.execute(_OBSERVE, [[target.instance_id for target in targets]])
            rows = {row[0]: row[1:] for row in cursor.fetchall()}
        return {target.instance_id: observation(rows.get(target.instance_id)) for target in targets}

    def observe_changed(self, *, limit: int) -> dict[int, Observation]:
        """What became of instances that look otherwise than the portal wrote down; `limit` rows at most."""
        with connection.cursor() as cursor:
            cursor.execute(_CHANGED, [limit])
            return {row[0]: observation(row[1:]) for row in cursor.fetchall()}

    def logs(self, target: Target, *, limit: int = 200, after: str = "") -> LogPage:
        """See `Provider.logs`: the effects that were applied, one line each."""
        if after and not after.isdecimal():
            message = f"{after!r} is not a log cursor; leave it out to read the newest lines"
            raise ProviderError(message, retryable=False)
        with connection.cursor() as cursor:
            cursor.execute(
                _EFFECTS.format(order="ASC" if after else "DESC"),
                [target.instance_id, int(after or 0), limit],
            )
            rows = sorted(cursor.fetchall())
        lines = [
            LogLine(row[4], "info", f"simulated: {row[1]}, version {row[2]}, boot {row[3]}") for row in rows
        ]
        return LogPage(lines, str(rows[-1][0]) if rows else after or "0")

    def metrics(self, target: Target) -> list[Sample]:
        """See `Provider.metrics`: made from the id, the boot and the time, and labelled as synthetic."""
        seen = self.observe(target)
        if seen.state != "running":
            raise ProviderUnavailable(f"{target.name} does not run, so it has no metrics now; start it first")
        return samples(target, seen, datetime.now(UTC))

    def diagnostics(self, target: Target) -> dict[str, str]:
        """See `Provider.diagnostics`: the row, and the last effects."""
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT * FROM fleet_simulatedinstance WHERE instance_id = %s", [target.instance_id]
            )
            row = cursor.fetchone()
            columns = [column.name for column in cursor.description or ()]
        state = json.dumps(dict(zip(columns, row, strict=True)), indent=1, default=str) if row else "missing"
        log = "\n".join(f"{line.at.isoformat()} {line.message}" for line in self.logs(target).lines)
        placed = {"cell": target.cell, "tenants": list(target.tenants)}
        config = json.dumps(placed, indent=1)
        return {"process": state, "open files": "none: simulated", "config": config, "log": log}

    def served_certificate(self, target: Target) -> ServedCertificate:
        """Always raises ProviderError: it would have to be made up."""
        raise ProviderError("simulated instances serve nothing; there is no certificate", retryable=False)

    def present_certificate(
        self, target: Target, *, chain_pem: bytes, key_pem: bytes, root_pem: bytes = b""
    ) -> None:
        """Always raises ProviderError, see `served_certificate`."""
        raise ProviderError(
            "simulated instances serve nothing; a certificate cannot be presented", retryable=False
        )

    def restore_certificate(self, target: Target, *, fingerprint: str) -> None:
        """Always raises ProviderError, see `served_certificate`."""
        raise ProviderError(
            "simulated instances serve nothing; a certificate cannot be restored", retryable=False
        )

    def versions(self) -> list[str]:
        """Those that some simulated instance has, and those that floors above know of; any other can be applied as well."""
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT DISTINCT version FROM fleet_simulatedinstance WHERE version <> '' ORDER BY version"
            )
            found = {version for (version,) in cursor.fetchall()}
        return sorted(found.union(*(source() for source in _version_sources)), key=natural)

    def serves(self, target: Target, tenants: Sequence[str]) -> set[str]:
        """See `Provider.serves`: whoever is placed on it, while it is well."""
        return set(tenants) & set(target.tenants) if self.observe(target).healthy else set()

    def workers(self, target: Target) -> int:
        """See `Provider.workers`."""
        if self.observe(target).state != "running":
            raise ProviderUnavailable(f"{target.name} does not run, so it has no workers; start it first")
        return self._number("workers", target)

    def disk(self, target: Target) -> DiskUse:
        """See `Provider.disk`: a figure of the row, all of which can be cleared."""
        size = self._number("disk", target)
        return DiskUse(size, size)

    def _number(self, column: Literal["workers", "disk"], target: Target) -> int:
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT {column} FROM fleet_simulatedinstance WHERE instance_id = %s",  # noqa: S608 (one of two)
                [target.instance_id],
            )
            row = cursor.fetchone()
        return int(row[0]) if row else 0

    def commands(self, target: Target) -> list[Command]:
        """See `Provider.commands`: those that only look."""
        return [
            Command("status", "the row that stands for it"),
            Command(
                "effects", "the last changes that were applied",
                (Argument("last", "integer", "lines", default="20", min=1, max=500),),
            ),
        ]  # fmt: skip

    def run_command(
        self, target: Target, name: str, arguments: Mapping[str, str], *, key: str
    ) -> CommandResult:
        """See `Provider.run_command`; nothing here has an effect, so that the key is not needed."""
        command = find(self.commands(target), name)
        values = checked(command, arguments, target.tenants)
        if self.observe(target).state == "missing":
            raise ProviderError(
                f"{target.name} was never deployed here, or destroyed; deploy a version first",
                retryable=False,
            )
        if name == "status":
            return CommandResult(0, self.diagnostics(target)["process"])
        lines = self.logs(target, limit=int(values["last"])).lines
        return CommandResult(0, "\n".join(f"{line.at.isoformat()} {line.message}" for line in lines))

    # --- changing, set-wise

    def apply_many(self, orders: Sequence[tuple[Target, str]]) -> Outcomes:
        """See `Provider.apply_many`; one statement, as each of these."""
        return self._order("apply", [(target, version, 0) for target, version in orders])

    def restart_many(self, orders: Sequence[tuple[Target, int]]) -> Outcomes:
        """See `Provider.restart_many`."""
        return self._order("restart", [(target, "", generation) for target, generation in orders])

    def start_many(self, targets: Sequence[Target]) -> Outcomes:
        """See `Provider.start_many`."""
        return self._order("start", [(target, "", 0) for target in targets])

    def stop_many(self, targets: Sequence[Target]) -> Outcomes:
        """See `Provider.stop_many`."""
        return self._order("stop", [(target, "", 0) for target in targets])

    # --- changing, one

    def apply(self, target: Target, *, version: str) -> None:
        """See `Provider.apply`."""
        _raise(self.apply_many([(target, version)]))

    def start(self, target: Target) -> None:
        """See `Provider.start`."""
        _raise(self.start_many([target]))

    def stop(self, target: Target) -> None:
        """See `Provider.stop`."""
        _raise(self.stop_many([target]))

    def restart(self, target: Target, *, generation: int) -> None:
        """See `Provider.restart`."""
        _raise(self.restart_many([(target, generation)]))

    def place(self, target: Target) -> None:
        """See `Provider.place`: who is placed on it is all that is to be known; it only has to be there."""
        if self.observe(target).state == "missing":
            raise ProviderError(
                f"{target.name} was never deployed here, or destroyed; deploy a version first",
                retryable=False,
            )

    def scale(self, target: Target, *, workers: int) -> None:
        """See `Provider.scale`."""
        _raise(self._order("scale", [(target, "", workers)]))

    def clear_disk(self, target: Target) -> None:
        """See `Provider.clear_disk`."""
        _raise(self._order("clear_disk", [(target, "", 0)]))

    def destroy(self, target: Target) -> None:
        """See `Provider.destroy`; its effects stay on record."""
        _raise(self._order("destroy", [(target, "", 0)]))

    def _order(self, kind: str, orders: Sequence[tuple[Target, str, int]]) -> Outcomes:
        """One effect at most per instance, however often it is named in one call (the first order counts)."""
        unique = {order[0].instance_id: order for order in reversed(orders)}
        parameters: dict[str, Any] = {
            "kind": kind,
            "ids": list(unique),
            "versions": [version for _, version, _ in unique.values()],
            "generations": [generation for _, _, generation in unique.values()],
        }
        with connection.cursor() as cursor:
            cursor.execute(_STATEMENTS[kind], parameters)
            rows = cursor.fetchall()
        return {row[0]: _outcome(kind, unique[row[0]][0].name, *row[1:]) for row in rows}


def _outcome(kind: str, name: str, missing: bool, fails: bool, before: bool) -> ProviderError | None:
    if fails:
        moment = "before" if before else "after"
        return ProviderError(
            f"{name}: the ordered fault 'flaky' struck {moment} the {kind}; look, then retry"
        )
    if missing and kind in _NEEDS_A_DEPLOYMENT:
        return ProviderError(
            f"{name} was never deployed here, or destroyed; deploy a version first", retryable=False
        )
    return None


def _raise(outcomes: Mapping[int, ProviderError | None]) -> None:
    for error in outcomes.values():
        if error is not None:
            raise error
