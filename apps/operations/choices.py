"""Words of the engine, and which state may follow which."""

from django.db import models


class State(models.TextChoices):
    AWAITING_APPROVAL = "awaiting_approval", "Awaiting approval"
    PENDING = "pending", "Waiting"
    RUNNING = "running", "Running"
    SUCCEEDED = "succeeded", "Succeeded"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


#: The only ways from state to state. running → pending is a counted retry.
TRANSITIONS: dict[str, frozenset[str]] = {
    State.AWAITING_APPROVAL: frozenset({State.PENDING, State.CANCELLED}),
    State.PENDING: frozenset({State.RUNNING, State.CANCELLED, State.FAILED}),
    State.RUNNING: frozenset({State.PENDING, State.SUCCEEDED, State.FAILED, State.CANCELLED}),
    State.SUCCEEDED: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
}
OPEN = (State.AWAITING_APPROVAL, State.PENDING, State.RUNNING)
ENDED = (State.SUCCEEDED, State.FAILED, State.CANCELLED)


class StepState(models.TextChoices):
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"


class Via(models.TextChoices):
    """By which way an operation was asked for."""

    PAGE = "page", "Page"
    ADMIN = "admin", "Admin"
    API = "api", "API"
    COMMAND = "command", "Command line"
    SCHEDULE = "schedule", "Schedule"
    SYSTEM = "system", "System"


class RuleChangeState(models.TextChoices):
    """What became of a proposal to have an approval rule ask for less. Only a waiting one moves, once."""

    WAITING = "waiting", "Waits for a second person"
    AGREED = "agreed", "Agreed to"
    REFUSED = "refused", "Refused"
    OVERTAKEN = "overtaken", "Overtaken by another change"
