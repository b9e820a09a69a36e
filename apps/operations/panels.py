"""What the page of an operation says in words: facts, advice, where one is."""

from typing import Any

from django.urls import reverse

from . import kinds
from .choices import State
from .models import Operation

Row = dict[str, Any]


def facts(operation: Operation, kind_label: str, target_url: str) -> list[Row]:
    """What was asked for, by whom, why, and who decided since."""
    rows: list[Row] = [
        {"label": "What", "value": kind_label},
        {"label": "On", "value": operation.target_label, "url": target_url, "note": operation.target_type},
        *(
            {"label": name.capitalize(), "value": value, "mono": True}
            for name, value in operation.params.items()
        ),
        {"label": "Why", "value": operation.reason},
        {"label": "By", "value": str(operation.actor), "note": f"by {operation.get_via_display().lower()}"},
        {"label": "Asked for", "value": operation.created_at},
    ]
    if operation.approved_by:
        rows.append(
            {"label": "Approved by", "value": str(operation.approved_by), "note": operation.approval_reason}
        )
        rows.append({"label": "Approved", "value": operation.approved_at})
    if operation.batch:
        url = reverse("operations:batch", args=[operation.batch_id])
        rows.append({"label": "Batch", "value": f"one of {operation.batch.total:,}", "url": url})
    rows += [{"label": "Started", "value": operation.started_at}] if operation.started_at else []
    rows += [{"label": "Ended", "value": operation.finished_at}] if operation.finished_at else []
    if operation.retries:
        rows.append({"label": "Tried again", "value": f"{operation.retries} times"})
    if operation.lost:
        rows.append(
            {"label": "Workers lost", "value": operation.lost, "note": "another one took over each time"}
        )
    rows.append({"label": "Number", "value": str(operation.pk), "copy": True, "mono": True})
    return rows


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
