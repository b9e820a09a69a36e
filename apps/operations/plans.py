"""Looking at a request without changing anything: who may, what objects, what it would wait for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Q

from apps.access.choices import Permission
from apps.access.scoping import visible
from apps.core.arrays import among

from . import approvals, guard_rails
from .choices import State
from .kinds import Kind, TargetInfo, find_kind, find_target
from .models import Operation

#: In one request; ten times as many take longer to accept than a browser waits.
MAX_TARGETS = 20_000


class Refused(Exception):
    """The request was understood and is not allowed, or makes no sense; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One target of a request that will not be acted on, and why."""

    target_id: int
    label: str
    why: str


@dataclass(slots=True)
class Plan:
    """What a request would do: the preview and the submission both come from here, so they cannot differ."""

    kind: Kind
    params: dict[str, Any]
    accepted: list[TargetInfo] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    approval_reason: str = ""
    waits: dict[int, Operation] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """What will happen, a line for each accepted target."""
        return [self.kind.preview(info.label, self.params) for info in self.accepted]


def plan(*, kind: str, target_ids: Sequence[int], params: Mapping[str, Any], actor: Any) -> Plan:
    """Look at a request without changing anything: who may, what objects, what it would wait for.

    Raises Refused for an unknown kind, bad parameters or too many targets. The number of queries
    does not grow with the targets.
    """
    try:
        found = find_kind(kind)
        cleaned = found.check_params(params)
    except (LookupError, ValueError) as error:
        raise Refused(str(error)) from error
    ids = list(dict.fromkeys(target_ids))
    if len(ids) > MAX_TARGETS:
        raise Refused(
            f"{len(ids)} targets are more than the {MAX_TARGETS} that one request may have; narrow the filter."
        )
    target = find_target(found.target_type)
    infos = target.describe(ids)
    rows = target.model._default_manager.filter(pk__in=among(ids))
    seen = set(visible(actor, rows, Permission.VIEW).values_list("pk", flat=True))
    may = set(visible(actor, rows, found.permission).values_list("pk", flat=True)) & seen
    result = Plan(found, cleaned)
    candidates = [infos[pk] for pk in ids if pk in may and pk in infos]
    for pk in ids:
        if pk not in seen or pk not in infos:
            result.refused.append(Refusal(pk, f"#{pk}", f"There is no such {found.target_type}."))
        elif pk not in may:
            need = Permission(found.permission).label
            result.refused.append(Refusal(pk, infos[pk].label, f"You need the permission “{need}” there."))
    _apply_guard_rails(result, candidates, actor)
    _apply_approval_rules(result)
    result.waits = (
        blocking([info.id for info in result.accepted], found) if len(result.accepted) <= 200 else {}
    )
    return result


def _apply_guard_rails(result: Plan, candidates: Sequence[TargetInfo], actor: Any) -> None:
    objections = guard_rails.objections(guard_rails.Request(result.kind, candidates, result.params, actor))
    for info in candidates:
        mine = objections.get(info.id, [])
        if hard := [o.why for o in mine if not o.needs_approval]:
            result.refused.append(Refusal(info.id, info.label, " ".join(hard)))
        else:
            result.accepted.append(info)
            result.approval_reason = result.approval_reason or next(
                (o.why or "A guard rail asks for a second person." for o in mine), ""
            )


def _apply_approval_rules(result: Plan) -> None:
    if result.kind.is_changing and result.accepted:
        rule = approvals.rule_for(result.kind, result.accepted)
        if rule is not None:
            # The state comes from the reason, so a rule without a note must have one all the same.
            result.approval_reason = rule.note.strip() or f"The rule “{rule}” asks for a second person."[:200]


def blocking(target_ids: Sequence[int], kind: Kind) -> dict[int, Operation]:
    """By target id, the open changing operation that a new one would wait for."""
    if not kind.is_changing:
        return {}
    rows = Operation.objects.filter(
        target_type=kind.target_type,
        target_id__in=list(target_ids),
        is_changing=True,
        state__in=[State.PENDING, State.RUNNING],
    ).select_related("actor")
    # The last one asked for is the one to wait for: those before it come first anyway.
    return {operation.target_id: operation for operation in rows.order_by("id")}


def waits_for(operation: Operation) -> Operation | None:
    """The operation that this one waits for, if it waits for one."""
    if operation.state != State.PENDING or not operation.is_changing:
        return None
    ahead = Operation.objects.filter(
        target_type=operation.target_type, target_id=operation.target_id, is_changing=True
    ).exclude(pk=operation.pk)
    return (
        ahead.filter(Q(state=State.RUNNING) | Q(state=State.PENDING, id__lt=operation.pk))
        .select_related("actor")
        .order_by("-id")
        .first()
    )
