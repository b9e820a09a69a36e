"""What the operations' pages read."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from auditlog import get_logentry_model
from django.contrib.contenttypes.models import ContentType
from django.db.models import Count, Q, QuerySet
from django.shortcuts import get_object_or_404
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from apps.access import hands
from apps.access.choices import Permission
from apps.access.scoping import allowed, scopes_of, visible
from apps.core.models import Event

from . import approvals, batches, kinds, panels, planning, services
from .choices import ENDED, OPEN, State, StepState
from .models import Batch, Operation, Schedule
from .models import Step as StepRow

#: Rows of a timeline or trail that a page shows; an operation writes a dozen.
MAX_ROWS = 200
#: Of many alike, as many as one looks at.
FEW = 10


def kind_label(name: str) -> str:
    """A kind's name for people; its bare name when no app registers it (any more)."""
    try:
        return kinds.find_kind(name).label
    except LookupError:
        return name


def target_url(target_type: str, target_id: int) -> str:
    """The page of a target, or "" where it has none."""
    try:
        return reverse(kinds.find_target(target_type).url_name, args=[target_id])
    except (LookupError, NoReverseMatch):
        return ""


def list_url() -> str:
    """The list of all operations."""
    return reverse("operations:list")


def step_count(operation: Operation) -> int:
    """How many steps the operation has on the way it is on."""
    try:
        return len(kinds.find_kind(operation.kind).steps_of(operation.is_undoing))
    except LookupError:
        return operation.step + 1


def _between(start: datetime | None, end: datetime | None) -> timedelta | None:
    return (end or timezone.now()) - start if start else None


def took(operation: Operation) -> timedelta | None:
    """How long it ran, or runs; None for what has not begun."""
    return _between(operation.started_at, operation.finished_at)


def listed(user: Any) -> QuerySet[Operation]:
    """The operations a user sees, newest first, with what a line of a list shows."""
    return visible(user, Operation.objects.select_related("actor", "batch").defer("notes")).order_by("-id")


# --- One operation -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StepLine:
    """One step as the page shows it. `state` is a StepState, or "to come", "skipped"."""

    name: str
    state: str
    row: StepRow | None = None

    @property
    def took(self) -> timedelta | None:
        return _between(self.row.started_at, self.row.finished_at) if self.row else None


@dataclass(slots=True)
class OperationPage:
    """All that the page of one operation shows."""

    operation: Operation
    kind_label: str
    target_url: str
    steps: list[StepLine]
    way_back: list[StepLine]
    waits_for: Operation | None
    may_cancel: bool
    may_approve: bool
    why_not_approve: str
    approval_lines: list[str]
    changed_since: list[approvals.Change]
    events: list[Event]
    audit: list[Any] = field(default_factory=list)
    sees_audit: bool = False
    again_url: str = ""

    @property
    def trail(self) -> list[tuple[str, str]]:
        return panels.trail_to((f"{self.kind_label} {self.operation.target_label}", ""))

    @property
    def facts(self) -> list[panels.Fact]:
        return panels.facts(self.operation, self.kind_label, self.target_url)

    @property
    def advice(self) -> str:
        return panels.advice(self.operation)

    @property
    def cancel_url(self) -> str:
        return reverse("operations:cancel", args=[self.operation.pk])

    @property
    def cancel_words(self) -> str:
        return panels.cancel_words(self.operation)

    @property
    def took(self) -> timedelta | None:
        """From the first start to the end, or until now."""
        return took(self.operation)

    @property
    def next_try(self) -> datetime:
        return self.operation.run_after

    @property
    def waits_for_label(self) -> str:
        return kind_label(self.waits_for.kind) if self.waits_for else ""


def operation_page(user: Any, pk: int) -> OperationPage:
    """The page of one operation; Http404 for one that `user` cannot see."""
    rows = Operation.objects.select_related("actor", "batch", "approved_by", "cancel_requested_by")
    operation = get_object_or_404(visible(user, rows), pk=pk)
    steps, way_back = step_lines(operation)
    may_approve, why_not = approval_of(operation, user)
    sees_audit = allowed(user, Permission.SEE_AUDIT, operation)
    return OperationPage(
        operation=operation,
        kind_label=kind_label(operation.kind),
        target_url=target_url(operation.target_type, operation.target_id),
        steps=steps,
        way_back=way_back,
        waits_for=services.waits_for(operation),
        may_cancel=services.may_cancel(operation, user),
        may_approve=may_approve,
        why_not_approve=why_not,
        approval_lines=preview_of(operation) if operation.state == State.AWAITING_APPROVAL else [],
        changed_since=approvals.changed_since(operation),
        events=timeline(user, operation),
        audit=trail(operation) if sees_audit else [],
        sees_audit=sees_audit,
        again_url=_again_url(user, operation),
    )


def _again_url(user: Any, operation: Operation) -> str:
    """Where to ask for the same again, once it has ended and for who may."""
    try:
        kind = kinds.find_kind(operation.kind)
    except LookupError:
        return ""
    if operation.is_open or not allowed(user, kind.permission, operation):
        return ""
    url = reverse("operations:act", args=[operation.kind, operation.target_id])
    return f"{url}?{urlencode(operation.params)}" if operation.params else url


def step_lines(operation: Operation) -> tuple[list[StepLine], list[StepLine]]:
    """The steps as planned with what became of them, and those of the way back where it was taken."""
    rows = {(row.is_undo, row.position): row for row in operation.steps.all()}
    try:
        kind = kinds.find_kind(operation.kind)
    except LookupError:
        done = [StepLine(row.name, row.state, row) for row in rows.values()]
        return [s for s in done if s.row and not s.row.is_undo], [s for s in done if s.row and s.row.is_undo]
    steps = [_line(operation, s.name, rows.get((False, i)), i, False) for i, s in enumerate(kind.steps)]
    if not operation.is_undoing:
        return steps, []
    return steps, [_line(operation, s.name, rows.get((True, i)), i, True) for i, s in enumerate(kind.undo)]


def _line(operation: Operation, name: str, row: StepRow | None, position: int, is_undo: bool) -> StepLine:
    here = operation.is_undoing == is_undo and operation.step == position
    if row is not None:
        return StepLine(name, row.state, row)
    if here and operation.state == State.RUNNING:
        return StepLine(name, StepState.RUNNING)
    if operation.is_open and operation.is_undoing == is_undo:
        return StepLine(name, "to come")
    return StepLine(name, "skipped")


def approval_of(operation: Operation, user: Any) -> tuple[bool, str]:
    """Whether `user` may approve it now, and if it waits and they may not, why."""
    if operation.state != State.AWAITING_APPROVAL:
        return False, ""
    if operation.actor_id == user.pk:
        return False, "You asked for it; somebody else has to approve it."
    if not allowed(user, Permission.APPROVE, operation):
        return False, "Somebody who may approve here has to look at it."
    if why := hands.objection(user, operation.actor, Permission.APPROVE, operation):
        return False, why
    return True, ""


def preview_of(operation: Operation) -> list[str]:
    """What the operation will do, in the words its requester was shown."""
    try:
        return [kinds.find_kind(operation.kind).preview(operation.target_label, operation.params)]
    except LookupError:
        return []


def timeline(user: Any, operation: Operation) -> list[Event]:
    """What happened to it, oldest first."""
    # The time lets PostgreSQL leave out the months before the operation was asked for.
    rows = Event.objects.filter(
        operation_id=operation.pk, at__gte=operation.created_at - timedelta(minutes=1)
    )
    events = list(visible(user, rows).select_related("actor").order_by("at", "id")[:MAX_ROWS])
    for event in events:
        event.operation_id = None  # they stand on its page: no link from each line to where one is
    return events


def trail(operation: Operation) -> list[Any]:
    """The audit entries of the operation and of what it changed, oldest first."""
    entry = get_logentry_model()
    own = Q(content_type=ContentType.objects.get_for_model(Operation), object_id=operation.pk)
    rows = entry.objects.filter(own | Q(operation_id=operation.pk)).select_related("actor", "content_type")
    return list(rows.order_by("timestamp", "id")[:MAX_ROWS])


# --- Batches -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BatchPage:
    """All that the page of a batch shows; counts are of the operations that the reader sees."""

    batch: Batch
    kind_label: str
    counts: dict[str, int]
    failed: Sequence[Operation]
    refused: Sequence[Sequence[Any]]
    cancellable: int
    approvable: int
    approval_reason: str
    running: Sequence[Operation] = ()
    approval_lines: Sequence[str] = ()

    @property
    def more_to_approve(self) -> int:
        return max(0, self.counts.get(State.AWAITING_APPROVAL, 0) - len(self.approval_lines))

    @property
    def trail(self) -> list[tuple[str, str]]:
        return panels.trail_to((f"{self.kind_label} of {self.batch.total:,}", ""))

    @property
    def cancel_url(self) -> str:
        return reverse("operations:cancel_batch", args=[self.batch.pk])

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def is_open(self) -> bool:
        return any(self.counts.get(state) for state in OPEN)

    @property
    def ended(self) -> int:
        return sum(self.counts.get(state, 0) for state in ENDED)

    @property
    def shares(self) -> list[tuple[str, str, int]]:
        """State, word and count of each state that there is, in the order of a progress bar."""
        order = (
            State.SUCCEEDED,
            State.FAILED,
            State.CANCELLED,
            State.RUNNING,
            State.PENDING,
            State.AWAITING_APPROVAL,
        )
        return [
            (str(state), str(state.label), self.counts[state]) for state in order if self.counts.get(state)
        ]


def batch_page(user: Any, pk: Any) -> BatchPage:
    """The page of a batch; Http404 where the reader sees none of its operations."""
    batch = get_object_or_404(visible(user, Batch.objects.select_related("actor")), pk=pk)
    mine = visible(user, Operation.objects.filter(batch=batch)).order_by()
    counts = dict(mine.values_list("state").annotate(Count("pk")))
    sees_all = batch.actor_id == user.pk or scopes_of(user, Permission.VIEW).everything
    waiting = list(mine.filter(state=State.AWAITING_APPROVAL).order_by("id")[:FEW])
    return BatchPage(
        batch=batch,
        kind_label=kind_label(batch.kind),
        counts=counts,
        failed=list(mine.filter(state=State.FAILED).defer("notes", "params").order_by("id")[:MAX_ROWS]),
        # A refusal names its target, which another reader may not be allowed to know of.
        refused=batch.refused[:MAX_ROWS] if sees_all else [],
        cancellable=batches.cancellable(batch, user).count(),
        approvable=batches.approvable(batch, user).count(),
        approval_reason=waiting[0].approval_reason if waiting else "",
        running=list(mine.filter(state=State.RUNNING).defer("notes", "params").order_by("id")[:FEW]),
        approval_lines=[line for operation in waiting for line in preview_of(operation)],
    )


# --- The bar -------------------------------------------------------------------------------------


def running(user: Any) -> int:
    """How many operations run that `user` sees."""
    return visible(user, Operation.objects.running()).order_by().count()


def for_approval(user: Any) -> QuerySet[Operation]:
    """The operations that wait for this user's approval."""
    rows = Operation.objects.filter(state=State.AWAITING_APPROVAL).exclude(actor_id=user.pk)
    return visible(user, rows, Permission.APPROVE)


# --- Schedules -----------------------------------------------------------------------------------


def schedules_of(user: Any) -> QuerySet[Schedule]:
    """A user's own schedules, and all of them for who sees everything."""
    rows = Schedule.objects.select_related("owner")
    return visible(user, rows) | rows.filter(owner_id=user.pk)


@dataclass(frozen=True, slots=True)
class ScheduleLine:
    """One schedule as the list shows it."""

    schedule: Schedule
    kind_label: str
    target_label: str
    target_url: str
    next_times: list[datetime]
    may_change: bool


def schedule_lines(user: Any) -> list[ScheduleLine]:
    """The schedules that `user` sees, by name; target names in one query for each type of target."""
    rows = list(schedules_of(user).order_by("name")[:MAX_ROWS])
    labels: dict[tuple[str, int], str] = {}
    for name in {row.target_type for row in rows}:
        infos = kinds.find_target(name).describe([row.target_id for row in rows if row.target_type == name])
        labels.update({(name, pk): info.label for pk, info in infos.items()})
    return [
        ScheduleLine(
            row,
            kind_label(row.kind),
            labels.get((row.target_type, row.target_id), f"#{row.target_id}, which is gone"),
            target_url(row.target_type, row.target_id),
            planning.next_times(row) if row.is_enabled else [],
            planning.may_change(row, user),
        )
        for row in rows
    ]
