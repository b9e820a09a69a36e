"""What becomes of an operation after a step's outcome: pure functions, every path of them tested."""

import random
from dataclasses import dataclass, field

from apps.core.choices import Tone
from apps.core.models import Event

from .choices import State
from .kinds import Done, Failed, Kind, Later, Outcome, Work, find_kind, find_target

#: How the failure of an operation begins that somebody cancelled, and no other's.
CANCELLED = "Cancelled by "


@dataclass(slots=True)
class Move:
    """What becomes of one operation after an outcome."""

    state: str = State.RUNNING
    step: int = 0
    is_undoing: bool = False
    attempts: int = 0
    retried: bool = False
    wait: float = 0.0
    failure: str = ""
    error: str = ""
    new_step: bool = True
    events: list[Event] = field(default_factory=list)


def backoff(attempt: int) -> float:
    """Seconds before try number `attempt` + 1: doubling from half a second to a minute, jittered by a quarter."""
    return min(60.0, 0.5 * 2.0**attempt) * random.uniform(0.75, 1.25)  # noqa: S311 - jitter, no secret


def decide(work: Work, outcome: Outcome, *, cancelled_by: str) -> Move:
    """The next state for an outcome; pure, so that every path of it can be tested.

    `cancelled_by` is who asked to cancel and why, or empty. A cancel takes effect at a step's end,
    never in the middle of one and never on the way back.
    """
    kind = find_kind(work.kind)
    stop = bool(cancelled_by) and not work.is_undoing
    match outcome:
        case Done() if work.step + 1 < len(kind.steps_of(work.is_undoing)):
            if stop:
                return _stop(work, kind, cancelled_by)
            return Move(step=work.step + 1, is_undoing=work.is_undoing, failure=work.failure)
        case Done():
            return _finish(work)
        case Later():
            if stop:
                return _stop(work, kind, cancelled_by)
            return Move(
                step=work.step,
                is_undoing=work.is_undoing,
                attempts=work.attempts,
                failure=work.failure,
                new_step=False,
            )
        case Failed(message, retryable):
            if stop:
                return _stop(work, kind, cancelled_by)
            if retryable and work.attempts + 1 < kind.max_attempts:
                return _retry(work, message)
            return _give_up(work, kind, message)
    raise TypeError(f"{outcome!r} is no outcome")


def _finish(work: Work) -> Move:
    if not work.is_undoing:
        return Move(
            state=State.SUCCEEDED,
            step=work.step,
            events=[told(work, "succeeded", "succeeded", tone=Tone.OK)],
        )
    cancelled = work.failure.startswith(CANCELLED)
    return Move(
        state=State.CANCELLED if cancelled else State.FAILED,
        step=work.step,
        is_undoing=True,
        failure=work.failure,
        error=work.failure,
        events=[
            told(
                work,
                "cancelled" if cancelled else "failed",
                "cancelled, and went back" if cancelled else "failed, and went back",
                why=work.failure,
                tone=Tone.WARN if cancelled else Tone.BAD,
            )
        ],
    )


def _retry(work: Work, message: str) -> Move:
    wait = backoff(work.attempts)
    return Move(
        state=State.PENDING,
        step=work.step,
        is_undoing=work.is_undoing,
        attempts=work.attempts + 1,
        retried=True,
        wait=wait,
        failure=work.failure,
        error=message,
        events=[told(work, "retrying", f"tries again in {wait:.1f} s", why=message, tone=Tone.WARN)],
    )


def _give_up(work: Work, kind: Kind, message: str) -> Move:
    if work.is_undoing:
        error = f"{work.failure} The way back failed too: {message}"
        return Move(
            state=State.FAILED,
            step=work.step,
            is_undoing=True,
            failure=work.failure,
            error=error,
            events=[told(work, "failed", "failed, and could not go back", why=error, tone=Tone.BAD)],
        )
    if kind.undo and work.step >= kind.undo_from:
        # What a step says must not be taken for a cancel at the end of the way back.
        return _go_back(work, f"It said: {message}" if message.startswith(CANCELLED) else message)
    return Move(
        state=State.FAILED,
        step=work.step,
        error=message,
        events=[told(work, "failed", "failed", why=message, tone=Tone.BAD)],
    )


def _go_back(work: Work, message: str) -> Move:
    return Move(
        step=0,
        is_undoing=True,
        failure=message,
        events=[told(work, "undoing", "goes back", why=message, tone=Tone.WARN)],
    )


def _stop(work: Work, kind: Kind, cancelled_by: str) -> Move:
    """End a cancelled operation, over its way back where it may have changed something already.

    A step that failed, or is not done yet, may have done its part: the way back looks first.
    """
    if kind.undo and work.step >= kind.undo_from:
        return _go_back(work, f"{CANCELLED}{cancelled_by}")
    return Move(
        state=State.CANCELLED,
        step=work.step,
        error=f"{CANCELLED}{cancelled_by}",
        events=[told(work, "cancelled", "cancelled", why=cancelled_by, tone=Tone.WARN)],
    )


def told(work: Work, what: str, words: str, *, why: str = "", tone: str = Tone.PLAIN) -> Event:
    label = find_kind(work.kind).label
    return Event(
        kind=f"operation.{what}",
        title=f"{label} of {work.target_label} {words}"[:300],
        why=why,
        tone=tone,
        actor_id=work.actor_id,
        operation_id=work.id,
        account_id=work.account_id,
        cell_id=work.cell_id,
        tenant_id=work.tenant_id,
        **{find_target(work.target_type).event_field: work.target_id},
    )
