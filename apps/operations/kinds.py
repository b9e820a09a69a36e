"""What can be done: kinds of operations and types of targets, registered by the apps above."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import wraps
from typing import Any

from django.db import models
from django.utils import timezone

from apps.core.texts import storable


@dataclass(slots=True)
class Work:
    """One operation in a worker's hands. `notes` is what earlier steps left."""

    id: int
    kind: str
    target_type: str
    target_id: int
    target_label: str
    account_id: int | None
    cell_id: int | None
    tenant_id: int | None
    actor_id: int
    reason: str
    params: dict[str, Any]
    notes: dict[str, Any]
    step: int
    is_undoing: bool
    attempts: int
    fence: int
    failure: str
    step_started_at: datetime
    started_at: datetime
    batch_id: int | None = None
    first_start: bool = False
    taken_over: bool = False
    is_cancelled: bool = False
    ready_at: float = 0.0
    told: str = ""
    #: When, by this process's monotonic clock, the lease was last known to be ours.
    sure_at: float = 0.0
    #: By how much this worker's clock is ahead of the database's, whose times the row holds.
    clock_ahead: timedelta = timedelta()

    def now(self) -> datetime:
        """The time by the clock that `started_at` and `step_started_at` were written with."""
        return timezone.now() - self.clock_ahead


@dataclass(frozen=True, slots=True)
class Done:
    """The step's effect is there. `notes` are kept for later steps."""

    detail: str = ""
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "detail", storable(self.detail))


@dataclass(frozen=True, slots=True)
class Later:
    """Not yet: look again after so many seconds. The step's own time limit goes on."""

    after: float = 0.5
    detail: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "detail", storable(self.detail))


@dataclass(frozen=True, slots=True)
class Failed:
    """The step did not work. `retryable`: it may, on another try."""

    message: str
    retryable: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", storable(self.message))


Outcome = Done | Later | Failed
Run = Callable[[Sequence[Work]], Mapping[int, Outcome]]


@dataclass(frozen=True, slots=True)
class Step:
    """A part of an operation that is safe to repeat: it looks first and acts only where reality differs.

    `run` takes operations at the same step together, so that it can work set-wise, and answers by
    operation id; whoever it leaves out is tried again. `timeout` in seconds.
    """

    name: str
    run: Run
    timeout: float = 60.0


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of operation.

    `undo` are the steps of the way back, taken when a step fails for good from index `undo_from` on.
    `check_params` gives the cleaned parameters or raises ValueError; `preview` tells, for one target's
    label and the parameters, what will happen.
    """

    name: str
    label: str
    permission: str
    target_type: str
    steps: tuple[Step, ...]
    is_changing: bool = True
    undo: tuple[Step, ...] = ()
    undo_from: int = 1
    max_attempts: int = 4
    timeout: float = 900.0
    check_params: Callable[[Mapping[str, Any]], dict[str, Any]] = dict
    preview: Callable[[str, Mapping[str, Any]], str] = lambda label, params: label
    icon: str = ""

    def steps_of(self, is_undoing: bool) -> tuple[Step, ...]:
        return self.undo if is_undoing else self.steps

    def step_name(self, is_undoing: bool, index: int) -> str:
        """A step's name; its number where this release has no such step (any more)."""
        steps = self.steps_of(is_undoing)
        return steps[index].name if index < len(steps) else f"step {index + 1}"


@dataclass(frozen=True, slots=True)
class TargetInfo:
    """A target in the engine's eyes."""

    id: int
    label: str
    account_id: int | None = None
    cell_id: int | None = None
    tenant_id: int | None = None
    locked: str = ""


@dataclass(frozen=True, slots=True)
class TargetType:
    """What operations can act on. `describe` takes ids and gives infos in one query.

    `event_field` is the context column of events that holds the target's id.
    """

    name: str
    model: type[models.Model]
    describe: Callable[[Sequence[int]], Mapping[int, TargetInfo]]
    event_field: str
    url_name: str
    #: By id, facts in words that an approver should know to have changed (version, health, lock).
    facts: Callable[[Sequence[int]], Mapping[int, Mapping[str, str]]] = lambda ids: {}


_kinds: dict[str, Kind] = {}
_targets: dict[str, TargetType] = {}


def register_kind(kind: Kind) -> None:
    """Make a kind known (from an app's `registers.py`)."""
    _kinds[kind.name] = kind


def register_target(target: TargetType) -> None:
    """Make a type of target known."""
    _targets[target.name] = target


def find_kind(name: str) -> Kind:
    """The kind, or LookupError that names those there are."""
    if name not in _kinds:
        raise LookupError(f"There is no operation kind “{name}”; there are {', '.join(sorted(_kinds))}.")
    return _kinds[name]


def label_of(name: str) -> str:
    """A kind's name for people; its bare name where this release does not know it (any more)."""
    try:
        return find_kind(name).label
    except LookupError:
        return name


def kinds(target_type: str | None = None) -> list[Kind]:
    """All kinds, or those for one type of target."""
    return [kind for kind in _kinds.values() if target_type in (None, kind.target_type)]


def find_target(name: str) -> TargetType:
    """The target type, or LookupError."""
    if name not in _targets:
        raise LookupError(f"There is no target type “{name}”; there are {', '.join(sorted(_targets))}.")
    return _targets[name]


def each(step: Callable[[Work], Outcome]) -> Run:
    """Lift a step for one operation to the set-wise form; an exception fails only its own operation."""

    @wraps(step)
    def run(works: Sequence[Work]) -> dict[int, Outcome]:
        outcomes: dict[int, Outcome] = {}
        for work in works:
            try:
                outcomes[work.id] = step(work)
            except Exception as error:  # noqa: BLE001 - any fault of one step must not stop the others
                outcomes[work.id] = failure_of(error)
        return outcomes

    return run


def failure_of(error: Exception) -> Failed:
    """An exception as an outcome; it may say itself whether another try helps."""
    return Failed(str(error) or type(error).__name__, retryable=getattr(error, "retryable", True))
