"""Schedules: made, changed, switched and removed by people; each is its owner's."""

from datetime import datetime
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404
from django.utils import timezone

from apps.access.scoping import require, scopes_of
from apps.core.context import acting

from .kinds import find_kind, find_target
from .models import Schedule
from .schedules import next_time
from .services import Refused


def may_change(schedule: Schedule, user: Any) -> bool:
    """Whether `user` may change it: its owner, and who may do the same thing everywhere."""
    if schedule.owner_id == user.pk:
        return True
    try:
        return scopes_of(user, find_kind(schedule.kind).permission).everything
    except LookupError:
        return False


def save_schedule(schedule: Schedule, *, actor: Any) -> Schedule:
    """Write a new or changed schedule.

    It runs with its owner's rights, so the owner needs the permission of the kind on the target; so
    does `actor`, or they could have done in another's name what they may not do themselves. Raises
    Http404, PermissionDenied, ValidationError; then nothing was changed.
    """
    schedule.full_clean()
    _require_both(schedule, actor)
    schedule.next_at = (
        next_time(schedule.cron, schedule.zone, timezone.now()) if schedule.is_enabled else None
    )
    with transaction.atomic(durable=True), acting(actor, reason=schedule.reason):
        schedule.save()
    return schedule


def switch_schedule(schedule: Schedule, *, on: bool, actor: Any) -> None:
    """Let a schedule run or rest. When it runs again it starts from now; what it missed is not made up for."""
    _require_change(schedule, actor)
    if on:
        _require_both(schedule, actor)
    reason = f"{'enables' if on else 'disables'} the schedule {schedule.name}"
    with transaction.atomic(durable=True), acting(actor, reason=reason):
        schedule.is_enabled, schedule.last_error = on, ""
        schedule.next_at = next_time(schedule.cron, schedule.zone, timezone.now()) if on else None
        schedule.save()


def delete_schedule(schedule: Schedule, *, actor: Any) -> None:
    """Remove a schedule; what it has submitted stays."""
    _require_change(schedule, actor)
    with transaction.atomic(durable=True), acting(actor, reason=f"deletes the schedule {schedule.name}"):
        schedule.delete()


def _require_change(schedule: Schedule, actor: Any) -> None:
    if not may_change(schedule, actor):
        raise PermissionDenied(
            f"“{schedule.name}” is {schedule.owner}'s schedule; ask them, or who may do this everywhere."
        )


def _require_both(schedule: Schedule, actor: Any) -> None:
    kind = find_kind(schedule.kind)
    target = find_target(kind.target_type)
    obj = target.model._default_manager.filter(pk=schedule.target_id).first()
    if obj is None:
        raise Http404(f"There is no such {kind.target_type}.")
    require(actor, kind.permission, obj)
    if schedule.owner_id != actor.pk:
        try:
            require(schedule.owner, kind.permission, obj)
        except (Http404, PermissionDenied) as error:
            raise Refused(
                f"{schedule.owner}, whose schedule it is, may not do this there (any more)."
            ) from error


def next_times(schedule: Schedule, count: int = 3) -> list[datetime]:
    """When a schedule is next due, `count` times; none for a line that never comes."""
    found: list[datetime] = []
    at = timezone.now()
    try:
        while len(found) < count:
            at = next_time(schedule.cron, schedule.zone, at)
            found.append(at)
    except ValueError:
        pass
    return found
