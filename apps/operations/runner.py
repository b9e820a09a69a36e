"""A worker's loop: claim, let steps act, advance, until nothing is due.

One thread carries up to `OPERATIONS_BATCH` operations at once: a step that has to wait answers
`Later` instead of sleeping, so a hundred slow starts cost one thread. A keeper thread renews the
leases meanwhile, since a step may take longer than a lease.
"""

import json
import logging
import math
import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import groupby

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connection
from django.db.utils import InterfaceError, OperationalError

from apps.access.scoping import visible
from apps.core.arrays import among
from apps.core.context import acting

from . import endings, engine, guard_rails
from .kinds import Failed, Kind, Later, Outcome, Work, failure_of, find_kind, find_target
from .models import Operation

logger = logging.getLogger(__name__)

#: Longest time in seconds that one call goes on claiming; then it finishes what it holds.
SHIFT = 60.0
#: Share of a loop's places that operations of batches may fill: a thousand starts that hang leave the others to
#: whoever asks for one thing.
BATCH_SHARE = 0.8
#: Seconds beyond a step's own time limit after which its lease is kept no longer: the call hangs, another worker goes on.
HUNG = 10.0


def worker_name() -> str:
    """Who holds a lease: host, process, thread."""
    return f"{socket.gethostname()}:{os.getpid()}:{threading.get_ident()}"[:120]


class LeaseKeeper:
    """Renews the leases of all of a process's works, on a thread and connection of its own."""

    def __init__(self) -> None:
        # With its fence: two loops may hold one operation's lease after each other, and the first is late to notice.
        # The value is the monotonic time until which it is kept.
        self._held: dict[tuple[int, int], float] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @contextmanager
    def keeping(self) -> Iterator["Keeping"]:
        """A set of works to keep; emptied at the end of the block."""
        mine = Keeping(self)
        try:
            yield mine
        finally:
            mine.replace([])

    def swap(self, old: set[tuple[int, int]], new: set[tuple[int, int]], until: float) -> None:
        with self._lock:
            for key in old:
                self._held.pop(key, None)
            self._held.update(dict.fromkeys(new, until))
            if new and (self._thread is None or not self._thread.is_alive()):
                self._thread = threading.Thread(target=self._run, name="lease-keeper", daemon=True)
                self._thread.start()

    def due(self) -> list[tuple[int, int]]:
        """What is to be renewed: whose call is late loses its lease."""
        now = time.monotonic()
        return [key for key, until in self._held.items() if until > now]

    def _run(self) -> None:
        while True:
            time.sleep(settings.OPERATIONS_LEASE_SECONDS / 4)
            with self._lock:
                held = self.due()
                if not self._held:
                    # Said under the lock, so that who adds the next work sees that nobody keeps it.
                    self._thread = None
                    connection.close()
                    return
            try:
                engine.renew(held)
            except (OperationalError, InterfaceError) as error:
                logger.warning("leases not renewed, the database is away: %s", str(error).splitlines()[0])
                connection.close()


class Keeping:
    """The works that one loop holds."""

    def __init__(self, keeper: LeaseKeeper) -> None:
        self._keeper = keeper
        self._mine: set[tuple[int, int]] = set()

    def replace(self, works: Iterable[Work], *, seconds: float = math.inf) -> None:
        """Keep these and no others, for `seconds` at most."""
        new = {(work.id, work.fence) for work in works}
        self._keeper.swap(self._mine, new, time.monotonic() + seconds)
        self._mine = new

    def held(self) -> list[tuple[int, int]]:
        """(operation id, fence) of each."""
        return list(self._mine)


KEEPER = LeaseKeeper()


def run_due(*, limit: int | None = None, shift: float = SHIFT) -> int:
    """Work on all that is due until nothing is; gives the number of operations taken up.

    Several may run at once, in any number of threads, processes and machines. A lost database
    raises OperationalError; what was held is then taken over when its lease runs out.
    """
    limit = limit or settings.OPERATIONS_BATCH
    owner = worker_name()
    until = time.monotonic() + shift
    works: list[Work] = []
    taken = 0
    with KEEPER.keeping() as keeping, _giving_back(keeping):
        while True:
            if time.monotonic() < until:
                fresh = _claimed(works, owner=owner, limit=limit)
                taken += len(fresh)
                keeping.replace([*works, *fresh])
                works = works + _admitted(fresh)
                _tell_ended(fresh, works)
            if not works:
                return taken
            works = _still_ours(works)
            now = time.monotonic()
            ready = [work for work in works if work.ready_at <= now]
            waiting = [work for work in works if work.ready_at > now]
            keeping.replace(works, seconds=_longest(ready))
            works = waiting + (_round(ready) if ready else [])
            keeping.replace(works)
            _tell_ended(ready, works)
            _rest(works)


def _tell_ended(before: Sequence[Work], after: Sequence[Work]) -> None:
    """Let floors above go on at once with what has left these hands."""
    left = {work.id for work in after}
    if kinds := {work.kind for work in before if work.id not in left}:
        endings.told(kinds)


@contextmanager
def _giving_back(keeping: Keeping) -> Iterator[None]:
    """When the loop is broken off (a worker that is told to stop, a fault), what it holds is free at once."""
    try:
        yield
    except BaseException:
        with suppress(Exception):
            engine.release(keeping.held())
        raise


def _claimed(works: Sequence[Work], *, owner: str, limit: int) -> list[Work]:
    """What is due, as much as there is room for: of batches only as much as leaves room for single operations."""
    room = limit - len(works)
    of_batches = int(limit * BATCH_SHARE) - sum(work.batch_id is not None for work in works)
    fresh: list[Work] = []
    if (both := min(room, of_batches)) > 0:
        fresh = engine.claim(owner=owner, limit=both)
    if room > both and len(fresh) == max(both, 0):
        fresh += engine.claim(owner=owner, limit=room - len(fresh), batches=False)
    return fresh


def _longest(works: Sequence[Work]) -> float:
    """Seconds within which one round over these works must be done, or something hangs."""
    steps = {(work.kind, work.is_undoing, work.step) for work in works}
    return HUNG + sum(_time_limit(*step) for step in steps)


def _time_limit(name: str, is_undoing: bool, index: int) -> float:
    steps = find_kind(name).steps_of(is_undoing)
    return steps[index].timeout if index < len(steps) else 0.0


def _still_ours(works: list[Work]) -> list[Work]:
    """The works whose leases we hold; those we have not been sure of for half a lease are asked about.

    A process that was stopped and goes on acts on nothing that others have finished since. Whom its lost lease
    would stop only at the writing has changed the target by then.
    """
    now = time.monotonic()
    unsure = [work for work in works if now - work.sure_at > settings.OPERATIONS_LEASE_SECONDS / 2]
    if not unsure:
        return works
    ours = engine.renew([(work.id, work.fence) for work in unsure])
    lost = {work.id for work in unsure} - ours
    for work in unsure:
        work.sure_at = now
    return [work for work in works if work.id not in lost]


def _rest(works: Sequence[Work]) -> None:
    """Sleep until the first work is ready again, half a second at most, so that new ones are seen."""
    if works and (pause := min(work.ready_at for work in works) - time.monotonic()) > 0:
        time.sleep(min(pause, 0.5))


def _round(works: Sequence[Work]) -> list[Work]:
    """Let each work take its step once, and write what came of it."""
    outcomes: dict[int, tuple[Work, Outcome]] = {}
    quiet: list[Work] = []
    for kind, is_undoing, step, group in _by_step(works):
        for work, outcome in _run_step(kind, is_undoing, step, group):
            if isinstance(outcome, Later) and (late := engine.out_of_time(work)):
                outcome = late
            if isinstance(outcome, Later):
                work.ready_at = time.monotonic() + outcome.after
                if outcome.detail == work.told and work.told:
                    quiet.append(work)
                    continue
                work.told = outcome.detail
            outcomes[work.id] = (work, outcome)
    # A wait with nothing new to tell writes nothing, but a cancel has to be seen all the same.
    asked = _cancel_requested(quiet)
    outcomes.update({w.id: (w, Later(0, w.told)) for w in quiet if w.id in asked})
    return [w for w in quiet if w.id not in asked] + (_written(outcomes) if outcomes else [])


def _written(outcomes: dict[int, tuple[Work, Outcome]]) -> list[Work]:
    """Write outcomes together; where one of them cannot be written it fails alone, and the others go on."""
    try:
        return engine.advance(outcomes)
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:
        if len(outcomes) > 1:
            return [work for key, value in outcomes.items() for work in _written({key: value})]
        [(key, (work, _))] = outcomes.items()
        logger.exception("the outcome of operation %s cannot be written", key)
        words = (
            f"What its step answered could not be written ({type(error).__name__}); see the workers' logs."
        )
        return engine.advance({key: (work, Failed(words, retryable=False))})


def _by_step(works: Sequence[Work]) -> Iterator[tuple[Kind, bool, int, list[Work]]]:
    def key(work: Work) -> tuple[str, bool, int]:
        return (work.kind, work.is_undoing, work.step)

    for (name, is_undoing, step), group in groupby(sorted(works, key=key), key=key):
        yield find_kind(name), is_undoing, step, list(group)


def _run_step(kind: Kind, is_undoing: bool, index: int, works: list[Work]) -> Iterator[tuple[Work, Outcome]]:
    if index >= len(kind.steps_of(is_undoing)):
        # Begun by another release, whose kind had more steps.
        told = f"A {kind.label.lower()} has no {kind.step_name(is_undoing, index)} in this release."
        yield from ((work, Failed(told, retryable=False)) for work in works)
        return
    step = kind.steps_of(is_undoing)[index]

    def request(work: Work) -> tuple[int, str]:
        """Whose act it is, and why: the trail says both of each row that the step changes."""
        return (work.actor_id, work.reason)

    for (actor_id, reason), group in groupby(sorted(works, key=request), key=request):
        mine = list(group)
        act = acting(get_user_model()(pk=actor_id), via="engine", reason=reason)
        with act:
            try:
                outcomes = step.run(mine)
            except (OperationalError, InterfaceError):
                raise
            except Exception as error:
                logger.exception("step %s of %s failed as a whole", step.name, kind.name)
                outcomes = {work.id: failure_of(error) for work in mine}
        for work in mine:
            yield work, outcomes.get(work.id, Failed(f"“{step.name}” gave no answer."))


def _cancel_requested(works: Sequence[Work]) -> set[int]:
    if not works:
        return set()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM operations_operation WHERE id = ANY(%s) AND cancel_requested_at IS NOT NULL",
            [[w.id for w in works]],
        )
        return {row[0] for row in cursor.fetchall()}


def _admitted(works: list[Work]) -> list[Work]:
    """Of works that start for the first time, those that are still allowed; the others end here, as do cancelled ones.

    Between request and start a grant may have ended, or a lock been set: the request's yes is not
    enough. Works that had begun go on: half a change is worse than a whole one.
    """
    fresh = [work for work in works if work.first_start]
    # Between two tries nothing is under way: a cancel asked for meanwhile need not wait for one more.
    refused: dict[int, tuple[Work, Outcome]] = {
        work.id: (work, Later(0, "cancelled before another try"))
        for work in works
        if work.is_cancelled and not work.is_undoing
    }
    for kind, _, _, group in _by_step(fresh):
        for work, why in _refused(kind, group):
            refused[work.id] = (work, Failed(why, retryable=False))
    going_back = engine.advance(refused) if refused else []
    return [work for work in works if work.id not in refused] + going_back


def _refused(kind: Kind, works: Sequence[Work]) -> Iterator[tuple[Work, str]]:
    target = find_target(kind.target_type)
    ids = [work.target_id for work in works]
    infos = target.describe(ids)
    actors = get_user_model().objects.in_bulk({work.actor_id for work in works})
    found: list[tuple[Work, Sequence[guard_rails.Objection]]] = []

    def request(work: Work) -> tuple[int, str]:
        """Who asked, and for what: a guard rail judges one actor's wish with one set of parameters."""
        return (work.actor_id, json.dumps(work.params, sort_keys=True))

    for (actor_id, _), group in groupby(sorted(works, key=request), key=request):
        actor, mine = actors[actor_id], list(group)
        own = [work.target_id for work in mine]
        allowed = set(
            visible(
                actor, target.model._default_manager.filter(pk__in=among(own)), kind.permission
            ).values_list("pk", flat=True)
        )
        present = [infos[pk] for pk in dict.fromkeys(own) if pk in infos]
        objections = guard_rails.objections(
            guard_rails.Request(
                kind,
                present,
                mine[0].params,
                actor,
                starting=True,
                operations={work.target_id: work.id for work in mine},
            )
        )
        for work in mine:
            if work.target_id not in infos:
                yield work, f"{work.target_label} is not there any more."
            elif work.target_id not in allowed:
                yield (
                    work,
                    f"{actor} may no longer do this on {work.target_label}: the permission ended before the start.",
                )
            elif against := objections.get(work.target_id):
                found.append((work, against))
    yield from _not_let_through(found)


def _not_let_through(
    found: Sequence[tuple[Work, Sequence[guard_rails.Objection]]],
) -> Iterator[tuple[Work, str]]:
    """Whom the guard rails stop at the start: what takes a second person now starts only where one has allowed it."""
    ids = [work.id for work, _ in found]
    approved = set(
        Operation.objects.filter(pk__in=ids, approved_by__isnull=False).values_list("pk", flat=True)
    )
    for work, against in found:
        if hard := [o.why for o in against if not o.needs_approval]:
            yield work, " ".join(hard)
        elif work.id not in approved:
            why = " ".join(o.why for o in against)
            yield work, f"{why} That was not so when it was asked for: ask again, and somebody else approves."
