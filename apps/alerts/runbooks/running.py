"""Runs: each step is an operation of the engine, a wait or a check. Moved by the tick, by conditional UPDATEs.

A step is first marked as begun, then its operation is asked for with the step as its idempotency key: a worker that dies
in between leaves a step that the next tick carries on, once.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.http import Http404
from django.utils import timezone

from apps.access.scoping import require
from apps.core.choices import Tone
from apps.core.context import acting
from apps.core.events import event, record
from apps.fleet.models import Instance
from apps.operations import kinds
from apps.operations import services as operations
from apps.operations.choices import State, Via
from apps.operations.models import Operation

from ..choices import RunState, RunStepState
from ..models import Runbook, RunbookRun, RunbookStep, RunbookVersion
from ..services import Refused
from ..taking_back import version_before
from . import reading
from .reading import Definition, StepDefinition, value_of

logger = logging.getLogger(__name__)
AT_ONCE = 500
ENDED = (RunStepState.DONE, RunStepState.SKIPPED, RunStepState.FAILED)


def definition_of(version: RunbookVersion) -> Definition:
    """What a version says. Raises Malformed where this release no longer knows something that it names."""
    return reading.read(version.text)


def permissions_of(definition: Definition) -> list[str]:
    """What whoever runs it must hold on the instance."""
    return list(dict.fromkeys(str(kinds.find_kind(name).permission) for name in definition.kinds))


def start(
    *, runbook: Runbook, instance: Instance, inputs: Mapping[str, Any], actor: Any, reason: str, key: str
) -> RunbookRun:
    """Run the newest version on an instance. The same key again gives the same run.

    Raises Refused, Malformed for inputs that make no sense, Http404 and PermissionDenied as any of its operations would.
    """
    if (known := RunbookRun.objects.filter(key=key, actor=actor).first()) is not None:
        return known
    reason = " ".join(reason.replace("\x00", "").split())[:500]
    if len(reason) < 3:
        raise Refused("Say why, in a few words.")
    version = runbook.versions.order_by("-number").first()
    if version is None or not runbook.is_enabled:
        raise Refused("This runbook is switched off.")
    definition = definition_of(version)
    for permission in permissions_of(definition) or ["restart"]:
        require(actor, permission, instance)
    cleaned = definition.clean(inputs)
    try:
        with transaction.atomic(durable=True), acting(actor, reason=reason):
            made = RunbookRun.objects.create(
                version=version, instance=instance, inputs=cleaned, actor=actor, reason=reason, key=key[:100]
            )
            RunbookStep.objects.bulk_create(
                [
                    RunbookStep(run=made, number=n, title=s.title)
                    for n, s in enumerate(definition.steps, start=1)
                ]
            )
            _tell(made, "started", f"Runbook “{runbook}” started on {instance}", why=reason, tone=Tone.BUSY)
    except IntegrityError as error:
        if (known := RunbookRun.objects.filter(key=key, actor=actor).first()) is not None:
            return known
        raise Refused(
            f"A runbook is running on {instance} already; wait for its end, or cancel it."
        ) from error
    return made


def cancel(run: RunbookRun, *, actor: Any) -> None:
    """Take no further step; an operation under way goes on. Raises Refused once it is over."""
    for permission in permissions_of(definition_of(run.version)) or ["restart"]:
        require(actor, permission, run.instance)
    with transaction.atomic(durable=True), acting(actor, reason=f"cancels runbook run {run.pk}"):
        if not _finish(run, RunState.CANCELLED, f"cancelled by {actor}"):
            raise Refused("It is over already.")


def advance(now: datetime | None = None) -> int:
    """Move every open run as far as it goes; gives how many moved. A fault of one stops no other."""
    now, moved = now or timezone.now(), 0
    rows = RunbookRun.objects.filter(state=RunState.RUNNING).select_related(
        "version__runbook", "instance", "actor"
    )
    for run in rows.order_by("id")[:AT_ONCE]:
        try:
            moved += _advance(run, now)
        except Exception:
            logger.exception("runbook run %s failed; the next tick tries again", run.pk)
    return moved


def _advance(run: RunbookRun, now: datetime) -> bool:
    try:
        definition = definition_of(run.version)
    except reading.Malformed as error:
        return _over(run, RunState.FAILED, str(error))
    steps: Sequence[RunbookStep] = list(run.steps.order_by("number"))
    moved = False
    for row, step in zip(steps, definition.steps, strict=False):
        if row.state in ENDED:
            continue
        if row.state == RunStepState.WAITING:
            if not _begin(run, row, step, now):
                return moved
            moved = True
            if row.state == RunStepState.SKIPPED:
                continue
        state, detail = _look(run, row, step, now)
        if state == RunStepState.RUNNING:
            return moved
        moved = _end(row, state, detail) or moved
        if state == RunStepState.FAILED and not step.goes_on:
            return _over(run, RunState.FAILED, f"{row.title}: {detail}")
    return _over(run, RunState.SUCCEEDED, "")


def _begin(run: RunbookRun, row: RunbookStep, step: StepDefinition, now: datetime) -> bool:
    """Begin a step, or skip it where its condition does not hold; False when another worker did."""
    holds = _holds(run, step)
    state = RunStepState.RUNNING if holds else RunStepState.SKIPPED
    rows = RunbookStep.objects.filter(pk=row.pk, state=RunStepState.WAITING, run__state=RunState.RUNNING)
    detail = "" if holds else f"only when {step.condition}"
    if not rows.update(state=state, started_at=now, finished_at=None if holds else now, detail=detail[:300]):
        return False
    row.state, row.started_at = state, now
    return True


def _holds(run: RunbookRun, step: StepDefinition) -> bool:
    if step.when_health and run.instance.health not in step.when_health:
        return False
    return all(_same(run.inputs.get(name), value) for name, value in step.when_input.items())


def _same(given: Any, wanted: Any) -> bool:
    """A choice “5” is the 5 that YAML reads; yes and no are nothing but themselves."""
    if isinstance(given, bool) or isinstance(wanted, bool):
        return given is wanted
    return str(given) == str(wanted)


def _look(run: RunbookRun, row: RunbookStep, step: StepDefinition, now: datetime) -> tuple[str, str]:
    """How a step that was begun stands: its state and a word about it."""
    waited = now - (row.started_at or now)
    if step.do == "wait":
        over = waited >= _length(run, step)
        return (RunStepState.DONE if over else RunStepState.RUNNING), ""
    if step.do == "check":
        if run.instance.health in step.health:
            return RunStepState.DONE, f"{run.instance.health}"
        if waited < _length(run, step):
            return RunStepState.RUNNING, ""
        return RunStepState.FAILED, f"it is {run.instance.health}: {run.instance.health_detail}"[:300]
    if row.operation_id is None:
        return _ask(run, row, step)
    operation = Operation.objects.filter(pk=row.operation_id).first()
    if operation is None or operation.is_open:
        return RunStepState.RUNNING, ""
    if operation.state == State.SUCCEEDED:
        return RunStepState.DONE, ""
    return RunStepState.FAILED, f"{operation.get_state_display().lower()}: {operation.error}"[:300]


def _length(run: RunbookRun, step: StepDefinition) -> timedelta:
    value, unit = (step.minutes, 60) if step.minutes is not None else (step.seconds, 1)
    return timedelta(seconds=min(reading.MAX_SECONDS, unit * int(value_of(value, run.inputs) or 0)))


def _ask(run: RunbookRun, row: RunbookStep, step: StepDefinition) -> tuple[str, str]:
    params = {name: value_of(value, run.inputs) for name, value in step.params.items()}
    kind = step.do
    if kind == "roll_back":
        version = version_before(run.instance_id)
        if not version:
            return RunStepState.FAILED, "no deploy of the last 24 hours to take back"
        kind, params = "deploy", {"version": version}
    try:
        operation = operations.submit(
            kind=kind, target_id=run.instance_id, params=params, actor=run.actor,
            reason=f"runbook “{run.version.runbook}”, step {row.number}: {run.reason}"[:500],
            idempotency_key=f"runbook:{run.pk}:{row.number}", via=Via.SYSTEM,
        )  # fmt: skip
    except (operations.Refused, PermissionDenied, Http404) as refusal:
        return RunStepState.FAILED, f"refused: {refusal}"[:300]
    RunbookStep.objects.filter(pk=row.pk).update(operation_id=operation.pk)
    return RunStepState.RUNNING, ""


def _end(row: RunbookStep, state: str, detail: str) -> bool:
    rows = RunbookStep.objects.filter(pk=row.pk, state=RunStepState.RUNNING)
    return bool(rows.update(state=state, detail=detail[:300], finished_at=timezone.now()))


def _over(run: RunbookRun, state: str, error: str) -> bool:
    with transaction.atomic(durable=True), acting(run.actor, reason=run.reason):
        return _finish(run, state, error)


def _finish(run: RunbookRun, state: str, error: str) -> bool:
    rows = RunbookRun.objects.filter(pk=run.pk, state=RunState.RUNNING)
    if not rows.update(state=state, error=error[:300], finished_at=timezone.now()):
        return False
    tone = {RunState.SUCCEEDED: Tone.OK, RunState.FAILED: Tone.BAD}.get(RunState(state), Tone.WARN)
    words = RunState(state).label.lower()
    _tell(
        run,
        str(state),
        f"Runbook “{run.version.runbook}” {words} on {run.instance}",
        why=error[:300],
        tone=tone,
    )
    return True


def _tell(run: RunbookRun, what: str, title: str, *, why: str, tone: str) -> None:
    cell = run.instance.cell
    record(
        [
            event(
                f"runbook.{what}", title, why=why, tone=tone, actor=run.actor, instance_id=run.instance_id,
                cell_id=cell.pk, account_id=cell.region.account_id,
            )
        ]
    )  # fmt: skip
