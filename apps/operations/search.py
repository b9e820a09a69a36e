"""What ⌘K finds of operations, and what the bar says of them."""

from collections.abc import Iterable
from typing import Any

from django.urls import reverse

from apps.access.choices import Permission
from apps.access.scoping import holds, visible
from apps.core.choices import Tone
from apps.core.palette import Hit

from . import queries, rules
from .filters import number_in
from .models import Operation

#: How many of the newest operations a search by target looks through: it answers as one types.
RECENT = 2_000


def find_operations(user: Any, text: str, limit: int) -> Iterable[Hit]:
    """An operation by its number, and the last ones of a target by its name."""
    number = number_in(text.removeprefix("operation ").strip())
    if number is not None:
        rows = visible(user, Operation.objects.filter(pk=number)).select_related("actor")
        return [_hit(row, 1.0) for row in rows]
    if len(text) < 3:
        return []
    newest = Operation.objects.order_by("-id").values_list("pk", flat=True).first() or 0
    recent = Operation.objects.filter(pk__gt=newest - RECENT, target_label__icontains=text)
    rows = visible(user, recent).select_related("actor").order_by("-id")[: min(limit, 5)]
    # Below what is found by its own name: whoever types an instance's name mostly wants the instance.
    return [_hit(row, 0.35 - place / 100) for place, row in enumerate(rows)]


def _hit(operation: Operation, score: float) -> Hit:
    return Hit(
        kind="Operation",
        label=f"{queries.kind_label(operation.kind)} of {operation.target_label}",
        url=reverse("operations:operation", args=[operation.pk]),
        detail=f"#{operation.pk} · {operation.get_state_display().lower()} · {operation.actor} · {operation.reason}"[
            :160
        ],
        score=score,
    )


def bar_parts(user: Any) -> list[dict[str, Any]]:
    """“N operations running”; for who may approve, “N wait for your approval”, and changes of approval rules that do."""
    url = reverse("operations:list")
    running = queries.running(user) if holds(user, Permission.VIEW) else 0
    parts: list[dict[str, Any]] = []
    if running:
        label = "operation running" if running == 1 else "operations running"
        parts.append({"label": label, "count": running, "url": f"{url}?state=running", "tone": Tone.PLAIN})
    if holds(user, Permission.APPROVE) and (waiting := queries.for_approval(user).count()):
        label = "waits for your approval" if waiting == 1 else "wait for your approval"
        parts.append(
            {"label": label, "count": waiting, "url": f"{url}?state=awaiting_approval", "tone": Tone.WARN}
        )
    if holds(user, Permission.APPROVE) and (proposed := rules.for_decision(user).count()):
        label = (
            "change of an approval rule to decide" if proposed == 1 else "changes of approval rules to decide"
        )
        url = reverse("operations:approval_rules")
        parts.append({"label": label, "count": proposed, "url": url, "tone": Tone.WARN})
    return parts
