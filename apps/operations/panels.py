"""What the page of an operation says in words: facts, advice, where one is."""

from dataclasses import dataclass
from typing import Any

from django.urls import reverse

from apps.core.templatetags.ui import at

from . import kinds
from .choices import State
from .models import Operation


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of a panel (see `components/kv.html`)."""

    label: str
    value: Any
    url: str = ""
    note: str = ""
    mono: bool = False
    copy: bool = False


def facts(operation: Operation, kind_label: str, target_url: str) -> list[Fact]:
    """What was asked for, by whom, why, and who decided since."""
    rows = [
        Fact("What", kind_label, note="" if operation.is_changing else "changes nothing"),
        Fact("On", operation.target_label, target_url, operation.target_type),
        *(Fact(name.capitalize(), value, mono=True) for name, value in operation.params.items()),
        Fact("Why", operation.reason),
        Fact("By", str(operation.actor), note=f"by {operation.get_via_display().lower()}"),
        Fact("Asked for", at(operation.created_at, "second")),
    ]
    if operation.under:
        url = reverse("access:broken")
        rows.append(Fact("Under", f"broken glass, grant {operation.under}", url))
    if operation.batch:
        url = reverse("operations:batch", args=[operation.batch_id])
        rows.append(Fact("Batch", f"one of {operation.batch.total:,}", url))
    if operation.approved_by:
        rows.append(Fact("Approved by", str(operation.approved_by), note=operation.approval_reason))
        rows.append(Fact("Approved", at(operation.approved_at, "second")))
    if operation.started_at:
        rows.append(Fact("Started", at(operation.started_at, "second")))
    if operation.finished_at:
        rows.append(Fact("Ended", at(operation.finished_at, "second")))
    if operation.retries:
        rows.append(Fact("Tried again", f"{operation.retries:,} times"))
    if operation.lost:
        rows.append(Fact("Workers lost", operation.lost, note="another one took over each time"))
    return [*rows, Fact("Number", str(operation.pk), mono=True, copy=True)]


def advice(operation: Operation) -> str:
    """What to do about a failed operation."""
    if operation.state != State.FAILED:
        return ""
    if operation.started_at is None or (operation.step == 0 and not operation.is_undoing):
        return "Nothing was changed. Mend what it says, then ask again."
    if operation.is_undoing and operation.error == operation.failure:
        return "It went back to what was there before. Look at the steps, mend the cause, then ask again."
    if operation.is_undoing:
        return "The target may stand between the two. Look at it first; collect diagnostics before you change anything."
    return "What the steps below say is done was done. Look at the target, then ask again: a step acts only where reality differs."


def cancel_words(operation: Operation) -> str:
    """What cancelling will do now."""
    if operation.state != State.RUNNING and operation.started_at is None:
        return "It has not begun: it ends at once and nothing is changed."
    try:
        has_way_back = bool(kinds.find_kind(operation.kind).undo)
    except LookupError:
        has_way_back = False
    way_back = (
        " If it has changed something by then, it goes back."
        if has_way_back
        else " What is done by then stays done."
    )
    return f"It stops when the step under way has ended.{way_back}"


def trail_to(*more: tuple[str, str]) -> list[tuple[str, str]]:
    """Breadcrumbs from the list of operations."""
    return [("Operations", reverse("operations:list")), *more]
